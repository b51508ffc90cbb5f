"""Texts without which a query cannot match, so that whoever executes many rules can rule most of them out beforehand.

Found in the compiled query, since that is what a rule means here. The result is a conjunction of alternatives: each
clause holds literals of which the event has at least one. It is an over-approximation: an event that lacks all literals
of one clause does not match the query; one that has some of each may match.

What whoever compares has to keep to, or events are missed:

- Literals are folded (`fold`); values are folded in the same way before they are compared.
- A field may have many values, and any of them counts. A value that is no string counts as one that has every literal:
  engines print numbers in ways of their own.
- Values are those of the document's source. A multi-field, an alias, a runtime field or a constant_keyword is not
  there: a clause that names one tells nothing. Which fields are such is for the cluster's mappings to say.
- A document that lacks the field has none of its literals.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from sigmawatch.compile.fieldtypes import WITH_KEYWORD, FieldKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sigmawatch.compile.fieldtypes import FieldTypes
    from sigmawatch.compile.plan import Query

__all__ = ["Clause", "Literal", "fold", "is_possible", "required_literals"]


class Literal(NamedTuple):
    """A text that a value of a field has."""

    field: str
    how: str
    """equals, prefix, suffix or contains."""
    text: str
    """Folded; never empty."""

    def is_in(self, value: str) -> bool:
        """Whether a value, which is folded, has it."""
        match self.how:
            case "equals":
                return value == self.text
            case "prefix":
                return value.startswith(self.text)
            case "suffix":
                return value.endswith(self.text)
        return self.text in value


Clause = tuple[Literal, ...]
"""Literals of which one has to be there. Without any: nothing matches."""

MAX_CLAUSES = 3
"""Clauses that are kept of a query, the most telling ones: each more rules out less."""

_MAX_PRODUCT = 64
"""Texts that parts of an expression are multiplied out to."""

_MAX_CLASS = 4
"""Characters of a class that are told apart."""

# Letters that engines with Lucene 10 take for k and s, without regard to case.
_ALSO_ASCII = {"\N{KELVIN SIGN}": "k", "\N{LATIN SMALL LETTER LONG S}": "s"}

_SUB_FIELDS = frozenset({"caseless", "keyword", "lower", "raw", "text"})
"""What fields are often called that are another field's values once more. Rules name them, documents do not."""


def fold(text: str) -> str:
    """Return a text without regard to case, one character for each, so that a part of it folds to a part."""
    if text.isascii():
        return text.lower()
    return "".join(map(_fold_char, text))


def _fold_char(char: str) -> str:
    lowered = _ALSO_ASCII.get(char) or char.lower()
    return lowered if len(lowered) == 1 else char


def is_possible(clauses: Iterable[Clause] | None, values: Mapping[str, Sequence[Any]]) -> bool:
    """Whether an event with these values may match. `values`: by field, as they are in the document.

    The plain form of what an executor does for many rules at once.
    """
    return all(
        any(_has(values.get(literal.field, ()), literal) for literal in clause) for clause in clauses or ()
    )


def _has(values: Sequence[Any], literal: Literal) -> bool:
    return any(not isinstance(value, str) or literal.is_in(fold(value)) for value in values)


def required_literals(query: Query, types: FieldTypes) -> tuple[Clause, ...] | None:
    """Return the clauses that any match of a query meets, None where nothing is known to be required."""
    found = _Reader(types).clauses(query)
    if not found:
        return None
    best = sorted(range(len(found)), key=lambda place: _telling(found[place]), reverse=True)[:MAX_CLAUSES]
    return tuple(found[place] for place in sorted(best))


def _telling(clause: Clause) -> tuple[int, int]:
    """Return how much a clause rules out, roughly: as much as the shortest of its literals does."""
    if not clause:
        return (1 << 30, 0)
    if clause[0].field == "event.dataset":
        # Which indices are searched says as much.
        return (0, 0)
    shortest = min(len(each.text) + (2 if each.how != "contains" else 0) for each in clause)
    return (shortest, -len(clause))


class _Reader:
    """Reads queries as `leaves`, `merge` and `scripted` write them. What it does not know requires nothing."""

    def __init__(self, types: FieldTypes) -> None:
        self._types = types

    def clauses(self, query: Query) -> list[Clause]:
        ((kind, body),) = query.items()
        if kind == "bool":
            return self._bool(body)
        if kind == "match_none":
            return [()]
        if kind == "script":
            return self._script(body["script"])
        if kind not in _LEAVES or len(body) != 1:
            return []
        ((name, value),) = body.items()
        field = self._in_source(name)
        if field is None:
            return []
        texts = _LEAVES[kind](value)
        return [_clause(field, texts)] if texts is not None else []

    def _bool(self, body: Mapping[str, Any]) -> list[Clause]:
        found = [
            clause
            for key in ("filter", "must")
            for each in body.get(key, ())
            for clause in self.clauses(each)
        ]
        if body.get("should") and body.get("minimum_should_match", 0) == 1:
            found += self._any(body["should"])
        return list(dict.fromkeys(found))

    def _any(self, queries: Iterable[Query]) -> list[Clause]:
        """Return the one clause that some alternative always meets: the most telling one of each."""
        together: dict[Literal, None] = {}
        for query in queries:
            found = self.clauses(query)
            if not found:
                return []
            best: Clause = max(found, key=_telling)
            together.update(dict.fromkeys(best))
        return [tuple(together)]

    def _script(self, script: Mapping[str, Any]) -> list[Clause]:
        if script["id"] != "sigmawatch-any-text":
            return []
        params = script["params"]
        field = self._in_source(params["field"])
        how = {"startswith": "prefix", "endswith": "suffix"}.get(params["how"], params["how"])
        return [_clause(field, [(how, text) for text in params["texts"]])] if field is not None else []

    def _in_source(self, name: str) -> str | None:
        """Return where the values of a field are in documents, None where they may be spelled in many ways."""
        parent, _, last = name.rpartition(".")
        if last == "keyword" and parent in WITH_KEYWORD:
            return parent
        declared = self._types.mapping_type(name)
        if declared is None and last in _SUB_FIELDS:
            return None
        if declared in ("constant_keyword", "version"):
            return None
        return name if self._types.kind(name) in (FieldKind.KEYWORD, FieldKind.FLATTENED) else None


Texts = list[tuple[str, str]]
"""How a value has a text, and the text."""


def _clause(field: str, texts: Texts) -> Clause:
    return tuple(dict.fromkeys(Literal(field, how, fold(text)) for how, text in texts))


def _value(options: Any) -> Any:
    return options["value"] if isinstance(options, dict) else options


def _term(options: Any) -> Texts | None:
    value = _value(options)
    return [("equals", value)] if isinstance(value, str) and value else None


def _terms(values: Sequence[Any]) -> Texts | None:
    texts = [("equals", value) for value in values if isinstance(value, str) and value]
    return texts if len(texts) == len(values) else None


def _prefix(options: Any) -> Texts | None:
    value = _value(options)
    return [("prefix", value)] if value else None


_WILDCARD_PART = re.compile(r"((?:[^*?\\]|\\.)+)|([*?])", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def _wildcard(options: Any) -> Texts | None:
    """Return the longest text between wildcards."""
    parts = [found.group() for found in _WILDCARD_PART.finditer(_value(options))]
    if len("".join(parts)) != len(_value(options)):
        return None
    if parts and not any(part in ("*", "?") for part in parts):
        return [("equals", _ESCAPED.sub(r"\1", parts[0]))]
    found = []
    for place, part in enumerate(parts):
        if part not in ("*", "?"):
            how = "prefix" if place == 0 else "suffix" if place == len(parts) - 1 else "contains"
            found.append((how, _ESCAPED.sub(r"\1", part)))
    return [max(found, key=lambda each: len(each[1]))] if found else None


def _regexp(options: Any) -> Texts | None:
    try:
        found = _Expression(_value(options)).read()
    except (_NotUnderstoodError, RecursionError):
        return None
    if found.exact is not None:
        return None if "" in found.exact else [("equals", text) for text in sorted(found.exact)]
    return None if found.within is None else [("contains", text) for text in sorted(found.within)]


_LEAVES = {"term": _term, "terms": _terms, "prefix": _prefix, "wildcard": _wildcard, "regexp": _regexp}


class _NotUnderstoodError(Exception):
    """An expression has something in it that is not read here."""


class _Known(NamedTuple):
    """What is known of what a part of an expression matches. All texts are folded."""

    exact: frozenset[str] | None = None
    """All texts it matches, where they are few."""
    within: frozenset[str] | None = None
    """Texts of which one is in whatever it matches; none of them empty."""

    def required(self) -> frozenset[str] | None:
        """Return texts of which one is always in it."""
        if self.exact is not None:
            return None if "" in self.exact else self.exact
        return self.within


_PLAIN = re.compile(r"(?:(?:[^.?+*|{}\[\]()\"\\]|\\[^A-Za-z0-9])(?![?*+{]))+", re.DOTALL)
"""Characters that stand for themselves, none of which is repeated."""

_NOTHING_KNOWN = _Known()
_EMPTY = frozenset({""})


class _Expression:
    """A regular expression in Lucene's syntax with all optional operators off, read from left to right.

    Grammar: Lucene's class RegExp. It matches whole values.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def read(self) -> _Known:
        found = self._union()
        if self._at != len(self._text):
            raise _NotUnderstoodError
        return found

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        char = self._next()
        if not char:
            raise _NotUnderstoodError
        self._at += 1
        return char

    def _union(self) -> _Known:
        options = [self._sequence()]
        while self._next() == "|":
            self._at += 1
            options.append(self._sequence())
        if len(options) == 1:
            return options[0]
        exact = [option.exact for option in options]
        if all(each is not None for each in exact):
            return _Known(exact=frozenset().union(*(each for each in exact if each is not None)))
        required = [option.required() for option in options]
        if any(each is None for each in required):
            return _NOTHING_KNOWN
        return _Known(within=frozenset().union(*(each for each in required if each is not None)))

    def _sequence(self) -> _Known:
        run = _PLAIN.match(self._text, self._at)
        if run is not None and self._text[run.end() : run.end() + 1] in ("", "|", ")"):
            # As most are, of which there may be thousands.
            self._at = run.end()
            return _Known(exact=frozenset({fold(_ESCAPED.sub(r"\1", run.group()))}))
        candidates: list[frozenset[str]] = []
        current: frozenset[str] = _EMPTY
        whole = True
        while self._next() not in ("", "|", ")"):
            part = self._repeated()
            if part.exact is not None and len(current) * len(part.exact) <= max(
                _MAX_PRODUCT, len(part.exact)
            ):
                current = frozenset(before + after for before in current for after in part.exact)
                continue
            whole = False
            candidates += [current] if "" not in current else []
            if part.exact is not None:
                current = part.exact
            else:
                candidates += [part.within] if part.within is not None else []
                current = _EMPTY
        if whole:
            return _Known(exact=current)
        candidates += [current] if "" not in current else []
        return _Known(within=max(candidates, key=_length_of)) if candidates else _NOTHING_KNOWN

    def _repeated(self) -> _Known:
        run = _PLAIN.match(self._text, self._at)
        if run is not None:
            self._at = run.end()
            return _Known(exact=frozenset({fold(_ESCAPED.sub(r"\1", run.group()))}))
        found = self._single()
        while (char := self._next()) and char in "?*+{":
            self._at += 1
            least, most = {"?": (0, 1), "*": (0, None), "+": (1, None)}.get(char) or self._bounds()
            if (least, most) == (1, 1):
                continue
            if (least, most) == (0, 1) and found.exact is not None:
                found = _Known(exact=found.exact | _EMPTY)
            elif least > 0:
                found = _Known(within=found.required())
            else:
                found = _NOTHING_KNOWN
        return found

    def _bounds(self) -> tuple[int, int | None]:
        found = re.compile(r"([0-9]+)(?:(,)([0-9]*))?\}").match(self._text, self._at)
        if found is None:
            raise _NotUnderstoodError
        self._at = found.end()
        least = int(found[1])
        return least, (least if found[2] is None else int(found[3]) if found[3] else None)

    def _single(self) -> _Known:
        char = self._take()
        if char == ".":
            return _NOTHING_KNOWN
        if char == "(":
            if self._next() == ")":
                self._at += 1
                return _Known(exact=_EMPTY)
            found = self._union()
            if self._take() != ")":
                raise _NotUnderstoodError
            return found
        if char == "[":
            return self._class()
        if char == '"':
            end = self._text.find('"', self._at)
            if end < 0:
                raise _NotUnderstoodError
            text, self._at = self._text[self._at : end], end + 1
            return _Known(exact=frozenset({fold(text)}))
        if char == "\\":
            char = self._take()
            if char in "dDwWsS":
                return _NOTHING_KNOWN
        elif char in "*+?{})]":
            raise _NotUnderstoodError
        return _Known(exact=frozenset({fold(char)}))

    def _class(self) -> _Known:
        negated = self._next() == "^"
        self._at += negated
        chars: set[str] = set()
        few = not negated
        while (char := self._take()) != "]":
            if char == "\\":
                char = self._take()
                few &= char not in "dDwWsS"
            if self._next() == "-":
                self._at += 1
                if self._take() == "\\":
                    self._take()
                few = False
            chars.add(fold(char))
        return _Known(exact=frozenset(chars)) if few and 0 < len(chars) <= _MAX_CLASS else _NOTHING_KNOWN


def _length_of(texts: Iterable[str]) -> tuple[int, int]:
    listed = list(texts)
    return min(map(len, listed)), -len(listed)
