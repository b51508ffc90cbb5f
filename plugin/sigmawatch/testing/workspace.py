"""A place on a cluster for tests: pipelines, templates and indices that are gone afterwards."""

from __future__ import annotations

import secrets
import signal
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import orjson

from sigmawatch.artifact import Artifact
from sigmawatch.bundle import traits_of
from sigmawatch.cluster import BulkItem, ResponseError, bulk, url_path
from sigmawatch.compile.fieldtypes import FieldTypes
from sigmawatch.datasets import Dataset, artifacts, base_artifacts, mapping_of
from sigmawatch.deploy.kind import Write
from sigmawatch.deploy.kinds import all_kinds
from sigmawatch.deploy.order import waves
from sigmawatch.errors import ClusterError
from sigmawatch.render.scripts import script_artifacts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType

    from sigmawatch.cluster import Cluster
    from sigmawatch.deploy.kind import Kind

__all__ = ["Workspace", "uninterrupted"]

_EXISTS = 409


@dataclass(frozen=True)
class _Made:
    """Something that was made, or may have been, and how it is removed."""

    name: str
    delete: Callable[[], object]


class Workspace:
    """Installs the artifacts of datasets and the stored scripts, and takes everything away at the end.

    On an engine of ours they have their own names. On a cluster of a user's every name gets a random prefix,
    so that nothing of theirs is met.
    """

    def __init__(
        self,
        cluster: Cluster,
        datasets: Sequence[Dataset],
        *,
        used: Collection[str],
        scripts: bool,
        own: bool,
    ) -> None:
        """`used`: the datasets whose lines come; `scripts`: whether searches refer to stored scripts."""
        self._cluster = cluster
        self._token = f"sigmawatch-test-{secrets.token_hex(6)}"
        self._prefix = "" if own else f"{self._token}-"
        self._traits = traits_of(cluster.features())
        self._dataset_types: dict[str, str] = {}
        for dataset in datasets:
            self._dataset_types |= dataset.fields
        self._datasets = [dataset for dataset in datasets if dataset.name in used]
        self._scripts = script_artifacts(watcher=False) if scripts else []
        self._made: list[_Made] = []

    def __enter__(self) -> Self:
        try:
            self._install()
        except BaseException as error:
            self._clean(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clean(error)

    @property
    def _namespace(self) -> str:
        return self._token.rpartition("-")[2]

    def data_stream(self, dataset: str) -> str:
        """Return the data stream for raw lines of a dataset."""
        return f"{self._prefix}logs-{dataset}-{self._namespace}"

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
            # No pipelines: those of a user's template for all indices would change the events.
            "settings": {
                "index": {
                    "number_of_shards": 1,
                    "number_of_replicas": 0,
                    "default_pipeline": "_none",
                    "final_pipeline": "_none",
                }
            },
            "mappings": {"dynamic": False, "properties": properties},
        }
        path = url_path(name)
        self._make(
            name,
            lambda: self._cluster.request("DELETE", path, ignore=(404,)),
            lambda: self._cluster.request("PUT", path, body),
        )

    def bulk(self, documents: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[tuple[str, str]]:
        """Index (index, id, document) and make it searchable; return (id, reason) of those refused."""
        for dataset in self._datasets:
            name = self.data_stream(dataset.name)
            self._made.append(_Made(name, lambda name=name: self._delete_stream(name)))  # type: ignore[misc]
        items = [BulkItem("create", index, doc_id, document) for index, doc_id, document in documents]
        with uninterrupted():
            failures = bulk(self._cluster, items, refresh=True)
        # What is there already was sent twice, because the first answer got lost.
        return [(failure.item.id, failure.reason) for failure in failures if failure.status != _EXISTS]

    def searching(self, cluster: Cluster) -> Cluster:
        """Return the cluster with which searches find the stored scripts of this workspace."""
        if not self._prefix:
            return cluster
        names = {script.id: f"{self._prefix}{script.id}" for script in self._scripts}
        return _Renaming(cluster, names)  # type: ignore[return-value]  # a cluster, with other script names

    def _install(self) -> None:
        found = [*self._scripts]
        if self._datasets:
            found += base_artifacts(self._traits)
        for dataset in self._datasets:
            found += artifacts(dataset, namespace=self._namespace, traits=self._traits)
        found = [artifact for artifact in found if artifact.kind != "data_stream"]
        kinds = all_kinds()
        for wave in waves(found, lambda artifact: kinds[artifact.kind].rank):
            for artifact in wave:
                self._write(kinds[artifact.kind], _renamed(artifact, found, self._prefix))

    def _write(self, kind: Kind, artifact: Artifact) -> None:
        self._make(
            str(artifact.key),
            lambda: kind.delete(self._cluster, artifact.id),
            lambda: kind.write(self._cluster, Write(artifact.id, dict(artifact.body))),
        )

    def _make(self, name: str, delete: Callable[[], object], write: Callable[[], Any]) -> None:
        """Make something that is to be removed again, if only it may have been made."""
        made = _Made(name, delete)
        self._made.append(made)
        try:
            with uninterrupted():
                write()
        except ResponseError as error:
            if error.status < 500:
                self._made.remove(made)
            raise

    def _clean(self, error: BaseException | None) -> None:
        """Remove everything, whatever cannot be removed; say what is left, but never instead of `error`."""
        left: list[str] = []
        reason = ""
        with uninterrupted():
            for made in reversed(self._made):
                try:
                    made.delete()
                except ClusterError as failure:
                    left.append(made.name)
                    reason = failure.message
        self._made.clear()
        if not left:
            return
        names = ", ".join(left)
        if isinstance(error, ClusterError):
            error.hint = f"{error.hint} Left behind: {names}".strip()
            return
        raise ClusterError(f"not removed: {names}: {reason}", hint="Remove it by hand.") from error

    def _delete_stream(self, name: str) -> None:
        try:
            self._cluster.request("DELETE", url_path("_data_stream", name), ignore=(404,))
        except ResponseError as error:
            if error.status not in (400, 405):
                raise
            # Without the data stream API the stream's template still made a plain index of that name.
            self._cluster.request("DELETE", url_path(name), ignore=(404,))


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let a request end before Ctrl-C is heeded: what it makes could not be removed before it is made.

    Whoever cannot wait presses it once more.
    """
    heeded = (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in heeded}
    got: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        got.append(number)
        handler = before[signal.Signals(number)]
        if len(got) > 1 and callable(handler):
            handler(number, frame)

    for number in heeded:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if got:
        signal.raise_signal(got[0])


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

    def scan(self, *arguments: Any, **options: Any) -> Any:
        return self._cluster.scan(*arguments, **options)


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
