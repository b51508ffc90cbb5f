"""Regular expressions of Sigma (PCRE, searched for) as those of Lucene (the whole value, no anchors).

The expression is read by Python's own parser, which knows the common ground of PCRE, RE2 and Python; what it
means is then written anew. Sets of characters are computed as ranges of code points, so that nothing depends on
what a class is called. What Lucene cannot say is refused: lookaround, back-references, possessive quantifiers, and
anchors and word boundaries where they cannot be decided.

Lucene's syntax: org.apache.lucene.util.automaton.RegExp, with all optional operators switched off (`flags: NONE`).
"""

from __future__ import annotations

import re
import sys
import warnings
from dataclasses import dataclass
from re import _constants as op  # type: ignore[attr-defined]  # the parser's own names for what it found
from re import _parser as parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any

from sigmawatch.compile.cases import cases_of
from sigmawatch.compile.determinize import Automaton, Part, automaton, determinized
from sigmawatch.compile.leaves import LUCENE_MAX_LENGTH, Refused, utf16_length

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Followed", "lucene_expressions"]

MAX_ALTERNATIVES = 200

MAX_UNROLLED = 8
"""Repetitions of what holds an anchor are written out up to this many."""

Ranges = tuple[tuple[int, int], ...]
"""Code points as sorted, disjoint, inclusive ranges."""

_LAST = sys.maxunicode
_NEWLINE: Ranges = ((10, 10),)
_DIGIT: Ranges = ((48, 57),)
_WORD: Ranges = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACE: Ranges = ((9, 13), (32, 32))
"""PCRE's classes without Unicode properties, which is its default."""

_SPECIAL = frozenset('.?+*|{}[]()"\\#@&<>~^$-')


def _union(parts: Iterable[Ranges]) -> Ranges:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(pair for part in parts for pair in part):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def _complement(ranges: Ranges) -> Ranges:
    found = []
    start = 0
    for low, high in ranges:
        if low > start:
            found.append((start, low - 1))
        start = high + 1
    if start <= _LAST:
        found.append((start, _LAST))
    return tuple(found)


def _within(inner: Ranges, outer: Ranges) -> bool:
    return _union([inner, outer]) == outer


_CATEGORIES: dict[Any, Ranges] = {
    op.CATEGORY_DIGIT: _DIGIT,
    op.CATEGORY_NOT_DIGIT: _complement(_DIGIT),
    op.CATEGORY_SPACE: _SPACE,
    op.CATEGORY_NOT_SPACE: _complement(_SPACE),
    op.CATEGORY_WORD: _WORD,
    op.CATEGORY_NOT_WORD: _complement(_WORD),
}

_CASED_RANGE = 5000
"""Ranges of more characters than this are taken to hold both cases of what they hold."""


def _either_case(ranges: Ranges) -> Ranges:
    found = [ranges]
    for low, high in ranges:
        if high - low > _CASED_RANGE:
            continue
        for code in range(low, high + 1):
            found += [((ord(form), ord(form)),) for form in cases_of(chr(code))]
    return _union(found)


@dataclass(frozen=True)
class _Chars:
    """One character out of a set."""

    ranges: Ranges


@dataclass(frozen=True)
class _Sequence:
    items: tuple[_Node, ...]


@dataclass(frozen=True)
class _Choice:
    options: tuple[_Node, ...]


@dataclass(frozen=True)
class _Repeat:
    item: _Node
    least: int
    most: int | None


@dataclass(frozen=True)
class _Edge:
    """A place rather than a character: begin, end, line_begin, line_end, boundary, not_boundary."""

    kind: str


_Node = _Chars | _Sequence | _Choice | _Repeat | _Edge


@dataclass(frozen=True)
class Followed:
    """An expression with too many states for an engine: what a script is to follow, place by place."""

    automaton: Automaton
    is_last: bool
    """Whether nothing may stand behind what it finds."""
    wider: str
    """A Lucene expression that the engine can run and that misses no value."""


def lucene_expressions(pattern: str, flags: Iterable[str] = ()) -> list[str | Followed]:
    """Return Lucene expressions of which one matches a whole value exactly when the pattern is found in it.

    `flags`: of Sigma's modifiers, `i` (either case), `m` (lines), `s` (the dot is any character). An expression
    longer than the engine takes comes back in parts. Raises Refused, with what cannot be said.
    """
    number = 0
    for flag in flags:
        number |= {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}[flag]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = parser.parse(_for_python(pattern), number)
    except (re.error, OverflowError, RecursionError, ValueError) as error:
        raise Refused(f"regular expression {pattern!r} cannot be read: {error}") from error
    reader = _Reader(pattern)
    tree = reader.sequence(parsed, parsed.state.flags | number)
    found = [text for branch in _branches(tree, pattern) for text in _fitting(branch, pattern)]
    texts = [each for each in found if isinstance(each, str)]
    followed: list[str | Followed] = [each for each in found if isinstance(each, Followed)]
    return [*_joined(list(dict.fromkeys(texts))), *dict.fromkeys(followed)]


_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t-\r ",
    "upper": "A-Z",
    "word": r"\w",
    "xdigit": "0-9A-Fa-f",
}
_POSIX_CLASS = re.compile(r"\[:(\^?)([a-z]+):\]")
_TOKEN = re.compile(r"\\.|\(\?<(?=[A-Za-z_])|\[\^?\]?|.", re.DOTALL)


def _for_python(pattern: str) -> str:
    """Return an expression of PCRE as Python spells it: named groups, classes like [[:alpha:]]."""
    found: list[str] = []
    position = 0
    in_set = False
    while position < len(pattern):
        posix = _POSIX_CLASS.match(pattern, position) if in_set else None
        if posix is not None:
            if posix[1] or posix[2] not in _POSIX:
                raise Refused(f"regular expression {pattern[:80]!r}: {posix[0]} has no counterpart in Lucene")
            found.append(_POSIX[posix[2]])
            position = posix.end()
            continue
        token = _TOKEN.match(pattern, position)
        assert token is not None
        text = pattern[position] if in_set and not token[0].startswith("\\") else token[0]
        position += len(text)
        if in_set:
            in_set = text != "]"
            # Python wonders about brackets in a set, which are text in PCRE.
            found.append("\\[" if text == "[" else text)
        else:
            in_set = text.startswith("[")
            found.append("(?P<" if text == "(?<" else text)
    return "".join(found)


def _fitting(branch: tuple[_Node, ...], pattern: str) -> list[str | Followed]:
    """Return an alternative in as many parts as the engine's limit makes of it, by halving its choices."""
    text = _anchored(branch, pattern)
    if text is None:
        return []
    if isinstance(text, Followed):
        return [text]
    if utf16_length(text) <= LUCENE_MAX_LENGTH:
        return [text]
    for position, item in enumerate(branch):
        if isinstance(item, _Choice) and len(item.options) > 1:
            middle = len(item.options) // 2
            halves = [_Choice(item.options[:middle]), _Choice(item.options[middle:])]
            branches = [(*branch[:position], half, *branch[position + 1 :]) for half in halves]
            return [part for each in branches for part in _fitting(each, pattern)]
    raise Refused(
        f"regular expression {pattern[:60]!r}…: {len(text)} characters long for the engine, "
        f"which takes {LUCENE_MAX_LENGTH}"
    )


def _joined(branches: list[str]) -> list[str]:
    """Join alternatives as far as the engine's limit allows."""
    parts: list[str] = []
    for branch in branches:
        if parts and utf16_length(parts[-1]) + 1 + utf16_length(branch) <= LUCENE_MAX_LENGTH:
            parts[-1] += f"|{branch}"
        else:
            parts.append(branch)
    return parts


class _Reader:
    """Turns the parser's tree into ours."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern

    def refuse(self, what: str) -> Refused:
        return Refused(f"regular expression {self.pattern[:80]!r}: {what} has no counterpart in Lucene")

    def sequence(self, parsed: Any, flags: int) -> _Node:
        items = [self.node(code, value, flags) for code, value in parsed]
        return items[0] if len(items) == 1 else _Sequence(tuple(items))

    def node(self, code: Any, value: Any, flags: int) -> _Node:
        if code is op.LITERAL:
            return self.chars(((value, value),), flags)
        if code is op.NOT_LITERAL:
            return _Chars(_complement(self.chars(((value, value),), flags).ranges))
        if code is op.ANY:
            return _Chars(((0, _LAST),) if flags & re.DOTALL else _complement(_NEWLINE))
        if code is op.IN:
            return self.set(value, flags)
        if code is op.CATEGORY:
            return _Chars(_CATEGORIES[value])
        if code is op.BRANCH:
            return _Choice(tuple(self.sequence(option, flags) for option in value[1]))
        if code is op.SUBPATTERN:
            _, added, removed, inner = value
            return self.sequence(inner, (flags | added) & ~removed)
        if code in (op.MAX_REPEAT, op.MIN_REPEAT):
            least, most, inner = value
            limit = None if most is op.MAXREPEAT else int(most)
            return _Repeat(self.sequence(inner, flags), int(least), limit)
        if code is op.AT:
            return self.edge(value, flags)
        names = {
            op.ASSERT: "lookaround",
            op.ASSERT_NOT: "lookaround",
            op.GROUPREF: "a back-reference",
            op.GROUPREF_EXISTS: "a conditional group",
            op.ATOMIC_GROUP: "an atomic group",
            op.POSSESSIVE_REPEAT: "a possessive quantifier",
        }
        raise self.refuse(names.get(code, str(code).lower()))

    def chars(self, ranges: Ranges, flags: int) -> _Chars:
        return _Chars(_either_case(ranges) if flags & re.IGNORECASE else ranges)

    def set(self, items: Sequence[Any], flags: int) -> _Node:
        negated = False
        found: list[Ranges] = []
        for code, value in items:
            if code is op.NEGATE:
                negated = True
            elif code is op.LITERAL:
                found.append(self.chars(((value, value),), flags).ranges)
            elif code is op.RANGE:
                found.append(self.chars(((value[0], value[1]),), flags).ranges)
            elif code is op.CATEGORY:
                found.append(_CATEGORIES[value])
            else:
                raise self.refuse(str(code).lower())
        ranges = _union(found)
        return _Chars(_complement(ranges) if negated else ranges)

    def edge(self, value: Any, flags: int) -> _Edge:
        lines = bool(flags & re.MULTILINE)
        kinds = {
            op.AT_BEGINNING: "line_begin" if lines else "begin",
            op.AT_BEGINNING_STRING: "begin",
            op.AT_END: "line_end" if lines else "end",
            # Of PCRE, in which \Z also stands before a newline at the end.
            op.AT_END_STRING: "end",
            op.AT_BOUNDARY: "boundary",
            op.AT_NON_BOUNDARY: "not_boundary",
        }
        if value not in kinds:
            raise self.refuse(str(value).lower())
        return _Edge(kinds[value])


def _has_edge(node: _Node) -> bool:
    match node:
        case _Edge():
            return True
        case _Sequence(items):
            return any(map(_has_edge, items))
        case _Choice(options):
            return any(map(_has_edge, options))
        case _Repeat(item, _, _):
            return _has_edge(item)
    return False


def _branches(node: _Node, pattern: str) -> list[tuple[_Node, ...]]:
    """Return the alternatives of an expression as flat sequences, choices that hold edges multiplied out."""
    match node:
        case _Choice(options):
            found = [branch for option in options for branch in _branches(option, pattern)]
        case _Sequence(items):
            found = [()]
            for item in items:
                parts = (
                    _branches(item, pattern) if _has_edge(item) or isinstance(item, _Sequence) else [(item,)]
                )
                found = [(*left, *right) for left in found for right in parts]
                if len(found) > MAX_ALTERNATIVES:
                    break
        case _Repeat(item, least, most) if _has_edge(item):
            if most is None or most > MAX_UNROLLED:
                raise Refused(
                    f"regular expression {pattern[:80]!r}: a repeated anchor has no counterpart in Lucene"
                )
            found = []
            for times in range(least, most + 1):
                found += _branches(_Sequence((item,) * times), pattern)
        case _:
            found = [(node,)]
    if len(found) > MAX_ALTERNATIVES:
        raise Refused(f"regular expression {pattern[:80]!r}: anchors in too many alternatives")
    return found


_ANY = ".*"

_LAST_NEWLINE = "\n?"
"""What may follow the end that `$` means."""


def _anchored(branch: tuple[_Node, ...], pattern: str) -> str | Followed | None:
    """Return the expression for one alternative, None where its anchors contradict each other."""
    items = list(branch)
    prefix, suffix = _ANY, _ANY
    while items and isinstance(edge := items[0], _Edge) and edge.kind in ("begin", "line_begin"):
        del items[0]
        prefix = "" if edge.kind == "begin" or prefix == "" else f"({_ANY}\n)?"
    while items and isinstance(edge := items[-1], _Edge) and edge.kind in ("end", "line_end"):
        del items[-1]
        if edge.kind == "end":
            suffix = "" if suffix == "" else _LAST_NEWLINE
        elif suffix == _ANY:
            suffix = f"(\n{_ANY})?"
    if items and isinstance(edge := items[0], _Edge) and "boundary" in edge.kind:
        del items[0]
        beside = _beside(edge, _first(items), prefix, pattern, before=True)
        if beside is None:
            return None
        prefix = beside
    if items and isinstance(edge := items[-1], _Edge) and "boundary" in edge.kind:
        del items[-1]
        beside = _beside(edge, _last(items), suffix, pattern, before=False)
        if beside is None:
            return None
        suffix = beside
    for position, item in enumerate(items):
        if isinstance(item, _Edge) and not _decided(item, items[:position], items[position + 1 :], pattern):
            return None
    prefix, inner, suffix = _trimmed(prefix, [item for item in items if not isinstance(item, _Edge)], suffix)
    if prefix.endswith(_ANY) and any(map(_counts, inner)) and determinized(_sets(inner)) > MAX_EFFORT:
        return _followed(prefix, inner, suffix, pattern)
    return prefix + "".join(map(_write, inner)) + suffix


def _followed(prefix: str, items: list[_Node], suffix: str, pattern: str) -> Followed:
    """Return what a script is to do for an expression with too many states."""
    if suffix == _LAST_NEWLINE:
        items, suffix = [*items, _Repeat(_Chars(((10, 10),)), 0, 1)], ""
    found = automaton(_sets(items))
    wider = [_uncounted(item) for item in items]
    text = prefix + "".join(map(_write, wider)) + suffix
    if (
        found is None
        or len(found.ranges) > MAX_PLACES
        or prefix != _ANY
        or suffix not in (_ANY, "")
        or len(text) > LUCENE_MAX_LENGTH
        or (any(map(_counts, wider)) and determinized(_sets(wider)) > MAX_EFFORT)
    ):
        raise Refused(
            f"regular expression {pattern[:80]!r}: a gap of so many characters after what may begin anywhere takes "
            f"too many states; name a shorter gap, or .*"
        )
    return Followed(found, suffix == "", text)


def _uncounted(node: _Node) -> _Node:
    """Return an expression without counted gaps, which matches at least as much."""
    match node:
        case _Repeat(item, least, most):
            if _counts(node) or most is None:
                return _Repeat(_uncounted(item), min(least, 1), None)
            return _Repeat(_uncounted(item), least, most)
        case _Sequence(inner):
            return _Sequence(tuple(map(_uncounted, inner)))
        case _Choice(inner):
            return _Choice(tuple(map(_uncounted, inner)))
    return node


MAX_PLACES = 1_000
"""Places of an expression that a script follows: what it does for each character grows with them."""

MAX_EFFORT = 100_000
"""What the states of an expression may cost as `determinized` counts; engines give up at about a million."""

_FEW = 8
"""Repetitions of at most this many characters cannot make many states."""


def _counts(node: _Node) -> bool:
    """Whether an expression counts the repetitions of a set of characters, and many of them."""
    match node:
        case _Repeat(item, least, most):
            many = max(least, most or 0) > _FEW
            return (many and not (isinstance(item, _Chars) and _is_single(item))) or _counts(item)
        case _Sequence(inner) | _Choice(inner):
            return any(map(_counts, inner))
    return False


def _is_single(chars: _Chars) -> bool:
    return len(chars.ranges) == 1 and chars.ranges[0][0] == chars.ranges[0][1]


def _sets(items: Sequence[_Node]) -> Part:
    """Return an expression in the terms of `determinize`."""

    def part(node: _Node) -> Part:
        match node:
            case _Chars(ranges):
                return Part("chars", ranges=ranges)
            case _Sequence(inner):
                return Part("sequence", tuple(map(part, inner)))
            case _Choice(inner):
                return Part("choice", tuple(map(part, inner)))
            case _Repeat(item, least, most):
                return Part("repeat", (part(item),), least=least, most=most)
        raise AssertionError(node)

    return Part("sequence", tuple(map(part, items)))


def _trimmed(prefix: str, items: list[_Node], suffix: str) -> tuple[str, list[_Node], str]:
    """Return an expression without what repetitions beside `.*` add: their least number says the same.

    A first run of characters of one set, of any start, is found from where it begins: there is only one such place
    in a row of them, while every other would be a state of its own.
    """
    while prefix == _ANY and items and isinstance(first := items[0], _Repeat) and first.least != first.most:
        items = [*([_Repeat(first.item, first.least, first.least)] if first.least else []), *items[1:]]
    while suffix == _ANY and items and isinstance(last := items[-1], _Repeat) and last.least != last.most:
        items = [*items[:-1], *([_Repeat(last.item, last.least, last.least)] if last.least else [])]
    run = items[0] if items else None
    if prefix == _ANY and isinstance(run, _Repeat) and isinstance(run.item, _Chars) and run.least > 1:
        others = _complement(run.item.ranges)
        prefix = f"({_ANY}{_write_chars(others)})?" if others else ""
        most = run.least if len(items) == 1 and suffix == _ANY else None
        items = [_Repeat(run.item, run.least, most), *items[1:]]
    return prefix, items, suffix


def _beside(edge: _Edge, neighbour: Ranges | None, outside: str, pattern: str, *, before: bool) -> str | None:
    """Return what stands outside a word boundary at the rim of an expression, None where nothing can."""
    is_word = _kind(neighbour)
    if is_word is None:
        raise Refused(
            f"regular expression {pattern[:80]!r}: a word boundary beside what may be a word or not"
        )
    # At the very rim of the value there is no character, which counts as none of a word.
    rim_is_fine = is_word == (edge.kind == "boundary")
    if outside == "":
        return "" if rim_is_fine else None
    if outside != _ANY:
        raise Refused(f"regular expression {pattern[:80]!r}: a word boundary beside an anchor")
    char = _write_chars(_complement(_WORD) if rim_is_fine else _WORD)
    text = f"{_ANY}{char}" if before else f"{char}{_ANY}"
    return f"({text})?" if rim_is_fine else text


def _decided(edge: _Edge, left: Sequence[_Node], right: Sequence[_Node], pattern: str) -> bool:
    """Whether an edge in the middle always holds (True) or never does (False). Raises Refused where it depends."""
    if "boundary" in edge.kind:
        before, after = _kind(_last(left)), _kind(_first(right))
        if before is not None and after is not None:
            return (before != after) == (edge.kind == "boundary")
    raise Refused(f"regular expression {pattern[:80]!r}: an anchor or word boundary in the middle")


def _kind(ranges: Ranges | None) -> bool | None:
    """Whether characters all belong to words (True), none does (False), or it depends (None)."""
    if ranges is None:
        return None
    if _within(ranges, _WORD):
        return True
    return False if _within(ranges, _complement(_WORD)) else None


def _first(items: Sequence[_Node]) -> Ranges | None:
    """Return which characters a sequence can begin with; None when it can be empty or holds an edge there."""
    return _certain(_rim(_Sequence(tuple(items)), first=True))


def _last(items: Sequence[_Node]) -> Ranges | None:
    return _certain(_rim(_Sequence(tuple(items)), first=False))


def _certain(rim: tuple[Ranges, bool] | None) -> Ranges | None:
    return None if rim is None or rim[1] else rim[0]


def _rim(node: _Node, *, first: bool) -> tuple[Ranges, bool] | None:
    """Return the characters at one end of an expression, and whether it can be empty; None where an edge stands."""
    match node:
        case _Chars(ranges):
            return ranges, False
        case _Repeat(item, least, _):
            rim = _rim(item, first=first)
            return None if rim is None else (rim[0], rim[1] or least == 0)
        case _Sequence(items):
            found: list[Ranges] = []
            for item in items if first else items[::-1]:
                rim = _rim(item, first=first)
                if rim is None:
                    return None
                found.append(rim[0])
                if not rim[1]:
                    return _union(found), False
            return _union(found), True
        case _Choice(options):
            rims = [_rim(option, first=first) for option in options]
            known = [rim for rim in rims if rim is not None]
            if len(known) < len(rims):
                return None
            return _union(rim[0] for rim in known), any(rim[1] for rim in known)
    return None


def _write(node: _Node) -> str:
    """Return a node in Lucene's syntax."""
    match node:
        case _Chars(ranges):
            return _write_chars(ranges)
        case _Sequence(items):
            return "".join(_write(item) for item in items) if items else "()"
        case _Choice(options):
            return f"({'|'.join(_write(option) for option in options)})"
        case _Repeat(item, least, most):
            inner = _write(item)
            if not isinstance(item, (_Chars, _Choice)):
                inner = f"({inner})"
            return inner + _write_count(least, most)
    raise AssertionError(node)


def _write_count(least: int, most: int | None) -> str:
    if (least, most) == (1, 1):
        return ""
    if (least, most) == (0, None):
        return "*"
    if (least, most) == (1, None):
        return "+"
    if (least, most) == (0, 1):
        return "?"
    return f"{{{least},{'' if most is None else most}}}" if least != most else f"{{{least}}}"


def _write_chars(ranges: Ranges) -> str:
    if ranges == ((0, _LAST),):
        return "."
    if not ranges:
        raise Refused("a set of characters that is empty")
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return _escape(ranges[0][0])
    positive, negative = _write_ranges(ranges), _write_ranges(_complement(ranges))
    return f"[{positive}]" if len(positive) <= len(negative) + 1 else f"[^{negative}]"


def _write_ranges(ranges: Ranges) -> str:
    parts = []
    for low, high in ranges:
        if high - low < 2:
            parts += [_escape(code) for code in range(low, high + 1)]
        else:
            parts.append(f"{_escape(low)}-{_escape(high)}")
    return "".join(parts)


def _escape(code: int) -> str:
    char = chr(code)
    return f"\\{char}" if char in _SPECIAL else char
