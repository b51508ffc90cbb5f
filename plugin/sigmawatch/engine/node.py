"""Starting and stopping nodes."""

from __future__ import annotations

import re
import secrets
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import urllib3

from sigmawatch.engine import process, state
from sigmawatch.engine.distribution import DISTRIBUTIONS, Engine
from sigmawatch.engine.fetch import OnProgress, ensure_space
from sigmawatch.engine.home import installed
from sigmawatch.engine.java import find as find_java
from sigmawatch.engine.launch import LOG, PORTS, USER, Installation, prepare
from sigmawatch.engine.places import account, locked, new_work_dir, state_dir, store_dir
from sigmawatch.engine.state import Node, Record
from sigmawatch.errors import EngineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["NodeState", "NodeStatus", "start", "status", "stop", "temporary"]

_HEAP = re.compile(r"[1-9][0-9]*[mgMG]", re.ASCII)
_POLL = 0.03
_LOG_LINES = 15
_LOG_BYTES = 20_000
_WORK_SPACE = 300_000_000
"""Free bytes that a node's folder should have before it is worth starting."""


class NodeState(StrEnum):
    """What became of a node."""

    RUNNING = "running"
    STARTING = "starting"
    """Its process runs and does not answer yet, or its starter was killed."""
    DEAD = "dead"
    """It crashed or was killed; the next start or stop removes what it left."""


@dataclass(frozen=True)
class NodeStatus:
    """A node by name, and how it is."""

    name: str
    state: NodeState
    node: Node | None
    """The node, if it ever answered."""


def start(
    name: str = "default",
    *,
    engine: Engine = Engine.OPENSEARCH,
    port: int | None = None,
    heap: str = "512m",
    security: bool = False,
    on_progress: OnProgress | None = None,
    timeout: float = 90.0,
) -> Node:
    """Start a node that outlives this process, and return it when it answers.

    A node of that name that runs already is returned as it is; the remains of a dead one are removed first.
    `security` (Elasticsearch only): it knows users, roles and API keys; its superuser is in the node returned.
    Fetches the engine when the cache does not have it. Raises EngineError; nothing is left behind then.
    """
    state.check_name(name)
    _check_heap(heap)
    password = _password(engine, security)
    folder = state_dir()
    if node := _running(folder, name, engine, port, security):
        return node
    _check_port(port)
    installation = _install(engine, on_progress)  # may take minutes: not under the name's lock
    with locked(folder / f"{name}.lock"):
        if node := _running(folder, name, engine, port, security):
            return node
        _clear(folder, name)
        work_dir = new_work_dir(installation.user)
        # Noted step by step, so that a starter that is killed leaves nothing that cannot be found again.
        state.write(folder, name, Record(work_dir))
        try:
            with process.lifeline(work_dir, hold=False) as lifeline:
                node_name = f"sigmawatch-{name}-{work_dir.name[-8:]}"
                launched = _launch(installation, lifeline, work_dir, node_name, heap, port, password)
            state.write(folder, name, Record(work_dir, launched))
            node = _wait(installation, launched, name, node_name, timeout, password)
            state.write(folder, name, Record(work_dir, launched, node))
        except BaseException:  # Ctrl-C as well
            _clear(folder, name)
            raise
        return node


@contextmanager
def temporary(
    engine: Engine = Engine.OPENSEARCH,
    *,
    heap: str = "512m",
    security: bool = False,
    steady: bool = False,
    on_progress: OnProgress | None = None,
    timeout: float = 90.0,
) -> Iterator[Node]:
    """Run a node for the length of a block. It ends with this process too, even when that is killed.

    With `steady` it has the optimising compiler, as users' clusters do: slower to start, and faster in the long run.
    """
    _check_heap(heap)
    password = _password(engine, security)
    installation = _install(engine, on_progress)
    work_dir = new_work_dir(installation.user)
    node_name = f"sigmawatch-temporary-{work_dir.name[-8:]}"
    try:
        with process.lifeline(work_dir, hold=True) as lifeline:
            launched = _launch(
                installation, lifeline, work_dir, node_name, heap, None, password, steady=steady
            )
            yield _wait(installation, launched, "temporary", node_name, timeout, password)
    finally:
        # The lifeline has done both, unless somebody killed it.
        process.end_all(work_dir)
        state.remove_work_dir(work_dir)


def stop(name: str = "default") -> bool:
    """Stop the node of that name and remove its folder; return whether it was running."""
    state.check_name(name)
    folder = state_dir()
    with locked(folder / f"{name}.lock"):
        return _clear(folder, name)


def status() -> list[NodeStatus]:
    """Return every node that was started and not stopped, by name."""
    folder = state_dir()
    found = []
    for name in state.names(folder):
        record = state.read(folder, name)
        node = record.node if record else None
        if record is None or record.process is None or not process.is_alive(record.process):
            found.append(NodeStatus(name, NodeState.DEAD, node))
        else:
            found.append(NodeStatus(name, NodeState.RUNNING if node else NodeState.STARTING, node))
    return found


def _check_heap(heap: str) -> None:
    if not _HEAP.fullmatch(heap):
        raise UsageError(f"{heap!r} is no heap size", hint="Write it as 512m or 2g.")


def _check_port(port: int | None) -> None:
    if port is None:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise EngineError(
                f"port {port} cannot be used: {reason}", hint="Choose another, or none: a free one is found."
            ) from error


def _password(engine: Engine, security: bool) -> str:
    """Return a new password for a node with security, an empty one for others."""
    if security and engine is Engine.OPENSEARCH:
        raise UsageError(
            "the embedded OpenSearch has no security", hint="--engine elasticsearch or elasticsearch8 has."
        )
    return secrets.token_urlsafe(16) if security else ""


def _running(folder: Path, name: str, engine: Engine, port: int | None, security: bool) -> Node | None:
    record = state.read(folder, name)
    node = record.node if record else None
    if node is None or not process.is_alive(node.process):
        return None
    if node.engine is not engine:
        raise EngineError(
            f"the node {name!r} runs already and is {node.engine}, not {engine}",
            hint=f"Stop it first (sigmawatch engine stop --name {name}), or start another one with --name.",
        )
    if security != bool(node.password):
        raise EngineError(
            f"the node {name!r} runs already, {'without' if security else 'with'} security",
            hint=f"Stop it first (sigmawatch engine stop --name {name}), or start another one with --name.",
        )
    if port is not None and node.url != f"http://127.0.0.1:{port}":
        raise EngineError(
            f"the node {name!r} runs already, at {node.url} and not on port {port}",
            hint=f"Stop it first (sigmawatch engine stop --name {name}), or start another one with --name.",
        )
    return node


def _clear(folder: Path, name: str) -> bool:
    """End what runs under `name` and remove all that is left of it; return whether it was running."""
    record = state.read(folder, name)
    ended = False
    if record is not None:
        if record.process is not None:
            ended = process.end(record.process)
        ended = process.end_all(record.work_dir) or ended
        state.remove_work_dir(record.work_dir)
    state.forget(folder, name)
    return ended


def _install(engine: Engine, on_progress: OnProgress | None) -> Installation:
    distribution = DISTRIBUTIONS[engine]
    user = account()
    store = store_dir(user)
    # Java first: it would be a pity to fetch a gigabyte and then lack it.
    title = f"{distribution.title} {distribution.version}"
    java = find_java(user, store, needs_jdk=distribution.needs_jdk, title=title)
    home = installed(distribution, store, on_progress)
    return Installation(distribution, home, java, user, store)


def _launch(
    installation: Installation,
    lifeline: process.Lifeline,
    work_dir: Path,
    node_name: str,
    heap: str,
    port: int | None,
    password: str,
    *,
    steady: bool = False,
) -> process.Process:
    ensure_space(work_dir.parent, _WORK_SPACE, "a node", "TMPDIR")
    launch = prepare(installation, work_dir, node_name, heap, port, password, steady=steady)
    return lifeline.launch(launch)


def _wait(
    installation: Installation,
    launched: process.Process,
    name: str,
    node_name: str,
    timeout: float,
    password: str = "",
) -> Node:
    """Return the node once it answers under its own name; raise EngineError with its last log lines else."""
    title = installation.title
    deadline = time.monotonic() + timeout
    # A pool of our own: nothing of the environment (proxies) is used for the loopback interface.
    login = urllib3.make_headers(basic_auth=f"{USER}:{password}") if password else None
    with urllib3.PoolManager(retries=False, headers=login) as pool:
        while True:
            url = _bound(launched.work_dir)
            version = _answer(pool, url, node_name) if url else ""
            if version:
                return Node(
                    name=name,
                    engine=installation.distribution.engine,
                    version=version,
                    url=url,
                    pid=launched.pid,
                    started=launched.started,
                    java=str(installation.java),
                    work_dir=launched.work_dir,
                    user=USER if password else "",
                    password=password,
                )
            if not process.is_alive(launched):
                raise EngineError(f"{title} ended while starting:\n{_log_tail(launched.work_dir)}")
            if time.monotonic() > deadline:
                tail = _log_tail(launched.work_dir)
                raise EngineError(f"{title} does not answer after {timeout:.0f} seconds:\n{tail}")
            time.sleep(_POLL)


def _bound(work_dir: Path) -> str:
    """Return the address that the node wrote down after binding, or nothing yet."""
    try:
        lines = (work_dir / PORTS).read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return ""
    return f"http://{lines[0]}" if lines else ""


def _answer(pool: urllib3.PoolManager, url: str, node_name: str) -> str:
    """Return the version of the node at `url` when it is ours and its cluster works."""
    try:
        health = pool.request("GET", f"{url}/_cluster/health?wait_for_status=yellow&timeout=1s", timeout=5.0)
        if health.status != 200 or health.json()["timed_out"]:
            return ""
        root = pool.request("GET", f"{url}/", timeout=5.0).json()
        return str(root["version"]["number"]) if root["name"] == node_name else ""
    except (urllib3.exceptions.HTTPError, ValueError, KeyError, TypeError):  # not yet, or not ours
        return ""


def _log_tail(work_dir: Path) -> str:
    """Return the last lines of the node's log, for an error message."""
    try:
        with (work_dir / LOG).open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(0, size - _LOG_BYTES))
            lines = log.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return "  (no log)"
    return "\n".join(f"  {line[:300]}" for line in lines[-_LOG_LINES:]) or "  (the log is empty)"
