"""Raw values that hold two: `TCP_MISS/200`.

    - split:
        outcome: {at: "/", into: [result, status]}               # at the first such text
        peer: {at: ":", into: [address, port], last: true}       # … or at the last

Where the text is missing the first part is all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.script import java_length, literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.datasets.mapping import FieldMapping
    from sigmawatch.datasets.reader import Reader
    from sigmawatch.datasets.script import Script

__all__ = ["Cut", "Split", "read"]


@dataclass(frozen=True)
class Cut:
    """How one raw value is parted."""

    raw: str
    """The raw value."""
    at: str
    """The text between its parts."""
    into: tuple[str, str]
    """The parts."""
    last: bool
    """Whether the last such text counts, not the first."""


@dataclass(frozen=True)
class Split:
    """Raw values parted into two."""

    cuts: tuple[Cut, ...]
    """In this order."""
    kind: str = "split"
    options: Sequence[str] = ()
    mappings: Sequence[FieldMapping] = ()
    drops: bool = False

    @property
    def raw_values(self) -> Sequence[str]:
        """The parts."""
        return [name for cut in self.cuts for name in cut.into]

    @property
    def parts(self) -> Sequence[str]:
        """The raw values that are parted."""
        return [cut.raw for cut in self.cuts]

    @property
    def emits(self) -> Mapping[str, Any]:
        """Nothing by itself."""
        return {}

    def declared_format(self, line: str) -> str | None:  # noqa: ARG002  # the protocol's signature
        """Splitting declares nothing."""
        return None

    def write(self, script: Script, options: Mapping[str, Any]) -> str:  # noqa: ARG002  # as above
        """Write the cuts; an empty part is none."""
        lines = []
        for cut in self.cuts:
            whole, first, second = (script.slot(name) for name in (cut.raw, *cut.into))
            find = "lastIndexOf" if cut.last else "indexOf"
            lines.append(
                f"if ({whole} != null) {{ String whole = {whole}; int at = whole.{find}({literal(cut.at)}); "
                f"{first} = at < 0 ? whole : at == 0 ? null : whole.substring(0, at); "
                f"int next = at + {java_length(cut.at)}; "
                f"{second} = at < 0 || next == whole.length() ? null : whole.substring(next); }}\n"
            )
        return "".join(lines)


def read(reader: Reader) -> Split:
    """Read the settings of a split step."""
    cuts = []
    for raw, entry in reader.items():
        if not entry.is_mapping({"at", "into", "last"}):
            continue
        into = entry.texts("into")
        if len(into) != 2:
            entry.problem("into: expected the names of two parts", hint="into: [result, status]")
            continue
        cuts.append(Cut(raw, entry.text("at"), (into[0], into[1]), entry.flag("last")))
    return Split(tuple(cuts))
