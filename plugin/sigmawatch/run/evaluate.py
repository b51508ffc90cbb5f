"""Evaluates detection plans at a moment: many searches in few requests, every group, every page."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from sigmawatch.alerts.document import Alert, AlertSpec, alerts_of_groups, alerts_of_hits
from sigmawatch.cluster import ResponseError
from sigmawatch.render.search import (
    EVENT_PAGE,
    Moments,
    candidate_search,
    event_search,
    group_filter,
    window_search,
)
from sigmawatch.run.msearch import Search, failure_of, is_busy, msearch

if TYPE_CHECKING:
    from sigmawatch.cluster import Cluster
    from sigmawatch.compile.plan import DetectionPlan, Query

__all__ = ["BATCH", "Job", "Outcome", "evaluate"]

BATCH = 200
"""Searches in one `_msearch`; more brings nothing (design, section 9)."""

LARGEST_PAGE = 10_000
"""`index.max_result_window`: what one search may return."""

PAGES_AT_ONCE = 2
"""Searches for the largest page in one request: their answers have to fit into memory, there and here."""

ATTEMPTS = 3
"""How often a search is sent again that the cluster was too busy for."""

GROUPS_AT_ONCE = 200
"""Groups whose windows are laid in one search."""

OLDEST_ARRIVAL = 10 * 366 * 24 * 3_600_000
"""Events older than this, in milliseconds, raise no alert when they arrive."""

NEWEST_ARRIVAL = 24 * 3_600_000
"""Events further in the future than this are left until their time comes. Alert indices are named by the
event's month: without bounds, events with hostile times could create any number of indices."""

OnAlerts = Callable[[Sequence[Alert]], None]


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
    """Empty when they went elsewhere."""
    problems: list[str] = field(default_factory=list)
    failed: bool = False
    """Whether events were not looked at that another attempt may see."""

    def note(self, problem: str, *, failed: bool = False) -> None:
        """Add a problem, once."""
        self.failed = self.failed or failed
        if problem not in self.problems:
            self.problems.append(problem)


@dataclass
class _Step:
    """One search of a job, in the state that its answers have brought it to."""

    number: int
    job: Job
    body: dict[str, Any]
    kind: str
    candidates: list[dict[str, Any]] = field(default_factory=list)
    attempts: int = 0
    """How often the cluster was too busy for it."""

    @property
    def indices(self) -> tuple[str, ...]:
        return self.job.indices or self.job.plan.indices


def evaluate(
    cluster: Cluster, jobs: Sequence[Job], *, created: int, on_alerts: OnAlerts | None = None
) -> list[Outcome]:
    """Evaluate jobs and return their outcomes in the same order.

    A search that fails is a problem of its own job and stops no other. `created`: now, in epoch milliseconds.
    `on_alerts` takes alerts as they are found, in place of the outcomes: there may be very many.
    Raises ClusterError when the cluster does not answer at all.
    """
    run = _Evaluation(cluster, [Outcome() for _ in jobs], created, on_alerts)
    waiting = deque(_first(number, job) for number, job in enumerate(jobs))
    while waiting:
        batch = _batch(waiting)
        answers = msearch(cluster, [Search(step.indices, step.body) for step in batch])
        for step, answer in zip(batch, answers, strict=True):
            if is_busy(answer) and step.attempts < ATTEMPTS:
                # Searches of one request compete for the memory of a node; what is left over finds it free.
                step.attempts += 1
                waiting.append(step)
            elif run.usable(step, answer):
                waiting += run.take(step, answer)
    return run.outcomes


def _batch(waiting: deque[_Step]) -> list[_Step]:
    """Take the steps for one request off the queue."""
    batch: list[_Step] = []
    large = 0
    while waiting and len(batch) < BATCH:
        large += waiting[0].body["size"] > EVENT_PAGE
        if large > PAGES_AT_ONCE:
            break
        batch.append(waiting.popleft())
    return batch


def _first(number: int, job: Job) -> _Step:
    if job.plan.correlation is None:
        return _events(number, job)
    if job.plan.correlation.aliased:
        # Which field holds the key of a group depends on the event, so groups cannot be paged through.
        return _windows(_Step(number, job, {}, "candidates"), [{}])
    return _Step(number, job, candidate_search(job.plan, job.moments, filters=job.filters), "candidates")


def _events(number: int, job: Job, size: int = EVENT_PAGE, beyond: dict[str, int] | None = None) -> _Step:
    filters = list(job.filters)
    if beyond is not None:
        filters.append({"range": {"@timestamp": {**beyond, "format": "epoch_millis"}}})
    if job.ingested is not None:
        assert isinstance(job.moments.to, int)
        bounds = {
            "gte": job.moments.to - OLDEST_ARRIVAL,
            "lte": job.moments.to + NEWEST_ARRIVAL,
            "format": "epoch_millis",
        }
        filters.append({"range": {"@timestamp": bounds}})
    body = event_search(job.plan, job.moments, ingested=job.ingested, filters=filters, size=size)
    body["_source"] = job.spec.source_fields()
    return _Step(number, job, body, "events")


def _windows(step: _Step, keys: list[dict[str, Any]], after: dict[str, Any] | None = None) -> _Step:
    job = step.job
    assert job.plan.correlation is not None
    correlation = job.plan.correlation
    filters = [*job.filters, *([] if correlation.aliased else group_filter(correlation, keys))]
    body = window_search(job.plan, job.moments, filters=filters, after=after)
    return _Step(step.number, job, body, "windows", keys)


class _Evaluation:
    """The outcomes of jobs while their searches are answered."""

    def __init__(
        self, cluster: Cluster, outcomes: list[Outcome], created: int, on_alerts: OnAlerts | None
    ) -> None:
        self._cluster = cluster
        self.outcomes = outcomes
        self._created = created
        self._on_alerts = on_alerts

    def usable(self, step: _Step, answer: dict[str, Any]) -> bool:
        """Note what is wrong with an answer; return whether it says anything at all."""
        outcome = self.outcomes[step.number]
        failure = failure_of(answer)
        if failure is not None:
            outcome.note(failure, failed=True)
        elif (answer.get("_shards") or {}).get("total") == 0:
            outcome.note("no index matches")
        return "error" not in answer

    def take(self, step: _Step, answer: dict[str, Any]) -> Iterable[_Step]:
        """Take what an answer says into the outcome and return the searches that have to follow."""
        if step.kind == "events":
            return self._take_events(step, (answer.get("hits") or {}).get("hits") or [])
        groups = (answer.get("aggregations") or {}).get("groups") or {}
        buckets = groups.get("buckets") or []
        after = groups.get("after_key")
        if step.kind == "candidates":
            return self._take_candidates(step, buckets, after)
        return self._take_windows(step, buckets, after)

    def _take_candidates(
        self, step: _Step, buckets: list[dict[str, Any]], after: dict[str, Any] | None
    ) -> list[_Step]:
        job = step.job
        found = step.candidates + [bucket.get("key") or {} for bucket in buckets]
        following: list[_Step] = []
        while len(found) >= GROUPS_AT_ONCE:
            following.append(_windows(step, found[:GROUPS_AT_ONCE]))
            found = found[GROUPS_AT_ONCE:]
        # A page may be empty and still have a successor: the selector drops groups after the page was cut.
        if after is not None:
            body = candidate_search(job.plan, job.moments, filters=job.filters, after=after)
            following.append(_Step(step.number, job, body, "candidates", found))
        elif found:
            following.append(_windows(step, found))
        return following

    def _take_windows(
        self, step: _Step, buckets: list[dict[str, Any]], after: dict[str, Any] | None
    ) -> list[_Step]:
        # Events with several values in a group field bring along groups that were not asked for, and not all
        # events of those: their windows would be wrong.
        asked = {tuple(sorted(key.items())) for key in step.candidates}
        wanted = [one for one in buckets if tuple(sorted((one.get("key") or {}).items())) in asked]
        for bucket in wanted:
            if bucket["windows"]["value"]["truncated"]:
                self.outcomes[step.number].note("a group has more events than windows are laid over")
        self._found(step, alerts_of_groups(step.job.spec, wanted, created=self._created))
        return [] if after is None else [_windows(step, step.candidates, after)]

    def _take_events(self, step: _Step, hits: list[dict[str, Any]]) -> list[_Step]:
        size = step.body["size"]
        if len(hits) < size:
            self._found(step, alerts_of_hits(step.job.spec, hits, created=self._created))
            return []
        if size < LARGEST_PAGE:
            return [_events(step.number, step.job, LARGEST_PAGE)]
        # More than a page can hold. All events before the page's last instant are on it; the rest starts there.
        # Paging by a tie-breaker would need a point in time, which the two products open in different ways.
        last = int(hits[-1]["sort"][0])
        complete = [hit for hit in hits if int(hit["sort"][0]) < last]
        if complete:
            self._found(step, alerts_of_hits(step.job.spec, complete, created=self._created))
            return [_events(step.number, step.job, LARGEST_PAGE, {"gte": last})]
        self._take_instant(step, last)
        return [_events(step.number, step.job, LARGEST_PAGE, {"gt": last})]

    def _take_instant(self, step: _Step, time: int) -> None:
        """Take the events of one instant, of which there are more than a page can hold."""
        instant: Query = {"range": {"@timestamp": {"gte": time, "lte": time, "format": "epoch_millis"}}}
        query = {"bool": {"filter": [instant, step.body["query"]]}}
        hits = self._cluster.scan(",".join(step.indices), query, source=step.body["_source"], size=EVENT_PAGE)
        try:
            for page in _pages(hits):
                timed = [hit | {"sort": [time]} for hit in page]
                self._found(step, alerts_of_hits(step.job.spec, timed, created=self._created))
        except ResponseError as error:
            self.outcomes[step.number].note(f"the search failed: {error.reason}", failed=True)

    def _found(self, step: _Step, alerts: list[Alert]) -> None:
        if self._on_alerts is None:
            self.outcomes[step.number].alerts += alerts
        elif alerts:
            self._on_alerts(alerts)


def _pages(hits: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while page := list(islice(hits, EVENT_PAGE)):
        yield page
