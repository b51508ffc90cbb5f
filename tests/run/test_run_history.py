"""What history says about rules is what the runner would have written."""

from __future__ import annotations

from itertools import count

import pytest

from run.run_bench import MINUTE, SECOND, START, Bench, burst_of, event
from sigmawatch.render.scripts import script_artifacts
from sigmawatch.run.history import DAY, count_history

pytestmark = pytest.mark.engine

DAYS = 3
BEGIN = START - DAYS * DAY


def fill(bench: Bench) -> None:
    """Events of three days: two bursts a day, one of them across midnight, and two events of another kind a day."""
    for day in range(DAYS):
        at = BEGIN + day * DAY
        bench.index_events(burst_of(at + 3 * MINUTE, ip=f"10.0.{day}.1"))
        bench.index_events([event(at + 5 * MINUTE, kind="b"), event(at + 6 * MINUTE, kind="b")])
        bench.index_events(burst_of(at + DAY - 2 * SECOND, ip=f"10.0.{day}.2"))


def test_history_counts_what_the_runner_would_have_written(bench: Bench) -> None:
    fill(bench)
    plain, burst = bench.plain(kind="b"), bench.burst()
    found = count_history(bench.cluster, [plain, burst], days=DAYS, until=START + MINUTE)
    counted = {one.rule_id: one for one in found.rules}
    assert counted[plain.rule.id].alerts == 2 * DAYS
    assert counted[burst.rule.id].alerts == 2 * DAYS, "a burst across midnight is one"
    assert all(not one.problem for one in found.rules)
    assert found.days == pytest.approx(DAYS, abs=0.01)
    assert found.per_day(counted[plain.rule.id]) == pytest.approx(2, abs=0.05)
    assert bench.alerts() == [], "nothing is written"


def test_days_without_events_do_not_make_a_rule_look_quiet(bench: Bench) -> None:
    bench.index_events([event(START - DAY, kind="b"), event(START - DAY + MINUTE, kind="b")])
    found = count_history(bench.cluster, [bench.plain(kind="b")], days=30, until=START)
    assert found.days == pytest.approx(1, abs=0.01)
    assert found.total == pytest.approx(2, abs=0.05)


def test_what_cannot_be_counted_is_told(bench: Bench) -> None:
    fill(bench)
    broken = bench.plain("broken", query={"nonsense": {}})
    late = count()
    found = count_history(
        bench.cluster,
        [broken, bench.burst()],
        days=1,
        until=START,
        budget=0.5,
        clock=lambda: float(next(late)),
    )
    problems = {one.rule_id.split("-")[0]: one.problem for one in found.rules}
    assert problems["burst"] == "not counted: 0.5 s were over"
    assert problems["broken"]
    (one,) = count_history(bench.cluster, [broken], days=1, until=START).rules
    assert "nonsense" in one.problem


def test_correlations_wait_for_the_scripts_of_a_first_deploy(bench: Bench) -> None:
    for artifact in script_artifacts(watcher=False):
        bench.cluster.request("DELETE", f"/_scripts/{artifact.id}")
    try:
        (one,) = count_history(bench.cluster, [bench.burst()], days=1, until=START).rules
    finally:
        for artifact in script_artifacts(watcher=False):
            bench.cluster.request("PUT", f"/_scripts/{artifact.id}", dict(artifact.body))
    assert one.problem == "correlations are counted once the stored scripts are deployed"
