"""What a site says differently about rules that it does not want to fork: thresholds, schedules, severities, off."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from sigmawatch.artifact import content_hash
from sigmawatch.compile.plan import SEVERITIES, STAGES, spell_bounds
from sigmawatch.errors import ContentError, Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from sigmawatch.compile.plan import DetectionPlan
    from sigmawatch.datasets.reader import Reader

__all__ = ["RuleTuning", "changed_under", "merged", "read_tunings", "tuned", "untuned"]

_SHORTEST = 10
_INTERVAL = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_OPERATORS = ("gt", "gte", "lt", "lte", "eq", "neq")
_VALUES = ("level", "interval", "risk_score", "condition")


@dataclass(frozen=True)
class RuleTuning:
    """What is different about one rule. None: as the rule says."""

    enabled: bool | None = None
    stage: str | None = None
    """How far the rule is trusted here, one of `STAGES`."""
    level: str | None = None
    interval: int | None = None
    """Seconds between evaluations."""
    risk_score: int | None = None
    condition: Mapping[str, float] | None = None
    """The threshold of a correlation: operators and bounds, instead of its own."""
    was: RuleTuning | None = None
    """What the rule itself said when it was tuned: where that changes, whoever tuned it should look again."""
    path: Path | None = None
    line: int | None = None


def read_tunings(reader: Reader) -> dict[str, RuleTuning]:
    """Read `rules:`, each rule by its id, its name where it has no id, or its file within the pack."""
    member = reader.get("rules")
    found: dict[str, RuleTuning] = {}
    for key, each in member.items() if member is not None else ():
        if each.is_mapping(("enabled", "stage", "was", *_VALUES)):
            found[key] = _tuning(each)
    return found


def _tuning(reader: Reader) -> RuleTuning:
    was = reader.get("was")
    return RuleTuning(
        enabled=reader.flag("enabled") if reader.get("enabled") is not None else None,
        stage=_stage(reader.get("stage")),
        level=_level(reader.get("level")),
        interval=_interval(reader.get("interval")),
        risk_score=_risk(reader.get("risk_score")),
        condition=_condition(reader.get("condition")),
        was=_tuning(was) if was is not None and was.is_mapping(_VALUES) else None,
        path=reader.document.path,
        line=reader.document.line_of(*reader.keys),
    )


def _stage(reader: Reader | None) -> str | None:
    if reader is None:
        return None
    if reader.data not in STAGES:
        reader.problem(f"stage: {reader.data!r} is none", hint=f"one of {', '.join(STAGES)}")
    return str(reader.data)


def _level(reader: Reader | None) -> str | None:
    if reader is None:
        return None
    if reader.data not in SEVERITIES:
        reader.problem(f"level: {reader.data!r} is none", hint=f"one of {', '.join(SEVERITIES)}")
    return str(reader.data)


def _interval(reader: Reader | None) -> int | None:
    if reader is None:
        return None
    found = _INTERVAL.fullmatch(str(reader.data))
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if seconds < _SHORTEST:
        reader.problem(f"interval: {reader.data!r} is not like 90s, 5m or 1h, of at least {_SHORTEST}s")
    return seconds


def _risk(reader: Reader | None) -> int | None:
    if reader is None:
        return None
    value = reader.data
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100:
        reader.problem(f"risk_score: {value!r} is not from 0 to 100")
        return None
    return value


def _condition(reader: Reader | None) -> dict[str, float] | None:
    if reader is None or not reader.is_mapping(_OPERATORS):
        return None
    if not reader.data:
        reader.problem("condition: names no threshold", hint="e.g. `condition: {gte: 50}`")
    for operator, bound in reader.items():
        if isinstance(bound.data, bool) or not isinstance(bound.data, int | float):
            bound.problem(f"{operator}: expected a number")
    return dict(reader.data)


def merged(site: Mapping[str, RuleTuning], environment: Mapping[str, RuleTuning]) -> dict[str, RuleTuning]:
    """Return the tunings of an environment over those of the whole site, key by key."""
    found = dict(site)
    for rule, tuning in environment.items():
        below = found.get(rule)
        if below is None:
            found[rule] = tuning
            continue
        given = {each.name: getattr(tuning, each.name) for each in fields(tuning)}
        found[rule] = replace(below, **{name: value for name, value in given.items() if value is not None})
    return found


def tuned(
    plans: Iterable[DetectionPlan], tunings: Mapping[str, RuleTuning]
) -> tuple[list[DetectionPlan], list[Problem]]:
    """Return the plans as a site wants them, and warnings about tunings that deserve a look.

    Raises ContentError for tunings that cannot be.
    """
    found: list[DetectionPlan] = []
    problems: list[Problem] = []
    unused = set(tunings)
    for plan in plans:
        keys = [key for key in (plan.rule.id, plan.rule.source) if key in tunings]
        unused.difference_update(keys)
        if len(keys) > 1:
            problems.append(_problem(tunings[keys[1]], f"{keys[1]} is tuned twice, by id and by file"))
        if not keys:
            found.append(plan)
            continue
        tuning = tunings[keys[0]]
        problems += _stale(plan, tuning)
        if tuning.enabled is not False:
            found.append(_applied(plan, tuning, problems))
    problems += [
        _problem(tunings[key], f"there is no rule {key} in this pack", warning=True) for key in sorted(unused)
    ]
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if errors:
        raise ContentError(errors)
    return found, problems


def _applied(plan: DetectionPlan, tuning: RuleTuning, problems: list[Problem]) -> DetectionPlan:
    rule = plan.rule
    if tuning.stage is not None:
        rule = replace(rule, stage=tuning.stage)
    if tuning.level is not None:
        severity = SEVERITIES[tuning.level]
        # A rule that gives no weight of its own weighs as much as its level.
        risk = severity if rule.risk_score == rule.severity else rule.risk_score
        rule = replace(rule, level=tuning.level, severity=severity, risk_score=risk)
    if tuning.risk_score is not None:
        rule = replace(rule, risk_score=tuning.risk_score)
    changed = replace(plan, rule=rule)
    if tuning.interval is not None:
        longest = max(60, plan.correlation.lookback() // 1000) if plan.correlation is not None else None
        if longest is not None and tuning.interval > longest:
            problems.append(
                _problem(tuning, f"interval: {rule.title!r} looks back {longest} s, so it is the longest")
            )
        changed = replace(changed, interval=tuning.interval)
    if tuning.condition is not None:
        if plan.correlation is None or not plan.correlation.root.condition:
            problems.append(_problem(tuning, f"condition: {rule.title!r} has no threshold"))
        else:
            root = replace(plan.correlation.root, condition=tuning.condition)
            changed = replace(changed, correlation=replace(plan.correlation, root=root))
    return changed


def _stale(plan: DetectionPlan, tuning: RuleTuning) -> Iterable[Problem]:
    """Return a warning for each value of the rule itself that is not what it was when the rule was tuned."""
    if tuning.was is None:
        return
    for name, now in _said(plan).items():
        before, ours = getattr(tuning.was, name), getattr(tuning, name)
        if before is not None and before != now:
            yield _problem(
                tuning,
                f"{plan.rule.title!r} changed under its tuning: {_change(name, before, now, ours)}",
                warning=True,
                hint="look whether the tuning is still meant, and correct `was:`",
            )


def untuned(plans: Iterable[DetectionPlan], tunings: Mapping[str, RuleTuning]) -> dict[str, dict[str, Any]]:
    """Return what rules that are tuned say themselves, by their ids, as JSON for a release to remember."""
    found: dict[str, dict[str, Any]] = {}
    for plan in plans:
        key = next((key for key in (plan.rule.id, plan.rule.source) if key in tunings), None)
        if key is not None:
            found[plan.rule.id] = {
                "title": plan.rule.title,
                "tuned_as": key,
                **_said(plan),
                "finds": _finds(plan),
            }
    return found


def changed_under(
    before: Mapping[str, Mapping[str, Any]],
    now: Mapping[str, Mapping[str, Any]],
    tunings: Mapping[str, RuleTuning],
) -> list[str]:
    """Return how the pack changed rules under a site's tunings: what each said before, says now, and is here.

    `before` and `now`: what `untuned` said. What `was:` says of a tuning is told by that.
    """
    found = []
    for rule_id, said in now.items():
        tuning = tunings.get(said["tuned_as"])
        earlier = before.get(rule_id)
        if tuning is None or earlier is None:
            continue
        off = tuning.enabled is False or tuning.stage == "test"
        told = []
        for name in _VALUES:
            ours = getattr(tuning, name)
            known = tuning.was is not None and getattr(tuning.was, name) is not None
            if known or earlier.get(name) == said[name] or not (off or ours is not None):
                continue  # what is not tuned simply comes along
            if name == "risk_score" and ours is None and earlier.get("level") != said["level"]:
                continue  # it follows from the level, which is told
            told.append(_change(name, earlier.get(name), said[name], ours))
        if earlier.get("finds") != said["finds"]:
            told.append("what it looks for is another")
        if told:
            here = "; it is switched off here" if off else ""
            found.append(f"{said['title']!r} changed under its tuning: {'; '.join(told)}{here}")
    return found


def _said(plan: DetectionPlan) -> dict[str, Any]:
    """Return what a rule itself says of what can be tuned."""
    return {
        "level": plan.rule.level,
        "interval": plan.interval,
        "risk_score": plan.rule.risk_score,
        "condition": dict(plan.correlation.root.condition) if plan.correlation is not None else None,
    }


def _finds(plan: DetectionPlan) -> str:
    """Return a hash of what a rule looks for, whatever its threshold."""
    data = plan.to_dict()
    correlation = data["correlation"]
    if correlation is not None:
        correlation = {**correlation, "root": {**correlation["root"], "condition": {}}}
    return content_hash([data["indices"], data["query"], correlation])[:16]


def _change(name: str, before: Any, now: Any, ours: Any) -> str:
    here = "" if ours is None else f", and here {_spelled(name, ours)}"
    return f"{name} was {_spelled(name, before)}, is now {_spelled(name, now)}{here}"


def _spelled(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return spell_bounds(value)
    if value is None:
        return "as the rule says"
    return f"{value} s" if name == "interval" else str(value)


def _problem(tuning: RuleTuning, message: str, *, warning: bool = False, hint: str = "") -> Problem:
    severity = Severity.WARNING if warning else Severity.ERROR
    return Problem(message, tuning.path, tuning.line, hint, severity, "tuning")
