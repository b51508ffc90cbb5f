"""A detection plan as a rule of Kibana's detection engine, for clusters whose licence has no Watcher.

The rule is of type `query` with nothing in its query language: the plan's Query DSL is its one filter, of the
type `custom`, which Kibana puts into the search as it is. Rule text is therefore never parsed again.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sigmawatch.alerts.attack import threat
from sigmawatch.artifact import Artifact
from sigmawatch.compile.scripted import is_scripted
from sigmawatch.render.refusal import RenderRefused
from sigmawatch.render.scripts import script_keys
from sigmawatch.render.watch import OVERLAP

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.compile.plan import DetectionPlan

__all__ = ["LIMITS", "OWNER_TAG", "RuleAction", "kibana_artifact", "kibana_caveats", "kibana_rule"]

OWNER_TAG = "managed-by:sigmawatch"
"""Marks rules as ours: only those are changed or deleted."""

MAX_SIGNALS = 1000
"""Alerts of one run; what Kibana allows unless its configuration says otherwise."""

SHORTEST_INTERVAL = 60
"""Seconds; Kibana warns of shorter ones, and refuses them where `minimumScheduleInterval.enforce` is set."""

LIMITS = (
    "alerts are Kibana's own (.alerts-security.alerts-*), not documents in sigmawatch-alerts",
    f"at most {MAX_SIGNALS:,} alerts a run; Kibana marks a run that had more",
)

_SEVERITIES = {"informational": "low"}
"""Sigma levels that Kibana does not know."""

_ATTACK = "https://attack.mitre.org"


@dataclass(frozen=True)
class RuleAction:
    """Whom a site has told about alerts, through a connector that is there in Kibana and keeps its secrets itself."""

    connector: str
    """The connector's id."""
    type: str
    """The connector's type, e.g. `.slack`."""
    levels: tuple[str, ...] = ()
    """Levels of rules it is for; none: all."""
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What the connector sends, with Kibana's own variables."""


_ACTION_IDS = uuid.UUID("8f0c1f6e-6c0f-5a3b-9a53-0d1f2f7f6c4e")
"""Namespace of the ids of actions: an action of a rule keeps its id, and with it what Kibana knows of it."""


def kibana_rule(plan: DetectionPlan) -> dict[str, Any]:
    """Return the body of `POST /api/detection_engine/rules`. Raises RenderRefused for correlations."""
    if plan.correlation is not None:
        raise RenderRefused(
            "kibana",
            f"correlation type {plan.correlation.root.type} cannot be expressed exactly: threshold rules count "
            "what one run sees, not what a sliding window holds, and sequences take EQL, not structured queries",
            hint="Use the target runner, or watcher where the licence has it: both work on the same cluster.",
        )
    if plan.rule.stage == "shadow":
        raise RenderRefused(
            "kibana",
            "stage shadow: its alerts would stand among all others, and its actions would run",
            hint="Try the rule with the target runner, or put it to the stage test or live.",
        )
    rule = plan.rule
    interval = max(SHORTEST_INTERVAL, plan.interval)
    body: dict[str, Any] = {
        "rule_id": rule.id,
        "name": rule.title or rule.id,
        "description": rule.description or rule.title or rule.id,
        "type": "query",
        "language": "kuery",
        "query": "",
        "filters": [_filter(plan)],
        "index": list(plan.indices),
        "interval": _span(interval),
        "from": f"now-{_span(interval + OVERLAP)}",
        "to": "now",
        # Events that arrive late are found by their arrival; those without it by @timestamp.
        "timestamp_override": "event.ingested",
        "severity": _SEVERITIES.get(rule.level, rule.level),
        "risk_score": rule.risk_score,
        "max_signals": MAX_SIGNALS,
        "enabled": False,
        "tags": [*dict.fromkeys([*rule.tags, OWNER_TAG])],
        "threat": _threat(plan),
        "references": list(rule.references),
        "false_positives": list(rule.falsepositives),
        "author": [rule.author] if rule.author else [],
    }
    if rule.license:
        body["license"] = rule.license
    if rule.runbook:
        body["note"] = rule.runbook
    return body


def kibana_artifact(plan: DetectionPlan, actions: Sequence[RuleAction] = ()) -> Artifact:
    """Return the artifact of kind `kibana_rule`, without its space. Raises RenderRefused.

    It is switched on when it is created: deploying is the decision that it runs. Later that is the analysts' own.
    `actions`: whom the site has told, beside those whom analysts choose.
    """
    body = {**kibana_rule(plan), "enabled": True}
    mine = [_action(plan, one) for one in actions if not one.levels or plan.rule.level in one.levels]
    if mine:
        body["actions"] = mine
    return Artifact(
        kind="kibana_rule",
        id=plan.rule.id,
        body=body,
        depends_on=script_keys(watcher=False) if is_scripted(plan.query) else (),
        source=plan.rule.source,
        stage=plan.rule.stage,
    )


def _action(plan: DetectionPlan, action: RuleAction) -> dict[str, Any]:
    """Return an action that tells all alerts of a run at once."""
    return {
        "id": action.connector,
        "action_type_id": action.type,
        "group": "default",
        "params": dict(action.params),
        "frequency": {"summary": True, "notifyWhen": "onActiveAlert", "throttle": None},
        "uuid": str(uuid.uuid5(_ACTION_IDS, f"{plan.rule.id}/{action.connector}")),
    }


def kibana_caveats(plan: DetectionPlan) -> list[str]:
    """Return what of this plan a rule of Kibana does not say or do as the others."""
    found = []
    if plan.interval < SHORTEST_INTERVAL:
        found.append(f"evaluated every {SHORTEST_INTERVAL} seconds, not every {plan.interval}")
    if is_scripted(plan.query):
        found.append("it needs the stored scripts that `sigmawatch deploy` brings")
    attack = threat(plan.rule.tags)
    if "technique" in attack and "tactic" not in attack:
        names = ", ".join(attack["technique"]["id"])
        found.append(
            f"{names} only as a tag: Kibana lists techniques below a tactic, and the rule names none"
        )
    return found


def _filter(plan: DetectionPlan) -> dict[str, Any]:
    """Return the plan's query as a filter; `value` is what Kibana's pages show of it."""
    return {
        "meta": {
            "type": "custom",
            "alias": None,
            "disabled": False,
            "negate": False,
            "key": "query",
            "value": json.dumps(plan.query, ensure_ascii=False, separators=(",", ":")),
        },
        "query": plan.query,
        "$state": {"store": "appState"},
    }


def _span(seconds: int) -> str:
    """Return a span of time as Kibana has it: hours are the largest unit of an interval."""
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _threat(plan: DetectionPlan) -> list[dict[str, Any]]:
    """Return ATT&CK tags as Kibana wants them: techniques below a tactic, each with a name.

    Sigma does not say which technique belongs to which tactic, so they stand below all of them. Tags carry no
    names either; Kibana's pages find them by the id.
    """
    attack = threat(plan.rule.tags)
    if "tactic" not in attack:
        return []
    names = attack.get("technique", {"id": []})
    inner = names.get("subtechnique", {"id": []})["id"]
    techniques = []
    for name in names["id"]:
        technique = {"id": name, "name": name, "reference": f"{_ATTACK}/techniques/{name}/"}
        below = [
            {"id": each, "name": each, "reference": f"{_ATTACK}/techniques/{each.replace('.', '/')}/"}
            for each in dict.fromkeys(inner)
            if each.startswith(f"{name}.")
        ]
        techniques.append(technique | {"subtechnique": below} if below else technique)
    tactic = attack["tactic"]
    return [
        {
            "framework": attack["framework"],
            "tactic": {"id": id_, "name": name, "reference": f"{_ATTACK}/tactics/{id_}/"},
            "technique": techniques,
        }
        for id_, name in zip(tactic["id"], tactic["name"], strict=True)
    ]
