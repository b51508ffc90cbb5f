"""What a set of detections costs a cluster: how many searches a minute, and whether whoever starts them keeps up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigmawatch.cluster import ResponseError
from sigmawatch.render.target import Target
from sigmawatch.render.watch import starts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sigmawatch.cluster import Cluster
    from sigmawatch.compile.plan import DetectionPlan

__all__ = ["Cost", "cost_of"]

MONITORS = 1000
"""What the alerting plugin takes (`plugins.alerting.monitor.max_monitors`) unless its settings say otherwise."""

TEMPLATES = 100
"""Compiled templates that OpenSearch keeps (`script.context.template.cache_max_size`)."""

_SHORTEST = {Target.WATCHER: 60, Target.KIBANA: 60, Target.OPENSEARCH: 60}
"""Seconds; none of these evaluates anything more often."""


@dataclass(frozen=True)
class Cost:
    """What detections cost."""

    detections: int
    searches: float
    """A minute, first pages only: a search that finds more than a page asks again."""
    at_once: int | None = None
    """How many watches start in the same second at most, over an hour; None where nothing is said about that."""
    threads: int | None = None
    """Threads of Watcher's pools in all data nodes; None where the cluster does not tell."""
    queue: int | None = None
    """How many more may wait there."""
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON."""
        return {
            "detections": self.detections,
            "searches_per_minute": round(self.searches, 3),
            "starting_at_once": self.at_once,
            "watcher_threads": self.threads,
            "watcher_queue": self.queue,
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        """Return it in a line."""
        noun = "detection" if self.detections == 1 else "detections"
        told = [f"{self.detections:,} {noun}, {self.searches:,.1f} searches a minute"]
        if self.at_once is not None:
            told.append(f"at most {self.at_once} start in the same second")
        if self.threads is not None:
            told.append(f"Watcher has {self.threads} threads, and {self.queue} may wait")
        return ", ".join(told)


def cost_of(cluster: Cluster, plans: Iterable[DetectionPlan], target: Target) -> Cost:
    """Return what plans cost that a target executes. Raises ClusterError when the cluster does not answer."""
    deployed = [plan for plan in plans if plan.rule.stage != "test"]
    shortest = _SHORTEST.get(target, 1)
    searches = sum(60 / max(shortest, plan.interval) for plan in deployed)
    number = len(deployed)
    if target is Target.WATCHER:
        at_once = _together(deployed)
        threads, queue = _watcher_pool(cluster)
        warnings = []
        if threads is not None and queue is not None and at_once > threads + queue:
            warnings.append(
                f"{at_once} watches start in one second, and Watcher takes {threads + queue}: "
                "the windows of the others are lost"
            )
        return Cost(number, searches, at_once, threads, queue, tuple(warnings))
    warnings = []
    if target is Target.OPENSEARCH and number > MONITORS:
        warnings.append(
            f"the alerting plugin takes {MONITORS:,} monitors; raise plugins.alerting.monitor.max_monitors"
        )
    if target is Target.OPENSEARCH and number > TEMPLATES:
        warnings.append(
            f"OpenSearch keeps {TEMPLATES} compiled templates, and each monitor is one: raise "
            "script.context.template.cache_max_size and .max_compilations_rate"
        )
    return Cost(number, searches, warnings=tuple(warnings))


def _together(plans: Iterable[DetectionPlan]) -> int:
    """Return how many watches start in the fullest second of a day."""
    busy: Counter[int] = Counter()
    for plan in plans:
        phase, step = starts(plan.rule.id, plan.interval)
        # Steps divide the hour or are whole hours, so the fullest second of an hour is the fullest of all, at most.
        busy.update(range(phase % 3600, 3600, step) if step < 3600 else [phase % 3600])
    return max(busy.values(), default=0)


def _watcher_pool(cluster: Cluster) -> tuple[int | None, int | None]:
    """Return threads and places in the queue of Watcher's pools; watches run where data is."""
    params = {"filter_path": "nodes.*.roles,nodes.*.thread_pool.watcher"}
    try:
        nodes = (cluster.request("GET", "/_nodes/thread_pool", params=params) or {}).get("nodes") or {}
    except ResponseError:
        return None, None
    pools = [
        node["thread_pool"]["watcher"]
        for node in nodes.values()
        if "watcher" in (node.get("thread_pool") or {}) and _holds_data(node)
    ]
    if not pools:
        return None, None
    return sum(_size(pool) for pool in pools), sum(int(pool.get("queue_size", 0)) for pool in pools)


def _holds_data(node: dict[str, Any]) -> bool:
    return any(role.startswith("data") for role in node.get("roles", ["data"]))


def _size(pool: dict[str, Any]) -> int:
    return int(pool.get("size") or pool.get("max") or 0)
