"""Retention as policies of ILM and ISM and as lifecycles of data streams."""

from __future__ import annotations

import pytest

from sigmawatch.retention import Kept, Mechanism, Retention, Rollover, retention_artifacts
from sigmawatch.retention.artifacts import index_additions
from sigmawatch.retention.render import ilm_policy, ilm_until, ism_policy, ism_until, lifecycle, unserved

WHOLE = Retention("own", warm=7, cold=30, delete=365, rollover=Rollover(14, "30gb"), shrink=1)


def test_ilm_has_a_phase_for_each_age() -> None:
    phases = ilm_policy(WHOLE)["policy"]["phases"]
    assert [(name, phase["min_age"]) for name, phase in phases.items()] == [
        ("hot", "0ms"),
        ("warm", "7d"),
        ("cold", "30d"),
        ("delete", "365d"),
    ]
    assert phases["hot"]["actions"]["rollover"] == {"max_age": "14d", "max_primary_shard_size": "30gb"}
    assert set(phases["warm"]["actions"]) == {"set_priority", "readonly", "forcemerge", "shrink"}
    assert phases["delete"]["actions"] == {"delete": {}}


def test_ism_counts_from_the_rollover_as_ilm_does() -> None:
    policy = ism_policy(WHOLE, "logs-a.b-*")["policy"]
    assert policy["ism_template"] == [{"index_patterns": ["logs-a.b-*"], "priority": 250}]
    assert [(state["name"], state["transitions"]) for state in policy["states"]] == [
        ("hot", [{"state_name": "warm", "conditions": {"min_rollover_age": "7d"}}]),
        ("warm", [{"state_name": "cold", "conditions": {"min_rollover_age": "30d"}}]),
        ("cold", [{"state_name": "delete", "conditions": {"min_rollover_age": "365d"}}]),
        ("delete", []),
    ]
    rollover = {"min_index_age": "14d", "min_primary_shard_size": "30gb"}
    assert {"rollover": rollover} in policy["states"][0]["actions"]
    assert policy["states"][-1]["actions"] == [{"delete": {}}]


def test_what_is_kept_for_ever_is_still_rolled_over() -> None:
    assert "delete" not in ilm_policy(Retention())["policy"]["phases"]
    assert [state["name"] for state in ism_policy(Retention(), "x-*")["policy"]["states"]] == ["hot"]
    assert lifecycle(Retention()) == {"enabled": True}
    assert lifecycle(WHOLE) == {"enabled": True, "data_retention": "365d"}


def test_indices_of_a_month_are_deleted_when_the_last_of_their_events_is_old_enough() -> None:
    for mechanism in (Mechanism.ILM, Mechanism.ISM):
        alerts = Kept("alerts", "sigmawatch-alerts-*", mechanism, Retention(delete=365), monthly=True)
        policy, attachment = retention_artifacts(alerts)
        assert policy.shared
        assert attachment.shared
        assert "396d" in str(policy.body)
        assert "rollover" not in str(policy.body).replace("min_rollover_age", "")
        assert alerts.in_words == "365 to 396 days"
    assert ilm_until(None)["policy"]["phases"].keys() == {"hot"}
    assert len(ism_until(None, "x-*")["policy"]["states"]) == 1


def test_what_is_not_done_is_told() -> None:
    assert list(unserved(WHOLE, "ilm")) == []
    assert [note.split(":")[0] for note in unserved(WHOLE, "ism")] == ["shrink"]
    told = [note.split(":")[0] for note in unserved(WHOLE, "lifecycle")]
    assert told == ["no warm or cold phase", "rollover.max_age", "shrink"]


@pytest.mark.parametrize("mechanism", list(Mechanism))
def test_new_indices_know_who_keeps_them(mechanism: Mechanism) -> None:
    additions = index_additions(Kept("logs-a.b", "logs-a.b-*", mechanism, Retention(delete=9)))
    index = additions["settings"]["index"]
    assert index["codec"] == "best_compression"
    assert ("lifecycle" in index) == (mechanism is Mechanism.ILM)
    assert ("lifecycle" in additions) == (mechanism is Mechanism.LIFECYCLE)
    plain = Retention(delete=9, best_compression=False)
    assert index_additions(Kept("x", "x-*", Mechanism.ISM, plain)) == {}
