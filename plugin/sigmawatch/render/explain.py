"""Everything that can be said of a plan before it runs: in words, as queries, and as a watch."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sigmawatch.alerts.document import alert_spec, spell_span
from sigmawatch.compile.asked import fields_of
from sigmawatch.render.formats import FORMATS, render
from sigmawatch.render.refusal import RenderRefused
from sigmawatch.render.target import Target
from sigmawatch.render.watch import OVERLAP, watch_id
from sigmawatch.render.words import datasets_of, spell_correlation, spell_query, spell_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sigmawatch.compile.plan import DetectionPlan

__all__ = ["Base", "canonical", "differences", "explanation"]

ELSEWHERE = ("kibana", "opensearch")
"""Formats for what others execute, which cannot express every plan."""


@dataclass(frozen=True)
class Base:
    """A rule that selects events: the plan's own, or one that its correlation refers to."""

    name: str
    logsource: str


def explanation(plan: DetectionPlan, bases: Sequence[Base]) -> dict[str, Any]:
    """Return what a plan looks for, where, how often and what comes of it, as JSON data.

    `bases`: the rules behind the plan's queries, in their order.
    """
    correlation = plan.correlation
    queries = [plan.query] if correlation is None else list(correlation.queries)
    found: dict[str, Any] = {
        "rule": _about(plan),
        "log_sources": list(dict.fromkeys(base.logsource for base in bases)),
        "datasets": list(dict.fromkeys(name for query in queries for name in datasets_of(query))),
        "indices": list(plan.indices),
        "selections": [
            {
                "rule": base.name,
                "selects": spell_query(query),
                "fields": [name for name in fields_of(query) if name != "event.dataset"],
                "query": query,
            }
            for base, query in zip(bases, queries, strict=True)
        ],
        "requires": plan.to_dict()["literals"],
        "correlation": None,
        "alerts_when": "an event is selected",
        "schedule": {
            "interval": spell_seconds(plan.interval),
            "overlap": spell_seconds(OVERLAP),
            "watch": None,
        },
        "alert_fields": _alert_fields(plan),
        "targets": _targets(plan),
        "warnings": list(plan.warnings),
        "query": plan.query,
        "watch": {"id": watch_id(plan), "body": render(plan, "watch")},
    }
    found["schedule"]["watch"] = found["watch"]["body"]["trigger"]["schedule"]
    if correlation is not None:
        found["alerts_when"] = spell_correlation(correlation, [base.name for base in bases])
        found["correlation"] = {
            "type": correlation.root.type,
            "group_by": list(correlation.group_by),
            "window": spell_span(correlation.root.timespan),
            "threshold": correlation.root.spell_condition(),
            "lookback": spell_span(correlation.lookback()),
            "definition": correlation.root.to_dict(),
        }
    return found


def _about(plan: DetectionPlan) -> dict[str, Any]:
    rule = plan.rule
    about = {
        "id": rule.id,
        "title": rule.title,
        "description": rule.description,
        "source": rule.source,
        "status": rule.status,
        "version": rule.version,
        "level": rule.level,
        "severity": rule.severity,
        "risk_score": rule.risk_score,
        "tags": list(rule.tags),
        "false_positives": list(rule.falsepositives),
        "runbook": rule.runbook,
    }
    return {key: value for key, value in about.items() if value not in ("", [])}


def _alert_fields(plan: DetectionPlan) -> list[str]:
    spec = alert_spec(plan, target=Target.RUNNER)
    return list(spec.groups) if plan.correlation is not None else [path for _, path in spec.copied]


def _targets(plan: DetectionPlan) -> dict[str, dict[str, Any]]:
    """Return who can execute the plan, and what is different there."""
    targets: dict[str, dict[str, Any]] = {str(target): _target() for target in Target}
    for name in ELSEWHERE:
        form = FORMATS[name]
        try:
            form.render(plan)
        except RenderRefused as refused:
            targets[name] = _target(refused=refused.reason)
        else:
            targets[name] = _target(limits=form.limits, caveats=form.caveats(plan))
    return targets


def _target(
    *, refused: str | None = None, limits: Iterable[str] = (), caveats: Iterable[str] = ()
) -> dict[str, Any]:
    """Return whether a target refuses the plan, and what is different there for every plan and for this one."""
    return {"refused": refused, "limits": list(limits), "caveats": list(caveats)}


def canonical(plan: DetectionPlan) -> str:
    """Return plan, query and watch as JSON that only changes when they do. Where the rule's file is does not count."""
    plan = replace(plan, rule=replace(plan.rule, source=""))
    said = {"plan": plan.to_dict(), "search": render(plan, "search"), "watch": render(plan, "watch")}
    return json.dumps(said, indent=2, sort_keys=True, ensure_ascii=False)


def differences(
    before: Sequence[DetectionPlan], after: Sequence[DetectionPlan], labels: tuple[str, str]
) -> list[str]:
    """Return the lines of a unified diff between the plans of two versions of a rule file, none where they agree.

    Plans are compared by the id of their rule; the only one of a file with the only one of the other in any case.
    """
    lines: list[str] = []
    for name, old, new in _pairs(before, after):
        texts = [canonical(plan).splitlines() if plan is not None else [] for plan in (old, new)]
        named = [f"{label} ({name})" for label in labels]
        lines += difflib.unified_diff(texts[0], texts[1], named[0], named[1], lineterm="")
    return lines


def _pairs(
    before: Sequence[DetectionPlan], after: Sequence[DetectionPlan]
) -> Iterable[tuple[str, DetectionPlan | None, DetectionPlan | None]]:
    if len(before) == len(after) == 1:
        return [(after[0].rule.id, before[0], after[0])]
    old, new = ({plan.rule.id: plan for plan in plans} for plans in (before, after))
    return [(name, old.get(name), new.get(name)) for name in dict.fromkeys([*old, *new])]
