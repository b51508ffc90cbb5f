"""Lifecycles of data streams (Elasticsearch): how long their events are kept, without phases or tiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.cluster import url_path
from sigmawatch.deploy.kind import Body, Kind, Write
from sigmawatch.deploy.kinds._shapes import kept_with_its_data
from sigmawatch.errors import TargetUnavailable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sigmawatch.artifact import ArtifactKey
    from sigmawatch.cluster import Cluster

__all__ = ["DataStreamLifecycle"]

_OURS = ("data_retention", "downsampling", "enabled")


class DataStreamLifecycle(Kind):
    """`_data_stream/NAME/_lifecycle`; the id is the name of a data stream, or a pattern of names.

    New streams get theirs from their template: this is for those that are there.
    """

    name = "data_stream_lifecycle"
    rank = 55
    fluid = True

    def read_all(self, cluster: Cluster, ids: Iterable[str]) -> Mapping[str, Body]:
        """Read those of each pattern's streams; a pattern whose streams have none is absent."""
        wanted = list(ids)
        if wanted and (reason := cluster.features().why_not("lifecycle")):
            raise TargetUnavailable(reason, hint="`retention: {by: auto}` takes what there is.")
        found: dict[str, Body] = {}
        for pattern in wanted:
            answer = cluster.request("GET", _path(pattern), ignore=(404,)) or {}
            lives = [
                self.normalise(one["lifecycle"]) if one.get("lifecycle") else None
                for one in answer.get("data_streams", ())
            ]
            different = [one for index, one in enumerate(lives) if one not in lives[:index]]
            if len(different) == 1 and different[0] is not None:
                found[pattern] = different[0]
            elif len(different) > 1:
                found[pattern] = {"differing": different}
        return found

    def write(self, cluster: Cluster, one: Write) -> None:
        """Set it for all streams that match."""
        cluster.request("PUT", _path(one.id), one.body, ignore=(404,))

    def delete(self, cluster: Cluster, artifact_id: str) -> None:
        """Take it from all streams that match: their events are kept for ever."""
        cluster.request("DELETE", _path(artifact_id), ignore=(404,))

    def in_use(
        self, cluster: Cluster, ids: Collection[str], going: Collection[ArtifactKey]
    ) -> Mapping[str, str]:
        """Return those whose streams stay although their template goes."""
        return kept_with_its_data(cluster, ids, going)

    def normalise(self, body: Mapping[str, Any]) -> Body:
        """Leave out what follows from the cluster's settings."""
        if "differing" in body:
            return dict(body)
        return {"enabled": True, **{key: body[key] for key in _OURS if key in body}}


def _path(pattern: str) -> str:
    return url_path("_data_stream", pattern, "_lifecycle").replace("%2A", "*")
