"""Writing many documents: `_bulk` answers 200 although items failed, so every item is looked at."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import orjson

from sigmawatch.cluster.failures import describe

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sigmawatch.cluster.client import Cluster

__all__ = ["BulkFailure", "BulkItem", "bulk", "in_order"]

MAX_ITEMS = 1_000
MAX_BYTES = 5_000_000


@dataclass(frozen=True)
class BulkItem:
    """One write of a document that has an id, so that repeating it does no harm."""

    action: Literal["index", "create", "delete"]
    index: str
    id: str
    document: Mapping[str, Any] | None = None
    version: tuple[int, int] | None = None
    """Sequence number and primary term of the document that it replaces: any other is a failure with 409."""


@dataclass(frozen=True)
class BulkFailure:
    """An item that the cluster refused."""

    item: BulkItem
    status: int
    type: str
    reason: str

    def __str__(self) -> str:
        return f"{self.item.id}: {self.status} {self.reason}"


def bulk(cluster: Cluster, items: Iterable[BulkItem], *, refresh: bool = False) -> list[BulkFailure]:
    """Write items, in requests of at most 1,000 items and about 5 MB, and return those that failed.

    Deleting what is not there is no failure. Items refused with 429 are sent once more by themselves. Raises
    ClusterError when a whole request fails.
    """
    failures: list[BulkFailure] = []
    for batch in _batches(items):
        failed = _send(cluster, batch, refresh)
        busy = [failure.item for failure in failed if failure.status == 429]
        failures += [failure for failure in failed if failure.status != 429]
        if busy:
            failures += _send(cluster, busy, refresh)
    return failures


def in_order(ids: Sequence[str], items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return what an answer's `items` say of each document, in the order in which they were sent.

    OpenSearch (3.7) answers in another order as soon as a pipeline drops or fails one of them, so that only the ids
    tell which is which. Of several with one id the answers come in the order of their sending.
    """
    given = [next(iter(item.values())) for item in items]
    results: dict[str | None, list[Mapping[str, Any]]] = {}
    for result in given:
        results.setdefault(result.get("_id"), []).append(result)
    if Counter(ids) != {name: len(found) for name, found in results.items()}:
        return given  # ids that a pipeline gave anew
    return [results[sent].pop(0) for sent in ids]


def _lines(item: BulkItem) -> bytes:
    meta: dict[str, Any] = {"_index": item.index, "_id": item.id}
    if item.version is not None:
        meta["if_seq_no"], meta["if_primary_term"] = item.version
    head = orjson.dumps({item.action: meta})
    if item.action == "delete":
        return head + b"\n"
    return head + b"\n" + orjson.dumps(item.document) + b"\n"


def _batches(items: Iterable[BulkItem]) -> Iterator[list[BulkItem]]:
    batch: list[BulkItem] = []
    size = 0
    for item in items:
        length = len(_lines(item))
        if batch and (len(batch) >= MAX_ITEMS or size + length > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += length
    if batch:
        yield batch


def _send(cluster: Cluster, batch: list[BulkItem], refresh: bool) -> list[BulkFailure]:
    params = {"refresh": "true"} if refresh else None
    answer = cluster.request("POST", "/_bulk", b"".join(map(_lines, batch)), params=params, idempotent=True)
    failures = []
    for item, result in zip(batch, in_order([item.id for item in batch], answer["items"]), strict=True):
        error = result.get("error")
        if error:
            reason = describe(error) if isinstance(error, dict) else str(error)
            kind = str(error.get("type", "")) if isinstance(error, dict) else ""
            failures.append(BulkFailure(item, int(result.get("status", 500)), kind, reason))
    return failures
