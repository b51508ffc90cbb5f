"""`sigmawatch compile`: rules as plans, searches, watches, rules of Kibana and monitors of OpenSearch."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
import orjson

from sigmawatch.bundle import as_enriched, compile_context, known_datasets, pack_datasets
from sigmawatch.cli.content import datasets_around, pack_roots, rules_at
from sigmawatch.cli.options import (
    cache_option,
    configuration_options,
    connection_options,
    open_cluster,
    open_pack,
    pack_option,
    plan_cache,
    site_of,
)
from sigmawatch.cli.terminal import counted, errors, print_problems
from sigmawatch.compile.files import compile_files
from sigmawatch.errors import Problem, Severity, UsageError
from sigmawatch.render.formats import FORMATS
from sigmawatch.render.refusal import RenderRefused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.compile.context import Compiled

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
@click.option(
    "--live-types",
    "live_pattern",
    metavar="INDICES",
    help="Take the types of fields from these indices of the cluster at --url.",
)
@connection_options
@configuration_options
@cache_option
@pack_option
def command(
    paths: tuple[Path, ...],
    output_format: str,
    output: Path | None,
    keep_going: bool,
    pack_path: Path | None,
    config_path: Path | None,
    environment: str | None,
    no_cache: bool,
    live_pattern: str | None,
    **connection: Any,
) -> None:
    """Compile rules to what executes them.

    That is one of: plans, searches, watches, rules of Kibana or monitors of OpenSearch.

    PATHS are rules or folders of rules; without any, the rules of the pack. Prints one JSON document a line,
    or writes one file a rule, named by its id. A correlation needs its base rules among the paths. When any
    rule is invalid, or cannot be expressed in the format, nothing is written unless --keep-going is given, and the
    exit code is 2.

    Where events come from mappings of your own, --live-types asks the cluster what types fields have there.

    \b
    Examples:
      sigmawatch compile rules/auth --format watch --output build/watches
      sigmawatch compile rules --format search --live-types 'logs-*' --url http://127.0.0.1:9200
    """
    if pack_path is not None or not paths:
        pack = open_pack(pack_path)
        datasets = known_datasets(pack_datasets(pack))
        files = rules_at(list(paths) or [pack.rules])
        roots = [pack.root]
    else:
        datasets = datasets_around(paths)
        files = rules_at(paths)
        roots = pack_roots(paths)
    site = site_of(config_path, environment, roots)
    context = compile_context(
        as_enriched(site, datasets),
        placeholders=site.placeholders,
        overrides=_live_types(live_pattern, connection),
    )
    compiled = compile_files(files, context, cache=plan_cache(no_cache=no_cache))
    bodies, problems = _rendered(compiled, output_format)
    print_problems([*compiled.problems, *problems], in_brief=True)
    failed = len(compiled.errors) + sum(problem.severity is Severity.ERROR for problem in problems)
    written = not failed or keep_going
    if written:
        _write(bodies, output)
        _tell_limits(output_format, len(bodies))
    if failed:
        what = f"{counted(len(bodies), 'rule')} written" if written else "nothing was written"
        errors().print(f"{counted(failed, 'error')}: {what}", style="bold red", markup=False)
        sys.exit(2)
    if not compiled.plans:
        raise UsageError("no rules found", hint="Sigma rules are YAML files ending in .yml")


def _live_types(pattern: str | None, connection: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the types of fields in live indices, and warn of those that differ between them."""
    if pattern is None:
        return {}
    from sigmawatch.livetypes import live_types

    with open_cluster(**connection) as cluster:
        found = live_types(cluster, pattern)
    if not found.types:
        raise UsageError(f"no index of the cluster matches {pattern}", hint="Quote the pattern: 'logs-*'.")
    print_problems(
        [
            Problem(
                f"field {name} has different types in different indices: {', '.join(kinds)}",
                severity=Severity.WARNING,
                code="types",
            )
            for name, kinds in found.conflicts.items()
        ],
        in_brief=True,
    )
    return found.types


def _rendered(compiled: Compiled, output_format: str) -> tuple[list[tuple[str, Any]], list[Problem]]:
    """Return the bodies by their rules' ids, and what the format refuses or does differently."""
    form = FORMATS[output_format]
    bodies: list[tuple[str, Any]] = []
    problems: list[Problem] = []
    for plan in compiled.plans:
        place = compiled.places[plan.rule.id]
        try:
            bodies.append((plan.rule.id, form.render(plan)))
        except RenderRefused as refused:
            where = place.path, place.detection
            problems.append(Problem(refused.message, *where, refused.hint, code="refused"))
            continue
        problems += [
            Problem(
                f"{output_format}: {text}",
                place.path,
                place.line,
                severity=Severity.WARNING,
                code="differs",
            )
            for text in form.caveats(plan)
        ]
    return bodies, problems


def _tell_limits(output_format: str, number: int) -> None:
    """Say once what no rule has in this format."""
    for text in FORMATS[output_format].limits if number else ():
        errors().print(f"note: {output_format}: {text}", markup=False)


def _write(bodies: Sequence[tuple[str, Any]], folder: Path | None) -> None:
    if folder is None:
        for _, body in bodies:
            sys.stdout.buffer.write(orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.flush()
        return
    names = [_file_name(rule_id) for rule_id, _ in bodies]
    texts = [orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE) for _, body in bodies]
    try:
        if not folder.exists():
            _write_folder(folder, dict(zip(names, texts, strict=True)))
            return
        changed = {
            name: text for name, text in zip(names, texts, strict=True) if not _is_there(folder / name, text)
        }
        for name in changed:
            if (folder / name).is_dir():
                raise UsageError(f"{folder / name} is a folder, and in the way of a file")
        # All of them beside the old ones first: a full disk leaves the folder as it was.
        with TemporaryDirectory(prefix=".sigmawatch-", dir=folder) as unfinished:
            for name, text in changed.items():
                (Path(unfinished) / name).write_bytes(text)
            for name in changed:
                (Path(unfinished) / name).replace(folder / name)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror}") from error


def _write_folder(folder: Path, texts: Mapping[str, bytes]) -> None:
    """Write a new folder, which is there only when it is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".sigmawatch-", dir=folder.parent) as unfinished:
        # One within, since that one is for its owner only.
        made = Path(unfinished) / folder.name
        made.mkdir()
        for name, text in texts.items():
            (made / name).write_bytes(text)
        made.rename(folder)


def _is_there(path: Path, text: bytes) -> bool:
    """Whether a file holds a text already."""
    try:
        return path.read_bytes() == text
    except OSError:
        return False


def _file_name(rule_id: str) -> str:
    """Return the name of a rule's file. Ids come from rules: none may name a place outside the folder.

    An id that had to be changed gets a mark of its own, so that no two of them meet.
    """
    safe = _UNSAFE.sub("_", rule_id)[:_LONGEST]
    if safe != rule_id:
        safe += "-" + hashlib.sha256(rule_id.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{safe}.json"
