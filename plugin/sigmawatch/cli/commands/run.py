"""`sigmawatch run`: our own executor of detections."""

from __future__ import annotations

import signal
import sys
import threading
from datetime import UTC, datetime
from typing import Any

import click
import orjson

from sigmawatch.cli.alerts import alert_table
from sigmawatch.cli.options import connection_options, format_option, open_cluster
from sigmawatch.cli.terminal import errors, results
from sigmawatch.errors import UsageError
from sigmawatch.run.runner import Runner, Tick, now
from sigmawatch.testing.testfile import parse_moment

__all__ = ["command"]


@click.command()
@click.option("--once", is_flag=True, help="Evaluate what is due, then end.")
@click.option("--at", help="With --once: evaluate this moment (ISO 8601) instead of the present.")
@click.option(
    "--rule", "rules", multiple=True, help="With --at: only the rule with this id. May be repeated."
)
@connection_options
@format_option("text", "json")
def command(
    once: bool, at: str | None, rules: tuple[str, ...], output_format: str, **connection: Any
) -> None:
    """Execute the deployed detections on schedule and write their alerts.

    For clusters without Watcher. Keeps a checkpoint for each rule in the cluster: however often it is killed
    and restarted, no alert is lost and none written twice. It runs until it is interrupted.

    \b
    Example:
      sigmawatch run --url http://127.0.0.1:9200
      sigmawatch run --url http://127.0.0.1:9200 --once --at 2026-03-01T10:05:00Z
    """
    if at is not None and not once:
        raise UsageError("--at needs --once")
    if rules and at is None:
        raise UsageError("--rule needs --at")
    with open_cluster(**connection) as cluster:
        runner = Runner(cluster)
        if once:
            tick = runner.evaluate_at(_moment(at), rules) if at is not None else runner.catch_up()
            _report(tick, output_format)
            if tick.problems:
                sys.exit(4)
            return
        _until_told(runner, output_format)


def _moment(text: str | None) -> int:
    try:
        return now() if text is None else parse_moment(int(text) if text.isdigit() else text)
    except ValueError:
        raise UsageError(f"{text} is no time", hint="Example: 2026-03-01T10:05:00Z") from None


def _until_told(runner: Runner, output_format: str) -> None:
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    if output_format == "text":
        errors().print("Running; Ctrl-C ends it.", markup=False)

    def wait(seconds: float) -> bool:
        return stopped.wait(seconds)

    runner.run(stop=wait, on_tick=lambda tick: _report(tick, output_format))


def _report(tick: Tick, output_format: str) -> None:
    if output_format == "json":
        line = {
            "at": tick.at,
            "evaluated": tick.evaluated,
            "created": [alert.document for alert in tick.created],
            "existing": tick.existing,
            "problems": tick.problems,
        }
        sys.stdout.buffer.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.flush()
        return
    moment = datetime.fromtimestamp(tick.at / 1000, UTC)
    known = f", {tick.existing} known before" if tick.existing else ""
    errors().print(
        f"{moment:%Y-%m-%d %H:%M:%S}Z  {tick.evaluated} evaluated, {len(tick.created)} new alerts{known}",
        markup=False,
    )
    if tick.created:
        results().print(alert_table([alert.document for alert in tick.created]))
    for problem in tick.problems:
        errors().print(f"  {problem}", style="yellow", markup=False)
