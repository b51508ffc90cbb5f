"""`sigmawatch run`: our own executor of detections."""

from __future__ import annotations

import signal
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import orjson

from sigmawatch.cli.alerts import alert_table
from sigmawatch.cli.options import cluster_options, format_option, open_cluster, site_of
from sigmawatch.cli.terminal import counted, errors, results
from sigmawatch.errors import UsageError
from sigmawatch.run.runner import Runner, Tick
from sigmawatch.testing.testfile import parse_moment

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["command"]

SHOWN = 50
"""Alerts of one evaluation that people are shown."""


@click.command()
@click.option("--once", is_flag=True, help="Evaluate what is due, then end.")
@click.option("--at", help="With --once: evaluate this moment (ISO 8601) instead of the present.")
@click.option(
    "--rule", "rules", multiple=True, help="With --at: only the rule with this id. May be repeated."
)
@cluster_options
@format_option("text", "json")
def command(
    once: bool, at: str | None, rules: tuple[str, ...], output_format: str, **connection: Any
) -> None:
    """Execute the deployed detections and write alerts.

    For clusters without Watcher. Keeps a checkpoint for each rule in the cluster: however often it is killed
    and restarted, no alert is lost and none written twice. It runs until it is interrupted. In the environment of a
    tenant only its detections are executed.

    \b
    Example:
      sigmawatch run --url http://127.0.0.1:9200
      sigmawatch run --url http://127.0.0.1:9200 --once --at 2026-03-01T10:05:00Z
    """
    if at is not None and not once:
        raise UsageError("--at needs --once")
    if rules and at is None:
        raise UsageError("--rule needs --at")
    moment = None if at is None else _moment(at)
    report = _Json() if output_format == "json" else _Text()
    tenant = site_of(connection["config_path"], connection["environment"]).tenant
    mine = f"{tenant}." if tenant else ""
    rules = tuple(one if one.startswith(mine) else f"{mine}{one}" for one in rules)
    with open_cluster(**connection) as cluster:
        _ = cluster.info  # says what else answers there, if it is no cluster
        runner = Runner(cluster, tenant=tenant)
        if not once:
            _until_told(runner, report, cluster.url)
            return
        tick = runner.catch_up() if moment is None else runner.evaluate_at(moment, rules)
        report(tick)
        if tick.problems:
            sys.exit(4)


def _moment(text: str) -> int:
    try:
        return parse_moment(int(text) if text.isdigit() else text)
    except ValueError:
        raise UsageError(f"--at {text} is no time", hint="Example: 2026-03-01T10:05:00Z") from None


def _until_told(runner: Runner, report: Callable[[Tick], None], url: str) -> None:
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        stopped.set()
        # The tick is finished first; whoever cannot wait for that says it again.
        for each in handled:
            signal.signal(each, signal.SIG_DFL)

    handled = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(each, stop) for each in handled]
    try:
        number = runner.load()
        errors().print(f"Running {counted(number, 'detection')} in {url}; Ctrl-C ends it.", markup=False)
        runner.run(stop=stopped.wait, on_tick=report)
        errors().print("Stopped.", markup=False)
    finally:
        for each, handler in zip(handled, before, strict=True):
            signal.signal(each, handler)


class _Json:
    """Prints each tick as one line of JSON."""

    def __call__(self, tick: Tick) -> None:
        line = {
            "at": tick.at,
            "evaluated": tick.evaluated,
            "new": tick.new,
            "created": [alert.document for alert in tick.created],
            "existing": tick.existing,
            "problems": tick.problems,
        }
        sys.stdout.buffer.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.flush()


class _Text:
    """Prints a line for each tick, its alerts, and problems when they begin and when they are over."""

    def __init__(self) -> None:
        self._problems: list[str] = []

    def __call__(self, tick: Tick) -> None:
        moment = datetime.fromtimestamp(tick.at / 1000, UTC)
        known = f", {tick.existing} known before" if tick.existing else ""
        lasting = sum(problem in self._problems for problem in tick.problems)
        still = f", {lasting} problems as before" if lasting else ""
        new = counted(tick.new, "new alert")
        line = f"{moment:%Y-%m-%d %H:%M:%S}Z  {tick.evaluated} evaluated, {new}{known}{still}"
        errors().print(line, markup=False)
        if tick.created:
            results().print(alert_table([alert.document for alert in tick.created[:SHOWN]]))
        if tick.new > SHOWN:
            results().print(f"and {tick.new - SHOWN} more", markup=False)
        for problem in tick.problems:
            if problem not in self._problems:
                errors().print(f"  {problem}", style="yellow", markup=False)
        if self._problems and not tick.problems:
            errors().print("  no problems any more", markup=False)
        self._problems = tick.problems
