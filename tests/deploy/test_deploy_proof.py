"""What was deployed is tried where it is: on real engines, and against stand-ins of Watcher and the alerting plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.command_line import rule_text, sigmawatch, write
from deploy.alerting_stand_in import AlertingStandIn
from deploy.deploy_targets import PREFIX, Target, pipeline, target_at
from deploy.test_deploy_monitors import monitor
from deploy.test_deploy_watch import watch
from deploy.watcher_stand_in import WatcherStandIn
from sigmawatch.artifact import Artifact
from sigmawatch.bundle import bundle_for
from sigmawatch.deploy import apply, removal_plan
from sigmawatch.deploy.proof import Failing, NotWorking, prove, samples_of
from sigmawatch.engine import Node
from sigmawatch.pack.layout import builtin_pack
from sigmawatch.render.target import Target as Executor


def proved(target: Target, *artifacts: Artifact, **options: Any) -> list[Failing]:
    plan = target.plan(*artifacts)
    return prove(target.cluster, plan, apply(target.cluster, plan), **options)


def test_watches_are_executed_with_simulated_actions() -> None:
    with WatcherStandIn() as server:
        target = target_at(server.url)
        with target.cluster:
            assert proved(target, watch("a"), watch("b")) == []
            executed = [path for _, path in server.requests if path.endswith("_execute")]
            assert len(executed) == 2
            server.failing = {"sigmawatch-a": "input", "sigmawatch-c": "action"}
            found = proved(target, watch("a", interval="10m"), watch("b"), watch("c"))
            problems = {one.key.id: one.problem for one in found}
            assert problems == {
                "sigmawatch-a": "its input fails: closed",
                "sigmawatch-c": "its action alerts fails: no index",
            }
            executed = [path for _, path in server.requests if path.endswith("_execute")]
            assert len(executed) == 4, "what was not written is not tried"


def test_monitors_are_executed_as_a_dry_run() -> None:
    with AlertingStandIn() as server:
        target = target_at(server.url)
        with target.cluster:
            assert proved(target, monitor()) == []
            server.trigger_error = "compile error"
            (one,) = proved(target, monitor(minutes=10))
            assert one.problem == "its trigger 'Root' fails: compile error"
            server.input_error = "no permissions for [indices:data/read/search]"
            (one,) = proved(target, monitor(minutes=15))
            assert one.problem.startswith("its search fails: no permissions")


@pytest.mark.engine
def test_pipelines_that_fail_documents_are_told(target: Target) -> None:
    throws = "if (ctx.message != null) { throw new IllegalArgumentException('no'); }"
    script = {"script": {"lang": "painless", "source": throws}}
    broken = Artifact("ingest_pipeline", f"{PREFIX}broken", {"processors": [script]})
    (one,) = proved(target, broken, pipeline("fine"))
    assert one.key.id == f"{PREFIX}broken"
    assert one.problem.startswith("a document fails in it: ")
    marks = {"set": {"field": "event.kind", "value": "pipeline_error"}}
    blind = Artifact("ingest_pipeline", f"{PREFIX}blind", {"processors": [marks]})
    samples = {f"{PREFIX}blind": [{"message": "a"}, {"message": "b"}]}
    (one,) = proved(target, broken, pipeline("fine"), blind, samples=samples)
    assert one.problem == "it understands none of its samples"


@pytest.mark.engine
def test_searches_that_the_engine_refuses_are_told(target: Target) -> None:
    def detection(name: str, query: dict[str, Any]) -> Artifact:
        rule = {"id": name, "title": name}
        body = {"rule": rule, "indices": ["logs-*"], "query": query, "interval": 60, "correlation": None}
        return Artifact("detection", name, {**body, "literals": None, "namespace": "default"})

    found = proved(
        target,
        detection(f"{PREFIX}fine", {"term": {"a": "b"}}),
        detection(f"{PREFIX}odd", {"nonsense": {}}),
        Artifact("detection", f"{PREFIX}old", {"rule": {"id": f"{PREFIX}old"}}),
    )
    problems = {one.key.id: one.problem for one in found}
    assert set(problems) == {f"{PREFIX}odd", f"{PREFIX}old"}
    assert "nonsense" in problems[f"{PREFIX}odd"]
    assert problems[f"{PREFIX}old"].startswith("cannot be read")
    text = str(NotWorking(found))
    assert "2 of what was deployed does not work when tried" in text


@pytest.mark.engine
def test_the_whole_built_in_pack_works_where_it_is_deployed(target: Target) -> None:
    bundle = bundle_for(target.cluster, builtin_pack(), target=Executor.RUNNER, namespace="proof")
    tried = [one for one in bundle.artifacts if one.kind in {"ingest_pipeline", "stored_script", "detection"}]
    samples = samples_of(bundle.datasets)
    assert len(samples) > 30
    try:
        assert proved(target, *tried, samples=samples) == []
    finally:
        apply(target.cluster, removal_plan(target.cluster, pack="p"))


@pytest.mark.engine
def test_a_deploy_of_what_does_not_work_ends_with_4(opensearch: Node, tmp_path: Path) -> None:
    pack = tmp_path / "soc"
    write(pack / "rules/r.yml", rule_text(head="name: r"))
    write(pack / "artifacts/ingest_pipeline/swtest-odd.yml", "processors: [{fail: {message: 'never'}}]\n")
    options: list[str | Path] = ["--url", opensearch.url, "--pack", pack]
    try:
        done = sigmawatch("deploy", "--yes", *options)
        assert done.code == 4
        assert "ingest_pipeline swtest-odd: a document fails in it: never" in done.err
        assert "`sigmawatch rollback`" in done.err
        assert sigmawatch("deploy", "--yes", *options).code == 0, "only what was written is tried"
    finally:
        assert sigmawatch("destroy", "--yes", "--pack", "soc", "--url", opensearch.url).code == 0
