"""Detection plans for our own runner: documents that it reads from the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from sigmawatch.artifact import ArtifactKey
from sigmawatch.cluster import BulkItem, ResponseError, bulk, url_path
from sigmawatch.deploy.kind import Body, ChangedMeanwhile, Kind, Trial, Write
from sigmawatch.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sigmawatch.artifact import Artifact
    from sigmawatch.cluster import Cluster, ClusterInfo

__all__ = ["DETECTIONS_INDEX", "Detection"]

DETECTIONS_INDEX = "sigmawatch-detections"
"""One document per detection: `_id` is the artifact's id, `plan` its body, `marks` who owns it."""

FEW = 10_000
"""Detections that are asked for by their ids; beyond that all are read, which makes a smaller request."""

_INDEX: Body = {
    "settings": {"number_of_shards": 1, "auto_expand_replicas": "0-1", "hidden": True},
    "mappings": {
        # A plan is read whole and never searched: its thousands of keys must not become fields.
        "dynamic": False,
        "properties": {
            "plan": {"type": "object", "enabled": False},
            "marks": {"type": "object", "enabled": False},
        },
    },
}


class Detection(Kind):
    """A document in `sigmawatch-detections`."""

    name = "detection"
    rank = 60
    detects = True
    batch_size = 500
    authored = False

    def read_all(self, cluster: Cluster, ids: Iterable[str]) -> Mapping[str, Body]:
        """Read by one search with its pages; no index means no detections."""
        wanted = set(ids)
        if not wanted:
            return {}
        few = {"ids": {"values": sorted(wanted)}} if len(wanted) <= FEW else None
        hits = cluster.scan(DETECTIONS_INDEX, few)
        return {hit["_id"]: hit["_source"] for hit in hits if hit["_id"] in wanted}

    def prepare(self, cluster: Cluster) -> None:
        """Create the index with its mapping, so that the first document does not invent one."""
        if not cluster.request("HEAD", url_path(DETECTIONS_INDEX)):
            try:
                cluster.request("PUT", url_path(DETECTIONS_INDEX), _INDEX)
            except ResponseError as error:
                if error.error_type != "resource_already_exists_exception":
                    raise

    def write(self, cluster: Cluster, one: Write) -> None:
        """Write one document."""
        for error in self.write_batch(cluster, [one]).values():
            raise error

    def write_batch(self, cluster: Cluster, batch: Sequence[Write]) -> Mapping[str, ClusterError]:
        """Write documents in bulk, visible to the runner's next search, each only over the version that was read."""
        errors: dict[str, ClusterError] = {}
        items: list[BulkItem] = []
        try:
            found = self._found(cluster, [one.id for one in batch if not one.is_new])
            for one in batch:
                live = found.get(one.id)
                try:
                    if not one.is_new:
                        self.require_basis(one, None if live is None else live["_source"])
                except ClusterError as error:
                    errors[one.id] = error
                    continue
                version = None if live is None else (live["_seq_no"], live["_primary_term"])
                action: Literal["index", "create"] = "create" if live is None else "index"
                items.append(BulkItem(action, DETECTIONS_INDEX, one.id, one.body, version))
            failures = bulk(cluster, items, refresh=True)
            # Our own writes, when the answer to them got lost: then they conflict with themselves.
            conflicts = [failure.item.id for failure in failures if failure.status == 409]
            again = self._found(cluster, conflicts)
        except ClusterError as error:
            return errors | {one.id: error for one in batch if one.id not in errors}
        for failure in failures:
            if failure.status != 409:
                told = {"error": {"type": failure.type, "reason": failure.reason}}
                errors[failure.item.id] = ResponseError("POST", "/_bulk", failure.status, told)
            elif again.get(failure.item.id, {}).get("_source") != failure.item.document:
                errors[failure.item.id] = ChangedMeanwhile(ArtifactKey(self.name, failure.item.id))
        return errors

    def _found(self, cluster: Cluster, ids: Sequence[str]) -> dict[str, Body]:
        """Return documents with their versions, as they are now, searchable or not."""
        if not ids:
            return {}
        path = f"{url_path(DETECTIONS_INDEX)}/_mget"
        answer = cluster.request("POST", path, {"ids": list(ids)}, ignore=(404,)) or {}
        return {one["_id"]: one for one in answer.get("docs", ()) if one.get("found")}

    def delete(self, cluster: Cluster, artifact_id: str) -> None:
        """Delete the document."""
        path = url_path(DETECTIONS_INDEX, "_doc", artifact_id)
        cluster.request("DELETE", path, params={"refresh": "true"}, ignore=(404,))

    def prove(
        self,
        cluster: Cluster,
        artifacts: Sequence[Artifact],
        samples: Mapping[str, Sequence[Mapping[str, Any]]],
    ) -> Mapping[str, Trial]:
        """Search what the runner will search, over a moment only and without asking for what it finds."""
        del samples
        # The runner is not imported to compare or delete detections.
        from sigmawatch.run.trial import failing_searches

        return failing_searches(cluster, [one.body for one in artifacts])

    def normalise(self, body: Mapping[str, Any]) -> Body:
        """Return the plan: a document's `plan`, or an artifact's body as it is."""
        if "marks" in body and "plan" in body:
            return dict(body["plan"])
        return dict(body)

    def mark(self, body: Mapping[str, Any], marks: Mapping[str, str], info: ClusterInfo) -> Body:
        """Make the document: plan and marks side by side."""
        del info
        return {"plan": dict(body), "marks": dict(marks)}

    def marks_of(self, body: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the marks of a document."""
        marks = body.get("marks")
        return marks if isinstance(marks, dict) else {}
