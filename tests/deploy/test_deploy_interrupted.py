"""Deploys that are killed, interrupted or not alone: the next run completes them, two never interleave."""

from __future__ import annotations

import subprocess
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from child import python
from deploy.deploy_targets import PREFIX, Target, pipeline
from sigmawatch.cluster import BulkItem, ResponseError, bulk
from sigmawatch.deploy import DeployIncomplete, DeployLocked, apply
from sigmawatch.deploy.execution import WRITERS
from sigmawatch.deploy.lock import DeployLock
from sigmawatch.deploy.registry import REGISTRY_INDEX, create_registry, read_registry
from sigmawatch.errors import ClusterError

if TYPE_CHECKING:
    from sigmawatch.deploy.outcome import ArtifactResult

pytestmark = pytest.mark.engine

MANY = [pipeline(f"n{number:02}") for number in range(20)]
CHAIN = [
    pipeline("a"),
    pipeline("b", depends_on=(pipeline("a").key,)),
    pipeline("c", depends_on=(pipeline("b").key,)),
]


def live_pipelines(target: Target) -> int:
    found = target.cluster.request("GET", f"/_ingest/pipeline/{PREFIX}*", ignore=(404,)) or {}
    return len(found)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("after", [1, 10, 20])
def test_an_interrupted_deploy_is_completed_by_the_next(
    target: Target, interrupt: type[BaseException], after: int
) -> None:
    def on_progress(result: ArtifactResult, done: int, total: int) -> None:
        assert total == 20
        if done == after:
            raise interrupt

    with pytest.raises(interrupt):
        apply(target.cluster, target.plan(*MANY), on_progress=on_progress)
    # What was written is recorded, what was not is not, and nobody has to wait for the lock.
    assert len(read_registry(target.cluster)) == live_pipelines(target) >= after
    actions = target.actions(*MANY)
    assert set(actions) <= {"create", "unchanged"}
    assert actions.count("unchanged") == live_pipelines(target)
    target.deploy(*MANY)
    assert target.actions(*MANY) == ["unchanged"] * 20


def test_an_interrupted_update_is_no_drift(target: Target) -> None:
    target.deploy(*MANY)

    def on_progress(result: ArtifactResult, done: int, total: int) -> None:
        raise KeyboardInterrupt

    changed = [pipeline(f"n{number:02}", "2") for number in range(20)]
    with pytest.raises(KeyboardInterrupt):
        apply(target.cluster, target.plan(*changed), on_progress=on_progress)
    assert set(target.actions(*changed)) <= {"update", "unchanged"}
    target.deploy(*changed)
    assert target.actions(*changed) == ["unchanged"] * 20


KILLED = """
import os, signal, sys
from sigmawatch.artifact import Artifact, ArtifactKey
from sigmawatch.cluster import ConnectionSettings, connect
from sigmawatch.deploy import apply, plan
from deploy.deploy_targets import pipeline

cluster = connect(ConnectionSettings(sys.argv[1]))
artifacts = [pipeline(f"n{number:02}", sys.argv[2]) for number in range(20)]

def on_progress(result, done, total):
    if done == 7:
        os.kill(os.getpid(), signal.SIGKILL)

apply(cluster, plan(cluster, artifacts, pack="p"), on_progress=on_progress, lock_seconds=0.3)
"""


@pytest.mark.parametrize("before", [(), ("1",)])
def test_a_killed_deploy_is_completed_by_the_next(target: Target, before: tuple[str, ...]) -> None:
    if before:
        target.deploy(*MANY)
    new = [pipeline(f"n{number:02}", "2") for number in range(20)]
    killed = subprocess.run(
        python(KILLED, target.cluster.url, "2"),
        capture_output=True,
        timeout=180,
    )
    assert killed.returncode == -9, killed.stderr.decode()
    assert {entry.pending != "" for entry in read_registry(target.cluster).values()} == {True}
    plan = target.plan(*new)
    actions = [change.action.value for change in plan.changes]
    assert "conflict" not in actions
    assert "drifted" not in actions
    assert actions.count("record") >= 7
    later = datetime.now(UTC) + timedelta(seconds=2)
    with DeployLock(target.cluster, clock=lambda: later):
        pass  # the dead deployer's lock has expired by then
    apply(target.cluster, plan)
    assert target.actions(*new) == ["unchanged"] * 20


def test_a_lost_registry_write_is_told_and_completed_by_the_next(target: Target) -> None:
    target.deploy(CHAIN[0])

    def on_progress(result: ArtifactResult, done: int, total: int) -> None:
        if done == 1:
            block(target, on=True)

    plan = target.plan(*CHAIN)
    try:
        with pytest.raises(DeployIncomplete) as caught:
            apply(target.cluster, plan, on_progress=on_progress)
    finally:
        block(target, on=False)
    results = {one.key.id: one for one in caught.value.result.results}
    assert "written, but not recorded" in results[f"{PREFIX}b"].error
    assert results[f"{PREFIX}c"].skipped
    with DeployLock(target.cluster, clock=lambda: datetime.now(UTC) + timedelta(hours=1)):
        pass
    assert target.actions(*CHAIN) == ["unchanged", "record", "create"]
    target.deploy(*CHAIN)
    assert target.actions(*CHAIN) == ["unchanged"] * 3


def block(target: Target, *, on: bool) -> None:
    settings = {"index.blocks.read_only_allow_delete": True if on else None}
    target.cluster.request("PUT", f"/{REGISTRY_INDEX}/_settings", settings)


def test_a_read_only_registry_stops_the_deploy_before_it_writes_and_says_why(target: Target) -> None:
    create_registry(target.cluster)
    block(target, on=True)
    try:
        with pytest.raises(ResponseError, match="read-only-allow-delete") as caught:
            target.deploy(pipeline("one"))
    finally:
        block(target, on=False)
    assert "flood-stage" in caught.value.hint
    assert live_pipelines(target) == 0


@pytest.mark.parametrize("after", [1, 8])
def test_a_cluster_that_turns_read_only_half_way_stops_the_deploy_and_is_told(
    target: Target, after: int
) -> None:
    def switch(*, on: bool) -> None:
        settings = {"persistent": {"cluster.blocks.read_only": True if on else None}}
        target.cluster.request("PUT", "/_cluster/settings", settings)

    def on_progress(result: ArtifactResult, done: int, total: int) -> None:
        if done == after:
            switch(on=True)

    try:
        with pytest.raises(DeployIncomplete) as caught:
            apply(target.cluster, target.plan(*MANY), on_progress=on_progress)
    finally:
        switch(on=False)
    failed = caught.value.result.failed
    assert any("cluster read-only" in one.error for one in failed), [one.error for one in failed]
    # Only those that were on their way when it happened were tried.
    assert sum("PUT" in one.error and not one.skipped for one in failed) <= WRITERS + after
    written = live_pipelines(target)
    assert after <= written <= 20
    # What was written could not be recorded, but had been announced: it is known to be ours.
    actions = target.actions(*MANY)
    assert set(actions) <= {"create", "record", "unchanged"}
    assert actions.count("create") == 20 - written
    # Neither could the lock be given back: it ends by itself.
    lock = target.cluster.request("GET", f"/{REGISTRY_INDEX}/_doc/lock")["_source"]
    over = {**lock, "expires": "2000-01-01T00:00:00+00:00"}
    target.cluster.request("PUT", f"/{REGISTRY_INDEX}/_doc/lock", over)
    target.deploy(*MANY)
    assert target.actions(*MANY) == ["unchanged"] * 20


def test_a_second_deployer_is_refused_and_told_who_is_first(target: Target) -> None:
    create_registry(target.cluster)
    plan = target.plan(pipeline("one"))
    with DeployLock(target.cluster):
        with pytest.raises(DeployLocked, match=r"@.*, process \d+ is deploying, until 20\d\d-") as caught:
            apply(target.cluster, plan)
        assert caught.value.exit_code == 5
        assert live_pipelines(target) == 0
    apply(target.cluster, plan)
    assert live_pipelines(target) == 1


def test_an_expired_lock_is_taken_over_and_its_old_holder_stops(target: Target) -> None:
    create_registry(target.cluster)
    with DeployLock(target.cluster, seconds=3600) as old:
        future = datetime.now(UTC) + timedelta(hours=2)
        with DeployLock(target.cluster, clock=lambda: future) as new:
            assert not new.lost
            assert not old._is_still_ours()
    # The old holder's exit has not removed the new one's lock, nor the other way round.
    with DeployLock(target.cluster):
        pass


def test_a_lock_is_renewed_while_it_is_held(target: Target) -> None:
    create_registry(target.cluster)
    with DeployLock(target.cluster, seconds=0.15) as lock:
        seen = set()
        deadline = threading.Event()
        for _ in range(200):
            found = target.cluster.request("GET", f"/{REGISTRY_INDEX}/_doc/lock")
            seen.add(found["_seq_no"])
            if len(seen) >= 3:
                break
            deadline.wait(0.02)
        assert len(seen) >= 3
        assert not lock.lost


def test_losing_the_lock_stops_the_deploy(target: Target) -> None:
    plan = target.plan(*CHAIN)

    def on_progress(result: ArtifactResult, done: int, total: int) -> None:
        if done == 1:
            thief = {
                "document": "lock",
                "holder": "thief",
                "token": "t",
                "expires": "2999-01-01T00:00:00+00:00",
            }
            target.cluster.request("PUT", f"/{REGISTRY_INDEX}/_doc/lock", thief)
            for thread in threading.enumerate():
                if thread.name == "deploy-lock":
                    thread.join(timeout=10)  # it ends when it finds the lock gone

    with pytest.raises(DeployIncomplete, match="lock was lost"):
        apply(target.cluster, plan, on_progress=on_progress, lock_seconds=0.1)
    assert live_pipelines(target) == 1
    found = target.cluster.request("GET", f"/{REGISTRY_INDEX}/_doc/lock")
    assert found["_source"]["holder"] == "thief"


def test_a_plan_that_another_deploy_overtook_is_refused(target: Target) -> None:
    plan = target.plan(pipeline("one"))
    target.deploy(pipeline("two"), pack="other")
    with pytest.raises(ClusterError, match="another deploy finished since this plan was made"):
        apply(target.cluster, plan)
    assert live_pipelines(target) == 1


def test_a_cluster_that_goes_away_stops_the_deploy_at_once(target: Target, monkeypatch: Any) -> None:
    from sigmawatch.deploy.kinds.ingest_pipeline import IngestPipeline

    def unreachable(*args: object) -> None:
        raise ClusterError("connection refused")

    plan = target.plan(*CHAIN, pipeline("other"))
    monkeypatch.setattr(IngestPipeline, "write", unreachable)
    with pytest.raises(DeployIncomplete) as caught:
        apply(target.cluster, plan)
    errors = {one.key.id: one for one in caught.value.result.results}
    assert errors[f"{PREFIX}c"].error == "the cluster stopped working: connection refused"
    monkeypatch.undo()
    # It is not known whether those writes arrived, so they stay noted as begun.
    assert target.actions(*CHAIN, pipeline("other")) == ["create"] * 4
    target.deploy(*CHAIN, pipeline("other"))
    assert target.actions(*CHAIN, pipeline("other")) == ["unchanged"] * 4


def test_a_registry_of_a_newer_version_can_be_read(target: Target) -> None:
    target.deploy(pipeline("one"))
    document = target.cluster.request("GET", f"/{REGISTRY_INDEX}/_doc/ingest_pipeline:{PREFIX}one")["_source"]
    item = BulkItem(
        "index", REGISTRY_INDEX, f"ingest_pipeline:{PREFIX}one", {**document, "new_field": {"x": 1}}
    )
    unknown = BulkItem("index", REGISTRY_INDEX, "future:x", {**document, "kind": "future", "id": "x"})
    assert bulk(target.cluster, [item, unknown], refresh=True) == []
    plan = target.plan(pipeline("one"))
    assert [change.action.value for change in plan.changes] == ["unchanged"]
    assert plan.notes == ("1 artifacts of kinds that this version does not know are left alone",)
