"""What detections cost; Watcher's pools are told by `HttpStandIn`."""

from __future__ import annotations

from typing import Any

import pytest

from cluster.http_stand_in import INFO, Answer, HttpStandIn, Seen
from sigmawatch.cluster import ConnectionSettings, connect
from sigmawatch.compile.plan import DetectionPlan, RuleInfo
from sigmawatch.deploy.cost import Cost, cost_of
from sigmawatch.render.target import Target
from sigmawatch.render.watch import cron


def plans(number: int, interval: int = 60, **more: Any) -> list[DetectionPlan]:
    return [
        DetectionPlan(RuleInfo(f"r{each}", "R", **more), ("logs-*",), {"match_all": {}}, interval)
        for each in range(number)
    ]


def cost(found: list[DetectionPlan], target: Target, pool: dict[str, Any] | None = None) -> Cost:
    def reply(seen: Seen) -> Answer:
        if not seen.path.startswith("/_nodes/thread_pool"):
            return Answer(body=INFO)
        data = {"roles": ["data_hot"], "thread_pool": {"watcher": pool} if pool else {}}
        other = {"roles": ["master"], "thread_pool": {"watcher": pool} if pool else {}}
        return Answer(body={"nodes": {"a": data, "b": other}})

    with HttpStandIn(reply=reply) as server, connect(ConnectionSettings(server.url)) as cluster:
        return cost_of(cluster, found, target)


def test_searches_are_counted_as_the_target_makes_them() -> None:
    every_ten_seconds = [*plans(6, 10), *plans(5, 300)]
    assert cost(every_ten_seconds, Target.RUNNER).searches == pytest.approx(6 * 6 + 1)
    assert cost(every_ten_seconds, Target.OPENSEARCH).searches == pytest.approx(6 + 1)
    assert cost(plans(3, stage="test"), Target.RUNNER).detections == 0


def test_watches_that_start_together_are_counted_as_their_schedules_say() -> None:
    found = plans(40, 60)
    seconds = [cron(plan.rule.id, 60).split()[0] for plan in found]
    told = cost(found, Target.WATCHER, {"size": 10, "queue_size": 1000})
    assert told.at_once == max(seconds.count(one) for one in seconds)
    assert (told.threads, told.queue) == (10, 1000), "only nodes with data execute watches"
    assert told.warnings == ()


def test_more_than_watcher_takes_is_warned_of() -> None:
    told = cost(plans(300, 60), Target.WATCHER, {"size": 1, "queue_size": 1})
    assert "the windows of the others are lost" in told.warnings[0]
    assert cost(plans(300, 60), Target.WATCHER).threads is None


def test_limits_of_the_alerting_plugin_are_warned_of() -> None:
    assert len(cost(plans(1001), Target.OPENSEARCH).warnings) == 2
    assert cost(plans(10), Target.OPENSEARCH).warnings == ()
