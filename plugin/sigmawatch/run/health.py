"""Whether detections work, by what they left in the cluster lately."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sigmawatch.alerts.document import ALERTS, HEALTH
from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.deploy.kinds.detection import DETECTIONS_INDEX
from sigmawatch.run.checkpoints import CHECKPOINTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmawatch.cluster import Cluster

__all__ = ["HOURS", "Health", "read_health"]

HOURS = 24
"""Alerts and notes of these last hours are counted."""

_MOST_RULES = 50


@dataclass(frozen=True)
class Health:
    """What of them there is to be seen. None: we are not allowed to look."""

    alerts: int | None
    """Alerts of the last hours."""
    notes: Mapping[str, int] | None
    """Notes about what kept detections from seeing everything: how many for each rule."""
    detections: int
    """Detections that our own runner is to evaluate."""
    never_evaluated: int
    """Those that no runner has looked at yet."""
    seconds_behind: float | None
    """How long ago the oldest of the others was evaluated; None where there is none."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON."""
        return {
            "hours": HOURS,
            "alerts": self.alerts,
            "notes": None if self.notes is None else dict(self.notes),
            "detections": self.detections,
            "never_evaluated": self.never_evaluated,
            "seconds_behind": self.seconds_behind,
        }


def read_health(cluster: Cluster) -> Health:
    """Return how the detections of a cluster do. Raises ClusterError."""
    since = {"range": {"@timestamp": {"gte": f"now-{HOURS}h"}}}
    rules = {"rules": {"terms": {"field": "rule.name", "size": _MOST_RULES, "missing": "all detections"}}}
    alerts = _search(cluster, f"{ALERTS}-*", {"size": 0, "query": since, "track_total_hits": True})
    notes = _search(cluster, f"{HEALTH}-*", {"size": 0, "query": since, "aggs": rules})
    detections = [hit["_id"] for hit in cluster.scan(DETECTIONS_INDEX, source=False, size=5_000)]
    evaluated: dict[str, int] = {}
    if detections:
        for hit in cluster.scan(CHECKPOINTS, size=5_000):
            if isinstance(moment := hit["_source"].get("evaluated"), int):
                evaluated[hit["_id"]] = moment
    moments = [evaluated[each] for each in detections if each in evaluated]
    now = datetime.now(UTC).timestamp()
    return Health(
        alerts=None if alerts is None else int(alerts["hits"]["total"]["value"]),
        notes=None if notes is None else _counts(notes),
        detections=len(detections),
        never_evaluated=len(detections) - len(moments),
        seconds_behind=max(0.0, now - min(moments) / 1000) if moments else None,
    )


def _counts(answer: Mapping[str, Any]) -> dict[str, int]:
    buckets = ((answer.get("aggregations") or {}).get("rules") or {}).get("buckets") or ()
    return {one["key"]: one["doc_count"] for one in buckets}


def _search(cluster: Cluster, index: str, body: Mapping[str, Any]) -> Any:
    params = {"ignore_unavailable": "true", "allow_no_indices": "true"}
    try:
        return cluster.request("POST", f"{url_path(index)}/_search", body, params=params)
    except ResponseError as error:
        if error.status == 403:  # who may deploy need not be allowed to read alerts
            return None
        raise
