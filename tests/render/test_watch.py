"""Watches: complete, spread over time, safe from templates, and raising the very alerts that our runner raises."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from queries.indexed import indexed
from sigmawatch.alerts.document import Alert, alert_spec, alerts_of_groups, alerts_of_hits, health_alert
from sigmawatch.cluster import Cluster, ConnectionSettings, connect
from sigmawatch.compile.plan import (
    Correlation,
    CorrelationNode,
    DetectionPlan,
    Query,
    RuleInfo,
    ValueField,
)
from sigmawatch.engine import Node
from sigmawatch.render.scripts import source
from sigmawatch.render.watch import cron, watch_body
from sigmawatch.testing.testfile import parse_moment

INDEX = "test-watch"
SCHEDULED = "2026-03-01T10:10:00Z"
EXECUTED = "2026-03-01T10:10:01.250Z"

RULE = RuleInfo(
    id="5f1f7ac2-0d0b-4a53-9a42-000000000001",
    title='Say "{{ctx.id}}" — ünïcode',
    level="high",
    severity=73,
    risk_score=80,
    version="2026-03-01",
    description="{{#toJson}}ctx{{/toJson}}",
    tags=("attack.t1110.001", "attack.credential-access"),
    references=("https://example.org/{{x}}",),
    runbook="Look.",
)
FAILED: Query = {"term": {"event.outcome": "failure"}}
PASSED: Query = {"term": {"event.outcome": "success"}}

PLAIN = DetectionPlan(RULE, (INDEX,), {"exists": {"field": "user.name"}}, 300)
COUNT = DetectionPlan(
    RULE,
    (INDEX,),
    FAILED,
    300,
    Correlation(
        CorrelationNode("event_count", 60_000, {"gte": 3}, (0,)), ("source.ip", "user.name"), (FAILED,)
    ),
)
SUM = DetectionPlan(
    RULE,
    (INDEX,),
    FAILED,
    300,
    Correlation(
        CorrelationNode("value_sum", 60_000, {"gt": 2.5}, (0,), values=(0,)),
        (),
        (FAILED,),
        (ValueField("source.bytes", numeric=True),),
    ),
)
CHAIN = DetectionPlan(
    RULE,
    (INDEX,),
    {"bool": {"should": [FAILED, PASSED], "minimum_should_match": 1}},
    60,
    Correlation(
        CorrelationNode(
            "temporal_ordered",
            120_000,
            {"gte": 2},
            (CorrelationNode("event_count", 60_000, {"gte": 3}, (0,)), 1),
        ),
        ("source.ip",),
        (FAILED, PASSED),
    ),
)
ALIASED = DetectionPlan(
    RULE,
    (INDEX,),
    {"bool": {"should": [FAILED, PASSED], "minimum_should_match": 1}},
    60,
    Correlation(
        CorrelationNode("temporal", 120_000, {"gte": 2}, (0, 1)),
        ("who", "user.name"),
        (FAILED, PASSED),
        aliased=(("source.ip", "source.ip"), ("user.name", "user.name")),
    ),
)
ON_TRIAL = replace(PLAIN, rule=replace(RULE, stage="shadow"))
COUNT_ON_TRIAL = replace(COUNT, rule=replace(RULE, stage="shadow"))
PLANS = {
    "plain": PLAIN,
    "count": COUNT,
    "sum": SUM,
    "chain": CHAIN,
    "aliased": ALIASED,
    "plain on trial": ON_TRIAL,
    "count on trial": COUNT_ON_TRIAL,
}


def events() -> list[dict[str, Any]]:
    found = []
    for number in range(5):
        for ip, user in (
            ("10.0.0.1", "anna"),
            ("2001:db8::1", "Ünal 😀 \u2028 {{x}}"),
            ("10.0.0.3", "b:3:x"),
        ):
            found.append(
                {
                    "@timestamp": f"2026-03-01T10:0{5 if ip != '10.0.0.3' else number}:{10 + number}.123Z",
                    "event": {"outcome": "failure", "category": ["authentication"], "type": "start"},
                    "source": {"ip": ip, "bytes": number * 1000 + 1},
                    "user.name": user,
                    "related": {"ip": [ip, "10.9.9.9"], "user": user},
                    "host": {"hostname": ["h1", "h2"]},
                    "process": {"pid": 7, "nested": {"deep": 1}},
                }
            )
    last = {"@timestamp": "2026-03-01T10:05:30Z", "event.outcome": "success", "source.ip": "10.0.0.1"}
    return [*found, last | {"user": {"name": "anna"}}]


@pytest.fixture(scope="module")
def cluster(each_version: Node) -> Iterator[Cluster]:
    properties = {
        "@timestamp": {"type": "date"},
        "event": {"properties": {"outcome": {"type": "keyword"}}},
        "source": {"properties": {"ip": {"type": "ip"}, "bytes": {"type": "long"}}},
        "user": {"properties": {"name": {"type": "keyword"}}},
    }
    body = {"mappings": {"dynamic": False, "properties": properties}}
    documents = {f"e{number}": event for number, event in enumerate(events())}
    with indexed(each_version.url, INDEX, body, documents) as found:
        yield found


def rendered_search(plan: DetectionPlan) -> dict[str, Any]:
    """Return the search of a watch with its template filled in, as Watcher would for SCHEDULED.

    A stand-in for mustache: it only knows the two things that our templates use. The real one renders the same
    template in `test_rule_text_is_never_read_as_a_template`.
    """
    template = watch_body(plan)["input"]["search"]["request"]["template"]
    text = template["source"].replace("{{ctx.trigger.scheduled_time}}", SCHEDULED)
    for name, value in template["params"].items():
        text = text.replace(f"{{{{#toJson}}}}{name}{{{{/toJson}}}}", json.dumps(value))
    body: dict[str, Any] = json.loads(text)
    return body


def transformed(cluster: Cluster, plan: DetectionPlan, answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Run the transform script of a watch on an answer, in an ingest pipeline, which has a `ctx` of our making."""
    script = source("watch-transform")
    assert script.count("return ['_doc': documents];") == 1
    script = script.replace("return ['_doc': documents];", "ctx.result = documents; ctx.remove('payload');")
    script = script.replace("Map spec = params.spec;", "def times = ctx.times; Map spec = params.spec;")
    script = script.replace("ctx.execution_time.", "ZonedDateTime.parse(times.executed).")
    script = script.replace("ctx.trigger.scheduled_time.", "ZonedDateTime.parse(times.scheduled).")
    params = watch_body(plan)["transform"]["script"]["params"]
    body = {
        "pipeline": {"processors": [{"script": {"lang": "painless", "source": script, "params": params}}]},
        "docs": [{"_source": {"payload": answer, "times": {"executed": EXECUTED, "scheduled": SCHEDULED}}}],
    }
    (result,) = cluster.request("POST", "/_ingest/pipeline/_simulate", body)["docs"]
    assert "doc" in result, result
    documents: list[dict[str, Any]] = result["doc"]["_source"]["result"]
    return documents


def by_runner(plan: DetectionPlan, answer: dict[str, Any]) -> list[Alert]:
    spec = alert_spec(plan, target="watcher")
    created = parse_moment(EXECUTED)
    if plan.correlation is None:
        return alerts_of_hits(spec, answer["hits"]["hits"], created=created)
    return alerts_of_groups(spec, answer["aggregations"]["groups"]["buckets"], created=created)


def as_documents(alerts: list[Alert]) -> list[dict[str, Any]]:
    return [{**alert.document, "_index": alert.index, "_id": alert.id} for alert in alerts]


@pytest.mark.parametrize("name", PLANS)
def test_the_transform_of_a_watch_raises_the_alerts_of_the_runner(cluster: Cluster, name: str) -> None:
    plan = PLANS[name]
    answer = cluster.request("POST", f"/{INDEX}/_search", rendered_search(plan))
    wanted = as_documents(by_runner(plan, answer))
    assert wanted
    assert transformed(cluster, plan, answer) == wanted
    name = "sigmawatch-shadow" if plan.rule.stage == "shadow" else "sigmawatch-alerts"
    assert {alert["_index"] for alert in wanted} == {f"{name}-default-2026.03"}


def test_groups_beyond_the_page_are_told_even_when_the_page_looks_empty(cluster: Cluster) -> None:
    body = rendered_search(COUNT)
    body["aggs"]["groups"]["composite"]["size"] = 1
    page = cluster.request("POST", f"/{INDEX}/_search", body)
    page["aggregations"]["groups"]["buckets"] = []
    assert condition_met(cluster, COUNT, page)
    (note,) = transformed(cluster, COUNT, page)
    assert note["event"]["reason"] == "more groups matched than one search returns"
    body["aggs"]["groups"]["composite"]["size"] = 3
    whole = cluster.request("POST", f"/{INDEX}/_search", body)
    assert whole["aggregations"]["groups"]["after_key"] == whole["aggregations"]["last"]["buckets"][0]["key"]
    assert all(document["event"]["kind"] == "alert" for document in transformed(cluster, COUNT, whole))


def test_what_the_search_could_not_see_becomes_a_health_note(cluster: Cluster) -> None:
    answer = cluster.request("POST", f"/{INDEX}/_search", rendered_search(COUNT))
    answer["timed_out"] = True
    answer["_shards"]["failed"] = 1
    answer["aggregations"]["groups"]["buckets"] = [
        {**bucket, "windows": {"value": {"bursts": [], "truncated": True}}}
        for bucket in answer["aggregations"]["groups"]["buckets"]
    ]
    problems = ["the search timed out", "shards failed", "a group has more events than windows are laid over"]
    spec = alert_spec(COUNT, target="watcher")
    at, created = parse_moment(SCHEDULED), parse_moment(EXECUTED)
    wanted = as_documents([health_alert(spec, problem, at=at, created=created) for problem in problems])
    assert transformed(cluster, COUNT, answer) == wanted


def condition_met(cluster: Cluster, plan: DetectionPlan, answer: dict[str, Any]) -> bool:
    script = source("watch-condition").replace("ctx.payload", "params.payload")
    params = watch_body(plan)["condition"]["script"]["params"] | {"payload": answer}
    answer = cluster.request(
        "POST", "/_scripts/painless/_execute", {"script": {"source": script, "params": params}}
    )
    return bool(answer["result"] == "true")


@pytest.mark.parametrize("name", PLANS)
def test_the_condition_trips_on_findings_and_on_blindness_only(cluster: Cluster, name: str) -> None:
    plan = PLANS[name]
    answer = cluster.request("POST", f"/{INDEX}/_search", rendered_search(plan))
    assert condition_met(cluster, plan, answer)
    if plan.correlation is None:
        answer["hits"]["hits"] = []
    else:
        answer["aggregations"]["groups"]["buckets"] = []
    assert not condition_met(cluster, plan, answer)
    assert condition_met(cluster, plan, answer | {"timed_out": True})
    assert condition_met(cluster, plan, answer | {"_shards": {"total": 2, "successful": 1, "failed": 1}})


@pytest.mark.parametrize("name", PLANS)
def test_rule_text_is_never_read_as_a_template(opensearch: Node, name: str) -> None:
    hostile: Query = {"wildcard": {"f{{ctx.id}}": {"value": '*{{#toJson}}ctx{{/toJson}}"}}\\n*'}}}
    plan = DetectionPlan(RULE, (INDEX,), hostile, 60, PLANS[name].correlation)
    template = watch_body(plan)["input"]["search"]["request"]["template"]
    context = {"ctx": {"id": "EVIL", "trigger": {"scheduled_time": SCHEDULED}}}
    body = {"source": template["source"], "params": template["params"] | context}
    with connect(ConnectionSettings(opensearch.url)) as client:
        output = client.request("POST", "/_render/template", body)["template_output"]
    assert output == rendered_search(plan)
    assert "EVIL" not in json.dumps(output)


@pytest.mark.parametrize("name", ["watch-condition", "watch-transform"])
def test_scripts_of_watches_need_nothing_but_the_painless_that_every_context_has(
    cluster: Cluster, name: str
) -> None:
    """Ingest scripts may call more than scripts of watches may; filter scripts have no extras on either engine."""
    answer = {"_shards": {"failed": 0}, "timed_out": False, "hits": {"hits": []}}
    body = watch_body(PLAIN)["condition" if name == "watch-condition" else "transform"]["script"]
    script = (
        source(name)
        .replace("ctx.", "params.")
        .replace("return ['_doc': documents];", "return documents.isEmpty();")
    )
    script = script.replace("params.execution_time.", "ZonedDateTime.parse(params.executed).")
    script = script.replace("params.trigger.scheduled_time.", "ZonedDateTime.parse(params.executed).")
    params = body["params"] | {"payload": answer, "executed": EXECUTED}
    request = {
        "script": {"source": script, "params": params},
        "context": "filter",
        "context_setup": {"index": INDEX, "document": {}},
    }
    result = cluster.request("POST", "/_scripts/painless/_execute", request)
    assert result == {"result": name == "watch-transform"}


def test_a_script_of_a_watch_holds_nothing_of_the_rule() -> None:
    first, second = watch_body(PLAIN), watch_body(COUNT)
    for part in ("condition", "transform"):
        assert first[part]["script"]["id"] == second[part]["script"]["id"]
        assert "source" not in first[part]["script"]


def test_alerts_are_created_once_and_never_throttled() -> None:
    body = watch_body(PLAIN)
    assert body["actions"] == {"alerts": {"index": {"op_type": "create"}}}
    assert body["throttle_period"] == "0s"


def test_schedules_are_spread_over_the_interval_by_the_rule() -> None:
    schedules = {cron(f"rule-{number}", 300) for number in range(1000)}
    assert len(schedules) > 250
    minutes = {schedule.split()[1] for schedule in schedules}
    assert minutes == {f"{start}/5" for start in range(5)}
    assert cron("rule", 300) == cron("rule", 300)


@pytest.mark.parametrize(
    ("interval", "step"),
    [
        (1, "/1"),
        (60, "/1"),
        (90, "/1"),
        (300, "/5"),
        (420, "/6"),
        (3600, "/1"),
        (18_000, "/4"),
        (900_000, "/24"),
    ],
)
def test_a_schedule_is_regular_and_never_rarer_than_asked_for(interval: int, step: str) -> None:
    second, minute, hour, *rest = cron("rule", interval).split()
    assert rest == ["*", "*", "?"]
    assert int(second) < 60
    assert (minute if interval < 3600 else hour).endswith(step)
