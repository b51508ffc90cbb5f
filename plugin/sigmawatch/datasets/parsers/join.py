"""Raw values made of others: a moment whose date, time and zone a format keeps apart.

    - join: {stamp: "{date}T{time}{tz}", operation: "{operationName|lower}"}

Where the first of the parts is missing there is no such value; another that is missing stands for nothing. `|lower` is
the value in small letters, for conditions: they have regard to case.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.parsers.plain import Plain
from sigmawatch.datasets.script import literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.datasets.reader import Reader
    from sigmawatch.datasets.script import Script

__all__ = ["Join", "read"]

_LOWER = "|lower"
_PART = re.compile(r"\{([^{}]+)\}|([^{}]+)")


@dataclass(frozen=True)
class Join(Plain):
    """Raw values made of others."""

    made: Mapping[str, tuple[tuple[bool, str], ...]]
    """Name -> its parts: raw values (true) and texts between them (false)."""
    kind: str = "join"

    @property
    def raw_values(self) -> Sequence[str]:
        """The values made."""
        return tuple(self.made)

    @property
    def parts(self) -> Sequence[str]:
        """The raw values that they are made of."""
        return [_raw(text) for parts in self.made.values() for is_raw, text in parts if is_raw]

    def write(self, script: Script, options: Mapping[str, Any]) -> str:  # noqa: ARG002  # the protocol's signature
        """Write the concatenations."""
        lines = []
        for name, parts in self.made.items():
            slots = [script.slot(_raw(text)) for is_raw, text in parts if is_raw]
            whole = " + ".join(_written(script, text) if is_raw else literal(text) for is_raw, text in parts)
            lines.append(f"if ({slots[0]} != null) {{ {script.slot(name)} = {whole}; }}\n")
        return "".join(lines)


def _raw(text: str) -> str:
    """Return the raw value that a part names."""
    return text.removesuffix(_LOWER)


def _written(script: Script, text: str) -> str:
    """Return the expression of a part that is a raw value."""
    slot = script.slot(_raw(text))
    return f"({slot} == null ? '' : {slot}{'.toLowerCase()' if text.endswith(_LOWER) else ''})"


def read(reader: Reader) -> Join:
    """Read the settings of a join step."""
    made = {}
    for name, member in reader.items():
        text = member.as_text()
        parts = tuple((match[1] is not None, match[1] or match[2]) for match in _PART.finditer(text))
        if (
            not any(is_raw for is_raw, _ in parts)
            or "".join(f"{{{part}}}" if is_raw else part for is_raw, part in parts) != text
        ):
            member.problem(f"{name}: expected raw values in braces", hint='stamp: "{date}T{time}{tz}"')
            continue
        made[name] = parts
    return Join(made)
