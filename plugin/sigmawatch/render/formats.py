"""Every form in which a plan can be had on the command line, ours and pySigma's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.compile.plan import DetectionPlan
from sigmawatch.render.search import Moments, event_search, window_search
from sigmawatch.render.watch import watch_body

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FORMATS", "render"]

NOW = "now"


def _search(plan: DetectionPlan) -> dict[str, Any]:
    """Return the search of a plan over its window up to now, to be tried by hand."""
    if plan.correlation is None:
        return event_search(plan, Moments(NOW, plan.interval * 1000, 0))
    span = plan.correlation.root.timespan
    return window_search(plan, Moments(NOW, span, plan.correlation.lookback()))


FORMATS: dict[str, tuple[str, Callable[[DetectionPlan], dict[str, Any]]]] = {
    "plan": ("Detection plans, independent of who executes them", DetectionPlan.to_dict),
    "search": ("Query DSL search bodies over the rule's window up to now", _search),
    "watch": ("Complete Elasticsearch watches", watch_body),
}
"""Name of each form, what it is, and how it is made."""


def render(plan: DetectionPlan, name: str) -> dict[str, Any]:
    """Return a plan in one of `FORMATS`."""
    return FORMATS[name][1](plan)
