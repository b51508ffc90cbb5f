"""A rule on trial (stage `shadow`) is evaluated like any other, apart; made live it goes on where it was."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from run.run_bench import MINUTE, SECOND, START, Bench, at, burst_of, event
from sigmawatch.alerts.document import SHADOW

if TYPE_CHECKING:
    from sigmawatch.compile.plan import DetectionPlan

pytestmark = pytest.mark.engine


def on_trial(plan: DetectionPlan) -> DetectionPlan:
    return replace(plan, rule=replace(plan.rule, stage="shadow"))


def test_alerts_of_a_trial_are_kept_apart(bench: Bench) -> None:
    plan, burst = bench.plain(), bench.burst()
    bench.deploy(on_trial(plan), on_trial(burst))
    bench.catch_up(START)
    bench.index_events(burst_of(START + SECOND))
    bench.catch_up(START + MINUTE)
    bench.catch_up(START + 2 * MINUTE)
    assert bench.alerts() == []
    names = [name for name, _, _ in bench.alerts(SHADOW)]
    assert (names.count("plain"), names.count("burst")) == (5, 1), "once each, as live ones are"


def test_a_rule_that_becomes_live_keeps_its_checkpoint(bench: Bench) -> None:
    plan = bench.plain()
    bench.deploy(on_trial(plan))
    bench.catch_up(START)
    bench.index_events([event(START + SECOND)])
    bench.catch_up(START + MINUTE)
    before = bench.checkpoint(plan)
    assert before is not None
    bench.deploy(plan)
    bench.index_events([event(START + 90 * MINUTE)])
    bench.catch_up(START + 91 * MINUTE)
    # Nothing between its last evaluation on trial and now is skipped.
    assert ("plain", at(START + 90 * MINUTE), "10.0.0.1") in bench.alerts()
    assert bench.checkpoint(plan) == START + 91 * MINUTE
    assert len(bench.alerts(SHADOW)) == 1
