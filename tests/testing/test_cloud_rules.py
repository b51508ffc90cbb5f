"""Rules for clouds and identities, in the names that SigmaHQ's use, find their events through the pipelines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from cli.command_line import rule_text
from testing.bench import outcomes, run, write_case

pytestmark = pytest.mark.engine

PIPELINES = Path(__file__).parents[2] / "ingest_pipelines"


def lines_of(dataset: str, sample: str) -> list[str]:
    path = PIPELINES / dataset / "samples" / f"{sample}.log"
    return path.read_text(encoding="utf-8").splitlines()


def test_detections_find_the_lines_of_samples_that_they_are_about(cluster_url: str, tmp_path: Path) -> None:
    groups = yaml.safe_load(Path(__file__).with_name("cloud_rules.yml").read_text(encoding="utf-8"))
    names = set()
    for number, group in enumerate(groups):
        lines = lines_of(group["dataset"], group["sample"])
        for place, case in enumerate(group["cases"]):
            found, others = (
                [line for at, line in enumerate(lines) if (at in case["lines"]) is wanted]
                for wanted in (True, False)
            )
            tests = [
                f"  - {{name: {name}, logs: {{dataset: {group['dataset']}, lines: {json.dumps(chosen)}}}, alerts: {alerts}}}\n"
                for name, chosen, alerts in (("found", found, len(found)), ("others", others, "none"))
                if chosen
            ]
            folder = f"{number}-{group['dataset']}-{place}"
            write_case(
                tmp_path / folder,
                "tests:\n" + "".join(tests),
                r=rule_text(case["detection"], group["logsource"]),
            )
            names.add(folder)
    said = outcomes(run(tmp_path, "--url", cluster_url))
    assert {folder for folder, _ in said} == names
    assert {key: error for key, error in said.items() if error is not None} == {}
