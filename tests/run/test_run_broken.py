"""What goes wrong with one detection, one index or the whole cluster, and what it costs: nothing but time."""

from __future__ import annotations

from typing import Any

import pytest

from run.run_bench import HOUR, MINUTE, START, Bench, at, burst_of, event, run_through
from sigmawatch.cluster import ResponseError
from sigmawatch.deploy.kind import Write
from sigmawatch.deploy.kinds import all_kinds
from sigmawatch.errors import ClusterError, ContentError, UsageError
from sigmawatch.run.runner import Runner, Tick

BROKEN_QUERIES: dict[str, tuple[dict[str, Any], str]] = {
    "a query that the engine does not know": ({"no_such_query": {}}, "no_such_query"),
    "a query that is no query": ({}, ""),
    "a query that fails on the shards": ({"script": {"script": "doc['kind'].value.x() == 1"}}, ""),
    "a value that the field cannot hold": ({"term": {"source.ip": "not an address"}}, "not an address"),
}


def test_broken_detections_are_reported_and_stop_no_others(either: Bench) -> None:
    broken = [
        (plan, reason)
        for name, (query, reason) in BROKEN_QUERIES.items()
        for plan in (either.plain(name, query=query), either.burst(f"{name}, often", query=query))
    ]
    good = either.plain("good")
    either.deploy(*(plan for plan, _ in broken), good, either.burst("good bursts"))
    either.index_events(burst_of(START, every=0))
    tick = either.catch_up(START + MINUTE)
    assert [alert[0] for alert in either.alerts()] == ["good"] * 5 + ["good bursts"]
    for plan, reason in broken:
        problems = [problem for problem in tick.problems if problem.startswith(f"{plan.rule.title}: ")]
        assert any("failed" in problem and reason in problem for problem in problems), tick.problems
        assert plan.rule.id in {rule for rule, note in either.health() if reason in note}
        # It begins where it was first due, and does not move on.
        assert either.checkpoint(plan) == START
    assert either.checkpoint(good) == START + MINUTE


def test_a_detection_that_was_broken_for_hours_has_lost_nothing_when_it_is_repaired(bench: Bench) -> None:
    bench.deploy(bench.plain(query={"no_such_query": {}}), bench.plain("good"))
    bench.catch_up(START)
    for hour in range(1, 10):
        bench.index_events([event(START + hour * HOUR)])
        bench.catch_up(START + hour * HOUR)
    bench.deploy(bench.plain())
    bench.catch_up(START + 10 * HOUR)
    assert bench.alerts() == [
        (name, at(START + hour * HOUR), "10.0.0.1") for name in ("good", "plain") for hour in range(1, 10)
    ]


def test_a_detection_that_fails_on_one_old_index_goes_on_with_the_present(bench: Bench) -> None:
    old = f"{bench.index}-old"
    # Times are of a type there that cannot be compared with the others.
    bench.cluster.request("PUT", f"/{old}", {"mappings": {"properties": {"@timestamp": {"type": "ip"}}}})
    try:
        plan = bench.plain(indices=(f"{bench.index}*",))
        bench.deploy(plan)
        moments = [START + hour * HOUR for hour in range(12)]
        bench.index_events([event(moment) for moment in moments])
        ticks = bench.ticks(*moments)
        assert all("shards failed" in tick.problems[0] for tick in ticks)
        assert bench.alerts() == [("plain", at(moment), "10.0.0.1") for moment in moments]
        assert bench.checkpoint(plan) == START - MINUTE
    finally:
        bench.cluster.request("DELETE", f"/{old}")
    ticks = bench.ticks(START + 12 * HOUR)
    assert [tick.problems for tick in ticks] == [[]] * len(ticks)
    assert bench.checkpoint(plan) == START + 12 * HOUR


def test_an_index_that_does_not_exist_yet_is_said_and_waited_for_without_standing_still(
    either: Bench,
) -> None:
    missing = either.plain(indices=(f"missing-{either.token}", f"missing-{either.token}-*"))
    either.deploy(missing, either.plain("good"))
    tick = either.catch_up(START)
    assert tick.problems == ["Rule plain: no index matches"]
    assert either.health() == [(missing.rule.id, "no index matches")]
    assert either.checkpoint(missing) == START


def test_a_detection_of_another_version_is_reported_and_stops_no_other(bench: Bench) -> None:
    bench.deploy(bench.plain())
    plan = bench.plain("odd").to_dict() | {"namespace": bench.token}
    kind = all_kinds()["detection"]
    odd = [
        {"version": 99, "namespace": bench.token},
        plan | {"interval": 0},
        plan | {"correlation": {"root": []}},
        plan | {"rule": {"id": "x", "title": "X", "unheard_of": 1}},
    ]
    for number, body in enumerate(odd):
        kind.write(bench.cluster, Write(f"odd-{number}", {"plan": body, "marks": {}}))
    bench.index_events([event(START)])
    tick = bench.catch_up(START)
    assert len(tick.problems) == 4
    assert all("cannot be read" in problem for problem in tick.problems)
    assert bench.alerts() == [("plain", at(START), "10.0.0.1")]
    assert [rule for rule, _ in bench.health()] == ["odd-0", "odd-1", "odd-2", "odd-3"]


def test_one_alert_that_the_cluster_refuses_keeps_back_its_own_detection_only(bench: Bench) -> None:
    bench.deploy(bench.plain("refused", kind="b"), bench.plain("good"))
    blocked = bench.plain("refused", kind="b")
    month = f"/sigmawatch-alerts-{bench.token}-2026.02"
    bench.cluster.request("PUT", month, {"settings": {"index.blocks.write": True}})
    bench.catch_up(START)
    bench.index_events([event(START - 24 * HOUR, kind="b", arrived=START + 1), event(START + 1)])
    tick = bench.catch_up(START + MINUTE)
    assert [problem for problem in tick.problems if "Rule refused: alerts cannot be written" in problem]
    assert [rule for rule, _ in bench.health()] == [blocked.rule.id]
    assert bench.alerts() == [("good", at(START + 1), "10.0.0.1")]
    assert bench.checkpoint(blocked) == START
    assert bench.checkpoint(bench.plain("good")) == START + MINUTE


def test_alerts_that_could_not_be_written_are_written_when_the_index_is_writable_again(either: Bench) -> None:
    either.deploy(either.plain(), either.burst())
    either.index_events([event(START - MINUTE)])
    either.catch_up(START)
    index = f"/sigmawatch-alerts-{either.token}-2026.03"
    either.cluster.request("PUT", f"{index}/_settings", {"index.blocks.write": True})
    either.index_events(burst_of(START + 1, every=0))
    for minute in (1, 2, 10, 19):
        tick = either.catch_up(START + minute * MINUTE)
        assert tick.new == 0
        assert any("cannot be written" in problem for problem in tick.problems)
    either.cluster.request("PUT", f"{index}/_settings", {"index.blocks.write": None})
    tick = either.catch_up(START + 20 * MINUTE)
    assert (tick.new, tick.problems) == (6, [])
    assert len(either.alerts()) == 7


def test_a_blocked_health_index_holds_up_no_detection(bench: Bench) -> None:
    good = bench.plain("good")
    bench.deploy(bench.plain("broken", query={"no_such_query": {}}), good)
    index = f"/sigmawatch-health-{bench.token}-2026.03"
    bench.cluster.request("PUT", index, {"settings": {"index.blocks.write": True}})
    tick = bench.catch_up(START)
    assert any("health notes cannot be written" in problem for problem in tick.problems)
    assert bench.checkpoint(good) == START


# The cluster fails ----------------------------------------------------------------------------------------


class Failing:
    """A cluster that is away for chosen requests, counted from 1."""

    def __init__(self, cluster: Any, fails: Any) -> None:
        self._cluster = cluster
        self._fails = fails
        self.requests: list[str] = []

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        self.requests.append(f"{method} {path}")
        if self._fails(len(self.requests)):
            raise ClusterError("connection refused")
        return self._cluster.request(method, path, body, **options)

    def scan(self, *args: Any, **options: Any) -> Any:
        self.requests.append("scan")
        if self._fails(len(self.requests)):
            raise ClusterError("connection refused")
        return self._cluster.scan(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)


def test_a_cluster_that_goes_away_at_any_request_loses_nothing(bench: Bench) -> None:
    bench.deploy(bench.plain(), bench.burst())
    moments = [START]
    bench.index_events(burst_of(START - 1, every=0))
    whole = Failing(bench.cluster, lambda number: False)
    run_through(whole, moments)  # type: ignore[arg-type]
    expected = bench.alert_ids()
    assert len(expected) == 6
    for failed in range(1, len(whole.requests) + 1):
        bench.forget_runs()
        ticks = run_through(
            Failing(bench.cluster, lambda number, failed=failed: number == failed),  # type: ignore[arg-type]
            [*moments, START + MINUTE],
        )
        assert "connection refused" in [problem for tick in ticks for problem in tick.problems], failed
        assert bench.alert_ids() == expected, failed


def test_a_cluster_that_is_away_for_hours_is_said_at_every_tick_and_caught_up_with(bench: Bench) -> None:
    bench.deploy(bench.plain(), bench.burst())
    bench.index_events([event(START + minute * MINUTE) for minute in range(0, 120, 10)])
    moments = range(START, START + 120 * MINUTE, 10 * MINUTE)
    away = [False]
    cluster = Failing(bench.cluster, lambda number: away[0])
    present = [START - 10 * MINUTE]

    def stop(seconds: float) -> bool:
        present[0] += 10 * MINUTE
        away[0] = START + 10 * MINUTE <= present[0] < START + 110 * MINUTE
        return present[0] not in moments

    ticks: list[Tick] = []
    Runner(cluster, clock=lambda: present[0]).run(stop=stop, on_tick=ticks.append)  # type: ignore[arg-type]
    assert [tick.problems for tick in ticks].count(["connection refused"]) == 10
    assert bench.alerts() == [
        ("plain", at(START + minute * MINUTE), "10.0.0.1") for minute in range(0, 120, 10)
    ]


def test_an_answer_with_an_error_of_the_whole_request_is_not_taken_for_an_answer(bench: Bench) -> None:
    bench.deploy(bench.plain())

    class Overloaded(Failing):
        def request(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
            if path == "/_msearch":
                raise ResponseError(method, path, 429, {"error": {"type": "busy", "reason": "too busy"}})
            return super().request(method, path, body, **options)

    with pytest.raises(ClusterError, match="too busy"):
        Runner(Overloaded(bench.cluster, lambda number: False), clock=lambda: START).catch_up()  # type: ignore[arg-type]
    assert bench.checkpoint(bench.plain()) == START - MINUTE


BUSY: dict[str, dict[str, Any]] = {
    "refused": {"status": 429, "error": {"type": "circuit_breaking_exception", "reason": "too large"}},
    "in part": {
        "status": 200,
        "_shards": {
            "total": 2,
            "failed": 1,
            "failures": [{"reason": {"type": "circuit_breaking_exception"}}],
        },
        "hits": {"hits": []},
    },
}


@pytest.mark.parametrize("name", BUSY)
@pytest.mark.parametrize("times", [1, 3, 4])
def test_a_search_that_the_cluster_was_too_busy_for_is_sent_again(
    bench: Bench, name: str, times: int
) -> None:
    bench.deploy(bench.plain(), bench.burst())
    bench.index_events(burst_of(START, every=0))
    refused = [0]

    class Busy(Failing):
        def request(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
            answer = super().request(method, path, body, **options)
            if path == "/_msearch" and refused[0] < times and b"candidate" in body:
                refused[0] += 1
                answer["responses"] = [BUSY[name] for _ in answer["responses"]]
            return answer

    cluster = Busy(bench.cluster, lambda number: False)
    tick = Runner(cluster, clock=lambda: START + MINUTE).catch_up()  # type: ignore[arg-type]
    assert refused == [times]
    assert bool(tick.problems) == (times == 4)
    assert bench.checkpoint(bench.burst()) == (START if times == 4 else START + MINUTE)


# One moment -----------------------------------------------------------------------------------------------


def test_one_moment_can_be_evaluated_again_and_again_beside_the_schedule(bench: Bench) -> None:
    bench.deploy(bench.plain(), bench.burst())
    bench.index_events(burst_of(START, every=0))
    runner = Runner(bench.cluster, clock=lambda: START)
    ticks = [runner.evaluate_at(moment) for moment in (START + MINUTE, START + MINUTE, START + 5 * MINUTE)]
    assert [(tick.new, tick.existing) for tick in ticks] == [(6, 0), (0, 6), (0, 6)]
    assert bench.checkpoint(bench.plain()) is None


def test_one_moment_can_be_evaluated_for_some_rules_only(bench: Bench) -> None:
    bench.deploy(bench.plain("first"), bench.plain("second"))
    bench.index_events([event(START)])
    runner = Runner(bench.cluster)
    runner.evaluate_at(START, [bench.plain("second").rule.id])
    assert bench.alerts() == [("second", at(START), "10.0.0.1")]
    with pytest.raises(UsageError, match="no detection with the id nonsense"):
        runner.evaluate_at(START, ["nonsense"])


def test_a_cluster_without_detections_is_an_error_of_whoever_starts_a_runner(bench: Bench) -> None:
    for start in (Runner(bench.cluster).load, Runner(bench.cluster).catch_up):
        with pytest.raises(ContentError, match="no detections are deployed"):
            start()
