"""docs/walkthrough.md, followed to the letter: its files are written, its commands run, its output compared."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "walkthrough.md"

_BLOCK = re.compile(
    r"(?:`(?P<file>[\w./-]+)`:\n\n)?```(?P<kind>yaml|console)\n(?P<text>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Command:
    """One command of the page and what it is said to print."""

    text: str
    output: tuple[str, ...]


def steps(page: str) -> Iterator[tuple[str, str] | Command]:
    """Yield the page's files (path and text) and commands, in order."""
    for block in _BLOCK.finditer(page):
        if block["kind"] == "yaml":
            yield block["file"], block["text"]
            continue
        for part in re.split(r"^\$ ", block["text"], flags=re.M)[1:]:
            command, *output = part.rstrip("\n").split("\n")
            yield Command(command, tuple(output))


def like(output: tuple[str, ...]) -> re.Pattern[str]:
    """Return what an output of the page is like: `…` alone stands for any lines, in a line for any text."""
    text = ""
    for line in output:
        if line == "…":
            text += r"(?:[^\n]*\n)*?"
        else:
            # Tables are as wide as what they hold.
            words = [r"[^\n]*".join(map(re.escape, word.split("…"))) for word in line.split()]
            text += r"[ ]*" + r"[ ]+".join(words) + r"[ ]*\n"
    return re.compile(text)


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    state = tmp_path / "state"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    found = {**os.environ, "SIGMAWATCH_STATE": str(state), "PATH": path, "COLUMNS": "200", "TZ": "UTC"}
    yield found
    subprocess.run(["sigmawatch", "engine", "stop", "--all"], env=found, check=True, timeout=180)


def test_the_walk_through_says_what_happens(tmp_path: Path, environment: dict[str, str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    work = tmp_path / "work"
    work.mkdir()
    done = 0
    for step in steps(PAGE.read_text(encoding="utf-8").replace("9200", port)):
        if not isinstance(step, Command):
            name, text = step
            assert name, f"the page does not say where this is to be written:\n{text}"
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(text, encoding="utf-8")
            continue
        if exported := re.fullmatch(r"export (\w+)=(.*)", step.text):
            environment[exported[1]] = shlex.split(exported[2])[0]
            continue
        ran = subprocess.run(
            ["bash", "-c", step.text],
            cwd=work,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert ran.returncode == 0, f"$ {step.text}\n{ran.stdout}"
        expected = "\n".join(step.output)
        assert like(step.output).fullmatch(ran.stdout), f"$ {step.text}\n{ran.stdout}\ninstead of\n{expected}"
        done += 1
    assert done > 15
