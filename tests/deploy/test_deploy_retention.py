"""Retention in a cluster: policies, new indices, indices that were there before, against `LifecycleStandIn`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from deploy.deploy_targets import Target, target_at
from deploy.lifecycle_stand_in import LifecycleStandIn
from sigmawatch.artifact import Artifact, ArtifactKey
from sigmawatch.deploy import DeployIncomplete, apply
from sigmawatch.deploy.kinds import all_kinds
from sigmawatch.errors import TargetUnavailable
from sigmawatch.retention import (
    Kept,
    Mechanism,
    Retention,
    RetentionTuning,
    SiteRetention,
    choose_mechanism,
    kept,
    retention_artifacts,
)
from sigmawatch.retention.report import read_holdings, summary

PATTERN = "logs-a.b-*"
STREAM = "logs-a.b-default"
OLD, NEW = f".ds-{STREAM}-2026.10.01-000001", f".ds-{STREAM}-2026.11.01-000002"
POLICY = "sigmawatch-logs-a.b"


@pytest.fixture(params=[Mechanism.ILM, Mechanism.ISM, Mechanism.LIFECYCLE])
def mechanism(request: pytest.FixtureRequest) -> Mechanism:
    found: Mechanism = request.param
    return found


@pytest.fixture
def server(mechanism: Mechanism) -> Iterator[LifecycleStandIn]:
    with LifecycleStandIn(opensearch=mechanism is Mechanism.ISM) as stand_in:
        yield stand_in


@pytest.fixture
def target(server: LifecycleStandIn) -> Iterator[Target]:
    made = target_at(server.url)
    with made.cluster:
        yield made


def made(mechanism: Mechanism, days: int | None = 90, *, warm: int | None = 7) -> list[Artifact]:
    return retention_artifacts(Kept("logs-a.b", PATTERN, mechanism, Retention("own", warm=warm, delete=days)))


def held(server: LifecycleStandIn, index: str) -> Any:
    """Return who keeps an index: its policy with the version, or the lifecycle of its stream."""
    return server.lifecycles.get(STREAM) if server.lifecycles else server.managed.get(index)


def test_indices_that_were_there_before_are_kept_as_new_ones_are(
    target: Target, server: LifecycleStandIn, mechanism: Mechanism
) -> None:
    server.streams[STREAM] = [OLD, NEW]
    before = made(mechanism)
    target.deploy(*before)
    assert set(target.actions(*before)) == {"unchanged"}
    assert held(server, OLD) == held(server, NEW) != None  # noqa: E711
    after = made(mechanism, 30)
    assert "update" in target.actions(*after)
    target.deploy(*after)
    assert set(target.actions(*after)) == {"unchanged"}
    if mechanism is Mechanism.ISM:
        assert server.managed[OLD] == (POLICY, 2), "an index keeps the version that it was given"
    elif mechanism is Mechanism.ILM:
        assert server.policies[POLICY]["phases"]["delete"]["min_age"] == "30d"
    else:
        assert server.lifecycles[STREAM] == {"enabled": True, "data_retention": "30d"}


def test_what_somebody_takes_from_an_index_is_told_and_put_back(
    target: Target, server: LifecycleStandIn, mechanism: Mechanism
) -> None:
    server.streams[STREAM] = [OLD, NEW]
    target.deploy(*made(mechanism))
    with server._guard:
        if mechanism is Mechanism.LIFECYCLE:
            server.lifecycles[STREAM]["data_retention"] = "1d"
        else:
            del server.managed[OLD]
    assert "drifted" in target.actions(*made(mechanism))
    target.deploy(*made(mechanism))
    assert set(target.actions(*made(mechanism))) == {"unchanged"}


def test_a_policy_that_others_gave_to_indices_is_not_replaced_unasked(
    target: Target, server: LifecycleStandIn, mechanism: Mechanism
) -> None:
    server.streams[STREAM] = [OLD]
    server.policies["theirs"], server.versions["theirs"] = {"states": [], "phases": {}}, 1
    if mechanism is Mechanism.LIFECYCLE:
        server.lifecycles[STREAM] = {"enabled": True, "data_retention": "1d"}
    else:
        server.managed[OLD] = ("theirs", 1)
    assert "conflict" in target.actions(*made(mechanism))
    target.deploy(*made(mechanism), adopt=True)
    assert set(target.actions(*made(mechanism))) == {"unchanged"}


def test_what_nobody_is_to_keep_any_more_is_let_go(
    target: Target, server: LifecycleStandIn, mechanism: Mechanism
) -> None:
    server.streams[STREAM] = [OLD, NEW]
    other = Artifact("detection", "x", {})
    target.deploy(*made(mechanism), other)
    target.deploy(other)
    assert held(server, OLD) is None
    assert server.policies == {}


def test_how_long_data_is_kept_does_not_end_with_the_pack(
    target: Target, server: LifecycleStandIn, mechanism: Mechanism
) -> None:
    server.streams[STREAM] = [OLD]
    target.deploy(*made(mechanism))
    (attachment,) = [all_kinds()[one.kind] for one in made(mechanism) if not one.kind.endswith("_policy")]
    keys = {ArtifactKey("index_template", "logs-a.b")}
    assert attachment.in_use(target.cluster, [PATTERN], keys) == {
        PATTERN: f"{STREAM} stays, and is still kept for as long"
    }
    assert attachment.in_use(target.cluster, [PATTERN], {*keys, ArtifactKey("data_stream", STREAM)}) == {}
    assert attachment.in_use(target.cluster, [PATTERN], set()) == {}, "the site wants it kept no longer"
    if mechanism is Mechanism.ISM:
        assert all_kinds()["ism_policy"].in_use(target.cluster, [POLICY], set()) == {
            POLICY: f"the index {OLD} has it"
        }


def test_alerts_have_a_policy_before_there_are_any() -> None:
    for opensearch in (False, True):
        mechanism = Mechanism.ISM if opensearch else Mechanism.ILM
        with LifecycleStandIn(opensearch=opensearch) as server:
            target = target_at(server.url)
            alerts = Kept("alerts", "sigmawatch-alerts-*", mechanism, Retention(delete=400), monthly=True)
            wanted = retention_artifacts(alerts)
            plan = target.plan(*wanted)
            server.new_index_has = "sigmawatch-alerts"  # by the template, which the same deploy writes before
            apply(target.cluster, plan)
            assert set(target.actions(*wanted)) == {"unchanged"}
            server.plain.append("sigmawatch-alerts-2026.11")
            server.managed["sigmawatch-alerts-2026.11"] = ("sigmawatch-alerts", 1)
            assert set(target.actions(*wanted)) == {"unchanged"}
            target.cluster.close()


def test_a_refusal_in_an_answer_of_200_is_one() -> None:
    with LifecycleStandIn(opensearch=True) as server:
        target = target_at(server.url)
        server.streams[STREAM] = [OLD]
        original = server._ism_of_indices

        def refusing(method: str, path: str, raw: bytes) -> Any:
            if "/add/" in path:
                failed = [{"index_name": OLD, "index_uuid": "u", "reason": "the index is closed"}]
                return 200, {"updated_indices": 0, "failures": True, "failed_indices": failed}
            return original(method, path, raw)

        server._ism_of_indices = refusing  # type: ignore[method-assign]
        with pytest.raises(DeployIncomplete, match="the index is closed"):
            target.deploy(*made(Mechanism.ISM))
        target.cluster.close()


@pytest.mark.parametrize(
    ("days", "told", "bounds"), [(90, "90 to 97 days", (90, 97)), (None, "for ever", (None, None))]
)
def test_what_is_held_is_told_as_the_cluster_has_it(
    target: Target,
    server: LifecycleStandIn,
    mechanism: Mechanism,
    days: int | None,
    told: str,
    bounds: tuple[int | None, int | None],
) -> None:
    server.streams[STREAM] = [OLD, f"shrink-ab12-{NEW}"]
    target.deploy(*made(mechanism, days))
    (held,) = [one for one in read_holdings(target.cluster) if one.pattern == PATTERN]
    assert (held.by, held.in_words, (held.shortest, held.longest)) == (mechanism, told, bounds)
    assert (held.indices, held.documents, held.bytes, held.oldest[:10]) == (2, 4, 600, "2026-09-21")
    with server._guard:
        server.managed.clear()
        server.lifecycles.clear()
    (held,) = [one for one in read_holdings(target.cluster) if one.pattern == PATTERN]
    assert (held.by, held.in_words) == (Mechanism.NONE, "for ever"), "nobody keeps it any more"


# Who does it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opensearch", "has_plugin", "expected"),
    [(False, True, "ilm"), (True, True, "ism"), (False, False, "none"), (True, False, "none")],
)
def test_the_cluster_decides_who_keeps_events(opensearch: bool, has_plugin: bool, expected: str) -> None:
    with LifecycleStandIn(opensearch=opensearch, has_plugin=has_plugin) as server:
        target = target_at(server.url)
        features = target.cluster.features()
        assert choose_mechanism(SiteRetention(), features) == expected
        assert features.has_ilm == (not opensearch and has_plugin)
        assert features.has_ism == (opensearch and has_plugin)
        target.cluster.close()


@pytest.mark.parametrize("by", ["ilm", "ism", "lifecycle"])
def test_who_is_not_there_is_refused_by_name(by: str) -> None:
    opensearch = by != "ism"
    with LifecycleStandIn(opensearch=opensearch) as server:
        target = target_at(server.url)
        with pytest.raises(TargetUnavailable, match=f"retention by {by}: .*has no"):
            choose_mechanism(SiteRetention(by=by), target.cluster.features())
        target.cluster.close()


def test_what_is_to_be_deleted_is_not_kept_for_ever_in_silence() -> None:
    with LifecycleStandIn(opensearch=True, has_plugin=False) as server:
        target = target_at(server.url)
        features = target.cluster.features()
        datasets = [("a.b", "logs-a.b", PATTERN)]
        wanted = SiteRetention(RetentionTuning("gdpr"))
        with pytest.raises(
            TargetUnavailable, match=r"after 23 days, but nobody .* opensearch-index-management"
        ):
            kept(datasets, site=wanted, tunings={}, features=features)
        own = {"a.b": RetentionTuning(None, {"by": Mechanism.NONE})}
        assert {one.in_words for one in kept(datasets, site=wanted, tunings=own, features=features)} == {
            "for ever"
        }
        nobody = SiteRetention(RetentionTuning("gdpr"), by="none")
        assert {one.mechanism for one in kept(datasets, site=nobody, tunings={}, features=features)} == {
            "none"
        }
        found = kept(datasets, site=SiteRetention(), tunings={}, features=features)
        assert {one.what for one in found} == {"logs-a.b", "alerts", "shadow", "health"}
        target.cluster.close()


def test_what_is_kept_alike_stands_together() -> None:
    keeping = [
        Kept(f"logs-a.{name}", f"logs-a.{name}-*", Mechanism.ILM, Retention("gdpr", delete=23))
        for name in "bcdef"
    ]
    keeping.append(Kept("alerts", "sigmawatch-alerts-*", Mechanism.NONE, Retention(delete=9), monthly=True))
    assert summary(keeping) == [
        "deleted after 23 to 30 days by ilm: logs-a.b, logs-a.c, logs-a.d, logs-a.e and 1 more",
        "kept for ever, since nothing here deletes it: alerts",
    ]
