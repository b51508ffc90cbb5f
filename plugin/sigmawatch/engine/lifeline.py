"""The program between us and a node: starts it, and for a temporary node ends it when we are gone.

Run as a script of its own, with the standard library only: `python -I lifeline.py leave|hold WORK_DIR`,
20 ms. It reads one line of JSON from standard input, starts the node, and writes one line of JSON with the
node's pid, or why there is none.

`leave`: it ends then; the node belongs to the system, outlives its starter, and is no zombie of a
long-lived one.

`hold`: it stays, and ends the node and deletes its folder as soon as the starter says so (by closing the
pipe) or has died in whatever way, kill -9 included: the system closes the pipe of a dead process. A pipe
alone would not do, since a process that the starter forked may hold a copy of it open; so the parent's pid is
watched as well. The obvious alternative, PR_SET_PDEATHSIG, is Linux only, is forgotten when the user id
changes, and fires when the starting *thread* ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from typing import Any

PARENT_POLL = 0.5
STOP_TIMEOUT = 20


def start(spec: dict[str, Any]) -> subprocess.Popen[bytes]:
    """Start the node as the specification says."""
    options: dict[str, Any] = {}
    if spec["switch"]:
        options = {"user": spec["uid"], "group": spec["gid"], "extra_groups": []}
    # Opened by us, so that the node's user can neither replace nor read more than it writes.
    with open(spec["log"], "wb") as log:  # noqa: PTH123 - few imports, fast start
        return subprocess.Popen(
            spec["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=spec["current_dir"],
            env=spec["environment"],
            start_new_session=True,
            **options,
        )


def answer(**value: object) -> None:
    """Tell the starter, who may be gone."""
    try:
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.close()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def hold(node: subprocess.Popen[bytes], parent: int) -> None:
    """Wait until the starter closes the pipe or is gone, whatever the node does."""
    while os.getppid() == parent:
        readable, _, _ = select.select([0], [], [], PARENT_POLL)
        if readable and not os.read(0, 1):
            return
        node.poll()  # a node that died by itself is no zombie, so the starter sees it


def end(node: subprocess.Popen[bytes]) -> None:
    """Stop the node, gently first."""
    node.terminate()
    try:
        node.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        node.kill()
        node.wait()
    # Elasticsearch is two processes, a launcher and its child; they are a process group of their own.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(node.pid, signal.SIGKILL)


def main() -> None:
    """Start, answer, and hold when asked to."""
    mode, work_dir = sys.argv[1:]
    parent = os.getppid()
    for number in (signal.SIGTERM, signal.SIGHUP):  # asked to end, it takes the node along
        signal.signal(number, lambda *_: sys.exit(1))
    node = None
    try:
        line = sys.stdin.readline()  # nothing follows it but the end of the pipe
        if not line:
            return
        try:
            node = start(json.loads(line))
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            answer(pid=None, error=str(error))
            return
        answer(pid=node.pid, error=None)
        if mode == "hold":
            hold(node, parent)
    finally:
        if mode == "hold":
            if node is not None:
                end(node)
            shutil.rmtree(work_dir, ignore_errors=True)


if __name__ == "__main__":
    main()
