"""Index templates of alerts and health notes."""

from __future__ import annotations

from typing import Any

from sigmawatch.alerts.document import ALERTS, HEALTH, SHADOW
from sigmawatch.alerts.fields import mapping_properties
from sigmawatch.artifact import Artifact

__all__ = ["alert_artifacts"]

PRIORITY = 300


def _template(name: str, properties: dict[str, object]) -> Artifact:
    body: dict[str, Any] = {
        "index_patterns": [f"{name}-*"],
        "priority": PRIORITY,
        "template": {
            "settings": {"index": {"auto_expand_replicas": "0-1", "number_of_shards": 1}},
            # Nothing that an event brings may be refused or add fields: an alert must always be kept.
            "mappings": {"dynamic": False, "properties": properties},
            "aliases": {name: {}},
        },
    }
    return Artifact("index_template", name, body, source="alerts/templates.py", shared=True)


def alert_artifacts() -> list[Artifact]:
    """Return the templates; indices come into being with the first document of a month."""
    health = {
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
    alerts = [_template(name, mapping_properties()) for name in (ALERTS, SHADOW)]
    return [*alerts, _template(HEALTH, health)]
