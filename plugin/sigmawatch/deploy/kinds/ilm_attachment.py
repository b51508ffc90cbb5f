"""Which policy of index lifecycle management the indices of a pattern have, also those that were there before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.deploy.kind import Body, Kind, Write
from sigmawatch.deploy.kinds._shapes import attached_body, kept_with_its_data

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sigmawatch.artifact import ArtifactKey
    from sigmawatch.cluster import Cluster

__all__ = ["IlmAttachment"]

_SETTING = "index.lifecycle.name"
_HIDDEN = {"expand_wildcards": "open,hidden"}


class IlmAttachment(Kind):
    """`index.lifecycle.name` of all indices that match the id. New ones get it from their template.

    Where no index matches yet, what a new one would get counts.
    """

    name = "ilm_attachment"
    rank = 55
    fluid = True
    authored = False

    def read_all(self, cluster: Cluster, ids: Iterable[str]) -> Mapping[str, Body]:
        """Read the setting of each pattern's indices; a pattern whose indices have no policy is absent."""
        found = {pattern: attached_body(self._policies(cluster, pattern)) for pattern in ids}
        return {pattern: body for pattern, body in found.items() if body is not None}

    def _policies(self, cluster: Cluster, pattern: str) -> list[str]:
        # An index is only named in the answer when it has one of the settings: each has a uuid.
        path = f"{_path(pattern)}/_settings/index.uuid,{_SETTING}"
        params = {"flat_settings": "true", **_HIDDEN}
        indices = cluster.request("GET", path, params=params, ignore=(404,)) or {}
        if indices:
            return [str(one["settings"].get(_SETTING, "")) for one in indices.values()]
        path = url_path("_index_template", "_simulate_index", pattern.replace("*", "0"))
        try:
            new = cluster.request("POST", path)
        except ResponseError as error:
            if error.status == 403:
                return []
            raise
        index = ((new.get("template") or {}).get("settings") or {}).get("index") or {}
        return [str((index.get("lifecycle") or {}).get("name", ""))]

    def write(self, cluster: Cluster, one: Write) -> None:
        """Give the policy to all indices that match; an index that has it stays in the phase that it is in."""
        params = {**_HIDDEN, "allow_no_indices": "true"}
        path = f"{_path(one.id)}/_settings"
        cluster.request("PUT", path, {_SETTING: one.body["policy"]}, params=params, ignore=(404,))

    def delete(self, cluster: Cluster, artifact_id: str) -> None:
        """Take the policy from all indices that match: they stay until somebody deletes them."""
        cluster.request("POST", f"{_path(artifact_id)}/_ilm/remove", params=_HIDDEN, ignore=(404,))

    def in_use(
        self, cluster: Cluster, ids: Collection[str], going: Collection[ArtifactKey]
    ) -> Mapping[str, str]:
        """Return those whose indices stay although their template goes."""
        return kept_with_its_data(cluster, ids, going)

    def normalise(self, body: Mapping[str, Any]) -> Body:
        """Return the policy's name."""
        return {"policy": body.get("policy")}


def _path(pattern: str) -> str:
    return url_path(pattern).replace("%2A", "*")
