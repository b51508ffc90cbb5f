"""Evaluates detection plans at a moment: many searches in few requests, every group, every page."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson

from sigmawatch.alerts.document import Alert, AlertSpec, alerts_of_groups, alerts_of_hits
from sigmawatch.render.search import (
    EVENT_PAGE,
    Moments,
    candidate_search,
    event_search,
    group_filter,
    window_search,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sigmawatch.cluster import Cluster
    from sigmawatch.cluster import ResponseError
from sigmawatch.compile.plan import DetectionPlan, Query

__all__ = ["Job", "Outcome", "evaluate"]

BATCH = 200
"""Searches in one `_msearch`; more brings nothing (design, section 9)."""

LARGEST_PAGE = 10_000
"""`index.max_result_window`: what one search may return."""

GROUPS_AT_ONCE = 200
"""Groups whose windows are laid in one search."""

_BAD_REQUEST = 400

_KEPT = (
    "responses.status,responses.error,responses.timed_out,responses._shards,responses.aggregations,"
    "responses.hits.hits"
)


@dataclass(frozen=True)
class Job:
    """One plan to be evaluated at one moment."""

    plan: DetectionPlan
    spec: AlertSpec
    moments: Moments
    ingested: int | None = None
    """Plain rules: also look at events that arrived in that many milliseconds before the moment."""
    filters: tuple[Query, ...] = ()
    indices: tuple[str, ...] = ()
    """Searched instead of the plan's own."""


@dataclass
class Outcome:
    """What a job found, and what kept it from seeing everything."""

    alerts: list[Alert] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass
class _Search:
    """One search of a job, in the state that its answers have brought it to."""

    number: int
    job: Job
    body: dict[str, Any]
    step: str
    candidates: list[dict[str, Any]] = field(default_factory=list)


def evaluate(cluster: Cluster, jobs: Sequence[Job], *, created: int) -> list[Outcome]:
    """Evaluate jobs and return their outcomes in the same order.

    A search that fails is a problem of its own job and stops no other. `created`: now, in epoch milliseconds.
    Raises ClusterError when the cluster does not answer at all.
    """
    outcomes = [Outcome() for _ in jobs]
    waiting = [_first(number, job) for number, job in enumerate(jobs)]
    while waiting:
        batch, waiting = waiting[:BATCH], waiting[BATCH:]
        for search, answer in zip(batch, _msearch(cluster, batch), strict=True):
            outcome = outcomes[search.number]
            if _usable(answer, outcome):
                waiting += _next(search, answer, outcome, created)
    return outcomes


def _first(number: int, job: Job) -> _Search:
    if job.plan.correlation is None:
        return _events(number, job)
    body = candidate_search(job.plan, job.moments, filters=job.filters)
    return _Search(number, job, body, "candidates")


def _events(number: int, job: Job, size: int = EVENT_PAGE) -> _Search:
    body = event_search(job.plan, job.moments, ingested=job.ingested, filters=job.filters, size=size)
    body["_source"] = job.spec.source_fields()
    return _Search(number, job, body, "events")


def _msearch(cluster: Cluster, batch: Sequence[_Search]) -> list[dict[str, Any]]:
    lines = []
    for search in batch:
        header = {
            "index": list(search.job.indices or search.job.plan.indices),
            "ignore_unavailable": True,
            "allow_no_indices": True,
        }
        lines += [orjson.dumps(header), orjson.dumps(search.body)]
    params = {"filter_path": _KEPT}
    try:
        answer = cluster.request("POST", "/_msearch", b"\n".join(lines) + b"\n", params=params)
    except ResponseError as error:
        # A body that cannot even be parsed fails the whole request: find it, so that it stops no other.
        if error.status != _BAD_REQUEST:
            raise
        if len(batch) == 1:
            return [{"error": {"reason": error.reason}}]
        half = len(batch) // 2
        return _msearch(cluster, batch[:half]) + _msearch(cluster, batch[half:])
    responses: list[dict[str, Any]] = answer["responses"]
    return responses


def _usable(answer: dict[str, Any], outcome: Outcome) -> bool:
    """Note what is wrong with an answer; return whether it says anything at all."""
    if "error" in answer:
        error = answer["error"]
        cause = (error.get("root_cause") or [error])[0]
        reason = cause.get("reason") or error.get("reason") or cause.get("type")
        _note(outcome, f"the search failed: {reason}")
        return False
    shards = answer.get("_shards") or {}
    if answer.get("timed_out"):
        _note(outcome, "the search timed out")
    if shards.get("failed"):
        _note(outcome, "shards failed")
    if shards.get("total") == 0:
        _note(outcome, "no index matches")
    return True


def _note(outcome: Outcome, problem: str) -> None:
    if problem not in outcome.problems:
        outcome.problems.append(problem)


def _next(search: _Search, answer: dict[str, Any], outcome: Outcome, created: int) -> Iterable[_Search]:
    """Take what an answer says into the outcome and return the searches that have to follow."""
    if search.step == "events":
        return _take_events(search, answer, outcome, created)
    groups = (answer.get("aggregations") or {}).get("groups") or {}
    buckets = groups.get("buckets") or []
    after = groups.get("after_key")
    if search.step == "candidates":
        return _take_candidates(search, buckets, after)
    for bucket in buckets:
        if bucket["windows"]["value"]["truncated"]:
            _note(outcome, "a group has more events than windows are laid over")
    outcome.alerts += alerts_of_groups(search.job.spec, buckets, created=created)
    if after is None:
        return []
    return [_windows(search, search.candidates, after)]


def _take_candidates(
    search: _Search, buckets: list[dict[str, Any]], after: dict[str, Any] | None
) -> list[_Search]:
    job = search.job
    found = search.candidates + [bucket.get("key") or {} for bucket in buckets]
    following: list[_Search] = []
    while len(found) >= GROUPS_AT_ONCE:
        following.append(_windows(search, found[:GROUPS_AT_ONCE]))
        found = found[GROUPS_AT_ONCE:]
    # A page may be empty and still have a successor: the selector drops groups after the page was cut.
    if after is not None:
        body = candidate_search(job.plan, job.moments, filters=job.filters, after=after)
        following.append(_Search(search.number, job, body, "candidates", found))
    elif found:
        following.append(_windows(search, found))
    return following


def _windows(search: _Search, keys: list[dict[str, Any]], after: dict[str, Any] | None = None) -> _Search:
    job = search.job
    assert job.plan.correlation is not None
    filters = [*job.filters, *group_filter(job.plan.correlation, keys)]
    body = window_search(job.plan, job.moments, filters=filters, after=after)
    return _Search(search.number, job, body, "windows", keys)


def _take_events(search: _Search, answer: dict[str, Any], outcome: Outcome, created: int) -> list[_Search]:
    hits = (answer.get("hits") or {}).get("hits") or []
    size = search.body["size"]
    if len(hits) < size:
        outcome.alerts += alerts_of_hits(search.job.spec, hits, created=created)
        return []
    if size < LARGEST_PAGE:
        return [_events(search.number, search.job, LARGEST_PAGE)]
    # More than a page can hold: halve the time until each half fits. Sorting by a tie-breaker would need a
    # point in time, which the two products open in different ways.
    first, last = int(hits[0]["sort"][0]), int(hits[-1]["sort"][0])
    middle = (first + last) // 2
    if last == first:
        _note(outcome, "more events in one millisecond than a search can return")
        outcome.alerts += alerts_of_hits(search.job.spec, hits, created=created)
        return []
    halves: list[Query] = [
        {"range": {"@timestamp": {"lte": middle, "format": "epoch_millis"}}},
        {"range": {"@timestamp": {"gt": middle, "format": "epoch_millis"}}},
    ]
    jobs = [replace(search.job, filters=(*search.job.filters, half)) for half in halves]
    return [_events(search.number, job, LARGEST_PAGE) for job in jobs]
