"""Starting, recognising and ending a node's process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import psutil

from sigmawatch.engine.launch import LOG, Launch, marker
from sigmawatch.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Lifeline", "Process", "end", "end_all", "is_alive", "lifeline"]

_LIFELINE = Path(__file__).with_name("lifeline.py")
_CLOCK_TOLERANCE = 2.0
_STOP_TIMEOUT = 15.0
_KILL_TIMEOUT = 10.0
_POLL = 0.02


@dataclass(frozen=True)
class Process:
    """A process that cannot be mistaken for another one that got its number later."""

    pid: int
    started: float
    """When it was started, in seconds since 1970."""
    work_dir: Path
    """The node's folder, which its command line names."""


@dataclass(frozen=True)
class Lifeline:
    """The program that starts the node for us; see lifeline.py."""

    _program: subprocess.Popen[bytes]

    def launch(self, launch: Launch) -> Process:
        """Start the node and return its process."""
        spec = {
            "command": launch.command,
            "environment": launch.environment,
            "current_dir": str(launch.current_dir),
            "log": str(launch.work_dir / LOG),
            "switch": launch.user.switch,
            "uid": launch.user.uid,
            "gid": launch.user.gid,
        }
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        try:
            self._program.stdin.write(orjson.dumps(spec, option=orjson.OPT_APPEND_NEWLINE))
            self._program.stdin.flush()
            answer = orjson.loads(self._program.stdout.readline())
        except (OSError, ValueError) as error:
            raise EngineError("the engine's process could not be started") from error
        if answer["error"]:
            raise EngineError(
                f"{launch.command[0]} cannot be run as user {launch.user.name}: {answer['error']}",
                hint="Run sigmawatch as an ordinary user." if launch.user.switch else "",
            )
        pid: int = answer["pid"]
        try:
            started = psutil.Process(pid).create_time()
        except psutil.Error:
            started = time.time()  # gone already; whoever waits for it will see and show its log
        return Process(pid, started, launch.work_dir)


@contextmanager
def lifeline(work_dir: Path, *, hold: bool) -> Iterator[Lifeline]:
    """Open a lifeline for a node in `work_dir`; with `hold` the node ends with the block, or with us."""
    program = subprocess.Popen(
        [sys.executable, "-I", str(_LIFELINE), "hold" if hold else "leave", str(work_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us; it must outlive us by a moment
    )
    try:
        yield Lifeline(program)
    finally:
        assert program.stdin is not None
        assert program.stdout is not None
        with suppress(OSError):  # it is gone
            program.stdin.close()
        program.stdout.close()
        program.wait()


def is_alive(process: Process) -> bool:
    """Return whether this very process runs: same number, same start, and our mark on its command line."""
    return _matching(process) is not None


def _matching(process: Process) -> psutil.Process | None:
    try:
        found = psutil.Process(process.pid)
        if not _runs(found):
            return None
        same_start = abs(found.create_time() - process.started) < _CLOCK_TOLERANCE
        return found if same_start and marker(process.work_dir) in found.cmdline() else None
    except (psutil.Error, ValueError, OverflowError):  # the last two: the number in a damaged record
        return None


def end_all(work_dir: Path) -> bool:
    """End every process that carries the mark of the node in `work_dir`; return whether there was one.

    Finds what no record tells of: the node of a starter that was killed before it could note the number, and
    a server whose launcher was killed.
    """
    ended = False
    while (found := _find(work_dir)) and end(found):
        ended = True
    return ended


def _find(work_dir: Path) -> Process | None:
    me = os.geteuid()
    for candidate in psutil.process_iter():
        try:
            # Another user's process may carry any mark; it is no node of ours.
            ours = me == 0 or candidate.uids().effective == me
            if ours and marker(work_dir) in candidate.cmdline() and _runs(candidate):
                return Process(candidate.pid, candidate.create_time(), work_dir)
        except psutil.Error:
            continue
    return None


def end(process: Process) -> bool:
    """End the process, gently first; return whether it was running. A foreign process is never signalled."""
    found = _matching(process)
    if found is None:
        return False
    try:
        # Of the children first (Elasticsearch's server is its launcher's child): they would be orphans.
        children = found.children(recursive=True)
        found.terminate()
        left = _wait([found, *children], _STOP_TIMEOUT)
        for process_left in left:
            process_left.kill()
        left = _wait(left, _KILL_TIMEOUT)
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied as error:
        raise EngineError(
            f"process {process.pid} belongs to another user and cannot be ended",
            hint="Stop the engine as the user that started it.",
        ) from error
    if left:
        raise EngineError(f"process {process.pid} does not end, not even when killed")
    return True


def _wait(processes: list[psutil.Process], timeout: float) -> list[psutil.Process]:
    """Wait until all have ended; return those that have not in time.

    A zombie has ended. psutil's own waiting goes on until somebody collects it, and in a container the first
    process takes its time for that, or never does.
    """
    deadline = time.monotonic() + timeout
    while (left := [each for each in processes if _runs(each)]) and time.monotonic() < deadline:
        time.sleep(_POLL)
    return left


def _runs(process: psutil.Process) -> bool:
    """Return whether the process has not ended yet.

    A killed JVM is called a zombie as soon as its first thread has ended; until the others have, it still
    holds its port and its files.
    """
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1)
    except psutil.Error:
        return False
