"""The kinds of parser: each takes a text apart into raw values. A new kind is one module and one line in `KINDS`.

A parser is a step of a description's `parse` list. Its Painless finds what is left to take apart in the variable
`text`, puts raw values into their slots, changes `text` where it leaves something for the next step, and says in the
script's fault slot why a line is none of its kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from sigmawatch.datasets.mapping import Condition, condition, read_condition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sigmawatch.datasets.mapping import FieldMapping
    from sigmawatch.datasets.reader import Reader
    from sigmawatch.datasets.script import Script

__all__ = [
    "Conditional",
    "DeclaresByLines",
    "NamesItsValues",
    "Parser",
    "TakesParsed",
    "TakesParts",
    "TakesSeveral",
    "needed_raw_values",
    "parted_values",
    "read_parsers",
    "steps_of",
]


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
        """Return the format that a line declares for the lines after it.

        Empty for a line that is no event either but declares nothing, None for every other line.
        """

    def write(self, script: Script, options: Mapping[str, Any]) -> str:
        """Return its Painless statements. Raises UsageError for an option value that makes no sense."""


@dataclass(frozen=True)
class Conditional:
    """A step that is only taken when earlier steps found certain raw values."""

    when: Condition
    """What must hold."""
    step: Parser
    """The step."""

    @property
    def kind(self) -> str:
        """Name of the step's kind."""
        return self.step.kind

    @property
    def raw_values(self) -> Sequence[str]:
        """Those of the step."""
        return self.step.raw_values

    @property
    def mappings(self) -> Sequence[FieldMapping]:
        """Those of the step."""
        return self.step.mappings

    @property
    def emits(self) -> Mapping[str, Any]:
        """What the step sets."""
        return self.step.emits

    @property
    def patterns(self) -> Sequence[Any]:
        """The step's patterns, if it has any."""
        found: Sequence[Any] = getattr(self.step, "patterns", ())
        return found

    @property
    def options(self) -> Sequence[str]:
        """Those of the step."""
        return self.step.options

    @property
    def drops(self) -> bool:
        """Whether the step drops lines."""
        return self.step.drops

    def declared_format(self, line: str) -> str | None:
        """Return what the step says."""
        return self.step.declared_format(line)

    def write(self, script: Script, options: Mapping[str, Any]) -> str:
        """Write the step inside a condition."""
        return f"if ({condition(script, self.when)}) {{\n{self.step.write(script, options)}}}\n"


@runtime_checkable
class NamesItsValues(Protocol):
    """A parser of lines that name their values, so that the names are not known beforehand, and may be lists."""

    @property
    def rest(self) -> str:
        """The flattened field for what no mapping names; empty: there is none."""

    def why_not(self, raw: str) -> str:
        """Return what is wrong with the name of a raw value, empty when it may be one."""


@runtime_checkable
class TakesParsed(Protocol):
    """A parser that takes documents whose line was parsed by the shipper."""

    def write_input(self, script: Script) -> str:
        """Return statements that set `raw` to the line, where it is null or an object."""


@runtime_checkable
class TakesParts(Protocol):
    """A parser whose finding a script hands over to another, which takes the raw values out of it."""

    def write_taking(self, script: Script) -> str:
        """Return the statements that take raw values out of what `given` has of an earlier script."""


@runtime_checkable
class DeclaresByLines(Protocol):
    """A parser of lines whose format several header lines declare together."""

    def declared_after(self, line: str, before: str | None) -> str | None:
        """Return the format that holds behind a header line, given the one before; None for a line that is none."""


@runtime_checkable
class TakesSeveral(Protocol):
    """A parser of lines that are no JSON and may hold several events."""

    def events(self, line: str) -> Sequence[str] | None:
        """Return the events of a line that holds several, or None when it is none of these."""


def steps_of(parsers: Sequence[Parser]) -> Sequence[Parser]:
    """Return parsers without the conditions on which they are used."""
    return [parser.step if isinstance(parser, Conditional) else parser for parser in parsers]


def needed_raw_values(parsers: Sequence[Parser]) -> Sequence[str]:
    """Return the raw values that steps look at themselves, beside those that mappings, switches and cases do."""
    from sigmawatch.datasets.parsers.join import Join
    from sigmawatch.datasets.parsers.json import Json
    from sigmawatch.datasets.parsers.kv import Pairs
    from sigmawatch.datasets.parsers.patterns import Patterns
    from sigmawatch.datasets.parsers.split import Split

    found: list[str] = []
    for parser in parsers:
        if isinstance(parser, Conditional):
            found += [*parser.when, *needed_raw_values([parser.step])]
        elif isinstance(parser, (Join, Split)):
            found += parser.parts
        elif isinstance(parser, Patterns):
            found += [*parser.tell_when, *filter(None, (parser.unless, parser.of))]
        elif isinstance(parser, Pairs) and parser.of:
            found.append(parser.of)
        elif isinstance(parser, Json) and parser.table is not None and parser.table.hint:
            found.append(parser.table.hint)
    return found


def parted_values(parsers: Sequence[Parser]) -> tuple[str, ...]:
    """Return the raw values of which nothing remains when steps have taken them apart."""
    from sigmawatch.datasets.parsers.split import Split

    return tuple(
        cut.raw
        for parser in steps_of(parsers)
        if isinstance(parser, Split)
        for cut in parser.cuts
        if cut.at_every
    )


def read_parsers(reader: Reader) -> tuple[Parser, ...]:
    """Read the `parse` list of a description."""
    parsers: list[Parser] = []
    for step in reader.elements():
        if not step.is_mapping():
            continue
        kinds = [kind for kind in step.data if kind != "when"]
        if len(kinds) != 1:
            step.problem(
                "a parse step is one kind of parser with its settings, and `when` if need be",
                hint="- columns: {...}",
            )
            continue
        kind, settings = kinds[0], step.at(kinds[0])
        read = _kinds().get(kind)
        if read is None:
            settings.problem(f"unknown parser {kind!r}", hint=f"known: {', '.join(sorted(_kinds()))}")
        elif settings.is_mapping():
            when = read_condition(step)
            parser = read(settings)
            parsers.append(Conditional(when, parser) if when else parser)
    return tuple(parsers)


def _kinds() -> Mapping[str, Callable[[Reader], Parser]]:
    # Here, because the parsers import this module for its vocabulary.
    from sigmawatch.datasets.parsers import (
        access_log,
        columns,
        given,
        join,
        json,
        kv,
        members,
        patterns,
        split,
        syslog,
    )

    return {
        "access_log": access_log.read,
        "columns": columns.read,
        "given": given.read,
        "join": join.read,
        "json": json.read,
        "kv": kv.read,
        "members": members.read,
        "patterns": patterns.read,
        "split": split.read,
        "syslog": syslog.read,
    }
