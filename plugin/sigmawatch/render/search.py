"""The searches that execute a detection plan over a range of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigmawatch.render.scripts import script

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.compile.plan import Correlation, DetectionPlan, Query

__all__ = [
    "EVENT_PAGE",
    "GROUP_PAGE",
    "Moments",
    "candidate_search",
    "event_search",
    "group_filter",
    "window_search",
    "with_last_group",
]

EVENT_PAGE = 1000
"""Events a page of a plain rule's search."""

GROUP_PAGE = 1000
"""Groups a page of a correlation's search."""

SAMPLE_EVENTS = 5
"""Events that an alert of a correlation names."""

EVENTS_PER_GROUP = 100_000
"""Events of one group and shard that windows are laid over; beyond it the result is marked as truncated.
Painless allows a million loop iterations, and each event takes a few."""

GROUPS = "groups"
WINDOWS = "windows"
SAMPLE = "sample"


@dataclass(frozen=True)
class Moments:
    """The moment of evaluation, and how far it looks back. All in milliseconds, `to` since the epoch."""

    to: int | str
    """Events up to and including this moment; a template variable where the executor fills it in."""
    report: int
    """Alerts are raised for what began less than this long before `to`."""
    lookback: int
    """Events this much older than that still decide about it."""
    format: str = ""
    """Of the date that a template variable becomes, where not every mapping understands it."""

    def range(self, start: int) -> Query:
        """Return the range over `@timestamp` that ends at `to` and begins `start` before it, exclusively."""
        if isinstance(self.to, int):
            bounds: dict[str, Any] = {"gt": self.to - start, "lte": self.to, "format": "epoch_millis"}
        else:
            # A template prints whole minutes without seconds, which `gt` would round up; seconds are the
            # smallest unit of date math.
            joint = "" if self.to == "now" else "||"
            bounds = {"gte": f"{self.to}{joint}-{-(-start // 1000)}s", "lte": self.to}
            if self.format:
                bounds["format"] = self.format
        return {"range": {"@timestamp": bounds}}


def _when(moments: Moments, ingested: int | None) -> Query:
    """Return the time filter of a plain rule: by event time, or by arrival for events that come late."""
    by_event = moments.range(moments.report)
    if ingested is None:
        return by_event
    assert isinstance(moments.to, int)
    by_arrival = {"gt": moments.to - ingested, "lte": moments.to, "format": "epoch_millis"}
    late: Query = {"range": {"event.ingested": by_arrival}}
    return {"bool": {"should": [by_event, late], "minimum_should_match": 1}}


def event_search(
    plan: DetectionPlan,
    moments: Moments,
    *,
    ingested: int | None = None,
    filters: Sequence[Query] = (),
    after: Sequence[Any] | None = None,
    size: int = EVENT_PAGE,
) -> dict[str, Any]:
    """Return the search for the events of a plain rule, oldest first.

    `ingested` also finds events that arrived in that many milliseconds before the moment, however old.
    """
    body: dict[str, Any] = {
        "size": size,
        "track_total_hits": False,
        "query": {"bool": {"filter": [_when(moments, ingested), *filters, plan.query]}},
        # Milliseconds, also for date_nanos: `format` would say so too, but OpenSearch does not know it here.
        "sort": [{"@timestamp": {"order": "asc", "numeric_type": "date"}}, "_doc"],
    }
    if after is not None:
        body["search_after"] = list(after)
    return body


def _scope(plan: DetectionPlan, correlation: Correlation, time: Query, filters: Sequence[Query]) -> Query:
    if len(correlation.queries) == 1:
        return {"bool": {"filter": [time, *filters, plan.query]}}
    # Each base query adds its own power of two to the score, which tells the window script who matched.
    scored = [
        {"constant_score": {"filter": query, "boost": float(1 << bit)}}
        for bit, query in enumerate(correlation.queries)
    ]
    return {"bool": {"filter": [time, *filters], "should": scored, "minimum_should_match": 1}}


def _grouped(
    correlation: Correlation, aggregations: dict[str, Any], after: Mapping[str, Any] | None, size: int
) -> dict[str, Any]:
    if not correlation.group_by or correlation.aliased:
        everything: dict[str, Any] = {"filters": {"filters": [{"match_all": {}}]}}
        return {GROUPS: everything | {"aggs": aggregations}}
    sources = [{f"g{index}": {"terms": {"field": name}}} for index, name in enumerate(correlation.group_by)]
    composite: dict[str, Any] = {"size": size, "sources": sources}
    if after is not None:
        composite["after"] = dict(after)
    return {GROUPS: {"composite": composite, "aggs": aggregations}}


def _selector(correlation: Correlation) -> dict[str, Any]:
    """Return the aggregations that drop groups which cannot fire."""
    aggregations: dict[str, Any] = {}
    paths = {"c0": "_count"}
    if len(correlation.queries) > 1:
        for index, query in enumerate(correlation.queries):
            aggregations[f"c{index}"] = {"filter": query}
            paths[f"c{index}"] = f"c{index}>_count"
    for index, value in enumerate(correlation.values):
        if value.numeric:
            aggregations[f"v{index}"] = {"stats": {"field": value.field}}
            paths |= {
                f"s{index}": f"v{index}.sum",
                f"n{index}": f"v{index}.min",
                f"x{index}": f"v{index}.max",
            }
        else:
            cardinality = {"field": value.field, "precision_threshold": 3000}
            aggregations[f"v{index}"] = {"cardinality": cardinality}
            paths[f"d{index}"] = f"v{index}"
    selector = {"buckets_path": paths, "script": script("candidate", {"root": correlation.root.to_dict()})}
    return aggregations | {"candidate": {"bucket_selector": selector}}


def candidate_search(
    plan: DetectionPlan,
    moments: Moments,
    *,
    filters: Sequence[Query] = (),
    after: Mapping[str, Any] | None = None,
    size: int = GROUP_PAGE,
) -> dict[str, Any]:
    """Return the cheap search for the groups of a correlation that could fire: all of those that do, and
    some more. A page may be empty and still have a successor.
    """
    correlation = _require(plan)
    time = moments.range(moments.report + moments.lookback)
    return {
        "size": 0,
        "track_total_hits": False,
        "query": _scope(plan, correlation, time, filters),
        "aggs": _grouped(correlation, _selector(correlation), after, size),
    }


def group_filter(correlation: Correlation, keys: Sequence[Mapping[str, Any]]) -> list[Query]:
    """Return filters that keep the events of these groups; of some others too where there are several fields."""
    return [
        {"terms": {name: sorted({key[f"g{index}"] for key in keys}, key=str)}}
        for index, name in enumerate(correlation.group_by)
    ]


def window_search(
    plan: DetectionPlan,
    moments: Moments,
    *,
    filters: Sequence[Query] = (),
    after: Mapping[str, Any] | None = None,
    size: int = GROUP_PAGE,
) -> dict[str, Any]:
    """Return the exact search: for each group the bursts that its sliding windows find, and some of its events."""
    correlation = _require(plan)
    time = moments.range(moments.report + moments.lookback)
    metric = {
        "init_script": script("window-init"),
        "map_script": script(
            "window-map",
            {
                "scored": len(correlation.queries) > 1,
                "fields": [value.field for value in correlation.values],
                "aliased": [list(fields) for fields in correlation.aliased],
                "limit": EVENTS_PER_GROUP,
            },
        ),
        "combine_script": script("window-combine"),
        "reduce_script": script(
            "window-reduce",
            {
                "root": correlation.root.to_dict(),
                "to": moments.to,
                "span": moments.report,
                "aliased": bool(correlation.aliased),
            },
        ),
    }
    sample = {
        "size": SAMPLE_EVENTS,
        "sort": [{"@timestamp": "desc"}],
        "_source": ["event.category", "event.type"],
    }
    windows: dict[str, Any] = {WINDOWS: {"scripted_metric": metric}}
    if not correlation.aliased:
        # With aliases the one bucket holds all groups: what is in it says nothing of one of them.
        windows |= _selector(correlation) | {SAMPLE: {"top_hits": sample}}
    return {
        "size": 0,
        "track_total_hits": False,
        "query": _scope(plan, correlation, time, filters),
        "aggs": _grouped(correlation, windows, after, size),
    }


def with_last_group(body: dict[str, Any]) -> dict[str, Any]:
    """Return a search of groups that also tells which group is the last of all.

    For executors that look at one page only: it holds all groups if it ends with that one. How many are on it says
    nothing, since the selector drops groups after the page was cut. Cheap: only the one group is built.
    """
    composite = body["aggs"][GROUPS].get("composite")
    if composite is None:
        return body
    backwards = [
        {name: {"terms": {**each["terms"], "order": "desc"}} for name, each in one.items()}
        for one in composite["sources"]
    ]
    last = {"composite": {"size": 1, "sources": backwards}}
    return body | {"aggs": body["aggs"] | {"last": last}}


def _require(plan: DetectionPlan) -> Correlation:
    if plan.correlation is None:
        raise ValueError(f"{plan.rule.id} is no correlation")
    return plan.correlation
