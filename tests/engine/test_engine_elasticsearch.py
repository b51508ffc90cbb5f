"""The real Elasticsearch, where a full JDK is there to run it."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import urllib3

from sigmawatch import engine

pytestmark = pytest.mark.elasticsearch


def test_elasticsearch_9_answers(elasticsearch: engine.Node) -> None:
    with urllib3.PoolManager(retries=False, timeout=10) as pool:
        answer = pool.request("GET", elasticsearch.url)
        assert answer.headers["x-elastic-product"] == "Elasticsearch"
        assert answer.json()["version"]["number"] == elasticsearch.version == "9.4.3"
        settings = pool.request("GET", f"{elasticsearch.url}/_cluster/health").json()
        assert settings["number_of_nodes"] == 1


def test_elasticsearch_8_is_started_and_stopped_with_its_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGMAWATCH_STATE", str(tmp_path))
    try:
        node = engine.start("eight", engine=engine.Engine.ELASTICSEARCH8)
    except engine.MissingJavaError as error:
        pytest.skip(f"Elasticsearch is not tested here: {error.message}")
    try:
        assert node.version == "8.19.13"
        launcher = psutil.Process(node.pid)
        processes = [launcher, *launcher.children(recursive=True)]
        # The launcher alone is killed: what is left of its server must go as well.
        launcher.kill()
        launcher.wait(timeout=10)
        assert [each.state for each in engine.status()] == [engine.NodeState.DEAD]
    finally:
        engine.stop("eight")
    assert not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes)
    assert not node.work_dir.exists()
