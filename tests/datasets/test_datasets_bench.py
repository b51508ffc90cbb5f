"""The bench of pipelines, as a maintainer runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from datasets.dataset_server import ROOT

BENCH = ROOT.parent / "scripts" / "benches" / "ingest.py"


@pytest.mark.engine
def test_a_pipeline_is_measured_beside_its_finished_documents() -> None:
    command: list[str | Path] = [
        sys.executable,
        BENCH,
        "--dataset",
        "flow.aws_vpc",
        "--documents",
        "500",
        "--rounds",
        "1",
    ]
    ran = subprocess.run(
        [*command, "--warm-up", "500", "--json"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["engine"].startswith("opensearch 3.")
    assert "/" not in found["java"]
    one = found["datasets"]["flow.aws_vpc"]
    assert list(found["datasets"]) == ["flow.aws_vpc"]
    assert min(one["pipeline_us"], one["finished_us"], one["lines_per_second"], one["ratio"]) > 0


def test_an_unknown_dataset_is_told() -> None:
    ran = subprocess.run(
        [sys.executable, BENCH, "--dataset", "flow.aws_vcp"], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert "there is no dataset flow.aws_vcp" in ran.stderr
