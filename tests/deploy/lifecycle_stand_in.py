"""`LifecycleStandIn`: what the kinds `ilm_policy` and `ism_policy` use of Elasticsearch and OpenSearch, in memory.

No engine that tests can fetch has either, so this stands in for both, on top of what `WatcherStandIn` keeps of the
document API. It refuses what the real ones refuse (unknown phases and actions, a policy in use, an update without the
version that was read), and adds what they add (dates, versions, defaults of phases, actions and retries).
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from typing import Any

import orjson
from watcher_stand_in import Refused, WatcherStandIn

_ACTIONS = {
    "hot": {"rollover", "set_priority", "shrink", "forcemerge", "readonly", "unfollow", "downsample", "searchable_snapshot"},
    "warm": {"allocate", "forcemerge", "migrate", "readonly", "set_priority", "shrink", "unfollow", "downsample"},
    "cold": {"allocate", "migrate", "readonly", "searchable_snapshot", "set_priority", "unfollow", "downsample"},
    "frozen": {"searchable_snapshot", "unfollow"},
    "delete": {"wait_for_snapshot", "delete"},
}  # fmt: skip


@dataclass
class LifecycleStandIn(WatcherStandIn):
    """Use as a context manager; `opensearch` decides which of the two it is."""

    opensearch: bool = False
    has_plugin: bool = True
    policies: dict[str, Any] = field(default_factory=dict)
    users: dict[str, list[str]] = field(default_factory=dict)
    """Data streams that use a policy."""
    versions: dict[str, int] = field(default_factory=dict)

    def _route(self, method: str, path: str, params: dict[str, str], raw: bytes) -> tuple[int, Any]:
        if path == "/":
            version = (
                {"number": "3.7.0", "distribution": "opensearch"}
                if self.opensearch
                else {"number": "9.4.3", "build_flavor": "default"}
            )
            return 200, {"cluster_name": "lifecycle-stand-in", "cluster_uuid": "u", "version": version}
        if path == "/_xpack":
            features = {"ilm": {"available": True, "enabled": True}} if self.has_plugin else {}
            return 200, {"features": features}
        if self.has_plugin and not self.opensearch and path.startswith("/_ilm/policy"):
            return self._ilm(method, path.removeprefix("/_ilm/policy").strip("/"), raw)
        found = re.fullmatch(r"/_plugins/_ism/policies/([^/]+)", path)
        if self.has_plugin and self.opensearch and found:
            return self._ism(method, found[1], params, raw)
        return super()._route(method, path, params, raw)

    def _ilm(self, method: str, name: str, raw: bytes) -> tuple[int, Any]:
        if method == "GET":
            shown = {
                each: {
                    "version": self.versions[each],
                    "modified_date": "2026-03-01T00:00:00Z",
                    "policy": policy,
                    "in_use_by": {
                        "indices": [],
                        "data_streams": self.users.get(each, []),
                        "composable_templates": [],
                    },
                }
                for each, policy in self.policies.items()
            }
            return 200, shown
        if method == "DELETE":
            if self.users.get(name):
                reason = (
                    f"Cannot delete policy [{name}]. It is in use by one or more indices: {self.users[name]}"
                )
                raise Refused(400, "illegal_argument_exception", reason)
            return (200 if self.policies.pop(name, None) else 404), {"acknowledged": True}
        body = orjson.loads(raw)
        if set(body) != {"policy"} or set(body["policy"]) - {"phases", "_meta", "deprecated"}:
            raise Refused(400, "x_content_parse_exception", "[put_lifecycle_request] unknown field")
        policy = copy.deepcopy(body["policy"])
        for phase, content in policy["phases"].items():
            for action, options in content.get("actions", {}).items():
                if action not in _ACTIONS.get(phase, ()):
                    reason = f"invalid action [{action}] defined in phase [{phase}]"
                    raise Refused(400, "illegal_argument_exception", reason)
                if action == "delete":
                    options.setdefault("delete_searchable_snapshot", True)
            content.setdefault("min_age", "0ms")
            content.setdefault("actions", {})
        self.policies[name] = policy
        self.versions[name] = self.versions.get(name, 0) + 1
        return 200, {"acknowledged": True}

    def _ism(self, method: str, name: str, params: dict[str, str], raw: bytes) -> tuple[int, Any]:
        live = self.policies.get(name)
        version = {"_seq_no": self.versions.get(name, 0), "_primary_term": 1}
        if method == "GET":
            if live is None:
                raise Refused(404, "status_exception", "Policy not found")
            return 200, {"_id": name, "_version": 1, **version, "policy": live}
        if method == "DELETE":
            return (200 if self.policies.pop(name, None) else 404), {"result": "deleted"}
        given = {key: int(params[key]) for key in ("if_seq_no", "if_primary_term") if key in params}
        expected = {f"if{key}": value for key, value in version.items()} if live is not None else {}
        if given != expected:
            raise Refused(409, "version_conflict_engine_exception", f"[{name}]: version conflict")
        body = orjson.loads(raw)
        if (
            set(body) != {"policy"}
            or not body["policy"].get("states")
            or "default_state" not in body["policy"]
        ):
            raise Refused(400, "illegal_argument_exception", "Policy must contain states and a default state")
        policy = copy.deepcopy(body["policy"])
        for state in policy["states"]:
            state.setdefault("transitions", [])
            for action in state.setdefault("actions", []):
                action.setdefault("retry", {"count": 3, "backoff": "exponential", "delay": "1m"})
        templates = policy.get("ism_template")
        for template in [templates] if isinstance(templates, dict) else templates or []:
            template.setdefault("priority", 0)
            template["last_updated_time"] = 1
        policy["ism_template"] = [templates] if isinstance(templates, dict) else templates
        policy |= {
            "policy_id": name,
            "last_updated_time": 1,
            "schema_version": 21,
            "error_notification": None,
        }
        self.policies[name] = policy
        self.versions[name] = self.versions.get(name, 0) + 1
        return 200 if live is not None else 201, {"_id": name, "policy": {"policy": policy}}
