"""Ingest pipelines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.cluster import url_path
from sigmawatch.deploy.kind import Body, Kind
from sigmawatch.deploy.kinds._shapes import marked, marks_in, unmarked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sigmawatch.cluster import Cluster, ClusterInfo

__all__ = ["IngestPipeline"]


class IngestPipeline(Kind):
    """`_ingest/pipeline`. Returned as sent; a body is one cluster-state entry."""

    name = "ingest_pipeline"
    rank = 20

    def read_all(self, cluster: Cluster, ids: Iterable[str]) -> Mapping[str, Body]:
        """Read all pipelines at once: one request, however many are ours."""
        wanted = set(ids)
        answer = cluster.request("GET", "/_ingest/pipeline", ignore=(404,)) or {}
        return {name: body for name, body in answer.items() if name in wanted}

    def write(self, cluster: Cluster, artifact_id: str, body: Body) -> None:
        """Replace the pipeline; its processors are built, and refused when they are wrong."""
        cluster.request("PUT", url_path("_ingest", "pipeline", artifact_id), body)

    def delete(self, cluster: Cluster, artifact_id: str) -> None:
        """Delete the pipeline; refused while it is the default of an index."""
        cluster.request("DELETE", url_path("_ingest", "pipeline", artifact_id), ignore=(404,))

    def normalise(self, body: Mapping[str, Any]) -> Body:
        """Leave out marks and the server's dates."""
        return unmarked(body)

    def mark(self, body: Mapping[str, Any], marks: Mapping[str, str], info: ClusterInfo) -> Body:
        """Mark in `_meta`, which OpenSearch does not have: there the registry alone knows the owner."""
        return marked(body, marks) if info.distribution == "elasticsearch" else dict(body)

    def marks_of(self, body: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the marks in `_meta`."""
        return marks_in(body)
