"""The bench of sizes, as a maintainer runs it, and the table that it makes."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "scripts" / "benches" / "sizes.py"


@pytest.mark.engine
def test_an_event_is_measured_in_every_form() -> None:
    command: list[str | Path] = [
        sys.executable,
        BENCH,
        "--dataset",
        "auth.sshd",
        "--documents",
        "1000",
        "--json",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    one = json.loads(ran.stdout)["datasets"]["auth.sshd"]
    assert one["events"] == 1000
    assert 0 < one["line_gzip"] < one["line"]
    assert one["archive"] < one["best_without_original"] < one["best"] < one["default"]


def test_the_page_has_the_figures_that_were_measured() -> None:
    bench = runpy.run_path(str(BENCH))
    result = json.loads((ROOT / "scripts" / "benches" / "results" / "sizes.json").read_text())
    page = (ROOT / "docs" / "retention.md").read_text()
    assert bench["with_table"](page, result) == page, "scripts/bench sizes --save writes both"
    assert bench["table"](result) in page


def test_an_unknown_dataset_is_told() -> None:
    command: list[str | Path] = [sys.executable, BENCH, "--dataset", "flow.aws_vcp"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "there is no dataset flow.aws_vcp" in ran.stderr
