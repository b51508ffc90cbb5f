"""Pairs of key and value, joined values, conditions and switches: what descriptions can say with them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from datasets.small_dataset import HEAD, write
from sigmawatch.datasets import load_dataset
from sigmawatch.datasets.check import simulated
from sigmawatch.errors import ContentError

if TYPE_CHECKING:
    from pathlib import Path

    from datasets.dataset_server import Server

KV = """\
  - kv:
      keys: [a, b, c]
      rest: test.small
"""
TAIL = """\
set: {event.category: [network], event.type: [connection]}
fields: {a: test.a, b: test.b, c: test.c}
"""
FIELDS = """\
ecs: [user.name, event.severity]
own:
  test.a: {description: a}
  test.b: {description: b}
  test.c: {description: c}
  test.flags: {description: flags}
  test.before: {description: before}
"""


def described(tmp_path: Path, parse: str, tail: str = TAIL) -> Any:
    return load_dataset(write(tmp_path, HEAD + "parse:\n" + parse + tail, FIELDS))


def found(server: Server, dataset: Any, lines: list[str]) -> list[dict[str, Any]]:
    return [document or {} for document in simulated(server.simulate, dataset, lines)]


def values(document: dict[str, Any]) -> dict[str, Any]:
    assert document["event"]["kind"] == "event", document
    given: dict[str, Any] = dict(document.get("test", {}))
    given |= given.pop("small", {})
    return given


@pytest.mark.parametrize(
    ("settings", "cases"),
    [
        (
            {"escapes": "'\"\\'"},
            {
                "a=1 b=2": {"a": "1", "b": "2"},
                "  a=1\t b=2 ": {"a": "1", "b": "2"},
                'a="x y" b=2': {"a": "x y", "b": "2"},
                'a="" b= c=3': {"c": "3"},
                'a="say \\"hi\\" b=9" b=2': {"a": 'say "hi" b=9', "b": "2"},
                'a="say "hi" to" b=2': {"a": 'say "hi" to', "b": "2"},
                'a="ends with \\\\" b=2': {"a": "ends with \\", "b": "2"},
                'a="cut off b=2': {"a": "cut off b=2"},
                'a="x" junk b="y"': {"a": 'x" junk b="y'},
                "a=x=y b==": {"a": "x=y", "b": "="},
                "a=1 new.key=5 b=2": {"a": "1", "b": "2", "new_key": "5"},
                "a=1 word b=2": {"a": "1", "b": "2"},
                "a=☃ b=𝄞": {"a": "☃", "b": "𝄞"},
            },
        ),
        (
            {"separator": "[' ', ',']"},
            {
                'a="x, y",b=2,c=3 4': {"a": "x, y", "b": "2", "c": "3 4"},
                "a=1 b=2,3": {"a": "1", "b": "2,3"},
            },
        ),
        (
            {"separator": "', '", "assign": "': '", "blanks": "true"},
            {
                "a: x, y, b: 2": {"a": "x, y", "b": "2"},
                "a: http://h/?d: 1, d: 5, b: 2": {"a": "http://h/?d: 1, d: 5", "b": "2"},
                "a: , b: 2": {"b": "2"},
            },
        ),
        (
            {"flags": "flags", "begin": "'a='", "before": "before", "end": "[' [', ' |']"},
            {
                "DROP it: a=1 SYN ACK b=2 [a=3 c=4]": {"before": "DROP it:", "a": "1", "b": "2", "flags": "SYN ACK"},
                "a=1 | c=1 [b=2": {"a": "1"},
            },
        ),
        (
            {"separator": "';'", "assign": "':'", "inside": "'[]'"},
            {
                '[a:"x;y"; b:"2"; c:3]': {"a": "x;y", "b": "2", "c": "3"},
                '<1> [a:"]"; b:"[2]"] more': {"a": "]", "b": "[2]"},
            },
        ),
    ],
)  # fmt: skip
def test_pairs_are_taken_apart(
    server: Server, tmp_path: Path, settings: dict[str, str], cases: dict[str, dict[str, str]]
) -> None:
    more = "".join(f"      {key}: {text}\n" for key, text in settings.items())
    tail = TAIL
    if "flags" in settings:
        tail = TAIL.replace("c: test.c}", "c: test.c, flags: test.flags, before: test.before}")
    dataset = described(tmp_path, KV + more, tail)
    given = [values(document) for document in found(server, dataset, list(cases))]
    assert dict(zip(cases, given, strict=True)) == cases


def test_the_first_value_of_a_key_counts_and_another_is_told(server: Server, tmp_path: Path) -> None:
    dataset = described(tmp_path, KV)
    twice, same, rest = found(server, dataset, ["a=1 b=2 a=3 b=4", "a=1 a=1", "a=1 x=1 x=2"])
    assert values(twice) == {"a": "1", "b": "2"}
    assert twice["error"]["message"] == ["kv: more than one value of a b"]
    assert "error" not in same
    assert rest["error"]["message"] == ["kv: more than one value of x"]
    quiet = described(tmp_path / "quiet", KV + "      repeated: ignore\n")
    assert "error" not in found(server, quiet, ["a=1 a=3"])[0]


def test_what_only_a_condition_looks_at_is_kept_too(server: Server, tmp_path: Path) -> None:
    tail = """\
set: {event.category: [network], event.type: [connection]}
fields: {a: test.a}
cases: [{when: {b: x}, set: {event.outcome: success}}]
"""
    dataset = described(tmp_path, KV, tail)
    (document,) = found(server, dataset, ["a=1 b=x c=3"])
    assert document["event"]["outcome"] == "success"
    assert values(document) == {"a": "1", "b": "x", "c": "3"}


def test_a_line_without_any_of_the_keys_is_refused(server: Server, tmp_path: Path) -> None:
    dataset = described(tmp_path, KV + "      error: no such line\n")
    for document in found(server, dataset, ["d=1", "=1", "a b c", '"a=1"', "=", " =a"]):
        assert document["event"]["kind"] == "pipeline_error"
        assert document["error"]["message"] == ["kv: no such line"]


def test_random_values_come_back_whatever_they_hold(server: Server, tmp_path: Path) -> None:
    pick = random.Random(20260301)
    dataset = described(tmp_path, KV + "      escapes: '\"\\'\n")
    cases = []
    for _ in range(400):
        value = "".join(pick.choice(' ab=";,\\]☃') for _ in range(pick.randrange(1, 14)))
        protected = value.replace("\\", "\\\\").replace('"', '\\"')
        cases.append((value, f'a="{protected}" b=2'))
    for (value, line), document in zip(
        cases, found(server, dataset, [line for _, line in cases]), strict=True
    ):
        assert values(document) == {"a": value, "b": "2"}, line


def test_values_are_joined_when_the_first_is_there(server: Server, tmp_path: Path) -> None:
    join = '  - join: {whole: "{a}-{b}/{c}"}\n'
    dataset = described(tmp_path, KV + join, TAIL.replace("fields: {", "fields: {whole: user.name, "))
    users = [
        document.get("user", {}).get("name")
        for document in found(server, dataset, ["a=1 b=2 c=3", "a=1 c=3", "b=2"])
    ]
    assert users == ["1-2/3", "1-/3", None]


def test_a_joined_value_may_be_in_small_letters(server: Server, tmp_path: Path) -> None:
    join = '  - join: {whole: "{a|lower}-{b}"}\n'
    dataset = described(tmp_path, KV + join, TAIL.replace("fields: {", "fields: {whole: user.name, "))
    assert found(server, dataset, ["a=Ab b=Cd"])[0]["user"]["name"] == "ab-Cd"


def test_a_step_is_taken_only_when_its_condition_holds(server: Server, tmp_path: Path) -> None:
    more = KV.replace("[a, b, c]", "[a, b]") + "  - {when: {a: [x, y]}, kv: {keys: [c]}}\n"
    dataset = described(tmp_path, more)
    given = [values(document) for document in found(server, dataset, ["a=x c=1", "a=z c=1", "b=1 c=1"])]
    assert given == [{"a": "x", "c": "1"}, {"a": "z", "c": "1"}, {"b": "1", "c": "1"}]
    # in the second and third line `c` is none of the first step's keys, and goes to `rest`


SWITCH = """\
fields: {a: test.a, b: {to: test.b, when: {a: ["1", "2", "3", "4", "5"]}}, c: {to: test.c, when: {a: false}}}
switch:
  - by: a
    table:
      "1 2": {set: {event.action: few}, add: {event.type: [start]}}
      "3": {set: {event.outcome: success, event.type: [end]}}
    otherwise: {set: {event.action: other}}
  - {by: event.action, table: {few: {set: {event.severity: 3}}}}
cases:
  - {when: {a: "2"}, set: {event.action: two}}
"""


def test_a_switch_sets_what_a_table_has_for_a_value(server: Server, tmp_path: Path) -> None:
    tail = TAIL.partition("fields:")[0] + SWITCH
    dataset = described(tmp_path, KV, tail)
    one, two, three, nine, none = found(server, dataset, ["a=1 b=7", "a=2", "a=3", "a=9 b=7", "b=1 c=5"])
    assert one["event"]["action"] == "few"
    assert one["event"]["type"] == ["connection", "start"]
    assert one["event"]["severity"] == 3
    assert two["event"]["action"] == "two"
    assert two["event"]["severity"] == 3
    assert three["event"]["outcome"] == "success"
    assert three["event"]["type"] == ["end"]
    assert three["event"]["action"] == "other"
    assert nine["event"]["action"] == none["event"]["action"] == "other"
    # mappings that only hold for some values of another
    assert one["test"]["b"] == "7"
    assert "b" not in nine["test"]
    assert none["test"] == {"c": "5"}


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("keys: [a, b, c]", "keys: [a, b, c, a]", 8, "keys that stand twice: a"),
        ("keys: [a, b, c]", "inside: '('", 8, "inside: expected two signs"),
        ("keys: [a, b, c]", "before: x", 8, "'before' needs 'begin'"),
        ("keys: [a, b, c]", "key: [a]", 8, "unknown key 'key'"),
        ("rest: test.small", "all: true", 9, "'all' needs 'rest'"),
        ("rest: test.small", "repeated: never", 9, "repeated: expected problem or ignore"),
        ("rest: test.small", "{flags: x, blanks: true}", 9, "words without a value cannot be told"),
        ("- join:", "- join: {whole: '{a}-{x}'} #", 10, "no parser finds a raw value 'x'"),
        ("- join:", "- join: {whole: 'a'} #", 10, "whole: expected raw values in braces"),
        ("- join:", "- {when: {d: x}, kv: {keys: [e]}} #", 10, "no parser finds a raw value 'd'"),
        ("- join:", "- {when: {a: x}} #", 10, "a parse step is one kind of parser"),
        ("by: a", "by: d", 14, "no parser finds a raw value 'd', and nothing emits such a field"),
        ("by: a", "on: a", 14, "must be a text"),
        ('"1 2":', '"1 1":', 16, "'1' stands twice in this table"),
        ("event.outcome: success", "event.outcome: fine", 17, "ECS does not allow 'fine' in event.outcome"),
        ("event.action: other", "event.akzion: other", 18, "'event.akzion' is emitted but not declared"),
        ("when: {a: false}", "when: {d: false}", 12, "no parser finds a raw value 'd'"),
    ],
)
def test_mistakes_are_told_with_their_line(
    tmp_path: Path, old: str, new: str, line: int, message: str
) -> None:
    text = HEAD + "parse:\n" + KV + "  - join: {whole: '{a}{b}'}\n" + TAIL.partition("fields:")[0] + SWITCH
    if new.startswith("{"):
        new = new[1:-1].replace(", ", "\n      ")
    folder = write(tmp_path, text.replace(old, new, 1), FIELDS)
    with pytest.raises(ContentError) as caught:
        load_dataset(folder)
    told = [(problem.line, problem.message) for problem in caught.value.problems]
    assert any(at == line and message in text for at, text in told), told


def test_a_raw_value_can_be_taken_apart_further(server: Server, tmp_path: Path) -> None:
    more = (
        "  - kv: {of: a, separator: ' ; ', keys: [x]}\n"
        "  - patterns: {of: b, list: [{match: 'to {user*} now', set: {event.action: went}, raw: {y: z}}]}\n"
    )
    tail = TAIL.replace("c: test.c", "x: test.flags, user: user.name, y: test.before")
    dataset = described(tmp_path, KV.replace("[a, b, c]", "[a, b]") + more, tail)
    one, two = found(server, dataset, ['a="x=1 ; q=2" b="to me now"', "q=1 b=3"])
    assert one["test"]["flags"] == "1"
    assert one["user"]["name"] == "me"
    assert one["event"]["action"] == "went"
    assert one["test"]["before"] == "z"
    assert two["test"]["b"] == "3"
    assert "user" not in two


TUPLE = "  - split: {a: {at: ',', into: [x, y, z], counts: [2, 3], error: no tuple}}\n"


def test_a_raw_value_is_parted_at_every_separator(server: Server, tmp_path: Path) -> None:
    dataset = described(tmp_path, KV + TUPLE, TAIL.replace("a: test.a", "x: test.a, y: test.b, z: test.c"))
    lines = ["a=1,2,3", "a=1,,3", "a=1,2", "a=,,", "a=1,2,3,4,5"]
    documents = found(server, dataset, lines)
    assert [values(document) for document in documents] == [
        {"a": "1", "b": "2", "c": "3"},
        {"a": "1", "c": "3"},
        {"a": "1", "b": "2"},
        {},
        {"a": "1", "b": "2", "c": "3"},
    ]
    assert ["error" in document for document in documents] == [False, False, False, False, True]
    assert documents[-1]["error"]["message"] == ["split: a: more parts than are known"]
    for document in found(server, dataset, ["a=1", "a=" + "," * 500]):
        told = document["error"]["message"]
        assert (document["event"]["kind"] == "pipeline_error") == ("split: no tuple" in told), told


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("into: [x, y, z]", "into: [x]", "into: expected the names of the parts"),
        ("counts: [2, 3]", "counts: [2, x]", "counts: expected numbers"),
        ("counts: [2, 3]", "counts: [2, 4]", "counts: the largest is that of the names, 3"),
        (", error: no tuple", "", "counts and error go together"),
        ("counts: [2, 3]", "counts: [2, 3], last: true", "last is for two parts"),
    ],
)
def test_mistakes_in_a_cut_are_told(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ContentError, match=message):
        described(tmp_path, KV + TUPLE.replace(old, new))
