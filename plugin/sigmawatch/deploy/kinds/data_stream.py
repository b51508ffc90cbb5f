"""Data streams: created by name; everything else about them comes from the index template that matches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.deploy.kind import Body, Kind, Write
from sigmawatch.errors import TargetUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sigmawatch.cluster import Cluster

__all__ = ["DataStream"]


class DataStream(Kind):
    """`_data_stream`. Holds data: never changed, and only deleted where data is to go, too."""

    name = "data_stream"
    rank = 50
    updatable = False
    deletable = False

    def read_all(self, cluster: Cluster, ids: Iterable[str]) -> Mapping[str, Body]:
        """Return an empty body for each that exists."""
        wanted = set(ids)
        try:
            answer = cluster.request("GET", "/_data_stream", params={"filter_path": "data_streams.name"})
        except ResponseError as error:
            if error.status in {400, 404, 405} and (reason := cluster.features().why_not("data_streams")):
                raise TargetUnavailable(reason, hint="Use plain indices on this cluster.") from error
            raise
        names = {one["name"] for one in answer.get("data_streams", ())}
        return {name: {} for name in names & wanted}

    def write(self, cluster: Cluster, one: Write) -> None:
        """Create it; that another did so meanwhile is fine."""
        try:
            cluster.request("PUT", url_path("_data_stream", one.id))
        except ResponseError as error:
            if error.error_type != "resource_already_exists_exception":
                raise

    def delete(self, cluster: Cluster, artifact_id: str) -> None:
        """Delete it with all its backing indices."""
        cluster.request("DELETE", url_path("_data_stream", artifact_id), ignore=(404,))

    def normalise(self, body: Mapping[str, Any]) -> Body:
        """Return an empty body: only existence counts."""
        del body
        return {}
