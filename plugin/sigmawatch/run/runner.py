"""The runner: evaluates deployed detections on schedule, and survives being killed at any moment.

Alerts are written before the checkpoint that says so. Whatever is evaluated again after a crash has the same
ids and meets its first copy. A runner that was away catches up from its checkpoint; two at once do no harm.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from sigmawatch.alerts.document import Alert, AlertSpec, health_alert
from sigmawatch.cluster import BulkItem, bulk
from sigmawatch.errors import ClusterError, ContentError, UsageError
from sigmawatch.render.search import Moments
from sigmawatch.run.checkpoints import Checkpoints
from sigmawatch.run.detections import Detection, Detections, read_detections, version_of
from sigmawatch.run.evaluate import BATCH, Job, evaluate
from sigmawatch.run.late import Arrivals, oldest_arrivals
from sigmawatch.run.write import Refused, write_alerts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sigmawatch.cluster import Cluster

__all__ = ["Runner", "Tick", "now"]

T = TypeVar("T")

OVERLAP = 300_000
"""Milliseconds that each evaluation looks back beyond the last, for events that were indexed late."""

ARRIVAL_OVERLAP = 60_000
"""The same for the time of arrival, which the ingest node sets a moment before the event can be found."""

LONGEST_STEP = 6 * 3_600_000
"""A runner that catches up does so in steps of at most this many milliseconds."""

FLUSH = 5_000
"""Alerts that are kept in memory before they are written."""

KEPT = 10_000
"""Alerts that a tick shows; it counts all of them."""


def now() -> int:
    """Return the present in epoch milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass
class Tick:
    """What one evaluation of the due detections did."""

    at: int
    evaluated: int = 0
    created: list[Alert] = field(default_factory=list)
    """The alerts that are new, the first 10,000 of them."""
    new: int = 0
    """How many are new."""
    existing: int = 0
    """Alerts that had been written before."""
    problems: list[str] = field(default_factory=list)
    behind: bool = False
    """Whether some detection has more to catch up on at once."""

    def note(self, problem: str) -> None:
        """Add a problem, once."""
        if problem not in self.problems:
            self.problems.append(problem)


@dataclass(frozen=True)
class _Step:
    """One evaluation of a detection: of what happened or arrived after `last`, up to and including `to`."""

    detection: Detection
    last: int
    to: int
    saved: bool = True
    """Whether it moves the checkpoint."""


class Runner:
    """Evaluates detections against one cluster: all of them, or those of one tenant."""

    def __init__(self, cluster: Cluster, *, clock: Callable[[], int] = now, tenant: str = "") -> None:
        self._cluster = cluster
        self._tenant = tenant
        self._clock = clock
        self._detections = Detections()
        self._version: object = None
        self._checkpoints = Checkpoints(cluster)
        self._failures: dict[str, int] = {}
        """How often in a row the detections with these ids failed."""

    # One moment -----------------------------------------------------------------------------------------

    def evaluate_at(self, at: int, rules: Sequence[str] = ()) -> Tick:
        """Evaluate all detections (or those with these ids) at one moment, whatever the checkpoints say.

        Looks for bursts that began within the correlation's window before it, and for events within the
        interval of a plain rule. Repeating it changes nothing. Raises UsageError for an id that is unknown.
        """
        tick = Tick(at)
        self._detections = read_detections(self._cluster, tenant=self._tenant)
        known = {detection.id for detection in self._detections.readable}
        for rule in rules:
            if rule not in known:
                raise UsageError(f"no detection with the id {rule} is deployed in {self._cluster.url}")
        chosen = [one for one in self._detections.readable if not rules or one.id in rules]
        for detections in _batches(chosen):
            jobs = [(one, _job(one, at, _window(one), arrived=None)) for one in detections]
            self._execute(jobs, tick)
        if not rules:
            self._report_unreadable(tick)
        return tick

    # On schedule ----------------------------------------------------------------------------------------

    def load(self) -> int:
        """Read the deployed detections and return how many there are.

        Raises ContentError when there is none, ClusterError when the cluster fails.
        """
        version = version_of(self._cluster)
        if version is None or version != self._version:
            self._version = None  # until they are read
            self._detections = read_detections(self._cluster, tenant=self._tenant)
            self._version = version
        return len(self._detections.readable)

    def run(self, *, stop: Callable[[float], bool], on_tick: Callable[[Tick], None]) -> None:
        """Evaluate due detections until told to stop.

        `stop(seconds)` waits that long at most and returns whether to end. A cluster that fails is a problem
        of the tick, told to `on_tick` and tried again at the next; so is one that has no detections any more.
        """
        while True:
            tick = Tick(self._clock())
            try:
                self._tick(tick)
            except ClusterError as error:
                tick.note(error.message)
            except ContentError as error:
                for problem in error.problems:
                    tick.note(problem.message)
            if tick.evaluated or tick.problems:
                on_tick(tick)
            if stop(0 if tick.behind else self._seconds_to_next()):
                return

    def catch_up(self) -> Tick:
        """Evaluate once whatever is due now, however long ago the last evaluation was.

        Raises ContentError when there are no detections, ClusterError when the cluster fails.
        """
        tick = Tick(self._clock(), behind=True)
        while tick.behind:
            tick.behind = False
            self._tick(tick)
        return tick

    def _seconds_to_next(self) -> float:
        moment = self._clock()
        shortest = min((one.interval for one in self._detections.readable), default=60_000)
        step = min(shortest, 60_000)
        return (step - moment % step) / 1000

    def _tick(self, tick: Tick) -> None:
        self.load()
        self._checkpoints.read()
        steps = list(self._due(tick))
        for batch in _batches(steps):
            self._take(batch, tick)
        self._report_unreadable(tick)

    def _due(self, tick: Tick) -> Iterator[_Step]:
        """Yield the steps that bring every detection to its latest moment, or as near as one tick can."""
        new = {
            one.id: tick.at - tick.at % one.interval - one.interval
            for one in self._detections.readable
            if self._checkpoints.get(one.id) is None
        }
        self._checkpoints.begin(new)
        for detection in self._detections.readable:
            interval = detection.interval
            due = tick.at - tick.at % interval
            last = self._checkpoints.get(detection.id)
            assert last is not None
            if last > due + OVERLAP:
                # Waiting for that moment would mean to see nothing until then.
                tick.note(
                    f"{detection.plan.rule.title}: the clock was wrong once: the checkpoint is ahead of it"
                )
                last = due - LONGEST_STEP
            if due <= last:
                continue
            # What failed may have been too much at once.
            failures = self._failures.get(detection.id, 0)
            step = max(interval, LONGEST_STEP >> min(failures, 16))
            to = min(due, last + step)
            yield _Step(detection, last, to)
            if to < due and failures:
                # It may fail for good, e.g. on one old index: the present must not wait for that.
                yield _Step(detection, due - interval, due, saved=False)

    def _take(self, steps: Sequence[_Step], tick: Tick) -> None:
        """Take steps, and move the checkpoints of those that succeeded."""
        saving = [step for step in steps if step.saved]
        try:
            jobs, failed = self._jobs(steps, tick)
            failed |= self._execute(jobs, tick)
            done = {step.detection.id: step.to for step in saving if step.detection.id not in failed}
            self._checkpoints.save(done)
        except ClusterError:
            self._count_failures(step.detection.id for step in saving)
            raise
        self._count_failures(failed)
        for step in saving:
            if step.detection.id in done:
                self._failures.pop(step.detection.id, None)
                due = tick.at - tick.at % step.detection.interval
                tick.behind = tick.behind or step.to < due

    def _count_failures(self, rules: Iterable[str]) -> None:
        for rule in rules:
            self._failures[rule] = self._failures.get(rule, 0) + 1

    def _jobs(self, steps: Sequence[_Step], tick: Tick) -> tuple[list[tuple[Detection, Job]], set[str]]:
        """Return the jobs of steps. Correlations look back as far as the events go that just arrived; the ids of
        those of which that cannot be told are returned, too.
        """
        questions = [
            Arrivals(step.detection.plan, step.to, _since(step), step.last - OVERLAP)
            for step in steps
            if step.detection.plan.correlation is not None
        ]
        answers = iter(oldest_arrivals(self._cluster, questions))
        jobs = []
        failed: set[str] = set()
        for step in steps:
            report = step.to - step.last + OVERLAP
            if step.detection.plan.correlation is not None:
                oldest = next(answers)
                if isinstance(oldest, int):
                    report = max(report, step.to - oldest + 1)
                elif oldest is not None:
                    failed.add(step.detection.id)
                    tick.note(f"{step.detection.plan.rule.title}: looking for late events: {oldest}")
            jobs.append(
                (step.detection, _job(step.detection, step.to, report, arrived=step.to - _since(step)))
            )
        return jobs, failed

    # Evaluating and writing -----------------------------------------------------------------------------

    def _execute(self, jobs: Sequence[tuple[Detection, Job]], tick: Tick) -> set[str]:
        """Evaluate jobs and write their alerts; return the ids of the rules that are not done."""
        created = self._clock()
        gaps = {
            detection.id: detection.plan.correlation.root.timespan
            for detection, _ in jobs
            if detection.plan.correlation is not None
        }
        writing = _Writing(self._cluster, gaps, tick)
        outcomes = evaluate(self._cluster, [job for _, job in jobs], created=created, on_alerts=writing.take)
        writing.flush()
        notes: list[tuple[AlertSpec, str]] = []
        for (detection, _), outcome in zip(jobs, outcomes, strict=True):
            notes += [(detection.spec, problem) for problem in outcome.problems]
        specs = {detection.id: detection.spec for detection, _ in jobs}
        notes += [(specs[rule], problem) for rule, problem in writing.problems()]
        self._report(notes, tick)
        tick.evaluated += len({detection.id for detection, _ in jobs})
        failed = {
            detection.id for (detection, _), outcome in zip(jobs, outcomes, strict=True) if outcome.failed
        }
        return failed | {rule for rule, _ in writing.problems()}

    def _report_unreadable(self, tick: Tick) -> None:
        self._report([(one.spec, one.reason) for one in self._detections.unreadable], tick)

    def _report(self, notes: Sequence[tuple[AlertSpec, str]], tick: Tick) -> None:
        """Note problems in the tick and in the cluster."""
        for spec, problem in notes:
            tick.note(f"{spec.template['rule'].get('name', spec.rule_id)}: {problem}")
        created = self._clock()
        # At the present, not at the moment evaluated: a detection that is stuck is a problem of today.
        alerts = [health_alert(spec, problem, at=tick.at, created=created) for spec, problem in notes]
        unique = {(alert.index, alert.id): alert for alert in alerts}
        items = [BulkItem("create", one.index, one.id, one.document) for one in unique.values()]
        refused = [failure for failure in bulk(self._cluster, items) if failure.status != 409]
        if refused:
            tick.note(f"health notes cannot be written: {refused[0].reason}")


class _Writing:
    """Writes alerts as they are found, many at a time."""

    def __init__(self, cluster: Cluster, gaps: Mapping[str, int], tick: Tick) -> None:
        self._cluster = cluster
        self._gaps = gaps
        self._tick = tick
        self._waiting: list[Alert] = []
        self._refused: list[Refused] = []

    def take(self, alerts: Sequence[Alert]) -> None:
        """Write alerts, now or with later ones."""
        self._waiting += alerts
        if len(self._waiting) >= FLUSH:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting."""
        if not self._waiting:
            return
        written = write_alerts(self._cluster, self._waiting, gaps=self._gaps)
        self._waiting = []
        self._tick.created += written.created[: max(0, KEPT - len(self._tick.created))]
        self._tick.new += len(written.created)
        self._tick.existing += written.existing
        self._refused += written.refused

    def problems(self) -> list[tuple[str, str]]:
        """Return the ids of rules that have alerts which could not be written, and why."""
        found: dict[str, list[str]] = {}
        for one in self._refused:
            found.setdefault(one.alert.document["rule"]["id"], []).append(one.reason)
        return [
            (rule, f"alerts cannot be written: {reasons[0]} ({len(reasons)} of them)")
            for rule, reasons in found.items()
        ]


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield parts small enough that a crash, or a cluster that fails, costs little."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def _window(detection: Detection) -> int:
    correlation = detection.plan.correlation
    return (detection.interval if correlation is None else correlation.root.timespan) + OVERLAP


def _since(step: _Step) -> int:
    return step.last - ARRIVAL_OVERLAP


def _job(detection: Detection, to: int, report: int, *, arrived: int | None) -> Job:
    """Return the job that reports what happened in the `report` milliseconds before `to`, and plain rules' events
    that came in the `arrived` milliseconds before it.
    """
    correlation = detection.plan.correlation
    if correlation is None:
        return Job(detection.plan, detection.spec, Moments(to, report, 0), ingested=arrived)
    return Job(detection.plan, detection.spec, Moments(to, report, correlation.lookback()))
