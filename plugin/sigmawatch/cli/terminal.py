"""What people see: one console for results, one for everything about them, errors with the next step."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from sigmawatch.errors import ContentError, Problem, Severity, SigmawatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "counted",
    "errors",
    "print_json",
    "print_problems",
    "progress_bar",
    "report_error",
    "results",
    "working",
]


PIPE_WIDTH = 200
"""Characters a line where there is no terminal to ask."""


def results() -> Console:
    """Return the console for results (standard output); wide where it is a file or a pipe."""
    console = Console(highlight=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=PIPE_WIDTH)


def errors() -> Console:
    """Return the console for progress and errors (standard error)."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def counted(number: int, what: str) -> str:
    """Return `1 rule`, `2 rules`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def print_json(value: object) -> None:
    """Write one JSON document to standard output, indented, keys in their order."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    except TypeError:
        # Numbers beyond 64 bits and names of files that are no UTF-8 come from users' files: slower, but JSON.
        text = json.dumps(value, indent=2, default=str, ensure_ascii=False).encode("utf-8", "replace")
    sys.stdout.buffer.write(text + b"\n")
    sys.stdout.flush()


def print_problems(problems: Iterable[Problem]) -> None:
    """Write problems to standard error, one a line as `file:line: severity: message (hint)`."""
    console = errors()
    if not console.is_terminal:
        # Laying out each line takes a millisecond, and a rule set may have thousands.
        sys.stderr.write("".join(f"{problem}\n" for problem in problems))
        return
    for problem in problems:
        style = "red" if problem.severity is Severity.ERROR else "yellow"
        console.print(str(problem), style=style, markup=False)


def report_error(error: SigmawatchError) -> None:
    """Write an error and what to do about it to standard error."""
    console = errors()
    if isinstance(error, ContentError):
        print_problems(error.problems)
        count = sum(problem.severity is Severity.ERROR for problem in error.problems)
        console.print(counted(count, "error"), style="bold red", markup=False)
        return
    console.print(f"error: {error.message}", style="red", markup=False)
    if error.hint:
        console.print(f"  {error.hint}", markup=False)


@contextmanager
def progress_bar(*, download: bool = False) -> Iterator[Progress]:
    """Show progress bars on standard error while the block runs; silent where that is no terminal."""
    columns: list[Any] = [SpinnerColumn(), TextColumn("{task.description}"), BarColumn()]
    columns += [DownloadColumn() if download else MofNCompleteColumn(), TimeElapsedColumn()]
    console = errors()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress


def _say_nothing(step: str) -> None:
    del step


@contextmanager
def working(first: str) -> Iterator[Callable[[str], object]]:
    """Say on standard error what is being done while the block runs, where that is a terminal.

    Yields a function that says what is done now.
    """
    console = errors()
    if console.is_terminal:
        with console.status(first) as status:
            yield status.update
    else:
        yield _say_nothing
