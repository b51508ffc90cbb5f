"""`SecurityStandIn`: an OpenSearch with the security plugin, as far as roles and the doctor use it, in memory.

No OpenSearch with plugins can be had by these tests, so this stands in for one, on top of what `WatcherStandIn` keeps of
the document API. After the plugin's sources (`RolesApiAction`, `EndpointValidator`, `RequestContentValidator`, `RoleV7`)
it takes the four keys of a role and no others, lists where lists are wanted and no null in them; keeps all roles in one
document, so that of two writes at the same moment one gets 409; shows roles with all their parts and flags; hides hidden
ones; refuses to change reserved and static ones; and lets nobody at its API who has no right to it. Where the plugin
only fails (unknown keys inside a permission), it answers 400.

For the doctor it answers every request that carries `perform_permission_check` as PermissionCheckResponse does, from the
permissions of `mine`; a request that is taken for a command instead is a mistake of the test.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import orjson

from deploy.watcher_stand_in import Refused, WatcherStandIn

_API = "/_plugins/_security/api/roles"
_LISTS = ("cluster_permissions", "index_permissions", "tenant_permissions")
_INDEX: dict[str, Any] = {
    "index_patterns": [],
    "dls": None,
    "fls": [],
    "masked_fields": [],
    "allowed_actions": [],
}
_TENANT: dict[str, Any] = {"tenant_patterns": [], "allowed_actions": []}


class Denied(Refused):
    """An answer in the plugin's own shape."""

    def __init__(self, status: int, name: str, message: str) -> None:
        super().__init__(status, name, message)
        self.body = {"status": name, "message": message}


class Invalid(Refused):
    """A body that the plugin does not take."""

    def __init__(self, reason: str, **told: Any) -> None:
        super().__init__(400, "", reason)
        self.body = {"status": "error", "reason": reason, **told}


@dataclass
class SecurityStandIn(WatcherStandIn):
    """Use as a context manager."""

    has_plugin: bool = True
    may_change_roles: bool = True
    roles: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What is stored, beside what the plugin brings."""
    static: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {
            "readall": _stored(
                {"cluster_permissions": ["cluster_composite_ops_ro"]}, reserved=True, static=True
            ),
        }
    )
    conflicts: int = 0
    """How many writes meet somebody else's."""
    certificate: str | None = None
    """The principal of who shows a certificate."""
    checks_permissions: bool = True
    """Since 3.2."""
    mine: dict[str, Any] | None = None
    """The role of who asks; None: all is allowed."""
    asked: list[str] = field(default_factory=list)
    """What was asked about permissions."""

    def _route(self, method: str, path: str, params: dict[str, str], raw: bytes) -> tuple[int, Any]:
        if params.pop("perform_permission_check", "false") == "true":
            if not self.checks_permissions:
                reason = f"request [{path}] contains unrecognized parameter: [perform_permission_check]"
                raise Refused(400, "illegal_argument_exception", reason)
            self.asked.append(f"{method} {path}")
            missing = [] if self.mine is None else self._missing(method, path)
            return 200, {"accessAllowed": not missing, "missingPrivileges": missing}
        if path == "/":
            version = {"number": "3.7.0", "distribution": "opensearch"}
            return 200, {"cluster_name": "security-stand-in", "cluster_uuid": "u", "version": version}
        if path.startswith("/_plugins/_security/") and not self.has_plugin:
            # As the minimal distribution answers: the error is a string.
            raise _unknown(method, path)
        if path == "/_plugins/_security/authinfo":
            return 200, {
                "user": "User [name=ci, backend_roles=[], requestedTenant=null]",
                "user_name": "ci",
                "backend_roles": [],
                "roles": ["sigmawatch-deployer", "own_index"],
                "tenants": {"ci": True},
                "principal": self.certificate,
                "peer_certificates": "1" if self.certificate else "0",
                "sso_logout_url": None,
            }
        if path == _API or path.startswith(f"{_API}/"):
            if not self.may_change_roles:
                told = "No permission to access REST API: User ci with Security roles [own_index] does not have any role privileged for admin access"
                raise Denied(403, "FORBIDDEN", told)
            return self._roles(method, path.removeprefix(_API).strip("/"), raw)
        return super()._route(method, path, params, raw)

    def _missing(self, method: str, path: str) -> list[str]:
        """Return what a request about an index lacks: only for these the stand-in knows which action they are."""
        assert self.mine is not None
        index = path.split("/")[1]
        action = {"GET": "indices:admin/get", "DELETE": "indices:admin/delete"}.get(method, "")
        if index.startswith("_") or "/" in path[1:] or not action:
            return []
        granted = any(
            fnmatchcase(index, pattern) and any(fnmatchcase(action, one) for one in access["allowed_actions"])
            for access in self.mine["index_permissions"]
            for pattern in access["index_patterns"]
        )
        return [] if granted else [action]

    def _roles(self, method: str, name: str, raw: bytes) -> tuple[int, Any]:
        shown = {key: role for key, role in {**self.roles, **self.static}.items() if not role["hidden"]}
        if method == "GET":
            if name and name not in shown:
                raise Denied(404, "NOT_FOUND", f"Resource '{name}' is not available.")
            return 200, copy.deepcopy({name: shown[name]} if name else shown)
        if method not in {"PUT", "DELETE"} or not name:
            raise Denied(501, "NOT_IMPLEMENTED", f"Method {method} not supported for this action.")
        body = _parsed(raw) if method == "PUT" else {}
        live = self.static.get(name) or self.roles.get(name)
        if live is not None and live["hidden"]:
            raise Denied(404, "NOT_FOUND", f"Resource '{name}' is not available.")
        for flag in ("static", "reserved"):
            if live is not None and live[flag]:
                raise Denied(403, "FORBIDDEN", f"Resource '{name}' is {flag}.")
        if method == "DELETE" and live is None:
            raise Denied(404, "NOT_FOUND", f"role '{name}' not found.")
        if any(one.startswith("restapi:admin") for one in body.get("cluster_permissions", ())):
            raise Denied(403, "FORBIDDEN", "Access denied")
        if self.conflicts:
            self.conflicts -= 1
            raise Denied(409, "CONFLICT", "[roles]: version conflict, required seqNo [7]")
        if method == "DELETE":
            del self.roles[name]
            return 200, {"status": "OK", "message": f"'{name}' deleted."}
        self.roles[name] = _stored(body)
        if live is None:
            return 201, {"status": "CREATED", "message": f"'{name}' created."}
        return 200, {"status": "OK", "message": f"'{name}' updated."}


def _unknown(method: str, path: str) -> Refused:
    refused = Refused(400, "", "")
    refused.body = {"error": f"no handler found for uri [{path}] and method [{method}]"}
    return refused


def _parsed(raw: bytes) -> dict[str, Any]:
    """Return the body of a role. Raises Refused."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise Invalid("Could not parse content of request.") from None
    if not body:
        raise Invalid("Request body required for this action.")
    if unknown := sorted(set(body) - {*_LISTS, "description"}):
        raise Invalid("Invalid configuration", invalid_keys={"keys": ",".join(unknown)})
    wrong = {name: "Array expected" for name in _LISTS if not isinstance(body.get(name, []), list)}
    if not isinstance(body.get("description", ""), str):
        wrong["description"] = "String expected"
    if wrong:
        raise Invalid("Wrong datatype", **wrong)
    if _has_null(body):
        raise Invalid("`null` is not allowed as json array element")
    for part, known in (("index_permissions", _INDEX), ("tenant_permissions", _TENANT)):
        for access in body.get(part, ()):
            if unknown := sorted(set(access) - set(known)):
                raise Invalid(f"Unrecognized field {unknown}")
    assert isinstance(body, dict)
    return body


def _has_null(value: Any) -> bool:
    if isinstance(value, list):
        return any(one is None or _has_null(one) for one in value)
    return isinstance(value, dict) and any(_has_null(one) for one in value.values())


def _stored(body: dict[str, Any], *, reserved: bool = False, static: bool = False) -> dict[str, Any]:
    """Return a role as it is shown: with all its parts."""
    return {
        "reserved": reserved,
        "hidden": False,
        **({"description": body["description"]} if "description" in body else {}),
        "cluster_permissions": body.get("cluster_permissions", []),
        "index_permissions": [_INDEX | access for access in body.get("index_permissions", ())],
        "tenant_permissions": [_TENANT | access for access in body.get("tenant_permissions", ())],
        "static": static,
    }
