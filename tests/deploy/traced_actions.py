"""`TracedEngine`: a real OpenSearch that tells which actions each request leads to, as its security plugin would see them.

The plugin is an `ActionFilter`: it is asked about every action that `TransportAction.execute` begins. So is the task
manager, which writes each into the node's log at TRACE as `register ID [transport] [ACTION] [DESCRIPTION]`; what nodes
send to each other for it is registered with another type (`direct`), and is not asked about. Clients ask one at a
time, and what each request led to is read from the log.

`demands` then says what the plugin asks for, after `PrivilegesEvaluator` of opensearch-project/security: which action is
of the cluster and which of indices, what an action is called that happens by itself, and what a bulk request does.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from sigmawatch import engine
from sigmawatch.cluster import Cluster, CompatibleNode, ConnectionSettings, connect

_REGISTERED = re.compile(rb"register \d+ \[transport\] \[(\S+)\] \[(.*)\]$", re.MULTILINE)
_CALLED = {
    "indices:admin/auto_create": "indices:admin/create",
    "indices:admin/mapping/auto_put": "indices:admin/mapping/put",
}
_OF_CLUSTER = (
    "cluster:",
    "indices:admin/template/",
    "indices:admin/index_template/",
    "indices:data/read/scroll",
)
_ALSO_OF_CLUSTER = {
    "indices:data/write/bulk",
    "indices:data/read/mget",
    "indices:data/read/msearch",
    "indices:data/write/reindex",
}
_DONE = {"index": "index", "create": "index", "delete": "delete", "update": "update"}

_UNSEEN = (
    # Passed on without a question: SecurityFilter, passThroughRequest.
    "indices:admin/seq_no/",
    # Begun by the node itself.
    "internal:",
)


@dataclass(frozen=True)
class Request:
    """One request, and the actions that it led to, each with what the node says about it."""

    method: str
    path: str
    body: bytes
    actions: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Demand:
    """One permission that the plugin would ask for."""

    action: str
    index: str | None
    """The index or pattern that is meant; None for permissions of the cluster."""

    def granted_by(self, permission: str, patterns: Iterable[str] | None) -> bool:
        """Return whether a permission of a role, on its patterns, grants this."""
        if (self.index is None) != (patterns is None) or not fnmatchcase(self.action, _literal(permission)):
            return False
        return patterns is None or any(fnmatchcase(_stream(self.index or ""), each) for each in patterns)


def _literal(permission: str) -> str:
    """Return a permission as a pattern in which only the star means something, as in the plugin's WildcardMatcher."""
    return permission.replace("[", "[[]")


def _stream(index: str) -> str:
    """Return the data stream of a backing index: who may something with a stream may with its indices."""
    return re.sub(r"^\.ds-(.+)-\d{6}$", r"\1", index)


@dataclass
class TracedEngine:
    """A node, and what was asked of it by clients that are connected with `connected`."""

    node: engine.Node
    requests: list[Request] = field(default_factory=list)
    _read: int = 0
    """How far its log is read."""
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def connected(self, **options: Any) -> Cluster:
        """Return the node for somebody whose requests are noted, one at a time."""
        traced = self

        class TracingNode(CompatibleNode):
            def perform_request(
                self, method: str, target: str, body: Any = None, *args: Any, **kwargs: Any
            ) -> Any:
                with traced._turn:
                    answer = super().perform_request(method, target, body, *args, **kwargs)
                    traced.requests.append(Request(method, target, body or b"", traced._began()))
                    return answer

        return connect(ConnectionSettings(self.node.url), node_class=TracingNode, **options)

    def forget(self) -> None:
        """Begin anew."""
        with self._turn:
            self._began()
            self.requests.clear()

    def skip(self) -> None:
        """Leave out what somebody else asked of the node meanwhile."""
        with self._turn:
            self._began()

    def _began(self) -> tuple[tuple[str, str], ...]:
        with (self.node.work_dir / "node.log").open("rb") as log:
            log.seek(self._read)
            new = log.read()
        self._read += new.rfind(b"\n") + 1
        found = _REGISTERED.findall(new[: new.rfind(b"\n") + 1])
        return tuple((action.decode(), description.decode()) for action, description in found)

    def demands(self) -> dict[Demand, str]:
        """Return what the plugin would ask for of all requests so far, each with a request that leads to it."""
        found: dict[Demand, str] = {}
        for request in self.requests:
            for demand in _demands(request):
                found.setdefault(demand, f"{request.method} {request.path}")
        return found


def granted(role: dict[str, Any], demand: Demand) -> list[str]:
    """Return which permissions of a role grant what is asked for."""
    if demand.index is None:
        return [one for one in role["cluster_permissions"] if demand.granted_by(one, None)]
    return [
        f"{access['index_patterns'][0]}: {one}"
        for access in role["index_permissions"]
        for one in access["allowed_actions"]
        if demand.granted_by(one, access["index_patterns"])
    ]


def permissions(role: dict[str, Any]) -> set[str]:
    """Return all permissions of a role, called as `granted` calls them."""
    return set(role["cluster_permissions"]) | {
        f"{access['index_patterns'][0]}: {one}"
        for access in role["index_permissions"]
        for one in access["allowed_actions"]
    }


def _demands(request: Request) -> Iterator[Demand]:
    for action, description in request.actions:
        called = _CALLED.get(action, action)
        if called.startswith(_UNSEEN):
            continue
        if called.startswith(_OF_CLUSTER) or called in _ALSO_OF_CLUSTER:
            yield Demand(called, None)
            continue
        indices = _indices(request, called, description)
        for index in indices:
            yield Demand(called, index)
            if called == "indices:data/write/bulk[s]":
                for done in _done(request):
                    yield Demand(f"indices:data/write/{done}", index)


def _indices(request: Request, action: str, description: str) -> list[str]:
    """Return which indices an action means: as the node says, else as the request does."""
    parts = [unquote(part) for part in urlsplit(request.path).path.split("/")[1:]]
    told = re.search(r"ind(?:ices|ex)\[([^\]]*)\]", description) or re.search(
        r"\{\[([^\]]+)\]\[\d", description
    )
    if parts[0] == "_tasks":
        # While a task is asked for, it goes on: what it does names its index. Results of tasks are kept in `.tasks` by the
        # node, with rights of its own (TransportGetTaskAction, TaskResultsService).
        return [name for name in (told[1].split(",") if told else ()) if name != ".tasks"]
    if told:
        return [name.strip() for name in told[1].split(",")]
    if parts[0] in {"_bulk", "_msearch"}:
        lines = [orjson.loads(line) for line in request.body.splitlines() if line]
        heads = [
            line.get("index") or next(iter(line.values()))
            for line in lines
            if "index" in line or _is_head(line)
        ]
        return sorted({name for head in heads for name in _names(head)})
    if parts[0] == "_reindex":
        body = orjson.loads(request.body)
        return [*_names(body["source"]["index"]), body["dest"]["index"]]
    if parts[0] in {"_data_stream", "_cat", "_resolve"}:
        return (parts[-1] if len(parts) > 1 else "*").split(",")
    if parts[0] == "_all" or parts[0].startswith("_"):
        return ["*"]
    return parts[0].split(",")


def _is_head(line: dict[str, Any]) -> bool:
    return len(line) == 1 and next(iter(line)) in _DONE


def _names(given: Any) -> list[str]:
    if isinstance(given, dict):
        given = given.get("_index", given.get("index"))
    return given.split(",") if isinstance(given, str) else list(given or ())


def _done(request: Request) -> set[str]:
    """Return what a request that writes does to documents."""
    if urlsplit(request.path).path == "/_bulk":
        lines = [orjson.loads(line) for line in request.body.splitlines() if line]
        return {_DONE[next(iter(line))] for line in lines if _is_head(line)}
    return {"delete"} if request.method == "DELETE" else {"index"}


@contextmanager
def traced_engine() -> Iterator[TracedEngine]:
    """Start a node that writes down its actions, and yield the way to it."""
    with engine.temporary() as node:
        with connect(ConnectionSettings(node.url)) as admin:
            settings = {
                "logger.org.opensearch.tasks.TaskManager": "TRACE",
                # What the node asks itself for its own ends would look like somebody's.
                "cluster.info.update.interval": "24h",
            }
            admin.request("PUT", "/_cluster/settings", {"transient": settings})
        yield TracedEngine(node)
