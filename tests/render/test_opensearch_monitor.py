"""Monitors of OpenSearch: our own search with the moment left open, triggers that trip on findings, no templates."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from queries.indexed import indexed
from sigmawatch.alerts.document import alert_spec, alerts_of_groups, alerts_of_hits
from sigmawatch.cluster import Cluster
from sigmawatch.compile.plan import Correlation, CorrelationNode, DetectionPlan, Query, RuleInfo, ValueField
from sigmawatch.engine import Node
from sigmawatch.render.opensearch import opensearch_caveats, opensearch_monitor
from sigmawatch.render.refusal import RenderRefused
from sigmawatch.render.search import Moments
from sigmawatch.run.evaluate import Job, evaluate

INDEX = "test-monitor"
END = 1_772_359_800_000
"""2026-03-01T10:10:00Z: where a run's period ends."""
REPORT = (300 + 300) * 1000

RULE = RuleInfo(
    id="5f1f7ac2-0d0b-4a53-9a42-000000000005", title="{{ctx.monitor.name}}", level="high", severity=73
)
FAILED: Query = {"term": {"event.outcome": "failure"}}
PASSED: Query = {"term": {"event.outcome": "success"}}
PLAIN = DetectionPlan(RULE, (INDEX,), PASSED, 300)


def correlation(
    kind: str, bound: float, inputs: tuple[Any, ...], by: tuple[str, ...], *queries: Query, **more: Any
) -> Correlation:
    return Correlation(
        CorrelationNode(kind, 120_000, {"gte": bound}, inputs, **more.pop("node", {})), by, queries, **more
    )


BURSTS = CorrelationNode("event_count", 60_000, {"gte": 3}, (0,))
CORRELATIONS = {
    "count": correlation("event_count", 3, (0,), ("source.ip", "user.name"), FAILED),
    "count of all": correlation("event_count", 6, (0,), (), FAILED),
    "sum": correlation(
        "value_sum",
        3000,
        (0,),
        ("source.ip",),
        FAILED,
        values=(ValueField("source.bytes", numeric=True),),
        node={"values": (0,)},
    ),
    "chain": correlation("temporal_ordered", 2, (BURSTS, 1), ("source.ip",), FAILED, PASSED),
    "aliases": correlation(
        "temporal", 2, (0, 1), ("who",), FAILED, PASSED, aliased=(("source.ip", "user.name"),)
    ),
}
EITHER: Query = {"bool": {"should": [FAILED, PASSED], "minimum_should_match": 1}}
PLANS = {"plain": PLAIN} | {
    name: replace(PLAIN, query=EITHER if len(each.queries) > 1 else FAILED, correlation=each)
    for name, each in CORRELATIONS.items()
}

HOSTILE = [
    "10.0.0.3",
    "{{period_end}}",
    "{{#toJson}}ctx{{/toJson}}",
    "{{=<% %>=}}",
    "{{{x}}}",
    'Say {{ a.b*c?d }} \\ "e" {2}',
    "{",
    "}}",
    "{{",
    "a{{B",
    "A{{b",
]


def events() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for number in range(5):
        for ip, start in (("10.0.0.1", 5), ("2001:db8::1", 8), ("10.0.0.3", number)):
            source = {"ip": ip, "bytes": number * 1000 + 1}
            found.append(
                {
                    "@timestamp": f"2026-03-01T10:0{start}:{10 + number}.123Z",
                    "event": {"outcome": "failure", "category": ["authentication"]},
                    "source": source,
                    "user": {"name": f"anna {number % 2}"},
                }
            )
    for minute, text in enumerate(HOSTILE):
        found.append(
            {
                "@timestamp": f"2026-03-01T{10 if minute < 8 else 11}:0{minute % 10}:30Z",
                "event": {"outcome": "success"},
                "source": {"ip": "10.0.0.1"},
                "user": {"name": text},
            }
        )
    return found


@pytest.fixture(scope="module")
def cluster(opensearch: Node) -> Iterator[Cluster]:
    properties = {
        "@timestamp": {"type": "date"},
        "event": {"properties": {"outcome": {"type": "keyword"}}},
        "source": {"properties": {"ip": {"type": "ip"}, "bytes": {"type": "long"}}},
        "user": {"properties": {"name": {"type": "keyword"}}},
    }
    body = {"mappings": {"dynamic": False, "properties": properties}}
    documents = {f"e{number}": event for number, event in enumerate(events())}
    with indexed(opensearch.url, INDEX, body, documents) as found:
        yield found


def rendered(cluster: Cluster, bodies: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the searches of monitors as the plugin renders them: by the engine's mustache.

    Many in one template: the engine compiles few of them in a minute, and tests share it.
    """
    output: dict[str, dict[str, Any]] = {}
    for keys in batched(bodies, 25):
        searches = {key: bodies[key]["inputs"][0]["search"]["query"] for key in keys}
        template = {"source": json.dumps(searches), "params": {"period_start": 0, "period_end": END}}
        output |= cluster.request("POST", "/_render/template", template)["template_output"]
    return output


def batched(keys: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(keys)
    while batch := list(islice(rest, size)):
        yield batch


def search(cluster: Cluster, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = cluster.request("POST", f"/{INDEX}/_search", body)
    return answer


@pytest.fixture(scope="module")
def searches(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """The rendered search of each plan."""
    return rendered(cluster, {name: opensearch_monitor(plan) for name, plan in PLANS.items()})


def tripped(cluster: Cluster, plan: DetectionPlan, answer: dict[str, Any]) -> tuple[bool, ...]:
    """Run the triggers of a monitor on an answer: for what was found, and for what could not be seen."""
    said = []
    for trigger in opensearch_monitor(plan)["triggers"]:
        script = dict(trigger["query_level_trigger"]["condition"]["script"])
        script["source"] = script["source"].replace("ctx.", "params.")
        body = {"script": script | {"params": {"results": [answer]}}}
        result = cluster.request("POST", "/_scripts/painless/_execute", body)["result"]
        assert result in ("true", "false")
        said.append(result == "true")
    return tuple(said)


@pytest.mark.parametrize("name", PLANS)
def test_the_search_of_a_monitor_finds_what_the_runner_finds(
    cluster: Cluster, searches: dict[str, Any], name: str
) -> None:
    plan = PLANS[name]
    lookback = plan.correlation.lookback() if plan.correlation else 0
    spec = alert_spec(plan, target="opensearch")
    (outcome,) = evaluate(cluster, [Job(plan, spec, Moments(END, REPORT, lookback))], created=END)
    assert outcome.alerts
    assert outcome.problems == []
    answer = search(cluster, searches[name])
    if plan.correlation is None:
        found = alerts_of_hits(spec, answer["hits"]["hits"], created=END)
    else:
        found = alerts_of_groups(spec, answer["aggregations"]["groups"]["buckets"], created=END)
    assert sorted(found, key=lambda alert: alert.id) == sorted(outcome.alerts, key=lambda alert: alert.id)


@pytest.mark.parametrize("name", PLANS)
def test_the_first_trigger_trips_on_findings_only(
    cluster: Cluster, searches: dict[str, Any], name: str
) -> None:
    plan = PLANS[name]
    answer = search(cluster, searches[name])
    assert tripped(cluster, plan, answer) == (True, False)
    if plan.correlation is None:
        answer["hits"]["hits"] = []
    else:
        for bucket in answer["aggregations"]["groups"]["buckets"]:
            found = bucket["windows"]["value"]
            found["groups" if "groups" in found else "bursts"] = []
    assert tripped(cluster, plan, answer) == (False, False)


@pytest.mark.parametrize("name", PLANS)
def test_the_second_trigger_trips_where_the_search_could_not_see_everything(
    cluster: Cluster, searches: dict[str, Any], name: str
) -> None:
    plan = PLANS[name]
    answer = search(cluster, searches[name])
    shards = {"total": 2, "successful": 1, "failed": 1}
    assert tripped(cluster, plan, answer | {"timed_out": True}) == (True, True)
    assert tripped(cluster, plan, answer | {"_shards": shards}) == (True, True)
    if plan.correlation is not None:
        answer["aggregations"]["groups"]["buckets"][0]["windows"]["value"]["truncated"] = True
        assert tripped(cluster, plan, answer) == (True, True)


@pytest.mark.parametrize("bound", [3, 1000])
def test_more_groups_than_a_monitor_looks_at_are_noticed_even_if_those_that_it_saw_cannot_fire(
    cluster: Cluster, bound: int
) -> None:
    count = correlation("event_count", bound, (0,), ("source.ip", "user.name"), FAILED)
    plan = replace(PLANS["count"], correlation=count)
    sizes = range(1, 8)
    bodies = rendered(cluster, {str(size): opensearch_monitor(plan, groups=size) for size in sizes})
    noticed = [tripped(cluster, plan, search(cluster, bodies[str(size)]))[1] for size in sizes]
    assert noticed == [size < 6 for size in sizes]


def test_nothing_at_all_trips_nothing(cluster: Cluster) -> None:
    nothing: Query = {"match_none": {}}
    empty = {}
    for name, plan in PLANS.items():
        found = plan.correlation and replace(
            plan.correlation, queries=tuple(nothing for _ in plan.correlation.queries)
        )
        empty[name] = replace(plan, query=nothing, correlation=found)
    bodies = rendered(cluster, {name: opensearch_monitor(plan) for name, plan in empty.items()})
    for name, plan in empty.items():
        assert tripped(cluster, plan, search(cluster, bodies[name])) == (False, False)


FORMS: dict[str, Any] = {
    "term": lambda text: {"term": {"user.name": text}},
    "term in any case": lambda text: {"term": {"user.name": {"value": text, "case_insensitive": True}}},
    "wildcard": lambda text: {"wildcard": {"user.name": {"value": f"*{wild(text)}"}}},
    "wildcard in any case": lambda text: {
        "wildcard": {"user.name": {"value": f"{wild(text)}*", "case_insensitive": True}}
    },
    "regexp": lambda text: {"regexp": {"user.name": {"value": literal(text), "flags": "NONE"}}},
    "regexp with braces in a class": lambda text: {
        "regexp": {"user.name": {"value": f".*[{{{{]+{literal(text.lstrip('{'))}", "flags": "NONE"}}
    },
    "regexp with a counted brace": lambda text: {
        "regexp": {"user.name": {"value": r".*\{{2}[^{{]*", "flags": "NONE"}}
    },
}


def wild(text: str) -> str:
    return text.replace("\\", "\\\\").replace("*", "\\*").replace("?", "\\?")


def literal(text: str) -> str:
    return "".join(f"\\{char}" if not char.isalnum() and char.isascii() else char for char in text)


def found(cluster: Cluster, query: Query) -> set[str]:
    return {hit["_id"] for hit in search(cluster, {"query": query, "size": 100})["hits"]["hits"]}


def test_rule_text_is_never_read_as_a_template_and_still_means_the_same(cluster: Cluster) -> None:
    queries = {f"{form}: {text}": make(text) for form, make in FORMS.items() for text in HOSTILE}
    plans = {
        str(n): replace(PLAIN, query={"bool": {"filter": [each]}}) for n, each in enumerate(queries.values())
    }
    bodies = {key: opensearch_monitor(plan) for key, plan in plans.items()}
    for body in bodies.values():
        assert json.dumps(body["inputs"]).count("{{") == 2  # the moment, at both ends of its range
    answers = rendered(cluster, bodies)
    for (what, query), answer in zip(queries.items(), answers.values(), strict=True):
        wanted = found(cluster, query)
        assert found(cluster, answer["query"]["bool"]["filter"][1]) == wanted, what
        assert wanted or "braces in a class" in what, what


def test_queries_without_a_tag_are_left_as_they_are() -> None:
    for form in FORMS.values():
        query = form("plain {2}") if form is not FORMS["regexp with a counted brace"] else FAILED
        if "{{" in json.dumps(query, separators=(", ", ": ")):
            continue
        body = opensearch_monitor(replace(PLAIN, query=query))["inputs"][0]["search"]["query"]
        assert body["query"]["bool"]["filter"][1] == query


@pytest.mark.parametrize(
    "query",
    [
        {"exists": {"field": "a{{b"}},
        {"term": {"{{period_end}}": "x"}},
        {"terms": {"event.dataset": ["{{period_end}}"]}},
        {"term": {"a": "{{" + "x" * 1000}},
        {"script": {"script": {"id": "s", "params": {"field": "{{x"}}}},
    ],
)
def test_what_has_no_other_spelling_is_refused_with_the_text(query: Query) -> None:
    with pytest.raises(RenderRefused, match=r"opensearch: '.*\{\{.*' would be read as a template"):
        opensearch_monitor(replace(PLAIN, query=query))


def test_a_search_that_is_longer_than_a_template_may_be_is_refused() -> None:
    query = {"terms": {"user.name": [f"{number:010}" for number in range(5000)]}}
    with pytest.raises(RenderRefused, match=r"opensearch: its search has about [67]\d,\d{3} bytes"):
        opensearch_monitor(replace(PLAIN, query=query))


def test_a_group_field_that_is_a_template_is_refused() -> None:
    plan = replace(PLAIN, correlation=correlation("event_count", 3, (0,), ("{{period_end}}",), FAILED))
    with pytest.raises(RenderRefused, match=r"opensearch: '\{\{period_end\}\}'"):
        opensearch_monitor(plan)


def test_a_trigger_holds_nothing_of_the_rule_but_its_name() -> None:
    first, second = opensearch_monitor(PLANS["count"]), opensearch_monitor(PLANS["chain"])
    scripts = [
        [trigger["query_level_trigger"]["condition"]["script"] for trigger in body["triggers"]]
        for body in (first, second)
    ]
    assert scripts[0] == scripts[1]
    assert {script["lang"] for script in scripts[0]} == {"painless"}


def test_the_severity_of_a_trigger_is_that_of_the_rule() -> None:
    for level, severity in (("critical", "1"), ("high", "2"), ("informational", "5")):
        body = opensearch_monitor(replace(PLAIN, rule=replace(RULE, level=level)))
        assert body["triggers"][0]["query_level_trigger"]["severity"] == severity


@pytest.mark.parametrize(("interval", "minutes"), [(1, 1), (60, 1), (90, 1), (300, 5), (86_400, 1440)])
def test_a_period_is_never_rarer_than_asked_for_beyond_the_one_minute_that_there_is(
    interval: int, minutes: int
) -> None:
    plan = replace(PLAIN, interval=interval)
    assert opensearch_monitor(plan)["schedule"] == {"period": {"interval": minutes, "unit": "MINUTES"}}
    assert bool(opensearch_caveats(plan)) is (interval < 60)


def test_a_monitor_is_found_again_by_the_id_of_its_rule() -> None:
    body = opensearch_monitor(PLAIN)
    assert RULE.id in body["name"]
    ids = [trigger["query_level_trigger"]["id"] for trigger in body["triggers"]]
    assert ids == [f"{RULE.id}-found", f"{RULE.id}-blind"]
