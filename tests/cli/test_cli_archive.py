"""`sigmawatch archive` as cron runs it: from a configuration to copies, and what plan and status say of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.command_line import sigmawatch, write
from sigmawatch.cluster import ConnectionSettings, connect

CONFIG = """
retention: {archive: {after: 0d, delete: 400d}}
datasets:
  "*": {enabled: false}
  auth.sshd: {enabled: true}
environments:
  prod: {url: URL, target: runner}
"""
LINE = "Mar  1 10:00:0{n} web1 sshd[1]: Failed password for root from 203.0.113.{n} port 22 ssh2"


@pytest.mark.engine
def test_what_a_configuration_wants_archived_is_archived_by_cron(cluster_url: str, tmp_path: Path) -> None:
    config = write(tmp_path / "sigmawatch.yml", CONFIG.replace("URL", cluster_url))
    prod: list[str | Path] = ["--config", config, "--env", "prod"]
    nothing = sigmawatch("archive", *prod)
    assert (nothing.code, nothing.out) == (0, "Nothing to do.\n")
    planned = sigmawatch("plan", *prod)
    assert "archived from 0 d on until 400 d" in planned.err
    assert sigmawatch("deploy", *prod, "--yes").code == 0
    with connect(ConnectionSettings(cluster_url)) as cluster:
        send(cluster)
        cluster.request("POST", "/logs-auth.sshd-default/_rollover", idempotent=False)
    at = ["--url", cluster_url]  # no pack and no configuration are needed any more
    dry = sigmawatch("archive", *at, "--dry-run")
    assert dry.code == 0, dry.err
    assert ".ds-logs-auth.sshd-default-000001" in dry.out
    assert "copy" in dry.out
    waiting = sigmawatch("status", *at, "--format", "json").json["archive"]["datasets"]["auth.sshd"]
    assert (waiting["due"], waiting["due_documents"], waiting["last"]) == (1, 5, None)

    done = sigmawatch("archive", *at, "--format", "json")
    assert done.code == 0, done.err
    (copied,) = done.json["copied"].values()
    assert copied["documents"] == 5
    archived = sigmawatch("archive", *at, "--dry-run", "--format", "json").json
    (entry,) = archived["indices"]
    assert (entry["state"], entry["documents"], entry["copied_documents"]) == ("archived", 5, 5)
    assert archived["datasets"]["auth.sshd"]["fields"] > 40
    status = sigmawatch("status", *at)
    assert status.code == 0
    assert "all as deployed" in status.out, "copies are no drift"
    (line,) = [one for one in status.out.splitlines() if one.startswith("auth.sshd")]
    assert "400 days" in line
    assert sigmawatch("archive", *at).out == "Nothing to do.\n"
    with connect(ConnectionSettings(cluster_url)) as cluster:
        found = cluster.request(
            "POST", "/sigmawatch-archive-*/_search", {"query": {"term": {"user.name": "root"}}}
        )
    assert found["hits"]["total"]["value"] == 5


def send(cluster: Any) -> None:
    for number in range(5):
        body = {"message": LINE.format(n=number)}
        params = {"refresh": "true"}
        cluster.request("PUT", f"/logs-auth.sshd-default/_create/{number}", body, params=params)


@pytest.mark.engine
def test_an_event_comes_back_from_the_archive_as_the_page_says(cluster_url: str, tmp_path: Path) -> None:
    config = write(tmp_path / "sigmawatch.yml", CONFIG.replace("URL", cluster_url))
    assert sigmawatch("deploy", "--config", config, "--env", "prod", "--yes").code == 0
    with connect(ConnectionSettings(cluster_url)) as cluster:
        send(cluster)
        cluster.request("POST", "/logs-auth.sshd-default/_rollover", idempotent=False)
        assert sigmawatch("archive", "--url", cluster_url).code == 0
        cluster.request("DELETE", "/_data_stream/logs-auth.sshd-default")
        body = {
            "source": {"index": "sigmawatch-archive-logs-auth.sshd-default@*"},
            "dest": {"index": "logs-auth.sshd-restored", "op_type": "create", "pipeline": "_none"},
        }
        answer = cluster.request("POST", "/_reindex", body, params={"refresh": "true"}, idempotent=False)
        assert (answer["created"], answer["failures"]) == (5, [])
        query = {"query": {"term": {"event.outcome": "failure"}}}
        assert cluster.request("POST", "/logs-auth.sshd-restored/_count", query)["count"] == 5


def test_there_is_help_with_an_example() -> None:
    said = sigmawatch("archive", "--help")
    assert said.code == 0
    assert "sigmawatch archive --url https://es.example.com:9200 --dry-run" in said.out
