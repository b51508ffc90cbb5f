"""The literals of a plan: whatever its query matches has them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sigmawatch.compile.compiler import compile_rules
from sigmawatch.compile.context import Binding, CompileContext
from sigmawatch.compile.fieldtypes import FieldTypes
from sigmawatch.compile.leaves import escaped
from sigmawatch.compile.literals import Literal, fold, is_possible, required_literals
from sigmawatch.compile.plan import DetectionPlan
from sigmawatch.pack.rules import join_rules, read_rules

FIELDS = {"app.number": "long", "app.object": "flattened", "app.fixed": "constant_keyword"}
TYPES = FieldTypes(FIELDS)

Document = dict[str, list[Any]]


def _compiled(*rules: dict[str, Any]) -> DetectionPlan:
    text = yaml.safe_dump_all([{"title": "T", "logsource": {"category": "test"}, **rule} for rule in rules])
    files = [read_rules(Path("rules.yml"), text.encode())]
    return compile_rules(join_rules(files), CompileContext(overrides=FIELDS)).require()[-1]


def _rule(condition: str, name: str = "r", **selections: Any) -> dict[str, Any]:
    return {"name": name, "detection": {**selections, "condition": condition}}


# How an engine reads the queries that rules compile to. Without regard to case, as Lucene 10 does: k is the Kelvin sign.


def _matches(query: dict[str, Any], document: Document) -> bool:
    ((kind, body),) = query.items()
    if kind == "bool":
        should = [_matches(each, document) for each in body.get("should", ())]
        return (
            all(_matches(each, document) for each in body.get("filter", ()))
            and sum(should) >= body.get("minimum_should_match", 0)
            and not any(_matches(each, document) for each in body.get("must_not", ()))
        )
    if kind == "match_none":
        return False
    if kind == "script":
        params = body["script"]["params"]
        assert body["script"]["id"] == "sigmawatch-any-text"
        return any(_has_text(value, params) for value in _values(document, params["field"]))
    if kind == "exists":
        return bool(_values(document, body["field"]))
    ((field, options),) = body.items()
    return any(_leaf(kind, options, str(value)) for value in _values(document, field))


def _values(document: Document, field: str) -> list[Any]:
    return document.get(field.removesuffix(".keyword"), [])


def _has_text(value: Any, params: dict[str, Any]) -> bool:
    text = str(value) if params["cased"] else str(value).lower()
    how: dict[str, Callable[[str, str], bool]] = {
        "equals": str.__eq__,
        "startswith": str.startswith,
        "endswith": str.endswith,
        "contains": str.__contains__,
    }
    return any(how[params["how"]](text, each) for each in params["texts"])


def _leaf(kind: str, options: Any, value: str) -> bool:
    if kind == "terms":
        return value in options
    told = options if isinstance(options, dict) else {"value": options}
    text = str(told["value"])
    flags = re.DOTALL | (re.IGNORECASE if told.get("case_insensitive") else 0)
    patterns: dict[str, Callable[[str], str]] = {
        "term": re.escape,
        "prefix": lambda text: re.escape(text) + ".*",
        "wildcard": _of_wildcard,
        "regexp": str,
    }
    return re.fullmatch(patterns[kind](text), value, flags) is not None


def _of_wildcard(text: str) -> str:
    parts = re.findall(r"\\.|[*?]|[^\\*?]+", text, re.DOTALL)
    return "".join(
        {"*": ".*", "?": "."}.get(part) or re.escape(re.sub(r"\\(.)", r"\1", part)) for part in parts
    )


# Rules and events at random -----------------------------------------------------------------------------

NAMES = ("user.name", "process.command_line", "app.note", "message")
PIECES = (
    "a",
    "B",
    "kS",
    "ä",
    "Σς",
    "İ",
    "\u212a",
    "ſ",
    "7",
    " ",
    ".",
    "(",
    "|",
    "-c",
    "*",
    "?",
    "\\*",
    "\\",
    '"',
    "{",
)
TEXTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join)
EXPRESSIONS = (
    "a+B", "^kS.*7$", "(a|B)c?", "[aA]b", "a{2,3}|B", r"\(\d+", "(?i)ks", "[^a]B", "a(b(c|d)e)?f", "a|", "7.7", r"\.\w",
)  # fmt: skip
PLAIN = st.sampled_from(
    ["", "|contains", "|startswith", "|endswith", "|cased", "|contains|cased", "|windash|contains"]
)


@st.composite
def _selections(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(NAMES))
        if draw(st.integers(0, 4)) == 0:
            found[f"{name}|re"] = draw(st.lists(st.sampled_from(EXPRESSIONS), min_size=1, max_size=3))
        else:
            every = draw(st.sampled_from(["", "", "|all"]))
            modifiers = draw(PLAIN)
            every = every if modifiers else ""
            size = st.lists(TEXTS, min_size=2 if every else 1, max_size=7)
            found[f"{name}{modifiers}{every}"] = draw(size)
    return found


CONDITIONS = (
    "one",
    "one and two",
    "one or two",
    "one and not two",
    "not one",
    "1 of them",
    "one or not two",
    "not (one or two)",
)


def _said(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in _said(each)]
    return [text for each in value for text in _said(each)] if isinstance(value, list) else [str(value)]


@st.composite
def _documents(draw: st.DrawFn, texts: list[str]) -> Document:
    chance = draw(st.randoms(use_true_random=False))

    def value() -> Any:
        parts = chance.choices([*texts, "", "x"], k=chance.choice((1, 1, 2)))
        text = re.sub(
            r"\\(?=[*?\\])|[*?+^$(){}|]" if chance.random() < 0.5 else r"\\(?=[*?\\])", "", "".join(parts)
        )
        text = chance.choice((str, str.lower, str.upper, str.swapcase))(text)
        return text.replace("k", "\u212a") if chance.random() < 0.2 else text

    return {
        name: [value() for _ in range(chance.choice((1, 1, 2)))] for name in NAMES if chance.random() < 0.9
    }


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_a_rule_matches_has_its_literals(data: st.DataObject) -> None:
    condition = data.draw(st.sampled_from(CONDITIONS))
    one, two = data.draw(_selections()), data.draw(_selections())
    detection: dict[str, Any] = {
        "one": one,
        **({"two": two} if "two" in condition or "them" in condition else {}),
    }
    plan = _compiled(_rule(condition, **detection))
    for _ in range(8):
        document = data.draw(_documents(_said([one, two])))
        if _matches(plan.query, document):
            assert is_possible(plan.literals, document)


def _expression(chance: random.Random, depth: int) -> tuple[str, str]:
    """Return an expression, and a text that it matches."""
    kind = chance.randrange(9 if depth else 4)
    if kind < 2:
        text = "".join(chance.choices('aBkſä7 .(|"\\#', k=chance.randint(1, 3)))
        return escaped(text), text
    if kind == 2:
        chars = chance.sample("aAbBkK", chance.randint(1, 5))
        return f"[{''.join(chars)}]", chance.choice(chars)
    if kind == 3:
        return chance.choice(
            [(".", "z"), (".*", ""), (".*", "yy"), ("[a-d]", "c"), ("[^a]", "b"), ('"x|y"', "x|y")]
        )
    parts = [_expression(chance, depth - 1) for _ in range(chance.randint(1, 4))]
    if kind < 6:
        return "".join(part for part, _ in parts), "".join(text for _, text in parts)
    if kind == 6:
        return f"({'|'.join(part for part, _ in parts)})", chance.choice(parts)[1]
    part, text = parts[0]
    sign, times = chance.choice(
        [("?", 0), ("?", 1), ("*", 0), ("*", 2), ("+", 1), ("+", 3), ("{2}", 2), ("{0,3}", 1), ("{2,}", 3)]
    )
    return f"({part}){sign}", text * times


@settings(max_examples=1000, deadline=None)
@given(st.randoms(use_true_random=False))
def test_whatever_an_expression_matches_has_its_literals(chance: random.Random) -> None:
    text, value = _expression(chance, 4)
    clauses = required_literals({"regexp": {"user.name": {"value": text}}}, TYPES)
    assert is_possible(clauses, {"user.name": [value]})
    assert is_possible(
        clauses, {"user.name": [value.upper(), "other"] if len(value.upper()) == len(value) else [value]}
    )


def test_the_reading_of_queries_finds_what_is_there() -> None:
    plan = _compiled(_rule("one", one={"user.name|contains": ["Kim", "lee"]}))
    assert _matches(plan.query, {"user.name": ["x\u212aIMx"]})
    assert not _matches(plan.query, {"user.name": ["bob"]})


# What is found -------------------------------------------------------------------------------------------


def _literals(condition: str = "one", **selections: Any) -> list[set[tuple[str, ...]]] | None:
    found = _compiled(_rule(condition, **selections)).literals
    return None if found is None else [set(map(tuple, clause)) for clause in found]


def test_each_way_to_hold_a_text_is_told() -> None:
    assert _literals(one={"app.note": "Root"}) == [{("app.note", "equals", "root")}]
    assert _literals(one={"app.note": "Root*"}) == [{("app.note", "prefix", "root")}]
    assert _literals(one={"app.note|endswith": "Root"}) == [{("app.note", "suffix", "root")}]
    assert _literals(one={"app.note|contains": ["a1", "B2"]}) == [
        {("app.note", "contains", "a1"), ("app.note", "contains", "b2")}
    ]
    assert _literals(one={"app.note|re": "foo(bar|baz)[0-9]+x"}) == [
        {("app.note", "contains", "foobar"), ("app.note", "contains", "foobaz")}
    ]
    assert _literals(one={"app.object.x": "Root*"}) == [{("app.object.x", "prefix", "root")}]


def test_of_a_text_with_wildcards_the_longest_part_is_told() -> None:
    assert _literals(one={"app.note": "ab*longest?cd"}) == [{("app.note", "contains", "longest")}]


@pytest.mark.parametrize("number", [4, 60, 400, 3000])
def test_many_texts_joined_to_expressions_are_told(number: int) -> None:
    texts = [f"text-{each}.exe" for each in range(number)]
    found = _literals(one={"app.note|contains": texts})
    assert found == [{("app.note", "contains", text) for text in texts}]


def test_keywords_are_looked_for_in_the_message_itself() -> None:
    assert _literals(one=["Evil thing"]) == [{("message", "contains", "evil thing")}]


def test_alternatives_need_a_literal_each() -> None:
    both = {"one": {"app.note|contains": "abc"}, "two": {"user.name": "eve", "app.note": "defgh"}}
    assert _literals("one or two", **both) == [
        {("app.note", "contains", "abc"), ("app.note", "equals", "defgh")}
    ]
    assert _literals("one or not two", **both) is None


def test_all_of_a_conjunction_are_told_the_most_telling_three() -> None:
    found = _literals(one={"app.note|contains|all": ["a", "bbbb", "ccc", "dd", "eeeee"]})
    assert found == [{("app.note", "contains", text)} for text in ("bbbb", "ccc", "eeeee")]


@pytest.mark.parametrize(
    ("condition", "selection"),
    [
        ("not one", {"app.note": "x"}),
        ("one", {"app.note": ""}),
        ("one", {"app.note": "*"}),
        ("one", {"app.note": None}),
        ("one", {"app.note|exists": True}),
        ("one", {"app.number": 5}),
        ("one", {"source.ip": "10.0.0.1"}),
        ("one", {"source.ip|cidr": "10.0.0.0/8"}),
        ("one", {"app.note|re": r"^\d+$"}),
        ("one", {"app.note|re": "(abc)?"}),
        ("one", {"app.note|fieldref": "user.name"}),
        ("one", {"app.fixed": "x"}),
        ("one", {"some.field.keyword": "x"}),
    ],
)  # fmt: skip
def test_nothing_is_told_where_nothing_is_known(condition: str, selection: dict[str, Any]) -> None:
    assert _literals(condition, one=selection) is None


def test_what_never_matches_is_never_possible() -> None:
    plan = _compiled(_rule("one", one={"app.number": "text"}))
    assert plan.literals == ((),)
    assert not is_possible(plan.literals, {"app.number": [5]})


def test_values_that_are_no_text_may_be_anything() -> None:
    plan = _compiled(_rule("one", one={"app.note": "5.0"}))
    assert is_possible(plan.literals, {"app.note": [5]})
    assert not is_possible(plan.literals, {"app.note": ["6"]})
    assert not is_possible(plan.literals, {})


def test_which_indices_are_searched_is_the_least_telling() -> None:
    rule = _rule("one", one={"app.note|contains|all": ["aa", "bb", "cc"]})
    text = yaml.safe_dump({"title": "T", "logsource": {"category": "test"}, **rule})
    context = CompileContext((Binding("app.log", "logs-app.log-*", {"category": "test"}),))
    (plan,) = compile_rules(join_rules([read_rules(Path("r.yml"), text.encode())]), context).require()
    assert "event.dataset" in str(plan.query)
    assert "event.dataset" not in str(plan.literals)


def test_a_correlation_has_the_literals_of_any_of_its_rules() -> None:
    plan = _compiled(
        _rule("one", "first", one={"app.note|contains": "abc"}),
        _rule("one", "second", one={"user.name": "eve"}),
        {
            "name": "both",
            "correlation": {"type": "temporal", "rules": ["first", "second"], "timespan": "5m"},
        },
    )
    assert plan.literals == ((Literal("app.note", "contains", "abc"), Literal("user.name", "equals", "eve")),)


def test_literals_are_part_of_the_plan_as_data() -> None:
    plan = _compiled(_rule("one", one={"app.note|contains": "Abc"}))
    data = plan.to_dict()
    assert data["literals"] == [[["app.note", "contains", "abc"]]]
    assert DetectionPlan.from_dict(data) == plan
    # Plans that were deployed before there were any.
    del data["literals"]
    assert DetectionPlan.from_dict(data).literals is None


@given(st.text(), st.text())
def test_folding_goes_by_characters(one: str, other: str) -> None:
    assert fold(one + other) == fold(one) + fold(other)
    assert len(fold(one)) == len(one)
    assert fold(fold(one)) == fold(one)
