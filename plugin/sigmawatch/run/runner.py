"""The runner: evaluates deployed detections on schedule, and survives being killed at any moment.

Alerts are written before the checkpoint that says so. Whatever is evaluated again after a crash has the same
ids and meets its first copy. A runner that was away catches up from its checkpoint; two at once do no harm.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sigmawatch.alerts.document import Alert, alert_spec, health_alert
from sigmawatch.cluster import BulkItem, bulk, url_path
from sigmawatch.compile.plan import DetectionPlan
from sigmawatch.errors import ClusterError, ContentError, Problem
from sigmawatch.render.search import Moments
from sigmawatch.render.target import Target
from sigmawatch.run.evaluate import Job, evaluate
from sigmawatch.run.write import write_alerts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sigmawatch.cluster import Cluster

__all__ = ["CHECKPOINTS", "Detection", "Runner", "Tick", "load_detections", "now"]

DETECTIONS = "sigmawatch-detections"
CHECKPOINTS = "sigmawatch-checkpoints"
"""One document per detection: `evaluated` is the moment (epoch milliseconds) up to which it is done."""

OVERLAP = 300_000
"""Milliseconds that each evaluation looks back beyond the last, for events that were indexed late."""

ARRIVAL_OVERLAP = 60_000
"""The same for the time of arrival, which the ingest node sets a moment before the event can be found."""

LATEST = 24 * 3_600_000
"""Events that arrive later than this, in milliseconds, are found by plain rules but not by correlations."""

LONGEST_STEP = 6 * 3_600_000
"""A runner that catches up does so in steps of at most this many milliseconds."""


def now() -> int:
    """Return the present in epoch milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Detection:
    """A deployed plan."""

    plan: DetectionPlan
    namespace: str


@dataclass
class Tick:
    """What one evaluation of the due detections did."""

    at: int
    evaluated: int = 0
    created: list[Alert] = field(default_factory=list)
    existing: int = 0
    problems: list[str] = field(default_factory=list)
    behind: bool = False
    """Whether some detection has more to catch up on at once."""


def load_detections(cluster: Cluster) -> list[Detection]:
    """Return the detections deployed in the cluster, in order of their ids.

    Raises ContentError when there is none or one cannot be read, ClusterError when the cluster fails.
    """
    hits = sorted(cluster.scan(DETECTIONS), key=lambda hit: str(hit["_id"]))
    found = []
    for hit in hits:
        source = hit["_source"]
        try:
            plan = DetectionPlan.from_dict(source["plan"])
        except (KeyError, TypeError, AttributeError) as error:
            message = f"detection {hit['_id']} in {DETECTIONS} cannot be read ({error})"
            hint = "it was deployed by another version: deploy again"
            raise ContentError([Problem(message, hint=hint, code="detection")]) from error
        found.append(Detection(plan, source["plan"].get("namespace", "default")))
    if not found:
        hint = "run `sigmawatch deploy --target runner` first"
        raise ContentError([Problem(f"no detections are deployed in {cluster.url}", hint=hint)])
    return found


class Runner:
    """Evaluates detections against one cluster."""

    def __init__(self, cluster: Cluster, *, clock: Callable[[], int] = now) -> None:
        self._cluster = cluster
        self._clock = clock
        self._detections: list[Detection] = []
        self._checkpoints: dict[str, int] = {}
        self._version: Any = None

    # One moment -----------------------------------------------------------------------------------------

    def evaluate_at(self, at: int, rules: Sequence[str] = ()) -> Tick:
        """Evaluate all detections (or those with these ids) at one moment, whatever the checkpoints say.

        Looks for bursts that began within the correlation's window before it, and for events within the
        interval of a plain rule. Repeating it changes nothing.
        """
        tick = Tick(at)
        jobs = [
            (detection, self._job(detection, at, self._window(detection.plan), None))
            for detection in load_detections(self._cluster)
            if not rules or detection.plan.rule.id in rules
        ]
        self._execute(jobs, tick)
        return tick

    @staticmethod
    def _window(plan: DetectionPlan) -> int:
        if plan.correlation is None:
            return plan.interval * 1000 + OVERLAP
        return plan.correlation.root.timespan + OVERLAP

    # On schedule ----------------------------------------------------------------------------------------

    def run(self, *, stop: Callable[[float], bool], on_tick: Callable[[Tick], None]) -> None:
        """Evaluate due detections until told to stop.

        `stop(seconds)` waits that long at most and returns whether to end. A cluster that fails is a problem
        of the tick, told to `on_tick` and tried again at the next.
        """
        while True:
            at = self._clock()
            tick = Tick(at)
            try:
                self._reload()
                self._run_due(at, tick)
            except ClusterError as error:
                tick.problems.append(error.message)
            if tick.evaluated or tick.problems:
                on_tick(tick)
            if stop(0 if tick.behind else self._seconds_to_next()):
                return

    def catch_up(self) -> Tick:
        """Evaluate once whatever is due now, however long ago the last evaluation was."""
        tick = Tick(self._clock())
        self._reload()
        tick.behind = True
        while tick.behind:
            tick.behind = False
            self._run_due(tick.at, tick)
        return tick

    def _seconds_to_next(self) -> float:
        moment = self._clock()
        shortest = min((detection.plan.interval for detection in self._detections), default=60)
        step = min(shortest, 60) * 1000
        return (step - moment % step) / 1000

    def _reload(self) -> None:
        """Read the detections again when any was deployed since; then the checkpoints of all of them."""
        body = {"size": 1, "sort": [{"_seq_no": "desc"}], "_source": False, "seq_no_primary_term": True}
        path = f"{url_path(DETECTIONS)}/_search"
        found = self._cluster.request("POST", path, body | {"track_total_hits": True}, ignore=(404,))
        hits = found["hits"]["hits"] if found else []
        version = (found["hits"]["total"]["value"], hits[0]["_seq_no"]) if hits else None
        if version is None or version != self._version or not self._detections:
            self._detections = load_detections(self._cluster)
            self._version = version
        self._checkpoints = {
            hit["_id"]: int(hit["_source"]["evaluated"]) for hit in self._cluster.scan(CHECKPOINTS)
        }

    def _run_due(self, at: int, tick: Tick) -> None:
        late = _Lateness(self._cluster)
        jobs: list[tuple[Detection, Job]] = []
        done: dict[str, int] = {}
        behind: set[str] = set()
        for detection in self._detections:
            plan = detection.plan
            interval = plan.interval * 1000
            due = at - at % interval
            last = self._checkpoints.get(plan.rule.id, due - interval)
            if due <= last:
                continue
            to = min(due, last + LONGEST_STEP)
            if to < due:
                behind.add(plan.rule.id)
            report = to - last + OVERLAP
            arrived = to - last + ARRIVAL_OVERLAP
            if plan.correlation is not None:
                oldest = late.oldest(plan.indices, to, arrived)
                if oldest is not None:
                    report = max(report, min(to - oldest + 1, LATEST))
            jobs.append((detection, self._job(detection, to, report, arrived)))
            done[plan.rule.id] = to
        if jobs:
            failed = self._execute(jobs, tick)
            self._save({rule: to for rule, to in done.items() if rule not in failed})
            tick.behind = tick.behind or any(rule in behind and rule not in failed for rule in done)

    def _job(self, detection: Detection, to: int, report: int, arrived: int | None) -> Job:
        plan = detection.plan
        spec = alert_spec(plan, target=Target.RUNNER, namespace=detection.namespace)
        if plan.correlation is None:
            return Job(plan, spec, Moments(to, report, 0), ingested=arrived)
        return Job(plan, spec, Moments(to, report, plan.correlation.lookback()))

    def _execute(self, jobs: Sequence[tuple[Detection, Job]], tick: Tick) -> set[str]:
        """Evaluate jobs and write their alerts; return the rules that could not see everything."""
        created = self._clock()
        outcomes = evaluate(self._cluster, [job for _, job in jobs], created=created)
        alerts: list[Alert] = []
        gaps: dict[str, int] = {}
        failed: set[str] = set()
        for (detection, job), outcome in zip(jobs, outcomes, strict=True):
            plan = detection.plan
            alerts += outcome.alerts
            if plan.correlation is not None:
                gaps[plan.rule.id] = plan.correlation.root.timespan
            for problem in outcome.problems:
                tick.problems.append(f"{plan.rule.title}: {problem}")
                assert isinstance(job.moments.to, int)
                alerts.append(health_alert(job.spec, problem, at=job.moments.to, created=created))
                if problem.startswith(("the search", "shards")):
                    failed.add(plan.rule.id)
        written = write_alerts(self._cluster, alerts, gaps=gaps)
        tick.evaluated += len(jobs)
        tick.created += [alert for alert in written.created if alert.document["event"]["kind"] == "alert"]
        tick.existing += written.existing
        tick.problems += written.failed
        if written.failed:
            # Which rule an unwritten alert belongs to is known only by its text: evaluate all of them again.
            failed |= {detection.plan.rule.id for detection, _ in jobs}
        return failed

    def _save(self, done: dict[str, int]) -> None:
        if done and not self._cluster.request("HEAD", url_path(CHECKPOINTS)):
            body = {
                "settings": {"number_of_shards": 1, "auto_expand_replicas": "0-1", "hidden": True},
                "mappings": {"dynamic": False, "properties": {"evaluated": {"type": "long"}}},
            }
            self._cluster.request("PUT", url_path(CHECKPOINTS), body, ignore=(400,))
        items: Iterable[BulkItem] = (
            BulkItem("index", CHECKPOINTS, rule, {"evaluated": to}) for rule, to in done.items()
        )
        failures = bulk(self._cluster, items, refresh=True)
        if failures:
            raise ClusterError(f"checkpoints cannot be written: {failures[0]}")
        self._checkpoints |= done


class _Lateness:
    """Asks, once for each set of indices, how old the events are that arrived since the last evaluation."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._found: dict[tuple[tuple[str, ...], int, int], int | None] = {}

    def oldest(self, indices: tuple[str, ...], to: int, arrived: int) -> int | None:
        """Return the earliest `@timestamp` of events that arrived in the `arrived` milliseconds before `to`
        and are older than an evaluation looks back anyway; epoch milliseconds, None without such.
        """
        key = (indices, to, arrived)
        if key not in self._found:
            since = to - arrived
            arrival = {"gt": since, "lte": to, "format": "epoch_millis"}
            age = {"gt": to - LATEST, "lte": since - OVERLAP, "format": "epoch_millis"}
            filters = [{"range": {"event.ingested": arrival}}, {"range": {"@timestamp": age}}]
            body = {
                "size": 0,
                "track_total_hits": False,
                "query": {"bool": {"filter": filters}},
                "aggs": {"oldest": {"min": {"field": "@timestamp"}}},
            }
            params = {"ignore_unavailable": "true", "allow_no_indices": "true"}
            path = f"{url_path(','.join(indices))}/_search"
            answer = self._cluster.request("POST", path, body, params=params)
            value = ((answer.get("aggregations") or {}).get("oldest") or {}).get("value")
            self._found[key] = int(value) if value is not None else None
        return self._found[key]
