"""One node's own folder: its configuration, and the command line that starts it."""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from sigmawatch.engine.distribution import Distribution, Engine
from sigmawatch.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

    from sigmawatch.engine.java import Java
    from sigmawatch.engine.places import Account

__all__ = ["LOG", "PORTS", "USER", "Installation", "Launch", "marker", "prepare"]

USER = "sigmawatch"
"""Name of the superuser of a node with security."""

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

# Measured on two cores: the serial collector and one compiler halve the start, and a node for tests lives too
# short for the second compiler to pay.
_QUICK = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_STEADY = ("-XX:+UseSerialGC",)
"""For a node that is measured or works for long: with the compiler that users' clusters have."""


@dataclass(frozen=True)
class Installation:
    """An engine that is ready to be started, any number of times."""

    distribution: Distribution
    home: Path
    java: Java
    user: Account
    """As whom it runs."""
    store: Path
    """Where class archives are kept."""

    @property
    def title(self) -> str:
        """Return its name for people."""
        return f"{self.distribution.title} {self.distribution.version}"


@dataclass(frozen=True)
class Launch:
    """All that a node needs to be started."""

    command: list[str]
    environment: dict[str, str]
    current_dir: Path
    user: Account
    work_dir: Path


def marker(work_dir: Path) -> str:
    """Return the argument that tells a node's process from every other: the folder's name is random."""
    return f"-Dsigmawatch.node={work_dir}"


def prepare(
    installation: Installation,
    work_dir: Path,
    node_name: str,
    heap: str,
    port: int | None,
    password: str = "",
    *,
    steady: bool = False,
) -> Launch:
    """Make the node's folder and return how to start it.

    `password`: of its superuser; without one (and with OpenSearch, which has none) it knows no users.
    """
    java_options = _STEADY if steady else _QUICK
    opensearch = installation.distribution.engine is Engine.OPENSEARCH
    files = {
        "opensearch.yml" if opensearch else "elasticsearch.yml": _settings(
            work_dir, node_name, port, opensearch=opensearch, security=bool(password)
        ),
        "log4j2.properties": _LOG4J,
    }
    if password:
        files |= {"users": f"{USER}:{_hashed(password)}\n", "users_roles": f"superuser:{USER}\n"}
    if not opensearch:
        files["jvm.options"] = "".join(
            f"{option}\n" for option in _server_options(work_dir, heap, java_options)
        )
    try:
        # The folder itself stays the caller's: the engine's user owns only what the engine writes.
        work_dir.mkdir(mode=0o700)
        if installation.user.switch:
            work_dir.chmod(0o711)
        for name in ("config", "data", "logs", "tmp"):
            (work_dir / name).mkdir(mode=0o700)
        for name, text in files.items():
            path = work_dir / "config" / name
            path.write_text(text, encoding="utf-8")
            path.chmod(0o644)
        for name in ("config", "data", "logs", "tmp"):
            installation.user.own(work_dir / name)
    except OSError as error:
        raise EngineError(
            f"the node's folder {work_dir} cannot be made: {error.strerror}",
            # A root user of a container's own may lack the right to give files away.
            hint="Run sigmawatch as an ordinary user." if installation.user.switch else "",
        ) from error
    if opensearch:
        command = _opensearch(installation, work_dir, heap, java_options)
    elif installation.distribution.engine is Engine.ELASTICSEARCH:
        command = _elasticsearch(installation, work_dir)
    else:
        command = _elasticsearch8(installation, work_dir)
    # Elasticsearch's launcher takes the current folder for its home.
    current_dir = work_dir if opensearch else installation.home
    return Launch(command, _environment(installation, work_dir), current_dir, installation.user, work_dir)


def _hashed(password: str) -> str:
    """Return a password as Elasticsearch's file realm keeps it: its Hasher's PBKDF2 with 10,000 rounds."""
    salt = os.urandom(32)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 10_000, 32)
    return f"{{PBKDF2}}10000${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _settings(
    work_dir: Path, node_name: str, port: int | None, *, opensearch: bool, security: bool = False
) -> str:
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
    if not opensearch:
        settings["xpack.security.enabled"] = security
    if security:
        # Roles and API keys are what is wanted of it; on the loopback interface nobody listens to passwords.
        settings |= {
            "xpack.security.http.ssl.enabled": False,
            "xpack.security.transport.ssl.enabled": False,
            "xpack.security.enrollment.enabled": False,
            "xpack.security.autoconfiguration.enabled": False,
        }
    # A JSON value is a YAML value, whatever the path holds.
    return "".join(f"{key}: {orjson.dumps(value).decode()}\n" for key, value in settings.items())


def _environment(installation: Installation, work_dir: Path) -> dict[str, str]:
    # Not the caller's: JAVA_TOOL_OPTIONS, ES_JAVA_OPTS and the like would change what is started.
    java_home = str(installation.java.home)
    common = {"PATH": os.defpath, "HOME": str(work_dir / "tmp"), "LANG": "C.UTF-8", "JAVA_HOME": java_home}
    if installation.distribution.engine is Engine.OPENSEARCH:
        return common
    return common | {
        "ES_HOME": str(installation.home),
        "ES_PATH_CONF": str(work_dir / "config"),
        "ES_TMPDIR": str(work_dir / "tmp"),
        "ES_DISTRIBUTION_TYPE": "zip",
        "ES_JAVA_HOME": java_home,
        "JAVA": str(installation.java.executable),
        "JAVA_TYPE": "ES_JAVA_HOME",
        "LIBFFI_TMPDIR": str(work_dir / "tmp"),
    }


def _heap(heap: str) -> tuple[str, str]:
    return f"-Xms{heap}", f"-Xmx{heap}"


def _opensearch(
    installation: Installation, work_dir: Path, heap: str, java_options: tuple[str, ...]
) -> list[str]:
    # The policy agent is left out, which saves 2 s: what it sandboxes are plugins, and there are none. Its
    # bootstrap jar is needed all the same, on the class path.
    home = installation.home
    bootstrap = sorted((home / "agent").glob("opensearch-agent-bootstrap-*.jar"))
    return [
        str(installation.java.executable),
        *_heap(heap),
        "-Xss1m",
        *java_options,
        *_class_archive(installation),
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


def _class_archive(installation: Installation) -> list[str]:
    """Return the options for the archive of loaded classes that the JVM itself makes and checks.

    It writes the archive when it exits for the first time, and maps it from then on: 2.5 s instead of 6 to
    start. The folder has to belong to the user it runs as.
    """
    folder = installation.store / f"classes-{installation.user.uid}"
    try:
        folder.mkdir(mode=0o755, exist_ok=True)
        installation.user.own(folder)
    except OSError:  # a store that somebody else filled and that may only be read
        return []
    java = installation.java
    name = f"{installation.distribution.home_name}-java{java.version}-{java.home.name}.jsa"
    return ["-XX:+AutoCreateSharedArchive", f"-XX:SharedArchiveFile={folder / name}"]


def _server_options(work_dir: Path, heap: str, java_options: tuple[str, ...]) -> list[str]:
    return [
        *_heap(heap),
        *java_options,
        "-XX:-AlwaysPreTouch",
        "-XX:+ExitOnOutOfMemoryError",
        # A must: the server refuses to start when its configuration lies in its temporary folder, as in /tmp.
        f"-Djava.io.tmpdir={work_dir / 'tmp'}",
        marker(work_dir),
    ]


# Elasticsearch's server is started by a small Java program of its own (options, keystore), whose child it is;
# it ends when that one ends, however: it reads a pipe from it. So the launcher's process stands for both.
# Both carry the mark.


def _elasticsearch(installation: Installation, work_dir: Path) -> list[str]:
    return [
        str(installation.java.executable),
        "-Xmx64m",
        *_QUICK,
        marker(work_dir),
        "-cp",
        f"{installation.home}/lib/tools/server-launcher/*",
        "org.elasticsearch.server.launcher.ServerLauncher",
    ]


def _elasticsearch8(installation: Installation, work_dir: Path) -> list[str]:
    return [
        str(installation.java.executable),
        "-Xmx64m",
        *_QUICK,
        "-Dcli.name=server",
        "-Dcli.script=",
        "-Dcli.libs=lib/tools/server-cli",
        f"-Des.path.home={installation.home}",
        f"-Des.path.conf={work_dir}/config",
        "-Des.distribution.type=zip",
        "-Des.java.type=ES_JAVA_HOME",
        marker(work_dir),
        "-cp",
        f"{installation.home}/lib/*:{installation.home}/lib/cli-launcher/*",
        "org.elasticsearch.launcher.CliToolLauncher",
    ]
