"""Builds alerts from what an engine answered.

`AlertSpec` is what can be said of a plan's alerts beforehand; targets that build alerts elsewhere (Watcher, in
Painless) get it as data. The functions here and `watch-transform.painless` must give the same documents;
a test compares them on a real engine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sigmawatch.alerts.attack import threat
from sigmawatch.alerts.fields import COPIED, alert_path, related_fields
from sigmawatch.compile.asked import fields_of
from sigmawatch.ecs import ecs_type

if TYPE_CHECKING:
    from sigmawatch.compile.plan import Correlation, DetectionPlan

__all__ = [
    "ALERTS",
    "HEALTH",
    "SHADOW",
    "Alert",
    "AlertSpec",
    "alert_spec",
    "alerts_of_groups",
    "alerts_of_hits",
    "get_path",
    "health_alert",
    "iso_time",
]

ALERTS = "sigmawatch-alerts"
"""Name under which all alerts are read; their indices are `sigmawatch-alerts-<namespace>-<year>.<month>`."""

SHADOW = "sigmawatch-shadow"
"""As `ALERTS`, for rules that are on trial (stage `shadow`): nothing that reads alerts finds them there."""

HEALTH = "sigmawatch-health"
"""As `ALERTS`, for what kept a detection from seeing everything."""

MAX_DESCRIPTION = 8000

_COPIED = tuple((name, name) for name in COPIED)


@dataclass(frozen=True)
class Alert:
    """One document and where it belongs. The same finding always has the same id and index."""

    index: str
    id: str
    document: dict[str, Any]


@dataclass(frozen=True)
class AlertSpec:
    """What is known of a plan's alerts before anything happened."""

    rule_id: str
    template: dict[str, Any]
    """The part that is the same in all of them."""
    copied: tuple[tuple[str, str], ...]
    """Plain rules: field of the event and its place in the alert."""
    groups: tuple[str, ...]
    """Correlations: where the value of each group-by field goes."""
    related: dict[str, list[str]]
    """Which fields of the alert feed `related.*`."""
    reason: str
    """Correlations: says why, after the value (e.g. ` events within 5m (threshold: at least 10)`)."""
    namespace: str = "default"
    alerts: str = ALERTS
    """Name of the indices that the alerts go to: `ALERTS` or `SHADOW`."""

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters of `watch-transform.painless`."""
        return {
            "rule_id": self.rule_id,
            "template": self.template,
            "copied": list(map(list, self.copied)),
            "groups": list(self.groups),
            "related": self.related,
            "reason": self.reason,
            "namespace": self.namespace,
            "alerts": self.alerts,
        }

    def source_fields(self) -> list[str]:
        """Return the fields of an event that its alert needs."""
        return [*map(itemgetter(0), self.copied), "event.category", "event.type"]


def alert_spec(plan: DetectionPlan, *, target: str, namespace: str = "default") -> AlertSpec:
    """Return what is known beforehand of the alerts of a plan that `target` executes."""
    rule = plan.rule
    on_trial = rule.stage == "shadow"
    index = SHADOW if on_trial else ALERTS
    about = {
        "id": rule.id,
        # What the rule itself is called: for a tenant, its deployed one has an id of its own.
        "uuid": rule.id.removeprefix(f"{namespace}.") if rule.id.startswith(f"{namespace}.") else "",
        "name": rule.title,
        "version": rule.version,
        "description": rule.description[:MAX_DESCRIPTION],
        "reference": list(rule.references),
        "author": rule.author,
        "license": rule.license,
    }
    own: dict[str, Any] = {
        "level": rule.level,
        "risk_score": rule.risk_score,
        "runbook": rule.runbook,
        "tags": list(rule.tags),
        "falsepositives": list(rule.falsepositives),
        "target": target,
        "stage": "shadow" if on_trial else "",
    }
    reason = ""
    if plan.correlation is not None:
        root = plan.correlation.root
        own["correlation"] = {"type": root.type, "window": spell_span(root.timespan)}
        if root.condition:
            own["correlation"]["threshold"] = min(root.condition.values())
        reason = _reason(plan.correlation)
    template: dict[str, Any] = {
        "ecs": {"version": "8.17.0"},
        "event": {
            "kind": "alert",
            "module": "sigmawatch",
            "dataset": "sigmawatch.alerts",
            "severity": rule.severity,
        },
        "rule": {key: value for key, value in about.items() if value},
        "sigmawatch": {key: value for key, value in own.items() if value not in ("", [])},
    }
    attack = threat(rule.tags)
    if attack:
        template["threat"] = attack
    if plan.correlation is not None:
        groups = tuple(alert_path(name) for name in plan.correlation.group_by)
        related = related_fields(groups)
        for path, names in zip(groups, plan.correlation.aliased, strict=False):
            if all(ecs_type(name) == "ip" for name in names):
                related["ip"].append(path)
        return AlertSpec(rule.id, template, (), groups, related, reason, namespace, index)
    own_fields = sorted(set(fields_of(plan.query)).difference(COPIED))
    extra = _without_clashes((name, alert_path(name)) for name in own_fields if not _of_alert(name))
    copied = (*_COPIED, *extra)
    related = related_fields(tuple(map(itemgetter(1), copied)))
    return AlertSpec(rule.id, template, copied, (), related, reason, namespace, index)


def _without_clashes(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the pairs without those whose place is an object of another's: a document cannot hold both.

    None clashes with what alerts show anyway: `alert_path` sees to that.
    """
    found = list(pairs)
    objects = {path[:dot] for _, path in found for dot, char in enumerate(path) if char == "."}
    return tuple(pair for pair in found if pair[1] not in objects)


def _of_alert(field: str) -> bool:
    return field.split(".")[0] in ("@timestamp", "event", "ecs", "rule", "threat", "message")


def spell_span(milliseconds: int) -> str:
    """Return a span of time in the largest unit that divides it: 300000 is `5m`."""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


_NOUNS = {
    "event_count": "events",
    "value_count": "distinct {field}",
    "value_sum": "{field} in sum",
    "value_avg": "{field} on average",
    "value_percentile": "{field} at percentile {percentile}",
    "value_median": "{field} in the median",
    "temporal": "rules matched",
    "temporal_ordered": "rules matched in order",
}


def _reason(correlation: Correlation) -> str:
    root = correlation.root
    fields = " and ".join(correlation.values[slot].field for slot in root.values)
    noun = _NOUNS[root.type].format(field=fields, percentile=_spell(root.percentile))
    within = f" {noun} within {spell_span(root.timespan)}"
    return f"{within} (threshold: {root.spell_condition()})" if root.condition else within


def _spell(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def iso_time(milliseconds: int) -> str:
    """Return epoch milliseconds as ISO 8601 in UTC with milliseconds."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def _digest(parts: Iterable[object]) -> str:
    """Return the hash of texts, each with its length (in UTF-16 units, as Java counts), so none can pose as two."""
    texts = (str(part).lower() if isinstance(part, bool) else str(part) for part in parts)
    joined = "".join(f"{len(text.encode('utf-16-le', 'surrogatepass')) // 2}:{text}" for text in texts)
    return hashlib.sha256(joined.encode("utf-8", "replace")).hexdigest()


def _index(name: str, namespace: str, milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return f"{name}-{namespace}-{moment:%Y.%m}"


def get_path(source: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path, whether the document spells it nested, dotted or mixed."""
    if path in source:
        return source[path]
    start = 0
    while (dot := path.find(".", start)) > 0:
        inner = source.get(path[:dot])
        if isinstance(inner, Mapping):
            found = get_path(inner, path[dot + 1 :])
            if found is not None:
                return found
        start = dot + 1
    return None


def _put(document: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        document = document.setdefault(name, {})
    document[last] = value


def _scalars(value: Any) -> list[Any]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if one is not None and not isinstance(one, (list, Mapping))]


def _fresh(spec: AlertSpec) -> dict[str, Any]:
    return {key: _copy(value) for key, value in spec.template.items()}


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, list) else value


def _add_related(document: dict[str, Any], spec: AlertSpec) -> None:
    for kind in ("ip", "user", "hosts"):
        found = [str(one) for one in _scalars(get_path(document, f"related.{kind}"))]
        for path in spec.related[kind]:
            found += [str(one) for one in _scalars(get_path(document, path))]
        if found:
            _put(document, f"related.{kind}", sorted(set(found)))


def _add_categories(document: dict[str, Any], hits: Sequence[Mapping[str, Any]]) -> None:
    for key in ("category", "type"):
        found = {
            str(one) for hit in hits for one in _scalars(get_path(hit.get("_source") or {}, f"event.{key}"))
        }
        if found:
            document["event"][key] = sorted(found)


def alerts_of_hits(spec: AlertSpec, hits: Sequence[Mapping[str, Any]], *, created: int) -> list[Alert]:
    """Return one alert for each event that a plain rule matched. `created`: now, epoch milliseconds."""
    alerts = []
    for hit in hits:
        time = int(hit["sort"][0])
        document = _fresh(spec)
        source = hit.get("_source") or {}
        for field, path in spec.copied:
            values = _scalars(get_path(source, field))
            if values:
                _put(document, path, values[0] if len(values) == 1 else values)
        document["@timestamp"] = iso_time(time)
        document["event"] |= {"start": iso_time(time), "end": iso_time(time), "created": iso_time(created)}
        _add_categories(document, [hit])
        _add_related(document, spec)
        document["sigmawatch"]["events"] = [{"index": hit["_index"], "id": hit["_id"]}]
        alert_id = _digest([spec.rule_id, hit["_index"], hit["_id"]])
        alerts.append(Alert(_index(spec.alerts, spec.namespace, time), alert_id, document))
    return alerts


def alerts_of_groups(spec: AlertSpec, buckets: Sequence[Mapping[str, Any]], *, created: int) -> list[Alert]:
    """Return one alert for each burst of each group that a correlation found. `created`: now, epoch ms."""
    alerts = []
    for values, bursts, hits in _groups_of(spec, buckets):
        group = _digest([spec.rule_id, *values])
        for burst in bursts:
            time = int(burst["time"])
            document = _fresh(spec)
            for path, value in zip(spec.groups, values, strict=True):
                _put(document, path, value)
            document["@timestamp"] = iso_time(time)
            document["event"] |= {
                "start": iso_time(int(burst["start"])),
                "end": iso_time(int(burst["end"])),
                "created": iso_time(created),
                "reason": _spell(burst["value"]) + spec.reason,
            }
            _add_categories(document, hits)
            _add_related(document, spec)
            own = document["sigmawatch"]
            own["correlation"]["value"] = burst["value"]
            own["group"] = group
            own["events"] = [{"index": hit["_index"], "id": hit["_id"]} for hit in hits]
            alert_id = _digest([spec.rule_id, *values, time])
            alerts.append(Alert(_index(spec.alerts, spec.namespace, time), alert_id, document))
    return alerts


def _groups_of(
    spec: AlertSpec, buckets: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[list[Any], Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]]:
    """Yield the key, the bursts and some events of each group; groups by alias are all in one bucket."""
    for bucket in buckets:
        found = bucket["windows"]["value"]
        hits = bucket["sample"]["hits"]["hits"] if "sample" in bucket else []
        if "groups" in found:
            for group in found["groups"]:
                yield list(group["key"]), group["bursts"], hits
        else:
            yield [bucket["key"][f"g{index}"] for index in range(len(spec.groups))], found["bursts"], hits


def health_alert(spec: AlertSpec, problem: str, *, at: int, created: int) -> Alert:
    """Return the note that a detection could not see everything at a moment; one an hour and problem."""
    hour = at - at % 3_600_000
    document = {
        "@timestamp": iso_time(at),
        "ecs": {"version": "8.17.0"},
        "event": {
            "kind": "event",
            "module": "sigmawatch",
            "dataset": "sigmawatch.health",
            "created": iso_time(created),
            "outcome": "failure",
            "reason": problem,
        },
        "rule": {"id": spec.rule_id, "name": spec.template["rule"].get("name", "")},
    }
    return Alert(_index(HEALTH, spec.namespace, hour), _digest([spec.rule_id, problem, hour]), document)
