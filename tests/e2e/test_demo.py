"""The demo as a newcomer runs it: six attacks found, nothing else, and the same again the second time."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

EXPECTED = {
    ("Many rejected SSH connections from one source", "high", "198.51.100.23", None),
    ("More than 1 GB sent to one outside address", "high", "10.0.1.15", "192.0.2.200"),
    ("Port scan of one host", "medium", "198.51.100.77", "10.0.1.14"),
    ("SSH brute force", "medium", "198.51.100.23", None),
    ("SSH login after brute force", "critical", "2001:db8:bad::7", None),
    ("SSH login of root from outside", "high", "203.0.113.201", None),
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An environment in which no engine runs yet; those started in it are stopped afterwards."""
    state = tmp_path_factory.mktemp("state")
    environment = {**os.environ, "SIGMAWATCH_STATE": str(state), "COLUMNS": "200"}
    yield environment
    stop = [str(ROOT / ".venv/run/bin/sigmawatch"), "engine", "stop", "--all"]
    subprocess.run(stop, env=environment, check=True, timeout=180)


def demo(environment: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts/demo"), *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def first(environment: dict[str, str]) -> dict[str, Any]:
    done = demo(environment, "--format", "json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_demo_finds_each_attack_and_nothing_in_the_quiet_logs(first: dict[str, Any]) -> None:
    found = [
        (
            alert["rule"]["name"],
            alert["sigmawatch"]["level"],
            alert["source"]["ip"],
            alert.get("destination", {}).get("ip"),
        )
        for alert in first["alerts"]
    ]
    assert sorted(found, key=str) == sorted(EXPECTED, key=str)


def test_a_log_of_every_group_becomes_events(first: dict[str, Any]) -> None:
    groups = {folder.name.partition(".")[0] for folder in (ROOT / "ingest_pipelines").glob("*.*/")}
    # Web servers write what load balancers do, proxies what firewalls do.
    assert {dataset.partition(".")[0] for dataset in first["events"]} == groups - {"web", "proxy"}
    assert all(counts["events"] >= 20 for counts in first["events"].values())
    assert {dataset for dataset, counts in first["events"].items() if counts["unread"]} == set()


def test_every_alert_says_what_to_do_and_where_it_comes_from(first: dict[str, Any]) -> None:
    for alert in first["alerts"]:
        assert alert["event"]["kind"] == "alert"
        assert alert["sigmawatch"]["runbook"]
        assert alert["sigmawatch"]["events"]
        assert alert["related"]["ip"]
        assert alert["threat"]["technique"]["id"]
        assert alert["event"]["start"] <= alert["@timestamp"] <= alert["event"]["end"]


def test_a_second_run_uses_the_same_engine_and_finds_the_same_alerts(
    environment: dict[str, str], first: dict[str, Any]
) -> None:
    done = demo(environment, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == first
    assert "0 new alerts, 6 in all" in done.stderr


def test_for_people_it_prints_a_table(environment: dict[str, str], first: dict[str, Any]) -> None:
    done = demo(environment)
    assert done.returncode == 0, done.stderr
    events, alerts = done.stdout.strip().split("\n\n")
    assert len(events.splitlines()) == 1 + len(first["events"])
    header, *rows = alerts.splitlines()
    assert header.split() == ["Rule", "Severity", "Who", "When", "Why"]
    assert len(rows) == len(EXPECTED)
    assert first["url"] in done.stderr
