"""The command line as a user meets it: real processes, files that a test writes, and what a cluster holds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from sigmawatch.cluster import Cluster, ConnectionSettings, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

PROGRAM = Path(sys.executable).with_name("sigmawatch")

OURS = ("sigmawatch", "logs-")
"""How all names begin that sigmawatch makes in a cluster."""


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment without what would make a command another one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIGMAWATCH_")}
    for name in ("SIGMAWATCH_CACHE", "SIGMAWATCH_JOURNAL"):
        if place := os.environ.get(name):
            kept[name] = place
    return {**kept, **(more or {})}


@dataclass(frozen=True)
class Ran:
    """What a command said, and with which code it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on standard output."""
        return orjson.loads(self.out)


def sigmawatch(
    *arguments: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdout: Any = subprocess.PIPE,
    timeout: float = 300,  # the whole pack on a busy machine takes minutes
) -> Ran:
    """Run a command to its end. It never shows a traceback, nor escape codes where there is no terminal."""
    done = subprocess.run(
        [PROGRAM, *map(str, arguments)],
        cwd=cwd,
        env=environment(env),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        timeout=timeout,
        check=False,
    )
    ran = Ran(done.returncode, (done.stdout or b"").decode(), done.stderr.decode())
    assert "Traceback" not in ran.err, ran.err
    assert "\x1b" not in ran.out + ran.err
    return ran


def started(*arguments: str | Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a command that is going to be interrupted."""
    return subprocess.Popen(
        [PROGRAM, *map(str, arguments)],
        env=environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def interrupted(process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> Ran:
    """Send a signal to a running command and wait for its end."""
    assert process.poll() is None, "it ended before it could be interrupted"
    process.send_signal(number)
    out, err = process.communicate(timeout=180)
    assert "Traceback" not in err, err
    return Ran(process.returncode, out, err)


def until(condition: Callable[[], Any], *, seconds: float = 180) -> Any:
    """Return what a condition gives as soon as it gives something."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)
    return found


def new_id() -> str:
    return str(uuid.uuid4())


def rule_text(
    detection: str = "app.action: delete", logsource: str = "product: acme", *, head: str | None = None
) -> str:
    """Return a rule with one selection."""
    first = f"id: {new_id()}" if head is None else head
    return (
        f"title: A rule\n{first}\nlevel: high\nlogsource: {{{logsource}}}\n"
        f"detection:\n  selection:\n    {detection}\n  condition: selection\n"
    )


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def only(folder: Path, *datasets: str) -> Path:
    """Write a configuration in which all datasets but these are switched off: deploying them all takes a while."""
    switched_on = "".join(f"  {name}: {{enabled: true}}\n" for name in datasets)
    return write(folder / "few.yml", f'datasets:\n  "*": {{enabled: false}}\n{switched_on}')


def contents(url: str) -> dict[str, Any]:
    """Return the names of everything that somebody can make in a cluster."""
    with connect(ConnectionSettings(url)) as cluster:
        return contents_of(cluster)


def contents_of(cluster: Cluster) -> dict[str, Any]:
    """Return the same of a cluster that one has to log in to."""
    state = cluster.request("GET", "/_cluster/state/metadata")["metadata"]
    return {
        "indices": sorted(state["indices"]),
        "index_templates": sorted(state.get("index_template", {}).get("index_template", {})),
        "component_templates": sorted(state.get("component_template", {}).get("component_template", {})),
        "data_streams": sorted(state.get("data_stream", {}).get("data_stream", {})),
        "pipelines": sorted(one["id"] for one in state.get("ingest", {}).get("pipeline", ())),
        "scripts": sorted(state.get("stored_scripts", {})),
        "templates": sorted(state["templates"]),
    }


def emptied(url: str) -> None:
    """Remove everything that sigmawatch makes in a cluster."""
    with connect(ConnectionSettings(url)) as cluster:
        emptied_by(cluster)


def emptied_by(cluster: Cluster) -> None:
    """Remove the same by somebody who may.

    Few requests: an engine writes down all its pipelines, some megabytes, with every change to one of them.
    """
    found = contents_of(cluster)
    settings = {"persistent": {"cluster.blocks.read_only": None}}
    cluster.request("PUT", "/_cluster/settings", settings)
    for path, key in (("/_data_stream", "data_streams"), ("", "indices")):
        for names in in_parts(one for one in found[key] if one.startswith(OURS)):
            params = None if path else {"ignore_unavailable": "true"}
            cluster.request("DELETE", f"{path}/{','.join(names)}", params=params, ignore=(404,))
    # These know no lists of names, but patterns; what else a pattern finds begins in the same way.
    for path, key in (
        ("/_ingest/pipeline", "pipelines"),
        ("/_index_template", "index_templates"),
        ("/_component_template", "component_templates"),
    ):
        for prefix in OURS:
            if any(name.startswith(prefix) for name in found[key]):
                cluster.request("DELETE", f"{path}/{prefix}*", ignore=(404,))
    for name in found["scripts"]:
        if name.startswith(OURS):
            cluster.request("DELETE", f"/_scripts/{name}", ignore=(404,))


def in_parts(names: Iterable[str]) -> Iterator[list[str]]:
    """Yield names, few enough at a time for an address."""
    left = list(names)
    while left:
        yield left[:50]
        left = left[50:]
