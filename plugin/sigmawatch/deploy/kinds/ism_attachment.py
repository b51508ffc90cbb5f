"""Which policy of index state management the indices of a pattern have, also those that were there before it."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.deploy.kind import Body, Kind, Write
from sigmawatch.deploy.kinds._shapes import attached_body, kept_with_its_data
from sigmawatch.errors import ClusterError, TargetUnavailable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sigmawatch.artifact import ArtifactKey
    from sigmawatch.cluster import Cluster

__all__ = ["IsmAttachment", "managed_indices"]


class IsmAttachment(Kind):
    """The policy of all indices, or backing indices of data streams, that match the id.

    New ones get it by the policy's own `ism_template`; old ones are given it, and every new version of it. Where no
    index matches yet, the policy whose template has the pattern counts.
    """

    name = "ism_attachment"
    rank = 55
    fluid = True
    authored = False

    def read_all(self, cluster: Cluster, ids: Iterable[str]) -> Mapping[str, Body]:
        """Ask for each pattern's indices; a pattern whose indices have no policy is absent."""
        wanted = list(ids)
        if wanted and (reason := cluster.features().why_not("ism")):
            raise TargetUnavailable(reason, hint="`retention: {by: auto}` takes what there is.")
        found = {pattern: attached_body(self._policies(cluster, pattern)) for pattern in wanted}
        return {pattern: body for pattern, body in found.items() if body is not None}

    def _policies(self, cluster: Cluster, pattern: str) -> list[str]:
        indices = managed_indices(cluster, pattern)
        if indices:
            return list(indices.values())
        answer = cluster.request("GET", "/_plugins/_ism/policies", params={"size": 1_000}) or {}
        return [
            str(one["_id"])
            for one in answer.get("policies", ())
            for template in one["policy"].get("ism_template") or ()
            if pattern in template.get("index_patterns", ())
        ]

    def write(self, cluster: Cluster, one: Write) -> None:
        """Give the policy to all indices that match.

        One that has it already gets its present version, as soon as the state allows in which it is.
        """
        indices = managed_indices(cluster, one.id)
        for verb, names in (
            ("add", [name for name, policy in indices.items() if not policy]),
            ("change_policy", [name for name, policy in indices.items() if policy]),
        ):
            for name in names:
                path = url_path("_plugins", "_ism", verb, name)
                _require_done(name, cluster.request("POST", path, {"policy_id": one.body["policy"]}))

    def delete(self, cluster: Cluster, artifact_id: str) -> None:
        """Take the policy from all indices that match: they stay until somebody deletes them."""
        for name, policy in managed_indices(cluster, artifact_id).items():
            if policy:
                path = url_path("_plugins", "_ism", "remove", name)
                _require_done(name, cluster.request("POST", path))

    def in_use(
        self, cluster: Cluster, ids: Collection[str], going: Collection[ArtifactKey]
    ) -> Mapping[str, str]:
        """Return those whose indices stay although their template goes."""
        return kept_with_its_data(cluster, ids, going)

    def normalise(self, body: Mapping[str, Any]) -> Body:
        """Return the policy's name; its version is only for noticing that there is a new one."""
        return {"policy": body.get("policy")}


def managed_indices(cluster: Cluster, pattern: str) -> dict[str, str]:
    """Return the policy of each index that matches a pattern, empty where it has none. Raises ClusterError."""
    # The plugin resolves names of indices, not of data streams; a stream's indices are named after it.
    asked = ",".join((pattern, f".ds-{pattern}"))
    path = f"/_plugins/_ism/explain/{url_path(asked)[1:].replace('%2A', '*').replace('%2C', ',')}"
    try:
        answer = cluster.request("GET", path)
    except ResponseError as error:
        if error.status == 404:
            return {}
        raise
    return {
        name: str(one.get("policy_id") or one.get("index.plugins.index_state_management.policy_id") or "")
        for name, one in answer.items()
        if isinstance(one, dict) and fnmatchcase(name.removeprefix(".ds-"), pattern)
    }


def _require_done(index: str, answer: Mapping[str, Any]) -> None:
    """Raise ClusterError when an answer of 200 says that it was not done."""
    failed = answer.get("failed_indices") or ()
    if answer.get("failures") and failed:
        raise ClusterError(f"{index}: {failed[0].get('reason', 'the policy could not be given to it')}")
