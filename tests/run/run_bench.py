"""A cluster prepared for the runner: one index of events, deployed detections, alerts of this test only."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from sigmawatch.alerts.document import ALERTS, HEALTH, SHADOW, iso_time
from sigmawatch.alerts.templates import alert_artifacts
from sigmawatch.cluster import Cluster, ConnectionSettings, connect
from sigmawatch.compile.plan import Correlation, CorrelationNode, DetectionPlan, Query, RuleInfo
from sigmawatch.deploy.kind import Write
from sigmawatch.deploy.kinds import all_kinds
from sigmawatch.render.detection import detection_artifact
from sigmawatch.render.scripts import script_artifacts
from sigmawatch.run.checkpoints import CHECKPOINTS
from sigmawatch.run.detections import DETECTIONS
from sigmawatch.run.runner import Runner, Tick

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
START = 1_772_359_200_000
"""2026-03-01T10:00:00Z, a full hour: every interval has a moment there."""

_MAPPINGS = {
    "dynamic": False,
    "properties": {
        "@timestamp": {"type": "date"},
        "event": {"properties": {"ingested": {"type": "date"}}},
        "kind": {"type": "keyword"},
        "source": {"properties": {"ip": {"type": "ip"}}},
        "user": {"properties": {"name": {"type": "keyword"}}},
    },
}


def event(
    at: int, ip: str = "10.0.0.1", *, kind: str = "a", arrived: int | None = None, **more: Any
) -> dict[str, Any]:
    """Return an event at a moment, in epoch milliseconds; `arrived` is its event.ingested."""
    document = {"@timestamp": at, "source": {"ip": ip}, "kind": kind, **more}
    return document if arrived is None else document | {"event": {"ingested": arrived}}


@dataclass
class Bench:
    """What a test does to the cluster, and what it finds there."""

    cluster: Cluster
    token: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def index(self) -> str:
        return f"test-run-{self.token}"

    @property
    def url(self) -> str:
        return self.cluster.url

    # Detections -----------------------------------------------------------------------------------------

    def plain(
        self, name: str = "plain", *, kind: str = "a", interval: int = 60, **more: Any
    ) -> DetectionPlan:
        """Return a plan that alerts on every event of a kind."""
        query = more.pop("query", {"term": {"kind": kind}})
        return DetectionPlan(self._rule(name), more.pop("indices", (self.index,)), query, interval)

    def burst(
        self,
        name: str = "burst",
        *,
        count: int = 5,
        span: int = 60,
        group_by: tuple[str, ...] = ("source.ip",),
        interval: int = 60,
        query: Query | None = None,
    ) -> DetectionPlan:
        """Return a plan that alerts on `count` events of kind `a` of one group within `span` seconds."""
        events = {"term": {"kind": "a"}} if query is None else query
        root = CorrelationNode("event_count", span * SECOND, {"gte": count}, (0,))
        correlation = Correlation(root, group_by, (events,))
        return DetectionPlan(self._rule(name), (self.index,), events, interval, correlation)

    def _rule(self, name: str) -> RuleInfo:
        return RuleInfo(f"{name}-{self.token}", f"Rule {name}")

    def deploy(self, *plans: DetectionPlan) -> None:
        """Write detections as the deployer does."""
        kind = all_kinds()["detection"]
        kind.prepare(self.cluster)
        for plan in plans:
            artifact = detection_artifact(plan, namespace=self.token)
            kind.write(self.cluster, Write(artifact.id, {"plan": dict(artifact.body), "marks": {}}))

    def undeploy(self, *plans: DetectionPlan) -> None:
        for plan in plans:
            all_kinds()["detection"].delete(self.cluster, plan.rule.id)

    # Events ---------------------------------------------------------------------------------------------

    def index_events(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Index events and make them searchable."""
        action = orjson.dumps({"index": {"_index": self.index}})
        lines = [line for one in events for line in (action, orjson.dumps(one))]
        answer = self.cluster.request("POST", "/_bulk", b"\n".join(lines) + b"\n", params={"refresh": "true"})
        assert not answer["errors"], answer

    # Running --------------------------------------------------------------------------------------------

    def catch_up(self, at: int) -> Tick:
        """Evaluate what is due at a moment, by a runner that was started only then."""
        return Runner(self.cluster, clock=lambda: at).catch_up()

    def ticks(self, *moments: int) -> list[Tick]:
        """Let one runner live through moments."""
        return run_through(self.cluster, moments)

    # Findings -------------------------------------------------------------------------------------------

    def alerts(self, name: str = ALERTS) -> list[tuple[str, str, str]]:
        """Return rule, time and source of every alert, in order."""
        return sorted(
            (
                hit["_source"]["rule"]["name"].removeprefix("Rule "),
                hit["_source"]["@timestamp"],
                hit["_source"].get("source", {}).get("ip", ""),
            )
            for hit in self._written(name)
        )

    def alert_ids(self) -> set[str]:
        return {hit["_id"] for hit in self._written(ALERTS)}

    def alerts_taken_back(self) -> int:
        """Return how many alerts were written and deleted again."""
        stats = self.cluster.request("GET", f"/{ALERTS}-{self.token}-*/_stats/indexing")
        return int(stats["_all"]["primaries"]["indexing"]["delete_total"])

    def health(self) -> list[tuple[str, str]]:
        """Return rule id and reason of every health note."""
        return sorted(
            (hit["_source"]["rule"]["id"], hit["_source"]["event"]["reason"]) for hit in self._written(HEALTH)
        )

    def _written(self, name: str) -> list[dict[str, Any]]:
        index = f"{name}-{self.token}-*"
        self.cluster.request("POST", f"/{index}/_refresh", params={"ignore_unavailable": "true"})
        return list(self.cluster.scan(index))

    def checkpoint(self, plan: DetectionPlan) -> int | None:
        for hit in self.cluster.scan(CHECKPOINTS):
            if hit["_id"] == plan.rule.id:
                return int(hit["_source"]["evaluated"])
        return None

    # Cleaning -------------------------------------------------------------------------------------------

    def forget_runs(self, *more: str) -> None:
        """Remove what runs left, but not detections and events."""
        written = self.cluster.request(
            "GET", f"/{ALERTS}-{self.token}-*,{SHADOW}-{self.token}-*,{HEALTH}-{self.token}-*"
        )
        names = ",".join([*written, CHECKPOINTS, *more])
        self.cluster.request("DELETE", f"/{names}", params={"ignore_unavailable": "true"})

    def clean(self) -> None:
        self.forget_runs(DETECTIONS, self.index)


def run_through(cluster: Cluster, moments: Iterable[int]) -> list[Tick]:
    """Let one runner live through moments, and return its ticks. When it is behind, time stands still."""
    waiting = iter(moments)
    present = [next(waiting)]
    ticks: list[Tick] = []

    def stop(seconds: float) -> bool:
        if seconds == 0:
            return False
        following = next(waiting, None)
        if following is None:
            return True
        present[0] = following
        return False

    Runner(cluster, clock=lambda: present[0]).run(stop=stop, on_tick=ticks.append)
    return ticks


def burst_of(start: int, count: int = 5, *, every: int = SECOND, **more: Any) -> list[dict[str, Any]]:
    return [event(start + number * every, **more) for number in range(count)]


def at(moment: int) -> str:
    """Return a moment as alerts spell it."""
    return iso_time(moment)


def _install(cluster: Cluster) -> None:
    """Install scripts and templates, unless they are there: other tests may have removed theirs."""
    kinds = all_kinds()
    wanted = [*script_artifacts(watcher=False), *alert_artifacts()]
    samples = (wanted[0], wanted[-1])
    if not all(kinds[one.kind].read_all(cluster, [one.id]) for one in samples):
        for artifact in wanted:
            kinds[artifact.kind].write(cluster, Write(artifact.id, dict(artifact.body)))


@contextmanager
def bench_at(url: str, *, shards: int = 2) -> Iterator[Bench]:
    """Prepare a cluster, and remove everything of the test afterwards."""
    with connect(ConnectionSettings(url)) as cluster:
        bench = Bench(cluster)
        cluster.request("DELETE", f"/{DETECTIONS},{CHECKPOINTS}", params={"ignore_unavailable": "true"})
        _install(cluster)
        settings = {"number_of_shards": shards, "number_of_replicas": 0}
        cluster.request("PUT", f"/{bench.index}", {"settings": settings, "mappings": _MAPPINGS})
        yield bench
        bench.clean()
