"""What a plan keeps of a rule's own words, for the alerts that it will raise."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sigma.exceptions import SigmaError

from sigmawatch.compile.plan import SEVERITIES, STAGES, RuleInfo

if TYPE_CHECKING:
    from sigma.rule import SigmaRuleBase

__all__ = ["DEFAULT_INTERVAL", "SEVERITIES", "interval_of", "rule_id", "rule_info"]

DEFAULT_INTERVAL = 300
"""Seconds between evaluations of a rule that says nothing; high and critical ones are looked at each minute."""

URGENT_INTERVAL = 60

OPTIONS = frozenset({"interval", "risk_score", "runbook", "stage"})
"""Keys that a rule may give under `sigmawatch:`."""

_INTERVAL = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def options_of(rule: SigmaRuleBase) -> dict[str, Any]:
    """Return what the rule says under `sigmawatch:`. Raises SigmaError where that makes no sense."""
    options = rule.custom_attributes.get("sigmawatch") or {}
    if not isinstance(options, dict):
        raise SigmaError("sigmawatch: must be a mapping", source=rule.source)
    unknown = sorted(set(map(str, options)) - OPTIONS)
    if unknown:
        known = ", ".join(sorted(OPTIONS))
        raise SigmaError(f"sigmawatch: unknown key {unknown[0]} (known: {known})", source=rule.source)
    return options


def interval_of(rule: SigmaRuleBase, default: int) -> int:
    """Return the seconds between evaluations. Raises SigmaError for an interval that is none."""
    text = options_of(rule).get("interval")
    if text is None:
        urgent = rule.level is not None and rule.level.name in ("HIGH", "CRITICAL")
        return min(default, URGENT_INTERVAL) if urgent else default
    found = _INTERVAL.fullmatch(str(text))
    if found is None:
        raise SigmaError(f"sigmawatch: interval {text!r} is not like 90s, 5m or 1h", source=rule.source)
    return int(found[1]) * _SECONDS[found[2]]


def rule_id(rule: SigmaRuleBase) -> str:
    """Return what identifies a rule: its UUID, else its name. Raises SigmaError where it has neither."""
    if rule.id is not None:
        return str(rule.id)
    if rule.name:
        return rule.name
    raise SigmaError("a rule needs an id (a UUID) or a name", source=rule.source)


def rule_info(rule: SigmaRuleBase) -> RuleInfo:
    """Return what alerts say about the rule. Raises SigmaError for options that make no sense."""
    options = options_of(rule)
    level = rule.level.name.lower() if rule.level is not None else "medium"
    severity = SEVERITIES[level]
    risk = options.get("risk_score", severity)
    if not isinstance(risk, int) or isinstance(risk, bool) or not 0 <= risk <= 100:
        raise SigmaError(f"sigmawatch: risk_score {risk!r} is not from 0 to 100", source=rule.source)
    stage = options.get("stage", "live")
    if stage not in STAGES:
        raise SigmaError(f"sigmawatch: stage {stage!r} is none of {', '.join(STAGES)}", source=rule.source)
    changed = rule.modified or rule.date
    return RuleInfo(
        id=rule_id(rule),
        title=rule.title or "",
        level=level,
        severity=severity,
        risk_score=risk,
        status=rule.status.name.lower() if rule.status is not None else "",
        version=changed.isoformat() if changed is not None else "",
        description=(rule.description or "").strip(),
        author=rule.author or "",
        license=rule.license or "",
        references=tuple(str(reference) for reference in rule.references or ()),
        tags=tuple(str(tag) for tag in rule.tags or ()),
        falsepositives=tuple(str(text) for text in rule.falsepositives or ()),
        runbook=str(options.get("runbook", "")).strip(),
        stage=stage,
    )
