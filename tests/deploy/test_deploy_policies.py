"""Lifecycle policies against `LifecycleStandIn`, and the artifacts that a pack brings along."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.command_line import rule_text, sigmawatch, write
from cluster.fault_proxy import Fault, FaultProxy
from deploy.deploy_targets import Target, target_at
from deploy.lifecycle_stand_in import LifecycleStandIn
from sigmawatch.artifact import Artifact
from sigmawatch.bundle import brought_artifacts
from sigmawatch.cluster import ConnectionSettings, connect
from sigmawatch.deploy import DeployIncomplete, apply, plan, removal_plan
from sigmawatch.engine import Node
from sigmawatch.errors import ContentError, TargetUnavailable
from sigmawatch.pack.layout import Pack


def ilm(days: int = 90, **more: Any) -> Artifact:
    phases = {
        "hot": {"actions": {"rollover": {"max_age": "7d"}}},
        "delete": {"min_age": f"{days}d", "actions": {"delete": {}}},
    }
    return Artifact("ilm_policy", "soc-logs", {"policy": {"phases": phases, **more}})


def ism(days: int = 90) -> Artifact:
    policy = {
        "description": "logs",
        "default_state": "hot",
        "ism_template": {"index_patterns": ["logs-*"]},
        "states": [
            {
                "name": "hot",
                "transitions": [{"state_name": "gone", "conditions": {"min_index_age": f"{days}d"}}],
            },
            {"name": "gone", "actions": [{"delete": {}}]},
        ],
    }
    return Artifact("ism_policy", "soc-logs", {"policy": policy})


@pytest.fixture(params=[False, True], ids=["ILM", "ISM"])
def server(request: pytest.FixtureRequest) -> Iterator[LifecycleStandIn]:
    with LifecycleStandIn(opensearch=request.param) as stand_in:
        yield stand_in


def policy(server: LifecycleStandIn, days: int = 90) -> Artifact:
    return ism(days) if server.opensearch else ilm(days)


@pytest.fixture
def target(server: LifecycleStandIn) -> Iterator[Target]:
    made = target_at(server.url)
    with made.cluster:
        yield made


def test_a_policy_is_created_updated_restored_and_deleted(target: Target, server: LifecycleStandIn) -> None:
    target.deploy(policy(server))
    assert target.actions(policy(server)) == ["unchanged"], "what the server adds is no change"
    assert server.versions["soc-logs"] == 1
    assert target.actions(policy(server, 30)) == ["update"]
    target.deploy(policy(server, 30))
    assert server.versions["soc-logs"] == 2
    with server._guard:
        name = "states" if server.opensearch else "phases"
        server.policies["soc-logs"][name] = {} if name == "phases" else [{"name": "hot"}]
    assert target.actions(policy(server, 30)) == ["drifted"]
    target.deploy(policy(server, 30))
    assert target.actions(policy(server, 30)) == ["unchanged"]
    assert apply(target.cluster, removal_plan(target.cluster, pack="p")).failed == ()
    assert server.policies == {}


def test_a_policy_that_somebody_else_made_is_refused(target: Target, server: LifecycleStandIn) -> None:
    target.deploy(policy(server))
    server.indices.clear()  # nobody knows any more whose it is, but for the marks of ILM
    assert target.actions(policy(server, 30)) == (["conflict"] if server.opensearch else ["update"])


def test_a_policy_that_data_streams_use_stays_with_them() -> None:
    with LifecycleStandIn() as server:
        target = target_at(server.url)
        target.deploy(ilm())
        server.users["soc-logs"] = ["logs-a-default"]
        (change,) = removal_plan(target.cluster, pack="p").changes
        assert (change.action.value, change.reason) == (
            "unchanged",
            "kept: the data stream logs-a-default uses it",
        )
        target.cluster.close()


def test_a_policy_that_is_wrong_is_told_as_the_server_says_it() -> None:
    with LifecycleStandIn() as server:
        target = target_at(server.url)
        wrong = Artifact("ilm_policy", "x", {"policy": {"phases": {"delete": {"actions": {"rollover": {}}}}}})
        with pytest.raises(
            DeployIncomplete, match=r"invalid action \[rollover\] defined in phase \[delete\]"
        ):
            target.deploy(wrong)
        target.cluster.close()


@pytest.mark.parametrize("opensearch", [False, True])
def test_where_there_is_no_such_thing_it_is_said_before_anything_is_written(opensearch: bool) -> None:
    with LifecycleStandIn(opensearch=opensearch, has_plugin=False) as server:
        target = target_at(server.url)
        with pytest.raises(TargetUnavailable) as caught:
            target.plan(ism() if opensearch else ilm())
        assert ("ILM" in caught.value.hint) == opensearch
        assert {path for method, path in server.requests if method in {"PUT", "DELETE"}} <= {
            "/_search/scroll"
        }
        target.cluster.close()


def test_an_update_whose_answer_got_lost_is_not_a_conflict() -> None:
    with (
        LifecycleStandIn(opensearch=True) as server,
        FaultProxy(server.url) as proxy,
        connect(ConnectionSettings(proxy.url), sleep=lambda seconds: None) as cluster,
    ):
        apply(cluster, plan(cluster, [ism()], pack="p"))
        lost: list[int] = []

        def fault(number: int) -> Fault | None:
            if proxy.seen[number - 1].startswith("PUT /_plugins/_ism") and not lost:
                lost.append(number)
                return Fault.CUT_AFTER
            return None

        proxy.reset(fault)
        assert apply(cluster, plan(cluster, [ism(30)], pack="p")).failed == ()
        assert lost


# What a pack brings along ---------------------------------------------------------------------------------


def test_a_pack_brings_artifacts_as_they_are(tmp_path: Path) -> None:
    write(tmp_path / "artifacts/ilm_policy/soc-logs.yml", "policy: {phases: {}}\n")
    write(tmp_path / "artifacts/role/soc-analyst.json", '{"cluster": ["monitor"]}')
    found = brought_artifacts(Pack("p", tmp_path))
    assert [(one.kind, one.id, one.body, one.source) for one in found] == [
        ("ilm_policy", "soc-logs", {"policy": {"phases": {}}}, "artifacts/ilm_policy/soc-logs.yml"),
        ("role", "soc-analyst", {"cluster": ["monitor"]}, "artifacts/role/soc-analyst.json"),
    ]
    assert brought_artifacts(Pack("p", tmp_path / "none")) == []


def test_what_cannot_be_an_artifact_is_told_with_its_file(tmp_path: Path) -> None:
    write(tmp_path / "artifacts/roles/a.yml", "{}")
    write(tmp_path / "artifacts/detection/a.yml", "{}")
    write(tmp_path / "artifacts/role/a.txt", "")
    write(tmp_path / "artifacts/role/b.yml", "- 1")
    with pytest.raises(ContentError) as caught:
        brought_artifacts(Pack("p", tmp_path))
    told = [
        str(problem).replace(f"{tmp_path}/artifacts/", "").split(" (")[0] for problem in caught.value.problems
    ]
    assert told == [
        "detection:1: error: detection is no kind of artifact",
        "role/a.txt:1: error: neither YAML nor JSON",
        "role/b.yml:1: error: expected a mapping, found list",
        "roles:1: error: roles is no kind of artifact",
    ]


@pytest.mark.engine
def test_what_a_pack_brings_is_deployed_with_it(opensearch: Node, tmp_path: Path) -> None:
    write(tmp_path / "soc/rules/r.yml", rule_text(head="name: my_rule"))
    write(
        tmp_path / "soc/artifacts/ingest_pipeline/swtest-brought.yml",
        "processors: [{set: {field: a, value: b}}]\n",
    )
    options: list[str | Path] = ["--url", opensearch.url, "--pack", tmp_path / "soc"]
    try:
        done = sigmawatch("deploy", "--yes", *options)
        assert done.code == 0, done.err
        assert "+ create ingest_pipeline swtest-brought" in done.out
        assert sigmawatch("plan", "--detailed-exitcode", *options).code == 0
    finally:
        assert sigmawatch("destroy", "--yes", "--pack", "soc", "--url", opensearch.url).code == 0
    with connect(ConnectionSettings(opensearch.url)) as cluster:
        assert cluster.request("GET", "/_ingest/pipeline/swtest-brought", ignore=(404,)) is None
