"""Clusters that compile only so many scripts in a while: a deploy waits for them, says so, and goes on.

OpenSearch limits the scripts of pipelines; Elasticsearch 8 and 9 do not, whatever the setting says (`IngestScript.CONTEXT`,
and tried on 9.4.3).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deploy.deploy_targets import PREFIX, Target
from sigmawatch.artifact import Artifact
from sigmawatch.cli.deploying import carry_out
from sigmawatch.cluster import ResponseError
from sigmawatch.deploy import DeployIncomplete, Origin, apply
from sigmawatch.deploy.journal import Journals
from sigmawatch.deploy.limits import compilation_wait
from sigmawatch.errors import ClusterError

SETTING = "script.context.ingest.max_compilations_rate"


def scripted(number: int) -> Artifact:
    """A pipeline with a script that no other has, nor one of a run before."""
    source = f"ctx.a = {number} + {next(_NUMBERS)};"
    return Artifact("ingest_pipeline", f"{PREFIX}s{number}", {"processors": [{"script": {"source": source}}]})


def _numbers() -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield number


_NUMBERS = _numbers()


@contextmanager
def limited(target: Target, rate: str) -> Iterator[None]:
    def put(value: str | None) -> None:
        target.cluster.request("PUT", "/_cluster/settings", {"persistent": {SETTING: value}})

    put(rate)
    try:
        yield
    finally:
        put(None)


@pytest.mark.engine
def test_a_deploy_waits_for_a_cluster_that_compiles_no_more_scripts(target: Target, tmp_path: Path) -> None:
    many = [scripted(number) for number in range(26)]
    reasons: list[str] = []
    with limited(target, "20/1m"):
        result = apply(
            target.cluster, target.plan(*many), on_wait=reasons.append, journals=Journals(tmp_path)
        )
    assert not result.failed
    assert reasons
    assert all("max: [20/1m]" in reason for reason in reasons)
    assert target.actions(*many) == ["unchanged"] * 26


@pytest.mark.engine
def test_waiting_is_bounded(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sigmawatch.deploy.execution.MOST_WAITING", 1.0)
    many = [scripted(number) for number in range(8)]
    with limited(target, "2/1m"):  # one each thirty seconds
        with pytest.raises(DeployIncomplete, match="Too many dynamic script compilations") as caught:
            target.deploy(*many)
        assert "script.context.ingest.max_compilations_rate" in str(caught.value)
    target.deploy(*many)
    assert target.actions(*many) == ["unchanged"] * 8, "what was refused comes with the next deploy"


@pytest.mark.engine
def test_a_limit_of_none_at_all_is_told_at_once(target: Target) -> None:
    reasons: list[str] = []
    with limited(target, "0/1m"), pytest.raises(DeployIncomplete, match=r"max: \[0/1m\]"):
        apply(target.cluster, target.plan(scripted(1)), on_wait=reasons.append)
    assert reasons == []


@pytest.mark.engine
def test_an_interrupt_ends_the_waiting(target: Target) -> None:
    """Ctrl-C while all writers wait for minutes; what was written before is recorded."""
    many = [scripted(number) for number in range(8)]
    waiting = threading.Event()

    def on_wait(reason: str) -> None:
        waiting.set()

    def on_progress(*args: Any) -> None:
        assert waiting.wait(60), "nobody had to wait"
        raise KeyboardInterrupt

    with limited(target, "2/1m"), pytest.raises(KeyboardInterrupt):
        apply(target.cluster, target.plan(*many), on_wait=on_wait, on_progress=on_progress)
    live = target.cluster.request("GET", f"/_ingest/pipeline/{PREFIX}*")
    actions = target.actions(*many)
    assert actions.count("unchanged") == len(live)
    assert set(actions) <= {"unchanged", "create"}
    target.deploy(*many)


@pytest.mark.engine
def test_the_command_says_once_what_it_waits_for(
    target: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The limit is not reached here, since how long that takes depends on the machine: `apply` says it was."""

    def waiting(*args: Any, on_wait: Any, **options: Any) -> Any:
        on_wait("max: [4/1m]")
        on_wait("max: [4/1m]")
        return apply(*args, **options)

    monkeypatch.setattr("sigmawatch.cli.deploying.apply", waiting)
    plan = target.plan(scripted(1))
    assert not carry_out(target.cluster, plan, Origin(), word="Deploying", journal_folder=None).failed
    told = capsys.readouterr().err
    assert told.count("note: the cluster compiles no more scripts for a while, so this takes longer") == 1
    assert "max: [4/1m]" in told


def refusal(reason: str, status: int = 429, durability: str = "TRANSIENT") -> ResponseError:
    cause = {"type": "circuit_breaking_exception", "reason": reason, "durability": durability}
    whole = {"type": "script_exception", "reason": "cannot build the processor", "caused_by": cause}
    return ResponseError("PUT", "/_ingest/pipeline/x", status, {"error": whole, "status": status})


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (refusal("[script] Too many dynamic script compilations within, max: [75/5m]; please use …"), 4.0),
        (refusal("[script] Too many dynamic script compilations within, max: [150/5m]; …", 500), 2.0),
        (refusal("[script] Too many dynamic script compilations within, max: [1/1h]; …", 400), 3600.0),
        (refusal("[script] Too many dynamic script compilations within one minute; …"), 10.0),
        (refusal("[script] Too many dynamic script compilations within, max: [0/1m]; …"), None),
        (
            refusal("[script] Too many dynamic script compilations within, max: [9/1m]", 429, "PERMANENT"),
            None,
        ),
        (refusal("[parent] Data too large"), None),
        (ClusterError("connection refused"), None),
    ],
)
def test_the_answer_tells_how_long_to_wait(error: ClusterError, seconds: float | None) -> None:
    assert compilation_wait(error) == seconds
