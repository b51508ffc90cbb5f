"""`sigmawatch compile`: rules as plans, searches or watches."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
import orjson

from sigmawatch.bundle import compile_context
from sigmawatch.cli.content import datasets_around, rules_at
from sigmawatch.cli.options import open_pack, pack_option
from sigmawatch.cli.terminal import counted, errors, print_problems
from sigmawatch.compile.compiler import compile_rules
from sigmawatch.datasets import load_datasets
from sigmawatch.errors import UsageError
from sigmawatch.pack.rules import load_rules
from sigmawatch.render.formats import FORMATS, render

if TYPE_CHECKING:
    from sigmawatch.compile.plan import DetectionPlan

__all__ = ["command"]

_UNSAFE = re.compile(r"^[^A-Za-z0-9_]|[^A-Za-z0-9._-]")
_LONGEST = 200
"""Characters of a file's name; file systems allow 255 bytes."""


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--format",
    "output_format",
    type=click.Choice(sorted(FORMATS)),
    default="plan",
    show_default=True,
    help="What to compile to.",
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
    """Compile rules to plans, searches or watches.

    PATHS are rules or folders of rules; without any, the rules of the pack. Prints one JSON document a line,
    or writes one file a rule, named by its id. A correlation needs its base rules among the paths. When any
    rule is invalid, nothing is written unless --keep-going is given, and the exit code is 2.

    \b
    Example:
      sigmawatch compile rules/auth --format watch --output build/watches
    """
    if pack_path is not None or not paths:
        pack = open_pack(pack_path)
        datasets = load_datasets(pack.ingest_pipelines)
        files = rules_at(list(paths) or [pack.rules])
    else:
        datasets = datasets_around(paths)
        files = rules_at(paths)
    compiled = compile_rules(load_rules(files), compile_context(datasets))
    print_problems(compiled.problems)
    written = not compiled.errors or keep_going
    if written:
        _write(compiled.plans, output_format, output)
    if compiled.errors:
        what = f"{counted(len(compiled.plans), 'rule')} written" if written else "nothing was written"
        errors().print(f"{counted(len(compiled.errors), 'error')}: {what}", style="bold red", markup=False)
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
        # All of them beside the old ones first: a full disk leaves the folder as it was.
        with TemporaryDirectory(prefix=".sigmawatch-", dir=folder) as unfinished:
            names = [_file_name(rule_id) for rule_id, _ in bodies]
            for name, (_, body) in zip(names, bodies, strict=True):
                text = orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
                (Path(unfinished) / name).write_bytes(text)
            for name in names:
                if (folder / name).is_dir():
                    raise UsageError(f"{folder / name} is a folder, and in the way of a file")
            for name in names:
                (Path(unfinished) / name).replace(folder / name)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror}") from error


def _file_name(rule_id: str) -> str:
    """Return the name of a rule's file. Ids come from rules: none may name a place outside the folder.

    An id that had to be changed gets a mark of its own, so that no two of them meet.
    """
    safe = _UNSAFE.sub("_", rule_id)[:_LONGEST]
    if safe != rule_id:
        safe += "-" + hashlib.sha256(rule_id.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{safe}.json"
