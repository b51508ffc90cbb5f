"""Whether the searches of detections run at all, before any of them is due."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sigmawatch.compile.plan import DetectionPlan
from sigmawatch.deploy.kind import Trial
from sigmawatch.render.search import Moments, candidate_search, event_search, window_search
from sigmawatch.run.evaluate import BATCH
from sigmawatch.run.msearch import Search, failure_of, is_busy, msearch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.cluster import Cluster

__all__ = ["failing_searches"]

SPAN = 60_000
"""Milliseconds that are searched: whether a search runs does not depend on how much it finds."""


def failing_searches(cluster: Cluster, bodies: Sequence[Mapping[str, Any]]) -> dict[str, Trial]:
    """Return by rule id which deployed detections cannot be evaluated, and why. Raises ClusterError."""
    problems: dict[str, Trial] = {}
    searches: list[tuple[str, Search]] = []
    end = int(time.time() * 1000)
    for body in bodies:
        try:
            plan = DetectionPlan.from_dict(body)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            problems[str((body.get("rule") or {}).get("id", ""))] = Trial(f"cannot be read: {error!r}")
            continue
        searches += [(plan.rule.id, Search(plan.indices, one)) for one in _searches(plan, end)]
    for start in range(0, len(searches), BATCH):
        batch = searches[start : start + BATCH]
        for (rule_id, _), answer in zip(batch, msearch(cluster, [one for _, one in batch]), strict=True):
            failure = failure_of(answer)
            if failure is not None and not is_busy(answer):
                problems.setdefault(rule_id, Trial(failure, allowed=answer.get("status") != 403))
    return problems


def _searches(plan: DetectionPlan, end: int) -> list[dict[str, Any]]:
    """Return what the runner searches: for a correlation the candidates, and the windows of one group."""
    if plan.correlation is None:
        return [event_search(plan, Moments(end, SPAN, 0), size=0)]
    moments = Moments(end, SPAN, 0)
    return [candidate_search(plan, moments, size=1), window_search(plan, moments, size=1)]
