"""Which rule files have to be compiled together, and which need not know of each other.

A plan depends on its own file, on those that its correlation refers to, on those with a rule of the same id or name
(only the first of them counts), and on every filter. Files that have none of this in common are units of their own:
they can be compiled side by side, and what came of them before holds as long as none of them changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import orjson

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["RuleFact", "Source", "Unit", "as_json", "filters_of", "units_of"]


@dataclass(frozen=True)
class RuleFact:
    """What has to be known of a rule to tell what depends on it."""

    kind: str
    """rule, correlation or filter."""
    keys: tuple[str, ...] = ()
    """Its id and its name, as far as it has them."""
    refers: tuple[str, ...] = ()
    """Ids and names of the rules that a correlation refers to."""


@dataclass(frozen=True)
class Source:
    """A rule file that was read."""

    path: Path
    content: bytes | None
    """None where it cannot be read; then reading it again will tell why."""


@dataclass(frozen=True)
class Unit:
    """Files that are compiled together, by their numbers, in order."""

    own: tuple[int, ...]
    """Files of whose rules the plans are wanted."""
    filters: tuple[int, ...] = ()
    """Other files, of which only the filters count."""


def filters_of(facts: Sequence[Sequence[RuleFact] | None]) -> tuple[int, ...]:
    """Return the numbers of the files that hold filters. `facts`: of each file, None where nothing is known yet."""
    return tuple(
        number
        for number, known in enumerate(facts)
        if known is not None and any(fact.kind == "filter" for fact in known)
    )


def units_of(facts: Sequence[Sequence[RuleFact] | None]) -> list[Unit]:
    """Return the units in the order of their first files. Files of which nothing is known stand alone."""
    leaders = list(range(len(facts)))

    def leader(number: int) -> int:
        while leaders[number] != number:
            leaders[number] = number = leaders[leaders[number]]
        return number

    def join(one: int, other: int) -> None:
        first, second = sorted((leader(one), leader(other)))
        leaders[second] = first

    owners: dict[str, int] = {}
    for number, known in enumerate(facts):
        for fact in known or ():
            if fact.kind != "filter":
                for key in fact.keys:
                    join(owners.setdefault(key, number), number)
    for number, known in enumerate(facts):
        for fact in known or ():
            for name in fact.refers:
                owner = owners.get(_as_key(name))
                if owner is not None:
                    join(owner, number)
    members: dict[int, list[int]] = {}
    for number in range(len(facts)):
        members.setdefault(leader(number), []).append(number)
    filters = filters_of(facts)
    return [
        Unit(tuple(own), tuple(number for number in filters if number not in own)) for own in members.values()
    ]


def _as_key(name: str) -> str:
    """Return a reference as keys spell it: pySigma takes whatever can be read as a UUID for an id."""
    try:
        return str(UUID(name))
    except ValueError:
        return name


def as_json(value: object) -> bytes | None:
    """Return a value as JSON, None where JSON cannot say it (numbers beyond 64 bits, half of a character)."""
    try:
        text = orjson.dumps(value)
    except TypeError:
        return None
    return text if orjson.loads(text) == value else None
