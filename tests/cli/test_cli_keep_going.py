"""A pack of which some rules do not compile, or cannot be expressed: all listed, nothing deployed, unless one says so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.command_line import new_id, rule_text, sigmawatch, write
from deploy.kibana_stand_in import KibanaStandIn
from sigmawatch.cluster import ConnectionSettings, connect

BROKEN = 10


def pack_of(folder: Path, rules: int) -> list[Path]:
    """Write a pack; return the files that will be broken later."""
    for number in range(rules):
        write(folder / f"rules/r{number:04}.yml", rule_text(f"app.action: a{number}", head=f"id: {new_id()}"))
    return [folder / f"rules/r{number:04}.yml" for number in range(0, rules, rules // BROKEN)][:BROKEN]


def breaks(files: list[Path]) -> dict[Path, str]:
    """Break rules, each in one of several ways; return their texts as they were."""
    before = {path: path.read_text() for path in files}
    ways = [
        lambda text: text.replace("condition: selection", "condition: selektion"),
        lambda text: text.replace("app.action: ", "app.action|re: '(?<=x)'  # "),
        lambda text: text.replace("detection:", "detection: ["),
        lambda text: text.replace("level: high", "level: loud"),
    ]
    for number, path in enumerate(files):
        path.write_text(ways[number % len(ways)](before[path]))
    return before


def deployed(url: str) -> set[str]:
    with connect(ConnectionSettings(url)) as cluster:
        return {hit["_id"] for hit in cluster.scan("sigmawatch-detections")}


@pytest.mark.engine
def test_ten_broken_rules_of_three_thousand(cluster_url: str, tmp_path: Path) -> None:
    pack = tmp_path / "big"
    files = pack_of(pack, 3000)
    options: list[str | Path] = ["--pack", pack, "--url", cluster_url, "--target", "runner"]
    done = sigmawatch("deploy", "--yes", *options, timeout=300)
    assert done.code == 0, done.err
    everything = deployed(cluster_url)
    assert len(everything) == 3000

    before = breaks(files)
    gone = pack / "rules/r0001.yml"
    gone_text = gone.read_text()
    gone.unlink()
    added = new_id()
    write(pack / "rules/new.yml", rule_text(head=f"id: {added}"))

    refused = sigmawatch("deploy", "--yes", *options, timeout=300)
    assert refused.code == 2
    assert deployed(cluster_url) == everything, "nothing was deployed"
    for path in files:
        assert re.search(rf"{re.escape(str(path))}:\d+: error: ", refused.err), f"{path.name} is not listed"

    planned = sigmawatch("plan", "--keep-going", *options, timeout=300)
    assert planned.code == 0, planned.err
    assert "0 to delete" not in planned.out
    assert "to delete" not in planned.out
    going = sigmawatch("deploy", "--yes", "--keep-going", *options, timeout=300)
    assert going.code == 4, "not all of it is deployed"
    assert f"{BROKEN} rules left out" in going.err
    # Which rule a broken file was, nobody knows: so nothing that is deployed goes, not even what was taken out.
    assert deployed(cluster_url) == everything | {added}
    assert "kept while the pack has" in going.out
    again = sigmawatch("deploy", "--yes", "--keep-going", *options, timeout=300)
    assert (again.code, "Nothing to change." in again.out) == (4, True)

    for path, text in before.items():
        path.write_text(text)
    whole = sigmawatch("deploy", "--yes", *options, timeout=300)
    assert whole.code == 0, whole.err
    (one,) = everything - deployed(cluster_url)
    assert one in gone_text


@pytest.mark.engine
def test_a_saved_plan_leaves_out_what_it_left_out(cluster_url: str, tmp_path: Path) -> None:
    pack = tmp_path / "soc"
    files = pack_of(pack, 20)[:1]
    options: list[str | Path] = ["--pack", pack, "--url", cluster_url, "--target", "runner"]
    assert sigmawatch("deploy", "--yes", *options).code == 0
    breaks(files)
    saved = tmp_path / "plan.json"
    assert sigmawatch("plan", "--keep-going", "--out", saved, *options).code == 0
    done = sigmawatch("deploy", "--plan", saved, "--yes", "--url", cluster_url)
    assert done.code == 4, done.err
    assert "1 rule left out" in done.err
    assert len(deployed(cluster_url)) == 20


# Target kibana --------------------------------------------------------------------------------------------

BURST = """title: Many
id: 7b1a7b1e-0000-4000-8000-000000000002
level: high
correlation:
  type: event_count
  rules: [base]
  group-by: [user.name]
  timespan: 5m
  condition: {gte: 10}
---
title: Base
id: 7b1a7b1e-0000-4000-8000-000000000003
name: base
logsource: {product: acme}
detection:
  selection:
    app.action: login
  condition: selection
"""


@pytest.mark.engine
def test_rules_go_to_kibana_and_what_it_cannot_express_is_refused_by_name(
    cluster_url: str, tmp_path: Path
) -> None:
    pack = tmp_path / "soc"
    one = new_id()
    write(pack / "rules/r.yml", rule_text(head=f"id: {one}"))
    burst = write(pack / "rules/burst.yml", BURST)
    title = "attributes: {title: 'logs-*', timeFieldName: '@timestamp'}\n"
    write(pack / "artifacts/data_view/soc-logs.yml", title)
    with KibanaStandIn() as kibana:
        text = (
            f"environments:\n  prod:\n    url: {cluster_url}\n    target: kibana\n"
            f"    kibana: {{url: '{kibana.url}', space: soc}}\n"
        )
        write(pack / "sigmawatch.yml", text)
        options: list[str | Path] = ["--pack", pack, "--env", "prod"]
        refused = sigmawatch("deploy", "--yes", *options)
        assert refused.code == 2
        assert f"{burst}:" in refused.err
        assert "error: kibana: correlation type event_count cannot be expressed exactly" in refused.err
        assert kibana.writes == []

        going = sigmawatch("deploy", "--yes", "--keep-going", *options)
        assert going.code == 4, going.err
        assert "1 rule left out" in going.err
        assert f"+ create kibana_rule soc/{one}" in going.out
        assert kibana.rule(one, "soc")["enabled"] is True
        assert ("index-pattern", "soc-soc-logs") in kibana.objects

        # Said in the configuration, nothing is left out any more.
        write(pack / "sigmawatch.yml", text + "    rules:\n      rules/burst.yml: {enabled: false}\n")
        kibana.rule(one, "soc")["enabled"] = False
        whole = sigmawatch("deploy", "--yes", *options)
        assert (whole.code, "Nothing to change." in whole.out) == (0, True), whole.err
        assert kibana.rule(one, "soc")["enabled"] is False, "that is the analysts' decision"
        assert (
            "all as deployed"
            in sigmawatch("status", "--config", pack / "sigmawatch.yml", "--env", "prod").out
        )

        named: list[str | Path] = [
            "--config",
            pack / "sigmawatch.yml",
            "--env",
            "prod",
            "--pack",
            "soc",
            "--yes",
        ]
        assert sigmawatch("destroy", *named).code == 0
        assert (kibana.rules, kibana.objects) == ({}, {})


@pytest.mark.engine
def test_the_target_kibana_without_a_kibana(cluster_url: str, tmp_path: Path) -> None:
    write(tmp_path / "rules/r.yml", rule_text())
    found = sigmawatch("plan", "--pack", tmp_path, "--url", cluster_url, "--target", "kibana")
    assert found.code == 5
    assert "no Kibana is configured" in found.err
    assert "SIGMAWATCH_KIBANA_URL" in found.err
    lacking = sigmawatch("plan", "--pack", tmp_path, "--url", cluster_url, "--target", "opensearch")
    assert (lacking.code, "opensearch-alerting is not installed" in lacking.err) == (5, True)
