"""More events and groups than an answer holds: all of them are found."""

from __future__ import annotations

from typing import Any

import pytest

from run.run_bench import MINUTE, SECOND, START, Bench, at, burst_of, event
from sigmawatch.compile.plan import Correlation, CorrelationNode, DetectionPlan
from sigmawatch.run import evaluate as evaluating


def test_twelve_thousand_events_most_of_one_instant_raise_as_many_alerts(bench: Bench) -> None:
    bench.deploy(bench.plain())
    bench.index_events([event(START) for _ in range(10_500)])
    bench.index_events([event(START - SECOND + number // 4) for number in range(1000)])
    bench.index_events([event(START + SECOND + number // 4) for number in range(500)])
    tick = bench.catch_up(START + MINUTE)
    assert tick.problems == []
    assert (tick.new, tick.existing) == (12_000, 0)
    assert len(bench.alert_ids()) == 12_000
    assert len(tick.created) == 10_000


@pytest.mark.parametrize("instants", [1, 2, 7, 100], ids=lambda number: f"{number} instants")
def test_pages_are_cut_anywhere_without_losing_events(
    either: Bench, instants: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "EVENT_PAGE", 10)
    monkeypatch.setattr(evaluating, "LARGEST_PAGE", 20)
    either.deploy(either.plain(), either.plain("other"))
    either.index_events([event(START + number % instants * SECOND) for number in range(100)])
    tick = either.catch_up(START + 2 * MINUTE)
    assert tick.problems == []
    assert (tick.new, tick.existing) == (200, 0)


def test_alerts_are_written_while_more_are_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sigmawatch.run.runner.FLUSH", 30)
    monkeypatch.setattr("sigmawatch.run.runner.KEPT", 50)
    bench.deploy(*(bench.plain(f"plain{number}") for number in range(10)))
    bench.index_events([event(START + number) for number in range(10)])
    tick = bench.catch_up(START + MINUTE)
    assert (tick.new, len(tick.created), len(bench.alerts())) == (100, 50, 100)


def test_two_thousand_five_hundred_groups_are_all_reported(bench: Bench) -> None:
    bench.deploy(bench.burst(count=2))
    sources = [f"10.{number // 250}.{number % 250}.1" for number in range(2500)]
    bench.index_events([event(START + apart * SECOND, source) for source in sources for apart in (0, 1)])
    tick = bench.catch_up(START + MINUTE)
    assert tick.problems == []
    assert bench.alerts() == sorted(("burst", at(START + SECOND), source) for source in sources)


def test_a_page_without_candidates_does_not_end_the_search_for_them(either: Bench) -> None:
    either.deploy(either.burst())
    # In the engine's order all quiet sources come before the one that fires.
    either.index_events([event(START, f"10.0.{number // 250}.{number % 250}") for number in range(1500)])
    either.index_events(burst_of(START, every=0, ip="10.200.0.1"))
    assert either.catch_up(START + MINUTE).problems == []
    assert either.alerts() == [("burst", at(START), "10.200.0.1")]


def test_a_group_that_another_ones_events_bring_along_is_reported_by_all_of_its_own(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "GROUPS_AT_ONCE", 1)
    bench.deploy(bench.burst(count=3, group_by=("user.name",)))
    both: dict[str, Any] = {"user": {"name": ["alice", "bob"]}}
    # bob's third event is his own; the events that he shares with alice would show him only the fourth.
    bench.index_events([event(START + number * SECOND, **both) for number in (0, 1, 3)])
    bench.index_events([event(START + 2 * SECOND, user={"name": "bob"})])
    tick = bench.catch_up(START + MINUTE)
    found = sorted((alert.document["user"]["name"], alert.document["@timestamp"]) for alert in tick.created)
    assert found == [("alice", at(START + 3 * SECOND)), ("bob", at(START + 2 * SECOND))]


def test_groups_of_several_fields_are_told_apart(bench: Bench) -> None:
    root = CorrelationNode("event_count", MINUTE, {"gte": 2}, (0,))
    correlation = Correlation(root, ("source.ip", "user.name"), ({"term": {"kind": "a"}},))
    base = bench.burst()
    bench.deploy(DetectionPlan(base.rule, base.indices, base.query, 60, correlation))
    pairs = [
        ("10.0.0.1", "alice", 2),
        ("10.0.0.1", "bob", 1),
        ("10.0.0.2", "alice", 1),
        ("10.0.0.2", "bob", 3),
    ]
    for source, user, count in pairs:
        bench.index_events(burst_of(START, count, ip=source, user={"name": user}))
    tick = bench.catch_up(START + MINUTE)
    found = sorted((one.document["source"]["ip"], one.document["user"]["name"]) for one in tick.created)
    assert found == [("10.0.0.1", "alice"), ("10.0.0.2", "bob")]


def test_a_correlation_without_groups_counts_everything(either: Bench) -> None:
    either.deploy(either.burst(group_by=()))
    either.index_events([event(START + number, f"10.0.0.{number}") for number in range(6)])
    assert either.catch_up(START + MINUTE).problems == []
    assert either.alerts() == [("burst", at(START + 4), "")]
