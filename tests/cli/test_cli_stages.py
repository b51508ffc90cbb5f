"""The stage of a rule, in the rule and per environment: what is deployed, what the plan says, what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.command_line import rule_text, sigmawatch, write
from sigmawatch.cluster import ConnectionSettings, connect


@pytest.mark.engine
def test_a_rule_goes_from_test_over_shadow_to_live(cluster_url: str, tmp_path: Path) -> None:
    pack = tmp_path / "soc"
    write(pack / "rules/sure.yml", rule_text(head="name: sure"))
    write(pack / "rules/young.yml", rule_text(head="name: young\nsigmawatch: {stage: test}"))
    options: list[str | Path] = ["--pack", pack, "--url", cluster_url, "--target", "runner"]

    def live() -> dict[str, str]:
        with connect(ConnectionSettings(cluster_url)) as cluster:
            hits = list(cluster.scan("sigmawatch-detections"))
        return {hit["_id"]: hit["_source"]["plan"]["rule"]["stage"] for hit in hits}

    planned = sigmawatch("plan", *options)
    assert "target runner: 1 detection, 1 not deployed (stage test)" in planned.err
    assert sigmawatch("deploy", "--yes", *options).code == 0
    assert live() == {"sure": "live"}

    config = write(pack / "sigmawatch.yml", "rules:\n  young: {stage: shadow}\n")
    planned = sigmawatch("plan", *options)
    assert "+ create detection young [shadow]" in planned.out
    assert "2 detections, 1 of them on trial (stage shadow)" in planned.err
    assert sigmawatch("deploy", "--yes", *options).code == 0
    assert live() == {"sure": "live", "young": "shadow"}

    config.write_text("rules:\n  young: {stage: live}\n")
    planned = sigmawatch("plan", *options)
    assert "~ update detection young" in planned.out, "an update, no new detection"
    assert '-    "stage": "shadow"' in planned.out
    assert '+    "stage": "live"' in planned.out
    assert sigmawatch("deploy", "--yes", *options).code == 0
    assert live() == {"sure": "live", "young": "live"}


def test_stages_that_are_none_are_told_where_they_stand(tmp_path: Path) -> None:
    rule = write(tmp_path / "rules/r.yml", rule_text(head="name: r\nsigmawatch: {stage: beta}"))
    found = sigmawatch("check", rule)
    assert f"{rule}:" in found.out + found.err
    assert "stage 'beta' is none of test, shadow, live" in found.out + found.err
    config = write(tmp_path / "sigmawatch.yml", "rules:\n  r: {stage: prod}\n")
    found = sigmawatch("plan", "--pack", tmp_path, "--url", "http://127.0.0.1:9")
    assert f"{config}:2: error: stage: 'prod' is none" in found.err


def test_kibana_has_no_place_for_a_trial(tmp_path: Path) -> None:
    rule = write(tmp_path / "r.yml", rule_text(head="name: r\nsigmawatch: {stage: shadow}"))
    found = sigmawatch("compile", rule, "--format", "kibana")
    assert found.code == 2
    assert "kibana: stage shadow: its alerts would stand among all others" in found.err


@pytest.mark.engine
def test_a_plan_says_what_it_costs_and_what_history_says(cluster_url: str, tmp_path: Path) -> None:
    pack = tmp_path / "soc"
    write(pack / "rules/r.yml", rule_text("app.action: delete", head="name: deletes"))
    options: list[str | Path] = ["--pack", pack, "--url", cluster_url, "--target", "runner"]
    with connect(ConnectionSettings(cluster_url)) as cluster:
        fields = {"app": {"properties": {"action": {"type": "keyword"}}}, "@timestamp": {"type": "date"}}
        cluster.request("PUT", "/logs-history-test", {"mappings": {"properties": fields}}, ignore=(400,))
        for name in ("delete", "read"):
            moment = datetime.now(UTC) - timedelta(days=2)
            body = {"@timestamp": moment.isoformat(), "app": {"action": name}}
            cluster.request("POST", "/logs-history-test/_doc", body, params={"refresh": "true"})
        planned = sigmawatch("plan", "--history", "7d", *options)
        assert planned.code == 0, planned.err
        assert "Cost: 1 detection, 1.0 searches a minute." in planned.out
        assert "History: 0.5 alerts a day, of 2.0 days with events (7 asked for)" in planned.out
        found = sigmawatch("plan", "--history", "90d", "--format", "json", *options).json
        cluster.request("DELETE", "/logs-history-test", ignore=(404,))
    assert found["cost"]["searches_per_minute"] == 1
    assert [(one["id"], one["alerts"]) for one in found["history"]["rules"]] == [("deletes", 1)]
    wrong = sigmawatch("plan", "--history", "1y", *options)
    assert (wrong.code, "'1y' is not from 1d to 90d" in wrong.err) == (2, True)
