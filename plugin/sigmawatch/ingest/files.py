"""Loads log files: lines become documents with ids of their own, so that a repeated load adds nothing."""

from __future__ import annotations

import gzip
import hashlib
import io
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

import orjson

from sigmawatch.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sigmawatch.cluster import Cluster
    from sigmawatch.datasets import Dataset

__all__ = ["Loaded", "load_file"]

BATCH_LINES = 5000
BATCH_BYTES = 5_000_000
"""Bulk requests of this size were the fastest measured (design, section 9)."""

MAX_REASONS = 5
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


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[str], Callable[[], int]]]:
    """Yield the lines of a file, unpacked if need be, and a function that tells the bytes read of it."""
    try:
        raw = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    with raw:
        unpacked: IO[bytes] = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw  # type: ignore[assignment]
        # Bytes that are no UTF-8 must not stop a load; what they were stays visible as escapes.
        text = io.TextIOWrapper(unpacked, encoding="utf-8", errors="backslashreplace", newline="\n")
        yield text, raw.tell


def load_file(
    cluster: Cluster,
    dataset: Dataset,
    path: Path,
    *,
    namespace: str = "default",
    on_bytes: Callable[[int], None] | None = None,
) -> Loaded:
    """Load the lines of a file into the data stream of a dataset.

    The id of a document is a hash of the file's name, the line's number and its text: the same file loaded
    again adds nothing, and two equal lines of a file stay two events. `on_bytes` is told how far it is.

    Raises UsageError when the file cannot be read, ClusterError when the cluster does not take it.
    """
    result = Loaded()
    target = dataset.data_stream(namespace)
    with _opened(path) as (lines, position):
        batch: list[bytes] = []
        size = 0
        for number, document in enumerate(dataset.documents(lines)):
            pair = _pair(target, path.name, number, document)
            batch.append(pair)
            size += len(pair)
            if len(batch) >= BATCH_LINES or size >= BATCH_BYTES:
                _send(cluster, batch, result)
                batch, size = [], 0
                if on_bytes is not None:
                    on_bytes(position())
        _send(cluster, batch, result)
        if on_bytes is not None:
            on_bytes(position())
    return result


def _pair(target: str, name: str, number: int, document: dict[str, Any]) -> bytes:
    identity = f"{name}\n{number}\n{document['message']}".encode("utf-8", "replace")
    doc_id = hashlib.sha256(identity).hexdigest()[:32]
    head = orjson.dumps({"create": {"_index": target, "_id": doc_id}})
    return head + b"\n" + orjson.dumps(document) + b"\n"


def _send(cluster: Cluster, batch: list[bytes], result: Loaded) -> None:
    """Send a batch, and again those of its lines that the cluster was too busy for."""
    for _ in range(_ATTEMPTS):
        if not batch:
            return
        answer = cluster.request("POST", "/_bulk", b"".join(batch), idempotent=True)
        busy = []
        for pair, item in zip(batch, answer["items"], strict=True):
            entry = item["create"]
            status = entry.get("status")
            if status == _BUSY:
                busy.append(pair)
            elif status == _EXISTS:
                result.existing += 1
            elif "error" in entry:
                result.failed += 1
                if len(result.reasons) < MAX_REASONS:
                    result.reasons.append(str(entry["error"].get("reason", entry["error"])))
            elif entry.get("result") == "noop":
                result.dropped += 1
            else:
                result.created += 1
        batch = busy
    raise ClusterError(
        f"{cluster.url} is too busy: it refused {len(batch)} lines {_ATTEMPTS} times",
        hint="Run the same command again; lines that are in already are not added twice.",
    )
