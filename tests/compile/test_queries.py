"""Which query a value becomes, by the type of its field. That queries mean the same is tested on engines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sigma.collection
import yaml

from sigmawatch.compile.compiler import CompileContext, Compiled, compile_rules
from sigmawatch.compile.plan import DetectionPlan
from sigmawatch.compile.taxonomy import Binding
from sigmawatch.pack.rules import load_rules

TYPES = {
    "app.text": "text",
    "app.size": "long",
    "app.ratio": "float",
    "app.on": "boolean",
    "app.when": "date",
    "app.place": "geo_point",
}


def compiled(tmp_path: Path, selection: Any, condition: Any = "selection", **more: Any) -> Compiled:
    rule = {
        "title": "Test",
        "id": "00000000-0000-4000-8000-000000000001",
        "logsource": more.pop("logsource", {"category": "test"}),
        "detection": {"selection": selection, "condition": condition, **more},
    }
    path = tmp_path / "rule.yml"
    path.write_text(yaml.safe_dump(rule, allow_unicode=True), encoding="utf-8")
    binding = Binding("flow.test", "logs-flow.test-*", {"category": "firewall", "product": "test"})
    return compile_rules(load_rules([path]), CompileContext((binding,), overrides=TYPES))


def query(tmp_path: Path, selection: Any, condition: Any = "selection", **more: Any) -> Any:
    (plan,) = compiled(tmp_path, selection, condition, **more).require()
    return plan.query


def test_the_compiler_runs_on_the_pysigma_that_it_is_tested_for() -> None:
    expected = os.environ.get("SIGMAWATCH_EXPECT_PYSIGMA", "1")
    found = sigma.collection.__file__ or ""
    assert ("pysigma2" in found) == (expected == "2"), found


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        # Letters match in either case, what has none is compared as it is.
        ({"user.name": "Root"}, {"term": {"user.name": {"value": "Root", "case_insensitive": True}}}),
        ({"user.name": "1-2"}, {"term": {"user.name": "1-2"}}),
        ({"user.name|cased": "Root"}, {"term": {"user.name": "Root"}}),
        ({"user.name": ""}, {"term": {"user.name": ""}}),
        ({"user.name": None}, {"bool": {"must_not": [{"exists": {"field": "user.name"}}]}}),
        ({"user.name": "*"}, {"exists": {"field": "user.name"}}),
        ({"user.name|exists": True}, {"exists": {"field": "user.name"}}),
        ({"user.name|exists": False}, {"bool": {"must_not": [{"exists": {"field": "user.name"}}]}}),
        # Wildcards, with what is literal escaped.
        (
            {"user.name|contains": "a"},
            {"wildcard": {"user.name": {"value": "*a*", "case_insensitive": True}}},
        ),
        ({"user.name|cased|startswith": "a"}, {"wildcard": {"user.name": {"value": "a*"}}}),
        (
            {"user.name": r"a\*b?c"},
            {"wildcard": {"user.name": {"value": r"a\*b?c", "case_insensitive": True}}},
        ),
        (
            {"user.name|endswith": r"\x"},
            {"wildcard": {"user.name": {"value": r"*\\x", "case_insensitive": True}}},
        ),
        # Engines fold ASCII only, so other letters are spelled out.
        ({"user.name": "Ä*"}, {"regexp": {"user.name": {"value": "[Ää].*", "flags": "NONE"}}}),
        ({"user.name": "é.[é"}, {"regexp": {"user.name": {"value": r"[Éé]\.\[[Éé]", "flags": "NONE"}}}),
        # Numbers.
        ({"app.size": 5}, {"term": {"app.size": 5}}),
        ({"app.size": "5"}, {"term": {"app.size": 5}}),
        ({"app.size": "five"}, {"match_none": {}}),
        ({"app.size": 2**63}, {"match_none": {}}),
        ({"app.size|gte": 5}, {"range": {"app.size": {"gte": 5}}}),
        ({"app.ratio|lt": 5}, {"range": {"app.ratio": {"lt": 5}}}),
        ({"user.id": 0}, {"term": {"user.id": "0"}}),
        # Booleans and dates.
        ({"app.on": True}, {"term": {"app.on": True}}),
        ({"app.on": "TRUE"}, {"term": {"app.on": True}}),
        ({"app.on": "yes"}, {"match_none": {}}),
        ({"app.when": "2026-03-01"}, {"term": {"app.when": "2026-03-01"}}),
        ({"app.when": "soon"}, {"match_none": {}}),
        # Addresses.
        ({"source.ip": "10.0.0.1"}, {"term": {"source.ip": "10.0.0.1"}}),
        ({"source.ip": "2001:DB8::0:1"}, {"term": {"source.ip": "2001:db8::1"}}),
        ({"source.ip": "host"}, {"match_none": {}}),
        ({"source.ip": "*-*"}, {"match_none": {}}),
        ({"source.ip|startswith": "10.1."}, {"term": {"source.ip": "10.1.0.0/16"}}),
        ({"source.ip|startswith": "10.256."}, {"match_none": {}}),
        ({"source.ip|cidr": "fe80::/10"}, {"term": {"source.ip": "fe80::/10"}}),
    ],
)
def test_a_value_becomes_the_query_that_suits_its_field(
    tmp_path: Path, selection: Any, expected: Any
) -> None:
    assert query(tmp_path, selection) == expected


@pytest.mark.parametrize(
    ("selection", "reason"),
    [
        ({"app.text": "a"}, "analysed text"),
        ({"app.place": "a"}, "cannot be compared with a string"),
        ({"app.size": "5*"}, "wildcards in a value of app.size"),
        ({"source.ip|startswith": "10.1"}, "use cidr"),
        ({"source.ip|contains": ".1."}, "use cidr"),
        ({"user.name|cidr": "10.0.0.0/8"}, "no ip field"),
        ({"user.name|gt": 5}, "no numeric field"),
        ({"source.ip|re": "a+"}, "regular expression on source.ip"),
        ({"user.name|re": "a(?=b)"}, "a(?=b)"),
        ({"user.name|fieldref": "user.id"}, "fieldref on user.name"),
        ({"app.when|hour": 5}, "part of the date"),
        ({"user.name|expand": "%admins%"}, "placeholder"),
        (["word"], "keyword"),
    ],
)
def test_what_has_no_exact_query_is_refused_with_the_reason(
    tmp_path: Path, selection: Any, reason: str
) -> None:
    found = compiled(tmp_path, selection)
    assert not found.plans
    (error,) = found.errors
    assert reason in error.message.lower() or reason in error.message
    assert error.line is not None


def test_conditions_keep_their_precedence(tmp_path: Path) -> None:
    found = query(
        tmp_path,
        {"user.id": "1"},
        "selection or b and not c",
        b={"user.id": "2"},
        c={"user.id": "3"},
    )
    one, two, three = ({"term": {"user.id": value}} for value in "123")
    both = {"bool": {"filter": [two, {"bool": {"must_not": [three]}}]}}
    assert found == {"bool": {"should": [one, both], "minimum_should_match": 1}}


def test_a_list_of_values_is_any_of_them_and_all_means_all(tmp_path: Path) -> None:
    one, two = ({"term": {"user.id": value}} for value in "12")
    any_of = {"bool": {"should": [one, two], "minimum_should_match": 1}}
    assert query(tmp_path, {"user.id": ["1", "2"]}) == any_of
    found = query(tmp_path, {"user.id|contains|all": ["1", "2"]})
    wildcards = [{"wildcard": {"user.id": {"value": f"*{value}*"}}} for value in "12"]
    assert found == {"bool": {"filter": wildcards}}


def test_a_list_of_maps_is_any_of_them(tmp_path: Path) -> None:
    one, two = ({"term": {"user.id": value}} for value in "12")
    found = query(tmp_path, [{"user.id": "1"}, {"user.id": "2"}])
    assert found == {"bool": {"should": [one, two], "minimum_should_match": 1}}


def test_several_conditions_are_alternatives(tmp_path: Path) -> None:
    found = query(tmp_path, {"user.id": "1"}, ["selection", "b"], b={"user.id": "2"})
    one, two = ({"term": {"user.id": value}} for value in "12")
    assert found == {"bool": {"should": [one, two], "minimum_should_match": 1}}


def test_a_log_source_that_a_dataset_serves_limits_the_rule_to_it(tmp_path: Path) -> None:
    found = compiled(tmp_path, {"dst_port": 22}, logsource={"category": "firewall"})
    (plan,) = found.plans
    assert plan.indices == ("logs-flow.test-*",)
    scope = {"terms": {"event.dataset": ["flow.test"]}}
    assert plan.query == {"bool": {"filter": [scope, {"term": {"destination.port": 22}}]}}
    assert not found.problems


@pytest.mark.parametrize(
    "logsource",
    [{"category": "test"}, {"category": "firewall", "product": "other"}, {"product": "test", "service": "x"}],
)
def test_a_log_source_that_no_dataset_serves_compiles_with_a_warning(
    tmp_path: Path, logsource: Mapping[str, str]
) -> None:
    found = compiled(tmp_path, {"user.id": "1"}, logsource=logsource)
    (plan,) = found.plans
    assert plan.query == {"term": {"user.id": "1"}}
    (warning,) = found.problems
    assert "no dataset serves the log source" in warning.message
    assert found.errors == ()


def test_compiling_twice_gives_the_same_plan_and_plans_survive_json(tmp_path: Path) -> None:
    first, second = (compiled(tmp_path, {"user.name": ["a", "b"]}).plans for _ in range(2))
    assert first == second
    assert DetectionPlan.from_dict(first[0].to_dict()) == first[0]
