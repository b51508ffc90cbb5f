"""Many searches in one request, such that one that is refused fails no other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from sigmawatch.cluster import ResponseError
from sigmawatch.cluster.failures import describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmawatch.cluster import Cluster

__all__ = ["Search", "failure_of", "is_busy", "msearch"]

SEARCH_TIMEOUT = "60s"
"""After this long the engine gives up a search and answers with what it has, marked as timed out."""

REQUEST_TIMEOUT = 120.0
"""Seconds to wait for the answer to all searches of a request."""

_SPLIT = frozenset({400, 413})
"""Statuses of a whole request that may be the fault of one search in it: unparseable, or too large together."""

_BUSY = 429
_BUSY_TYPES = frozenset({"circuit_breaking_exception", "rejected_execution_exception"})

_KEPT = (
    "responses.status,responses.error,responses.timed_out,responses._shards,responses.aggregations,"
    "responses.hits.hits,responses.hits.total"
)


@dataclass(frozen=True)
class Search:
    """A body and where it is searched. Indices that are missing are left out."""

    indices: tuple[str, ...]
    body: dict[str, Any]


def msearch(cluster: Cluster, searches: Sequence[Search]) -> list[dict[str, Any]]:
    """Send searches in one request and return their answers in the same order.

    A search that the cluster refuses has an answer with `error`. Raises ClusterError when the cluster does not
    answer, or refuses for a reason that is no single search's fault.
    """
    if not searches:
        return []
    lines = []
    for search in searches:
        header = {"index": list(search.indices), "ignore_unavailable": True, "allow_no_indices": True}
        lines += [orjson.dumps(header), orjson.dumps({"timeout": SEARCH_TIMEOUT, **search.body})]
    body = b"\n".join(lines) + b"\n"
    params = {"filter_path": _KEPT}
    try:
        answer = cluster.request("POST", "/_msearch", body, params=params, timeout=REQUEST_TIMEOUT)
    except ResponseError as error:
        if error.status not in _SPLIT:
            raise
        # A body that cannot even be parsed fails the whole request: find it, so that it stops no other.
        if len(searches) == 1:
            return [{"error": {"reason": error.reason}}]
        half = len(searches) // 2
        return msearch(cluster, searches[:half]) + msearch(cluster, searches[half:])
    responses: list[dict[str, Any]] = answer["responses"]
    return responses


def failure_of(answer: dict[str, Any]) -> str | None:
    """Return why an answer is missing or incomplete, None when it tells everything."""
    error = answer.get("error")
    if error is not None:
        return f"the search failed: {describe(error) if isinstance(error, dict) else error}"
    if answer.get("timed_out"):
        return f"the search timed out after {SEARCH_TIMEOUT}"
    shards = answer.get("_shards") or {}
    if shards.get("failed"):
        failures = shards.get("failures") or [{}]
        reason = describe(failures[0].get("reason") or {}) or "no reason given"
        return f"{shards['failed']} of {shards.get('total', '?')} shards failed: {reason}"
    return None


def is_busy(answer: dict[str, Any]) -> bool:
    """Return whether all or part of an answer is missing for lack of memory or of a place in the queue."""
    failures = (answer.get("_shards") or {}).get("failures") or []
    reasons = [failure.get("reason") or {} for failure in failures]
    return answer.get("status") == _BUSY or any(reason.get("type") in _BUSY_TYPES for reason in reasons)
