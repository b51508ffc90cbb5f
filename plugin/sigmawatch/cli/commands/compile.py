"""`sigmawatch compile`: rules as plans, searches or watches."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson

from sigmawatch.bundle import compile_context
from sigmawatch.cli.options import pack_option
from sigmawatch.cli.terminal import print_problems
from sigmawatch.compile.compiler import compile_rules
from sigmawatch.datasets import load_datasets
from sigmawatch.errors import UsageError
from sigmawatch.pack.layout import builtin_pack, rule_files
from sigmawatch.pack.rules import load_rules
from sigmawatch.render.formats import FORMATS, render

if TYPE_CHECKING:
    from sigmawatch.compile.plan import DetectionPlan

__all__ = ["command"]

_SAFE_NAME = re.compile(r"[^A-Za-z0-9._-]")


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--format", "output_format", type=click.Choice(sorted(FORMATS)), default="plan", show_default=True
)
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for one file a rule."
)
@click.option("--keep-going", is_flag=True, help="Write the rules that compile although others do not.")
@pack_option
def command(
    paths: tuple[Path, ...],
    output_format: str,
    output: Path | None,
    keep_going: bool,
    pack_path: Path | None,
) -> None:
    """Compile Sigma rules to detection plans, searches or watches.

    PATHS are rules or folders of rules; without any, the rules of the pack. Prints one JSON document a line,
    or writes one file a rule, named by its id. A correlation needs its base rules among the paths.

    \b
    Example:
      sigmawatch compile rules/auth --format watch --output build/watches
    """
    pack = builtin_pack() if pack_path is None else None
    root = pack.root if pack is not None else (pack_path or Path())
    datasets = load_datasets(root / "ingest_pipelines")
    rules = load_rules(rule_files(list(paths) or [root / "rules"]))
    compiled = compile_rules(rules, compile_context(datasets))
    print_problems(compiled.problems)
    if not compiled.errors or keep_going:
        _write(compiled.plans, output_format, output)
    if compiled.errors:
        sys.exit(2)
    if not compiled.plans:
        raise UsageError("no rules found", hint="Sigma rules are YAML files ending in .yml")


def _write(plans: tuple[DetectionPlan, ...], output_format: str, folder: Path | None) -> None:
    bodies: list[tuple[str, Any]] = [(plan.rule.id, render(plan, output_format)) for plan in plans]
    if folder is None:
        for _, body in bodies:
            sys.stdout.buffer.write(orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.flush()
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for rule_id, body in bodies:
            # Ids come from rules: never let one name a place outside the folder.
            target = folder / f"{_SAFE_NAME.sub('_', rule_id)}.json"
            partial = target.with_suffix(".json.part")
            partial.write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
            partial.replace(target)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror}") from error
