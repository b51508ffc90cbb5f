"""Index templates of alerts and health notes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.alerts.document import ALERTS, HEALTH, SHADOW
from sigmawatch.alerts.fields import mapping_properties
from sigmawatch.artifact import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["alert_artifacts"]

PRIORITY = 300


def _template(name: str, properties: dict[str, object], added: Mapping[str, Any]) -> Artifact:
    body: dict[str, Any] = {
        "index_patterns": [f"{name}-*"],
        "priority": PRIORITY,
        "template": {
            "settings": {"index": {"auto_expand_replicas": "0-1", "number_of_shards": 1, **added}},
            # Nothing that an event brings may be refused or add fields: an alert must always be kept.
            "mappings": {"dynamic": False, "properties": properties},
            "aliases": {name: {}},
        },
    }
    return Artifact("index_template", name, body, source="alerts/templates.py", shared=True)


def alert_artifacts(
    *,
    alerts: Mapping[str, Any] | None = None,
    shadow: Mapping[str, Any] | None = None,
    health: Mapping[str, Any] | None = None,
) -> list[Artifact]:
    """Return the templates; indices come into being with the first document of a month.

    `alerts`, `shadow`, `health`: settings that these indices have besides, e.g. who deletes them.
    """
    notes = {
        "@timestamp": {"type": "date"},
        "event": {
            "properties": {
                "created": {"type": "date"},
                "dataset": {"type": "keyword"},
                "kind": {"type": "keyword"},
                "outcome": {"type": "keyword"},
                "reason": {"type": "keyword", "ignore_above": 8191},
            }
        },
        "rule": {"properties": {"id": {"type": "keyword"}, "name": {"type": "keyword"}}},
    }
    return [
        _template(ALERTS, mapping_properties(), alerts or {}),
        _template(SHADOW, mapping_properties(), shadow or {}),
        _template(HEALTH, notes, health or {}),
    ]
