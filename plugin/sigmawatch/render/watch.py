"""A detection plan as a complete Elasticsearch watch.

The body of a watch's search is always rendered as a mustache template, and re-serialised when the watch is
stored, so escapes do not survive. Rule text therefore travels as template parameters, which are printed with
`toJson` and never read as a template; the template itself holds constants and the scheduled time only.
Painless is stored; rules are its parameters.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sigmawatch.alerts.document import ALERTS, HEALTH, SHADOW, alert_spec
from sigmawatch.artifact import Artifact, ArtifactKey
from sigmawatch.render.scripts import script, script_keys
from sigmawatch.render.search import Moments, event_search, window_search, with_last_group
from sigmawatch.render.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sigmawatch.compile.plan import DetectionPlan

__all__ = ["OVERLAP", "cron", "starts", "watch_artifact", "watch_body", "watch_id"]

SCHEDULED = "{{ctx.trigger.scheduled_time}}"

OVERLAP = 300
"""Seconds that each evaluation looks back beyond its interval, for events that arrive late; alerts have
ids of their own making, so seeing an event twice costs nothing."""

WATCH_EVENTS = 1000
WATCH_GROUPS = 5000
"""Hits and groups a watch asks for; where there are more, the watch raises a health note."""


def watch_id(plan: DetectionPlan) -> str:
    """Return the id of a plan's watch."""
    return f"sigmawatch-{plan.rule.id}"


def _step(interval: int) -> int:
    """Return the longest time, in seconds, that is not above an interval and divides the hour or the day.

    A cron step that does not divide its unit leaves a gap of another length where the unit ends.
    """
    minutes = max(1, min(interval // 60, 24 * 60))
    if minutes < 60:
        return next(step for step in range(minutes, 0, -1) if 60 % step == 0) * 60
    return next(step for step in range(minutes // 60, 0, -1) if 24 % step == 0) * 3600


def starts(rule_id: str, interval: int) -> tuple[int, int]:
    """Return when the watch of a rule starts: the first second of the day, and the seconds from one to the next."""
    seed = int.from_bytes(hashlib.sha256(rule_id.encode()).digest()[:8], "big")
    step = _step(interval)
    return seed % step, step


def cron(rule_id: str, interval: int) -> str:
    """Return a cron schedule for an interval in seconds, its phase spread by a hash of the rule's id.

    Watches that all start at the full minute saturate Watcher's thread pool, and those with an interval
    schedule start together again whenever a node restarts.
    """
    phase, step = starts(rule_id, interval)
    second, minute, hour = phase % 60, phase // 60 % 60, phase // 3600
    if step < 3600:
        return f"{second} {minute}/{step // 60} * * * ?"
    return f"{second} {minute} {hour}/{step // 3600} * * ?"


def _template(body: dict[str, Any], constants: Iterable[object]) -> dict[str, Any]:
    """Return a search template in which whatever does not hold the scheduled time is a parameter.

    `toJson` prints objects and lists as JSON and strings bare, so only objects and lists are moved out; what
    stays on the way to the scheduled time are keys and scalars of our own. `constants`: large parts of the body
    that are known to hold none, by identity, so that they need not be walked through.
    """
    known = {id(each) for each in constants}
    params: dict[str, Any] = {}

    def render(value: Any) -> str | None:
        """Return the text of a value that holds the scheduled time, None of any other."""
        if id(value) in known:
            return None
        if isinstance(value, dict):
            found = {key: render(inner) for key, inner in value.items()}
            if not any(found.values()):
                return None
            members = [f"{_json(key)}:{text or constant(value[key])}" for key, text in found.items()]
            return "{" + ",".join(members) + "}"
        if isinstance(value, list):
            texts = [render(inner) for inner in value]
            if not any(texts):
                return None
            items = [text or constant(inner) for text, inner in zip(texts, value, strict=True)]
            return "[" + ",".join(items) + "]"
        timed = isinstance(value, str) and value.startswith(SCHEDULED)
        return _json(value) if timed else None

    def constant(value: Any) -> str:
        if isinstance(value, (dict, list)):
            name = f"p{len(params)}"
            params[name] = value
            return f"{{{{#toJson}}}}{name}{{{{/toJson}}}}"
        text = _json(value)
        if "{{" in text:
            raise ValueError(f"{value!r} would be read as a template")
        return text

    return {"source": render(body) or constant(body), "params": params}


@lru_cache(maxsize=1024, typed=True)  # the same few keys and constants in every watch; 1 is not True
def _json(value: object) -> str:
    return json.dumps(value)


def watch_body(plan: DetectionPlan, *, namespace: str = "default") -> dict[str, Any]:
    """Return the body of `PUT _watcher/watch/<id>`."""
    spec = alert_spec(plan, target=Target.WATCHER, namespace=namespace)
    report = (_step(plan.interval) + OVERLAP) * 1000
    if plan.correlation is None:
        kind, size = "event", WATCH_EVENTS
        body = event_search(plan, Moments(SCHEDULED, report, 0), size=size)
        body["_source"] = spec.source_fields()
        constants: tuple[object, ...] = (plan.query, body["_source"])
    else:
        kind, size = "group", WATCH_GROUPS
        moments = Moments(SCHEDULED, report, plan.correlation.lookback())
        body = with_last_group(window_search(plan, moments, size=size))
        constants = (plan.query, *plan.correlation.queries)
    checked = {"kind": kind, "size": size}
    return {
        "trigger": {"schedule": {"cron": cron(plan.rule.id, plan.interval)}},
        "input": {
            "search": {
                "request": {
                    "indices": list(plan.indices),
                    "indices_options": {"ignore_unavailable": True, "allow_no_indices": True},
                    # As everywhere else; a number would be refused for a search that does not count.
                    "rest_total_hits_as_int": False,
                    "template": _template(body, constants),
                },
            }
        },
        "condition": {"script": script("watch-condition", checked)},
        "transform": {"script": script("watch-transform", {**checked, "spec": spec.to_dict()})},
        "throttle_period": "0s",
        "actions": {"alerts": {"index": {"op_type": "create"}}},
        "metadata": {"rule": {"id": plan.rule.id, "title": plan.rule.title, "level": plan.rule.level}},
    }


def watch_artifact(plan: DetectionPlan, *, namespace: str = "default") -> Artifact:
    """Return the artifact of kind `watch`."""
    alerts = SHADOW if plan.rule.stage == "shadow" else ALERTS
    templates = (ArtifactKey("index_template", alerts), ArtifactKey("index_template", HEALTH))
    return Artifact(
        kind="watch",
        id=watch_id(plan),
        body=watch_body(plan, namespace=namespace),
        depends_on=(*templates, *script_keys(watcher=True)),
        source=plan.rule.source,
        stage=plan.rule.stage,
    )
