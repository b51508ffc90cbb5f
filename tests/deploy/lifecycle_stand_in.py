"""`LifecycleStandIn`: what the kinds of policies, and of their attachments to indices, use of both products, in memory.

No engine that tests can fetch has ILM, ISM or lifecycles of data streams, so this stands in for them, on top of what
`WatcherStandIn` keeps of the document API. It refuses what the real ones refuse (unknown phases and actions, a policy in
use, an update without the version that was read, a second policy for an index), and adds what they add (dates, versions,
defaults of phases, actions and retries). Indices keep the version of an ISM policy that they were given.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import orjson

from deploy.watcher_stand_in import Refused, WatcherStandIn

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
    streams: dict[str, list[str]] = field(default_factory=dict)
    """Data streams and their indices."""
    plain: list[str] = field(default_factory=list)
    """Indices of no data stream."""
    managed: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Policy and its version of each index that has one."""
    lifecycles: dict[str, Any] = field(default_factory=dict)
    """By data stream."""
    new_index_has: str = ""
    """The ILM policy that templates give to new indices."""

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
        if (answered := self._of_indices(method, path, raw)) is not None:
            return answered
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

    # Indices -----------------------------------------------------------------------------------------------

    def _matching(self, patterns: str, *, streams: bool) -> Iterator[str]:
        """Yield the indices that patterns match, by their own names or (`streams`) by their streams'."""
        for pattern in patterns.split(","):
            for stream, indices in self.streams.items():
                if streams and fnmatchcase(stream, pattern):
                    yield from indices
                yield from (index for index in indices if fnmatchcase(index, pattern))
            yield from (index for index in self.plain if fnmatchcase(index, pattern))

    def _of_indices(self, method: str, path: str, raw: bytes) -> tuple[int, Any] | None:
        if found := re.fullmatch(r"/_resolve/index/([^/]+)", path):
            return 200, {
                "indices": [{"name": name} for name in self.plain if fnmatchcase(name, found[1])],
                "aliases": [],
                "data_streams": [{"name": name} for name in self.streams if fnmatchcase(name, found[1])],
            }
        if path in {"/_data_stream", "/_data_stream/*"}:
            return 200, {"data_streams": [{"name": name} for name in self.streams]}
        if path.startswith("/_cat/indices/"):
            shown = [index for indices in self.streams.values() for index in indices] + self.plain
            row = {"docs.count": "2", "store.size": "300", "creation.date": "1790000000000"}
            return 200, [{"index": index, **row} for index in shown]
        if path == "/_cat/plugins":
            return 200, [{"component": "opensearch-index-management"}] if self.has_plugin else []
        if not self.has_plugin:
            return None
        if self.opensearch:
            return self._ism_of_indices(method, path, raw)
        if found := re.fullmatch(r"/_data_stream/([^/]+)/_lifecycle", path):
            return self._lifecycle(method, found[1], raw)
        if path.startswith("/_index_template/_simulate_index/"):
            lifecycle = {"lifecycle": {"name": self.new_index_has}} if self.new_index_has else {}
            return 200, {"template": {"settings": {"index": lifecycle}, "mappings": {}, "aliases": {}}}
        if found := re.fullmatch(r"/([^/]+)/_ilm/remove", path):
            for index in self._matching(found[1], streams=True):
                self.managed.pop(index, None)
            return 200, {"has_failures": False, "failed_indexes": []}
        found = re.fullmatch(r"/([^/]+)/_settings(?:/[^/]+)?", path)
        if not found:
            return None
        indices = list(self._matching(found[1], streams=True))
        if method == "PUT":
            if not indices:
                raise Refused(404, "index_not_found_exception", f"no such index [{found[1]}]")
            for index in indices:
                self.managed[index] = (orjson.loads(raw)["index.lifecycle.name"], 0)
            return 200, {"acknowledged": True}
        return 200, {
            index: {
                "settings": {
                    "index.uuid": f"uuid-of-{index}",
                    **({"index.lifecycle.name": self.managed[index][0]} if index in self.managed else {}),
                }
            }
            for index in indices
        }

    def _lifecycle(self, method: str, pattern: str, raw: bytes) -> tuple[int, Any]:
        streams = [name for name in self.streams if fnmatchcase(name, pattern)]
        for name in streams:
            if method == "PUT":
                self.lifecycles[name] = {"enabled": True, **orjson.loads(raw)}
            elif method == "DELETE":
                self.lifecycles.pop(name, None)
        if method != "GET":
            return 200, {"acknowledged": True}
        shown = []
        for name in streams:
            lifecycle = self.lifecycles.get(name)
            # What the server works out beside what it was told.
            effective = {"effective_retention": "7d", "retention_determined_by": "data_stream_configuration"}
            shown.append({"name": name, **({"lifecycle": {**lifecycle, **effective}} if lifecycle else {})})
        return 200, {"data_streams": shown, "global_retention": {}}

    def _ism_of_indices(self, method: str, path: str, raw: bytes) -> tuple[int, Any] | None:
        if path == "/_plugins/_ism/policies":
            found = [{"_id": name, "_seq_no": 1, "policy": policy} for name, policy in self.policies.items()]
            return 200, {"policies": found, "total_policies": len(found)}
        asked = re.fullmatch(r"/_plugins/_ism/(explain|add|change_policy|remove)/([^/]+)", path)
        if not asked:
            return None
        verb, indices = asked[1], list(self._matching(asked[2], streams=False))
        if verb == "explain":
            shown: dict[str, Any] = {}
            for index in indices:
                policy = self.managed.get(index, (None, 0))[0]
                shown[index] = {"index.plugins.index_state_management.policy_id": policy, "enabled": None}
                if policy is not None:
                    shown[index] |= {"index": index, "policy_id": policy, "enabled": True}
            return 200, {**shown, "total_managed_indices": len(self.managed)}
        failed = []
        for index in indices:
            has = index in self.managed
            if has == (verb == "add"):
                reason = "This index already has a policy" if has else "This index is not being managed"
                failed.append({"index_name": index, "index_uuid": "u", "reason": reason})
            elif verb == "remove":
                del self.managed[index]
            else:
                policy = orjson.loads(raw)["policy_id"]
                if policy not in self.policies:
                    raise Refused(404, "status_exception", f"Could not find policy={policy}")
                self.managed[index] = (policy, self.versions[policy])
        done = len(indices) - len(failed)
        return 200, {"updated_indices": done, "failures": bool(failed), "failed_indices": failed}
