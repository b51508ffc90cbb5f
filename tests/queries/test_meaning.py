"""Compiled queries on real engines: the events that Sigma means are found, and no others."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from sigmawatch.cluster import Cluster, ConnectionSettings, connect
from sigmawatch.compile.compiler import CompileContext, compile_rules
from sigmawatch.pack.rules import load_rules

INDEX = "test-meaning"

FIELDS = {
    "name": "keyword",
    "ip": "ip",
    "size": "long",
    "ratio": "double",
    "on": "boolean",
    "when": "date",
}


@dataclass(frozen=True)
class Case:
    """A selection, events that it means and events that it does not."""

    selection: Any
    matches: list[dict[str, Any]]
    others: list[dict[str, Any]]
    condition: str = "selection"
    more: dict[str, Any] = field(default_factory=dict)


NAMES = [{"name": value} for value in ("root", "Root", "ROOT")]
MISSING: dict[str, Any] = {"size": 1}

CASES = {
    "strings match in any case": Case({"name": "rOOt"}, NAMES, [{"name": "roots"}, {"name": ""}, MISSING]),
    "cased strings do not": Case({"name|cased": "Root"}, [{"name": "Root"}], [{"name": "root"}, MISSING]),
    "letters beyond ASCII match in any case": Case(
        {"name": "ÄÖ*Ж"}, [{"name": "äöж"}, {"name": "ÄÖxЖ"}, {"name": "äÖ\nж"}], [{"name": "aoж"}, MISSING]
    ),
    "and what looks like an expression is text": Case(
        {"name": "é.*[x]"}, [{"name": "É.x[X]"}, {"name": "é.[x]"}], [{"name": "éab[x]"}, {"name": "é.x"}]
    ),
    "a star is any text, a question mark one character": Case(
        {"name": "a?c*"}, [{"name": "abc"}, {"name": "A.CDE"}], [{"name": "ac"}, {"name": "xabc"}]
    ),
    "escaped wildcards are text": Case(
        {"name": r"a\*b\?"}, [{"name": "a*b?"}], [{"name": "axb?"}, {"name": "a*bc"}]
    ),
    "backslashes are text": Case(
        {"name|endswith": "\\cmd.exe"}, [{"name": "C:\\Windows\\CMD.exe"}], [{"name": "C:cmd.exe"}]
    ),
    "a backslash before a wildcard": Case(
        {"name": "c:\\\\*"}, [{"name": "c:\\x"}, {"name": "C:\\"}], [{"name": "c:x"}, {"name": "c:*"}]
    ),
    "what templates and quotes are made of is text": Case(
        {"name|contains": "{{7*7}}\"'</"}, [{"name": "x{{7*7}}\"'</y"}], [{"name": "x49y"}]
    ),
    "contains": Case({"name|contains": "OO"}, NAMES, [{"name": "ro"}, MISSING]),
    "contains all": Case(
        {"name|contains|all": ["a", "b"]}, [{"name": "xbxa"}], [{"name": "a"}, {"name": "b"}, MISSING]
    ),
    "any of a list": Case({"name": ["a", "b*"]}, [{"name": "A"}, {"name": "bc"}], [{"name": "c"}, MISSING]),
    "a list of values in an event": Case(
        {"name": "b"}, [{"name": ["a", "B"]}], [{"name": ["a", "c"]}, {"name": []}]
    ),
    "null is a missing field": Case({"name": None}, [MISSING, {"name": None}, {"name": []}], [{"name": ""}]),
    "an empty string is there": Case({"name": ""}, [{"name": ""}], [MISSING, {"name": " "}]),
    "a lone star is any value": Case({"name": "*"}, [{"name": ""}, {"name": "x"}], [MISSING]),
    "exists": Case({"name|exists": True}, [{"name": "x"}], [MISSING]),
    "does not exist": Case({"name|exists": False}, [MISSING], [{"name": "x"}]),
    "not keeps events without the field": Case(
        {"name": "root"}, [{"name": "x"}, MISSING], NAMES, condition="not selection"
    ),
    "neq is any other value": Case({"name|neq": "root"}, [{"name": "x"}], NAMES),
    "numbers": Case({"size": 5}, [{"size": 5}], [{"size": 50}, {"size": -5}, {"name": "5"}]),
    "numbers as text in a rule": Case({"size": "5"}, [{"size": 5}], [{"size": 6}]),
    "numbers as text in an event": Case({"name": 5}, [{"name": "5"}, {"name": 5}], [{"name": "05"}]),
    "numbers that are too large match nothing": Case({"size": 2**64}, [], [{"size": 1}, {"size": 2**63 - 1}]),
    "words in a number match nothing": Case({"size": "five"}, [], [{"size": 5}, MISSING]),
    "comparisons": Case(
        {"size|gt": 5, "size|lte": 7}, [{"size": 6}, {"size": 7}], [{"size": 5}, {"size": 8}]
    ),
    "comparisons of fractions": Case({"ratio|gte": 0.5}, [{"ratio": 0.5}, {"ratio": 1}], [{"ratio": 0.49}]),
    "booleans": Case({"on": True}, [{"on": True}], [{"on": False}, MISSING]),
    "booleans as text": Case({"on": "False"}, [{"on": False}], [{"on": True}, MISSING]),
    "addresses": Case({"ip": "10.0.0.1"}, [{"ip": "10.0.0.1"}], [{"ip": "10.0.0.10"}, MISSING]),
    "addresses in another spelling": Case(
        {"ip": "2001:0DB8::0:1"}, [{"ip": "2001:db8::1"}], [{"ip": "2001:db8::2"}]
    ),
    "networks": Case(
        {"ip|cidr": ["10.1.0.0/16", "fe80::/10"]},
        [{"ip": "10.1.255.255"}, {"ip": "febf::1"}],
        [{"ip": "10.2.0.0"}, {"ip": "fec0::1"}, MISSING],
    ),
    "the beginning of an address": Case(
        {"ip|startswith": "10.1."}, [{"ip": "10.1.0.0"}], [{"ip": "10.10.0.0"}, {"ip": "110.1.0.0"}]
    ),
    "text that is no address matches nothing": Case(
        {"ip": ["*-*", "host"]}, [], [{"ip": "10.0.0.1"}, MISSING]
    ),
    "and binds stronger than or, not strongest": Case(
        {"size": 1},
        [{"size": 1}, {"size": 2}, {"size": 2, "name": "y"}],
        [{"size": 2, "name": "x"}, {"name": "z"}],
        condition="selection or b and not c",
        more={"b": {"size": 2}, "c": {"name": "x"}},
    ),
    "one of several selections": Case(
        {"size": 1},
        [{"size": 1}, {"size": 2}],
        [{"size": 3}],
        condition="1 of sel*",
        more={"selother": {"size": 2}},
    ),
    "all of several selections": Case(
        {"size": 1},
        [{"size": 1, "name": "x"}],
        [{"size": 1}, {"name": "x"}],
        condition="all of them",
        more={"b": {"name": "x"}},
    ),
    "a list of maps": Case(
        [{"size": 1, "name": "x"}, {"size": 2}],
        [{"size": 1, "name": "X"}, {"size": 2}],
        [{"size": 1, "name": "y"}, {"name": "x"}],
    ),
}


@pytest.fixture(scope="module", params=["opensearch", "elasticsearch"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    client = connect(ConnectionSettings(request.getfixturevalue(request.param).url))
    properties: dict[str, Any] = {name: {"type": kind} for name, kind in FIELDS.items()}
    properties["case"] = {"type": "keyword"}
    client.request("PUT", f"/{INDEX}", {"mappings": {"dynamic": False, "properties": properties}})
    lines = []
    for name, case in CASES.items():
        for number, event in enumerate(itertools.chain(case.matches, case.others)):
            lines += [
                orjson.dumps({"index": {"_id": f"{name} {number}"}}),
                orjson.dumps(event | {"case": name}),
            ]
    path = f"/{INDEX}/_bulk"
    answer = client.request("POST", path, b"\n".join(lines) + b"\n", params={"refresh": "true"})
    assert not answer["errors"], answer
    yield client
    client.request("DELETE", f"/{INDEX}")
    client.close()


def query_of(case: Case, folder: Path) -> Any:
    rule = {
        "title": "Test",
        "id": "00000000-0000-4000-8000-000000000001",
        "logsource": {"category": "test"},
        "detection": {"selection": case.selection, **case.more, "condition": case.condition},
    }
    path = folder / "rule.yml"
    path.write_text(yaml.safe_dump(rule, allow_unicode=True), encoding="utf-8")
    (plan,) = compile_rules(load_rules([path]), CompileContext(overrides=FIELDS)).require()
    return plan.query


@pytest.mark.parametrize("name", CASES)
def test_the_engine_finds_what_the_rule_means(cluster: Cluster, tmp_path: Path, name: str) -> None:
    case = CASES[name]
    query = {"bool": {"filter": [{"term": {"case": name}}, query_of(case, tmp_path)]}}
    hits = cluster.request("POST", f"/{INDEX}/_search", {"size": 100, "query": query})["hits"]["hits"]
    found = sorted(int(hit["_id"].removeprefix(f"{name} ")) for hit in hits)
    events = [*case.matches, *case.others]
    assert [events[number] for number in found] == case.matches
