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
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

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


_MANY = 20
"""Warnings of one kind from which on only the first are told in brief."""

_FIRST = 3


def print_problems(problems: Iterable[Problem], *, in_brief: bool = False) -> None:
    """Write problems to standard error, one a line as `file:line: severity: message (hint)`.

    `in_brief`: of many warnings of one kind only the first ones, and how many there are. Errors are all told.
    """
    console = errors()
    lines = _in_brief(problems) if in_brief else [(problem.severity, str(problem)) for problem in problems]
    if not console.is_terminal:
        # Laying out each line takes a millisecond, and a rule set may have thousands.
        sys.stderr.write("".join(f"{text}\n" for _, text in lines))
        return
    for severity, text in lines:
        console.print(text, style="red" if severity is Severity.ERROR else "yellow", markup=False)


def _in_brief(problems: Iterable[Problem]) -> list[tuple[Severity, str]]:
    """Return the lines for problems: where warnings of one kind are many, the first and their number."""
    kinds: dict[str, list[Problem]] = {}
    lines: list[tuple[Severity, str]] = []
    for problem in problems:
        if problem.severity is Severity.ERROR:
            lines.append((problem.severity, str(problem)))
        else:
            kinds.setdefault(problem.code, []).append(problem)
    for code, found in kinds.items():
        shown = found if len(found) <= _MANY else found[:_FIRST]
        lines += [(problem.severity, str(problem)) for problem in shown]
        if len(found) > len(shown):
            more = f"{len(found) - len(shown):,} more warnings of this kind"
            lines.append((Severity.WARNING, f"… and {more} ({code}); `sigmawatch check --all` lists them"))
    return lines


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


class _Rate(ProgressColumn):
    """How many of something are done a second, on the average."""

    def __init__(self, what: str) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._what = what

    def render(self, task: Task) -> Text:
        """Return the rate, or nothing before the first second."""
        done, elapsed = task.fields.get("done", 0), task.elapsed or 0.0
        rate = f"{done:,} {self._what}, {done / elapsed:,.0f}/s" if elapsed >= 1 else ""
        return Text(rate, style="progress.data.speed")


@contextmanager
def progress_bar(*, download: bool = False, rate: str = "") -> Iterator[Progress]:
    """Show progress bars on standard error while the block runs; silent where that is no terminal.

    `rate`: of what each task's field `done` counts, so many a second are shown.
    """
    # On a narrow terminal the description gives way, and nothing is broken into several lines.
    first = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1))
    columns: list[Any] = [SpinnerColumn(), first, BarColumn(bar_width=20)]
    columns += [DownloadColumn() if download else MofNCompleteColumn()]
    columns += [_Rate(rate)] if rate else []
    columns += [TimeElapsedColumn()]
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
