"""Policies of OpenSearch's index state management."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.artifact import ArtifactKey
from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.deploy.kind import Body, ChangedMeanwhile, Kind, Write
from sigmawatch.deploy.kinds.ism_attachment import managed_indices
from sigmawatch.errors import TargetUnavailable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sigmawatch.cluster import Cluster

__all__ = ["IsmPolicy"]

_SERVERS = frozenset({"policy_id", "last_updated_time", "schema_version", "error_notification", "user"})
_RETRY = {"count": 3, "backoff": "exponential", "delay": "1m"}
"""What each action gets that names no other."""


class IsmPolicy(Kind):
    """`_plugins/_ism/policies`. There is no place for marks: the registry alone knows the owner."""

    name = "ism_policy"
    rank = 5

    def read_all(self, cluster: Cluster, ids: Iterable[str]) -> Mapping[str, Body]:
        """Read one by one: there are few, and the API that lists them shows twenty."""
        found: dict[str, Body] = {}
        for policy_id in ids:
            answer = self._read(cluster, policy_id)
            if answer is not None:
                found[policy_id] = {"policy": answer["policy"]}
        return found

    def _read(self, cluster: Cluster, policy_id: str) -> Any:
        path = url_path("_plugins", "_ism", "policies", policy_id)
        try:
            return cluster.request("GET", path)
        except ResponseError as error:
            if error.status == 404:
                return None
            if error.status in {400, 405}:
                raise TargetUnavailable(
                    f"{cluster.info} has no index state management",
                    hint="It is a plugin of OpenSearch; Elasticsearch has ILM policies.",
                ) from error
            raise

    def write(self, cluster: Cluster, one: Write) -> None:
        """Create the policy, or replace it as it was just read; indices that have it keep their version of it."""
        live = self._read(cluster, one.id)
        self.require_basis(one, live)
        params = (
            None if live is None else {"if_seq_no": live["_seq_no"], "if_primary_term": live["_primary_term"]}
        )
        try:
            cluster.request("PUT", url_path("_plugins", "_ism", "policies", one.id), one.body, params=params)
        except ResponseError as error:
            if error.status != 409:
                raise
            # An answer that got lost on the way: our own write is what we conflict with.
            again = self._read(cluster, one.id)
            if self.hash_of(again) != self.hash_of(one.body):
                raise ChangedMeanwhile(ArtifactKey(self.name, one.id)) from error

    def delete(self, cluster: Cluster, artifact_id: str) -> None:
        """Delete the policy."""
        path = url_path("_plugins", "_ism", "policies", artifact_id)
        cluster.request("DELETE", path, ignore=(404,))

    def in_use(
        self, cluster: Cluster, ids: Collection[str], going: Collection[ArtifactKey]
    ) -> Mapping[str, str]:
        """Return the policies that indices have which keep them: new indices of theirs should get them, too."""
        used: dict[str, str] = {}
        for name, body in self.read_all(cluster, ids).items():
            for template in self.normalise(body)["policy"]["ism_template"]:
                for pattern in template.get("index_patterns", ()):
                    if ArtifactKey("ism_attachment", pattern) in going:
                        continue
                    users = [
                        index for index, policy in managed_indices(cluster, pattern).items() if policy == name
                    ]
                    if users:
                        used[name] = f"the index {users[0]} has it"
        return used

    def normalise(self, body: Mapping[str, Any]) -> Body:
        """Return the policy without what servers add to it, to its templates and to each action."""
        policy = {key: value for key, value in (body.get("policy") or {}).items() if key not in _SERVERS}
        templates = policy.get("ism_template") or []
        templates = [templates] if isinstance(templates, dict) else templates
        policy["ism_template"] = [
            {"priority": 0, **{key: value for key, value in one.items() if key != "last_updated_time"}}
            for one in templates
        ]
        policy["states"] = [
            {
                **state,
                "actions": [_plain(action) for action in state.get("actions") or ()],
                "transitions": list(state.get("transitions") or ()),
            }
            for state in policy.get("states") or ()
        ]
        return {"policy": policy}


def _plain(action: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in action.items() if (key, value) != ("retry", _RETRY)}
