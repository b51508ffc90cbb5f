"""How much work it is to make an expression deterministic, which engines do, and give up when it is too much.

The expression is searched for, so it may begin anywhere: with a counted gap of many characters in it, an automaton has
to remember every place in which it might have begun. Counted as Lucene counts (Operations.determinize): the sizes of
all sets of states.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Automaton", "Part", "automaton", "determinized"]

LIMIT = 120_000
"""More is not counted."""

_LONGEST = 5000
"""Places in an expression that are looked at; engines take 1,000 characters, of which repetitions make more."""

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Part:
    """A part of an expression."""

    kind: str
    """chars, sequence, choice or repeat."""
    parts: tuple[Part, ...] = ()
    ranges: Ranges = ()
    least: int = 0
    most: int | None = None


@dataclass(frozen=True)
class _Ends:
    """Where a part can begin and end, as sets of places, and whether it can be empty."""

    first: int
    last: int
    empty: bool


@dataclass(frozen=True)
class Automaton:
    """An expression as places at which a character stands, which a script can follow without determinizing it."""

    ranges: tuple[Ranges, ...]
    """The characters that may stand at each place."""
    follow: tuple[tuple[int, ...], ...]
    """The places that may come after each place."""
    first: tuple[int, ...]
    last: tuple[int, ...]


class _Places:
    """The places of an expression at which a character stands, and which can follow which (Glushkov)."""

    def __init__(self) -> None:
        self.ranges: list[Ranges] = []
        self.follow: list[int] = []

    def add(self, part: Part) -> _Ends:
        if part.kind == "chars":
            self.ranges.append(part.ranges)
            self.follow.append(0)
            if len(self.ranges) > _LONGEST:
                raise OverflowError
            place = 1 << (len(self.ranges) - 1)
            return _Ends(place, place, False)
        if part.kind == "sequence":
            ends = _Ends(0, 0, True)
            for each in part.parts:
                ends = self.join(ends, self.add(each))
            return ends
        if part.kind == "choice":
            options = [self.add(each) for each in part.parts]
            first = last = 0
            for option in options:
                first, last = first | option.first, last | option.last
            return _Ends(first, last, any(option.empty for option in options))
        return self.repeat(part)

    def repeat(self, part: Part) -> _Ends:
        ends = _Ends(0, 0, True)
        for _ in range(part.least):
            ends = self.join(ends, self.add(part.parts[0]))
        if part.most is None:
            more = self.add(part.parts[0])
            self.link(more.last, more.first)
            return self.join(ends, _Ends(more.first, more.last, True))
        rest = _Ends(0, 0, True)
        # x{0,3} is (x(x(x)?)?)?, so that every place is followed by the next one only.
        for _ in range(part.most - part.least):
            joined = self.join(self.add(part.parts[0]), rest)
            rest = _Ends(joined.first, joined.last, True)
        return self.join(ends, rest)

    def join(self, left: _Ends, right: _Ends) -> _Ends:
        self.link(left.last, right.first)
        return _Ends(
            left.first | (right.first if left.empty else 0),
            right.last | (left.last if right.empty else 0),
            left.empty and right.empty,
        )

    def link(self, before: int, after: int) -> None:
        for place in _bits(before):
            self.follow[place] |= after


def automaton(part: Part) -> Automaton | None:
    """Return the places of an expression; None where it has too many, or can be empty."""
    places = _Places()
    try:
        ends = places.add(part)
    except OverflowError:
        return None
    if ends.empty:
        return None
    return Automaton(
        tuple(places.ranges),
        tuple(tuple(_bits(follow)) for follow in places.follow),
        tuple(_bits(ends.first)),
        tuple(_bits(ends.last)),
    )


def determinized(part: Part) -> int:
    """Return the work for an expression that may begin anywhere and be followed by anything; at most `LIMIT`."""
    places = _Places()
    try:
        ends = places.add(part)
    except OverflowError:
        return LIMIT
    accepted = 1 << len(places.ranges)
    follow = list(places.follow)
    for place in _bits(ends.last):
        follow[place] |= accepted
    follow.append(accepted)
    classes = _classes(places.ranges)
    seen = {0}
    waiting = [0]
    effort = 0
    while waiting and effort < LIMIT:
        state = waiting.pop()
        # One for the place before the expression, from which it can begin at any time.
        effort += 1 + state.bit_count()
        reached = ends.first
        for place in _bits(state):
            reached |= follow[place]
        for chars in classes:
            found = reached & (chars | accepted)
            if found not in seen:
                seen.add(found)
                waiting.append(found)
    return min(effort, LIMIT)


def _classes(ranges: list[Ranges]) -> set[int]:
    """Return for every kind of character that the expression tells apart the places that it fits."""
    borders = sorted(
        {0} | {low for each in ranges for low, _ in each} | {high + 1 for each in ranges for _, high in each}
    )
    kinds = dict.fromkeys(ranges)
    found = set()
    for border in borders:
        fits = {kind for kind in kinds if any(low <= border <= high for low, high in kind)}
        found.add(sum(1 << place for place, each in enumerate(ranges) if each in fits))
    return found


def _bits(number: int) -> list[int]:
    """Return the places of the bits that are set."""
    found = []
    while number:
        low = number & -number
        found.append(low.bit_length() - 1)
        number ^= low
    return found
