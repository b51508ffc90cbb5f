"""`sigmawatch test`: rule tests and dataset samples on a real engine."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from sigmawatch import engine
from sigmawatch.cli.content import (
    datasets_around,
    is_test,
    pack_roots,
    rule_roots,
    tests_at,
    untested,
    within,
)
from sigmawatch.cli.downloads import reporter
from sigmawatch.cli.options import (
    configuration_options,
    connection_options,
    format_option,
    open_cluster,
    placeholders,
)
from sigmawatch.cli.terminal import errors, print_json, print_problems, results, working
from sigmawatch.cluster import ConnectionSettings, connect
from sigmawatch.errors import UsageError
from sigmawatch.pack.layout import builtin_pack
from sigmawatch.testing.junit import junit_xml
from sigmawatch.testing.ruletests import TestResult, prepare_rule_tests, run_rule_tests
from sigmawatch.testing.sampletests import run_sample_tests

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmawatch.cluster import Cluster

__all__ = ["command"]


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("-k", "keyword", help="Only tests whose file or name contains this text.")
@click.option("--update", is_flag=True, help="Rewrite the expected documents of samples, for review.")
@connection_options
@configuration_options
@format_option("text", "json", "junit")
def command(
    paths: tuple[Path, ...],
    keyword: str | None,
    update: bool,
    output_format: str,
    config_path: Path | None,
    environment: str | None,
    **connection: Any,
) -> None:
    """Test rules and datasets on a real engine.

    The tests of a rule NAME.yml are in NAME.test.yml, those of a dataset are its samples. PATHS are test files,
    rules, datasets, or folders of them; without any, the built-in pack. Starts an embedded engine and stops it
    afterwards. With --url a cluster of yours is used instead: everything made there has a random prefix and is
    removed again.

    \b
    Example:
      sigmawatch test rules/auth
      sigmawatch test --format junit > report.xml
    """
    pack = builtin_pack()
    searched = list(paths) or [pack.rules, pack.ingest_pipelines]
    datasets = datasets_around(searched)
    prepared = prepare_rule_tests(
        tests_at(searched),
        datasets,
        roots=rule_roots(searched),
        keyword=keyword,
        placeholders=placeholders(config_path, environment, pack_roots(searched)),
    )
    sampled = [dataset for dataset in datasets if within(dataset.folder, searched)]
    if keyword is not None:
        sampled = [dataset for dataset in sampled if keyword in dataset.name]
    print_problems(untested([path for path in paths if path.is_file() and not is_test(path)], ()))
    if not prepared and not sampled:
        kept = f" whose file or name contains {keyword!r}" if keyword is not None else ""
        raise UsageError(
            f"no tests found{kept}", hint="The tests of NAME.yml are in NAME.test.yml beside it."
        )
    print_problems(prepared.warnings)
    if not prepared.runs and not sampled:
        found, seconds = list(prepared.failed), None
    else:
        started = time.monotonic()
        with ExitStack() as stack:
            cluster, own = _cluster(stack, connection)
            ready = time.monotonic()
            on_step = stack.enter_context(working("Preparing the cluster"))
            found = run_rule_tests(cluster, prepared, datasets, own=own, on_step=on_step)
            on_step("Testing the samples of datasets")
            found += run_sample_tests(cluster, sampled, update=update)
            seconds = (ready - started if own else None, time.monotonic() - ready)
    _report(found, output_format, seconds)
    if any(result.invalid for result in found):
        sys.exit(2)
    if any(not result.passed for result in found):
        sys.exit(1)


def _cluster(stack: ExitStack, connection: dict[str, Any]) -> tuple[Cluster, bool]:
    if connection["url"] is not None:
        return stack.enter_context(open_cluster(**connection)), False
    with ExitStack() as display:
        node = stack.enter_context(engine.temporary(on_progress=reporter(display)))
    return stack.enter_context(connect(ConnectionSettings(node.url))), True


def _spelled(event: Mapping[str, Any]) -> str:
    """Return what an event had in some fields, in one line, each value as JSON and not too long."""
    parts = []
    for name, value in event.items():
        text = orjson.dumps(value).decode()
        parts.append(
            f"no {name}" if value is None else f"{name}: {text if len(text) <= 120 else text[:119] + '…'}"
        )
    return ", ".join(parts) or "nothing that the rule asks for by name"


def _report(found: list[TestResult], output_format: str, seconds: tuple[float | None, float] | None) -> None:
    failed = [result for result in found if not result.passed]
    if output_format == "json":
        print_json(
            {
                "tests": [result.to_dict() for result in found],
                "passed": len(found) - len(failed),
                "failed": len(failed),
            }
        )
        return
    if output_format == "junit":
        sys.stdout.write(junit_xml(found))
        return
    console = results()
    rule = None
    for result in found:
        if result.rule != rule:
            rule = result.rule
            console.print(rule, style="bold", markup=False)
        mark, style = ("✓", "green") if result.passed else ("✗", "red")
        console.print(f"  {mark} {result.name}", style=style, markup=False)
        if not result.passed:
            # What makes a file invalid says itself where it is.
            place = f"{result.path}:{result.line}: " if result.path and not result.invalid else ""
            for line in f"{place}{result.error}".splitlines():
                console.print(f"      {line}", style="red", markup=False)
            for number, event in enumerate(result.seen, 1):
                console.print(f"      event {number} had {_spelled(event)}", markup=False, highlight=False)
    counts = f"{len(found) - len(failed)} passed, {len(failed)} failed"
    console.print(counts, style="bold red" if failed else "bold green", markup=False)
    if seconds is not None:
        start, tests = seconds
        engine_start = f", and {start:.1f} s to start the engine" if start is not None else ""
        errors().print(f"{tests:.1f} s{engine_start}", markup=False)
