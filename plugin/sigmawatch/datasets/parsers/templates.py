"""Message templates: `Failed {method} for invalid user {user*} from {address} port {port}`.

Between literal texts stand captures:

    {name}    one word: no blank in it, not empty
    {name?}   one word or nothing
    {name~}   words: may hold blanks, not empty
    {name*}   the greedy one, at most one in a template: whatever is left, nothing included

What stands left of the greedy capture is found from the left and what stands right of it from the right end, so that
a user called `x from 192.0.2.1 port 22` changes nothing about the address that is read. `{{` and `}}` are braces.

A template becomes straight code of `startsWith`, `indexOf` and `lastIndexOf`: no regular expression, whose limit a
long hostile line would hit, and no backtracking.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sigmawatch.datasets.script import java_length, literal

if TYPE_CHECKING:
    from sigmawatch.datasets.script import Script

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

    def write(self, script: Script, accepted: str) -> str:
        """Return the body of a function of the text `s` that says whether it matches.

        Raw values are stored only when all of the template matches; `accepted` are statements for that case.
        """
        first, last = self.literals[0], self.literals[-1]
        if not self.captures:
            return f"  if (!{literal(first)}.equals(s)) {{ return false; }}\n{accepted}  return true;"
        lines = []
        if first:
            lines.append(f"if (!s.startsWith({literal(first)})) {{ return false; }}")
        lines += [f"int a = {java_length(first)};", f"int z = s.length() - {java_length(last)};"]
        lines.append("if (z < a) { return false; }")
        if last:
            lines.append(f"if (!s.endsWith({literal(last)})) {{ return false; }}")
        # The capture that takes what the others leave: the greedy one, else the last.
        rest = next((i for i, capture in enumerate(self.captures) if capture.kind == "*"), len(self.captures) - 1)
        for index, capture in enumerate(self.captures[:rest]):
            after = literal(self.literals[index + 1])
            lines += [
                f"int e{index} = s.indexOf({after}, a);",
                f"if (e{index} < 0 || e{index} > z) {{ return false; }}",
                *_taken(index, capture, "a", f"e{index}"),
                f"a = e{index} + {java_length(self.literals[index + 1])};",
            ]
        for index in range(len(self.captures) - 1, rest, -1):
            before = self.literals[index]
            lines += [
                f"int b{index} = s.lastIndexOf({literal(before)}, z - {java_length(before)});",
                f"if (b{index} < a) {{ return false; }}",
                *_taken(index, self.captures[index], f"b{index} + {java_length(before)}", "z"),
                f"z = b{index};",
            ]
        lines += ["if (z < a) { return false; }", *_taken(rest, self.captures[rest], "a", "z")]
        lines += [f"{script.slot(capture.name)} = c{index};" for index, capture in enumerate(self.captures)]
        return "".join(f"  {line}\n" for line in lines) + accepted + "  return true;"


def _taken(index: int, capture: Capture, begin: str, end: str) -> list[str]:
    """Return the statements that take a capture out of the text and check that it is what its kind says."""
    lines = [f"String c{index} = s.substring({begin}, {end});"]
    wrong = []
    if capture.kind in ("", "~"):
        wrong.append(f"c{index}.isEmpty()")
    if capture.kind in ("", "?"):
        wrong.append(f"c{index}.indexOf(' ') >= 0")
    if wrong:
        lines.append(f"if ({' || '.join(wrong)}) {{ return false; }}")
    return lines


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
                raise TemplateError(f"{token} is no capture; one is {{name}}, {{name?}}, {{name~}} or {{name*}}")
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
