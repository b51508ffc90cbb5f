"""Commands that start an engine of their own, finished, interrupted and killed."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from cli.command_line import interrupted, rule_text, sigmawatch, started, until, write
from cluster.fault_proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.engine


@pytest.fixture
def tests(tmp_path: Path) -> Path:
    write(tmp_path / "r.yml", rule_text())
    text = "tests:\n  - {name: a, events: [{app.action: delete}], alerts: 1}\n"
    return write(tmp_path / "r.test.yml", text)


@pytest.fixture
def own_state(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment in which no engine runs, nor afterwards."""
    env = {"SIGMAWATCH_STATE": str(tmp_path / "state")}
    yield env
    sigmawatch("engine", "stop", "--all", env=env)


def children(pid: int) -> list[Any]:
    try:
        return [each for each in psutil.Process(pid).children(recursive=True) if "java" in each.name()]
    except psutil.Error:
        return []


def test_without_an_address_an_engine_is_started_for_the_tests_and_stopped(tests: Path) -> None:
    process = started("test", tests)
    nodes = until(lambda: children(process.pid))
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    assert "1 passed, 0 failed" in out
    assert "s to start the engine" in err
    assert not any(node.is_running() and node.status() != psutil.STATUS_ZOMBIE for node in nodes)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_test_takes_its_engine_along(number: signal.Signals, code: int, tests: Path) -> None:
    process = started("test", tests)
    nodes = until(lambda: children(process.pid))
    ran = interrupted(process, number)
    assert (ran.code, ran.out) == (code, "")
    assert ("Interrupted." in ran.err) == (code == 130)
    assert not any(node.is_running() and node.status() != psutil.STATUS_ZOMBIE for node in nodes)


def test_an_interrupted_demo_says_what_goes_on_and_is_finished_by_running_it_again(
    own_state: dict[str, str],
) -> None:
    process = started("demo", env=own_state)
    assert process.stderr is not None
    first = process.stderr.readline()  # the engine's address: deploying begins
    ran = interrupted(process)
    assert (ran.code, ran.out) == (130, "")
    assert "stop it with: " in ran.err
    assert "sigmawatch engine stop --name demo" in ran.err
    assert "Interrupted." in ran.err

    again = sigmawatch("demo", "--format", "json", env=own_state)
    assert again.code == 0, again.err
    assert again.json["url"] in first
    assert len(again.json["alerts"]) > 0
    third = sigmawatch("demo", "--format", "json", env=own_state)
    assert third.json["alerts"] == again.json["alerts"]
    assert "0 new alerts" in third.err


def test_a_demo_that_is_interrupted_while_its_engine_starts_leaves_none(own_state: dict[str, str]) -> None:
    process = started("demo", env=own_state)
    noted = until(lambda: list(Path(own_state["SIGMAWATCH_STATE"]).glob("demo.json")))
    ran = interrupted(process)
    assert (ran.code, ran.out) == (130, "")
    status = sigmawatch("engine", "status", "--format", "json", env=own_state)
    assert status.json == {"nodes": []}
    assert not noted[0].exists()


def test_a_port_in_use_is_named(own_state: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = sigmawatch("engine", "start", "--port", str(port), env=own_state)
    assert (ran.code, ran.out) == (5, "")
    assert f"port {port} cannot be used: Address already in use" in ran.err
    assert sigmawatch("engine", "status", "--format", "json", env=own_state).json == {"nodes": []}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_deploy_says_how_to_complete_it_and_the_next_does(
    number: signal.Signals, code: int, cluster_url: str, tmp_path: Path
) -> None:
    write(tmp_path / "soc/rules/r.yml", rule_text())
    arguments: list[str | Path] = ["deploy", "--yes", "--pack", tmp_path / "soc", "--url"]
    running: list[Any] = []

    def interrupt(request: int) -> None:
        del request
        if running and proxy.seen[-1].startswith("PUT /_component_template/"):
            running.pop().send_signal(number)

    with FaultProxy(cluster_url) as proxy:
        proxy.on_request = interrupt
        process = started(*arguments, proxy.url)
        running.append(process)
        _, told = process.communicate(timeout=120)
    assert process.returncode == code
    assert "Run the same command again to complete it" in told
    assert "Traceback" not in told
    done = sigmawatch(*arguments, cluster_url)
    assert done.code == 0, done.err
    plan = sigmawatch("plan", "--detailed-exitcode", "--pack", tmp_path / "soc", "--url", cluster_url)
    assert plan.code == 0, plan.out
