"""The window script on real engines against the reference evaluator, over streams made to hit window edges."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import orjson
import pytest

from queries.indexed import indexed
from render.reference import Event, bursts
from sigmawatch.alerts.document import alert_spec, iso_time
from sigmawatch.cluster import Cluster
from sigmawatch.compile.plan import Correlation, CorrelationNode, DetectionPlan, Query, RuleInfo, ValueField
from sigmawatch.engine import Node
from sigmawatch.render.search import Moments
from sigmawatch.run.evaluate import Job, evaluate

START = 1_772_359_200_000
SPAN = 10_000
INDEX = "test-windows"
STREAMS = 150

QUERIES: tuple[Query, ...] = ({"term": {"kind": "a"}}, {"term": {"kind": "b"}}, {"term": {"kind": "c"}})
SIZE = ValueField("size", numeric=True)
PORT = ValueField("port", numeric=False)


def node(
    kind: str, condition: dict[str, float], *inputs: int | CorrelationNode, **more: Any
) -> CorrelationNode:
    return CorrelationNode(kind, more.pop("span", SPAN), condition, inputs, **more)


SIZE_AS_TEXT = ValueField("size", numeric=False)
AND_NOT = {"and": [{"input": 0}, {"not": {"input": 2}}, {"input": 1}]}
NESTED = {"or": [{"and": [{"input": 0}, {"input": 2}]}, {"not": {"or": [{"input": 0}, {"input": 1}]}}]}

CORRELATIONS = {
    "event_count": (node("event_count", {"gte": 4}, 0), ()),
    "event_count gt": (node("event_count", {"gt": 4}, 0), ()),
    "event_count of two rules": (node("event_count", {"gte": 6}, 0, 1), ()),
    "value_count": (node("value_count", {"gte": 3}, 0, values=(0,)), (PORT,)),
    "value_count of two rules": (node("value_count", {"gt": 3}, 0, 2, values=(0,)), (PORT,)),
    "value_sum": (node("value_sum", {"gt": 40}, 0, values=(0,)), (SIZE,)),
    "value_avg": (node("value_avg", {"gte": 13}, 0, values=(0,)), (SIZE,)),
    "event_count lt": (node("event_count", {"lt": 3}, 0), ()),
    "event_count eq": (node("event_count", {"eq": 3}, 0), ()),
    "event_count neq": (node("event_count", {"neq": 1}, 0), ()),
    "event_count between": (node("event_count", {"gte": 2, "lt": 4}, 0), ()),
    "value_count lte": (node("value_count", {"lte": 2}, 0, values=(0,)), (PORT,)),
    "value_count of two fields": (node("value_count", {"gte": 5}, 0, values=(0, 1)), (PORT, SIZE_AS_TEXT)),
    "value_sum of a fraction": (node("value_sum", {"gt": 35.5, "lte": 60}, 0, values=(0,)), (SIZE,)),
    "value_avg lt": (node("value_avg", {"lt": 4.5}, 0, values=(0,)), (SIZE,)),
    "value_median": (node("value_median", {"gt": 9.5}, 0, values=(0,)), (SIZE,)),
    "value_median lte": (node("value_median", {"lte": 2}, 0, values=(0,)), (SIZE,)),
    "value_percentile 90": (node("value_percentile", {"gte": 17}, 0, values=(0,), percentile=90), (SIZE,)),
    "value_percentile 0": (node("value_percentile", {"gt": 4}, 0, values=(0,), percentile=0), (SIZE,)),
    "value_percentile 100": (node("value_percentile", {"eq": 10}, 0, values=(0,), percentile=100), (SIZE,)),
    "extended and not": (node("temporal", {}, 0, 1, 2, expression=AND_NOT), ()),
    "extended or": (node("temporal", {}, 0, 1, 2, expression=NESTED), ()),
    "temporal": (node("temporal", {"gte": 3}, 0, 1, 2), ()),
    "temporal, two of three": (node("temporal", {"gte": 2}, 0, 1, 2), ()),
    "temporal_ordered": (node("temporal_ordered", {"gte": 3}, 0, 1, 2), ()),
    "temporal_ordered, twice the same rule": (node("temporal_ordered", {"gte": 2}, 1, 1), ()),
    "chain": (node("temporal_ordered", {"gte": 2}, node("event_count", {"gte": 3}, 0), 1), ()),
    "chain with a short inner window": (
        node("temporal_ordered", {"gte": 2}, node("event_count", {"gte": 2}, 0, span=2000), 1),
        (),
    ),
    "chain whose inner groups are finer": (
        node("temporal_ordered", {"gte": 2}, node("event_count", {"gte": 2}, 0, by=(0,)), 1),
        (PORT,),
    ),
    "chain of chains": (
        node(
            "event_count",
            {"gte": 2},
            node("temporal", {"gte": 2}, node("value_count", {"gte": 2}, 0, values=(0,)), 2),
        ),
        (PORT,),
    ),
}


@cache
def streams() -> dict[str, list[dict[str, Any]]]:
    """Return events of many groups, dense around multiples of half a window and often at the same instant."""
    dice = random.Random(4711)
    found: dict[str, list[dict[str, Any]]] = {}
    for number in range(STREAMS):
        events = []
        for _ in range(dice.randint(0, 25)):
            edge = dice.randint(0, 8) * SPAN // 2
            offset = dice.choice([0, 0, 1, -1, 500, -500, dice.randint(-4000, 4000)])
            event: dict[str, Any] = {"time": START + edge + offset, "kind": dice.choice("aaabbc")}
            if dice.random() < 0.9:
                event["size"] = dice.choice([1, 5, 10, 20, [5, 10]])
            if dice.random() < 0.9:
                event["port"] = dice.choice(["1", "2", "3", "4", ["1", "5"]])
            events.append(event)
        found[f"g{number}"] = events
    return found


def as_event(event: dict[str, Any], values: tuple[ValueField, ...]) -> Event:
    kinds = {"a": 0, "b": 1, "c": 2}
    collected = []
    for field in values:
        value = event.get(field.field, [])
        collected.append(tuple(value) if isinstance(value, list) else (value,))
    return Event(event["time"], frozenset({kinds[event["kind"]]}), tuple(collected))


@pytest.fixture(scope="module")
def cluster(each_version: Node) -> Iterator[Cluster]:
    properties = {
        "@timestamp": {"type": "date"},
        "stream": {"type": "keyword"},
        "kind": {"type": "keyword"},
        "size": {"type": "long"},
        "port": {"type": "keyword"},
    }
    body = {"settings": {"number_of_shards": 3}, "mappings": {"properties": properties}}
    documents = {
        f"{group}-{number}": {**event, "@timestamp": event["time"], "stream": group}
        for group, events in streams().items()
        for number, event in enumerate(events)
    }
    for document in documents.values():
        del document["time"]
    with indexed(each_version.url, INDEX, body, documents) as found:
        yield found


def plan_of(
    root: CorrelationNode, values: tuple[ValueField, ...], group_by: tuple[str, ...]
) -> DetectionPlan:
    used = 1 + max(item for each in root.nodes() for item in each.inputs if isinstance(item, int))
    queries = QUERIES[:used]
    query: Query = {"bool": {"should": list(queries), "minimum_should_match": 1}}
    correlation = Correlation(root, group_by, queries, values)
    return DetectionPlan(RuleInfo("rule", "Rule"), (INDEX,), query, 60, correlation)


def found_by_engine(cluster: Cluster, plan: DetectionPlan, moments: Moments) -> set[tuple[Any, ...]]:
    (outcome,) = evaluate(cluster, [Job(plan, alert_spec(plan, target="runner"), moments)], created=0)
    assert outcome.problems == []
    return {
        (
            alert.document.get("stream"),
            alert.document["@timestamp"],
            alert.document["event"]["end"],
            alert.document["sigmawatch"]["correlation"]["value"],
        )
        for alert in outcome.alerts
    }


def expected(plan: DetectionPlan, group: str | None, events: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    assert plan.correlation is not None
    stream = [as_event(event, plan.correlation.values) for event in events]
    return {
        (group, iso_time(time), iso_time(end), value)
        for time, _, end, value in bursts(plan.correlation, stream)
    }


@pytest.mark.parametrize("name", CORRELATIONS)
def test_the_engine_finds_the_bursts_of_every_group_and_no_others(cluster: Cluster, name: str) -> None:
    root, values = CORRELATIONS[name]
    plan = plan_of(root, values, ("stream",))
    wanted: set[tuple[Any, ...]] = set()
    for group, events in streams().items():
        wanted |= expected(plan, group, events)
    found = found_by_engine(cluster, plan, Moments(START + 100 * SPAN, 200 * SPAN, 0))
    assert found == wanted
    assert len(wanted) >= 5, "the streams must make this correlation fire, or the test says nothing"


def test_a_correlation_without_groups_looks_at_all_events_as_one(cluster: Cluster) -> None:
    plan = plan_of(node("event_count", {"gte": 60}, 0, span=2000), (), ())
    everything = [event for events in streams().values() for event in events]
    wanted = expected(plan, None, everything)
    assert wanted
    assert found_by_engine(cluster, plan, Moments(START + 100 * SPAN, 200 * SPAN, 0)) == wanted


@pytest.mark.parametrize("name", ["event_count", "temporal_ordered", "chain"])
@pytest.mark.parametrize("step", [1300, 7000, 25_000])
def test_looking_in_steps_of_any_length_finds_what_one_look_finds(
    cluster: Cluster, name: str, step: int
) -> None:
    root, values = CORRELATIONS[name]
    plan = plan_of(root, values, ("stream",))
    assert plan.correlation is not None
    lookback = plan.correlation.lookback()
    whole = found_by_engine(cluster, plan, Moments(START + 100 * SPAN, 200 * SPAN, 0))
    begun: set[tuple[Any, ...]] = set()
    for to in range(START - SPAN, START + 6 * SPAN + step, step):
        begun |= {alert[:2] for alert in found_by_engine(cluster, plan, Moments(to, step, lookback))}
    assert begun == {alert[:2] for alert in whole}


def test_rules_that_keep_the_group_in_different_fields_are_grouped_by_alias(cluster: Cluster) -> None:
    """Rule a is grouped by `port`, rule c by `size` as text: values of both are taken for the same thing."""
    root = node("temporal", {"gte": 2}, 0, 1)
    queries: tuple[Query, ...] = (QUERIES[0], QUERIES[2])
    query: Query = {"bool": {"should": list(queries), "minimum_should_match": 1}}
    correlation = Correlation(root, ("who",), queries, (), (("port", "size"),))
    plan = DetectionPlan(RuleInfo("rule", "Rule"), (INDEX,), query, 60, correlation)

    groups: dict[str, list[Event]] = {}
    for event in [event for events in streams().values() for event in events]:
        rule, name = {"a": (0, "port"), "c": (1, "size")}.get(event["kind"], (None, ""))
        values = event.get(name, [])
        for value in values if isinstance(values, list) else [values]:
            if rule is not None:
                groups.setdefault(str(value), []).append(Event(event["time"], frozenset({rule}), ()))
    wanted = {
        (key, iso_time(time), iso_time(end), value)
        for key, events in groups.items()
        for time, _, end, value in bursts(correlation, sorted(events, key=lambda one: one.time))
    }
    assert wanted

    (outcome,) = evaluate(
        cluster,
        [Job(plan, alert_spec(plan, target="runner"), Moments(START + 100 * SPAN, 200 * SPAN, 0))],
        created=0,
    )
    assert outcome.problems == []
    found = {
        (
            str(alert.document["who"]),
            alert.document["@timestamp"],
            alert.document["event"]["end"],
            alert.document["sigmawatch"]["correlation"]["value"],
        )
        for alert in outcome.alerts
    }
    assert found == wanted


def test_events_with_several_addresses_in_a_field_are_counted_as_any_others(cluster: Cluster) -> None:
    """OpenSearch 3.7 cannot read these in scripts; one such event would hide all others from every correlation."""
    index = "test-windows-addresses"
    dice = random.Random(11)
    properties = {"@timestamp": {"type": "date"}, "net.ip": {"type": "ip"}, "stream": {"type": "keyword"}}
    cluster.request("PUT", f"/{index}", {"mappings": {"properties": properties}})
    addresses: dict[str, set[str]] = {}
    lines = []
    for number in range(400):
        group = f"g{number % 4}"
        several = [f"10.{dice.randrange(9)}.{dice.randrange(9)}.1" for _ in range(dice.choice([1, 1, 2, 5]))]
        addresses.setdefault(group, set()).update(several)
        document = {"@timestamp": START + number, "stream": group, "net": {"ip": several}}
        lines += [orjson.dumps({"index": {}}), orjson.dumps(document)]
    cluster.request("POST", f"/{index}/_bulk", b"\n".join(lines) + b"\n", params={"refresh": "true"})
    root = node("value_count", {"gte": 3}, 0, values=(0,))
    query: Query = {"match_all": {}}
    correlation = Correlation(root, ("stream",), (query,), (ValueField("net.ip", numeric=False),))
    plan = DetectionPlan(RuleInfo("rule", "Rule"), (index,), query, 60, correlation)
    try:
        found = found_by_engine(cluster, plan, Moments(START + 100 * SPAN, 200 * SPAN, 0))
    finally:
        cluster.request("DELETE", f"/{index}")
    assert {alert[0] for alert in found} == set(addresses)
    # The burst goes on to the end, so the last window of each group has seen every address.
    assert {(group, len(those)) for group, those in addresses.items()} == {
        (alert[0], alert[3]) for alert in found
    }
