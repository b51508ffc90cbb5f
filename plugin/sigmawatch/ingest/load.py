"""Loads logs: events become documents with ids of their own, so that a repeated load adds nothing."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import orjson

from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.datasets.jsontext import pieces
from sigmawatch.errors import UsageError
from sigmawatch.ingest.identity import Beginnings, Lineage
from sigmawatch.ingest.sender import PARALLEL, PATIENCE, Item, Outcome, Sender, ignored, item
from sigmawatch.ingest.sources import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import IO

    from sigmawatch.cluster import Cluster
    from sigmawatch.datasets import Dataset
    from sigmawatch.datasets.model import Event
    from sigmawatch.ingest.sources import Chunks

__all__ = ["Loaded", "Loader", "RefusedLines", "holds_refused", "load_file", "require_deployed"]

MAX_REASONS = 5
_FORBIDDEN = 403

REFUSED_KEY = "sigmawatch"
"""Member of a refused line with what it was to be: dataset, id, and why it was refused."""


@dataclass
class Loaded:
    """What became of the events of a file."""

    dataset: str = ""
    """What they were taken for."""
    created: int = 0
    existing: int = 0
    """Events that were loaded before."""
    dropped: int = 0
    """Lines that are no events, such as headers."""
    failed: int = 0
    reasons: list[str] = field(default_factory=list)
    """Why the first few failed."""
    unread: str | None = None
    """Why the rest of the file could not be read."""

    @property
    def total(self) -> int:
        """Events that the cluster answered for, and those that were not sent to it."""
        return self.created + self.existing + self.dropped + self.failed

    def fail(self, reason: str) -> None:
        """Note that an event was not taken."""
        self.failed += 1
        if len(self.reasons) < MAX_REASONS:
            self.reasons.append(reason)


def require_deployed(cluster: Cluster, dataset: Dataset) -> None:
    """Raise UsageError when the cluster would take lines of a dataset for anything else.

    Without its template any index of that name would be made: no pipeline, guessed types, in the way of the
    data stream ever after.
    """
    name = dataset.template_id
    try:
        found = cluster.request("GET", url_path("_index_template", name), ignore=(404,))
    except ResponseError as error:
        if error.status != _FORBIDDEN:  # who may only write documents cannot look, and is not kept from it
            raise
        return
    if not isinstance(found, dict) or not found.get("index_templates"):
        _ = cluster.info  # what is no cluster has no templates either: that is to be said first
        raise UsageError(
            f"dataset {dataset.name} is not deployed in {cluster.url}", hint="Run `sigmawatch deploy` first."
        )


class RefusedLines:
    """A file of the lines that a cluster refused: one JSON object a line, which can be loaded as it is."""

    def __init__(self, path: Path, *, append: bool = False) -> None:
        """Raises UsageError where something is there already and `append` does not allow for it."""
        self.path = path
        self._file: IO[bytes] | None = None
        self._mode = "ab" if append else "xb"
        if not append and path.exists():
            raise UsageError(f"{path} exists already", hint="Load it first, or name another file.")

    def add(self, dataset: str, doc_id: str, document: Mapping[str, Any], reason: str) -> None:
        """Write a line. The file is made with the first one. Raises UsageError when it cannot be written."""
        line = {**document, REFUSED_KEY: {"dataset": dataset, "id": doc_id, "reason": reason}}
        try:
            if self._file is None:
                self._file = self.path.open(self._mode)
            self._file.write(orjson.dumps(line) + b"\n")
            self._file.flush()
        except OSError as error:
            raise UsageError(f"{self.path} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()


def _refused(line: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return what a refused line was to be and its document, None for any other line."""
    if f'"{REFUSED_KEY}":' not in line:
        return None
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    about = found.pop(REFUSED_KEY, None) if isinstance(found, dict) else None
    if not isinstance(about, dict) or not {"dataset", "id"} <= about.keys() or "message" not in found:
        return None
    return about, found


def holds_refused(head: str) -> bool:
    """Whether a text that begins so is a file of refused lines."""
    return _refused(head.partition("\n")[0]) is not None


class Loader:
    """Loads sources into the data streams of one namespace. Use it as a context, and `finish` at its end."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        parallel: int = PARALLEL,
        patience: float | None = PATIENCE,
        refused: RefusedLines | None = None,
        on_wait: Callable[[str | None], object] = ignored,
    ) -> None:
        self.namespace = namespace
        self.beginnings: Beginnings = {}
        self._refused = refused
        self.sender = Sender(cluster, self._note, parallel=parallel, patience=patience, on_wait=on_wait)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sender.close()

    def finish(self) -> None:
        """Wait until the cluster has answered for all events. Raises ClusterError."""
        self.sender.finish()

    def load(
        self,
        dataset: Dataset,
        chunks: Chunks,
        result: Loaded,
        *,
        on_bytes: Callable[[int], object] = ignored,
    ) -> None:
        """Send the events of a text, taken out of what they come in; `result` tells what becomes of them.

        `on_bytes` is told how far it is. Of a file that cannot be read to its end, what comes before is loaded.
        Raises ClusterError when the cluster does not take it.
        """
        result.dataset = dataset.name
        lineage = Lineage(self.beginnings)
        for event in dataset.events(chunks):
            self.add(dataset, event, lineage, result)
            if lineage.number % 1000 == 0:
                on_bytes(chunks.position)
        result.unread = chunks.unread
        on_bytes(chunks.position)

    def add(self, dataset: Dataset, event: Event, lineage: Lineage, result: Loaded) -> None:
        """Send one event. Raises ClusterError."""
        doc_id = lineage.next_id(event)
        if event.left_out:
            length = len(event.document["message"]) + event.left_out
            result.fail(f"event {lineage.number}: {length:,} characters, more than a document may have")
            return
        self.sender.send(item(dataset.data_stream(self.namespace), doc_id, event.document, result))

    def load_refused(
        self, datasets: Mapping[str, Dataset], chunks: Chunks, result_of: Callable[[str], Loaded]
    ) -> None:
        """Send what a file of refused lines holds, as what it was to be. Raises UsageError, ClusterError."""
        for piece in pieces(chunks):
            found = _refused(piece.text)
            if found is None or found[0]["dataset"] not in datasets:
                what = found[0]["dataset"] if found else piece.text[:80]
                raise UsageError(
                    f"not a line that was refused, or of an unknown dataset: {what}",
                    hint="Load what else there is by itself.",
                )
            about, document = found
            target = datasets[about["dataset"]].data_stream(self.namespace)
            self.sender.send(item(target, str(about["id"]), document, result_of(about["dataset"])))

    def _note(self, one: Item, outcome: Outcome) -> None:
        result: Loaded = one.source
        if outcome.kind == "failed":
            result.fail(outcome.reason)
            if self._refused is not None:
                self._refused.add(result.dataset, one.id, one.document, outcome.reason)
        else:
            setattr(result, outcome.kind, getattr(result, outcome.kind) + 1)


def load_file(
    cluster: Cluster,
    dataset: Dataset,
    path: Path,
    *,
    namespace: str = "default",
    on_bytes: Callable[[int], object] = ignored,
) -> Loaded:
    """Load one file by itself. Raises UsageError when it cannot be read, ClusterError when it is not taken."""
    result = Loaded()
    with ExitStack() as opened:
        chunks = opened.enter_context(Source(str(path), path).open())
        loader = opened.enter_context(Loader(cluster, namespace=namespace))
        loader.load(dataset, chunks, result, on_bytes=on_bytes)
        loader.finish()
    return result
