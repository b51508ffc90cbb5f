"""Ingest pipelines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sigmawatch.artifact import ArtifactKey, without_secrets
from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.cluster.failures import describe
from sigmawatch.deploy.kind import Body, ChangedMeanwhile, Kind, Trial, Write
from sigmawatch.deploy.kinds._shapes import called_names, marked, marks_in, unmarked
from sigmawatch.deploy.kinds._trials import tried

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sigmawatch.artifact import Artifact
    from sigmawatch.cluster import Cluster, ClusterInfo

__all__ = ["IngestPipeline"]

_NO_LOG = ({"message": "sigmawatch tries the pipeline with this", "@timestamp": "2026-03-01T10:00:00.000Z"},)


class IngestPipeline(Kind):
    """`_ingest/pipeline`. Returned as sent; a body is one cluster-state entry."""

    name = "ingest_pipeline"
    rank = 20

    def read_all(self, cluster: Cluster, ids: Iterable[str]) -> Mapping[str, Body]:
        """Read all pipelines at once: one request, however many are ours."""
        wanted = set(ids)
        answer = cluster.request("GET", "/_ingest/pipeline", ignore=(404,)) or {}
        return {name: body for name, body in answer.items() if name in wanted}

    def read(self, cluster: Cluster, artifact_id: str) -> Body | None:
        """Read one by its name."""
        answer = cluster.request("GET", url_path("_ingest", "pipeline", artifact_id), ignore=(404,)) or {}
        return answer.get(artifact_id)

    def write(self, cluster: Cluster, one: Write) -> None:
        """Replace the pipeline; its processors are built, and refused when they are wrong.

        Elasticsearch compares versions for us where a pack gives its pipelines versions and the new one is another.
        """
        live = self.look(cluster, one)
        path = url_path("_ingest", "pipeline", one.id)
        version = (live or {}).get("version")
        if (
            version is None
            or one.body.get("version") in {None, version}
            or cluster.info.distribution != "elasticsearch"
        ):
            cluster.request("PUT", path, one.body)
            return
        try:
            cluster.request("PUT", path, one.body, params={"if_version": version})
        except ResponseError as error:
            if "version conflict" not in error.reason:
                raise
            # An answer that got lost on the way: our own write is what we conflict with.
            again = self.read(cluster, one.id)
            if self.hash_of(again) != self.hash_of(one.body):
                raise ChangedMeanwhile(ArtifactKey(self.name, one.id)) from error

    def delete(self, cluster: Cluster, artifact_id: str) -> None:
        """Delete the pipeline; refused while it is the default of an index."""
        cluster.request("DELETE", url_path("_ingest", "pipeline", artifact_id), ignore=(404,))

    def in_use(
        self, cluster: Cluster, ids: Collection[str], going: Collection[ArtifactKey]
    ) -> Mapping[str, str]:
        """Return the pipelines of indices that stay, and those that such pipelines call.

        Only some servers refuse to delete them; without them, every document for such an index is refused.
        """
        params = {
            "expand_wildcards": "all",
            "filter_path": "*.settings.index.default_pipeline,*.settings.index.final_pipeline",
        }
        answer = cluster.request("GET", "/_all/_settings", params=params) or {}
        used: dict[str, str] = {}
        for index, found in sorted(answer.items()):
            if ArtifactKey("index", index) in going or _stream_of(index) in going:
                continue
            for name in found["settings"]["index"].values():
                used.setdefault(name, f"the index {index} uses it")
        pipelines = cluster.request("GET", "/_ingest/pipeline", ignore=(404,)) or {}
        callers = [name for name in pipelines if name in used or ArtifactKey(self.name, name) not in going]
        while callers:
            caller = callers.pop()
            for name in called_names(pipelines.get(caller), "pipeline", "name"):
                if name not in used:
                    used[name] = f"the pipeline {caller} calls it"
                    callers.append(name)
        return {name: reason for name, reason in used.items() if name in ids}

    def prove(
        self,
        cluster: Cluster,
        artifacts: Sequence[Artifact],
        samples: Mapping[str, Sequence[Mapping[str, Any]]],
    ) -> Mapping[str, Trial]:
        """Let each pipeline process its samples, or a line that is no log."""
        return tried(artifacts, lambda one: _trial(cluster, one.id, samples.get(one.id, ())))

    def normalise(self, body: Mapping[str, Any]) -> Body:
        """Leave out marks, the server's dates, and secrets, which nobody else is to see."""
        found: Body = without_secrets(unmarked(body))
        return found

    def mark(self, body: Mapping[str, Any], marks: Mapping[str, str], info: ClusterInfo) -> Body:
        """Mark in `_meta`, which OpenSearch does not have: there the registry alone knows the owner."""
        return marked(body, marks) if info.distribution == "elasticsearch" else dict(body)

    def marks_of(self, body: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the marks in `_meta`."""
        return marks_in(body)


def _trial(cluster: Cluster, pipeline_id: str, documents: Sequence[Mapping[str, Any]]) -> str:
    """Return why a pipeline cannot process documents; nothing when it can."""
    body = {"docs": [{"_index": "sigmawatch-trial", "_source": dict(one)} for one in documents or _NO_LOG]}
    answer = cluster.request("POST", url_path("_ingest", "pipeline", pipeline_id, "_simulate"), body)
    found = [one for one in answer["docs"] if one]  # dropped ones are null
    for one in found:
        if "error" in one:
            return f"a document fails in it: {describe(one['error'])}"
    kinds = [((one.get("doc") or {}).get("_source", {}).get("event") or {}) for one in found]
    if documents and kinds and all(one.get("kind") == "pipeline_error" for one in kinds):
        return "it understands none of its samples"
    return ""


def _stream_of(index: str) -> ArtifactKey | None:
    """Return the data stream that a backing index belongs to, by its name: `.ds-NAME-2026.03.01-000001`."""
    found = re.fullmatch(r"\.ds-(.+?)(?:-\d{4}\.\d{2}\.\d{2})?-\d{6,}", index)
    return ArtifactKey("data_stream", found[1]) if found else None
