r"""Lines of columns that become the objects that a log has in JSON, so that both forms of it are one.

    - json:
        table:
          separator: tab                       # or comma, semicolon, pipe
          null_values: ["-", "(empty)"]
          kind: _path                          # the member that says which record it is
          hint: file                           # a raw value that says so of lines whose format nobody declares
          formats: {dns: [ts uid query, ts uid query answers]}   # the orders of columns that need no declaration
          lists: [answers, "smtp:path"]        # columns (of one kind) that hold several values, with commas between
          flags: [AA, TC]                      # columns that hold T or F
          numbers: [duration]                  # columns whose digits JSON writes otherwise: 0.050000

Lines that begin with # are headers: `#path` tells the kind and `#fields` the columns of the lines after them. They
reach the pipeline as `_format` of each document: `dns: ts uid query`. Without it the format is the one of the hinted
kind with as many columns, or that of the only kind that has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.parsers.columns import BLANKS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmawatch.datasets.reader import Reader

__all__ = ["Table", "read_table"]

_SEPARATORS = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}


@dataclass(frozen=True)
class Table:
    """Lines of columns."""

    separator: str
    null_values: tuple[str, ...]
    """Texts that mean there is no value."""
    kind: str
    """The member that says which record it is."""
    hint: str
    """The raw value that says so where nobody declares it; empty: there is none."""
    formats: Mapping[str, tuple[tuple[str, ...], ...]]
    """Kind -> orders of columns, no two with the same number."""
    lists: tuple[str, ...]
    """Columns that hold several values."""
    kinds: Mapping[str, str]
    """Column -> `flag` or `number`, where JSON writes its values otherwise."""

    def declared_after(self, line: str, before: str | None) -> str | None:
        """Return `kind: columns` as header lines up to this one say it; None for a line that is no header."""
        text = line.removeprefix("\ufeff").strip(BLANKS)
        if not text.startswith("#"):
            return None
        word, *values = text.split(self.separator)
        known, _, names = (before or "").rpartition(":")
        if word == "#path":
            return f"{values[0] if values else ''}:"
        if word == "#fields":
            return f"{known}:{' '.join(values)}"
        if word.startswith(("#separator", "#close")):
            return ""
        return f"{known}:{names}" if before else ""

    def content(self) -> Mapping[str, Any]:
        """Return what the Painless function `tableObject` reads."""
        kinds: dict[str, list[str]] = {}
        for kind, orders in self.formats.items():
            for order in orders:
                kinds.setdefault(str(len(order)), []).append(kind)
        return {
            "separator": self.separator,
            "nulls": dict.fromkeys(self.null_values, True),
            "kind": self.kind,
            "formats": {
                kind: {str(len(order)): list(order) for order in orders}
                for kind, orders in self.formats.items()
            },
            "counts": {count: known[0] for count, known in kinds.items() if len(known) == 1},
            "lists": self._lists(),
            "kinds": dict(self.kinds),
        }

    def _lists(self) -> Mapping[str, Any]:
        """Return the columns of all kinds that hold several values, and below `kind:` those of one."""
        found: dict[str, Any] = {}
        for text in self.lists:
            kind, colon, name = text.rpartition(":")
            (found.setdefault(kind + colon, {}) if colon else found)[name] = True
        return found


def read_table(reader: Reader | None) -> Table | None:
    """Read the settings of a table, None where there are none."""
    if reader is None or not reader.is_mapping(
        {"separator", "null_values", "kind", "hint", "formats", "lists", "flags", "numbers"}
    ):
        return None
    separator = reader.text("separator", default="tab")
    if separator not in _SEPARATORS:
        reader.at("separator").problem(
            f"separator: {separator!r} is unknown", hint=f"known: {', '.join(_SEPARATORS)}"
        )
    formats = {}
    for kind in reader.mapping("formats"):
        orders = tuple(tuple(text.split()) for text in reader.at("formats").texts(kind))
        if len({len(order) for order in orders}) != len(orders):
            reader.at("formats").at(kind).problem(
                "the formats of a kind must differ in their number of columns"
            )
        formats[kind] = orders
    return Table(
        separator=_SEPARATORS.get(separator, "\t"),
        null_values=reader.texts("null_values"),
        kind=reader.text("kind"),
        hint=reader.text("hint", default=""),
        formats=formats,
        lists=tuple(name for text in reader.texts("lists") for name in text.split()),
        kinds={
            name: kind
            for kind in ("flag", "number")
            for text in reader.texts(f"{kind}s")
            for name in text.split()
        },
    )
