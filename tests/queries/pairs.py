"""Rules and events made for each other: events that a rule means, events that it nearly means, and others."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from hypothesis import strategies as st
from hypothesis.control import BuildContext
from hypothesis.errors import StopTest
from hypothesis.internal.conjecture.data import ConjectureData

FIELDS = {
    "name": "keyword",
    "path": "wildcard",
    "other": "keyword",
    "message": "match_only_text",
    "ip": "ip",
    "ip2": "ip",
    "size": "long",
    "size2": "long",
    "ratio": "double",
    "weight": "float",
    "on": "boolean",
    "when": "date",
    "when2": "date_nanos",
    "flat": "flattened",
}
"""Every type that is queried in its own way. A name with a dot below `flat` is a member of it."""

ALPHABET = [
    *"abAB cmdk",
    *"019",
    *"./\\*?-_%{}[]()|+^$#@&<>~\"'`,:;=!",
    *"éÉßẞΣσςжЖ中😀",
    "\n",
    "\t",
    "\r",
    "e\u0301",
    "–",
    "\0",
    "\u2028",
]
"""Without U+0130, U+0131, U+017F and U+212A, which some engines take for ASCII letters and others do not."""

SPECIAL = [
    "\\*",
    "\\?",
    "\\\\",
    "\\\\*",
    "\\\\\\*",
    "*",
    "?",
    "**",
    "\\",
    "{{a}}",
    "cmd.exe",
    "-a",
    "/b",
    "  ",
]


@dataclass(frozen=True)
class Pair:
    """The `detection` of a rule, and events to be judged by it."""

    detection: dict[str, Any]
    events: list[dict[str, Any]]


def made(number: int, chosen: int) -> list[Pair]:
    """Return `number` rules with their events, the same for the same `chosen` seed.

    The strategies are drawn from directly: a run of hypothesis spends most of its examples on variations of those
    before, which find little where a whole batch is compared on every event of it anyway.
    """
    found: list[Pair] = []
    dice = Random(chosen)
    while len(found) < number:
        data = ConjectureData(random=Random(dice.getrandbits(64)))
        with (
            contextlib.suppress(StopTest),
            BuildContext(data, wrapped_test=made),
        ):  # stops where one grew too large
            found.append(data.draw(PAIRS))
    return found


def _one_of(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


TEXTS = st.one_of(
    st.lists(st.sampled_from(ALPHABET), max_size=6).map("".join),
    st.lists(st.sampled_from([*"abAB.\\-/ 1é"]), max_size=12).map("".join),
    st.builds(
        lambda text, times: text * times,
        st.sampled_from(["ab", "\\", "é", "😀", "a*"]),
        _one_of(1, 1, 1, 1, 2, 2, 3, 900),
    ),
)

VALUES = st.one_of(
    TEXTS,
    st.lists(st.one_of(st.sampled_from(SPECIAL), st.sampled_from(ALPHABET)), min_size=1, max_size=5).map(
        "".join
    ),
)

ADDRESSES = st.one_of(
    _one_of(
        "10.0.0.1", "10.1.0.0", "10.1.255.255", "110.1.0.1", "192.0.2.7", "0.0.0.0", "255.255.255.255", "::", "::1",
        "2001:db8::1", "2001:DB8:0:0::1", "2001:db8:a::1", "fe80::1", "::ffff:10.0.0.1", "64:ff9b::192.0.2.7", "1::",
    ),
    st.lists(_one_of(0, 1, 10, 19, 127, 128, 255), min_size=4, max_size=4).map(lambda each: ".".join(map(str, each))),
    st.lists(_one_of("0", "1", "a", "fe80", "2001", "ffff", "db8"), min_size=8, max_size=8).map(":".join),
)  # fmt: skip

INTEGERS = st.one_of(
    st.integers(-3, 300),
    _one_of(2**31 - 1, -(2**31), 2**53 - 1, 2**53 + 1, 2**63 - 1, -(2**63), 65535),
)

FRACTIONS = st.one_of(
    st.integers(-3, 300),
    _one_of(0.5, 0.1, -0.25, 1.0, 100.0, 1e-3, 12345.678, 0.30000000000000004, 16777217, 1e15),
)

MOMENTS = _one_of(
    "2026-03-01T00:00:00Z", "2026-03-01T23:59:59.999Z", "2026-03-31T08:00:00Z", "2026-03-01T10:30:00Z", "2026-03-01T10:30:15.5Z", "2026-12-31T12:00:00+02:00",
    "2027-01-01T00:30:00+01:00", "2026-02-28", "2026-12-28", "2027-01-03T22:15:07Z", "2024-02-29T06:07:08.123456Z", "1969-12-31T23:59:59Z",
    1772359200000, 1772361000000, 0,
)  # fmt: skip

DATES = st.one_of(
    _one_of(
        "2026-03-01", "2026-03", "2026-03-01T10", "2026-03-01T10:30", "2026-03-01T10:30:00", "2026-03-01T10:30:00Z",
        "2026-03-01T11:30:00+01:00", "2026-03-01T10:30:15.5Z", "2026-12-31T10:00:00.000Z", "2024-02-29", "2023-02-29", "soon", "",
        "2026-03-01 10:30:00", "20260301", "2026-W09-7", "1772359200000", "2026", "2026-03-01T23:30:00+24:00", "2026-13-01",
    ),
    MOMENTS.filter(lambda value: isinstance(value, str)),
)  # fmt: skip

NETWORKS = _one_of(
    "10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/31", "10.0.0.1", "0.0.0.0/0", "192.0.2.0/25", "128.0.0.0/1", "10.16.0.0/13", "2001:db8::/32",
    "fe80::/10", "::1/128", "::/0", "::/1", "::ffff:0:0/96", "2001:db8:a::/48", "::/128", "2001:db8::1", "1::/16", "10.1.128.0/17",
)  # fmt: skip

NUMBER_TEXTS = _one_of(
    "5", "-1", "05", "5.0", "5.", " 5", "1_0", "٥", "1e2", "nan", "inf", "", "x", "0x10", "0.5", "9223372036854775808", "+5", "300", "1e400", "-0",
)  # fmt: skip

OWN_TEXTS = {
    "ip": st.one_of(
        ADDRESSES, _one_of("host", "", "10.0.0", "10.0.0.256", "fe80::1%eth0", "10.0.0.1/8", "-", "*-*")
    ),
    "long": st.one_of(NUMBER_TEXTS, INTEGERS.map(str)),
    "double": st.one_of(NUMBER_TEXTS, FRACTIONS.map(str)),
    "float": st.one_of(NUMBER_TEXTS, FRACTIONS.map(str)),
    "boolean": _one_of("true", "False", "TRUE", "yes", "", "1", "tru"),
    "date": DATES,
    "date_nanos": DATES,
}

EVENT_VALUES = {
    "ip": ADDRESSES,
    "long": INTEGERS,
    "double": FRACTIONS,
    "float": FRACTIONS,
    "boolean": _one_of(True, False, "true", "false"),
    "date": MOMENTS,
    "date_nanos": MOMENTS.filter(lambda value: not str(value).startswith("1969")),  # it cannot hold them
}

TEXT_VALUES = st.one_of(TEXTS, TEXTS, TEXTS, st.booleans(), st.integers(-3, 300), _one_of(0.5, 10.25))

Near = list[Any]
"""Values of an event that a value of a rule was made for."""


# Regular expressions ------------------------------------------------------------------------------------


_SETS = _one_of(
    ("[ab]", "b"), ("[^a]", "B"), ("[a-b1]", "1"), (r"[\w-]", "-"), (r"[^\s]", "x"), ("[^ab\\\\]", "."), ("[]a]", "]"), ("[éß]", "é"),
    (r"[\\/]", "\\"), ("[a-zA-Z0-9+/=]", "+"), ("[.*?]", "?"), (r"[\d_]", "7"), ("[^é]", "e"), ("[[:alpha:]]", "a"), ("[^[:digit:]_]", "["), ("[[.]", "["), ("[à-ÿ]", "é"),
)  # fmt: skip
_CLASSES = _one_of(
    (r"\w", "_"), (r"\W", "-"), (r"\s", " "), (r"\S", "x"), (r"\d", "4"), (r"\D", "d"), (".", "."), (r"\.", "."),
    (r"\\", "\\"), (r"\x41", "A"), (r"\t", "\t"), (r"\n", "\n"), (r"\-", "-"), (r"\/", "/"),
)  # fmt: skip


@st.composite
def _piece(draw: Any, depth: int) -> tuple[str, str]:
    """Return an expression and a text that it matches."""
    kind = draw(
        _one_of(
            "char",
            "char",
            "char",
            "word",
            "set",
            "class",
            *(["group", "choice", "repeat", "times"] if depth else []),
        )
    )
    if kind == "word":
        word = draw(_one_of("cmd", "ab", "Ab", "é", "10", "exe"))
        return word, word
    if kind in ("set", "class"):
        pair: tuple[str, str] = draw(_SETS if kind == "set" else _CLASSES)
        return pair
    if kind == "group":
        text, match = draw(_sequence(depth - 1))
        begin = draw(_one_of("(", "(?:", "(?P<n>"))
        # A name may be there once only.
        return f"{begin if '<n>' not in text else '('}{text})", match
    if kind == "choice":
        parts = draw(st.lists(_sequence(depth - 1), min_size=2, max_size=3))
        return f"(?:{'|'.join(text for text, _ in parts)})".replace("(?P<n>", "("), draw(
            st.sampled_from([match for _, match in parts])
        )
    if kind == "times":
        text, match = draw(_piece(depth - 1))
        return f"(?:{text}){{2}}".replace("(?P<n>", "("), match * 2
    if kind == "repeat":
        # Of one character only: Python takes for ever over what repeats a repetition.
        text, match = draw(_piece(0))
        sign, times = draw(
            _one_of(
                ("*", 0),
                ("*", 3),
                ("+", 1),
                ("+", 2),
                ("?", 0),
                ("?", 1),
                ("{1,3}", 2),
                ("*?", 1),
                ("+?", 1),
                ("{0,2}", 0),
                ("{2,}", 3),
            )
        )
        return f"(?:{text}){sign}", match * times
    char = draw(_one_of(*"abAB_-1. k/", "é", "\\\\", "\\$", "#", "@", '"', "<", "&", "~"))
    return (f"\\{char}" if char == "." else char), char.removeprefix("\\") if len(char) > 1 else char


@st.composite
def _sequence(draw: Any, depth: int) -> tuple[str, str]:
    parts = draw(st.lists(_piece(depth), min_size=1, max_size=3))
    text = ""
    for part, _ in parts:
        text += part.replace("(?P<n>", "(") if "<n>" in text else part
    return text, "".join(match for _, match in parts)


@st.composite
def expressions(draw: Any) -> tuple[str, str]:
    """Return a regular expression and a text in which it is found."""
    text, match = draw(_sequence(2))
    begin = draw(_one_of("", "", "", "^", "^", r"\b", "(?i)", "(?i)^", "(?m)^", "(?s)", ".*", r"\A", r"\B"))
    end = draw(_one_of("", "", "", "$", "$", r"\b", ".*", r"\Z", "|^b$", "|x"))
    return begin + text + end, match


# Fields -------------------------------------------------------------------------------------------------


def _matching(draw: Any, value: str, before: str, after: str) -> str:
    """Return a text for a value with wildcards."""
    out = []
    at = 0
    while at < len(value):
        char = value[at]
        if char == "\\" and value[at + 1 : at + 2] in ("*", "?", "\\"):
            out.append(value[at + 1])
            at += 1
        elif char in "*?":
            out.append(draw(TEXTS) if char == "*" else draw(st.sampled_from(ALPHABET))[:1])
        else:
            out.append(char)
        at += 1
    return before + "".join(out) + after


def _changed(draw: Any, text: str) -> str:
    """Return a text that may just not be the same any more."""
    at = draw(st.integers(0, max(len(text) - 1, 0)))
    change: Callable[[], str] = draw(
        st.sampled_from(
            [
                lambda: text,
                text.swapcase,
                text.upper,
                lambda: text[:at] + text[at + 1 :],
                lambda: text[:at] + draw(st.sampled_from(ALPHABET)) + text[at:],
                lambda: text[:at] + draw(st.sampled_from(ALPHABET)) + text[at + 1 :],
                lambda: draw(st.sampled_from(ALPHABET)) + text,
                lambda: text + "\n",
            ]
        )
    )
    return change()


@st.composite
def _textual(draw: Any, field: str) -> tuple[str, Any, Near]:
    """Return a key, a value and what events might have, for a field that holds text."""
    kind = draw(
        _one_of(
            "string",
            "string",
            "string",
            "re",
            "re",
            "number",
            "boolean",
            "encoded",
            "dashes",
            "cidr",
            "simple",
        )
    )
    if field.startswith("flat"):
        kind = draw(_one_of("simple", "simple", "string", "number", "boolean", "encoded"))
    if kind == "number":
        value = draw(st.one_of(st.integers(-3, 300), _one_of(0.5, 10.25)))
        return field, value, [value, str(value)]
    if kind == "boolean":
        return field, draw(st.booleans()), [True, False, "TRUE", "False"]
    if kind == "cidr":
        return f"{field}|cidr", draw(NETWORKS), [draw(ADDRESSES), draw(ADDRESSES), "fe80:zz", "10.0.0.01"]
    if kind == "re":
        pattern, match = draw(expressions())
        flags = draw(_one_of("", "", "", "|i", "|m", "|s", "|i|s", "|i|m"))
        bound = draw(_one_of("", "", "", "", "|contains", "|startswith", "|endswith"))
        near = [match, _changed(draw, match), draw(TEXTS) + match + draw(TEXTS), f"x\n{match}\n"]
        return f"{field}|re{flags}{bound}", pattern, near
    if kind == "encoded":
        text = draw(st.one_of(st.text(st.sampled_from("abc 12.-é中"), min_size=1, max_size=8)))
        wide = draw(_one_of("", "", "wide|", "utf16le|", "utf16be|", "utf16|"))
        data = {"": text.encode(), "utf16b": text.encode("utf-16-be")}.get(wide[:6], text.encode("utf-16-le"))
        if wide == "utf16|":
            data = b"\xff\xfe" + data
        if draw(st.booleans()):
            filler = draw(_one_of(b"", b"x", b"xy"))
            encoded = base64.b64encode(filler + data + draw(_one_of(b"", b"z", b"zz"))).decode()
            return f"{field}|{wide}base64offset|contains", text, [encoded, f"x{encoded}"]
        encoded = base64.b64encode(data).decode()
        return f"{field}|{wide}base64", text, [encoded, encoded.swapcase(), f"{encoded}x"]
    if kind == "dashes":
        text = draw(
            st.lists(_one_of("-", "/", "a", "b", " ", "exe", "–"), min_size=1, max_size=6).map("".join)
        )
        near = [
            text,
            text.replace("-", "/"),
            text.replace("/", "–"),
            "x " + text.replace("-", "―").replace("/", "-"),
        ]
        return f"{field}|windash" + draw(_one_of("", "|contains", "|startswith")), text, near
    if kind == "simple":
        modifier = draw(_one_of("", "", "|startswith", "|cased", "|cased|startswith"))
        value = draw(TEXTS.filter(lambda text: not set("*?\\") & set(text)))
        return field + modifier, value, [value, value.swapcase(), f"{value}x", f"x{value}"]
    modifier = draw(_one_of("", "", "|contains", "|startswith", "|endswith"))
    cased = draw(_one_of("", "", "", "|cased"))
    value = draw(VALUES)
    before = draw(TEXTS) if modifier in ("|contains", "|endswith") else ""
    after = draw(TEXTS) if modifier in ("|contains", "|startswith") else ""
    match = _matching(draw, value, before, after)
    return (
        field + draw(_one_of(modifier + cased, cased + modifier)),
        value,
        [match, _changed(draw, match), value],
    )


@st.composite
def _typed(draw: Any, field: str) -> tuple[str, Any, Near]:
    """Return the same for a field that holds something else."""
    kind = FIELDS[field]
    own = EVENT_VALUES[kind]
    near = [draw(own), draw(own)]
    choices = ["text", "text", "own", "boolean"]
    if kind in ("long", "double", "float", "date", "date_nanos"):
        choices += ["compare", "compare", "compare"]
    if kind in ("date", "date_nanos"):
        choices += ["part", "part", "part"]
    if kind == "ip":
        choices += ["cidr", "cidr", "prefix", "prefix"]
    match draw(st.sampled_from(choices)):
        case "boolean":
            return field, draw(st.booleans()), near
        case "cidr":
            return f"{field}|cidr", draw(NETWORKS), near
        case "prefix":
            text = str(near[0])[: draw(st.integers(1, 8))]
            return (f"{field}|startswith", text, near) if draw(st.booleans()) else (field, f"{text}*", near)
        case "compare":
            value = draw(st.one_of(FRACTIONS, INTEGERS, _one_of(1e39, 2**64, -(2**64), 5.5, 1e300)))
            if kind.startswith("date"):
                value = draw(_one_of(0, 1772359200000, 1772361000000, 1772361000000.5, -1, 2**53))
            return (
                f"{field}|{draw(_one_of('lt', 'lte', 'gt', 'gte'))}",
                value,
                [*near, *_as_event(value, kind)],
            )
        case "part":
            part, most = draw(
                _one_of(
                    ("minute", 59), ("hour", 23), ("day", 31), ("week", 53), ("month", 12), ("year", 2027)
                )
            )
            operator = draw(_one_of("", "", "|lt", "|lte", "|gt", "|gte"))
            least = 2024 if part == "year" else 0
            return f"{field}|{part}{operator}", draw(st.integers(least, most)), near
        case "text":
            value = draw(OWN_TEXTS[kind])
            return field, value, [*near, *_as_event(value, kind)]
    value = draw(own)
    if kind.startswith("date") and isinstance(value, str):
        return field, value, [*near, value]
    return field, value, [*near, *_as_event(value, kind)]


def _as_event(value: Any, kind: str) -> Near:
    """Return a value of a rule as a value of an event, if the field's type can hold it."""
    if isinstance(value, str):
        if kind in ("long", "double", "float"):
            try:
                value = int(value) if value.isascii() and "_" not in value else 5
            except ValueError:
                return []
        else:
            return []
    if isinstance(value, bool) or kind in ("boolean", "ip"):
        return []
    if kind == "long":
        return [int(value)] if -(2**63) <= value < 2**63 else []
    if kind == "float":
        return [float(value)] if abs(value) < 1e38 else []
    return [value] if kind == "double" and abs(value) < 2**63 else []


@st.composite
def _items(draw: Any) -> tuple[str, str, Any, Near]:
    """Return a field, its key in the rule, the value there, and values for events."""
    field = draw(
        _one_of(
            "name", "name", "name", "path", "path", "message", "flat.user", "flat.deep.id", *FIELDS_OF_TYPES
        )
    )
    shape = draw(_one_of("one", "one", "one", "list", "all", "null", "exists", "reference", "special"))
    make = _textual(field) if field not in FIELDS_OF_TYPES else _typed(field)
    if shape == "null":
        return field, field, None, []
    if shape == "exists":
        return field, f"{field}|exists", draw(st.booleans()), []
    if shape == "special":
        return (
            field,
            field,
            draw(_one_of("", "*", [], ["", None], "**", ["*", "x"])),
            [""] if field not in FIELDS_OF_TYPES else [],
        )
    if shape == "reference" and field in REFERENCES:
        other = draw(st.sampled_from(REFERENCES[field]))
        how = (
            draw(_one_of("", "", "|startswith", "|endswith", "|contains"))
            if FIELDS[field] in ("keyword", "wildcard")
            else ""
        )
        return field, f"{field}|fieldref{how}", other, []
    key, value, near = draw(make)
    if shape in ("list", "all"):
        values, every = [value], list(near)
        for _ in range(draw(st.integers(1, 7))):
            another, more, nearer = draw(make)
            if another == key or {another, key} <= {field}:
                values.append(more)
                every += nearer
        key = f"{key}|all" if shape == "all" and len(values) > 1 else key
        value, near = values, every
        joined = [each for each in every if isinstance(each, str)]
        if field not in FIELDS_OF_TYPES and joined:
            near.append("".join(joined)[:4000])
    if draw(st.integers(0, 9)) == 0:
        key = f"{key}|neq"
    return field, key, value, near


FIELDS_OF_TYPES = ("ip", "size", "ratio", "weight", "on", "when", "when2")

REFERENCES = {
    "name": ("other", "ip", "path", "nowhere"),
    "path": ("name", "other"),
    "ip": ("ip2", "other"),
    "size": ("size2", "ratio", "other"),
    "when": ("when2",),
    "on": ("on",),
}


# Rules and events ---------------------------------------------------------------------------------------


@st.composite
def pairs(draw: Any) -> Pair:
    """Return a rule and some events for it."""
    detection: dict[str, Any] = {}
    near: dict[str, Near] = {}
    names = ["sel", "sel2", "_x"][: draw(st.integers(1, 3))]
    for name in names:
        detection[name] = draw(_selection(near))
    detection["condition"] = draw(_conditions(names))
    events = [draw(_events(near)) for _ in range(4)]
    return Pair(detection, events)


def _selection(near: dict[str, Near]) -> st.SearchStrategy[Any]:
    @st.composite
    def build(draw: Any) -> Any:
        shape = draw(_one_of("map", "map", "map", "map", "maps", "keywords", "all keywords"))
        if shape in ("keywords", "all keywords"):
            words = VALUES.filter(bool)
            one = st.one_of(words, st.integers(0, 300)) if shape == "keywords" else words
            values = draw(st.lists(one, min_size=1, max_size=3))
            near.setdefault("message", []).extend(_matching(draw, str(value), "x", "y") for value in values)
            near["message"].append("".join(_matching(draw, str(value), "", "") for value in values))
            if shape == "keywords":
                return values
            return {
                draw(
                    _one_of("|all", "|cased", "|cased|all") if len(values) > 1 else _one_of("|cased")
                ): values
            }
        maps = []
        for _ in range(1 if shape == "map" else 2):
            each: dict[str, Any] = {}
            for _ in range(draw(st.integers(1, 3))):
                field, key, value, values = draw(_items())
                each[key] = value
                near.setdefault(field, []).extend(values)
                if "|fieldref" in key and value in FIELDS:
                    near.setdefault(value, [])
            maps.append(each)
        return maps[0] if shape == "map" else maps

    return build()


@st.composite
def _conditions(draw: Any, names: list[str]) -> Any:
    if draw(st.integers(0, 4)) == 0:
        public = any(not name.startswith("_") for name in names)
        patterns = ["1 of sel*", "all of sel*", "any of sel*", "not 1 of sel*"]
        patterns += ["1 of them", "all of them", "not all of them"] if public else []
        return draw(st.sampled_from(patterns))

    def clause(depth: int) -> str:
        name: str = draw(st.sampled_from(names))
        kind = draw(_one_of("name", "not", "and", "or", "group")) if depth else "name"
        if kind == "not":
            return f"not {name}" if draw(st.booleans()) else f"not ({clause(depth - 1)})"
        if kind in ("and", "or"):
            return f"{clause(depth - 1)} {kind} {clause(depth - 1)}"
        return f"({clause(depth - 1)})" if kind == "group" else name

    text = clause(3)
    return [text, draw(st.sampled_from(names))] if draw(st.integers(0, 9)) == 0 else text


@st.composite
def _events(draw: Any, near: dict[str, Near]) -> dict[str, Any]:
    event: dict[str, Any] = {}
    for field, values in near.items():
        kind = FIELDS.get(field, "keyword")
        wild = EVENT_VALUES.get(kind, TEXT_VALUES)
        one = (
            st.one_of(st.sampled_from(values), st.sampled_from(values), st.sampled_from(values), wild)
            if values
            else wild
        )
        shape = draw(
            _one_of("one", "one", "one", "one", "missing", "null", "empty", "list", "list", "nested")
        )
        if shape == "missing":
            continue
        event_value: Any = None
        if shape == "one":
            event_value = draw(one)
        elif shape in ("list", "nested"):
            event_value = draw(st.lists(st.one_of(one, one, st.none()), min_size=1, max_size=3))
            event_value = [event_value] if shape == "nested" and field != "message" else event_value
        elif shape == "empty":
            event_value = []
        _put(event, field.split("."), event_value)
    if "other" in event and "name" in event and isinstance(event["name"], str) and draw(st.booleans()):
        event["other"] = _changed(draw, event["name"])
    for field, like in (("ip2", "ip"), ("size2", "size"), ("when2", "when")):
        if field in event and like in event and "1969" not in str(event[like]) and draw(st.booleans()):
            event[field] = event[like]
    return event


def _put(event: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        event = event.setdefault(name, {})
    event[path[-1]] = value


PAIRS = pairs()
