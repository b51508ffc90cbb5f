"""One node's own folder: its configuration, and the command line that starts it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from sigmawatch.engine.distribution import Distribution, Engine
from sigmawatch.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sigmawatch.engine.java import Java
    from sigmawatch.engine.places import Account

__all__ = ["Launch", "marker", "prepare"]

LOG = "node.log"
PORTS = "logs/http.ports"

_LOG4J = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""


@dataclass(frozen=True)
class Launch:
    """All that a node needs to be started."""

    command: list[str]
    environment: dict[str, str]
    user: Account
    work_dir: Path


def marker(work_dir: Path) -> str:
    """Return the argument that tells a node's process from every other: the folder's name is random."""
    return f"-Dsigmawatch.node={work_dir}"


def prepare(
    distribution: Distribution,
    *,
    work_dir: Path,
    node_name: str,
    home: Path,
    java: Java,
    user: Account,
    store: Path,
    heap: str,
    port: int | None,
) -> Launch:
    """Make the node's folder and return how to start it."""
    try:
        # The folder itself stays the caller's: the engine's user owns only what the engine writes.
        work_dir.mkdir(mode=0o711 if user.switch else 0o700)
        for name in ("config", "data", "logs", "tmp"):
            (work_dir / name).mkdir(mode=0o700)
        files = {
            f"{_family(distribution)}.yml": _settings(distribution, work_dir, node_name, port),
            "log4j2.properties": _LOG4J,
            "jvm.options": "",
        }
        for name, text in files.items():
            path = work_dir / "config" / name
            path.write_text(text, encoding="utf-8")
            path.chmod(0o644)
        for path in (work_dir / "config", work_dir / "data", work_dir / "logs", work_dir / "tmp"):
            user.own(path)
    except OSError as error:
        raise EngineError(f"the node's folder {work_dir} cannot be made: {error.strerror}") from error
    command = _COMMANDS[distribution.engine](distribution, work_dir, home, java, user, store, heap)
    return Launch(command, _environment(work_dir, java), user, work_dir)


def _family(distribution: Distribution) -> str:
    return "opensearch" if distribution.engine is Engine.OPENSEARCH else "elasticsearch"


def _settings(distribution: Distribution, work_dir: Path, node_name: str, port: int | None) -> str:
    settings: dict[str, object] = {
        "cluster.name": node_name,
        "node.name": node_name,
        "path.data": str(work_dir / "data"),
        "path.logs": str(work_dir / "logs"),
        "network.host": "127.0.0.1",
        # Port 0: the system picks a free one, and the node writes it to logs/http.ports. Nobody can take it
        # between the picking and the binding.
        "http.port": port or 0,
        "transport.port": 0,
        "node.portsfile": True,
        "discovery.type": "single-node",
        # The disks of build machines are nearly full, and a node that lives for minutes needs no reserve.
        "cluster.routing.allocation.disk.threshold_enabled": False,
    }
    if distribution.engine is not Engine.OPENSEARCH:
        settings["xpack.security.enabled"] = False
    # A JSON value is a YAML value, whatever the path holds.
    return "".join(f"{key}: {orjson.dumps(value).decode()}\n" for key, value in settings.items())


def _environment(work_dir: Path, java: Java) -> dict[str, str]:
    # Not the caller's: JAVA_TOOL_OPTIONS, ES_JAVA_OPTS and the like would change what is started.
    return {
        "PATH": os.defpath,
        "HOME": str(work_dir / "tmp"),
        "LANG": "C.UTF-8",
        "JAVA_HOME": str(java.home),
        "ES_JAVA_HOME": str(java.home),
        "ES_TMPDIR": str(work_dir / "tmp"),
        "LIBFFI_TMPDIR": str(work_dir / "tmp"),
    }


def _opensearch(
    distribution: Distribution, work_dir: Path, home: Path, java: Java, user: Account, store: Path, heap: str
) -> list[str]:
    # Measured: the serial collector, one compiler and a class archive bring the start from 8 s to 2.5 s. The
    # policy agent is left out (2 s); what it sandboxes are plugins, and there are none. Its bootstrap jar is
    # needed all the same, on the class path.
    bootstrap = sorted((home / "agent").glob("opensearch-agent-bootstrap-*.jar"))
    return [
        str(java.executable),
        f"-Xms{heap}",
        f"-Xmx{heap}",
        "-Xss1m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        *_class_archive(distribution, java, user, store),
        "-XX:-OmitStackTraceInFastThrow",
        "-XX:+ExitOnOutOfMemoryError",
        f"-XX:ErrorFile={work_dir}/logs/hs_err.log",
        "--enable-native-access=ALL-UNNAMED",
        "-Dfile.encoding=UTF-8",
        "-Djava.awt.headless=true",
        "-Djna.nosys=true",
        "-Dio.netty.noUnsafe=true",
        "-Dio.netty.noKeySetOptimization=true",
        "-Dio.netty.recycler.maxCapacityPerThread=0",
        "-Dlog4j.shutdownHookEnabled=false",
        "-Dlog4j2.disable.jmx=true",
        "-Dorg.apache.lucene.store.MMapDirectory.sharedArenaMaxPermits=1",
        f"-Djava.io.tmpdir={work_dir / 'tmp'}",
        f"-Dopensearch.path.home={home}",
        f"-Dopensearch.path.conf={work_dir}/config",
        "-Dopensearch.distribution.type=zip",
        marker(work_dir),
        "-cp",
        ":".join([f"{home}/lib/*", *map(str, bootstrap)]),
        "org.opensearch.bootstrap.OpenSearch",
    ]


def _class_archive(distribution: Distribution, java: Java, user: Account, store: Path) -> list[str]:
    """Return the options for the archive of loaded classes that the JVM itself makes and checks.

    It writes the archive when it exits for the first time, and maps it from then on. The folder has to belong
    to the user it runs as.
    """
    folder = store / f"classes-{user.uid}"
    try:
        folder.mkdir(mode=0o755, exist_ok=True)
        user.own(folder)
    except OSError:  # a store that somebody else filled and that may only be read
        return []
    name = f"{distribution.home_name}-java{java.version}-{java.home.name}.jsa"
    return ["-XX:+AutoCreateSharedArchive", f"-XX:SharedArchiveFile={folder / name}"]


def _elasticsearch(
    distribution: Distribution, work_dir: Path, home: Path, java: Java, user: Account, store: Path, heap: str
) -> list[str]:
    raise NotImplementedError


_COMMANDS: dict[Engine, Callable[[Distribution, Path, Path, Java, Account, Path, str], list[str]]] = {
    Engine.OPENSEARCH: _opensearch,
    Engine.ELASTICSEARCH: _elasticsearch,
    Engine.ELASTICSEARCH8: _elasticsearch,
}
