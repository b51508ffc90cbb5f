"""How many alerts rules would have raised on the events that a cluster holds: counted by their own searches.

Plain rules are counted by one search each; correlations are evaluated a day at a time, as the runner would. Nothing is
written.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigmawatch.alerts.document import alert_spec
from sigmawatch.cluster import url_path
from sigmawatch.render.scripts import script_id
from sigmawatch.render.search import Moments, event_search
from sigmawatch.render.target import Target
from sigmawatch.run.evaluate import Job, evaluate
from sigmawatch.run.msearch import Search, failure_of, msearch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sigmawatch.cluster import Cluster
    from sigmawatch.compile.plan import DetectionPlan

__all__ = ["DAY", "Counted", "History", "count_history"]

DAY = 86_400_000
"""Milliseconds."""

AT_ONCE = 50
"""Plain rules counted in one request: they look at days, where the runner looks at minutes."""

BUDGET = 600.0
"""Seconds after which no further rule is begun."""


@dataclass(frozen=True)
class Counted:
    """What history says about one rule."""

    rule_id: str
    title: str
    alerts: int
    """In all of the days that were looked at."""
    problem: str = ""
    """Why that is not all, or nothing at all."""


@dataclass(frozen=True)
class History:
    """What history says about rules."""

    asked: float
    """Days that were asked for."""
    days: float
    """Days of which there are events; fewer than asked for where the data begins later."""
    rules: tuple[Counted, ...]
    """By the number of alerts, the most first."""

    def per_day(self, one: Counted) -> float:
        """Return how many alerts a day a rule would have raised."""
        return one.alerts / self.days if self.days else 0.0

    @property
    def total(self) -> float:
        """Alerts a day of all rules."""
        return sum(self.per_day(one) for one in self.rules)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON."""
        return {
            "days_asked": self.asked,
            "days": round(self.days, 3),
            "alerts_per_day": round(self.total, 3),
            "rules": [
                {
                    "id": one.rule_id,
                    "title": one.title,
                    "alerts": one.alerts,
                    "alerts_per_day": round(self.per_day(one), 3),
                    "problem": one.problem,
                }
                for one in self.rules
            ],
        }


def count_history(
    cluster: Cluster,
    plans: Iterable[DetectionPlan],
    *,
    days: int,
    until: int | None = None,
    budget: float = BUDGET,
    on_progress: Callable[[int, int], object] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> History:
    """Count the alerts that plans would have raised in the last days. Raises ClusterError.

    `until`: the end of the days, in epoch milliseconds; now by default. `budget`: seconds after which the rules that
    are left are told as not counted. `on_progress` is called with the number of rules done and of all.
    """
    given = list(plans)
    end = int(time.time() * 1000) if until is None else until
    begun = clock()
    plain = [plan for plan in given if plan.correlation is None]
    others = [plan for plan in given if plan.correlation is not None]
    found: list[Counted] = []
    covered = _covered(cluster, given, end - days * DAY, end)
    for start in range(0, len(plain), AT_ONCE):
        batch = plain[start : start + AT_ONCE]
        late = clock() - begun > budget
        found += [_not_counted(plan, budget) for plan in batch] if late else _plain(cluster, batch, end, days)
        _tell(on_progress, found, given)
    reason = _without_scripts(cluster) if others else ""
    for plan in others:
        if reason:
            found.append(Counted(plan.rule.id, plan.rule.title, 0, reason))
        elif clock() - begun > budget:
            found.append(_not_counted(plan, budget))
        else:
            found.append(_bursts(cluster, plan, end, days))
        _tell(on_progress, found, given)
    return History(days, covered, tuple(sorted(found, key=lambda one: (-one.alerts, one.rule_id))))


def _tell(
    on_progress: Callable[[int, int], object] | None, found: Sequence[Counted], given: Sequence[DetectionPlan]
) -> None:
    if on_progress is not None:
        on_progress(len(found), len(given))


def _plain(cluster: Cluster, plans: Sequence[DetectionPlan], end: int, days: int) -> list[Counted]:
    searches = []
    for plan in plans:
        body = event_search(plan, Moments(end, days * DAY, 0), size=0) | {"track_total_hits": True}
        del body["sort"]
        searches.append(Search(plan.indices, body))
    found = []
    for plan, answer in zip(plans, msearch(cluster, searches), strict=True):
        total = ((answer.get("hits") or {}).get("total") or {}).get("value", 0)
        found.append(Counted(plan.rule.id, plan.rule.title, int(total), failure_of(answer) or ""))
    return found


def _bursts(cluster: Cluster, plan: DetectionPlan, end: int, days: int) -> Counted:
    assert plan.correlation is not None
    spec = alert_spec(plan, target=Target.RUNNER)
    lookback = plan.correlation.lookback()
    seen: set[str] = set()
    problems: list[str] = []
    for day in range(days):
        job = Job(plan, spec, Moments(end - day * DAY, DAY, lookback))
        (outcome,) = evaluate(
            cluster,
            [job],
            created=end,
            on_alerts=lambda alerts: seen.update(alert.id for alert in alerts),
        )
        problems += [one for one in outcome.problems if one not in problems]
        if outcome.failed:
            break  # the next day would fail in the same way
    return Counted(plan.rule.id, plan.rule.title, len(seen), "; ".join(problems))


def _not_counted(plan: DetectionPlan, budget: float) -> Counted:
    return Counted(plan.rule.id, plan.rule.title, 0, f"not counted: {budget:g} s were over")


def _without_scripts(cluster: Cluster) -> str:
    path = url_path("_scripts", script_id("window-init"))
    if cluster.request("GET", path, ignore=(404,)) is None:
        return "correlations are counted once the stored scripts are deployed"
    return ""


def _covered(cluster: Cluster, plans: Sequence[DetectionPlan], start: int, end: int) -> float:
    """Return of how many days there are events, from the first of them to the end."""
    indices = sorted({name for plan in plans for name in plan.indices})
    if not indices:
        return 0.0
    within = {"range": {"@timestamp": {"gte": start, "lte": end, "format": "epoch_millis"}}}
    body = {"size": 0, "query": within, "aggs": {"first": {"min": {"field": "@timestamp"}}}}
    # By `_msearch`: names of many datasets do not fit into the line of a request.
    (answer,) = msearch(cluster, [Search(tuple(indices), body)])
    first = ((answer.get("aggregations") or {}).get("first") or {}).get("value")
    return 0.0 if first is None else max(end - int(first), DAY // 24) / DAY
