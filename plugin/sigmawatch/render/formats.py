"""Every form in which a plan can be had on the command line, ours and pySigma's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigmawatch.compile.plan import DetectionPlan
from sigmawatch.render import kibana, opensearch
from sigmawatch.render.search import Moments, event_search, window_search
from sigmawatch.render.watch import watch_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["FORMATS", "Format", "render"]

NOW = "now"


def _search(plan: DetectionPlan) -> dict[str, Any]:
    """Return the search of a plan over its window up to now, to be tried by hand."""
    if plan.correlation is None:
        return event_search(plan, Moments(NOW, plan.interval * 1000, 0))
    span = plan.correlation.root.timespan
    return window_search(plan, Moments(NOW, span, plan.correlation.lookback()))


def _no_caveats(plan: DetectionPlan) -> list[str]:
    del plan
    return []


@dataclass(frozen=True)
class Format:
    """One form of a plan."""

    description: str
    render: Callable[[DetectionPlan], dict[str, Any]]
    """Raises RenderRefused for plans that the form cannot express."""
    limits: tuple[str, ...] = ()
    """What is different in this form, whatever the plan."""
    caveats: Callable[[DetectionPlan], Iterable[str]] = _no_caveats
    """What is different in it for one plan."""


FORMATS: dict[str, Format] = {
    "plan": Format("Detection plans, independent of who executes them", DetectionPlan.to_dict),
    "search": Format("Query DSL search bodies over the rule's window up to now", _search),
    "watch": Format("Complete Elasticsearch watches", watch_body),
    "kibana": Format(
        "Rules of Kibana's detection engine", kibana.kibana_rule, kibana.LIMITS, kibana.kibana_caveats
    ),
    "opensearch": Format(
        "Monitors of OpenSearch's alerting plugin",
        opensearch.opensearch_monitor,
        opensearch.LIMITS,
        opensearch.opensearch_caveats,
    ),
}
"""The forms by their names."""


def render(plan: DetectionPlan, name: str) -> dict[str, Any]:
    """Return a plan in one of `FORMATS`. Raises RenderRefused."""
    return FORMATS[name].render(plan)
