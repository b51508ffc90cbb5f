"""`WatcherStandIn`: the part of Elasticsearch's HTTP API that the watch kind uses, in memory.

No engine that tests can fetch runs Watcher, so this stands in for it. It refuses what the real API refuses
(unknown top-level keys, no trigger, 403 without a licence), adds what the real one adds (defaults of search
requests, status), resets status on every PUT, and redacts passwords. It also keeps just enough of the
document API for the registry and the lock.
"""

from __future__ import annotations

import copy
import re
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from cluster.http_stand_in import Answer, Seen, Served

_TOP = {
    "trigger",
    "input",
    "condition",
    "transform",
    "actions",
    "metadata",
    "throttle_period",
    "throttle_period_in_millis",
    "status",
}


class Refused(Exception):
    def __init__(self, status: int, kind: str, reason: str) -> None:
        self.status = status
        self.body = {"error": {"type": kind, "reason": reason, "root_cause": []}, "status": status}


@dataclass
class _Document:
    source: Any
    seq_no: int


@dataclass
class _Watch:
    body: dict[str, Any]
    active: bool = True
    version: int = 1
    acked: bool = False
    seq_no: int = 0


@dataclass
class WatcherStandIn(Served):
    """Use as a context manager; `url` is where it listens."""

    licence: str = "trial"
    enabled: bool = True
    watches: dict[str, _Watch] = field(default_factory=dict)
    indices: dict[str, dict[str, _Document]] = field(default_factory=dict)
    failing: dict[str, str] = field(default_factory=dict)
    """Watches of which something fails when they are executed: `input` or `action`."""
    merged: list[str] = field(default_factory=list)
    """Watches that were updated by a merge, because the PUT named a version."""
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of every request."""

    def __post_init__(self) -> None:
        self._guard = threading.Lock()
        self._sequence = 0

    def reply(self, seen: Seen) -> Answer:
        status, body = self.answer(seen.method, seen.path, seen.body)
        return Answer(status, body)

    def puts(self) -> list[str]:
        """Ids of watches that were PUT, in order."""
        return [
            path.rsplit("/", 1)[1]
            for method, path in self.requests
            if (method, path[:15]) == ("PUT", "/_watcher/watch")
        ]

    def answer(self, method: str, target: str, raw: bytes) -> tuple[int, Any]:
        parts = urlsplit(target)
        path = unquote(parts.path)
        params = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        with self._guard:
            self.requests.append((method, path))
            try:
                return self._route(method, path, params, raw)
            except Refused as refused:
                return refused.status, refused.body

    def _route(self, method: str, path: str, params: dict[str, str], raw: bytes) -> tuple[int, Any]:
        if path == "/":
            return 200, {
                "cluster_name": "watcher-stand-in",
                "cluster_uuid": "u",
                "version": {"number": "9.4.3", "build_flavor": "default"},
                "tagline": "You Know, for Search",
            }
        if path == "/_license":
            return 200, {"license": {"type": self.licence, "status": "active"}}
        if path == "/_xpack":
            available = self.licence != "basic"
            return 200, {"features": {"watcher": {"available": available, "enabled": self.enabled}}}
        if path.startswith("/_watcher/"):
            return self._watcher(method, path.split("/")[2:], params, raw)
        if path == "/_bulk":
            return self._bulk(raw)
        if path == "/_search/scroll":  # the first page had everything
            return 200, {"_scroll_id": "s", "hits": {"hits": []}}
        if found := re.fullmatch(r"/([^/_][^/]*)(?:/(_doc|_create|_search|_mget)(?:/(.+))?)?", path):
            return self._documents(method, found[1], found[2], found[3], params, raw)
        raise Refused(
            400, "illegal_argument_exception", f"no handler found for uri [{path}] and method [{method}]"
        )

    def _watcher(self, method: str, parts: list[str], params: dict[str, str], raw: bytes) -> tuple[int, Any]:
        if self.licence == "basic":
            raise Refused(403, "security_exception", "current license is non-compliant for [watcher]")
        if parts == ["_query", "watches"] and method == "POST":
            return 200, self._query(orjson.loads(raw))
        if parts[0] == "watch" and len(parts) == 3 and parts[2] == "_execute" and method in {"POST", "PUT"}:
            return self._execute(parts[1], orjson.loads(raw))
        if parts[0] != "watch" or len(parts) != 2:
            raise Refused(400, "illegal_argument_exception", "no handler found")
        watch_id = parts[1]
        if method == "PUT":
            return self._put(watch_id, params, raw)
        if watch_id not in self.watches:
            return 404, {"_id": watch_id, "found": False}
        if method == "DELETE":
            version = self.watches.pop(watch_id).version + 1
            return 200, {"found": True, "_id": watch_id, "_version": version}
        watch = self.watches[watch_id]
        return 200, {
            "found": True,
            "_id": watch_id,
            "_version": watch.version,
            "_seq_no": watch.seq_no,
            "_primary_term": 1,
            "status": self._status(watch),
            "watch": _shown(watch.body),
        }

    def _execute(self, watch_id: str, body: dict[str, Any]) -> tuple[int, Any]:
        known = {
            "trigger_data",
            "alternative_input",
            "ignore_condition",
            "record_execution",
            "action_modes",
            "watch",
        }
        if unknown := set(body) - known:
            raise Refused(400, "parse_exception", f"unexpected field {sorted(unknown)}")
        if watch_id not in self.watches:
            raise Refused(404, "resource_not_found_exception", f"Watch with id [{watch_id}] does not exist")
        assert body["action_modes"] == {"_all": "simulate"}, "a trial must have no effect"
        assert not body.get("record_execution")
        failure = self.failing.get(watch_id)
        result: dict[str, Any] = {
            "execution_time": "2026-03-01T10:00:00.000Z",
            "execution_duration": 1,
            "input": {"type": "search", "status": "success"},
            "condition": {"type": "script", "status": "success", "met": False},
            "actions": [],
        }
        state = "execution_not_needed"
        if failure == "input":
            error = {"type": "index_closed_exception", "reason": "closed"}
            result = {"input": {"type": "search", "status": "failure", "error": error}, "actions": []}
            state = "failed"
        elif failure == "action":
            result["actions"] = [{"id": "alerts", "type": "index", "status": "failure", "reason": "no index"}]
            state = "executed"
        record = {"watch_id": watch_id, "state": state, "result": result, "messages": []}
        return 200, {"_id": f"{watch_id}_u-t", "watch_record": record}

    def _query(self, body: dict[str, Any]) -> dict[str, Any]:
        if unknown := set(body) - {"from", "size", "query", "sort", "search_after"}:
            raise Refused(400, "x_content_parse_exception", f"unknown field {sorted(unknown)}")
        start, size = body.get("from", 0), body.get("size", 10)
        if start + size > 10_000:
            raise Refused(400, "illegal_argument_exception", "Result window is too large")
        wanted = body.get("query", {}).get("ids", {}).get("values")
        matching = [name for name in sorted(self.watches) if wanted is None or name in wanted]
        return {
            "count": len(matching),
            "watches": [
                {
                    "_id": name,
                    "watch": _shown(self.watches[name].body),
                    "status": self._status(self.watches[name]),
                    "_seq_no": self.watches[name].seq_no,
                    "_primary_term": 1,
                }
                for name in matching[start : start + size]
            ],
        }

    def _put(self, watch_id: str, params: dict[str, str], raw: bytes) -> tuple[int, Any]:
        if unknown := set(params) - {"active", "if_seq_no", "if_primary_term"}:
            raise Refused(
                400, "illegal_argument_exception", f"contains unrecognized parameters {sorted(unknown)}"
            )
        body = orjson.loads(raw)
        for key in body:
            if key not in _TOP:
                raise Refused(
                    400, "parse_exception", f"could not parse watch [{watch_id}]. unexpected field [{key}]"
                )
        if not body.get("trigger"):
            raise Refused(
                400,
                "parse_exception",
                f"could not parse watch [{watch_id}]. missing required field [trigger]",
            )
        before = self.watches.get(watch_id)
        stored = _with_defaults(body)
        if "if_seq_no" in params:
            # An update: refused for another version, and merged into what is there.
            if before is None or before.seq_no != int(params["if_seq_no"]):
                raise Refused(409, "version_conflict_engine_exception", f"[{watch_id}]: version conflict")
            stored = _merged(before.body, stored)
            self.merged.append(watch_id)
        self._sequence += 1
        self.watches[watch_id] = _Watch(
            stored,
            params.get("active", "true") == "true",
            before.version + 1 if before else 1,
            seq_no=self._sequence,
        )
        created = before is None
        return 201 if created else 200, {
            "_id": watch_id,
            "_version": self.watches[watch_id].version,
            "_seq_no": self.watches[watch_id].seq_no,
            "_primary_term": 1,
            "created": created,
        }

    def _status(self, watch: _Watch) -> dict[str, Any]:
        return {"version": watch.version, "state": {"active": watch.active}, "acked": watch.acked}

    def _bulk(self, raw: bytes) -> tuple[int, Any]:
        lines = [orjson.loads(line) for line in raw.splitlines()]
        items = []
        while lines:
            action, meta = next(iter(lines.pop(0).items()))
            documents = self.indices.setdefault(meta["_index"], {})
            if action == "delete":
                status = 200 if documents.pop(meta["_id"], None) else 404
            else:
                documents[meta["_id"]] = self._document(lines.pop(0))
                status = 201
            items.append({action: {"_id": meta["_id"], "status": status}})
        return 200, {"errors": False, "items": items}

    def _document(self, source: Any) -> _Document:
        self._sequence += 1
        return _Document(source, self._sequence)

    def _documents(
        self, method: str, index: str, api: str | None, name: str | None, params: dict[str, str], raw: bytes
    ) -> tuple[int, Any]:
        if api is None and method == "HEAD":
            return (200 if index in self.indices else 404), {}
        if api is None and method == "PUT":
            self.indices.setdefault(index, {})
            return 200, {"acknowledged": True}
        documents = self.indices.get(index, {})
        if api == "_mget":
            found = [(name, documents.get(name)) for name in orjson.loads(raw)["ids"]]
            return 200, {
                "docs": [
                    {"_id": name, "found": one is not None, **({"_source": one.source} if one else {})}
                    for name, one in found
                ]
            }
        if api == "_search":
            body = orjson.loads(raw)
            query = body["query"]
            terms = query["bool"]["filter"] if "bool" in query else [query]
            wanted = {name: value for each in terms for name, value in each.get("term", {}).items()}
            hits = [
                {"_id": key, "_source": document.source}
                for key, document in documents.items()
                if all(document.source.get(name) == value for name, value in wanted.items())
            ]
            if body["sort"] != ["_doc"]:
                hits.sort(key=lambda hit: hit["_source"]["number"], reverse=True)
            most = None if "scroll" in params else body["size"]
            return 200, {"_scroll_id": "s", "hits": {"hits": hits[:most]}}
        assert name is not None
        current = documents.get(name)
        if method == "GET":
            if current is None:
                return 404, {"found": False}
            return 200, {
                "found": True,
                "_seq_no": current.seq_no,
                "_primary_term": 1,
                "_source": current.source,
            }
        expected = int(params["if_seq_no"]) if "if_seq_no" in params else None
        if (api == "_create" and current) or (
            expected is not None and (not current or current.seq_no != expected)
        ):
            raise Refused(409, "version_conflict_engine_exception", "version conflict")
        if method == "DELETE":
            return (200 if documents.pop(name, None) else 404), {}
        documents[name] = self._document(orjson.loads(raw))
        return 201, {"_seq_no": documents[name].seq_no, "_primary_term": 1}


def _merged(old: Any, new: Any) -> Any:
    """Return an update of a document: objects are merged, all else is replaced."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}


def _with_defaults(body: dict[str, Any]) -> dict[str, Any]:
    stored = copy.deepcopy({key: value for key, value in body.items() if key != "status"})
    stored.setdefault("input", {"none": {}})
    stored.setdefault("condition", {"always": {}})
    stored.setdefault("actions", {})
    request = stored["input"].get("search", {}).get("request")
    if request is not None:
        request.setdefault("search_type", "query_then_fetch")
        request.setdefault("rest_total_hits_as_int", True)
    script = stored["condition"].get("script")
    if isinstance(script, dict):
        script.setdefault("lang", "painless")
    return stored


def _shown(body: Any) -> Any:
    """Return a body as GET shows it: passwords redacted."""
    if isinstance(body, dict):
        return {key: "::es_redacted::" if key == "password" else _shown(value) for key, value in body.items()}
    return [_shown(one) for one in body] if isinstance(body, list) else body
