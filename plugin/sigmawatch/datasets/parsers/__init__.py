"""The kinds of parser: each takes a text apart into raw values. A new kind is one module and one line in `KINDS`.

A parser is a step of a description's `parse` list. Its Painless finds what is left to take apart in the variable
`text`, puts raw values into their slots, changes `text` where it leaves something for the next step, and says in the
script's fault slot why a line is none of its kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sigmawatch.datasets.mapping import FieldMapping
    from sigmawatch.datasets.reader import Reader
    from sigmawatch.datasets.script import Script

__all__ = ["Parser", "read_parsers"]


class Parser(Protocol):
    """One step of taking a line apart."""

    @property
    def kind(self) -> str:
        """Its name in the description."""

    @property
    def raw_values(self) -> Sequence[str]:
        """Names of the raw values it may find."""

    @property
    def mappings(self) -> Sequence[FieldMapping]:
        """What becomes of raw values that mean the same in every dataset, e.g. the syslog header."""

    @property
    def emits(self) -> Mapping[str, Any]:
        """Fields it sets by itself, with an example value."""

    @property
    def options(self) -> Sequence[str]:
        """Options of `build_pipeline` that it understands."""

    @property
    def drops(self) -> bool:
        """Whether some lines are no events and are dropped, such as headers."""

    def declared_format(self, line: str) -> str | None:
        """Return the format that a line declares for the lines after it, or None when it is not such a line."""

    def write(self, script: Script, options: Mapping[str, Any]) -> str:
        """Return its Painless statements. Raises UsageError for an option value that makes no sense."""


def read_parsers(reader: Reader) -> tuple[Parser, ...]:
    """Read the `parse` list of a description."""
    parsers = []
    for step in reader.elements():
        if not step.is_mapping():
            continue
        if len(step.data) != 1:
            step.problem("a parse step is one kind of parser with its settings", hint="- columns: {...}")
            continue
        kind, settings = next(step.items())
        read = _kinds().get(kind)
        if read is None:
            settings.problem(f"unknown parser {kind!r}", hint=f"known: {', '.join(sorted(_kinds()))}")
        elif settings.is_mapping():
            parsers.append(read(settings))
    return tuple(parsers)


def _kinds() -> Mapping[str, Callable[[Reader], Parser]]:
    # Here, because the parsers import this module for its vocabulary.
    from sigmawatch.datasets.parsers import columns, patterns, syslog

    return {"columns": columns.read, "patterns": patterns.read, "syslog": syslog.read}
