"""Events that arrive long after they happened, or before: each is found, none is reported twice."""

from __future__ import annotations

import pytest

from run.run_bench import HOUR, MINUTE, SECOND, START, Bench, at, burst_of, event

DELAYS = [
    0,
    SECOND,
    4 * MINUTE,
    5 * MINUTE - SECOND,
    5 * MINUTE,
    5 * MINUTE + SECOND,
    5 * MINUTE + 59 * SECOND,
    6 * MINUTE,
    6 * MINUTE + SECOND,
    2 * HOUR,
    24 * HOUR - MINUTE,
]
"""How long before the last evaluation an event happened that arrived after it."""


def test_plain_rules_find_late_events_however_late(either: Bench) -> None:
    either.deploy(either.plain())
    either.catch_up(START)
    delays = [*DELAYS, 25 * HOUR, 24 * 400 * HOUR]
    either.index_events([event(START - delay, arrived=START + 30 * SECOND) for delay in delays])
    either.catch_up(START + MINUTE)
    assert either.alerts() == sorted(("plain", at(START - delay), "10.0.0.1") for delay in delays)
    assert either.catch_up(START + 2 * MINUTE).new == 0


@pytest.mark.parametrize("delay", DELAYS, ids=lambda delay: f"{delay // SECOND} s")
def test_correlations_find_a_burst_that_a_late_event_completes(bench: Bench, delay: int) -> None:
    bench.deploy(bench.burst())
    bench.index_events(burst_of(START - delay - 4 * SECOND, 4, arrived=START - delay))
    bench.catch_up(START)
    assert bench.alerts() == []
    bench.index_events([event(START - delay, arrived=START + 30 * SECOND)])
    bench.catch_up(START + MINUTE)
    assert bench.alerts() == [("burst", at(START - delay), "10.0.0.1")]


def test_the_event_that_is_latest_does_not_hide_others(either: Bench) -> None:
    either.deploy(either.burst(), either.burst("of two", count=2))
    either.catch_up(START)
    for number, delay in enumerate(DELAYS):
        either.index_events(burst_of(START - delay, every=0, ip=f"10.0.1.{number}", arrived=START + SECOND))
    either.catch_up(START + MINUTE)
    assert either.alerts() == sorted(
        (name, at(START - delay), f"10.0.1.{number}")
        for name in ("burst", "of two")
        for number, delay in enumerate(DELAYS)
    )


def test_a_late_event_counts_although_it_was_not_searchable_at_the_next_evaluation(bench: Bench) -> None:
    bench.deploy(bench.plain(kind="b"), bench.burst())
    bench.catch_up(START)
    bench.index_events(burst_of(START - 2 * HOUR, 4, arrived=START - 2 * HOUR))
    bench.catch_up(START + MINUTE)
    # It arrived before that evaluation and became searchable after it.
    arrived = START + MINUTE - 40 * SECOND
    bench.index_events([event(START - 2 * HOUR + 10 * SECOND, arrived=arrived)])
    bench.index_events([event(START - 2 * HOUR, kind="b", arrived=arrived)])
    bench.catch_up(START + 2 * MINUTE)
    assert bench.alerts() == [
        ("burst", at(START - 2 * HOUR + 10 * SECOND), "10.0.0.1"),
        ("plain", at(START - 2 * HOUR), "10.0.0.1"),
    ]


def test_late_events_of_other_rules_do_not_make_a_correlation_look_back(bench: Bench) -> None:
    bench.deploy(bench.burst())
    bench.index_events(burst_of(START - 3 * HOUR))  # nobody knows when it arrived
    bench.catch_up(START)
    bench.index_events([event(START - 4 * HOUR, kind="other", arrived=START + SECOND)])
    bench.catch_up(START + MINUTE)
    assert bench.alerts() == []


@pytest.mark.parametrize("earlier", [1, 30, 59], ids=lambda seconds: f"{seconds} s earlier")
def test_a_reported_burst_that_turns_out_to_begin_earlier_stays_one_alert(bench: Bench, earlier: int) -> None:
    bench.deploy(bench.burst())
    bench.index_events(burst_of(START + MINUTE, 5, every=0))
    bench.catch_up(START + 2 * MINUTE)
    reported = [("burst", at(START + MINUTE), "10.0.0.1")]
    assert bench.alerts() == reported
    began = START + MINUTE - earlier * SECOND
    bench.index_events(burst_of(began, 5, every=0, arrived=START + 2 * MINUTE + SECOND))
    bench.catch_up(START + 3 * MINUTE)
    assert bench.alerts() == reported
    assert bench.alerts_taken_back() == 0


def test_a_reported_burst_that_grows_forwards_and_backwards_by_many_timespans_stays_one_alert(
    bench: Bench,
) -> None:
    bench.deploy(bench.burst())
    bench.index_events(burst_of(START, 60, every=5 * SECOND))
    bench.catch_up(START + 5 * MINUTE)
    reported = [("burst", at(START + 20 * SECOND), "10.0.0.1")]
    assert bench.alerts() == reported
    late = burst_of(START - 20 * MINUTE, 240, every=5 * SECOND, arrived=START + 5 * MINUTE + SECOND)
    bench.index_events(late)
    bench.index_events(burst_of(START + 5 * MINUTE, 12, every=5 * SECOND))
    tick = bench.catch_up(START + 6 * MINUTE)
    assert (tick.new, tick.existing) == (0, 1)
    assert bench.alerts() == reported


def test_a_late_burst_of_its_own_is_reported_next_to_others(bench: Bench) -> None:
    bench.deploy(bench.burst(), bench.burst("twin"))
    known = START + 10 * MINUTE
    bench.index_events(burst_of(known, every=0))
    bench.catch_up(START + 12 * MINUTE)
    arrived = START + 12 * MINUTE + SECOND
    # A timespan before the known one; within the known one, but of another source.
    bench.index_events(burst_of(known - MINUTE, every=0, arrived=arrived))
    bench.index_events(burst_of(known, every=0, ip="10.0.0.2", arrived=arrived))
    bench.catch_up(START + 13 * MINUTE)
    assert [alert for alert in bench.alerts() if alert[0] == "burst"] == [
        ("burst", at(known - MINUTE), "10.0.0.1"),
        ("burst", at(known), "10.0.0.1"),
        ("burst", at(known), "10.0.0.2"),
    ]
    assert [alert[1:] for alert in bench.alerts() if alert[0] == "twin"] == [
        alert[1:] for alert in bench.alerts() if alert[0] == "burst"
    ]


def test_a_burst_right_after_one_of_many_timespans_is_reported(bench: Bench) -> None:
    bench.deploy(bench.burst(count=2))
    last = START + 10 * MINUTE
    bench.catch_up(START)
    bench.index_events(burst_of(START, 21, every=30 * SECOND))
    bench.catch_up(last)
    assert bench.alerts() == [("burst", at(START + 30 * SECOND), "10.0.0.1")]
    bench.index_events(burst_of(last + MINUTE, 2, every=0))
    bench.catch_up(last + 2 * MINUTE)
    assert bench.alerts() == [
        ("burst", at(START + 30 * SECOND), "10.0.0.1"),
        ("burst", at(last + MINUTE), "10.0.0.1"),
    ]


# The future -----------------------------------------------------------------------------------------------


def test_events_of_the_future_are_found_on_arrival_or_when_their_time_comes(bench: Bench) -> None:
    bench.deploy(bench.plain(kind="b"), bench.burst())
    bench.catch_up(START)
    bench.index_events([event(START + 2 * HOUR, "10.0.0.1", kind="b", arrived=START + SECOND)])
    bench.index_events([event(START + 2 * HOUR, "10.0.0.2", kind="b")])
    bench.index_events([event(START + 30 * HOUR, "10.0.0.3", kind="b", arrived=START + SECOND)])
    bench.index_events(burst_of(START + 2 * HOUR, every=0, arrived=START + SECOND))
    bench.catch_up(START + MINUTE)
    on_arrival = ("plain", at(START + 2 * HOUR), "10.0.0.1")
    assert bench.alerts() == [on_arrival]
    bench.catch_up(START + 2 * HOUR)
    in_time = [
        ("burst", at(START + 2 * HOUR), "10.0.0.1"),
        on_arrival,
        ("plain", at(START + 2 * HOUR), "10.0.0.2"),
    ]
    assert bench.alerts() == in_time
    bench.catch_up(START + 30 * HOUR)
    assert bench.alerts() == [*in_time, ("plain", at(START + 30 * HOUR), "10.0.0.3")]


def test_events_with_absurd_times_or_none_neither_stop_the_runner_nor_create_indices(bench: Bench) -> None:
    bench.deploy(bench.plain())
    bench.catch_up(START)
    arrived = {"event": {"ingested": START + SECOND}, "kind": "a"}
    absurd = [9_000_000_000_000_000, 253_402_300_800_000, START + 40 * 24 * HOUR, -62_135_596_800_001, -1]
    bench.index_events([arrived, *({**arrived, "@timestamp": time} for time in absurd)])
    bench.index_events([event(START, arrived=START + SECOND)])
    tick = bench.catch_up(START + MINUTE)
    assert tick.problems == []
    assert bench.alerts() == [("plain", at(START), "10.0.0.1")]
