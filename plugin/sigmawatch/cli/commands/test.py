"""`sigmawatch test`: rule tests and dataset samples on a real engine."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sigmawatch import engine
from sigmawatch.cli.downloads import reporter
from sigmawatch.cli.options import connection_options, format_option, open_cluster
from sigmawatch.cli.terminal import errors, print_json, print_problems, results
from sigmawatch.cluster import ConnectionSettings, connect
from sigmawatch.datasets import Dataset, load_datasets
from sigmawatch.errors import UsageError
from sigmawatch.pack.layout import builtin_pack, test_files
from sigmawatch.testing.junit import junit_xml
from sigmawatch.testing.ruletests import TestResult, run_rule_tests
from sigmawatch.testing.sampletests import run_sample_tests

if TYPE_CHECKING:
    from sigmawatch.cluster import Cluster

__all__ = ["command"]


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("-k", "keyword", help="Only tests whose file or name contains this text.")
@click.option("--update", is_flag=True, help="Rewrite the expected documents of samples, for review.")
@connection_options
@format_option("text", "json", "junit")
def command(
    paths: tuple[Path, ...],
    keyword: str | None,
    update: bool,
    output_format: str,
    **connection: Any,
) -> None:
    """Test rules (NAME.test.yml) and datasets (samples) on a real engine.

    PATHS are test files, rules, datasets, or folders of them; without any, the built-in pack. Starts an
    embedded engine and stops it afterwards. With --url a cluster of yours is used instead: everything made
    there has a random prefix and is removed again.

    \b
    Example:
      sigmawatch test rules/auth
      sigmawatch test --format junit > report.xml
    """
    pack = builtin_pack()
    searched = list(paths) or [pack.rules, pack.ingest_pipelines]
    datasets = _datasets(searched)
    files = [path for path in test_files(searched) if keyword is None or keyword in path.as_posix()]
    sampled = [dataset for dataset in datasets if _is_below(dataset.folder, searched)]
    if keyword is not None:
        sampled = [dataset for dataset in sampled if keyword in dataset.name]
    if not files and not sampled:
        raise UsageError("no tests found", hint="The tests of NAME.yml are in NAME.test.yml beside it.")
    started = time.monotonic()
    with ExitStack() as stack:
        cluster, own = _cluster(stack, connection)
        ready = time.monotonic()
        found, warnings = run_rule_tests(cluster, files, datasets, roots=_roots(searched), own=own)
        found += run_sample_tests(cluster, sampled, update=update)
    print_problems(warnings)
    _report(found, output_format, ready - started, time.monotonic() - ready)
    if any(not result.passed for result in found):
        sys.exit(1)


def _cluster(stack: ExitStack, connection: dict[str, Any]) -> tuple[Cluster, bool]:
    if connection["url"]:
        return stack.enter_context(open_cluster(**connection)), False
    with ExitStack() as display:
        node = stack.enter_context(engine.temporary(on_progress=reporter(display)))
    return stack.enter_context(connect(ConnectionSettings(node.url))), True


def _datasets(paths: list[Path]) -> list[Dataset]:
    """Return the datasets of the packs that the paths are in; those of the built-in pack stand behind."""
    found = {dataset.name: dataset for dataset in load_datasets(builtin_pack().ingest_pipelines)}
    for root in dict.fromkeys(_pack_root(path) for path in paths):
        if root is not None:
            found |= {dataset.name: dataset for dataset in load_datasets(root / "ingest_pipelines")}
    return [found[name] for name in sorted(found)]


def _pack_root(path: Path) -> Path | None:
    for folder in (path.resolve(), *path.resolve().parents):
        if (folder / "ingest_pipelines").is_dir():
            return folder
    return None


def _roots(paths: list[Path]) -> list[Path]:
    """Return the folders in which correlations may find base rules that their tests do not list."""
    found: list[Path] = []
    for path in paths:
        root = _pack_root(path)
        if root is not None and (root / "rules").is_dir():
            found.append(root / "rules")
        found.append(path if path.is_dir() else path.parent)
    return list(dict.fromkeys(found))


def _is_below(folder: Path, paths: list[Path]) -> bool:
    resolved = [path.resolve() for path in paths]
    return any(path == folder.resolve() or path in folder.resolve().parents for path in resolved)


def _report(found: list[TestResult], output_format: str, start_seconds: float, seconds: float) -> None:
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
            place = f"{result.path}:{result.line}: " if result.path else ""
            console.print(f"      {place}{result.error}", style="red", markup=False)
    counts = f"{len(found) - len(failed)} passed, {len(failed)} failed"
    console.print(counts, style="bold red" if failed else "bold green", markup=False)
    errors().print(f"{seconds:.1f} s, and {start_seconds:.1f} s to start the engine", markup=False)
