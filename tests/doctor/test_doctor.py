"""What the doctor finds: on real engines where they can be made ill, else on answers of a stand-in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.command_line import only, rule_text, sigmawatch, write
from cluster.http_stand_in import INFO, Answer, HttpStandIn, Seen
from sigmawatch.cluster import ConnectionSettings, connect
from sigmawatch.doctor import Finding, Verdict, check_surroundings
from sigmawatch.doctor.surroundings import _must_be_free
from sigmawatch.engine import Node

GIB = 1 << 30


def doctor(url: str, *arguments: Any) -> tuple[int, dict[str, dict[str, Any]]]:
    ran = sigmawatch("doctor", "--format", "json", "--url", url, *arguments)
    return ran.code, {one["check"]: one for one in ran.json["findings"]}


@pytest.mark.engine
def test_a_deployed_pack_on_a_sound_cluster_is_fine(cluster_url: str, tmp_path: Path) -> None:
    few: list[str | Path] = ["--config", only(tmp_path, "flow.aws_vpc", "auth.sshd")]
    assert sigmawatch("deploy", "--yes", "--url", cluster_url, *few).code == 0
    code, found = doctor(cluster_url, *few)
    assert code == 0
    assert {name: one["verdict"] for name, one in found.items()} == {
        "cluster": "fine",
        "target": "fine",
        "retention": "warning",  # the engine of tests is built without ISM
        "health": "fine",
        "clocks": "fine",
        "disks": "fine",
        "blocks": "fine",
        "privileges of a deployer": "warning",  # and without security
        "indices": "fine",
        "fields": "fine",
        "types": "fine",
    }


@pytest.mark.engine
def test_rules_without_indices_fields_or_the_right_types_are_named(cluster_url: str, tmp_path: Path) -> None:
    pack = tmp_path / "soc"
    for name, detection in (
        ("typed", "source.ip: 192.0.2.1"),
        ("absent", "app.never: x"),
        ("fine", "user.name: a"),
    ):
        write(
            pack / f"rules/{name}.yml",
            rule_text(detection, head=f"name: {name}").replace("A rule", f"Rule {name}"),
        )
    code, found = doctor(cluster_url, "--pack", pack)
    assert (code, found["indices"]["verdict"]) == (0, "warning")
    assert len(found["indices"]["details"]) == 3
    assert "fields" not in found
    with connect(ConnectionSettings(cluster_url)) as cluster:
        fields = {
            "source.ip": {"type": "keyword"},
            "user.name": {"type": "keyword"},
            "@timestamp": {"type": "date"},
        }
        cluster.request("PUT", "/logs-acme", {"mappings": {"properties": fields}})
    code, found = doctor(cluster_url, "--pack", pack)
    assert code == 1
    assert found["indices"]["verdict"] == "fine"
    assert found["fields"]["details"] == ["Rule absent: app.never"]
    assert found["types"]["details"] == ["Rule typed: source.ip is keyword, expected ip"]


@pytest.mark.engine
def test_a_read_only_index_and_a_target_that_cannot_be_are_problems(cluster_url: str) -> None:
    with connect(ConnectionSettings(cluster_url)) as cluster:
        cluster.request(
            "PUT", "/sigmawatch-detections", {"settings": {"index.blocks.read_only_allow_delete": True}}
        )
    code, found = doctor(cluster_url, "--target", "watcher")
    assert code == 1
    assert found["blocks"]["details"] == ["sigmawatch-detections: read_only_allow_delete"]
    assert found["target"]["verdict"] == "problem"
    assert "Use --target runner" in found["target"]["hint"]
    shown = sigmawatch("doctor", "--url", cluster_url)
    assert shown.code == 1
    assert "PROBLEM  blocks: 1 blocks on indices" in shown.out


@pytest.mark.elasticsearch
def test_a_cluster_without_security_is_a_warning(elasticsearch: Node) -> None:
    _, found = doctor(elasticsearch.url)
    assert found["privileges of a deployer"]["verdict"] == "warning"
    assert found["privileges of a deployer"]["message"] == "security is switched off in this cluster"


def examined(answers: dict[str, Any], now: float = 1_000.0) -> dict[str, Finding]:
    """Return what is found on a stand-in that gives these answers, by the beginning of the path."""

    def reply(seen: Seen) -> Answer:
        if seen.path.split("?")[0] == "/":
            return Answer(200, INFO)
        for path, answer in answers.items():
            if seen.path.startswith(path):
                return Answer(200, answer)
        return Answer(404, {"error": {"type": "none", "reason": "not there"}})

    with HttpStandIn(reply=reply) as server, connect(ConnectionSettings(server.url)) as cluster:
        return {one.check: one for one in check_surroundings(cluster, target=None, clock=lambda: now)}


def stats(free: int = 500, moment: float = 1_000.0) -> dict[str, Any]:
    total = {"total_in_bytes": 1_000 * GIB, "available_in_bytes": free * GIB}
    return {"nodes": {"n": {"name": "es1", "timestamp": int(moment * 1000), "fs": {"total": total}}}}


@pytest.mark.parametrize(
    ("moment", "verdict"),
    [(1_000.0, Verdict.FINE), (1_004.0, Verdict.FINE), (1_006.0, Verdict.PROBLEM), (400.0, Verdict.PROBLEM)],
)
def test_clocks_that_differ_are_a_problem(moment: float, verdict: Verdict) -> None:
    found = examined({"/_nodes/stats": stats(moment=moment)})["clocks"]
    assert found.verdict is verdict
    assert found.details == (() if verdict is Verdict.FINE else (f"es1: {abs(moment - 1000):.0f} s",))


@pytest.mark.parametrize(
    ("free", "settings", "verdict"),
    [
        (500, {}, Verdict.FINE),
        (140, {}, Verdict.WARNING),
        (90, {}, Verdict.WARNING),
        (40, {}, Verdict.PROBLEM),
        (40, {"cluster.routing.allocation.disk.threshold_enabled": "false"}, Verdict.FINE),
        (40, {f"cluster.routing.allocation.disk.watermark.{name}": "20gb" for name in ("low", "high", "flood_stage")}, Verdict.FINE),
        (10, {f"cluster.routing.allocation.disk.watermark.{name}": "20gb" for name in ("low", "high", "flood_stage")}, Verdict.PROBLEM),
    ],
)  # fmt: skip
def test_disks_are_measured_by_the_clusters_own_watermarks(
    free: int, settings: dict[str, str], verdict: Verdict
) -> None:
    answers = {"/_nodes/stats": stats(free), "/_cluster/settings": {"persistent": settings}}
    assert examined(answers)["disks"].verdict is verdict


def test_what_the_cluster_does_not_tell_is_unknown_and_stops_nothing() -> None:
    found = examined({})
    assert {found[name].verdict for name in ("health", "clocks", "disks", "blocks")} == {Verdict.UNKNOWN}


@pytest.mark.parametrize(
    ("status", "nodes", "verdict"),
    [("green", 3, Verdict.FINE), ("yellow", 1, Verdict.FINE), ("yellow", 3, Verdict.WARNING), ("red", 1, Verdict.PROBLEM)],
)  # fmt: skip
def test_health(status: str, nodes: int, verdict: Verdict) -> None:
    health = {"status": status, "number_of_nodes": nodes, "unassigned_shards": 2}
    assert examined({"/_cluster/health": health})["health"].verdict is verdict


def test_watermarks_are_shares_that_are_used_or_bytes_that_are_free() -> None:
    assert _must_be_free("90%", 1000) == pytest.approx(100)
    assert _must_be_free("0.9", 1000) == pytest.approx(100)
    assert _must_be_free("2gb", 1000) == 2 * GIB
    assert _must_be_free("1.5kb", 1000) == 1536
    assert _must_be_free("odd", 1000) == 0
