"""`plan`, `deploy`, `test`, `ingest` and `run` against clusters that are down, odd, closed or read-only."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cli.command_line import contents, only, rule_text, sigmawatch, write
from cluster.http_stand_in import Answer, HttpStandIn
from sigmawatch.cluster import ConnectionSettings, connect

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE = "2 123456789010 eni-0a1b2c3d 203.0.113.9 10.0.1.20 50123 22 6 1 44 1772359200 1772359200 REJECT OK\n"


@pytest.fixture
def commands(tmp_path: Path) -> dict[str, list[Any]]:
    """Every command that asks a cluster for something, with all else in order."""
    rule = write(tmp_path / "r.yml", rule_text())
    write(tmp_path / "r.test.yml", "tests:\n  - {name: a, events: [{app.action: delete}], alerts: 1}\n")
    log = write(tmp_path / "flow.log", LINE)
    return {
        "plan": ["plan"],
        "deploy": ["deploy", "--yes"],
        "test": ["test", rule],
        "ingest": ["ingest", "--dataset", "flow.aws_vpc", log],
        "run": ["run", "--once"],
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("name", ["plan", "deploy", "test", "ingest", "run"])
def test_where_nothing_listens_each_command_says_so_and_exits_with_5(
    name: str, commands: dict[str, list[Any]]
) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    ran = sigmawatch(*commands[name], "--format", "json", "--url", url)
    assert (ran.code, ran.out) == (5, "")
    assert f"{url}/" in ran.err
    assert "connection refused" in ran.err
    assert "Nothing listens there" in ran.err


PAGE = b"<html><head><title>Sign in</title></head><body>please</body></html>"
HTML = {"content-type": "text/html"}

ODD = {
    "a proxy's page": (Answer(200, PAGE, HTML), ["not JSON", "Sign in", "Something else than a cluster"]),
    "a broken gateway": (
        Answer(502, PAGE, {**HTML, "retry-after": "999"}),
        ["502", "Sign in", "try again later"],
    ),
    "no credentials": (
        Answer(
            401, {"error": {"type": "security_exception", "reason": "missing authentication credentials"}}
        ),
        ["401", "SIGMAWATCH_API_KEY"],
    ),
    "no rights": (
        Answer(403, {"error": {"type": "security_exception", "reason": "action is unauthorized"}}),
        ["403", "lacks a privilege"],
    ),
    "JSON of something else": (Answer(200, {"hello": "world"}), ["http://127.0.0.1"]),
    "null": (Answer(200, b"null"), ["http://127.0.0.1"]),
}


@pytest.mark.parametrize("what", ODD)
def test_what_is_no_cluster_or_lets_nobody_in_is_told_in_words(
    what: str, commands: dict[str, list[Any]]
) -> None:
    answer, said = ODD[what]
    for name, arguments in commands.items():
        with HttpStandIn(answer) as server:
            ran = sigmawatch(*arguments, "--url", server.url)
        assert (name, ran.code, ran.out) == (name, 5, "")
        for text in said:
            assert text in ran.err, (name, ran.err)


@contextmanager
def read_only(url: str) -> Iterator[None]:
    with connect(ConnectionSettings(url)) as cluster:
        for value in (True, None):
            cluster.request("PUT", "/_cluster/settings", {"persistent": {"cluster.blocks.read_only": value}})
            if value:
                yield


@pytest.mark.engine
def test_a_read_only_cluster_is_named_as_such_and_left_as_it_is(
    cluster_url: str, commands: dict[str, list[Any]], tmp_path: Path
) -> None:
    write(tmp_path / "pack/rules/r.yml", rule_text())
    first = sigmawatch("deploy", "--yes", "--url", cluster_url, "--pack", tmp_path / "pack")
    assert first.code == 0, first.err
    before = contents(cluster_url)
    write(tmp_path / "pack/rules/second.yml", rule_text())
    with read_only(cluster_url):
        planned = sigmawatch("plan", "--detailed-exitcode", "--url", cluster_url, "--pack", tmp_path / "pack")
        refused = [
            sigmawatch("deploy", "--yes", "--url", cluster_url, "--pack", tmp_path / "pack"),
            sigmawatch(*commands["test"], "--url", cluster_url),
        ]
    assert planned.code == 3
    for ran in refused:
        assert ran.code == 5
        assert "read-only" in ran.err
        assert "cluster.blocks" in ran.err
    assert contents(cluster_url) == before


@pytest.mark.engine
def test_watcher_where_there_is_none_is_refused_with_the_target_that_would_do(cluster_url: str) -> None:
    for command in (["plan"], ["deploy", "--yes"]):
        ran = sigmawatch(*command, "--target", "watcher", "--url", cluster_url)
        assert (ran.code, ran.out) == (5, "")
        assert "Use --target runner" in ran.err


@pytest.mark.engine
def test_a_deploy_is_asked_for_and_done_once(cluster_url: str) -> None:
    untouched = contents(cluster_url)

    unasked = sigmawatch("deploy", "--url", cluster_url)
    assert unasked.code == 2
    assert "Pass --yes" in unasked.err
    pending = sigmawatch("plan", "--detailed-exitcode", "--format", "json", "--url", cluster_url)
    assert (pending.code, pending.err) == (3, "")
    assert pending.json["counts"] == {"create": len(pending.json["changes"])}
    assert sigmawatch("plan", "--url", cluster_url).code == 0
    assert contents(cluster_url) == untouched

    first = sigmawatch("deploy", "--yes", "--format", "json", "--url", cluster_url)
    assert first.code == 0
    assert {one["ok"] for one in first.json["results"]} == {True}
    assert len(first.json["results"]) == len(pending.json["changes"])

    again = sigmawatch("deploy", "--yes", "--format", "json", "--url", cluster_url)
    assert again.code == 0
    assert again.json["results"] == []
    assert "Nothing to change." in sigmawatch("deploy", "--url", cluster_url).out
    assert sigmawatch("plan", "--detailed-exitcode", "--url", cluster_url).code == 0


@pytest.mark.engine
def test_a_pack_of_ones_own_needs_no_more_than_a_rule_and_not_a_broken_one(
    cluster_url: str, tmp_path: Path
) -> None:
    rule = write(tmp_path / "pack/rules/r.yml", rule_text(head="name: my_rule"))
    write(tmp_path / "none/readme.txt", "")
    options = ["--url", cluster_url, "--pack"]

    none = sigmawatch("deploy", "--yes", *options, tmp_path / "none")
    assert none.code == 2
    assert "is no pack" in none.err

    bad = write(tmp_path / "pack/rules/bad.yml", rule_text("a|contians: x"))
    before = contents(cluster_url)
    refused = sigmawatch("deploy", "--yes", *options, tmp_path / "pack")
    assert refused.code == 2
    assert f"{bad}:7: error: Unknown modifier" in refused.err
    assert contents(cluster_url) == before

    bad.unlink()
    done = sigmawatch("deploy", "--yes", *options, tmp_path / "pack")
    assert done.code == 0, done.err
    assert "create detection my_rule" in done.out

    # A write that was cut short must not look like a rule that is to be removed.
    rule.write_text("")
    emptied = sigmawatch("deploy", "--yes", *options, tmp_path / "pack")
    assert emptied.code == 2
    assert f"{rule}:1: error: no rule in it" in emptied.err


@pytest.mark.engine
def test_a_pack_of_ones_own_lives_beside_the_built_in_one_and_uses_its_datasets(
    cluster_url: str, tmp_path: Path
) -> None:
    text = rule_text("event.action: reject", "category: network, service: connection", head="name: my_reject")
    write(tmp_path / "pack/rules/r.yml", text)
    few: list[str | Path] = ["--config", only(tmp_path, "flow.aws_vpc", "auth.sshd"), "--url", cluster_url]
    own: list[str | Path] = ["--pack", tmp_path / "pack"]
    for pack in ([], own, []):
        done = sigmawatch("deploy", "--yes", *few, *pack)
        assert done.code == 0, done.err
        assert "no dataset serves" not in done.err
    for pack in ([], own):
        assert sigmawatch("plan", "--detailed-exitcode", *few, *pack).code == 0

    log = write(tmp_path / "flow.log", LINE)
    assert sigmawatch("ingest", "--dataset", "flow.aws_vpc", "--url", cluster_url, log).code == 0
    with connect(ConnectionSettings(cluster_url)) as cluster:
        cluster.request("POST", "/_refresh")
    ran = sigmawatch(
        "run", "--once", "--at", "2026-03-01T10:01:00Z", "--format", "json", "--url", cluster_url
    )
    (alert,) = json.loads(ran.out)["created"]
    assert alert["rule"]["id"] == "my_reject"
    assert alert["source"]["ip"] == "203.0.113.9"
