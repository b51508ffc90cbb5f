"""What the runner finds, whatever the moments at which it looks."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest

from run.run_bench import HOUR, MINUTE, SECOND, START, Bench, at, burst_of, event, run_through
from sigmawatch.cluster import ConnectionSettings, connect
from sigmawatch.deploy import apply
from sigmawatch.deploy import plan as make_plan
from sigmawatch.render.detection import detection_artifact
from sigmawatch.run.runner import Runner, Tick


def test_each_event_of_a_plain_rule_and_each_burst_raises_one_alert(either: Bench) -> None:
    either.deploy(either.plain(kind="b"), either.burst())
    either.index_events([event(START + MINUTE, kind="b"), event(START + 2 * MINUTE, kind="b")])
    either.index_events(burst_of(START + 3 * MINUTE))
    either.ticks(*range(START, START + 10 * MINUTE, MINUTE))
    assert either.alerts() == [
        ("burst", at(START + 3 * MINUTE + 4 * SECOND), "10.0.0.1"),
        ("plain", at(START + MINUTE), "10.0.0.1"),
        ("plain", at(START + 2 * MINUTE), "10.0.0.1"),
    ]


def test_a_burst_across_a_tick_fires_once_wherever_the_tick_cuts_it(bench: Bench) -> None:
    bench.deploy(bench.burst())
    for number in range(8):
        # The n-th source has n events before the tick at +5 minutes and the rest after it.
        bench.index_events(burst_of(START + 5 * MINUTE + SECOND - number * SECOND, 8, ip=f"10.0.0.{number}"))
    bench.ticks(*range(START + 4 * MINUTE, START + 12 * MINUTE, MINUTE))
    assert bench.alerts() == [
        ("burst", at(START + 5 * MINUTE + SECOND - number * SECOND + 4 * SECOND), f"10.0.0.{number}")
        for number in sorted(range(8), key=lambda number: -number)
    ]


def test_a_burst_that_goes_on_for_an_hour_is_one_alert(bench: Bench) -> None:
    bench.deploy(bench.burst())
    bench.index_events(burst_of(START, 360, every=10 * SECOND))
    bench.ticks(*range(START, START + 68 * MINUTE, 4 * MINUTE))
    assert bench.alerts() == [("burst", at(START + 40 * SECOND), "10.0.0.1")]


def test_a_burst_that_began_long_before_is_not_reported_as_if_it_began_where_the_view_does(
    bench: Bench,
) -> None:
    bench.deploy(bench.burst())
    bench.index_events(burst_of(START - 30 * MINUTE, 130, every=14 * SECOND))
    runner = Runner(bench.cluster)
    assert [runner.evaluate_at(START - phase * SECOND).new for phase in range(0, 15, 2)] == [0] * 8


def test_events_exactly_a_timespan_apart_share_no_window_at_any_tick(bench: Bench) -> None:
    bench.deploy(bench.burst(count=2, span=60))
    bench.index_events([event(START, "10.0.0.1"), event(START + MINUTE, "10.0.0.1")])
    bench.index_events([event(START, "10.0.0.2"), event(START + MINUTE - 1, "10.0.0.2")])
    bench.ticks(*range(START - MINUTE, START + 10 * MINUTE, MINUTE))
    assert bench.alerts() == [("burst", at(START + MINUTE - 1), "10.0.0.2")]


def test_a_second_burst_after_a_quiet_timespan_is_a_second_alert(bench: Bench) -> None:
    bench.deploy(bench.burst())
    # The firings of the first two are exactly a timespan apart, the least that tells bursts apart.
    for source, apart in (("10.0.0.1", MINUTE), ("10.0.0.2", MINUTE - 1)):
        bench.index_events(
            [*burst_of(START, every=0, ip=source), *burst_of(START + apart, every=0, ip=source)]
        )
    bench.ticks(*range(START, START + 8 * MINUTE, MINUTE))
    assert bench.alerts() == [
        ("burst", at(START), "10.0.0.1"),
        ("burst", at(START), "10.0.0.2"),
        ("burst", at(START + MINUTE), "10.0.0.1"),
    ]


def test_a_runner_that_was_away_for_a_day_catches_up_in_steps(bench: Bench) -> None:
    bench.deploy(bench.plain(kind="b"), bench.burst())
    bench.catch_up(START)
    hours = range(1, 25)
    bench.index_events([event(START + hour * HOUR, kind="b") for hour in hours])
    for hour in hours:
        bench.index_events(burst_of(START + hour * HOUR - 2 * SECOND))
    ticks = bench.ticks(START + 25 * HOUR)
    assert [tick.at for tick in ticks] == [START + 25 * HOUR] * 5
    assert [tick.behind for tick in ticks] == [True, True, True, True, False]
    assert len(bench.alerts()) == 48
    # Steps end at 6, 12, 18 and 24 hours, in the middle of a burst each.
    assert ("burst", at(START + 6 * HOUR + 2 * SECOND), "10.0.0.1") in bench.alerts()


def test_catching_up_finds_what_an_uninterrupted_runner_had_found(bench: Bench) -> None:
    bench.deploy(bench.plain(kind="b"), bench.burst())
    bench.index_events([event(START + number * 3 * MINUTE, kind="b") for number in range(8)])
    for number in range(8):
        bench.index_events(burst_of(START + number * 3 * MINUTE + 57 * SECOND, 7, ip=f"10.0.1.{number}"))
    bench.ticks(*range(START, START + 30 * MINUTE, MINUTE))
    uninterrupted = bench.alert_ids()
    assert len(uninterrupted) == 16
    bench.forget_runs()
    bench.ticks(START, START + 30 * MINUTE)
    assert bench.alert_ids() == uninterrupted


def test_two_runners_at_once_write_each_alert_once(bench: Bench) -> None:
    bench.deploy(bench.plain(kind="b"), bench.burst())
    bench.index_events([event(START + number * SECOND, kind="b") for number in range(300)])
    for number in range(30):
        bench.index_events(burst_of(START + number * 10 * SECOND, 7, ip=f"10.0.1.{number}"))
    moments = range(START, START + 6 * MINUTE, MINUTE)
    with (
        connect(ConnectionSettings(bench.url)) as first,
        connect(ConnectionSettings(bench.url)) as second,
        ThreadPoolExecutor() as pool,
    ):
        ticks = [
            tick for one in pool.map(lambda each: run_through(each, moments), (first, second)) for tick in one
        ]
    assert [tick.problems for tick in ticks if tick.problems] == []
    assert len(bench.alerts()) == 330
    assert sum(tick.new for tick in ticks) == 330


@pytest.mark.parametrize(
    ("more", "found"),
    [([0], 4 * SECOND), (range(-180, 1, 10), -140 * SECOND)],
    ids=["begins a second earlier", "begins minutes earlier"],
)
def test_two_runners_that_see_different_parts_of_a_burst_leave_one_alert(
    bench: Bench, more: Iterable[int], found: int
) -> None:
    plan = bench.burst()
    bench.deploy(plan)
    bench.index_events(burst_of(START + SECOND))
    bench.catch_up(START - MINUTE)  # from here on there is a checkpoint

    class SlowWriter:
        """Lets a second runner evaluate and write after the first has looked whether there is an alert."""

        def __init__(self) -> None:
            self.done = False

        def request(self, method: str, path: str, body: object = None, **options: object) -> object:
            if path == "/_bulk" and b"sigmawatch-alerts" in bytes(body) and not self.done:  # type: ignore[call-overload]
                self.done = True
                bench.index_events([event(START + number * SECOND) for number in more])
                bench.catch_up(START + MINUTE)
            return bench.cluster.request(method, path, body, **options)  # type: ignore[arg-type]

        def __getattr__(self, name: str) -> object:
            return getattr(bench.cluster, name)

    slow = SlowWriter()
    tick = Runner(slow, clock=lambda: START + MINUTE).catch_up()  # type: ignore[arg-type]
    assert slow.done
    assert (tick.new, tick.existing) == (0, 1)
    assert bench.alerts() == [("burst", at(START + found), "10.0.0.1")]


def test_the_clock_may_jump_far_ahead_and_back_without_blinding_the_runner(bench: Bench) -> None:
    bench.deploy(bench.plain())
    bench.catch_up(START)
    bench.catch_up(START + 3 * HOUR)
    bench.index_events([event(START + 2 * MINUTE)])
    tick = bench.catch_up(START + 3 * MINUTE)
    assert "clock" in tick.problems[0]
    assert bench.alerts() == [("plain", at(START + 2 * MINUTE), "10.0.0.1")]
    assert bench.catch_up(START + 4 * MINUTE).problems == []


# Detections that come and go ------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["query", "whole index"])
def test_a_changed_detection_is_picked_up_while_the_runner_runs(bench: Bench, change: str) -> None:
    old, new = bench.plain(kind="a"), bench.plain(kind="b")

    def deploy(kind: object) -> None:
        artifacts = [detection_artifact(kind, namespace=bench.token)]  # type: ignore[arg-type]
        result = apply(bench.cluster, make_plan(bench.cluster, artifacts, pack=bench.token))
        assert not result.failed

    deploy(old)
    bench.index_events([event(START, kind="a"), event(START + 3 * MINUTE, kind="a")])
    bench.index_events([event(START + 3 * MINUTE, "10.0.0.2", kind="b")])
    moments = iter([START + MINUTE, START + 4 * MINUTE])
    present = [START]

    def stop(seconds: float) -> bool:
        following = next(moments, None)
        present[0] = following or present[0]
        if following == START + 4 * MINUTE:
            if change == "whole index":
                bench.cluster.request("DELETE", "/sigmawatch-detections")
            deploy(new)
        return following is None

    Runner(bench.cluster, clock=lambda: present[0]).run(stop=stop, on_tick=lambda tick: None)
    assert bench.alerts() == [("plain", at(START), "10.0.0.1"), ("plain", at(START + 3 * MINUTE), "10.0.0.2")]


def test_a_deleted_detection_stops_and_the_runner_waits_for_the_next_one(bench: Bench) -> None:
    first, second = bench.plain("first"), bench.plain("second")
    bench.deploy(first, second)
    bench.index_events([event(START + number * MINUTE) for number in range(5)])
    changes = {
        START + 2 * MINUTE: lambda: bench.undeploy(first),
        START + 3 * MINUTE: lambda: bench.undeploy(second),
        START + 4 * MINUTE: lambda: bench.deploy(first),
    }
    present = [START + MINUTE]
    ticks: list[Tick] = []

    def stop(seconds: float) -> bool:
        present[0] += MINUTE
        changes.get(present[0], lambda: None)()
        return present[0] > START + 4 * MINUTE

    Runner(bench.cluster, clock=lambda: present[0]).run(stop=stop, on_tick=ticks.append)
    assert [tick.evaluated for tick in ticks] == [2, 1, 0, 1]
    assert "no detections are deployed" in ticks[2].problems[0]
    assert [alert for alert in bench.alerts() if alert[0] == "second"] == [
        ("second", at(START + number * MINUTE), "10.0.0.1") for number in range(3)
    ]
    # The first one goes on from where it stopped.
    assert [alert for alert in bench.alerts() if alert[0] == "first"] == [
        ("first", at(START + number * MINUTE), "10.0.0.1") for number in range(5)
    ]
