"""Events that arrive long after they happened: how far back correlations have to look because of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigmawatch.run.msearch import Search, failure_of, msearch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmawatch.cluster import Cluster
    from sigmawatch.compile.plan import DetectionPlan

__all__ = ["LATEST", "Arrivals", "oldest_arrivals"]

LATEST = 24 * 3_600_000
"""Events that arrive later than this, in milliseconds, are found by plain rules but not by correlations."""


@dataclass(frozen=True)
class Arrivals:
    """The question for a plan: which of its events that came lately are older than it looks back anyway."""

    plan: DetectionPlan
    to: int
    """The moment of evaluation, in epoch milliseconds."""
    since: int
    """Events count as late comers if they arrived after this."""
    seen: int
    """Events after this are looked at anyway."""


def oldest_arrivals(cluster: Cluster, questions: Sequence[Arrivals]) -> list[int | str | None]:
    """Return for each question the earliest `@timestamp` of such events, in epoch milliseconds.

    None where there is none, a text where the search failed. Raises ClusterError when the cluster does not
    answer.
    """
    searches = [Search(one.plan.indices, _body(one)) for one in questions]
    found: list[int | str | None] = []
    for answer in msearch(cluster, searches):
        value = ((answer.get("aggregations") or {}).get("oldest") or {}).get("value")
        found.append(failure_of(answer) or (None if value is None else int(value)))
    return found


def _body(question: Arrivals) -> dict[str, Any]:
    arrival = {"gt": question.since, "lte": question.to, "format": "epoch_millis"}
    age = {"gt": question.since - LATEST, "lte": question.seen, "format": "epoch_millis"}
    filters = [{"range": {"event.ingested": arrival}}, {"range": {"@timestamp": age}}, question.plan.query]
    return {
        "size": 0,
        "track_total_hits": False,
        "query": {"bool": {"filter": filters}},
        "aggs": {"oldest": {"min": {"field": "@timestamp"}}},
    }
