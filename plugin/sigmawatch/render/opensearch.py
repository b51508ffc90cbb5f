"""A detection plan as a monitor of OpenSearch's alerting plugin.

The monitor searches what the runner searches, and triggers on what the search found. Its body is parsed when it is
stored, written out again and then rendered as a mustache template at each run (`InputService` of the plugin), so
neither parameters nor escapes survive, and texts of rules cannot be kept out of the template. What can be done is
to leave no `{{` in them: a Lucene expression may put a backslash between the two. Scripts of triggers cannot be
stored ones (`QueryLevelTrigger` wants a `lang`); they are constants, and hold nothing of the rule.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sigmawatch.alerts.document import alert_spec
from sigmawatch.artifact import Artifact
from sigmawatch.compile.leaves import MAX_STATES
from sigmawatch.render.refusal import RenderRefused
from sigmawatch.render.scripts import script_keys, source
from sigmawatch.render.search import Moments, event_search, window_search, with_last_group
from sigmawatch.render.watch import OVERLAP

if TYPE_CHECKING:
    from sigmawatch.compile.plan import DetectionPlan, Query

__all__ = ["LIMITS", "monitor_artifact", "opensearch_caveats", "opensearch_monitor"]

MOMENT = "{{period_end}}"
"""What the plugin fills in: epoch milliseconds, within a text because the body has to be JSON before."""

SHORTEST_PERIOD = 60
"""Seconds; the plugin counts in minutes."""

EVENTS = 100
"""Events that a monitor asks for: one would do to trigger, the others are for its messages."""

MONITOR_GROUPS = 5000
"""Groups that a monitor looks at. It cannot turn pages: where there are more, its second trigger says so."""

LONGEST_EXPRESSION = 1000
"""Characters of a regular expression (`index.max_regex_length`)."""

LIMITS = (
    "alerts are the monitor's own, one for as long as it finds something, not a document for each finding in "
    "sigmawatch-alerts",
    "its second trigger says when it could not see everything; there are no notes in sigmawatch-health",
    "correlations and conditions between fields need the stored scripts that `sigmawatch deploy` brings",
    "each search is a template to OpenSearch, which keeps 100 compiled and compiles 75 in five minutes: with more "
    "monitors raise script.context.template.cache_max_size and .max_compilations_rate",
)

LONGEST_TEMPLATE = 65_535
"""Bytes (`script.max_size_in_bytes`)."""

_SEVERITIES = {"critical": "1", "high": "2", "medium": "3", "low": "4", "informational": "5"}


def opensearch_monitor(plan: DetectionPlan, *, groups: int = MONITOR_GROUPS) -> dict[str, Any]:
    """Return the body of `POST _plugins/_alerting/monitors`. Raises RenderRefused."""
    minutes = max(SHORTEST_PERIOD, plan.interval) // 60
    report = (minutes * 60 + OVERLAP) * 1000
    rule = plan.rule
    title = f"{rule.title or 'sigmawatch'} ({rule.id})"
    # A monitor has nowhere else to put its alerts: on trial they are named so, weigh least, and act on nothing.
    on_trial = rule.stage == "shadow"
    found = f"{'[shadow] ' if on_trial else ''}{rule.title or rule.id}"
    body = _search(_inert(plan), report, groups)
    size = _written_size(body)
    if size > LONGEST_TEMPLATE:
        raise RenderRefused(
            "opensearch",
            f"its search has about {size:,} bytes, and OpenSearch renders none beyond {LONGEST_TEMPLATE:,}",
            hint="Use the target runner, or split the rule.",
        )
    return {
        "type": "monitor",
        **({"ui_metadata": {"sigmawatch_stage": "shadow"}} if on_trial else {}),
        "name": title,
        "monitor_type": "query_level_monitor",
        "enabled": True,
        "schedule": {"period": {"interval": minutes, "unit": "MINUTES"}},
        "inputs": [{"search": {"indices": list(plan.indices), "query": body}}],
        "triggers": [
            _trigger(
                f"{rule.id}-found",
                found,
                _SEVERITIES["informational" if on_trial else rule.level],
                "monitor-events" if plan.correlation is None else "monitor-bursts",
            ),
            _trigger(f"{rule.id}-blind", "Could not see everything", "3", "monitor-blind"),
        ],
    }


def monitor_artifact(plan: DetectionPlan) -> Artifact:
    """Return the artifact of kind `monitor`. Raises RenderRefused."""
    return Artifact(
        kind="monitor",
        id=plan.rule.id,
        body=opensearch_monitor(plan),
        depends_on=script_keys(watcher=False),
        source=plan.rule.source,
        stage=plan.rule.stage,
    )


def opensearch_caveats(plan: DetectionPlan) -> list[str]:
    """Return what a monitor does differently for this plan."""
    if plan.interval >= SHORTEST_PERIOD:
        return []
    return [f"evaluated every minute, not every {plan.interval} seconds"]


def _search(plan: DetectionPlan, report: int, groups: int) -> dict[str, Any]:
    if plan.correlation is None:
        body = event_search(plan, Moments(MOMENT, report, 0, "epoch_millis"), size=EVENTS)
        body["_source"] = alert_spec(plan, target="opensearch").source_fields()
        return body
    moments = Moments(MOMENT, report, plan.correlation.lookback(), "epoch_millis")
    return with_last_group(window_search(plan, moments, size=groups))


_CLAUSES = ("bool", "exists", "range", "regexp", "script", "term", "terms", "wildcard")
_CLAUSE = 80
"""Most bytes that the plugin adds to a clause when it writes it out: defaults, among them `boost`."""


def _written_size(body: dict[str, Any]) -> int:
    """Return how many bytes a search has about, at most, when the plugin has written it out again."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    clauses = sum(text.count(f'{{"{kind}":') for kind in _CLAUSES)
    return len(text.encode("utf-8", "replace")) + _CLAUSE * clauses


def _trigger(trigger_id: str, name: str, severity: str, script: str) -> dict[str, Any]:
    condition = {"script": {"lang": "painless", "source": source(script)}}
    trigger = {
        "id": trigger_id,
        "name": name,
        "severity": severity,
        "condition": condition,
        "actions": [],
    }
    return {"query_level_trigger": trigger}


def _inert(plan: DetectionPlan) -> DetectionPlan:
    """Return a plan of which mustache leaves everything as it is. Raises RenderRefused.

    This happens before the moment comes in, so that no text of a rule can pass for it.
    """
    correlation = plan.correlation
    if correlation is not None:
        queries = tuple(_without_tags(query) for query in correlation.queries)
        correlation = replace(correlation, queries=queries)
    found = replace(plan, query=_without_tags(plan.query), correlation=correlation)
    searched = found.to_dict()
    tag = _tag_in([searched["query"], searched["correlation"]])
    if tag is not None:
        raise RenderRefused(
            "opensearch",
            f"{tag!r} would be read as a template: monitors render their searches with mustache",
            hint="Use the target runner, or a rule without `{{`.",
        )
    return found


def _tag_in(value: Any) -> str | None:
    """Return a text that mustache would look into."""
    if isinstance(value, str):
        return value if "{{" in value else None
    if isinstance(value, dict):
        value = [*value, *value.values()]
    texts = map(_tag_in, value) if isinstance(value, list) else ()
    return next((text for text in texts if text is not None), None)


def _without_tags(value: Any) -> Any:
    """Return a value in which no query for texts has `{{` where another spelling means the same."""
    if isinstance(value, list):
        return [_without_tags(each) for each in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((kind, inner),) = value.items()
        if kind in _SPELLINGS and isinstance(inner, dict) and len(inner) == 1:
            return _spelled(kind, inner)
    return {key: _without_tags(each) for key, each in value.items()}


def _spelled(kind: str, inner: Query) -> Query:
    """Return a `term`, `wildcard` or `regexp` query, as a `regexp` where its text has `{{`."""
    ((field, options),) = inner.items()
    given = options if isinstance(options, dict) else {"value": options}
    text = given.get("value")
    if not isinstance(text, str) or "{{" not in text:
        return {kind: inner}
    expression = _SPELLINGS[kind](text)
    if len(expression) > LONGEST_EXPRESSION:
        return {kind: inner}
    fixed = {"value": expression, "flags": "NONE", "max_determinized_states": MAX_STATES}
    return {"regexp": {field: {**given, **fixed}}}


_SPECIAL = frozenset('.?+*|{}[]()"\\#@&<>~^$-')


def _literally(text: str) -> str:
    return "".join(f"\\{char}" if char in _SPECIAL else char for char in text)


def _wildcard(text: str) -> str:
    """Return a wildcard pattern as an expression."""
    out = []
    characters = iter(text)
    for char in characters:
        if char == "\\":
            out.append(_literally(next(characters, "\\")))
        else:
            out.append({"*": ".*", "?": "."}.get(char) or _literally(char))
    return "".join(out)


def _expression(text: str) -> str:
    r"""Return an expression without `{{`: `\{{2}` is `(\{){2}`, and in a class a backslash goes between them."""
    out: list[str] = []
    inside = False
    characters = iter(text)
    for char in characters:
        part = char + next(characters, "") if char == "\\" else char
        if part == "{" and out and out[-1].endswith("{"):
            if inside:
                part = "\\{"
            else:
                out[-1] = f"({out[-1]})"
        inside = part != "]" and (inside or part == "[")
        out.append(part)
    return "".join(out)


_SPELLINGS = {"term": _literally, "wildcard": _wildcard, "regexp": _expression}
