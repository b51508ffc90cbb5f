"""Monitors of OpenSearch's alerting plugin against `AlertingStandIn`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from cluster.fault_proxy import Fault, FaultProxy
from deploy.alerting_stand_in import AlertingStandIn
from deploy.deploy_targets import Target, target_at
from sigmawatch.artifact import Artifact
from sigmawatch.bundle import choose_target, compile_pack
from sigmawatch.cluster import ConnectionSettings, connect
from sigmawatch.deploy import DeployIncomplete, apply, plan, removal_plan
from sigmawatch.errors import TargetUnavailable
from sigmawatch.pack.layout import builtin_pack
from sigmawatch.render.opensearch import monitor_artifact
from sigmawatch.render.target import Target as Executor


def monitor(name: str = "r1", minutes: int = 5, *, title: str = "Root", severity: str = "2") -> Artifact:
    condition = {"script": {"lang": "painless", "source": "return ctx.results[0].hits.total.value > 0"}}
    trigger = {
        "id": f"{name}-found",
        "name": title,
        "severity": severity,
        "condition": condition,
        "actions": [],
    }
    body = {
        "type": "monitor",
        "name": f"{title} ({name})",
        "monitor_type": "query_level_monitor",
        "enabled": True,
        "schedule": {"period": {"interval": minutes, "unit": "MINUTES"}},
        "inputs": [
            {
                "search": {
                    "indices": ["logs-*"],
                    "query": {"query": {"term": {"user.name": {"value": "root"}}}},
                }
            }
        ],
        "triggers": [{"query_level_trigger": trigger}],
    }
    return Artifact("monitor", name, body)


@pytest.fixture
def server() -> Iterator[AlertingStandIn]:
    with AlertingStandIn() as stand_in:
        yield stand_in


@pytest.fixture
def target(server: AlertingStandIn) -> Iterator[Target]:
    made = target_at(server.url)
    with made.cluster:
        yield made


def test_a_monitor_is_created_updated_restored_and_deleted(target: Target, server: AlertingStandIn) -> None:
    target.deploy(monitor())
    (server_id,) = server.monitors
    version = server.versions[server_id]
    assert target.actions(monitor()) == ["unchanged"], "what the server adds is no change"
    target.deploy(monitor())
    assert server.versions[server_id] == version
    target.deploy(monitor(minutes=10, title="Root login"))
    assert list(server.monitors) == [server_id], "a new title is no new monitor"
    assert server.monitor("r1")["name"] == "Root login (r1)"
    server.monitor("r1")["schedule"]["period"]["interval"] = 60
    assert target.actions(monitor(minutes=10, title="Root login")) == ["drifted"]
    assert apply(target.cluster, removal_plan(target.cluster, pack="p")).failed == ()
    assert server.monitors == {}


def test_what_people_set_survives_updates_and_is_no_drift(target: Target, server: AlertingStandIn) -> None:
    target.deploy(monitor())
    live = server.monitor("r1")
    mail = {
        "id": "a",
        "name": "mail",
        "destination_id": "d",
        "message_template": {"source": "x", "lang": "mustache"},
    }
    live["enabled"] = False
    live["triggers"][0]["query_level_trigger"]["actions"] = [mail]
    live["ui_metadata"]["search"] = {"searchType": "query"}
    assert target.actions(monitor()) == ["unchanged"]
    target.deploy(monitor(severity="1"))
    trigger = server.monitor("r1")["triggers"][0]["query_level_trigger"]
    assert (trigger["severity"], trigger["actions"]) == ("1", [mail])
    assert server.monitor("r1")["enabled"] is False
    assert server.monitor("r1")["ui_metadata"]["search"] == {"searchType": "query"}


def test_a_monitor_is_found_by_its_name_where_its_mark_was_written_over(
    target: Target, server: AlertingStandIn
) -> None:
    target.deploy(monitor())
    server.monitor("r1")["ui_metadata"] = {"search": {}}
    assert target.actions(monitor()) == ["unchanged"]
    server.indices.clear()
    assert target.actions(monitor(minutes=10)) == ["conflict"], "nothing says any more that it is ours"


def test_a_lost_registry_is_found_again_by_the_marks(target: Target, server: AlertingStandIn) -> None:
    target.deploy(monitor())
    server.indices.clear()
    assert target.actions(monitor()) == ["record"]
    assert target.actions(monitor(minutes=10)) == ["update"]


@pytest.mark.parametrize("fault", [Fault.CUT_AFTER, Fault.HALF, Fault.GATEWAY_TIMEOUT])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_an_answer_that_got_lost_makes_neither_a_second_monitor_nor_a_conflict(
    server: AlertingStandIn, fault: Fault, method: str
) -> None:
    with (
        FaultProxy(server.url) as proxy,
        connect(ConnectionSettings(proxy.url), sleep=lambda seconds: None) as cluster,
    ):
        if method == "PUT":
            apply(cluster, plan(cluster, [monitor()], pack="p"))
        lost: list[int] = []

        def spoil(number: int) -> Fault | None:
            request = proxy.seen[number - 1]
            if (
                request.startswith(f"{method} /_plugins/_alerting/monitors")
                and "_search" not in request
                and not lost
            ):
                lost.append(number)
                return fault
            return None

        proxy.reset(spoil)
        assert apply(cluster, plan(cluster, [monitor(minutes=10)], pack="p")).failed == ()
        assert lost
        assert len(server.monitors) == 1
        assert server.monitor("r1")["schedule"]["period"]["interval"] == 10


def test_a_second_monitor_of_the_same_rule_goes(target: Target, server: AlertingStandIn) -> None:
    target.deploy(monitor())
    (server_id,) = server.monitors
    server._store("another", dict(server.monitors[server_id]))
    target.deploy(monitor(minutes=10))
    assert list(server.monitors) == [server_id]


def test_somebody_elses_change_meanwhile_is_not_written_over(target: Target, server: AlertingStandIn) -> None:
    target.deploy(monitor())
    (server_id,) = server.monitors
    made = plan(target.cluster, [monitor(minutes=10)], pack="p")
    before = server._search_monitors

    def changed(body: dict[str, Any]) -> dict[str, Any]:
        found = before(body)
        server.versions[server_id] += 1  # somebody is faster each time
        return found

    server._search_monitors = changed  # type: ignore[method-assign]
    with pytest.raises(DeployIncomplete, match="was changed by somebody else meanwhile"):
        apply(target.cluster, made)


def test_what_the_plugin_refuses_is_told_and_the_rest_goes_on(
    target: Target, server: AlertingStandIn
) -> None:
    server.most = 2
    with pytest.raises(DeployIncomplete, match="more than the allowed monitors") as caught:
        target.deploy(monitor("r1"), monitor("r2"), monitor("r3"))
    assert "1 of 3 artifacts failed" in str(caught.value)
    server.most = 3
    target.deploy(monitor("r1"), monitor("r2"), monitor("r3"))
    assert len(server.monitors) == 3


def test_without_the_plugin_it_is_said_before_the_first_write() -> None:
    with AlertingStandIn(has_plugin=False) as server:
        made = target_at(server.url)
        with made.cluster:
            with pytest.raises(TargetUnavailable, match="opensearch-alerting is not installed") as caught:
                made.plan(monitor())
            assert "runner" in caught.value.hint
            with pytest.raises(TargetUnavailable, match="target opensearch: the plugin"):
                choose_target(Executor.OPENSEARCH, made.cluster.features())
        assert server.indices == {}


def test_a_monitor_on_trial_acts_on_nothing_and_gets_its_actions_back(
    target: Target, server: AlertingStandIn
) -> None:
    mail = {
        "id": "a",
        "name": "mail",
        "destination_id": "d",
        "message_template": {"source": "x", "lang": "mustache"},
    }

    def actions() -> Any:
        return server.monitor("r1")["triggers"][0]["query_level_trigger"]["actions"]

    target.deploy(monitor())
    server.monitor("r1")["triggers"][0]["query_level_trigger"]["actions"] = [mail]
    trial = monitor(severity="5")
    trial = Artifact("monitor", "r1", {**trial.body, "ui_metadata": {"sigmawatch_stage": "shadow"}})
    target.deploy(trial)
    assert actions() == []
    assert target.actions(trial) == ["unchanged"]
    target.deploy(monitor())
    assert actions() == [mail]
    assert set(server.monitor("r1")["ui_metadata"]) == {"sigmawatch"}


def test_the_built_in_rules_are_monitors_that_the_plugin_takes(
    target: Target, server: AlertingStandIn
) -> None:
    compiled, _ = compile_pack(builtin_pack())
    monitors = [replace(monitor_artifact(one), depends_on=()) for one in compiled.require()]
    assert len(monitors) >= 6, "correlations among them"
    assert target.deploy(*monitors).failed == ()
    assert len(server.monitors) == len(monitors)
    assert set(target.actions(*monitors)) == {"unchanged"}
