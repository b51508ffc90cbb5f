"""Message templates: `Failed {method} for invalid user {user*} from {address} port {port}`.

Between literal texts stand captures:

    {name}    one word: no blank in it, not empty
    {name?}   one word or nothing
    {name~}   words: may hold blanks, not empty
    {name*}   the greedy one, at most one in a template: whatever is left, nothing included

What stands left of the greedy capture is found from the left and what stands right of it from the right end, so that
a user called `x from 192.0.2.1 port 22` changes nothing about the address that is read. `{{` and `}}` are braces.

Matching is `startsWith`, `endsWith`, `indexOf` and `lastIndexOf`: no regular expression, whose limit a long hostile
line would hit, and no backtracking. Templates reach the script as tables, never as source.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

__all__ = ["Capture", "Template", "TemplateError", "parse_template"]

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_CAPTURE = re.compile(r"([a-z][a-z0-9_.-]*)([?~*]?)")


class TemplateError(ValueError):
    """A template that makes no sense; the message says why."""


@dataclass(frozen=True)
class Capture:
    """A part of a template that takes a raw value."""

    name: str
    """The raw value."""
    kind: str
    """The sign behind the name: none, `?`, `~` or `*`."""


@dataclass(frozen=True)
class Template:
    """A message template: literals and captures in turn, beginning and ending with a literal that may be empty."""

    text: str
    """As it was written."""
    literals: tuple[str, ...]
    """The texts between the captures: one more than there are captures."""
    captures: tuple[Capture, ...]
    """The captures."""

    @property
    def first_word(self) -> str | None:
        """The word that every text it fits begins with, or None when a capture may be part of the first word."""
        head, blank, _ = self.literals[0].partition(" ")
        return head if blank or not self.captures else None

    def table(self) -> dict[str, Any]:
        """Return what the Painless function `fits` reads, but for the slots."""
        # The capture that takes what the others leave: the greedy one, else the last.
        greedy = (index for index, capture in enumerate(self.captures) if capture.kind == "*")
        return {
            "texts": list(self.literals),
            "kinds": "".join(capture.kind or "-" for capture in self.captures),
            "rest": next(greedy, len(self.captures) - 1),
        }


def parse_template(text: str) -> Template:
    """Parse a template. Raises TemplateError."""
    literals = [""]
    captures: list[Capture] = []
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in ("{{", "}}"):
            literals[-1] += token[0]
        elif token in ("{", "}"):
            raise TemplateError(f"a lone {token!r}; write it twice to mean the character")
        elif match[1] is None:
            literals[-1] += token
        else:
            capture = _CAPTURE.fullmatch(match[1])
            if capture is None:
                raise TemplateError(
                    f"{token} is no capture; one is {{name}}, {{name?}}, {{name~}} or {{name*}}"
                )
            captures.append(Capture(capture[1], capture[2]))
            literals.append("")
    if any(not between for between in literals[1:-1]):
        raise TemplateError("two captures without a text between them")
    names = [capture.name for capture in captures]
    if len(set(names)) != len(names):
        raise TemplateError("a capture stands twice")
    if sum(capture.kind == "*" for capture in captures) > 1:
        raise TemplateError("more than one greedy capture {name*}")
    if not text:
        raise TemplateError("the template is empty")
    return Template(text, tuple(literals), tuple(captures))
