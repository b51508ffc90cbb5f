"""What is known of started nodes: one small file per name."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from sigmawatch.engine import process
from sigmawatch.engine.distribution import Engine
from sigmawatch.engine.places import WORK_PREFIX
from sigmawatch.errors import EngineError, UsageError

__all__ = ["Node", "Record", "check_name", "forget", "names", "read", "remove_work_dir", "write"]

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,49}", re.ASCII)


@dataclass(frozen=True)
class Node:
    """A node that answers."""

    name: str
    engine: Engine
    version: str
    url: str
    """Where it listens, http://127.0.0.1:PORT."""
    pid: int
    started: float
    """When its process was started, in seconds since 1970."""
    java: str
    """The Java it runs on, version and place."""
    work_dir: Path
    """Its folder with configuration, data and logs; gone when it is stopped."""
    user: str = ""
    """Its superuser; empty where it knows no users."""
    password: str = field(default="", repr=False)

    @property
    def process(self) -> process.Process:
        """Return what identifies its process."""
        return process.Process(self.pid, self.started, self.work_dir)


@dataclass(frozen=True)
class Record:
    """What is noted of a node: first its folder, then its process, and when it answers the node."""

    work_dir: Path
    process: process.Process | None = None
    node: Node | None = None


def check_name(name: str) -> None:
    """Raise UsageError for a name that makes no file or node name."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name for a node", hint="Use up to 50 lower-case letters, digits and - _ ."
        )


def names(folder: Path) -> list[str]:
    """Return the names of all nodes that something is noted of."""
    return sorted(path.stem for path in folder.glob("*.json") if _NAME.fullmatch(path.stem))


def write(folder: Path, name: str, record: Record) -> None:
    """Note the record, whole or not at all."""
    data: dict[str, Any] = {"work_dir": str(record.work_dir)}
    if record.process:
        data |= {"pid": record.process.pid, "started": record.process.started}
    if node := record.node:
        data |= {"engine": node.engine, "version": node.version, "url": node.url, "java": node.java}
        if node.password:
            data |= {"user": node.user, "password": node.password}
    partial = folder / f".{name}.json.partial"
    try:
        partial.touch(mode=0o600)  # it may hold a password
        partial.write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2))
        partial.replace(folder / f"{name}.json")
    except OSError as error:
        raise EngineError(f"{folder} cannot be written: {error.strerror}") from error


def read(folder: Path, name: str) -> Record | None:
    """Return what is noted under `name`; a file that says nothing usable counts as no record."""
    try:
        data = orjson.loads((folder / f"{name}.json").read_bytes())
        work_dir = Path(data["work_dir"])
        if "pid" not in data:
            return Record(work_dir)
        noted = process.Process(int(data["pid"]), float(data["started"]), work_dir)
        if "url" not in data:
            return Record(work_dir, noted)
        node = Node(
            name,
            Engine(data["engine"]),
            str(data["version"]),
            str(data["url"]),
            noted.pid,
            noted.started,
            str(data["java"]),
            work_dir,
            str(data.get("user", "")),
            str(data.get("password", "")),
        )
        return Record(work_dir, noted, node)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def forget(folder: Path, name: str) -> None:
    """Remove what is noted under `name`."""
    (folder / f"{name}.json").unlink(missing_ok=True)


def remove_work_dir(work_dir: Path) -> None:
    """Delete a node's folder, and only ever such a one, whatever a damaged record says."""
    plain = work_dir.is_absolute() and os.path.normpath(work_dir) == str(work_dir)
    if plain and work_dir.name.startswith(WORK_PREFIX):
        shutil.rmtree(work_dir, ignore_errors=True)
