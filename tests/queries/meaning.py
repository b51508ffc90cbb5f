"""What a Sigma rule means, told as plainly as possible: the judge of the compiler, and independent of it.

It works on the rule as YAML has it and on one event as JSON has it, after the specification 2.1 (rules and appendix
of modifiers). Where the specification leaves a choice, this is what sigmawatch means:

- Letters match in either case as Unicode's simple case folding has it, and ASCII letters only one another.
- A field holds the values of an array each on its own; null and an empty array are no value.
- What a field's type says decides what is compared: numbers, addresses, moments and truth as such, all else as text.
  A date in a rule is the whole of what it names, `2026-03-01` a day. Fields of type `float` have its precision.
- `neq` is `not`: an event without the field is different, too.
- A regular expression is searched for; `re` with startswith or endswith is bound to that end of the value.
- `$` also stands before a newline at the end. Classes are those of ASCII, as PCRE has them by default.
- Dates are looked at in UTC, weeks as ISO 8601 counts them.
- Encodings are of the value's UTF-8; what they give is compared as any text, in either case.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import struct
import warnings
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

Test = Callable[[Mapping[str, Any]], bool]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

ANY, ONE = object(), object()
"""The wildcards `*` and `?` among the characters of a value."""

DASHES = "-/\u2013\u2014\u2015"
TEXTUAL = frozenset({"keyword", "wildcard", "match_only_text", "flattened"})
NUMERIC = frozenset({"long", "double", "float"})
DATES = frozenset({"date", "date_nanos"})


class UnknownMeaningError(Exception):
    """The rule has something that this module does not know."""


def meaning(detection: Mapping[str, Any], types: Mapping[str, str]) -> Test:
    """Return the test of events for a rule's `detection`; `types` are the fields' mapping types, else keyword."""
    names = {name: _selection(value, types) for name, value in detection.items() if name != "condition"}
    conditions = detection["condition"]
    tests = [
        _Condition(text, names).read()
        for text in (conditions if isinstance(conditions, list) else [conditions])
    ]
    return lambda event: any(test(event) for test in tests)


# Conditions ---------------------------------------------------------------------------------------------


class _Condition:
    """Reads `not` before `and` before `or`, parentheses first."""

    def __init__(self, text: str, names: Mapping[str, Test]) -> None:
        self.tokens = re.findall(r"[()]|[^\s()]+", text)
        self.names = names

    def read(self) -> Test:
        test = self.either()
        if self.tokens:
            raise UnknownMeaningError(f"condition goes on with {self.tokens}")
        return test

    def either(self) -> Test:
        tests = [self.both()]
        while self.tokens[:1] == ["or"]:
            self.tokens.pop(0)
            tests.append(self.both())
        return lambda event: any(test(event) for test in tests)

    def both(self) -> Test:
        tests = [self.one()]
        while self.tokens[:1] == ["and"]:
            self.tokens.pop(0)
            tests.append(self.one())
        return lambda event: all(test(event) for test in tests)

    def one(self) -> Test:
        token = self.tokens.pop(0)
        if token == "not":
            inner = self.one()
            return lambda event: not inner(event)
        if token == "(":
            inner = self.either()
            if self.tokens.pop(0) != ")":
                raise UnknownMeaningError("parentheses")
            return inner
        if token in ("1", "any", "all") and self.tokens[:1] == ["of"]:
            self.tokens.pop(0)
            pattern = self.tokens.pop(0)
            chosen = [test for name, test in self.names.items() if _is_meant(name, pattern)]
            how = all if token == "all" else any
            return lambda event: how(test(event) for test in chosen)
        return self.names[token]


def _is_meant(name: str, pattern: str) -> bool:
    if pattern == "them":
        return not name.startswith("_")
    return fnmatchcase(name, pattern) and (pattern.startswith("_") or not name.startswith("_"))


def _selection(value: Any, types: Mapping[str, str]) -> Test:
    if isinstance(value, Mapping):
        items = [_item(key, each, types) for key, each in value.items()]
        return lambda event: all(item(event) for item in items)
    if isinstance(value, list) and any(isinstance(each, (Mapping, list)) for each in value):
        parts = [_selection(each, types) for each in value]
        return lambda event: any(part(event) for part in parts)
    return _item("", value, types)


# One field, or keywords ---------------------------------------------------------------------------------


def _item(key: str, value: Any, types: Mapping[str, str]) -> Test:
    field, *modifiers = key.split("|")
    kind = types.get(field, "keyword")
    if "." in field and field not in types:
        kind = types.get(field.split(".", maxsplit=1)[0], "keyword")
    if not field:
        # A keyword is somewhere in the text of the event.
        field, kind = "message", "match_only_text"
        if "re" not in modifiers:
            modifiers = [*modifiers, "contains"]
    values = value if isinstance(value, list) else [value]
    tests = [_value(field, kind, each, modifiers, types) for each in values or [None]]
    how = all if "all" in modifiers else any
    if "neq" in modifiers:
        return lambda event: not how(test(event) for test in tests)
    return lambda event: how(test(event) for test in tests)


def _value(field: str, kind: str, value: Any, modifiers: list[str], types: Mapping[str, str]) -> Test:
    if "exists" in modifiers:
        return lambda event: bool(_values(event, field)) is value
    if "fieldref" in modifiers:
        return _reference(field, kind, value, types.get(value, "keyword"), modifiers)
    for part in ("minute", "hour", "day", "week", "month", "year"):
        if part in modifiers:
            compare = _comparison(modifiers)
            return lambda event: any(
                compare(_part(each, part), value) for each in _moments(_values(event, field), kind)
            )
    if value is None:
        return lambda event: not _values(event, field)
    if "re" in modifiers:
        expression = _expression(str(value), modifiers)
        return lambda event: any(expression.search(_text(each)) is not None for each in _values(event, field))
    if "cidr" in modifiers:
        network = _network(value, kind)
        return lambda event: any(
            address in network
            for each in _values(event, field)
            if (address := _address(each, kind)) is not None
        )
    if {"lt", "lte", "gt", "gte"} & set(modifiers):
        compare = _comparison(modifiers)
        return lambda event: any(
            compare(_number(each, kind), _stored(value, kind)) for each in _values(event, field)
        )
    if isinstance(value, bool):
        return lambda event: any(_is_truth(each, value, kind) for each in _values(event, field))
    if isinstance(value, (int, float)) and "contains" not in modifiers:
        return lambda event: any(_equals_number(each, value, kind) for each in _values(event, field))
    options = [
        _string(option, kind, cased="cased" in modifiers) for option in _options(str(value), modifiers)
    ]
    return lambda event: any(option(each) for each in _values(event, field) for option in options)


def _values(event: Any, field: str) -> list[Any]:
    """Return what an event has in a field: dots lead into objects, arrays hold several."""
    return list(_flat(_found(event, field.split("."))))


def _found(value: Any, path: list[str]) -> Iterable[Any]:
    if isinstance(value, list):
        for each in value:
            yield from _found(each, path)
    elif not path:
        yield value
    elif isinstance(value, Mapping):
        for length in range(1, len(path) + 1):
            name = ".".join(path[:length])
            if name in value:
                yield from _found(value[name], path[length:])


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, Mapping):
            yield from _flat(value.values())
        elif isinstance(value, list):
            yield from _flat(value)
        elif value is not None:
            yield value


def _text(value: Any) -> str:
    """Return a value as JSON spells it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


# Strings ------------------------------------------------------------------------------------------------


def _parsed(text: str) -> list[Any]:
    """Return the characters of a value, wildcards told apart; a backslash takes a wildcard's meaning, or its own."""
    found: list[Any] = []
    at = 0
    while at < len(text):
        if text[at] == "\\" and text[at + 1 : at + 2] in ("*", "?", "\\") and at + 1 < len(text):
            found.append(text[at + 1])
            at += 2
            continue
        found.append({"*": ANY, "?": ONE}.get(text[at], text[at]))
        at += 1
    return found


def _options(text: str, modifiers: list[str]) -> list[list[Any]]:
    """Return what a value stands for after its modifiers, in their order."""
    options: list[Any] = [_parsed(text)]
    for modifier in modifiers:
        match modifier:
            case "contains":
                options = [[ANY, *each, ANY] for each in options]
            case "startswith":
                options = [[*each, ANY] for each in options]
            case "endswith":
                options = [[ANY, *each] for each in options]
            case "windash":
                options = [made for each in options for made in _dashed(each)]
            case "wide" | "utf16le":
                options = ["".join(each).encode("utf-16-le") for each in options]
            case "utf16be":
                options = ["".join(each).encode("utf-16-be") for each in options]
            case "utf16":
                options = [b"\xff\xfe" + "".join(each).encode("utf-16-le") for each in options]
            case "base64":
                options = [list(base64.b64encode(_bytes(each)).decode()) for each in options]
            case "base64offset":
                options = [list(made) for each in options for made in _offsets(_bytes(each))]
            case "all" | "neq" | "cased":
                pass
            case _:
                raise UnknownMeaningError(f"modifier {modifier}")
    return [list(each.decode()) if isinstance(each, bytes) else each for each in options]


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else "".join(value).encode()


def _offsets(value: bytes) -> list[str]:
    """Return the characters of Base64 that only `value` decides, after none, one or two bytes of something else."""
    found = []
    for before in range(3):
        texts = [
            base64.b64encode(filler * before + value + filler * after).decode()
            for filler in (b"\x00", b"\xff")
            for after in (0, 1, 2, 3)
        ]
        first = -(-8 * before // 6)
        last = 8 * (before + len(value)) // 6
        assert len({text[first:last] for text in texts}) == 1, value
        found.append(texts[0][first:last])
    return found


def _dashed(characters: list[Any]) -> Iterable[list[Any]]:
    """Yield a value with each dash that begins a word as every kind of dash."""
    choices: list[Any] = []
    for at, char in enumerate(characters):
        before = characters[at - 1] if at else ANY
        after = characters[at + 1] if at + 1 < len(characters) else ANY
        begins = char in ("-", "/") and not _is_word(before) and _is_word(after)
        choices.append(DASHES if begins else [char])
    yield from map(list, product(*choices))


def _is_word(char: Any) -> bool:
    return isinstance(char, str) and (char.isalnum() or char == "_")


def _string(characters: list[Any], kind: str, *, cased: bool) -> Callable[[Any], bool]:
    if characters and all(each is ANY for each in characters):
        return lambda _: True
    plain = "".join(characters) if all(isinstance(each, str) for each in characters) else None
    if kind in TEXTUAL or kind == "ip":
        matches = _wildcards(characters, cased=cased and kind != "ip")
        if kind == "ip":
            return lambda value: _is_address(value, plain, matches)
        return lambda value: matches(_text(value))
    if plain is None:
        raise UnknownMeaningError(f"wildcards on {kind}")
    if kind in NUMERIC:
        if not re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", plain, re.ASCII):
            return lambda _: False
        number = _stored(float(plain) if "." in plain else int(plain), kind)
        return lambda value: _number(value, kind) == number
    if kind == "boolean":
        return lambda value: _text(value) == plain.lower()
    span = _span(plain, kind)
    return lambda value: (
        span is not None and any(span[0] <= each < span[1] for each in _moments([value], kind))
    )


def _wildcards(characters: list[Any], *, cased: bool) -> Callable[[str], bool]:
    """Return whether a text is what the characters say: what is between two stars is found where it first can be."""
    pieces: list[str] = [""]
    for each in characters:
        if each is ANY:
            pieces.append("")
        else:
            pieces[-1] += "." if each is ONE else re.escape(each)
    flags = re.DOTALL | (0 if cased else re.IGNORECASE)
    if len(pieces) == 1:
        whole = re.compile(pieces[0], flags)
        return lambda text: whole.fullmatch(text) is not None
    first, last = re.compile(pieces[0], flags), re.compile(f"(?:{pieces[-1]})\\Z", flags)
    middle = [re.compile(piece, flags) for piece in pieces[1:-1] if piece]
    length = sum(1 for each in characters[::-1][: characters[::-1].index(ANY)])

    def matches(text: str) -> bool:
        found = first.match(text)
        for piece in middle:
            found = found and piece.search(text, found.end())
        return found is not None and last.match(text, max(found.end(), len(text) - length)) is not None

    return matches


def _expression(text: str, modifiers: list[str]) -> re.Pattern[str]:
    flags = re.ASCII if text.isascii() else 0
    names = {"i": re.I, "ignorecase": re.I, "m": re.M, "multiline": re.M, "s": re.S, "dotall": re.S}
    for modifier in modifiers:
        flags |= names.get(modifier, 0)
    text = _for_python(text)
    if begin := re.match(r"\(\?[ims]+\)", text):
        text = text[begin.end() :]
        for letter in begin[0][2:-1]:
            flags |= names[letter]
    if "startswith" in modifiers:
        text = rf"\A(?:{text})"
    if "endswith" in modifiers:
        text = rf"(?:{text})(?-m:$)"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return re.compile(text, flags)


def _with_ranges(text: str) -> str:
    """Return a set of characters with the classes in it spelled out: of ASCII, whatever letters stand beside."""
    for name, ranges in ((r"\w", "a-zA-Z0-9_"), (r"\d", "0-9"), (r"\s", r" \t-\r")):
        text = re.sub(rf"(?<!\\)((?:\\\\)*){re.escape(name)}", rf"\g<1>{ranges}", text)
    return text


def _for_python(text: str) -> str:
    r"""Return an expression of PCRE for Python: names of groups, classes of POSIX, \Z before a last newline."""
    text = re.sub(r"\(\?<(?=[A-Za-z_])", "(?P<", text)
    if not text.isascii():
        text = re.sub(r"\[[^]]*\]", lambda found: _with_ranges(found[0]), text)
        text = re.sub(r"(?<!\\)((?:\\\\)*)(\\[bBwWdDsS])", r"\1(?a:\2)", text)
    text = text.replace("[:alpha:]", "a-zA-Z").replace("[:digit:]", "0-9")
    return re.sub(r"(?<!\\)((?:\\\\)*)\\Z", r"\1(?-m:$)", text)


# Other types --------------------------------------------------------------------------------------------


def _comparison(modifiers: list[str]) -> Callable[[float, float], bool]:
    for operator in ("lte", "gte", "lt", "gt"):
        if operator in modifiers:
            return getattr(_Operators, operator)  # type: ignore[no-any-return]
    return _Operators.eq


class _Operators:
    lt = staticmethod(lambda left, right: left < right)
    lte = staticmethod(lambda left, right: left <= right)
    gt = staticmethod(lambda left, right: left > right)
    gte = staticmethod(lambda left, right: left >= right)
    eq = staticmethod(lambda left, right: left == right)


def _stored(value: float, kind: str) -> float:
    """Return a number as a field of a type holds it."""
    if kind != "float":
        return float(value) if kind == "double" else value
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def _number(value: Any, kind: str) -> float:
    if kind in DATES:
        (moment,) = _moments([value], kind)
        return (moment - _EPOCH) / timedelta(milliseconds=1)
    return _stored(value if isinstance(value, (int, float)) else float(value), kind)


def _equals_number(value: Any, number: float, kind: str) -> bool:
    if kind in TEXTUAL:
        return _text(value) == str(number)
    if kind in NUMERIC or kind in DATES:
        return _number(value, kind) == _stored(number, kind)
    return False


def _is_truth(value: Any, wanted: bool, kind: str) -> bool:
    return (kind in TEXTUAL or kind == "boolean") and _text(value).lower() == str(wanted).lower()


def _address(value: Any, kind: str) -> Address | None:
    """Return an address; on `ip` fields, IPv4 within IPv6 is IPv4, which they do not tell apart."""
    if not isinstance(value, str):
        return None
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) and kind == "ip" else None
    return mapped or address


def _network(value: str, kind: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    network = ipaddress.ip_network(value)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if kind == "ip" and mapped is not None and network.prefixlen >= 96:
        return ipaddress.ip_network(f"{mapped}/{network.prefixlen - 96}")
    return network


def _is_address(value: Any, plain: str | None, matches: Callable[[str], bool]) -> bool:
    address = _address(value, "ip")
    if plain is not None:
        wanted = _address(plain, "ip") if "%" not in plain else None
        return wanted is not None and address == wanted
    return matches(str(address))


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_DATE = re.compile(
    r"(\d{4})-(\d\d)(?:-(\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?)?(Z|[+-]\d\d:\d\d)?)?)?",
    re.ASCII,
)


def _span(text: str, kind: str) -> tuple[datetime, datetime] | None:
    """Return from when to before when a date of ISO 8601 is, None where the text is none. UTC where it does not say."""
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        begin = datetime.fromisoformat(
            f"{year}-{month}-{day or '01'}T{hour or '00'}:{minute or '00'}:{second or '00'}"
            f".{(fraction or '').ljust(6, '0')}{'+00:00' if zone in (None, 'Z') else zone}"
        )
    except ValueError:
        return None
    if day is None:
        return begin, begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
    if hour is None:
        return begin, begin + timedelta(days=1)
    if minute is None:
        return begin, begin + timedelta(hours=1)
    if second is None:
        return begin, begin + timedelta(minutes=1)
    if fraction is None:
        return begin, begin + timedelta(seconds=1)
    return _kept(begin, kind), _kept(begin, kind) + timedelta(microseconds=1)


def _kept(moment: datetime, kind: str) -> datetime:
    """Return a moment as a field of a type holds it."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000) if kind == "date" else moment


def _moments(values: Iterable[Any], kind: str) -> list[datetime]:
    found = []
    for value in values:
        if isinstance(value, (int, float)):
            found.append(_EPOCH + timedelta(milliseconds=value))
        elif (span := _span(value, kind)) is not None:
            found.append(_kept(span[0], kind))
    return found


def _part(moment: datetime, part: str) -> int:
    moment = moment.astimezone(UTC)
    return moment.isocalendar().week if part == "week" else int(getattr(moment, part))


def _reference(field: str, kind: str, other: str, other_kind: str, modifiers: list[str]) -> Test:
    def related(left: Any, right: Any) -> bool:
        if not {"contains", "startswith", "endswith"} & set(modifiers):
            if kind in DATES and other_kind in DATES:
                return _moments([left], kind) == _moments([right], other_kind)
            if kind in NUMERIC and other_kind in NUMERIC:
                return _number(left, kind) == _number(right, other_kind)
        before = [ANY] if "contains" in modifiers or "endswith" in modifiers else []
        after = [ANY] if "contains" in modifiers or "startswith" in modifiers else []
        return _wildcards([*before, *_reading(right, other_kind), *after], cased=False)(_reading(left, kind))

    return lambda event: any(
        related(left, right) for left in _values(event, field) for right in _values(event, other)
    )


def _reading(value: Any, kind: str) -> str:
    """Return a value as text: addresses as RFC 5952 spells them, whole numbers without a fraction."""
    if kind == "ip":
        return str(_address(value, kind))
    if kind in NUMERIC:
        number = _number(value, kind)
        return str(int(number)) if float(number).is_integer() else str(number)
    return _text(value)
