"""`KibanaStandIn`: what the deployer uses of Kibana's HTTP API, in memory.

Kibana cannot be had by these tests, so this stands in for it. It refuses what Kibana refuses, as its public sources and
documentation say (a change without `kbn-xsrf`, unknown query parameters, rules that miss a field or have one of the wrong
type, an export of objects that do not exist, objects that are newer than it is, references to nothing), and goes further
in one point: keys that it does not know are refused, where Kibana ignores some of them. It adds what Kibana adds, answers
200 to an import that failed, leaves out everything of an import of which something is missing, gives a new id to an object
whose id another space has, and replaces a rule as a whole, except for whether it is enabled where that is not said.
"""

from __future__ import annotations

import copy
import re
import threading
import uuid
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from cluster.http_stand_in import Answer, Seen, Served

_TYPES = {
    "dashboard": (
        "10.2.0",
        {"title", "description", "panelsJSON", "optionsJSON", "kibanaSavedObjectMeta", "timeRestore", "timeFrom"}
        | {"timeTo", "refreshInterval", "controlGroupInput", "version", "hits"},
    ),
    "index-pattern": (
        "8.0.0",
        {"title", "name", "timeFieldName", "fields", "fieldAttrs", "fieldFormatMap", "runtimeFieldMap"}
        | {"sourceFilters", "allowNoIndex", "allowHidden", "typeMeta", "type"},
    ),
    "search": (
        "10.3.0",
        {"title", "description", "columns", "sort", "kibanaSavedObjectMeta", "grid", "hideChart", "isTextBasedQuery"}
        | {"timeRestore", "timeRange", "rowHeight", "usesAdHocDataView", "breakdownField", "sampleSize"},
    ),
    "visualization": (
        "8.5.0",
        {"title", "description", "visState", "uiStateJSON", "version", "kibanaSavedObjectMeta", "savedSearchRefName"},
    ),
    "lens": ("8.9.0", {"title", "description", "visualizationType", "state"}),
    "map": ("8.4.0", {"title", "description", "mapStateJSON", "layerListJSON", "uiStateJSON"}),
    "tag": ("8.0.0", {"name", "description", "color"}),
}  # fmt: skip
_TEXTS = {
    "panelsJSON",
    "optionsJSON",
    "fields",
    "searchSourceJSON",
    "visState",
    "uiStateJSON",
    "layerListJSON",
}
_LINE = {"id", "type", "attributes", "references", "coreMigrationVersion", "typeMigrationVersion"} | {
    "managed", "created_at", "created_by", "updated_at", "updated_by", "version", "namespaces", "originId",
}  # fmt: skip

_RULE: dict[str, Any] = {
    "rule_id": str, "name": str, "description": str, "type": str, "language": str, "query": str, "filters": list,
    "index": list, "data_view_id": str, "interval": str, "from": str, "to": str, "timestamp_override": str,
    "timestamp_override_fallback_disabled": bool, "severity": str, "severity_mapping": list, "risk_score": int,
    "risk_score_mapping": list, "max_signals": int, "enabled": bool, "tags": list, "threat": list, "references": list,
    "false_positives": list, "author": list, "license": str, "note": str, "setup": str, "meta": dict, "version": int,
    "exceptions_list": list, "actions": list, "response_actions": list, "throttle": str, "threshold": dict,
    "alert_suppression": dict, "output_index": str, "building_block_type": str, "namespace": str,
    "rule_name_override": str, "timeline_id": str, "timeline_title": str, "related_integrations": list,
    "required_fields": list, "investigation_fields": dict, "id": str,
}  # fmt: skip
_REQUIRED = ("name", "description", "risk_score", "severity", "type")
_RULE_DEFAULTS: dict[str, Any] = {
    "actions": [], "author": [], "exceptions_list": [], "false_positives": [], "from": "now-6m", "interval": "5m",
    "max_signals": 100, "output_index": "", "references": [], "related_integrations": [], "required_fields": [],
    "risk_score_mapping": [], "setup": "", "severity_mapping": [], "tags": [], "threat": [], "to": "now",
    "enabled": True, "language": "kuery", "immutable": False, "rule_source": {"type": "internal"},
}  # fmt: skip


class Refused(Exception):
    def __init__(self, status: int, message: str, **attributes: Any) -> None:
        names = {400: "Bad Request", 404: "Not Found", 409: "Conflict", 403: "Forbidden"}
        self.status = status
        self.body: Any = {"statusCode": status, "error": names[status], "message": message}
        if attributes:
            self.body["attributes"] = attributes


class Siem(Refused):
    """An error in the words of the detection engine."""

    def __init__(self, status: int, message: Any) -> None:
        super().__init__(status, "")
        self.body = {"message": message, "status_code": status}


@dataclass
class KibanaStandIn(Served):
    """Use as a context manager; `url` is where it listens."""

    spaces: set[str] = field(default_factory=lambda: {"default", "soc"})
    version: str = "9.1.0"
    has_encryption_key: bool = True
    has_security: bool = True
    objects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """By type and id, for all spaces."""
    rules: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """By space and server's id."""
    snoozed: dict[str, Any] = field(default_factory=dict)
    """By server's id, how people silenced a rule: no part of it, and gone with it."""
    requests: list[str] = field(default_factory=list)
    login: str = ""
    """The header `authorization` that is wanted, where one is."""

    def __post_init__(self) -> None:
        self._guard = threading.Lock()

    def reply(self, seen: Seen) -> Answer:
        status, body = self.answer(seen.method, seen.path, seen.headers, seen.body)
        headers = {"content-type": "application/ndjson"} if isinstance(body, bytes) else {}
        return Answer(status, body, headers)

    @property
    def writes(self) -> list[str]:
        """Method and path of the requests that change something."""
        return [one for one in self.requests if not one.startswith("GET") and "_export" not in one]

    def rule(self, rule_id: str, space: str = "default") -> dict[str, Any]:
        """Return the only rule of an id."""
        (found,) = [
            rule for (where, _), rule in self.rules.items() if (where, rule["rule_id"]) == (space, rule_id)
        ]
        return found

    def export(self, space: str = "default") -> bytes:
        """Return everything in a space, as a person would export it."""
        return b"".join(
            orjson.dumps(_shown(one)) + b"\n" for one in self.objects.values() if one["namespaces"] == [space]
        )

    def answer(self, method: str, target: str, headers: dict[str, str], raw: bytes) -> tuple[int, Any]:
        parts = urlsplit(target)
        path = unquote(parts.path)
        params = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        with self._guard:
            self.requests.append(f"{method} {path}")
            try:
                if self.login and headers.get("authorization") != self.login:
                    return 401, {"statusCode": 401, "error": "Unauthorized", "message": "Unauthorized"}
                _check_headers(method, headers)
                space = "default"
                if found := re.match(r"/s/([^/]+)(/.*)", path):
                    space, path = found[1], found[2]
                return 200, self._route(method, space, path, params, headers, raw)
            except Refused as refused:
                return refused.status, refused.body

    def _route(
        self, method: str, space: str, path: str, params: dict[str, str], headers: dict[str, str], raw: bytes
    ) -> Any:
        route = f"{method} {path}"
        if route == "GET /api/status":
            return {"version": {"number": self.version}, "status": {"overall": {"level": "available"}}}
        if method == "GET" and (found := re.fullmatch(r"/api/spaces/space/([^/]+)", path)):
            if found[1] not in self.spaces:
                raise Refused(404, "Not Found")
            return {"id": found[1], "name": found[1]}
        if route == "POST /api/saved_objects/_import":
            _only(params, {"overwrite", "createNewCopies", "compatibilityMode"})
            return self._import(space, params.get("overwrite") == "true", _file(headers, raw))
        if route == "POST /api/saved_objects/_export":
            _only(params, set())
            return self._export(space, orjson.loads(raw))
        if method == "DELETE" and (found := re.fullmatch(r"/api/saved_objects/([^/]+)/(.+)", path)):
            _only(params, {"force"})
            return self._delete(space, found[1], found[2])
        if method == "DELETE" and (found := re.fullmatch(r"/api/data_views/data_view/(.+)", path)):
            _only(params, set())
            return self._delete(space, "index-pattern", found[1])
        if self.has_security and path == "/api/detection_engine/privileges" and method == "GET":
            return {"is_authenticated": True, "has_encryption_key": self.has_encryption_key}
        if self.has_security and path == "/api/detection_engine/rules/_find" and method == "GET":
            return self._find(space, params)
        if self.has_security and path == "/api/detection_engine/rules":
            return self._rules(method, space, params, raw)
        raise Refused(404, "Not Found")

    # Saved objects ---------------------------------------------------------------------------------------

    def _import(self, space: str, overwrite: bool, data: bytes) -> dict[str, Any]:
        lines = [orjson.loads(line) for line in data.split(b"\n") if line.strip()]
        errors: list[dict[str, Any]] = []
        results: list[dict[str, Any]] = []
        coming = {(line["type"], line["id"]) for line in lines}

        def failed(line: dict[str, Any], **error: Any) -> None:
            meta = {"title": line.get("attributes", {}).get("title")}
            errors.append({"id": line["id"], "type": line["type"], "meta": meta, "error": error})

        for line in lines:
            if unknown := set(line) - _LINE:
                raise Refused(400, f"unknown keys in an object: {sorted(unknown)}")
            if line["type"] not in _TYPES:
                failed(line, type="unsupported_type")
                continue
            version, names = _TYPES[line["type"]]
            if _number(line["typeMigrationVersion"]) > _number(version):
                raise Refused(400, f'Document "{line["id"]}" belongs to a more recent version of Kibana')
            _check_attributes(line["attributes"], names)
            missing = [
                {"type": one["type"], "id": one["id"]}
                for one in line.get("references", ())
                if one["type"] in {"index-pattern", "search"}
                and (one["type"], one["id"]) not in coming
                and not self._seen(space, one["type"], one["id"])
            ]
            if missing:
                failed(line, type="missing_references", references=missing)
        if not errors:
            for line in lines:
                there = self.objects.get((line["type"], line["id"]))
                result = {"type": line["type"], "id": line["id"], "meta": {}}
                object_id = line["id"]
                if there is not None and space not in there["namespaces"]:
                    object_id = result["destinationId"] = str(uuid.uuid4())
                elif there is not None and not overwrite:
                    failed(line, type="conflict")
                    continue
                self.objects[line["type"], object_id] = self._stored(space, object_id, line)
                results.append(result)
        answer: dict[str, Any] = {"success": not errors, "successCount": len(results), "warnings": []}
        return (
            answer | ({"errors": errors} if errors else {}) | ({"successResults": results} if results else {})
        )

    def _stored(self, space: str, object_id: str, line: dict[str, Any]) -> dict[str, Any]:
        attributes = copy.deepcopy(line["attributes"])
        if line["type"] == "dashboard":
            attributes.setdefault("description", "")
            attributes.setdefault("version", 1)
        return {
            "id": object_id,
            "type": line["type"],
            "namespaces": [space],
            "attributes": attributes,
            "references": line.get("references", []),
            "coreMigrationVersion": "8.8.0",
            "typeMigrationVersion": _TYPES[line["type"]][0],
            "managed": False,
            "created_at": "2026-03-01T00:00:00.000Z",
            "updated_at": "2026-03-01T00:00:00.000Z",
            "version": "WzEsMV0=",
        }

    def _seen(self, space: str, kind: str, object_id: str) -> bool:
        found = self.objects.get((kind, object_id))
        return found is not None and space in found["namespaces"]

    def _export(self, space: str, body: dict[str, Any]) -> bytes:
        _only(
            body,
            {"type", "objects", "hasReference", "includeReferencesDeep", "excludeExportDetails", "search"},
        )
        if ("objects" in body) == ("type" in body):
            raise Refused(400, "Either `type` or `objects` are required.")
        if "objects" in body:
            wanted = [(one["type"], one["id"]) for one in body["objects"]]
            missing = [key for key in wanted if not self._seen(space, *key)]
            if missing:
                objects = [
                    {
                        "id": object_id,
                        "type": kind,
                        "error": {"statusCode": 404, "error": "Not Found", "message": "not found"},
                    }
                    for kind, object_id in missing
                ]
                raise Refused(400, "Error fetching objects to export", objects=objects)
            found = [self.objects[key] for key in wanted]
        else:
            if unknown := set(body["type"]) - set(_TYPES):
                raise Refused(400, f"Trying to export non-exportable type(s): {sorted(unknown)}")
            needed = {(one["type"], one["id"]) for one in body.get("hasReference", ())}
            found = [
                one
                for one in self.objects.values()
                if one["type"] in body["type"]
                and space in one["namespaces"]
                and needed <= {(each["type"], each["id"]) for each in one["references"]}
            ]
        lines = [orjson.dumps(_shown(one)) for one in found]
        if not body.get("excludeExportDetails"):
            lines.append(
                orjson.dumps({"exportedCount": len(found), "missingRefCount": 0, "missingReferences": []})
            )
        return b"\n".join(lines)

    def _delete(self, space: str, kind: str, object_id: str) -> dict[str, Any]:
        if not self._seen(space, kind, object_id):
            raise Refused(404, f"Saved object [{kind}/{object_id}] not found")
        del self.objects[kind, object_id]
        return {}

    # Detection rules -------------------------------------------------------------------------------------

    def _find(self, space: str, params: dict[str, str]) -> dict[str, Any]:
        _only(params, {"filter", "page", "per_page", "sort_field", "sort_order", "fields"})
        found = re.fullmatch(r"alert\.attributes\.params\.ruleId: \((.*)\)", params.get("filter", ""))
        if found is None:
            raise Siem(400, "KQLSyntaxError")
        wanted = {re.sub(r"\\(.)", r"\1", text) for text in re.findall(r'"((?:[^"\\]|\\.)*)"', found[1])}
        rules = [
            rule for (where, _), rule in self.rules.items() if where == space and rule["rule_id"] in wanted
        ]
        size = int(params.get("per_page", 20))
        return {"page": 1, "perPage": size, "total": len(rules), "data": rules[:size]}

    def _rules(self, method: str, space: str, params: dict[str, str], raw: bytes) -> Any:
        body = orjson.loads(raw) if raw else {}
        rule_id = params.get("rule_id") if method in {"GET", "DELETE"} else body.get("rule_id")
        key = next(
            (key for key, rule in self.rules.items() if key[0] == space and rule["rule_id"] == rule_id), None
        )
        if method == "POST":
            _check_rule(body)
            if key is not None:
                raise Siem(409, f'rule_id: "{rule_id}" already exists')
            made = self._rule(body, None)
            self.rules[space, made["id"]] = made
            return made
        if method not in {"GET", "PUT", "DELETE"}:
            raise Refused(404, "Not Found")
        if method == "PUT":
            _check_rule(body)
        if key is None:
            raise Siem(404, f'rule_id: "{rule_id}" not found')
        if method == "GET":
            return self.rules[key]
        if method == "DELETE":
            self.snoozed.pop(key[1], None)
            return self.rules.pop(key)
        self.rules[key] = self._rule(body, self.rules[key])
        return self.rules[key]

    def _rule(self, body: dict[str, Any], before: dict[str, Any] | None) -> dict[str, Any]:
        made = {**copy.deepcopy(_RULE_DEFAULTS), **body}
        made.setdefault("rule_id", str(uuid.uuid4()))
        made["actions"] = [{"uuid": str(uuid.uuid4()), **one} for one in made["actions"]]
        if before is not None:
            made["enabled"] = body.get("enabled", before["enabled"])
        return made | {
            "id": before["id"] if before else str(uuid.uuid4()),
            "revision": before["revision"] + 1 if before else 0,
            "version": before["version"] + 1 if before else 1,
            "created_at": "2026-03-01T00:00:00.000Z",
            "created_by": "deployer",
            "updated_at": "2026-03-01T00:00:00.000Z",
            "updated_by": "deployer",
        }


def _check_headers(method: str, headers: dict[str, str]) -> None:
    if method not in {"GET", "HEAD"} and "kbn-xsrf" not in headers:
        raise Refused(400, "Request must contain a kbn-xsrf header.")


def _shown(one: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in one.items() if name != "namespaces"}


def _only(given: dict[str, Any], known: set[str]) -> None:
    for name in given:
        if name not in known:
            raise Refused(400, f"[request.{name}]: definition for this key is missing")


def _number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _file(headers: dict[str, str], raw: bytes) -> bytes:
    """Return the file of a form, read by the parser of the standard library."""
    content_type = headers.get("content-type", "")
    if not content_type.startswith("multipart/form-data"):
        raise Refused(400, "Unsupported Media Type")
    message = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + raw, policy=HTTP)
    (part,) = message.iter_parts()
    if part.get_param("name", header="content-disposition") != "file":
        raise Refused(400, "[request body.file]: expected value of type [Stream] but got [undefined]")
    if not (part.get_filename() or "").endswith(".ndjson"):
        raise Refused(400, f"Invalid file extension {part.get_filename()}")
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


def _check_attributes(value: Any, names: set[str] | None = None) -> None:
    if not isinstance(value, dict):
        return
    if names is not None and (unknown := set(value) - names):
        raise Refused(400, f"[attributes.{min(unknown)}]: definition for this key is missing")
    for name, inner in value.items():
        if name in _TEXTS:
            if not isinstance(inner, str):
                raise Refused(400, f"[attributes.{name}]: expected value of type [string]")
            orjson.loads(inner)
        _check_attributes(inner)


def _check_rule(body: dict[str, Any]) -> None:
    problems = [f"{name}: Required" for name in _REQUIRED if name not in body]
    for name, value in body.items():
        if name not in _RULE:
            problems.append(f"{name}: Unrecognized key")
        elif not isinstance(value, _RULE[name]) or (_RULE[name] is int and isinstance(value, bool)):
            problems.append(f"{name}: Expected {_RULE[name].__name__}, received {type(value).__name__}")
    if body.get("severity") not in {"low", "medium", "high", "critical"}:
        problems.append("severity: Invalid enum value")
    if not 0 <= body.get("risk_score", 0) <= 100:
        problems.append("risk_score: Number must be between 0 and 100")
    if body.get("type") not in {
        "query",
        "eql",
        "esql",
        "threshold",
        "new_terms",
        "threat_match",
        "saved_query",
    }:
        problems.append("type: Invalid discriminator value")
    if not re.fullmatch(r"[1-9][0-9]*[smh]", body.get("interval", "5m")):
        problems.append("interval: Invalid time duration")
    if not re.fullmatch(r"now-[1-9][0-9]*[smhd]", body.get("from", "now-6m")):
        problems.append("from: Failed to parse date-math expression")
    if "index" in body and "data_view_id" in body:
        problems.append("index: with data_view_id")
    texts = [
        each
        for name in ("tags", "references", "false_positives", "author", "index")
        for each in body.get(name, ())
    ]
    if not all(isinstance(each, str) for each in texts):
        problems.append("Expected string")
    named = {"id", "name", "reference"}
    for one in body.get("threat", ()):
        parts = [one.get("tactic", {}), *one.get("technique", ())]
        parts += [below for each in one.get("technique", ()) for below in each.get("subtechnique", ())]
        if one.get("framework") is None or not all(named <= set(part) for part in parts):
            problems.append("threat: Required")
    lists = body.get("exceptions_list", ())
    if not all({"id", "list_id", "type", "namespace_type"} <= set(one) for one in lists):
        problems.append("exceptions_list: Required")
    if problems:
        raise Siem(400, f"[request body]: {', '.join(problems)}")
