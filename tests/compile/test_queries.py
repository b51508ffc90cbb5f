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
from sigmawatch.render.scripts import script_artifacts

TYPES = {
    "app.text": "text",
    "app.size": "long",
    "app.ratio": "float",
    "app.on": "boolean",
    "app.when": "date",
    "app.place": "geo_point",
    "app.flat": "flattened",
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
    flow = Binding("flow.test", "logs-flow.test-*", {"category": "firewall", "product": "test"})
    web = Binding("web.test", "logs-web.test-*", {"category": "webserver"})
    context = CompileContext(
        (flow, web),
        overrides=TYPES,
        without_message={"flow.test": (), "web.test": ("url.original", "user_agent.original")},
        placeholders={"admins": ["root", "adm*", *map(str, range(6))], "site": ["a.b"]},
    )
    return compile_rules(load_rules([path]), context)


def ranges(*spelled: str) -> Any:
    """Return the query for ranges of addresses; `fe8::-fe8:ffff:` ends in as many ffff as are missing."""
    found = []
    for each in spelled:
        first, last = each.split("-")
        last = last + ":".join(["ffff"] * (8 - last.count(":"))) if last.endswith(":") else last
        found.append({"range": {"source.ip": {"gte": first, "lte": last}}})
    return found[0] if len(found) == 1 else {"bool": {"should": found, "minimum_should_match": 1}}


def wildcard(value: str) -> Any:
    return {"wildcard": {"user.name": {"value": value, "case_insensitive": True}}}


def term(value: str) -> Any:
    return {"term": {"user.name": {"value": value, "case_insensitive": True}}}


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
        # Both names of an encoding, of which pySigma knows one.
        (
            {"user.name|utf16le|base64": "ab"},
            {"term": {"user.name": {"value": "YQBiAA==", "case_insensitive": True}}},
        ),
        (
            {"user.name|wide|base64": "ab"},
            {"term": {"user.name": {"value": "YQBiAA==", "case_insensitive": True}}},
        ),
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
        # Members of objects that are not mapped: what both engines can do.
        ({"app.flat.key": "a"}, {"term": {"app.flat.key": {"value": "a", "case_insensitive": True}}}),
        ({"app.flat.key|cased": "a"}, {"term": {"app.flat.key": {"value": "a"}}}),
        ({"app.flat.key": "a*"}, {"prefix": {"app.flat.key": {"value": "a", "case_insensitive": True}}}),
        ({"app.flat.key": 5}, {"term": {"app.flat.key": "5"}}),
        # Addresses.
        ({"source.ip": "10.0.0.1"}, {"term": {"source.ip": "10.0.0.1"}}),
        ({"source.ip": "2001:DB8::0:1"}, {"term": {"source.ip": "2001:db8::1"}}),
        ({"source.ip": "host"}, {"match_none": {}}),
        ({"source.ip": "*-*"}, {"match_none": {}}),
        ({"source.ip|startswith": "10.1."}, ranges("10.1.0.0-10.1.255.255")),
        (
            {"source.ip|startswith": "10.1"},
            ranges("10.1.0.0-10.1.255.255", "10.10.0.0-10.19.255.255", "10.100.0.0-10.199.255.255"),
        ),
        ({"source.ip|startswith": "10.256."}, {"match_none": {}}),
        ({"source.ip|startswith": "10.1.2.25"}, ranges("10.1.2.25-10.1.2.25", "10.1.2.250-10.1.2.255")),
        ({"source.ip|startswith": "fe8"}, ranges("fe80::-fe8f:ffff:", "fe8::-fe8:ffff:")),
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
        ({"app.size": "5*0"}, "a * at its ends can be searched"),
        ({"app.size": "5?"}, "wildcards in a value of app.size"),
        ({"source.ip|contains": ".1."}, "use cidr"),
        ({"source.ip|startswith": "fe80::"}, "abbreviated zeros"),
        ({"source.ip|startswith": "0"}, "abbreviated zeros"),
        ({"user.name|cidr": "64:ff9b::/96"}, "too many spellings"),
        ({"app.size|cidr": "10.0.0.0/8"}, "map it as ip"),
        ({"app.flat.key|cidr": "10.0.0.0/8"}, "map it as ip"),
        ({"app.flat.key": "a*b"}, "flattened"),
        ({"app.flat|contains": "a"}, "flattened"),
        ({"app.when": "1969-12-31"}, "between 1970 and 2262"),
        ({"app.when|gt": -1}, "between 1970 and 2262"),
        ({"app.ratio|gt": 1e39}, "type float"),
        ({"user.name": "*ab*" + "a" * 300 + "?b"}, "too many states"),
        ({"user.name": "é" * 500}, "too long"),
        ({"user.name|re": "[[:^alpha:]]"}, "counterpart"),
        ({"app.flat.key|re": "a"}, "of type flattened"),
        ({"app.flat.key": "Ä"}, "beyond ascii"),
        ({"event.original|contains": "a"}, "not indexed"),
        ({"event.original|exists": True}, "not indexed"),
        ({"user.name|gt": 5}, "no numeric field"),
        ({"user.name": 2**53 + 1}, "beyond 2^53"),
        ({"source.ip|re": "a+"}, "regular expression on source.ip"),
        ({"user.name|re": "a(?=b)"}, "a(?=b)"),
        ({"user.name|fieldref": "app.text"}, "fieldref with app.text"),
        ({"user.name|fieldref": "app.when"}, "only one of them is a date"),
        ({"app.when|fieldref|contains": "app.when"}, "fieldref with app.when"),
        ({"user.name|hour": 5}, "hour of user.name"),
        ({"user.name|expand": "%nobody%"}, "placeholder %nobody% is not defined; give its values"),
        ({"user.name|expand|contains": "%admins%%admins%%admins%%admins%%admins%"}, "more than 10000 values"),
        ({"|hour": [5]}, "name the field of the date"),
        ({"|fieldref": ["a"]}, "it needs a field"),
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


def test_queries_refer_to_scripts_that_are_deployed_and_to_fields_by_their_ecs_names(tmp_path: Path) -> None:
    found = (
        compiled(tmp_path, {"src_ip|fieldref": "dst_ip"}, logsource={"category": "firewall"}).plans[0].query
    )
    (script,) = [part["script"]["script"] for part in found["bool"]["filter"] if "script" in part]
    assert script["params"] == {
        "field": "source.ip",
        "other": "destination.ip",
        "how": "equals",
        "objects": ["", ""],
    }
    hour = query(tmp_path, {"app.when|hour|gte": 22})["script"]["script"]
    assert hour["params"] == {"field": "app.when", "part": "hour", "operator": "gte", "value": 22}
    assert {script["id"], hour["id"]} <= {artifact.id for artifact in script_artifacts(watcher=False)}


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
    assert query(tmp_path, {"user.id": ["1", "2"]}) == {"terms": {"user.id": ["1", "2"]}}
    found = query(tmp_path, {"user.id|contains|all": ["1", "2"]})
    wildcards = [{"wildcard": {"user.id": {"value": f"*{value}*"}}} for value in "12"]
    assert found == {"bool": {"filter": wildcards}}


def test_a_list_of_maps_is_any_of_them(tmp_path: Path) -> None:
    one, two = {"term": {"user.id": "1"}}, {"term": {"user.name": "2"}}
    found = query(tmp_path, [{"user.id": "1"}, {"user.name": "2"}])
    assert found == {"bool": {"should": [one, two], "minimum_should_match": 1}}


def test_several_conditions_are_alternatives(tmp_path: Path) -> None:
    found = query(tmp_path, {"user.id": "1"}, ["selection", "b"], b={"user.name": "2"})
    one, two = {"term": {"user.id": "1"}}, {"term": {"user.name": "2"}}
    assert found == {"bool": {"should": [one, two], "minimum_should_match": 1}}


def test_placeholders_stand_for_their_values_and_these_are_alternatives_even_under_all(
    tmp_path: Path,
) -> None:
    found = query(tmp_path, {"user.name|expand|all|contains": ["%site%", "x%site%y"]})
    wildcards = [
        {"wildcard": {"user.name": {"value": value, "case_insensitive": True}}}
        for value in ("*a.b*", "*xa.by*")
    ]
    assert found == {"bool": {"filter": wildcards}}
    found = query(tmp_path, {"user.name|expand": ["%admins%"]})
    assert found["bool"]["should"] == [
        {"term": {"user.name": {"value": "root", "case_insensitive": True}}},
        {"wildcard": {"user.name": {"value": "adm*", "case_insensitive": True}}},
        {"terms": {"user.name": list("012345")}},
    ]
    assert (
        query(tmp_path, {"user.name|re|expand": "^%site%$"})["regexp"]["user.name"]["value"] == "a[^\n]b\n?"
    )


def regexp(value: str, *, cased: bool = False) -> Any:
    folded = {} if cased else {"case_insensitive": True}
    limits = {"flags": "NONE", "max_determinized_states": 100_000}
    return {"regexp": {"user.name": {"value": value, **folded, **limits}}}


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        # Few stay as they are.
        ({"user.name|contains": ["a", "b", "a"]}, [wildcard("*a*"), wildcard("*b*")]),
        ({"user.name|contains": list("abcda")}, [regexp(".*(a|b|c|d).*")]),
        ({"user.name|endswith": ["a", "b", "c", "d.*"[:2]]}, [regexp(r".*(a|b|c|d\.)")]),
        ({"user.name|startswith": list("a(c1")}, [regexp(r"(a|\(|c|1).*")]),
        ({"user.name": list("abcd")}, [regexp("(a|b|c|d)")]),
        # What walks all terms stays apart from what seeks, and what has wildcards within from both.
        (
            {"user.name": ["*a", "*b*", "*c", "*d", "x*", "y", "p*q", "p?"]},
            [regexp(".*(a|c|d)|.*(b).*"), wildcard("x*"), term("y"), wildcard("p*q"), wildcard("p?")],
        ),
        ({"user.name|cased|contains": list("abcd")}, [regexp(".*(a|b|c|d).*", cased=True)]),
        (
            {"user.name|contains": ["a", "é1", "É2", "é.3", "É[4", "é?"]},
            [
                wildcard("*a*"),
                regexp(r".*([Éé]1|[Éé]2|[Éé]\.3|[Éé]\[4).*", cased=True),
                {"regexp": {"user.name": {"value": ".*[Éé]..*", "flags": "NONE"}}},
            ],
        ),
        # Values without letters, and fields that are no text.
        ({"user.name": ["1", "2", "a", "2"]}, [{"terms": {"user.name": ["1", "2"]}}, term("a")]),
        ({"app.size": [1, 2, "3", "x"]}, [{"terms": {"app.size": [1, 2, 3]}}]),
        (
            {"source.ip": ["10.0.0.1", "10.0.0.2", "x"], "source.ip|cidr": ["10.1.0.0/16", "10.2.0.0/16"]},
            None,
        ),
        (
            {"app.when": ["2026-01-01", "2026-01-02"]},
            [{"term": {"app.when": "2026-01-01"}}, {"term": {"app.when": "2026-01-02"}}],
        ),
        (
            {"app.flat.a": list("abcd")},
            [{"term": {"app.flat.a": {"value": value, "case_insensitive": True}}} for value in "abcd"],
        ),
    ],
)
def test_long_alternatives_are_joined(tmp_path: Path, selection: Any, expected: Any) -> None:
    found = query(tmp_path, selection)
    if expected is None:
        terms, networks = found["bool"]["filter"]
        assert terms == {"terms": {"source.ip": ["10.0.0.1", "10.0.0.2"]}}
        assert len(networks["bool"]["should"]) == 2
    else:
        assert found == (
            expected[0] if len(expected) == 1 else {"bool": {"should": expected, "minimum_should_match": 1}}
        )


def test_thousands_of_alternatives_are_few_clauses_of_a_size_that_engines_take(tmp_path: Path) -> None:
    values = [f"C:\\dir.{number}\\é" if number % 100 == 0 else f"\\f{number}.exe" for number in range(1200)]
    found = query(tmp_path, {"user.name|endswith": values})["bool"]["should"]
    texts = [each["regexp"]["user.name"]["value"] for each in found]
    assert len(texts) < 80
    assert max(map(len, texts)) <= 1000
    found = query(tmp_path, {"app.size": list(range(70_000))})["bool"]["should"]
    assert [len(each["terms"]["app.size"]) for each in found] == [65_536, 70_000 - 65_536]


def test_more_clauses_than_engines_take_are_refused(tmp_path: Path) -> None:
    found = compiled(tmp_path, {"user.name": [f"a*{number}" for number in range(1100)]})
    assert "1100 clauses" in found.errors[0].message


def test_keywords_are_searched_in_the_message(tmp_path: Path) -> None:
    found = compiled(tmp_path, ["Error", "a*b", 5]).plans[0].query
    wildcards = [
        {"wildcard": {"message.keyword": {"value": "*Error*", "case_insensitive": True}}},
        {"wildcard": {"message.keyword": {"value": "*5*"}}},
        {"wildcard": {"message.keyword": {"value": "*a*b*", "case_insensitive": True}}},
    ]
    assert found == {"bool": {"should": wildcards, "minimum_should_match": 1}}
    found = compiled(tmp_path, {"|all": ["1", "2"]}).plans[0].query
    assert [each["wildcard"]["message.keyword"]["value"] for each in found["bool"]["filter"]] == [
        "*1*",
        "*2*",
    ]
    found = compiled(tmp_path, {"|re": ["a+"]}).plans[0].query
    assert found["regexp"]["message.keyword"]["value"] == ".*a.*"


def test_keywords_for_a_dataset_without_message_are_warned_of(tmp_path: Path) -> None:
    found = compiled(tmp_path, ["Error"], logsource={"category": "firewall"})
    assert [problem.message for problem in found.problems] == [
        "keywords find nothing in flow.test, which keeps no message"
    ]


def test_keywords_for_a_dataset_without_message_are_searched_in_what_others_wrote(tmp_path: Path) -> None:
    found = compiled(tmp_path, ["${jndi:"], logsource={"category": "webserver"})
    assert [problem.message for problem in found.problems] == [
        "keywords are searched in url.original, user_agent.original of web.test only, which keeps no message"
    ]
    _, condition = found.plans[0].query["bool"]["filter"]
    searched = [next(iter(each["wildcard"])) for each in condition["bool"]["should"]]
    assert searched == ["message.keyword", "url.original", "user_agent.original"]


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


def test_more_patterns_than_a_node_can_hold_are_looked_up_or_refused(tmp_path: Path) -> None:
    """Engines keep the automata of a whole search in memory, so too many of them end the node, not the search."""
    values = [f"{number:08x}" * 4 for number in range(1600)]
    found = query(
        tmp_path, {"app.hash": [*(f"*{value}*" for value in values), values[0].upper(), "é*", "a?b"]}
    )
    lookups = [each["script"]["script"]["params"] for each in found["bool"]["should"] if "script" in each]
    assert [(each["how"], len(each["texts"]), each["lengths"]) for each in lookups] == [
        ("contains", 1600, [32])
    ]
    assert len(found["bool"]["should"]) == 4
    assert "script" not in str(query(tmp_path, {"app.hash|contains": values[:500]}))
    assert "script" not in str(
        query(tmp_path, {"app.hash": [value.replace("a", "b") for value in values[:500]]})
    )
    (error,) = compiled(tmp_path, {"app.hash": [f"a*{value}" for value in values[:990] * 2]}).errors
    assert "cannot be joined" in error.message or "divide the rule" in error.message
