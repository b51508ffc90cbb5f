"""Elasticsearch with users, roles and API keys: its password is where it belongs, and nowhere else."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from cli.command_line import sigmawatch
from sigmawatch import engine
from sigmawatch.cluster import ConnectionSettings, ResponseError, connect
from sigmawatch.errors import UsageError


def test_opensearch_has_no_security_and_says_who_has() -> None:
    with pytest.raises(UsageError, match="has no security") as caught, engine.temporary(security=True):
        pass
    assert "--engine elasticsearch" in caught.value.hint


@pytest.mark.elasticsearch
def test_a_node_with_security_lets_in_who_knows_the_password(tmp_path: Path) -> None:
    env = {"SIGMAWATCH_STATE": str(tmp_path)}
    start = ["engine", "start", "--engine", "elasticsearch8", "--security", "--format", "json"]
    started = sigmawatch(*start, env=env, timeout=180)
    if "full JDK" in started.err:
        pytest.skip(f"Elasticsearch is not tested here: {started.err}")
    try:
        node = started.json
        with connect(ConnectionSettings(node["url"], basic=(node["user"], node["password"]))) as cluster:
            assert cluster.request("GET", "/_security/_authenticate")["roles"] == ["superuser"]
        with connect(ConnectionSettings(node["url"])) as anybody, pytest.raises(ResponseError) as caught:
            anybody.request("GET", "/")
        assert caught.value.status == 401
        record = tmp_path / "default.json"
        assert json.loads(record.read_text())["password"] == node["password"]
        assert record.stat().st_mode & 0o077 == 0
        # Not where anybody on the machine could read it.
        assert node["password"] not in subprocess.run(["ps", "axww"], capture_output=True, text=True).stdout
        assert node["password"] not in sigmawatch("engine", "status", "--format", "json", env=env).out
        other = sigmawatch("engine", "start", "--engine", "elasticsearch8", env=env)
        assert (other.code, "runs already, with security" in other.err) == (5, True)
    finally:
        sigmawatch("engine", "stop", env=env)
