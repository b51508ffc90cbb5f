"""Damages sample lines in the ways that devices, transports and attackers do: cut off, shuffled, retyped, bombed."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["damaged"]

ODD_WORDS = (
    "", "-", "null", "None", "NaN", "Infinity", "true", "0", "-1", "65536", "9" * 20, "1e400", "0x1F", "1.5", "-0",
    "9223372036854775808", "99999999999999", "253402300800000", "::", "::ffff:198.51.100.7", "fe80::1%eth0",
    "300.1.1.1", "2026-02-30T25:61:61Z", "9999-12-31T23:59:59.999999999Z", "[", "]", "{", "}", '"', "'", "\\", "=",
    "a" * 9000, "%00%zz", "${jndi}", "{{{x}}}", "ＡＤＭＩＮ", "e\u0301", "\u202eexe.txt", "ad\u200bmin", "İ",
)  # fmt: skip
SIGNS = "\x00\x01\x07\x08\t\x0b\x0c\r\x1b\x7f\x85\xa0☃𝄞\u2028\u200f\ufeff\ufffe\uffff{}[]()<>$'\"\\|,;:=%"
LONG = (
    "x" * 100_000, "🦊" * 10_000, "é" * 20_000, "../" * 9000, "a " * 20_000, "a.b" * 9000, "1" * 40_000, "=" * 20_000,
    "\\" * 20_000, '"' * 20_001,
)  # fmt: skip
SURROGATES = ("\ud800", "\udc00", "a\ud83d", "\udfff\ud800")
"""Halves of a character, which a JSON line may hold as escapes and UTF-8 cannot."""
MAX_LINE = 400_000

# What a JSON line may say and Python's writer does not, as the texts that stand for it until the line is written.
_WRITTEN = {
    "<1e400>": "1e400", "<-1e400>": "-1e400", "<-0.0>": "-0.0", "<1e-400>": "1e-400", "<NaN>": "NaN",
    "<bomb>": '{"a":' * 2000 + "1" + "}" * 2000, "<lists>": "[" * 2000 + "]" * 2000,
}  # fmt: skip

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 2**63, -(2**63), 2**64 - 1, 10**400, 1e308, [], {}, [[]], [None], [{}], [1, "a", None, {"b": 2}, [3]], {"a": {"b": 1}}, {"name": "x"}, {"": 1},
    {"a.b": 1, "a": 2}, {".a": 1}, {"a.": 1}, {"..": 1}, {" ": 1}, {"\x00": 1}, {"value": [1, {"c": "d"}]}, ["x"] * 3000,
)  # fmt: skip


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


ODD_KEYS = (
    "",
    ".",
    "..",
    "a..b",
    ".a",
    "a.",
    " ",
    "a b",
    "\x00",
    "k" * 40_000,
    "ключ",
    "__proto__",
    "*",
    "a.b.c",
    "🦊",
)
SHIPPED: tuple[Mapping[str, Any], ...] = (
    {"event": "text"}, {"source": 5}, {"source": ["10.0.0.1"]}, {"destination": {"ip": {"a": 1}}}, {"@timestamp": "x"},
    {"@timestamp": []}, {"@timestamp": {"a": 1}}, {"@timestamp": -5}, {"@timestamp": "0001-01-01T00:00:00Z"},
    {"@timestamp": 1e300}, {"@timestamp": None}, {"host": "web1"}, {"host": ["a", {"b": 1}]}, {"host": {"name": {"a": 1}}},
    {"agent": {"id": {"a": 1}}}, {"log": {"offset": "x", "file": "y"}}, {"log": {"syslog": "x"}}, {"tags": {"a": 1}},
    {"tags": "one"}, {"error": "text"}, {"error": {"message": {"a": 1}}}, {"error": {"message": [1, [2], {"c": 3}]}},
    {"related": 7}, {"related": {"ip": "10.0.0.1"}}, {"related": {"ip": {"a": 1}}}, {"related": {"user": [{"a": 1}]}},
    {"event": {"original": 5}}, {"event": {"original": {"a": 1}}}, {"event": {"original": []}},
    {"event": {"kind": 5, "category": {"a": 1}, "start": "x", "duration": 1e30}}, {"event": ["a", "b"]},
    {"event.original": "dotted"}, {"event.kind": "dotted"}, {"source.ip": "x"}, {"cloud": {"account": "123"}},
    {"host.name": "a", "host": {"name": "b"}}, {"ecs": "1"}, {"ecs": {"version": {}}}, {"input": "file"}, {"_format": 5},
    {"_format": ["a"]}, {"_format": "a b"}, {"_drop": True}, {"observer": 1, "network": "x", "user": "root", "url": "/x"},
    {"user": {"name": {"first": "a"}}}, {"process": [1], "dns": "x", "http": 5, "rule": "r", "threat": "t", "tls": "v1"},
    {"winlog": "x", "aws": "x", "azure": 5, "gcp": [], "cisco": "a", "suricata": True, "zeek": None, "okta": 1},
    {"": "x"}, {".": "x"}, {"a..b": "x"}, {".a": "x"}, {" ": "x"}, {"a.b": 1, "a": "x"}, {"deep": _nested(90)},
    {"many": {f"key{n}": n for n in range(3000)}}, {"file": {"size": "x", "path": 5}}, {"labels": {"a": {"b": 1}}},
)  # fmt: skip
"""What a shipper may have put into the document beside the line."""


def damaged(
    pick: random.Random, documents: Sequence[Mapping[str, Any]], foreign: Sequence[str]
) -> dict[str, Any]:
    """Return one of a dataset's documents, damaged; `foreign` are lines of other datasets."""
    document = dict(pick.choice(documents))
    line = document.get("message")
    if not isinstance(line, str):
        return document
    parsed = _object(line)
    kind = pick.random()
    if kind < 0.04:
        document["message"] = pick.choice(foreign)
    elif kind < 0.07:
        document["message"] = pick.choice([*ODD_VALUES, {"message": line}, [line], ""])
    elif kind < 0.09 and parsed is not None:
        # As shippers send it that parse JSON themselves.
        document = _damaged_object(pick, parsed)
        document = json.loads(_whole(json.dumps(document, ensure_ascii=False)))
        if _has_endless_number(document):
            # As a line, whatever else is odd about it is looked at.
            document = {"message": json.dumps(document)}
    elif parsed is not None and kind < 0.6:
        document["message"] = _text_of(pick, _damaged_object(pick, parsed))
    else:
        document["message"] = _damaged_line(pick, line)
    if isinstance(document.get("message"), str):
        document["message"] = _whole(document["message"][:MAX_LINE])
    if pick.random() < 0.15 and not _has_endless_number(document):
        for _ in range(pick.randrange(1, 4)):
            document |= pick.choice(SHIPPED)
    elif pick.random() < 0.01:
        document["n"] = 10**400
    if pick.random() < 0.02 and isinstance(document.get("message"), str):
        document["event"] = {"original": document.pop("message")}
    return document


def _has_endless_number(value: Any) -> bool:
    """Return whether OpenSearch hands a document to no script: then what else is odd about it is not looked at."""
    if isinstance(value, (dict, list)):
        return any(map(_has_endless_number, value.values() if isinstance(value, dict) else value))
    return isinstance(value, int) and not -(2**63) <= value < 2**63


def _whole(text: str) -> str:
    """Return a text with replacements for halves of characters: no UTF-8 has them, so no reader of files yields them."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _object(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line[line.index("{") :])
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return every (object or list, key or position) inside a value."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        inside = waiting.pop()
        keys: list[Any] = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
        for key in keys:
            found.append((inside, key))
            if isinstance(inside[key], (dict, list)):
                waiting.append(inside[key])
    return found


def _damaged_object(pick: random.Random, given: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(given))
    for _ in range(pick.randrange(1, 4)):
        places = _places(made)
        if not places:
            break
        inside, key = pick.choice(places)
        kind = pick.randrange(10)
        if kind == 0:
            del inside[key]
        elif kind <= 3:
            # A copy: what it is put into may be damaged again.
            inside[key] = deepcopy(pick.choice([*ODD_VALUES, *ODD_WORDS, *_WRITTEN]))
        elif kind == 4:
            inside[key] = pick.choice(
                [[inside[key]], [inside[key]] * 2, {"value": inside[key]}, json.dumps(inside[key])]
            )
        elif kind == 5:
            other, place = pick.choice(places)
            if key in inside if isinstance(inside, dict) else key < len(inside):
                moved = json.loads(json.dumps(inside[key], default=str))
                if place in other if isinstance(other, dict) else place < len(other):
                    other[place] = moved
        elif kind == 6 and isinstance(inside[key], str):
            inside[key] = _damaged_line(pick, inside[key])
        elif kind == 7 and isinstance(inside, dict):
            inside[pick.choice([*ODD_KEYS, key.upper(), f"{key}.x"])] = inside.pop(key)
        elif kind == 8 and pick.random() < 0.2:
            target = inside if isinstance(inside, dict) else made
            target.update({f"{pick.choice(['k', 'a.b', 'é'])}{n}": n for n in range(3000)})
        else:
            inside[key] = pick.choice(
                [str(inside[key]), 5, [], {}, pick.choice(LONG) if pick.random() < 0.1 else None]
            )
    return made


def _text_of(pick: random.Random, value: Mapping[str, Any]) -> str:
    text = json.dumps(value, ensure_ascii=pick.random() < 0.5)
    for name, written in _WRITTEN.items():
        text = text.replace(f'"{name}"', written)
    kind = pick.randrange(12)
    if kind == 0:
        text = text[: pick.randrange(len(text) + 1)]
    elif kind == 1:
        text = text[:-1] + ", " + text[1:] if len(text) > 2 else text  # every key twice
    elif kind == 2:
        text += pick.choice(["}", " trailing", text, "\r", "\x00"])
    elif kind == 3:
        text = pick.choice(["\ufeff", " ", "[", "<13>Mar  1 10:00:00 host app: ", "\x00"]) + text
    return text


def _damaged_line(pick: random.Random, line: str) -> str:
    for _ in range(pick.randrange(1, 4)):
        line = pick.choice(_WAYS)(pick, line[:MAX_LINE])
    return line


def _cut(pick: random.Random, line: str) -> str:
    return line[: pick.randrange(len(line) + 1)]


def _behead(pick: random.Random, line: str) -> str:
    return line[pick.randrange(len(line) + 1) :]


def _word(pick: random.Random, line: str) -> str:
    separator = pick.choice([" ", " ", " ", ",", "\t", "|", ";", '"', "=", ":"])
    words = line.split(separator)
    index = pick.randrange(len(words))
    kind = pick.randrange(7)
    if kind == 0:
        del words[index]
    elif kind == 1:
        words.insert(index, words[index])
    elif kind == 2:
        other = pick.randrange(len(words))
        words[index], words[other] = words[other], words[index]
    elif kind == 3:
        pick.shuffle(words)
    elif kind == 4 and pick.random() < 0.15:
        words[index] = pick.choice(LONG)
    else:
        words[index] = pick.choice(ODD_WORDS)
    return separator.join(words)


def _sign(pick: random.Random, line: str) -> str:
    at = pick.randrange(len(line) + 1)
    return line[:at] + pick.choice(SIGNS) * pick.choice([1, 1, 1, 2, 50]) + line[at:]


def _surrogate(pick: random.Random, line: str) -> str:
    at = pick.randrange(len(line) + 1)
    return line[:at] + pick.choice(SURROGATES) + line[at:]


def _bytes(pick: random.Random, line: str) -> str:
    """Bytes that are no UTF-8, as the readers of files pass them on: replaced, or escaped."""
    raw = bytearray(line.encode("utf-8", "surrogatepass"))
    for _ in range(pick.randrange(1, 4)):
        raw.insert(pick.randrange(len(raw) + 1), pick.randrange(128, 256))
    return raw.decode("utf-8", pick.choice(["replace", "backslashreplace"]))


def _twice(pick: random.Random, line: str) -> str:
    return line + pick.choice([" ", "\n", "\r\n", "", "\x00"]) + line


def _blanks(pick: random.Random, line: str) -> str:
    return line.replace(" ", pick.choice(["  ", "\t", "", "\u00a0", ","]))


def _ends(pick: random.Random, line: str) -> str:
    start = pick.choice(["", "<13>", "<999>", "\ufeff", '{"message": "', "<34>1 ", " ", '"'])
    return start + line + pick.choice(["", "\r", "\r\n", "\x00", '"', "\\", "…"])


def _case(pick: random.Random, line: str) -> str:
    return pick.choice([line.swapcase(), line.upper(), line.lower(), line[::-1]])


def _digits(pick: random.Random, line: str) -> str:
    """Replace one number by another of any size."""
    starts = [n for n, sign in enumerate(line) if sign.isdigit() and (n == 0 or not line[n - 1].isdigit())]
    if not starts:
        return line
    start = end = pick.choice(starts)
    while end < len(line) and line[end].isdigit():
        end += 1
    return (
        line[:start]
        + pick.choice(["0", "-1", "9" * 19, "9" * 40, "00", "1.5", "", "٣", "99", "2147483648"])
        + line[end:]
    )


def _bomb(pick: random.Random, line: str) -> str:
    at = pick.randrange(len(line) + 1)
    return line[:at] + pick.choice(["[", "{", "(", '{"a":', "<", '"']) * pick.choice([50, 2000]) + line[at:]


_WAYS: Sequence[Callable[[random.Random, str], str]] = (
    _cut, _cut, _behead, _word, _word, _word, _word, _sign, _sign, _surrogate, _bytes, _twice, _blanks, _ends, _case,
    _digits, _digits, _bomb,
)  # fmt: skip
