"""Every request to Kibana spoiled in turn: the next deploy converges, nothing foreign is touched, nothing doubled.

Kibana is `KibanaStandIn`, behind a proxy; registry, lock and releases are in a real OpenSearch.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.fault_proxy import Fault, FaultProxy
from deploy.deploy_targets import Target
from deploy.kibana_stand_in import KibanaStandIn
from deploy.spoilt_deploys import Witness, spoilt_deploys
from sigmawatch.artifact import Artifact
from sigmawatch.cluster import ConnectionSettings, connect
from sigmawatch.cluster.retry import RetryPolicy
from sigmawatch.deploy import apply, plan
from sigmawatch.deploy.journal import Journals
from sigmawatch.deploy.spaces import placed
from sigmawatch.errors import SigmawatchError

pytestmark = pytest.mark.engine

STRIDE = 1 if os.environ.get("SIGMAWATCH_EVERY_FAULT") else 5

THEIRS: dict[str, Any] = {"rule_id": "theirs", "name": "t", "description": "t", "severity": "low", "id": "x"}
EXCEPTION = {"id": "e", "list_id": "l", "type": "rule_default", "namespace_type": "single"}


def rule(name: str, severity: str = "high") -> Artifact:
    body = {
        "name": name,
        "description": "d",
        "type": "query",
        "query": "*",
        "index": ["logs-*"],
        "interval": "5m",
    }
    return Artifact("kibana_rule", name, {**body, "risk_score": 50, "severity": severity, "enabled": True})


def view(name: str, title: str) -> Artifact:
    return Artifact("data_view", name, {"attributes": {"title": title}})


def version(number: int) -> list[Artifact]:
    """One of two bundles: between them everything is created, updated, deleted or left alone once."""
    shown = {"type": "index-pattern", "id": "constant", "name": "a"}
    dashboard = {"attributes": {"title": f"Version {number}"}, "references": [shown]}
    everything = [
        view("constant", "logs-*"),
        view(f"only-{number}", "x-*"),
        Artifact("dashboard", "overview", dashboard),
        rule("constant"),
        rule("changing", "low" if number == 1 else "high"),
        rule(f"only-{number}"),
    ]
    return placed(everything, space="default", pack="p")


class Bench:
    """A cluster, its Kibana, and the way to Kibana through a proxy that spoils requests."""

    def __init__(self, url: str, kibana: KibanaStandIn, proxy: FaultProxy, folder: Path) -> None:
        self.kibana = kibana
        self.proxy = proxy
        settings = ConnectionSettings(url, timeout=1.0)
        retry = RetryPolicy(attempts=2)
        self.direct = connect(settings.with_kibana(kibana.url))
        self.through = connect(settings.with_kibana(proxy.url), retry=retry, sleep=lambda seconds: None)
        kibana.rules["default", "x"] = dict(THEIRS)
        apply(self.direct, plan(self.direct, version(1), pack="p"))
        kibana.rule("changing")["exceptions_list"] = [EXCEPTION]
        kibana.rule("changing")["enabled"] = False
        keys = {one.key for number in (1, 2) for one in version(number)}
        self.witness = Witness(self.direct, Journals(folder), keys)

    def version(self, number: int) -> list[Artifact]:
        return version(number)

    def deploy(self, number: int) -> SigmawatchError | None:
        try:
            # What it found out of this Kibana before would not be asked again.
            self.through.__dict__.pop("_kibana", None)
            planned = plan(self.through, version(number), pack="p")
            apply(self.through, planned, journals=self.witness.journals)
        except SigmawatchError as error:
            return error
        return None

    def check_truth(self, number: int) -> None:
        """Assert that nothing of a deploy that failed is taken for somebody else's, and nothing of theirs changed."""
        found = plan(self.direct, version(number), pack="p")
        assert {change.action.value for change in found.changes} <= {
            "create", "update", "delete", "record", "unchanged",
        }  # fmt: skip
        assert self.kibana.rules["default", "x"] == THEIRS
        assert self.kibana.rule("changing")["exceptions_list"] == [EXCEPTION], "an exception got lost"
        assert self.kibana.rule("changing")["enabled"] is False

    def check(self, number: int) -> None:
        wanted = version(number)
        assert plan(self.direct, wanted, pack="p").summary == f"{len(wanted)} unchanged"
        rules = Counter(rule["rule_id"] for rule in self.kibana.rules.values())
        assert rules == Counter(["constant", "changing", f"only-{number}", "theirs"]), "missing or doubled"
        objects = {object_id for kind, object_id in self.kibana.objects if kind != "tag"}
        assert objects == {"constant", f"only-{number}", "overview"}


@pytest.fixture
def bench(target: Target, tmp_path: Path) -> Iterator[Bench]:
    with KibanaStandIn() as kibana, FaultProxy(kibana.url) as proxy:
        made = Bench(target.cluster.url, kibana, proxy, tmp_path / "journals")
        with made.direct, made.through:
            yield made


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name)
def test_a_request_to_kibana_that_is_spoiled_costs_at_most_another_run(bench: Bench, fault: Fault) -> None:
    first = list(Fault).index(fault) % STRIDE + 1
    runs = list(spoilt_deploys(bench, fault, first=first, stride=STRIDE))
    outlived = sum(run.error is None for run in runs)
    assert runs[-1].at > 20, "that was no deploy"
    # A page with 200 is not what Kibana says, and what is too long once is too long again: those never.
    assert outlived > (0 if fault in (Fault.PAGE, Fault.TOO_LONG) else len(runs) * 0.5)


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.HALF, Fault.UNAVAILABLE])
def test_a_kibana_that_is_gone_from_some_request_on_costs_another_run(bench: Bench, fault: Fault) -> None:
    first = len(fault.name) % STRIDE + 1
    for run in spoilt_deploys(bench, fault, first=first, stride=STRIDE, onwards=True):
        if run.was_spared:
            assert run.error is None
    assert run.at > 20
