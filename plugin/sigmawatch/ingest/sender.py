"""Sends documents in bulk: several requests at once, fewer and later where the cluster is busy.

An answer of 429 or 503, or none, makes the sender wait and halves the number of requests in flight; each success adds
a little of it again. 413 (the request is longer than the cluster or a proxy takes) splits the request. Of a request
that was taken in part, only the documents that the cluster was too busy for are sent again. All of it is safe to
repeat, because every document has an id and is only ever created.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from sigmawatch.cluster import ResponseError
from sigmawatch.cluster.bulk import in_order
from sigmawatch.cluster.failures import describe, may_pass
from sigmawatch.cluster.retry import RetryPolicy
from sigmawatch.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sigmawatch.cluster import Cluster

__all__ = ["Item", "Outcome", "Sender", "ignored", "item"]

BATCH_LINES = 5000
BATCH_BYTES = 5_000_000
"""Bulk requests of this size were the fastest measured (design, section 9)."""

PARALLEL = 4
"""Requests in flight at most."""

PATIENCE = 120.0
"""Seconds without any success after which a busy or silent cluster is given up."""

_TOO_LONG = 413
_EXISTS = 409
_BUSY = frozenset({429, 502, 503, 504})
_BLOCK = "cluster_block_exception"
_FILTER = (
    "items.*._id,items.*.status,items.*.result,items.*.error.type,items.*.error.reason,"
    "items.*.error.caused_by.type,items.*.error.caused_by.reason"
)
"""What is needed of an answer, which is as long as the request otherwise."""


def ignored(what: object) -> None:
    """Do nothing about what one is told."""
    del what


class Item(NamedTuple):
    """One document to be created."""

    id: str
    lines: bytes
    """Its two lines of a bulk request."""
    source: Any
    """What the caller knows it by."""

    @property
    def document(self) -> dict[str, Any]:
        """The document itself."""
        found: dict[str, Any] = orjson.loads(self.lines.split(b"\n", 2)[1])
        return found


def item(target: str, doc_id: str, document: dict[str, Any], source: Any) -> Item:
    """Return a document as an item of a bulk request to a data stream."""
    head = orjson.dumps({"create": {"_index": target, "_id": doc_id}})
    return Item(doc_id, head + b"\n" + orjson.dumps(document) + b"\n", source)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a document."""

    kind: str
    """created, existing (it was there before), dropped (its pipeline says that it is no event), or failed."""
    reason: str = ""
    """Why it failed."""


_CREATED, _EXISTING, _DROPPED = Outcome("created"), Outcome("existing"), Outcome("dropped")


class _Stopped(Exception):
    """The sender is to end."""


class _Gate:
    """Lets as many requests through at once as the cluster bears."""

    def __init__(self, most: int, patience: float | None, on_wait: Callable[[str | None], object]) -> None:
        self._most = most
        self._patience = patience
        self._on_wait = on_wait
        self._changed = threading.Condition()
        self._policy = RetryPolicy()
        self._allowed = most
        self._inside = 0
        self._since_change = 0
        self._failures = 0
        self._not_before = 0.0
        self._last_success = time.monotonic()
        self._ended = False

    def enter(self) -> None:
        """Wait for a place. Raises _Stopped."""
        with self._changed:
            while True:
                if self._ended:
                    raise _Stopped
                wait = self._not_before - time.monotonic()
                if self._inside < self._allowed and wait <= 0:
                    if self._inside == 0 and not self._failures:
                        self._last_success = time.monotonic()  # idleness is no silence
                    self._inside += 1
                    return
                self._changed.wait(max(wait, 0.01) if self._inside < self._allowed else None)

    def leave(self, failure: ClusterError | None = None) -> None:
        """Give the place back. Raises the failure when the cluster has been in trouble for too long."""
        with self._changed:
            self._inside -= 1
            now = time.monotonic()
            if failure is None:
                if self._failures:
                    self._on_wait(None)
                self._failures = 0
                self._last_success = now
                self._since_change += 1
                if self._since_change >= self._allowed and self._allowed < self._most:
                    self._allowed += 1
                    self._since_change = 0
            elif now >= self._not_before:  # of requests that failed together, one counts
                self._failures += 1
                self._allowed = max(1, self._allowed // 2)
                self._since_change = 0
                asked = getattr(failure, "retry_after", None) or 0.0
                wait = max(self._policy.wait(self._failures), min(asked, self._policy.longest_retry_after))
                self._not_before = now + wait
                self._on_wait(failure.message)
            self._changed.notify_all()
            if failure is not None and self._patience is not None:
                silent = now - self._last_success
                if silent > self._patience:
                    raise ClusterError(
                        f"{failure.message} (for {silent:.0f} s)",
                        hint="Run the same command again; lines that are in already are not added twice.",
                    ) from failure

    def end(self) -> None:
        """Let nobody through any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class Sender:
    """Sends items in batches, several at once. `on_outcome` is called for each item, never twice at a time.

    `patience`: seconds without any success after which it gives up; None: it never does. `on_wait` is told why it
    waits, and None when it goes on.
    """

    def __init__(
        self,
        cluster: Cluster,
        on_outcome: Callable[[Item, Outcome], object],
        *,
        parallel: int = PARALLEL,
        patience: float | None = PATIENCE,
        on_wait: Callable[[str | None], object] = ignored,
    ) -> None:
        self._cluster = cluster
        self._on_outcome = on_outcome
        self._gate = _Gate(parallel, patience, on_wait)
        self._endless = patience is None
        self._telling = threading.Lock()
        self._longest = BATCH_BYTES
        self._batch: list[Item] = []
        self._size = 0
        self._handed: queue.Queue[list[Item] | None] = queue.Queue(maxsize=1)
        self._open = 0
        self._settled = threading.Condition()
        self._fault: BaseException | None = None
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(parallel)]
        for thread in self._threads:
            thread.start()

    def send(self, one: Item) -> None:
        """Take an item; wait while too many are on their way. Raises ClusterError when the cluster refuses us."""
        if self._batch and self._size + len(one.lines) > self._longest:
            self.flush()
        self._batch.append(one)
        self._size += len(one.lines)
        if len(self._batch) >= BATCH_LINES:
            self.flush()

    def flush(self) -> None:
        """Send what was taken so far, without waiting for the answer. Raises as `send`."""
        if not self._batch:
            return
        batch, self._batch, self._size = self._batch, [], 0
        with self._settled:
            self._open += 1
        while True:
            self._check()
            try:
                self._handed.put(batch, timeout=0.2)
            except queue.Full:
                continue
            return

    def finish(self) -> None:
        """Send all that is left, and wait until the cluster has answered for everything. Raises as `send`."""
        self.flush()
        with self._settled:
            while self._open and self._fault is None:
                self._settled.wait(0.5)
        self._check()

    def close(self, seconds: float = 5.0) -> None:
        """Send nothing more; wait so long for the answers to what is on its way."""
        self._gate.end()
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            while thread.is_alive() and time.monotonic() < deadline:
                try:
                    self._handed.put_nowait(None)
                except queue.Full:
                    # Nobody is going to send it: what was handed over last is left for the next run.
                    self._discard()
                thread.join(0.05)

    def _discard(self) -> None:
        try:
            self._handed.get_nowait()
        except queue.Empty:
            return

    def _check(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _work(self) -> None:
        while (batch := self._handed.get()) is not None:
            try:
                self._deliver(batch)
            except _Stopped:
                return
            except BaseException as error:  # told by whoever sends next
                with self._settled:
                    self._fault = self._fault or error
                    self._settled.notify_all()
                self._gate.end()
                return
            with self._settled:
                self._open -= 1
                self._settled.notify_all()

    def _deliver(self, batch: list[Item]) -> None:
        waiting = [batch]
        while waiting:
            items = waiting.pop()
            self._gate.enter()
            try:
                left = self._request(items)
            except ResponseError as error:
                if error.status == _TOO_LONG:
                    self._gate.leave()
                    waiting += self._split(items, error)
                elif error.status in _BUSY:
                    self._gate.leave(self._blamed(error))
                    waiting.append(items)
                else:
                    raise
            except ClusterError as error:
                if not may_pass(error):
                    raise
                self._gate.leave(error)
                waiting.append(items)
            else:
                self._gate.leave(self._too_busy(left) if left else None)
                waiting += [left] if left else []

    def _blamed(self, error: ResponseError) -> ResponseError:
        """Return the error, or raise it where waiting is known not to help."""
        if error.error_type == _BLOCK and not self._endless:
            raise error
        return error

    def _too_busy(self, left: Sequence[Item]) -> ClusterError:
        return ClusterError(f"{self._cluster.url} is too busy: it refused {len(left)} lines")

    def _split(self, items: list[Item], error: ResponseError) -> list[list[Item]]:
        """Return a request that is too long in two; one document that is too long fails."""
        if len(items) == 1:
            reason = (
                f"{len(items[0].lines):,} bytes, more than the cluster takes (413 {error.reason})".rstrip()
            )
            self._tell([(items[0], Outcome("failed", reason))])
            return []
        size = sum(len(one.lines) for one in items)
        self._longest = min(self._longest, max(size // 2, 1))
        middle = len(items) // 2
        return [items[middle:], items[:middle]]

    def _request(self, items: list[Item]) -> list[Item]:
        """Send one request, and return those of its documents that the cluster was too busy for."""
        body = b"".join(one.lines for one in items)
        # Not repeated by the client: how long to wait, and how many may go at once, is decided for all requests.
        answer = self._cluster.request(
            "POST", "/_bulk", body, params={"filter_path": _FILTER}, idempotent=False
        )
        results = answer.get("items") if isinstance(answer, dict) else None
        if not isinstance(results, list) or len(results) != len(items):
            raise ClusterError(
                f"POST /_bulk: the answer is about {len(results or ())} of {len(items)} documents",
                hint="Is a proxy changing what it passes on?",
            )
        busy = []
        told = []
        for one, entry in zip(items, in_order([one.id for one in items], results), strict=True):
            status, error = entry.get("status"), entry.get("error")
            if status == _EXISTS:
                told.append((one, _EXISTING))
            elif error is None:
                told.append((one, _DROPPED if entry.get("result") == "noop" else _CREATED))
            elif status in _BUSY and (self._endless or error.get("type") != _BLOCK):
                busy.append(one)
            else:
                reason = describe(error) if isinstance(error, dict) else str(error)
                told.append((one, Outcome("failed", reason)))
        self._tell(told)
        return busy

    def _tell(self, told: Sequence[tuple[Item, Outcome]]) -> None:
        with self._telling:
            for one, outcome in told:
                self._on_outcome(one, outcome)
