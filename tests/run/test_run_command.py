"""`sigmawatch run` as people and scripts meet it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import orjson
import pytest

from run.run_bench import MINUTE, START, Bench, at, burst_of, event
from sigmawatch.cli.main import main

MOMENT = "2026-03-01T10:01:00Z"
assert MOMENT[:-1] + ".000Z" == at(START + MINUTE)


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "COLUMNS": "200"}


@contextmanager
def start(url: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command; one that still runs when the block ends, as after a failed assertion, is killed."""
    program = "from sigmawatch.cli.main import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", program, "run", "--url", url, *options],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def run(url: str, *options: str) -> tuple[int, str, str]:
    with start(url, *options) as process:
        out, err = process.communicate(timeout=180)
    assert "Traceback" not in err
    return process.returncode, out, err


def fail(capfd: pytest.CaptureFixture[str], url: str, *options: str) -> tuple[int | str | None, str]:
    """Run what ends at once within this process; return the exit code and what it said."""
    with pytest.raises(SystemExit) as exit_info:
        main(["run", "--url", url, *options])
    out, err = capfd.readouterr()
    assert out == ""
    return exit_info.value.code, err


def stream(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def test_one_moment_is_evaluated_and_again_without_doubling(bench: Bench) -> None:
    bench.deploy(bench.plain(), bench.burst())
    bench.index_events(burst_of(START, every=0))
    code, out, err = run(bench.url, "--once", "--at", MOMENT)
    assert code == 0, err
    assert "2026-03-01 10:01:00Z  2 evaluated, 6 new alerts" in err
    assert out.count("Rule plain") == 5
    assert "5 events within 1m" in out
    code, out, err = run(bench.url, "--once", "--at", MOMENT, "--format", "json")
    assert code == 0
    assert orjson.loads(out) == {
        "at": START + MINUTE,
        "evaluated": 2,
        "new": 0,
        "created": [],
        "existing": 6,
        "problems": [],
    }


def test_json_shows_each_new_alert(bench: Bench) -> None:
    bench.deploy(bench.plain())
    bench.index_events([event(START)])
    code, out, _ = run(bench.url, "--once", "--at", str(START + MINUTE), "--format", "json")
    assert code == 0
    (alert,) = orjson.loads(out)["created"]
    assert (alert["@timestamp"], alert["source"]["ip"]) == (at(START), "10.0.0.1")


def test_once_without_a_moment_evaluates_what_is_due(bench: Bench) -> None:
    bench.deploy(bench.plain())
    code, _, err = run(bench.url, "--once")
    assert code == 0
    assert "1 evaluated, 0 new alerts" in err
    assert bench.checkpoint(bench.plain()) is not None


def test_a_broken_detection_makes_once_exit_with_4_and_says_why(bench: Bench) -> None:
    bench.deploy(bench.plain("broken", query={"no_such_query": {}}), bench.plain())
    bench.index_events([event(START)])
    code, _, err = run(bench.url, "--once", "--at", MOMENT)
    assert code == 4
    assert "2 evaluated, 1 new alert" in err
    assert "  Rule broken: the search failed: " in err
    assert "unknown query [no_such_query]" in err


@pytest.mark.parametrize("options", [(), ("--once",), ("--once", "--at", MOMENT)], ids=" ".join)
def test_no_detections_are_an_error_that_says_what_to_do(
    bench: Bench, options: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    code, err = fail(capfd, bench.url, *options)
    assert code == 2
    assert "no detections are deployed" in err
    assert "sigmawatch deploy --target runner" in err


@pytest.mark.parametrize("options", [(), ("--once",), ("--once", "--at", MOMENT)], ids=" ".join)
def test_a_cluster_that_is_down_is_an_error_with_exit_code_5(
    options: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        code, err = fail(capfd, url, *options)
    assert code == 5
    assert "connection refused" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--at", MOMENT), "--at needs --once"),
        (("--once", "--rule", "x"), "--rule needs --at"),
        (("--once", "--at", "yesterday"), "--at yesterday is no time"),
    ],
    ids=["at", "rule", "time"],
)
def test_options_that_make_no_sense_are_refused_before_the_cluster_is_asked(
    options: tuple[str, ...], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    code, err = fail(capfd, "http://127.0.0.1:1", *options)
    assert code == 2
    assert message in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_it_cleanly(bench: Bench, number: signal.Signals) -> None:
    # It says a tick only when something was due, so after its first line it waits for minutes.
    bench.deploy(bench.plain(interval=3600))
    with start(bench.url) as process:
        assert f"Running 1 detection in {bench.url}" in stream(process.stderr).readline()
        assert "1 evaluated, 0 new alerts" in stream(process.stderr).readline()
        process.send_signal(number)
        _, err = process.communicate(timeout=180)
    assert process.returncode == 0
    assert err == "Stopped.\n"


def test_a_problem_that_lasts_is_told_once_and_its_end_too(bench: Bench) -> None:
    bench.deploy(bench.plain("broken", query={"no_such_query": {}}, interval=1))
    with start(bench.url) as process:
        lines = [stream(process.stderr).readline() for _ in range(4)]
        bench.deploy(bench.plain("broken", interval=1))
        while "no problems any more" not in (last := stream(process.stderr).readline()):
            assert last, "it ended"
            assert "evaluated" in last
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=180)
    assert process.returncode == 0
    assert "no_such_query" in lines[2]
    assert all("1 problems as before" in line for line in lines[3:])
