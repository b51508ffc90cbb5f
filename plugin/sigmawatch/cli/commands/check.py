"""`sigmawatch check`: find what is wrong with rules and datasets, without any engine."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from sigmawatch.bundle import compile_context
from sigmawatch.cli.options import format_option
from sigmawatch.cli.terminal import print_json, print_problems, results
from sigmawatch.compile.compiler import compile_rules
from sigmawatch.datasets import Dataset, load_datasets
from sigmawatch.errors import ContentError, Problem, Severity
from sigmawatch.pack.layout import TEST_SUFFIX, builtin_pack, rule_files, test_files
from sigmawatch.pack.rules import RuleSet, load_rules
from sigmawatch.testing.testfile import load_test_file

__all__ = ["command"]


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--strict", is_flag=True, help="Warnings fail, too.")
@format_option("text", "json")
def command(paths: tuple[Path, ...], strict: bool, output_format: str) -> None:
    """Check rules, their tests and the datasets: everything that can be found without an engine.

    PATHS are rules or folders of rules; without any, the built-in pack. Exit code 2 when there are errors, 1 when
    --strict and there are warnings.

    \b
    Example:
      sigmawatch check rules/
    """
    pack = builtin_pack()
    searched = list(paths) or [pack.rules]
    problems: list[Problem] = []
    datasets = _datasets([pack.ingest_pipelines, *(path / "ingest_pipelines" for path in paths)], problems)
    rules = load_rules(rule_files([path for path in searched if path.name != "ingest_pipelines"]))
    compiled = compile_rules(rules, compile_context(datasets))
    problems += compiled.problems
    problems += _untested(rules)
    for path in test_files(searched):
        try:
            load_test_file(path)
        except ContentError as error:
            problems += error.problems
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if output_format == "json":
        shown = [
            asdict(problem) | {"path": str(problem.path) if problem.path else None} for problem in problems
        ]
        print_json({"problems": shown, "errors": len(errors), "warnings": len(problems) - len(errors)})
    else:
        print_problems(problems)
        warnings = len(problems) - len(errors)
        results().print(
            f"{len(rules.rules)} rules: {len(errors)} errors, {warnings} warnings",
            style="red" if errors else "green",
            markup=False,
        )
    if errors:
        sys.exit(2)
    if strict and problems:
        sys.exit(1)


def _datasets(folders: list[Path], problems: list[Problem]) -> list[Dataset]:
    found: dict[str, Dataset] = {}
    for folder in folders:
        if folder.is_dir():
            try:
                found |= {dataset.name: dataset for dataset in load_datasets(folder)}
            except ContentError as error:
                problems += error.problems
    return list(found.values())


def _untested(rules: RuleSet) -> list[Problem]:
    """Return a warning for each rule file without a test beside it."""
    paths = dict.fromkeys(item.document.path for item in rules.rules)
    hint = "the format is in the README, section Testing rules"
    return [
        Problem(f"no tests: {path.stem}{TEST_SUFFIX} is missing", path, 1, hint, Severity.WARNING, "untested")
        for path in paths
        if not path.with_name(path.stem + TEST_SUFFIX).is_file()
    ]
