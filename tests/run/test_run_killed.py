"""Runners that are killed: nothing is lost, nothing is doubled, however often and wherever it happens."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from run.run_bench import MINUTE, SECOND, START, Bench, burst_of, event
from sigmawatch.run.runner import now

DRIVER = Path(__file__).with_name("run_driver.py")
KILLED = 137


class Mortals:
    """Runners in processes of their own that die before a chosen request."""

    def __init__(self, url: str) -> None:
        self._driver = subprocess.Popen(
            [sys.executable, str(DRIVER), url],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._driver.kill()
        self._driver.communicate()

    def run_until(self, moment: int, request: int) -> int:
        """Run a runner at a moment that dies before that request, and return its exit code."""
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        self._driver.stdin.write(f"{moment} {request}\n")
        self._driver.stdin.flush()
        return int(self._driver.stdout.readline())


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def prepare(bench: Bench) -> set[str]:
    """Deploy detections and index events; return the ids of the alerts of an uninterrupted run."""
    bench.deploy(bench.plain(), bench.burst(), bench.plain("broken", query={"no_such_query": {}}))
    for number in range(3):
        bench.index_events(burst_of(START - 2 * MINUTE + number * 20 * SECOND, 7, ip=f"10.0.0.{number}"))
    bench.catch_up(START - 3 * MINUTE)
    bench.catch_up(START)
    expected = bench.alert_ids()
    assert len(expected) == 24
    bench.forget_runs()
    return expected


def test_a_runner_killed_before_any_of_its_requests_is_made_good_by_the_next_one(bench: Bench) -> None:
    expected = prepare(bench)
    request, code = 0, KILLED
    with Mortals(bench.url) as mortals:
        while code == KILLED:
            request += 1
            bench.forget_runs()
            code = mortals.run_until(START - MINUTE, request)
            bench.catch_up(START)
            assert bench.alert_ids() == expected, f"killed before request {request}"
    assert code == 0
    assert request > 12


def test_a_runner_killed_again_and_again_comes_to_the_same_end(bench: Bench) -> None:
    expected = prepare(bench)
    request, code = 0, KILLED
    with Mortals(bench.url) as mortals:
        while code == KILLED:
            request += 1
            code = mortals.run_until(START - MINUTE + request * SECOND, request)
            assert bench.alert_ids() <= expected
    assert code == 0
    bench.catch_up(START)
    assert bench.alert_ids() == expected


def test_the_command_killed_at_random_moments_reports_each_event_of_its_time_once(bench: Bench) -> None:
    bench.deploy(bench.plain(interval=1), bench.burst(count=3, span=5, interval=1))
    dice = random.Random(7)
    arguments = [
        "from sigmawatch.cli.main import main; main()",
        "run",
        "--url",
        bench.url,
        "--format",
        "json",
    ]
    began = now()
    sources: list[str] = []

    def happen() -> None:
        source = f"10.0.7.{len(sources)}"
        sources.append(source)
        moment = now()
        bench.index_events([event(moment - number, source, arrived=moment) for number in range(3)])

    for _ in range(4):
        runner = subprocess.Popen(
            [sys.executable, "-c", *arguments],
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            happen()
            assert runner.stdout is not None
            runner.stdout.readline()  # it is at work
            happen()
            time.sleep(dice.random() * 1.5)  # the moment of death, not synchronisation
        finally:
            runner.kill()
            runner.communicate()
        happen()
    assert runner.returncode == -signal.SIGKILL
    tick = bench.catch_up(now() + 2 * SECOND)
    assert tick.problems == []
    assert tick.at > began
    found: dict[str, Any] = {source: [] for source in sources}
    for name, _, source in bench.alerts():
        found[source].append(name)
    assert found == {source: ["burst", "plain", "plain", "plain"] for source in sources}
