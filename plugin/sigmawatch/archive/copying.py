"""Copying one index into the archive, so that a run may be ended at any moment and followed by another.

A copy is complete when it has as many documents as its source; only then it is closed to writing, merged, and marked as
complete, in this order. What was begun goes on with the fields it was begun with. Documents keep their ids and are only
ever created, so that what is copied twice is there once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sigmawatch import __version__
from sigmawatch.artifact import content_hash
from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sigmawatch.archive.holdings import Copy, Policy, Source
    from sigmawatch.cluster import Cluster

__all__ = ["Copied", "CopyFailed", "copy_index"]

ROUNDS = 3
"""How often what is missing is copied: a node that restarts forgets what it was doing."""

FIRST_POLL, LAST_POLL = 0.2, 10.0
"""Seconds between two looks at what is being copied."""

SHARD_BYTES, SHARD_DOCUMENTS = 50_000_000_000, 1_000_000_000
"""Of a primary shard of the source for which the copy gets one. A copy is smaller; Lucene ends at 2^31 documents."""

_REINDEX = "indices:data/write/reindex"
_SHOWN = 3


class CopyFailed(ClusterError):
    """An index could not be copied completely."""


@dataclass(frozen=True)
class Copied:
    """What copying an index came to."""

    documents: int
    """In the copy."""
    known: int
    """Of them those that an earlier run, or another one, had copied."""
    seconds: float


@dataclass(frozen=True)
class _Part:
    """Events of which the same fields are kept."""

    query: dict[str, Any]
    fields: tuple[str, ...]


def silent(done: int, total: int) -> None:
    """Tell nobody how far copying is."""
    del done, total


def copy_index(
    cluster: Cluster,
    source: Source,
    target: str,
    policy: Policy,
    *,
    begun: Copy | None = None,
    rate: int | None = None,
    on_progress: Callable[[int, int], object] = silent,
    sleep: Callable[[float], None] = time.sleep,
) -> Copied:
    """Copy an index of a data stream; return when the copy is complete and marked so.

    `begun`: what an earlier run left. `rate`: documents a second, in place of the policy's. Raises CopyFailed, telling
    which documents were refused, and other ClusterErrors.
    """
    started = time.monotonic()
    fields = begun.fields if begun is not None else policy.fields
    original = begun.original if begun is not None else policy.original
    said = {
        "source": source.index,
        "source_uuid": source.uuid,
        "stream": source.stream,
        "dataset": source.dataset,
        "rolled_over": source.rolled_over,
        "fields": list(fields),
        "fields_hash": content_hash([list(fields), list(original)]),
        "original": list(original),
        **({"delete": policy.delete} if policy.delete is not None else {}),
    }
    if begun is None:
        _create(cluster, source, target, said)
    _refresh(cluster, source.index, target)
    known = copied = _count(cluster, target)
    total = _count(cluster, source.index)
    if copied > total:
        # Events were erased from the source meanwhile: they must not live on here.
        cluster.request("DELETE", url_path(target), ignore=(404,))
        _create(cluster, source, target, said)
        known = copied = 0
    elif begun is not None and copied < total:
        # It was complete once, and closed: something was written into an index that is no longer the newest.
        cluster.request("PUT", url_path(target, "_settings"), {"index.blocks.write": None})
    for _ in range(ROUNDS):
        for task in _running(cluster, target):
            _wait(cluster, task, copied, total, on_progress, sleep)
            _refresh(cluster, target)
            copied = _count(cluster, target)
        if copied == total:
            break
        before = copied
        for part in _parts(fields, original):
            task = _start(cluster, source.index, target, part, rate or policy.rate)
            _wait(cluster, task, copied, total, on_progress, sleep)
            _refresh(cluster, target)
            copied = _count(cluster, target)
        total = _count(cluster, source.index)
        if copied == total or copied <= before:
            break
    if copied != total:
        raise CopyFailed(
            f"{source.index}: {copied:,} of {total:,} documents are in {target}",
            hint="The next run goes on; the source is as it was.",
        )
    on_progress(copied, total)
    cluster.request("PUT", url_path(target, "_settings"), {"index.blocks.write": True})
    _merge(cluster, target, sleep)
    done = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "documents": total,
        "version": __version__,
    }
    body = {"_meta": {"sigmawatch": {"archive": said, "archived": done}}}
    cluster.request("PUT", url_path(target, "_mapping"), body)
    return Copied(copied, known, time.monotonic() - started)


def _create(cluster: Cluster, source: Source, target: str, said: dict[str, Any]) -> None:
    shards = max(-(-source.bytes // SHARD_BYTES), -(-source.documents // SHARD_DOCUMENTS), 1)
    body = {
        "settings": {"index": {"number_of_shards": shards}},
        "mappings": {"_meta": {"sigmawatch": {"archive": said}}},
    }
    try:
        cluster.request("PUT", url_path(target), body)
    except ResponseError as error:
        # Another run was faster, or this is the second try of a request whose answer got lost.
        if error.error_type != "resource_already_exists_exception":
            raise


def _parts(fields: Sequence[str], original: Sequence[str]) -> Iterator[_Part]:
    """Yield what is copied one after the other: what could not be read, wholly or in part, keeps its line."""
    if not original:
        yield _Part({"match_all": {}}, tuple(fields))
        return
    unread = [
        {"term": {"event.kind": "pipeline_error"}},
        {"exists": {"field": "error.message"}},
        {"bool": {"must_not": [{"exists": {"field": "event.kind"}}]}},
    ]
    yield _Part({"bool": {"should": unread, "minimum_should_match": 1}}, (*fields, *original))
    yield _Part({"bool": {"must_not": unread}}, tuple(fields))


def _start(cluster: Cluster, index: str, target: str, part: _Part, rate: int) -> str:
    """Let the cluster copy; return the task that does."""
    body = {
        # What is there already was copied before.
        "conflicts": "proceed",
        "source": {"index": index, "query": part.query, "_source": {"includes": list(part.fields)}},
        "dest": {"index": target, "op_type": "create", "pipeline": "_none"},
    }
    params = {"wait_for_completion": "false", "requests_per_second": str(rate)}
    answer = cluster.request("POST", "/_reindex", body, params=params, idempotent=False)
    return str(answer["task"])


def _running(cluster: Cluster, target: str) -> list[str]:
    """Return what still copies there: a run that is killed leaves it, and so does a lost answer."""
    answer = cluster.request("GET", "/_tasks", params={"actions": _REINDEX, "detailed": "true"})
    return [
        task
        for node in (answer.get("nodes") or {}).values()
        for task, one in node["tasks"].items()
        if f" to [{target}]" in str(one.get("description", ""))
    ]


def _wait(
    cluster: Cluster,
    task: str,
    before: int,
    total: int,
    on_progress: Callable[[int, int], object],
    sleep: Callable[[float], None],
) -> None:
    """Wait until a task has ended, however it did. Raises CopyFailed for documents that were refused."""
    poll = FIRST_POLL
    while True:
        answer = cluster.request("GET", url_path("_tasks", task), ignore=(404,))
        if answer is None:
            return  # its node restarted; what is missing is copied anew
        status = answer["task"].get("status") or {}
        on_progress(min(before + int(status.get("created") or 0), total), total)
        if answer["completed"]:
            break
        sleep(poll)
        poll = min(poll * 1.5, LAST_POLL)
    if (error := answer.get("error")) is not None:
        raise CopyFailed(f"copying was given up: {error.get('reason') or error.get('type')}")
    failures = (answer.get("response") or {}).get("failures") or []
    if failures:
        raise CopyFailed("; ".join(_failure(one) for one in failures[:_SHOWN]) + _more(len(failures)))


def _failure(one: dict[str, Any]) -> str:
    """Return in words which document was refused, or which shard could not be read."""
    cause = one.get("cause") or one.get("reason") or {}
    what = f"document {one['id']}" if "id" in one else f"shard {one.get('shard')}"
    return f"{what} of {one.get('index')}: {cause.get('reason') or cause.get('type')}"


def _more(number: int) -> str:
    return f"; and {number - _SHOWN} more" if number > _SHOWN else ""


def _merge(cluster: Cluster, target: str, sleep: Callable[[float], None]) -> None:
    """Merge to one segment, which is the smallest and the fastest to search. A nicety: what fails is left."""
    params = {"max_num_segments": "1", "wait_for_completion": "false"}
    try:
        answer = cluster.request("POST", url_path(target, "_forcemerge"), params=params)
        if isinstance(answer, dict) and "task" in answer:
            _wait(cluster, str(answer["task"]), 0, 0, silent, sleep)
    except (ResponseError, CopyFailed):
        return  # early releases of OpenSearch 2 cannot do that in the background


def _refresh(cluster: Cluster, *indices: str) -> None:
    cluster.request("POST", url_path(",".join(indices), "_refresh").replace("%2C", ","))


def _count(cluster: Cluster, index: str) -> int:
    answer = cluster.request("GET", url_path(index, "_count"))
    if answer["_shards"]["failed"]:
        raise CopyFailed(f"{index} could not be counted: {answer['_shards']['failed']} of its shards failed")
    return int(answer["count"])
