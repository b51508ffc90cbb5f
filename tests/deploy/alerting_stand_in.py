"""`AlertingStandIn`: an OpenSearch with the alerting plugin, as far as the deployer uses it, in memory.

No OpenSearch with plugins can be had by these tests, so this stands in for one, on top of what `WatcherStandIn` keeps of
the document API. After the plugin's sources it parses monitors as they do (name, schedule and triggers of the right type
are wanted, ids of triggers differ, ten triggers and a thousand monitors at most), gives them ids, answers 404 to a search
before the first one, adds what the plugin adds, and refuses an update whose version is not the live one. It goes further in
one point: keys that the plugin would skip in silence are refused.
"""

from __future__ import annotations

import copy
import re
import uuid
from dataclasses import dataclass, field
from typing import Any

import orjson

from deploy.watcher_stand_in import Refused, WatcherStandIn

_KEYS = {
    "type", "name", "monitor_type", "enabled", "schedule", "inputs", "triggers", "ui_metadata",
    # What is read back and sent again:
    "schema_version", "user", "enabled_time", "last_update_time", "data_sources", "owner",
}  # fmt: skip
_TRIGGER = {"id", "name", "severity", "condition", "actions"}


@dataclass
class AlertingStandIn(WatcherStandIn):
    """Use as a context manager."""

    has_plugin: bool = True
    most: int = 1000
    monitors: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the server's id."""
    versions: dict[str, int] = field(default_factory=dict)
    input_error: str | None = None
    trigger_error: str | None = None
    """What goes wrong when a monitor is executed."""

    def monitor(self, rule_id: str) -> dict[str, Any]:
        """Return the only monitor of a rule."""
        (found,) = [one for one in self.monitors.values() if one["name"].endswith(f"({rule_id})")]
        return found

    def _route(self, method: str, path: str, params: dict[str, str], raw: bytes) -> tuple[int, Any]:
        if path == "/":
            version = {"number": "3.7.0", "distribution": "opensearch"}
            return 200, {"cluster_name": "alerting-stand-in", "cluster_uuid": "u", "version": version}
        if path == "/_cat/plugins":
            return 200, [{"component": "opensearch-alerting"}] if self.has_plugin else []
        found = re.fullmatch(r"/_plugins/_alerting/monitors(?:/(.+))?", path)
        if found and self.has_plugin:
            return self._alerting(method, found[1], params, orjson.loads(raw) if raw else None)
        return super()._route(method, path, params, raw)

    def _alerting(self, method: str, name: str | None, params: dict[str, str], body: Any) -> tuple[int, Any]:
        if name == "_search" and method == "POST":
            return 200, self._search_monitors(body)
        if name is None and method == "POST":
            monitor = _parsed(body)
            if len(self.monitors) >= self.most:
                reason = f"This request would create more than the allowed monitors [{self.most}]."
                raise Refused(400, "alerting_exception", reason)
            return 201, self._store(str(uuid.uuid4()), monitor)
        if name is None:
            raise Refused(405, "method_not_allowed", f"Incorrect HTTP method for uri [{name}]")
        if name.endswith("/_execute") and method == "POST":
            assert params == {"dryrun": "true"}, "a trial must have no effect"
            name = name.removesuffix("/_execute")
            if name in self.monitors:
                inner = self.monitors[name]["triggers"][0]["query_level_trigger"]
                result = {"name": inner["name"], "triggered": False, "error": self.trigger_error}
                return 200, {
                    "monitor_name": self.monitors[name]["name"],
                    "error": None,
                    "input_results": {"results": [], "error": self.input_error},
                    "trigger_results": {inner["id"]: result},
                }
        if name not in self.monitors:
            raise Refused(404, "alerting_exception", f"Monitor with {name} is not found")
        if method == "GET":
            return 200, self._answer_of(name)
        if method == "DELETE":
            del self.monitors[name]
            return 200, {"_id": name, "_version": self.versions.pop(name)}
        given = (int(params.get("if_seq_no", -2)), int(params.get("if_primary_term", 0)))
        if given not in {(-2, 0), (self.versions[name], 1)}:
            raise Refused(
                409, "alerting_exception", f"[{name}]: version conflict, required seqNo [{given[0]}]"
            )
        return 200, self._store(name, _parsed(body))

    def _store(self, name: str, monitor: dict[str, Any]) -> dict[str, Any]:
        enabled = monitor.get("enabled", True)
        monitor |= {
            "enabled": enabled,
            "enabled_time": 1 if enabled else None,
            "schema_version": 8,
            "last_update_time": 1,
            "owner": "alerting",
            "data_sources": {"alerts_index": ".opendistro-alerting-alerts"},
        }
        for one in monitor["inputs"]:
            # Parsed and written out again: queries get what they did not say.
            if "term" in (query := one["search"]["query"].get("query", {})):
                ((name_of_field, value),) = query["term"].items()
                value = value if isinstance(value, dict) else {"value": value}
                query["term"] = {name_of_field: {"boost": 1.0, **value}}
        self.monitors[name] = monitor
        self._sequence += 1
        self.versions[name] = self._sequence
        return self._answer_of(name)

    def _answer_of(self, name: str) -> dict[str, Any]:
        version = {"_version": 1, "_seq_no": self.versions[name], "_primary_term": 1}
        return {"_id": name, **version, "monitor": copy.deepcopy(self.monitors[name])}

    def _search_monitors(self, body: dict[str, Any]) -> dict[str, Any]:
        if unknown := set(body) - {"size", "query", "seq_no_primary_term", "from", "sort"}:
            raise Refused(400, "parsing_exception", f"unknown key {sorted(unknown)}")
        if not self.versions:
            raise Refused(404, "index_not_found_exception", "no such index [.opendistro-alerting-config]")
        if body.get("size", 10) > 10_000:
            raise Refused(400, "illegal_argument_exception", "Result window is too large")
        hits = [
            {"_id": name, "_seq_no": self.versions[name], "_primary_term": 1, "_source": copy.deepcopy(one)}
            for name, one in self.monitors.items()
        ]
        if not body.get("seq_no_primary_term"):
            hits = [{"_id": hit["_id"], "_source": hit["_source"]} for hit in hits]
        hits.append(
            {"_id": "w", "_seq_no": 0, "_primary_term": 1, "_source": {"type": "workflow", "name": "w"}}
        )
        return {"hits": {"hits": hits[: body.get("size", 10)]}}


def _parsed(body: dict[str, Any]) -> dict[str, Any]:
    """Return a monitor as `Monitor.parse` reads it. Raises Refused."""

    def wanted(condition: bool, reason: str) -> None:
        if not condition:
            raise Refused(400, "alerting_exception", reason)

    monitor = copy.deepcopy(body)
    unknown = set(monitor) - _KEYS
    wanted(not unknown, f"unknown keys {sorted(unknown)}")
    wanted(monitor.get("type") == "monitor", "Job type is missing")
    wanted(isinstance(monitor.get("name"), str), "Monitor name is null")
    wanted(monitor.get("monitor_type") == "query_level_monitor", "Monitor type should be one of")
    period: Any = (monitor.get("schedule") or {}).get("period")
    wanted(isinstance(period, dict), "Monitor schedule is null")
    wanted(
        set(period) == {"interval", "unit"} and period["unit"] in {"MINUTES", "HOURS", "DAYS"}, "Invalid unit"
    )
    wanted(isinstance(period["interval"], int) and period["interval"] >= 1, "Interval is not allowed to be 0")
    wanted(len(monitor["inputs"]) <= 1, "Monitors can only have 1 search input.")
    for one in monitor["inputs"]:
        wanted(set(one) == {"search"} and set(one["search"]) == {"indices", "query"}, "Unexpected input")
    wanted(len(monitor["triggers"]) <= 10, "Monitors can only support up to 10 triggers.")
    ids = []
    for trigger in monitor["triggers"]:
        wanted(set(trigger) == {"query_level_trigger"}, "Incompatible trigger")
        inner = trigger["query_level_trigger"]
        unknown = set(inner) - _TRIGGER
        wanted(not unknown, f"Invalid field: [{sorted(unknown)}] found in trigger.")
        wanted(inner.get("severity") in {"1", "2", "3", "4", "5"}, "Trigger severity is null")
        wanted(set(inner["condition"]["script"]) == {"source", "lang"}, "Trigger condition is null")
        wanted(isinstance(inner.get("actions"), list), "Trigger actions are null")
        ids.append(inner.setdefault("id", str(uuid.uuid4())))
    wanted(len(ids) == len(set(ids)), "Duplicate trigger id. Trigger ids must be unique.")
    return monitor
