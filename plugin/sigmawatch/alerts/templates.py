"""Index templates of alerts and health notes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.alerts.document import ALERTS, HEALTH, SHADOW
from sigmawatch.alerts.fields import mapping_properties
from sigmawatch.artifact import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["alert_artifacts", "alert_template_id"]

PRIORITY = 300

TENANT_PRIORITY = PRIORITY + 10
"""A tenant's own templates win over those for everybody."""


def alert_template_id(name: str, tenant: str = "") -> str:
    """Return the name of the template of alerts, of everybody or of one tenant alone. `name`: e.g. `ALERTS`."""
    return f"{name}-{tenant}" if tenant else name


def _template(name: str, properties: dict[str, object], added: Mapping[str, Any], tenant: str) -> Artifact:
    template_id = alert_template_id(name, tenant)
    body: dict[str, Any] = {
        "index_patterns": [f"{template_id}-*"],
        "priority": TENANT_PRIORITY if tenant else PRIORITY,
        "template": {
            "settings": {"index": {"auto_expand_replicas": "0-1", "number_of_shards": 1, **added}},
            # Nothing that an event brings may be refused or add fields: an alert must always be kept.
            "mappings": {"dynamic": False, "properties": properties},
            # Who reads all, and who may only read one tenant's.
            "aliases": {each: {} for each in dict.fromkeys((name, template_id))},
        },
    }
    return Artifact("index_template", template_id, body, source="alerts/templates.py", shared=True)


def alert_artifacts(
    *,
    alerts: Mapping[str, Any] | None = None,
    shadow: Mapping[str, Any] | None = None,
    health: Mapping[str, Any] | None = None,
    tenant: str = "",
) -> list[Artifact]:
    """Return the templates; indices come into being with the first document of a month.

    `alerts`, `shadow`, `health`: settings that these indices have besides, e.g. who deletes them. `tenant`: whose
    alerts alone they are for; all tenants' are read under the same names.
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
        _template(ALERTS, mapping_properties(), alerts or {}, tenant),
        _template(SHADOW, mapping_properties(), shadow or {}, tenant),
        _template(HEALTH, notes, health or {}, tenant),
    ]
