"""A place on a cluster for tests: pipelines, templates and indices that are gone afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import orjson

from sigmawatch.artifact import Artifact
from sigmawatch.bundle import traits_of
from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.compile.fieldtypes import FieldTypes
from sigmawatch.datasets import Dataset, artifacts, base_artifacts, mapping_of
from sigmawatch.deploy.kinds import all_kinds
from sigmawatch.deploy.order import waves
from sigmawatch.render.scripts import script_artifacts

if TYPE_CHECKING:
    from types import TracebackType

    from sigmawatch.cluster import Cluster

__all__ = ["Workspace"]

BULK_BYTES = 4_000_000


class Workspace:
    """Installs the artifacts of datasets and the stored scripts, and takes everything away at the end.

    On an engine of ours they have their own names. On a cluster of a user's every name gets a random prefix,
    so that nothing of theirs is met.
    """

    def __init__(self, cluster: Cluster, datasets: Sequence[Dataset], *, own: bool) -> None:
        self._cluster = cluster
        self._datasets = datasets
        self._token = f"sigmawatch-test-{secrets.token_hex(6)}"
        self._prefix = "" if own else f"{self._token}-"
        self._traits = traits_of(cluster.features())
        dataset_types: dict[str, str] = {}
        for dataset in datasets:
            dataset_types |= dataset.fields
        self._dataset_types = dataset_types
        self._installed: list[Artifact] = []
        self._indices: list[str] = []
        self._streams: set[str] = set()

    def __enter__(self) -> Self:
        found = [*base_artifacts(self._traits), *script_artifacts(watcher=False)]
        for dataset in self._datasets:
            found += artifacts(dataset, namespace=self._namespace, traits=self._traits)
        found = [artifact for artifact in found if artifact.kind != "data_stream"]
        self._installed = [_renamed(artifact, found, self._prefix) for artifact in found]
        try:
            self._install()
        except BaseException:
            self._clean()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clean()

    @property
    def _namespace(self) -> str:
        return self._token.rpartition("-")[2]

    def data_stream(self, dataset: str) -> str:
        """Return the data stream for raw lines of a dataset."""
        name = f"{self._prefix}logs-{dataset}-{self._namespace}"
        self._streams.add(name)
        return name

    def event_index(self, number: int) -> str:
        """Return the name of an index for events."""
        return f"{self._token}-events-{number}"

    def field_type(self, name: str, overrides: Mapping[str, str]) -> str:
        """Return the mapping type that the compiler assumes for a field, as far as this engine has it."""
        return FieldTypes(overrides, self._dataset_types).mapping_type(name) or "keyword"

    def create_index(self, name: str, fields: Mapping[str, str]) -> None:
        """Create an index for events with these fields only."""
        properties: dict[str, Any] = {}
        for field, kind in fields.items():
            level = properties
            *parents, last = field.split(".")
            for parent in parents:
                level = level.setdefault(parent, {"properties": {}})["properties"]
            level[last] = mapping_of(field, kind, self._traits)
        body = {
            "settings": {"index": {"number_of_shards": 1, "number_of_replicas": 0}},
            "mappings": {"dynamic": False, "properties": properties},
        }
        self._indices.append(name)
        self._cluster.request("PUT", url_path(name), body)

    def bulk(self, documents: Iterable[tuple[str, str, Mapping[str, Any]]]) -> list[tuple[str, str]]:
        """Index (index, id, document) and make it searchable; return (id, reason) of those refused."""
        refused: list[tuple[str, str]] = []
        for batch in _batches(documents):
            answer = self._cluster.request(
                "POST", "/_bulk", batch, params={"refresh": "true"}, idempotent=True
            )
            for item in answer["items"]:
                result = item["create"]
                if "error" in result and result.get("status") != 409:
                    error = result["error"]
                    cause = error.get("caused_by") or {}
                    reason = ": ".join(filter(None, [error.get("reason"), cause.get("reason")]))
                    refused.append((result["_id"], reason or str(error.get("type"))))
        return refused

    def searching(self, cluster: Cluster) -> Cluster:
        """Return the cluster with which searches find the stored scripts of this workspace."""
        if not self._prefix:
            return cluster
        names = {a.id: f"{self._prefix}{a.id}" for a in script_artifacts(watcher=False)}
        return _Renaming(cluster, names)  # type: ignore[return-value]  # a cluster, with other script names

    def _clean(self) -> None:
        for name in self._streams:
            self._quietly("DELETE", f"/_data_stream/{name}")
        for name in self._indices:
            self._quietly("DELETE", url_path(name))
        for artifact in reversed(self._installed):
            all_kinds()[artifact.kind].delete(self._cluster, artifact.id)

    def _install(self) -> None:
        kinds = all_kinds()
        self._installed = [
            artifact
            for wave in waves(self._installed, lambda artifact: kinds[artifact.kind].rank)
            for artifact in wave
        ]
        for artifact in self._installed:
            kinds[artifact.kind].write(self._cluster, artifact.id, dict(artifact.body))

    def _quietly(self, method: str, path: str) -> None:
        try:
            self._cluster.request(method, path, ignore=(404,))
        except ResponseError as error:
            # Without the data stream API the stream's template still made a plain index of that name.
            if error.status in (400, 405) and path.startswith("/_data_stream/"):
                self._cluster.request("DELETE", path.removeprefix("/_data_stream"), ignore=(404,))
            else:
                raise


class _Renaming:
    """A cluster whose searches refer to stored scripts by other names."""

    def __init__(self, cluster: Cluster, names: Mapping[str, str]) -> None:
        self._cluster = cluster
        self._names = [
            (orjson.dumps({"id": old})[:-1], orjson.dumps({"id": new})[:-1]) for old, new in names.items()
        ]

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        if isinstance(body, bytes):
            for old, new in self._names:
                body = body.replace(old, new)
        return self._cluster.request(method, path, body, **options)


def _renamed(artifact: Artifact, all_of_them: Sequence[Artifact], prefix: str) -> Artifact:
    """Return the artifact under a prefix, its references to the others too."""
    if not prefix:
        return artifact
    names = {other.id for other in all_of_them}

    def rename(value: Any, key: str = "") -> Any:
        if isinstance(value, Mapping):
            return {name: rename(inner, name) for name, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [rename(inner, key) for inner in value]
        if isinstance(value, str) and (key == "index_patterns" or value in names):
            return prefix + value
        return value

    return Artifact(artifact.kind, prefix + artifact.id, rename(artifact.body), source=artifact.source)


def _batches(documents: Iterable[tuple[str, str, Mapping[str, Any]]]) -> Iterable[bytes]:
    lines: list[bytes] = []
    size = 0
    for index, doc_id, document in documents:
        pair = (
            orjson.dumps({"create": {"_index": index, "_id": doc_id}})
            + b"\n"
            + orjson.dumps(document)
            + b"\n"
        )
        if size + len(pair) > BULK_BYTES and lines:
            yield b"".join(lines)
            lines, size = [], 0
        lines.append(pair)
        size += len(pair)
    if lines:
        yield b"".join(lines)
