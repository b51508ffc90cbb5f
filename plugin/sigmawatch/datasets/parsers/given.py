"""What the shipper says of a line beside it: the name of its file, a label of its own.

    - given:
        file: {of: log.file.path, stem: true}    # the name up to its first point: `/var/log/conn.log.gz` is `conn`
        label: {of: labels.log}

The field stays where it is. A field that holds no text says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.parsers.plain import Plain
from sigmawatch.datasets.script import literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.datasets.reader import Reader
    from sigmawatch.datasets.script import Script

__all__ = ["Given", "read"]


@dataclass(frozen=True)
class Field:
    """A field of the document as it comes in."""

    name: str
    """The field."""
    stem: bool
    """Whether it is the path of a file, of which only the name up to its first point is meant."""


@dataclass(frozen=True)
class Given(Plain):
    """Raw values that are fields of the document as it comes in."""

    fields: Mapping[str, Field]
    """Raw value -> field."""
    kind: str = "given"

    @property
    def raw_values(self) -> Sequence[str]:
        """Those that are declared."""
        return tuple(self.fields)

    def write(self, script: Script, options: Mapping[str, Any]) -> str:  # noqa: ARG002  # the protocol's signature
        """Write the look-ups."""
        return "".join(
            f"{script.slot(raw)} = {'stemOf' if field.stem else 'givenText'}(ctx, {literal(field.name)});\n"
            for raw, field in self.fields.items()
        )


def read(reader: Reader) -> Given:
    """Read the settings of a given step."""
    fields = {}
    for raw, member in reader.items():
        if member.is_mapping({"of", "stem"}):
            fields[raw] = Field(member.text("of"), member.flag("stem"))
    return Given(fields)
