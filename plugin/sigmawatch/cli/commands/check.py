"""`sigmawatch check`: find what is wrong with rules and datasets, without any engine."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sigmawatch.bundle import as_enriched, compile_context, indicator_artifacts
from sigmawatch.cli.content import datasets_around, pack_roots, rules_at, tests_at, untested, within
from sigmawatch.cli.findings import findings_in
from sigmawatch.cli.options import (
    cache_option,
    configuration_options,
    format_option,
    plan_cache,
    site_of,
)
from sigmawatch.cli.reports import code_quality, sarif
from sigmawatch.cli.terminal import counted, print_json, print_problems, results
from sigmawatch.compile.files import compile_files
from sigmawatch.config import dataset_settings, needing_only
from sigmawatch.errors import ContentError, Problem, Severity, UsageError
from sigmawatch.pack.layout import builtin_pack
from sigmawatch.pack.rules import load_rules
from sigmawatch.testing.testfile import load_test_file

if TYPE_CHECKING:
    from sigmawatch.compile.context import Compiled
    from sigmawatch.config import Environment
    from sigmawatch.datasets import Dataset

__all__ = ["command"]


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--strict", is_flag=True, help="Warnings fail, too.")
@click.option(
    "--all", "show_all", is_flag=True, help="List all warnings, also where those of one kind are many."
)
@configuration_options
@cache_option
@format_option("text", "json", "sarif", "codequality")
def command(
    paths: tuple[Path, ...],
    strict: bool,
    show_all: bool,
    output_format: str,
    config_path: Path | None,
    environment: str | None,
    no_cache: bool,
) -> None:
    """Check rules, tests and datasets without an engine.

    PATHS are rules, packs, or folders of them; without any, the built-in pack. Finds everything that can be found
    without running anything. Exit code 2 when there are errors, 1 with --strict and warnings. Where more than 20
    warnings are of one kind, the first ones are listed; all are with --all, and in the formats for machines.

    \b
    Example:
      sigmawatch check rules/
      sigmawatch check --format sarif rules/ > check.sarif
    """
    searched = list(paths) or [builtin_pack().root]
    files = rules_at(searched)
    test_files = tests_at(searched)
    problems: list[Problem] = []
    datasets = datasets_around(searched, problems)
    if not files and not test_files and not any(within(dataset.folder, searched) for dataset in datasets):
        if problems:
            raise ContentError(problems)
        places = ", ".join(map(str, searched))
        raise UsageError(f"no rules found in {places}", hint="Sigma rules are YAML files ending in .yml")
    site = site_of(config_path, environment, pack_roots(searched))
    # The checks look at rules as they were written, which compiling changes: they get rules of their own.
    rules = load_rules(files)
    problems += findings_in(rules.rules)
    context = compile_context(_with_enrichments(site, datasets), placeholders=site.placeholders)
    compiled = compile_files(files, context, cache=plan_cache(no_cache=no_cache))
    problems += compiled.problems
    problems += _about_datasets(site, datasets, compiled)
    tested: list[Path] = []
    for path in test_files:
        try:
            file = load_test_file(path, {dataset.name for dataset in datasets})
        except ContentError as error:
            problems += error.problems
        else:
            problems += file.warnings
            tested += file.rules
    problems += untested(dict.fromkeys(item.document.path for item in rules.rules), tested)
    bases = sum(not item.rule._output for item in rules.rules)  # noqa: SLF001 (pySigma's own flag)
    _report(problems, _number(len(rules.rules), bases), output_format, in_brief=not show_all)
    if any(problem.severity is Severity.ERROR for problem in problems):
        sys.exit(2)
    if strict and problems:
        sys.exit(1)


def _with_enrichments(site: Environment, datasets: list[Dataset]) -> list[Dataset]:
    """Return the datasets with the fields that a site has added to their events."""
    try:
        return as_enriched(site, datasets)
    except ContentError:  # told with the other mistakes
        return datasets


def _about_datasets(site: Environment, datasets: list[Dataset], compiled: Compiled) -> list[Problem]:
    """Return what is wrong with what a site wants of datasets, and which rules those miss that are switched off."""
    try:
        settings = dataset_settings(site.datasets, datasets)
        warnings = indicator_artifacts(site, settings.values())[1]
    except ContentError as error:
        return list(error.problems)
    off = [one for one in datasets if not settings[one.name].enabled]
    return [*warnings, *needing_only(off, compiled)[1]]


def _number(rules: int, bases: int) -> str:
    """Return how many rules there are, and how many of them raise no alerts of their own."""
    return counted(rules, "rule") + (f" ({bases} only part of correlations)" if bases else "")


def _report(problems: list[Problem], rules: str, output_format: str, *, in_brief: bool) -> None:
    errors = sum(problem.severity is Severity.ERROR for problem in problems)
    warnings = len(problems) - errors
    if output_format == "json":
        shown = [
            asdict(problem) | {"path": str(problem.path) if problem.path else None} for problem in problems
        ]
        print_json({"problems": shown, "errors": errors, "warnings": warnings})
        return
    if output_format in ("sarif", "codequality"):
        # What was found is in the log of the job, too.
        print_problems(problems, in_brief=in_brief)
        print_json(sarif(problems) if output_format == "sarif" else code_quality(problems))
        return
    print_problems(problems, in_brief=in_brief)
    results().print(
        f"{rules}: {counted(errors, 'error')}, {counted(warnings, 'warning')}",
        style="red" if errors else "green",
        markup=False,
    )
