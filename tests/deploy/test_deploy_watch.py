"""The watch kind, against `WatcherStandIn`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deploy.deploy_targets import Target, target_at
from deploy.watcher_stand_in import WatcherStandIn
from sigmawatch.artifact import Artifact
from sigmawatch.deploy import Action, DeployIncomplete, apply, plan
from sigmawatch.deploy.kinds.watch import PAGE
from sigmawatch.errors import TargetUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator


def watch(name: str = "one", interval: str = "5m", **more: object) -> Artifact:
    body = {
        "trigger": {"schedule": {"interval": interval}},
        "input": {"search": {"request": {"indices": ["logs-*"], "body": {"query": {"match_all": {}}}}}},
        "condition": {"script": {"source": "return true"}},
        "actions": {"call": {"webhook": {"url": "https://hook", "auth": {"basic": {"password": "secret"}}}}},
        "metadata": {"rule": "r"},
        **more,
    }
    return Artifact("watch", f"sigmawatch-{name}", body)


@pytest.fixture
def server() -> Iterator[WatcherStandIn]:
    with WatcherStandIn() as stand_in:
        yield stand_in


@pytest.fixture
def watcher(server: WatcherStandIn) -> Iterator[Target]:
    target = target_at(server.url)
    with target.cluster:
        yield target


def test_an_unchanged_watch_is_never_put_again(watcher: Target, server: WatcherStandIn) -> None:
    watcher.deploy(watch())
    server.watches["sigmawatch-one"].acked = True
    # Added defaults and the redacted password are neither our change nor drift.
    assert watcher.actions(watch()) == ["unchanged"]
    watcher.deploy(watch(), watch("two"))
    assert server.puts() == ["sigmawatch-one", "sigmawatch-two"]
    assert server.watches["sigmawatch-one"].acked


def test_a_changed_watch_is_replaced(watcher: Target, server: WatcherStandIn) -> None:
    watcher.deploy(watch(throttle_period="1h"))
    plan = watcher.plan(watch(interval="10m"))
    assert plan.changes[0].action is Action.UPDATE
    assert '-  "throttle_period": "1h"' in plan.changes[0].diff
    assert "search_type" not in plan.changes[0].diff, "the server's defaults are no change of ours"
    watcher.deploy(watch(interval="10m"))
    assert "throttle_period" not in server.watches["sigmawatch-one"].body
    assert watcher.actions(watch(interval="10m")) == ["unchanged"]


def test_a_watch_that_somebody_deactivated_stays_so(watcher: Target, server: WatcherStandIn) -> None:
    watcher.deploy(watch())
    server.watches["sigmawatch-one"].active = False
    assert watcher.actions(watch()) == ["unchanged"]
    watcher.deploy(watch(interval="10m"))
    assert not server.watches["sigmawatch-one"].active


def test_a_foreign_change_is_drift(watcher: Target, server: WatcherStandIn) -> None:
    watcher.deploy(watch())
    server.watches["sigmawatch-one"].body["trigger"]["schedule"]["interval"] = "1d"
    assert watcher.actions(watch()) == ["drifted"]
    watcher.deploy(watch())
    assert server.watches["sigmawatch-one"].body["trigger"]["schedule"]["interval"] == "5m"


def test_marks_stand_in_the_metadata_and_find_a_lost_registry_again(
    watcher: Target, server: WatcherStandIn
) -> None:
    watcher.deploy(watch())
    metadata = server.watches["sigmawatch-one"].body["metadata"]
    assert metadata["rule"] == "r"
    assert (metadata["sigmawatch"]["pack"], metadata["sigmawatch"]["release"]) == ("p", "1")
    server.indices.clear()
    assert watcher.actions(watch()) == ["record"]
    watcher.deploy(watch())
    assert server.puts() == ["sigmawatch-one"]


def test_a_watch_that_left_the_pack_is_deleted(watcher: Target, server: WatcherStandIn) -> None:
    watcher.deploy(watch(), watch("two"))
    watcher.deploy(watch())
    assert set(server.watches) == {"sigmawatch-one"}


def test_what_the_api_refuses_is_reported_and_the_rest_goes_on(
    watcher: Target, server: WatcherStandIn
) -> None:
    no_trigger = Artifact("watch", "sigmawatch-none", {"actions": {}})
    with pytest.raises(DeployIncomplete) as caught:
        watcher.deploy(watch(), watch("odd", surprise=1), no_trigger)
    assert set(server.watches) == {"sigmawatch-one"}
    text = str(caught.value)
    assert "unexpected field [surprise]" in text
    assert "missing required field [trigger]" in text


def test_thousands_of_watches_are_read_in_pages(watcher: Target, server: WatcherStandIn) -> None:
    many = [watch(f"n{number}") for number in range(PAGE + 1)]
    watcher.deploy(*many)
    with watcher.counted() as requests:
        plan = watcher.plan(*many)
    assert plan.summary == f"{PAGE + 1} unchanged"
    assert len([request for request in requests if "_query/watches" in request]) == 2
    assert len(requests) <= 6


@pytest.mark.parametrize(
    ("licence", "enabled", "reason"),
    [("basic", True, "the licence of .* is basic; Watcher needs"), ("trial", False, "switched off")],
)
def test_without_watcher_it_is_said_before_the_first_write(licence: str, enabled: bool, reason: str) -> None:
    with WatcherStandIn(licence=licence, enabled=enabled) as server:
        target = target_at(server.url)
        with target.cluster, pytest.raises(TargetUnavailable, match=reason) as caught:
            target.plan(watch())
    assert "runner" in caught.value.hint
    assert server.indices == {}


def test_after_a_downgrade_the_watches_stay_and_all_else_goes_on(
    watcher: Target, server: WatcherStandIn
) -> None:
    watcher.deploy(watch())
    server.licence = "basic"
    with target_at(server.url).cluster as cluster:
        found = plan(cluster, [Artifact("detection", "sigmawatch-one", {"a": 1})], pack="p")
        assert [change.action for change in found.changes] == [Action.CREATE]
        assert found.notes[0].startswith("1 of kind watch cannot be deleted: the licence of")
        apply(cluster, found)
    assert set(server.watches) == {"sigmawatch-one"}
