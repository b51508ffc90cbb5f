"""Loads log files: lines become documents with ids of their own, so that a repeated load adds nothing."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

import orjson

from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.cluster.bulk import in_order
from sigmawatch.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sigmawatch.cluster import Cluster
    from sigmawatch.datasets import Dataset
    from sigmawatch.datasets.model import Event

__all__ = ["Loaded", "load_file", "require_deployed"]

BATCH_LINES = 5000
BATCH_BYTES = 5_000_000
"""Bulk requests of this size were the fastest measured (design, section 9)."""

MAX_REASONS = 5
_GZIP = b"\x1f\x8b"
_BZIP2 = b"BZh"
_XZ = b"\xfd7zXZ\x00"
_MAGIC_BYTES = 8
_UNREADABLE = {
    b"\x28\xb5\x2f\xfd": "packed with Zstandard",
    b"PK\x03\x04": "a zip archive",
    b"PAR1": "a Parquet file",
    b"ElfFile\x00": "a Windows event log (EVTX)",
}
"""What files begin with that cannot be read line by line."""

_CHUNK = 1 << 16
"""Characters that are read at most at once: a file may be one line."""

_FORBIDDEN = 403
_EXISTS = 409
_BUSY = 429
_ATTEMPTS = 6


@dataclass
class Loaded:
    """What became of the lines of a file."""

    created: int = 0
    existing: int = 0
    """Lines that were loaded before."""
    dropped: int = 0
    """Lines that are no events, such as headers."""
    failed: int = 0
    reasons: list[str] = field(default_factory=list)
    """Why the first few failed."""
    unread: str | None = None
    """Why the rest of the file could not be read."""

    def fail(self, reason: str) -> None:
        """Note that an event was not taken."""
        self.failed += 1
        if len(self.reasons) < MAX_REASONS:
            self.reasons.append(reason)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[str], Callable[[], int]]]:
    """Yield the lines of a file, unpacked if need be, and a function that tells the bytes read of it."""
    try:
        raw = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    with raw:
        # By what it holds: logs are renamed on their way, and rotated ones are not always called .gz.
        unpacked = _unpacked(raw, path)
        # Bytes that are no UTF-8 must not stop a load; what they were stays visible as escapes.
        text = io.TextIOWrapper(unpacked, encoding="utf-8-sig", errors="backslashreplace", newline="\n")
        yield text, raw.tell if raw.seekable() else lambda: 0


def _unpacked(raw: io.BufferedReader, path: Path) -> IO[bytes]:
    """Return the file unpacked. Raises UsageError for what holds no lines."""
    head = raw.peek(_MAGIC_BYTES)[:_MAGIC_BYTES]
    for magic, what in _UNREADABLE.items():
        if head.startswith(magic):
            raise UsageError(f"{path} is {what}, not a log of lines", hint="Unpack or export it first.")
    if head.startswith(_GZIP):
        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]
    if head.startswith(_BZIP2):
        return bz2.BZ2File(raw)
    if head.startswith(_XZ):
        return lzma.LZMAFile(raw)
    return raw


def require_deployed(cluster: Cluster, dataset: Dataset) -> None:
    """Raise UsageError when the cluster would take lines of a dataset for anything else.

    Without its template any index of that name would be made: no pipeline, guessed types, in the way of the
    data stream ever after.
    """
    name = f"logs-{dataset.name}"
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


def load_file(
    cluster: Cluster,
    dataset: Dataset,
    path: Path,
    *,
    namespace: str = "default",
    on_bytes: Callable[[int], None] | None = None,
) -> Loaded:
    """Load the events of a file into the data stream of a dataset, taken out of what they come in.

    The id of a document is a hash of what makes its event unique where the log has that, else of the file's name, the
    event's number and its text: the same file loaded again adds nothing, and two equal lines of a file stay two
    events. `on_bytes` is told how far it is.

    Raises UsageError when the file cannot be read, ClusterError when the cluster does not take it. Of a file
    that cannot be read to its end, what comes before is loaded.
    """
    result = Loaded()
    target = dataset.data_stream(namespace)
    with _opened(path) as (lines, position):
        batch: list[tuple[str, bytes]] = []
        size = 0
        for number, event in enumerate(dataset.events(_readable(lines, path, result))):
            if event.left_out:
                length = len(event.document["message"]) + event.left_out
                result.fail(f"event {number + 1}: {length:,} characters, more than a document may have")
                continue
            pair = _pair(target, path.name, number, event)
            batch.append(pair)
            size += len(pair[1])
            if len(batch) >= BATCH_LINES or size >= BATCH_BYTES:
                _send(cluster, batch, result)
                batch, size = [], 0
                if on_bytes is not None:
                    on_bytes(position())
        _send(cluster, batch, result)
        if on_bytes is not None:
            on_bytes(position())
    return result


def _readable(text: IO[str], path: Path, result: Loaded) -> Iterator[str]:
    """Yield lines, long ones in chunks, up to where the file is cut off or damaged, and note that."""
    number = 0
    try:
        while chunk := text.readline(_CHUNK):
            number += chunk.endswith("\n")
            yield chunk
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        what = "cut off" if isinstance(error, EOFError) else "damaged"
        reason = getattr(error, "strerror", None) or error
        result.unread = f"{path} is {what} after line {number}: {reason}"


def _pair(target: str, name: str, number: int, event: Event) -> tuple[str, bytes]:
    """Return the id of a document and the two lines of a bulk request that create it."""
    document = event.document
    identity = event.unique or f"{name}\n{number}\n{document['message']}".encode("utf-8", "replace")
    doc_id = hashlib.sha256(identity).hexdigest()[:32]
    head = orjson.dumps({"create": {"_index": target, "_id": doc_id}})
    return doc_id, head + b"\n" + orjson.dumps(document) + b"\n"


def _send(cluster: Cluster, batch: list[tuple[str, bytes]], result: Loaded) -> None:
    """Send a batch, and again those of its lines that the cluster was too busy for."""
    for _ in range(_ATTEMPTS):
        if not batch:
            return
        answer = cluster.request("POST", "/_bulk", b"".join(lines for _, lines in batch), idempotent=True)
        busy = []
        entries = in_order([doc_id for doc_id, _ in batch], answer["items"])
        for pair, entry in zip(batch, entries, strict=True):
            status = entry.get("status")
            if status == _BUSY:
                busy.append(pair)
            elif status == _EXISTS:
                result.existing += 1
            elif "error" in entry:
                result.fail(str(entry["error"].get("reason", entry["error"])))
            elif entry.get("result") == "noop":
                result.dropped += 1
            else:
                result.created += 1
        batch = busy
    raise ClusterError(
        f"{cluster.url} is too busy: it refused {len(batch)} lines {_ATTEMPTS} times",
        hint="Run the same command again; lines that are in already are not added twice.",
    )
