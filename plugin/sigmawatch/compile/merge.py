"""Long alternatives made short: the same hits from fewer clauses.

Every wildcard of its own walks the terms of a field once more, and engines refuse more than 1,024 clauses. So
patterns on one field are joined into regular expressions, `.*(a|b|c).*`, as long as engines take them, and
values that are compared as they are into `terms`. Measured on 3,000 rules, that halves the engine's work. So many
patterns that a node could not hold their automata are looked up by a stored script, which knows them by their length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sigmawatch.compile.fieldtypes import FieldKind
from sigmawatch.compile.leaves import (
    LUCENE_MAX_LENGTH,
    MATCH_NONE,
    any_of,
    escaped,
    regular,
    utf16_length,
)
from sigmawatch.compile.scripted import any_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sigmawatch.compile.fieldtypes import FieldTypes
    from sigmawatch.compile.plan import Query

__all__ = [
    "FEWEST",
    "MAX_CLAUSES",
    "MAX_EXPRESSIONS",
    "MAX_PATTERNS",
    "MAX_TERMS",
    "clauses",
    "pattern_size",
    "shortened",
]

FEWEST = 4
"""Patterns from which on they are joined: fewer are easier to read, and cost no more."""

MAX_TERMS = 65_536
"""`index.max_terms_count`: values that one `terms` query takes."""

MAX_CLAUSES = 1000
"""Clauses of one query; OpenSearch takes 1,024, of which time range and filters need some."""

MAX_PATTERNS = 50_000
"""Characters of all patterns of one query. An engine holds all their automata at once, about 2 kB of heap for each
character: a rule with 235,000 of them ended an OpenSearch node of 512 MB, and one of 1 GB."""

MAX_EXPRESSIONS = 20_000
"""Characters of patterns on one field from which on they are looked up instead."""

_VALUE_KINDS = frozenset(
    {FieldKind.KEYWORD, FieldKind.FLATTENED, FieldKind.INTEGER, FieldKind.FLOAT, FieldKind.IP}
)
"""Kinds of which `terms` means the same as one `term` for each value."""


def shortened(query: Query, types: FieldTypes) -> Query:
    """Return a query with the same hits, the alternatives in it joined."""
    found = query.get("bool")
    if found is None:
        return query
    parts = {
        key: [shortened(each, types) for each in value] if isinstance(value, list) else value
        for key, value in found.items()
    }
    if set(parts) != {"should", "minimum_should_match"}:
        return {"bool": parts}
    return any_of(_joined(any_of(parts["should"])["bool"]["should"], types))


def clauses(query: Any) -> int:
    """Return how many clauses an engine counts in a query."""
    found = query.get("bool")
    if found is None:
        return 1
    return sum(clauses(each) for value in found.values() if isinstance(value, list) for each in value)


def pattern_size(query: Any) -> int:
    """Return how many characters the patterns of a query have together."""
    inner = query.get("bool")
    if inner is not None:
        return sum(
            pattern_size(each) for value in inner.values() if isinstance(value, list) for each in value
        )
    for kind in ("regexp", "wildcard"):
        if kind in query:
            return sum(len(leaf["value"]) for leaf in query[kind].values())
    return 0


@dataclass(frozen=True)
class _Pattern:
    """A text that a value is, or begins with, ends in, or contains."""

    expression: str
    """The text as a regular expression."""
    before: bool
    """Whether anything may stand before it."""
    after: bool
    """Whether anything may follow."""
    cased: bool

    @property
    def text(self) -> str:
        return _ESCAPED.sub(r"\1", self.expression)

    @property
    def is_plain(self) -> bool:
        """Whether it stands for one text, in ASCII letters of either case, or exactly."""
        return escaped(self.text) == self.expression

    @property
    def affixes(self) -> tuple[str, str]:
        return ".*" if self.before else "", ".*" if self.after else ""


@dataclass
class _Group:
    """Alternatives that can become one, in place of the first of them."""

    place: int
    queries: list[Query] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    """Plain values, or patterns."""


def _joined(queries: list[Query], types: FieldTypes) -> list[Query]:
    groups: dict[tuple[str, ...], _Group] = {}
    places: list[list[Query]] = []
    for query in queries:
        key, value = _member(query, types)
        if query == MATCH_NONE:
            continue
        if not key:
            places.append([query])
            continue
        if key not in groups:
            groups[key] = _Group(len(places))
            places.append([])
        groups[key].queries.append(query)
        groups[key].values.append(value)
    for (kind, name, *_), group in groups.items():
        places[group.place] = _terms(name, group) if kind == "value" else _expressions(name, group)
    return [query for place in places for query in place] or [MATCH_NONE]


def _member(query: Query, types: FieldTypes) -> tuple[tuple[str, ...], Any]:
    """Return which alternatives a query can be joined with, nothing where with none, and its value."""
    ((kind, body),) = query.items()
    if kind not in ("term", "wildcard", "regexp"):
        return (), None
    ((name, value),) = body.items()
    type_of_field = types.kind(name)
    if kind == "term" and not isinstance(value, dict):
        # A network is a term too, but not one of `terms`; dates stand for a range; booleans are few.
        network = type_of_field is FieldKind.IP and "/" in str(value)
        if type_of_field not in _VALUE_KINDS or network or isinstance(value, bool):
            return (), None
        return ("value", name), value
    if type_of_field is not FieldKind.KEYWORD:
        return (), None
    pattern = _READERS[kind](value)
    if pattern is None:
        return (), None
    # Values that begin somewhere are found by seeking, the others by walking all terms: better not in one.
    return ("pattern", name, "walk" if pattern.before else "seek", str(pattern.cased)), pattern


def _read_term(term: dict[str, Any]) -> _Pattern | None:
    """Return the pattern of a term query."""
    return _Pattern(escaped(term["value"]), False, False, not term.get("case_insensitive", False))


def _read_wildcard(wildcard: dict[str, Any]) -> _Pattern | None:
    """Return the pattern of a wildcard query, None where it has wildcards within."""
    read = _OUTER_WILDCARDS.fullmatch(wildcard["value"])
    if read is None:
        return None
    before, after = bool(read[1]), bool(read[3])
    found = _ESCAPED.sub(r"\1", read[2])
    # A text without letters means the same with regard to case and without.
    cased = not wildcard.get("case_insensitive", False) and (found.lower() != found or found.upper() != found)
    return _Pattern(escaped(found), before, after, cased)


_OUTER_WILDCARDS = re.compile(r"(\*?)((?:[^*?\\]|\\.)*)(\*?)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def _read_expression(regexp: dict[str, Any]) -> _Pattern | None:
    """Return the pattern of a regexp query that stands for one text, None of any other."""
    text = regexp["value"]
    before, after = text.startswith(".*"), text.endswith(".*") and not text.endswith("\\.*")
    inner = text.removeprefix(".*")
    inner = inner.removesuffix(".*") if after else inner
    if set(_ESCAPED_OR_SET.sub("", inner)) & _OPERATORS:
        return None
    return _Pattern(inner, before, after, cased=True)


_ESCAPED_OR_SET = re.compile(r"\\.|\[[^\]^\\]+\]", re.DOTALL)
_OPERATORS = frozenset(".?+*|{}[]()")

_READERS = {"term": _read_term, "wildcard": _read_wildcard, "regexp": _read_expression}


def _terms(name: str, group: _Group) -> list[Query]:
    values = list(dict.fromkeys(group.values))
    if len(values) == 1:
        return group.queries[:1]
    return [{"terms": {name: values[at : at + MAX_TERMS]}} for at in range(0, len(values), MAX_TERMS)]


def _expressions(name: str, group: _Group) -> list[Query]:
    patterns: list[_Pattern] = list(dict.fromkeys(group.values))
    if len(patterns) < FEWEST:
        return list({str(query): query for query in group.queries}.values())
    cased = patterns[0].cased
    found: list[Query] = []
    if sum(utf16_length(pattern.expression) for pattern in patterns) > MAX_EXPRESSIONS:
        found = _lookups(name, [pattern for pattern in patterns if pattern.is_plain], cased=cased)
        patterns = [pattern for pattern in patterns if not pattern.is_plain]
    pieces: list[str] = []
    left = []
    for affixes in dict.fromkeys(pattern.affixes for pattern in patterns):
        same = [pattern for pattern in patterns if pattern.affixes == affixes]
        room = LUCENE_MAX_LENGTH - len("".join(affixes)) - len("()")
        fitting = [text for pattern in same if utf16_length(text := pattern.expression) <= room]
        left += [pattern for pattern in same if utf16_length(pattern.expression) > room]
        pieces += [f"{affixes[0]}({'|'.join(part)}){affixes[1]}" for part in _parts(fitting, room)]
    found += [regular(name, ["|".join(part)], cased=cased) for part in _parts(pieces, LUCENE_MAX_LENGTH)]
    long = [query for query, value in zip(group.queries, group.values, strict=True) if value in left]
    return found + long


def _lookups(name: str, patterns: list[_Pattern], *, cased: bool) -> list[Query]:
    """Return script queries for texts, one for each way in which a value may hold one of them."""
    found = []
    for (before, after), how in _HOW.items():
        texts = [pattern.text for pattern in patterns if (pattern.before, pattern.after) == (before, after)]
        if texts:
            found.append(
                any_text(name, texts if cased else [text.lower() for text in texts], how, cased=cased)
            )
    return found


_HOW = {
    (True, True): "contains",
    (False, True): "startswith",
    (True, False): "endswith",
    (False, False): "equals",
}


def _parts(texts: Iterable[str], room: int) -> list[list[str]]:
    """Return texts in as few lists as hold them, in order, with one character between two of them."""
    parts: list[list[str]] = []
    used = 0
    for text in texts:
        used += 1 + utf16_length(text)
        if not parts or used > room:
            parts.append([])
            used = utf16_length(text)
        parts[-1].append(text)
    return parts
