"""Texts that are too long for a term of the index are found by rules all the same: length is no way to hide."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from datasets.dataset_server import Server
from sigmawatch.datasets import Dataset, build_pipeline, without_hook
from sigmawatch.datasets.pipeline import LONGEST, OVERLAP

PROGRAM = Path(sys.executable).with_name("sigmawatch")

RULE = """\
title: A name of hostile length
id: 7a6f1d52-95b1-4c2e-8a3f-3f3f5b1c0a01
logsource: {product: linux, service: sshd}
detection:
  selection:
    user.name|%s: '%s'
  condition: selection
"""

LINE = "<38>1 2026-03-01T10:00:00Z web1 sshd 2000 - - Invalid user %s from 198.51.100.7 port 40000"


def pieces(server: Server, sshd: Dataset, name: str) -> dict[str, Any]:
    found = server.simulate(without_hook(build_pipeline(sshd)), [{"_source": {"message": LINE % name}}])
    document: dict[str, Any] = found[0]["doc"]["_source"]
    return document


@pytest.mark.parametrize("letter", ["x", "é", "字", "😀"])
@pytest.mark.parametrize("length", [LONGEST - 1, LONGEST, LONGEST + 1, 2 * LONGEST - OVERLAP, 30_000])
def test_pieces_make_up_the_whole_text(server: Server, sshd: Dataset, letter: str, length: int) -> None:
    name = ("<begin>" + letter * length)[: length - 5] + "<end>"
    document = pieces(server, sshd, name)
    found = document["user"]["name"]
    if isinstance(found, str):
        assert found == name
        return
    assert found[0].startswith("<begin>")
    assert found[-1].endswith("<end>")
    assert all(len(piece.encode("utf-16-le")) // 2 <= LONGEST for piece in found)
    # Each piece goes on before the one before it ends.
    assert sum(map(len, found)) >= len(name) + (OVERLAP // 2 - 2) * (len(found) - 1)
    assert all(piece in name for piece in found)
    assert document["event"]["original"] == LINE % name
    assert document["related"]["user"] == found


def test_short_texts_of_a_long_line_stay_as_they_are(server: Server, sshd: Dataset) -> None:
    document = pieces(server, sshd, "x" * 20_000)
    assert document["source"]["ip"] == "198.51.100.7"
    assert document["host"]["name"] == "web1"


SEARCHES = [
    ("contains", "needle", 1),
    ("contains", "x" * 30 + "needle" + "y" * 30, 1),
    ("startswith", "xxxx", 1),
    ("endswith", "tail", 1),
    ("contains", "absent", 0),
]


def test_a_rule_finds_what_stands_anywhere_in_a_long_text(server: Server, tmp_path: Path) -> None:
    places = (LONGEST - 3, 2 * LONGEST, 4 * LONGEST - OVERLAP)
    for number, (modifier, text, alerts) in enumerate(SEARCHES):
        rule = RULE % (modifier, text)
        (tmp_path / f"{number}.yml").write_text(rule.replace("0a01", f"0a{number:02}"), encoding="utf-8")
        tests = [
            {
                "name": f"at {at}",
                "logs": {
                    "dataset": "auth.sshd",
                    "lines": [LINE % ("x" * at + "needle" + "y" * (40_000 - at) + "tail")],
                },
                "alerts": alerts or "none",
            }
            for at in places
        ]
        (tmp_path / f"{number}.test.yml").write_text(json.dumps({"tests": tests}), encoding="utf-8")
    ran = subprocess.run(
        [PROGRAM, "test", tmp_path, "--url", server.url, "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert json.loads(ran.stdout)["passed"] == len(SEARCHES) * len(places)
