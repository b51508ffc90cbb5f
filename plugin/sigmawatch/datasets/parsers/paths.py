"""Paths to values in JSON: `userIdentity.type`, `answers[].data`, `headers[name~=user-agent].value`.

    a.b        the member b of the object a; where a is a list, that of each of its objects
    a[]        every element of a list; what comes of it is a list
    a[0]       one element, counted from 0
    a[k=v]     the elements that are objects whose member k is the text v; `~=` without regard to case
    "a.b".c    a key that is no plain name stands in double quotes
    a|b        what is at either place: versions of a format that call one thing by two names

A list where one value was expected gives all its values, and one value where a list was expected is a list of one:
vendors change their minds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

__all__ = ["Element", "Key", "PathError", "Select", "Step", "alternatives", "parse_path"]

_KEY = re.compile(r'"(?P<quoted>[^"]+)"|(?P<plain>[^."\[\]=~|\s]+)')
_BRACKET = re.compile(r"\[(?:(?P<index>\d+)|(?P<key>[^=~\[\]\s]+)(?P<sign>~?=)(?P<text>[^\[\]]+))?\]")


class PathError(ValueError):
    """A path that makes no sense; the message says why."""


@dataclass(frozen=True)
class Key:
    """A member of an object."""

    name: str


@dataclass(frozen=True)
class Element:
    """An element of a list: the one at a position, or every one."""

    index: int | None = None


@dataclass(frozen=True)
class Select:
    """The elements of a list that are objects with a certain member."""

    key: str
    text: str
    cased: bool


Step = Key | Element | Select


_ALTERNATIVE = re.compile(r'(?:"[^"]*"|[^"|])+')


@cache
def alternatives(path: str) -> tuple[str, ...]:
    """Return the paths that stand in one, with `|` between them."""
    return tuple(_ALTERNATIVE.findall(path)) if "|" in path else (path,)


@cache
def parse_path(path: str) -> tuple[Step, ...]:
    """Take a path apart. Raises PathError."""
    steps: list[Step] = []
    at = 0
    while True:
        key = _KEY.match(path, at)
        if key is None:
            raise PathError(f"{path!r} is no path: no key at character {at + 1}")
        steps.append(Key(key["quoted"] or key["plain"]))
        at = key.end()
        while bracket := _BRACKET.match(path, at):
            if bracket["index"]:
                steps.append(Element(int(bracket["index"])))
            elif bracket["key"]:
                steps.append(Select(bracket["key"], bracket["text"], bracket["sign"] == "="))
            else:
                steps.append(Element())
            at = bracket.end()
        if at == len(path):
            break
        if path[at] != ".":
            raise PathError(f"{path!r} is no path: unexpected {path[at]!r} at character {at + 1}")
        at += 1
    if any(isinstance(a, Element) and isinstance(b, Element) for a, b in pairwise(steps)):
        raise PathError(f"{path!r} is no path: a list in a list has no names")
    return tuple(steps)
