"""Policies of Elasticsearch's index lifecycle management."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.artifact import ArtifactKey
from sigmawatch.cluster import url_path
from sigmawatch.deploy.kind import Body, Kind, Write
from sigmawatch.deploy.kinds._shapes import marked, marks_in, unmarked
from sigmawatch.errors import TargetUnavailable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sigmawatch.cluster import Cluster, ClusterInfo

__all__ = ["IlmPolicy"]


class IlmPolicy(Kind):
    """`_ilm/policy`; what servers add is in the documentation of the get API: dates, versions, users, defaults."""

    name = "ilm_policy"
    rank = 5

    def read_all(self, cluster: Cluster, ids: Iterable[str]) -> Mapping[str, Body]:
        """Read all policies at once."""
        wanted = set(ids)
        if not wanted:
            return {}
        if reason := cluster.features().why_not("ilm"):
            raise TargetUnavailable(
                reason, hint="OpenSearch has ISM policies; data streams have a lifecycle."
            )
        answer = cluster.request("GET", "/_ilm/policy", ignore=(404,)) or {}
        return {name: body for name, body in answer.items() if name in wanted}

    def read(self, cluster: Cluster, artifact_id: str) -> Body | None:
        """Read one by its name."""
        answer = cluster.request("GET", url_path("_ilm", "policy", artifact_id), ignore=(404,)) or {}
        return answer.get(artifact_id)

    def write(self, cluster: Cluster, one: Write) -> None:
        """Replace the policy. Indices go on with the phase they are in, as it was when they entered it."""
        self.look(cluster, one)
        cluster.request("PUT", url_path("_ilm", "policy", one.id), one.body)

    def delete(self, cluster: Cluster, artifact_id: str) -> None:
        """Delete the policy; refused while an index uses it."""
        cluster.request("DELETE", url_path("_ilm", "policy", artifact_id), ignore=(404,))

    def in_use(
        self, cluster: Cluster, ids: Collection[str], going: Collection[ArtifactKey]
    ) -> Mapping[str, str]:
        """Return the policies of indices, data streams and templates that stay."""
        used: dict[str, str] = {}
        for name, body in self.read_all(cluster, ids).items():
            users = body.get("in_use_by") or {}
            for what, kind in (
                ("data_streams", "data_stream"),
                ("composable_templates", "index_template"),
                ("indices", "index"),
            ):
                for user in users.get(what) or ():
                    # The indices of a data stream that goes, go with it.
                    if ArtifactKey(kind, user) not in going and not user.startswith(".ds-"):
                        used.setdefault(name, f"the {kind.replace('_', ' ')} {user} uses it")
        return used

    def normalise(self, body: Mapping[str, Any]) -> Body:
        """Return the policy without marks, with the defaults of phases and of the delete action written out."""
        policy = unmarked(body.get("policy") or {})
        phases: dict[str, Any] = {}
        for name, phase in (policy.get("phases") or {}).items():
            actions = {key: dict(value or {}) for key, value in (phase.get("actions") or {}).items()}
            if "delete" in actions:
                actions["delete"].setdefault("delete_searchable_snapshot", True)
            phases[name] = {"min_age": "0ms", **phase, "actions": actions}
        return {"policy": {**policy, "phases": phases}}

    def mark(self, body: Mapping[str, Any], marks: Mapping[str, str], info: ClusterInfo) -> Body:
        """Mark in the policy's `_meta`."""
        del info
        return {**body, "policy": marked(body.get("policy") or {}, marks)}

    def marks_of(self, body: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the marks in the policy's `_meta`."""
        return marks_in(body.get("policy") or {})
