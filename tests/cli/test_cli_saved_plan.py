"""`plan --out` and `deploy --plan` as CI uses them: looked at on the pull request, applied on merge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.command_line import contents, rule_text, sigmawatch, write
from sigmawatch.cluster import ConnectionSettings, connect


@pytest.mark.engine
def test_what_was_looked_at_is_what_is_applied_or_nothing(cluster_url: str, tmp_path: Path) -> None:
    at = ["--url", cluster_url]
    pack, file = tmp_path / "soc", tmp_path / "plan.json"
    rule = write(pack / "rules/r.yml", rule_text(head="name: my_rule"))
    untouched = contents(cluster_url)
    planned = sigmawatch(
        "plan", "--pack", pack, "--out", file, "--detailed-exitcode", "--format", "json", *at
    )
    assert planned.code == 3, planned.err
    assert planned.json == json.loads(file.read_text())
    assert f"sigmawatch deploy --plan {file}" in planned.err
    (body,) = [each["after"] for each in planned.json["changes"] if each["kind"] == "detection"]
    assert body["rule"]["id"] == "my_rule"
    assert contents(cluster_url) == untouched

    rule.unlink()  # what is applied is in the file, whatever became of the pack
    beside = sigmawatch("deploy", "--plan", file, "--pack", pack, "--yes", *at)
    assert (beside.code, "--pack cannot stand beside --plan" in beside.err) == (2, True)
    done = sigmawatch("deploy", "--plan", file, "--yes", "-m", "merged", *at)
    assert done.code == 0, done.err
    assert "+ create detection my_rule" in done.out
    with connect(ConnectionSettings(cluster_url)) as cluster:
        live = cluster.request("GET", "/sigmawatch-detections/_doc/my_rule")["_source"]
        assert live["plan"] == body
        # Somebody's hand, between the plan and its apply.
        rule = write(pack / "rules/r.yml", rule_text(head="name: my_rule", detection="app.action: drop"))
        assert sigmawatch("plan", "--pack", pack, "--out", file, *at).code == 0
        live["plan"]["interval"] = 1
        cluster.request("PUT", "/sigmawatch-detections/_doc/my_rule", live, params={"refresh": "true"})
        moved = sigmawatch("deploy", "--plan", file, "--yes", *at)
        assert moved.code == 5
        assert "detection my_rule: planned: update, would now be: drifted" in moved.err
        assert cluster.request("GET", "/sigmawatch-detections/_doc/my_rule")["_source"] == live
    (release,) = sigmawatch("releases", "list", "--format", "json", *at).json["releases"]
    assert (release["message"], release["target"]) == ("merged", "runner")


@pytest.mark.engine
def test_a_plan_that_is_refused_is_not_saved(cluster_url: str, tmp_path: Path) -> None:
    at = ["--url", cluster_url]
    for name in ("a", "b"):
        write(tmp_path / name / "rules/r.yml", rule_text(head="name: my_rule"))
    assert sigmawatch("deploy", "--pack", tmp_path / "a", "--yes", *at).code == 0
    refused = sigmawatch("plan", "--pack", tmp_path / "b", "--out", tmp_path / "plan.json", *at)
    assert refused.code == 2
    assert "belongs to pack a" in refused.out
    assert not (tmp_path / "plan.json").exists()
