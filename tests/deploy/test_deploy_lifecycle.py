"""From nothing to deployed, changed, drifted, adopted and gone, on the real engines."""

from __future__ import annotations

import pytest

from deploy.deploy_targets import PREFIX, Target, pipeline
from sigmawatch.artifact import Artifact, ArtifactKey
from sigmawatch.deploy import Action, DeployIncomplete, apply
from sigmawatch.deploy.registry import REGISTRY_INDEX
from sigmawatch.errors import ContentError, TargetUnavailable, UsageError


def bundle() -> list[Artifact]:
    component = Artifact(
        "component_template",
        f"{PREFIX}component",
        {
            "template": {
                "settings": {"number_of_shards": 1, "index.refresh_interval": "5s"},
                "mappings": {"dynamic": False, "properties": {"@timestamp": {"type": "date"}}},
            },
            "_meta": {"about": "a test"},
        },
    )
    template = Artifact(
        "index_template",
        f"{PREFIX}template",
        {"index_patterns": [f"{PREFIX}logs-*"], "composed_of": [component.id], "priority": 900},
        depends_on=(component.key,),
    )
    script = Artifact(
        "stored_script", f"{PREFIX}script", {"script": {"lang": "painless", "source": "return 1 +\n  1"}}
    )
    index = Artifact(
        "index",
        f"{PREFIX}index",
        {
            "settings": {"number_of_replicas": 0},
            "mappings": {
                "dynamic": False,
                "properties": {
                    "state": {"type": "object", "enabled": False},
                    "o": {"properties": {"x": {"type": "ip"}}},
                },
            },
        },
    )
    detection = Artifact(
        "detection", f"{PREFIX}rule", {"query": {"term": {"a": "1"}}, "window": "5m", "n": 1.0}
    )
    return [detection, index, template, component, script, pipeline("one"), pipeline("two")]


def test_everything_is_created_once_and_then_left_alone(either: Target) -> None:
    assert {change.action for change in either.plan(*bundle()).changes} == {Action.CREATE}
    result = either.deploy(*bundle())
    assert [one.error for one in result.failed] == []
    assert len(result.results) == 7
    second = either.plan(*bundle())
    assert [(str(one.key), one.reason) for one in second.changes if one.action is not Action.UNCHANGED] == []
    assert not second.has_changes
    assert second.summary == "7 unchanged"
    with either.counted() as requests:
        assert apply(either.cluster, second).results == ()
    assert requests == []


def test_planning_writes_nothing(either: Target) -> None:
    with either.counted() as requests:
        either.plan(*bundle())
    assert [
        request for request in requests if not request.startswith("GET ") and "_search" not in request
    ] == []
    assert not either.cluster.request("HEAD", f"/{REGISTRY_INDEX}")


def test_our_change_is_an_update_with_its_difference(either: Target) -> None:
    either.deploy(pipeline("one"), pipeline("two"))
    plan = either.plan(pipeline("one", "2"), pipeline("two"))
    assert [change.action for change in plan.changes] == [Action.UPDATE, Action.UNCHANGED]
    assert '-        "value": "1"\n+        "value": "2"' in plan.changes[0].diff
    assert plan.changes[0].to_dict()["after"] == pipeline("one", "2").body
    with either.counted() as requests:
        apply(either.cluster, plan)
    assert [request for request in requests if "PUT /_ingest" in request] == [
        f"PUT /_ingest/pipeline/{PREFIX}one"
    ]
    assert either.actions(pipeline("one", "2"), pipeline("two")) == ["unchanged", "unchanged"]


@pytest.mark.parametrize("changed", ["component", "template", "index", "script", "rule"])
def test_every_kind_takes_an_update(either: Target, changed: str) -> None:
    either.deploy(*bundle())
    new = []
    for artifact in bundle():
        body = dict(artifact.body)
        if artifact.id == f"{PREFIX}{changed}":
            match artifact.kind:
                case "index":
                    body["mappings"] = {**body["mappings"], "properties": {"added": {"type": "keyword"}}}
                    # What is in a mapping stays in it, so the body has to go on naming it.
                    body["mappings"]["properties"] |= artifact.body["mappings"]["properties"]
                case "stored_script":
                    body = {"script": {"lang": "painless", "source": "return 2"}}
                case "detection":
                    body["window"] = "10m"
                case _:
                    body["_meta"] = {"about": "something else"}
        new.append(Artifact(artifact.kind, artifact.id, body, artifact.depends_on))
    assert sorted(either.actions(*new)) == ["unchanged"] * 6 + ["update"]
    either.deploy(*new)
    assert either.actions(*new) == ["unchanged"] * 7


def test_a_foreign_change_is_drift_and_is_written_back(either: Target) -> None:
    either.deploy(pipeline("one"))
    foreign = {"description": "hand-made", "processors": []}
    either.cluster.request("PUT", f"/_ingest/pipeline/{PREFIX}one", foreign)
    plan = either.plan(pipeline("one"))
    assert plan.changes[0].action is Action.DRIFTED
    assert "changed outside" in plan.changes[0].reason
    assert '-  "description": "hand-made"' in plan.changes[0].diff
    assert "1 changed outside" in plan.summary
    apply(either.cluster, plan)
    live = either.cluster.request("GET", f"/_ingest/pipeline/{PREFIX}one")[f"{PREFIX}one"]
    assert live["description"] == "one"
    assert either.actions(pipeline("one")) == ["unchanged"]


def test_what_was_deleted_outside_is_created_again(either: Target) -> None:
    either.deploy(pipeline("one"))
    either.cluster.request("DELETE", f"/_ingest/pipeline/{PREFIX}one")
    plan = either.plan(pipeline("one"))
    assert (plan.changes[0].action, plan.changes[0].reason) == (Action.CREATE, "deleted outside")
    apply(either.cluster, plan)
    assert either.actions(pipeline("one")) == ["unchanged"]


def test_what_left_the_pack_is_deleted(either: Target) -> None:
    either.deploy(*bundle())
    rest = [artifact for artifact in bundle() if artifact.kind == "detection"]
    plan = either.plan(*rest)
    gone = [change for change in plan.changes if change.artifact is None]
    assert {change.key.kind: change.action.value for change in gone} == {
        "index": "unchanged",
        "index_template": "delete",
        "component_template": "delete",
        "stored_script": "delete",
        "ingest_pipeline": "delete",
    }
    # A component template cannot go before the index template that is composed of it.
    order = [change.key.kind for change in gone if change.action is Action.DELETE]
    assert order.index("index_template") < order.index("component_template")
    apply(either.cluster, plan)
    assert either.cluster.request("GET", f"/_ingest/pipeline/{PREFIX}one", ignore=(404,)) is None
    assert either.cluster.request("HEAD", f"/{PREFIX}index"), "data is kept"
    after = either.plan(*rest)
    assert [change.reason for change in after.changes if change.artifact is None] == [
        "no longer in the pack; its data is kept"
    ]
    assert not after.has_work


def test_without_prune_nothing_is_deleted(either: Target) -> None:
    either.deploy(pipeline("one"), pipeline("two"))
    assert either.actions(pipeline("one"), prune=False) == ["unchanged"]


def test_an_empty_bundle_deletes_nothing(either: Target) -> None:
    either.deploy(pipeline("one"))
    plan = either.plan()
    assert plan.changes == ()
    assert plan.notes == ("the bundle is empty, so nothing is deleted",)


def test_more_deletions_than_allowed_are_refused(either: Target) -> None:
    either.deploy(*(pipeline(f"n{number}") for number in range(5)))
    plan = either.plan(pipeline("n0"), max_deletes=3)
    with pytest.raises(UsageError, match="4 artifacts would be deleted; the limit is 3") as caught:
        apply(either.cluster, plan)
    assert "--max-deletes 4" in caught.value.hint
    assert either.actions(*(pipeline(f"n{number}") for number in range(5))) == ["unchanged"] * 5
    either.deploy(pipeline("n0"), max_deletes=4)


def test_what_is_not_ours_is_refused_unless_it_is_to_be_adopted(either: Target) -> None:
    either.cluster.request(
        "PUT", f"/_ingest/pipeline/{PREFIX}one", {"description": "theirs", "processors": []}
    )
    plan = either.plan(pipeline("one"))
    assert plan.changes[0].action is Action.CONFLICT
    with pytest.raises(UsageError, match="not ours to change"):
        apply(either.cluster, plan)
    assert not either.cluster.request("HEAD", f"/{REGISTRY_INDEX}")
    assert either.actions(pipeline("one"), adopt=True) == ["adopt"]
    either.deploy(pipeline("one"), adopt=True)
    assert either.actions(pipeline("one")) == ["unchanged"]


def test_what_exists_and_is_the_same_becomes_ours_without_a_write(either: Target) -> None:
    either.cluster.request("PUT", f"/_ingest/pipeline/{PREFIX}one", dict(pipeline("one").body))
    plan = either.plan(pipeline("one"))
    assert (plan.changes[0].action, plan.has_changes) == (Action.RECORD, False)
    with either.counted() as requests:
        apply(either.cluster, plan)
    assert not [request for request in requests if "PUT /_ingest" in request]
    assert either.actions(pipeline("one", "2")) == ["update"]


def test_what_another_pack_owns_is_refused(either: Target) -> None:
    either.deploy(pipeline("one"), pack="theirs")
    plan = either.plan(pipeline("one"), pack="ours")
    assert (plan.changes[0].action, plan.changes[0].reason) == (Action.CONFLICT, "belongs to pack theirs")
    assert either.actions(pipeline("two"), pack="ours") == ["create"], "and never deleted by us"


def test_what_packs_share_belongs_to_none_of_them(either: Target) -> None:
    common = pipeline("common", shared=True)
    either.deploy(common, pipeline("one"), pack="first")
    either.deploy(common, pipeline("two"), pack="second")
    assert either.actions(common, pipeline("one"), pack="first") == ["unchanged", "unchanged"]
    assert either.actions(common, pipeline("two"), pack="second") == ["unchanged", "unchanged"]
    assert either.actions(pipeline("two"), pack="second") == ["unchanged"], (
        "who no longer brings it deletes nothing"
    )
    with pytest.raises(UsageError, match="cannot be called"):
        either.plan(common, pack="sigmawatch")


def test_a_lost_registry_is_found_again(either: Target) -> None:
    artifacts = [one for one in bundle() if one.kind != "index_template"]
    either.deploy(*artifacts)
    either.cluster.request("DELETE", f"/{REGISTRY_INDEX}")
    plan = either.plan(*artifacts)
    assert {change.action for change in plan.changes} == {Action.RECORD}
    apply(either.cluster, plan)
    assert either.actions(*artifacts) == ["unchanged"] * 6


def test_what_left_the_pack_while_the_registry_was_lost_goes_by_its_marks(either: Target) -> None:
    kept, gone = (Artifact("detection", f"{PREFIX}{name}", {"n": name}) for name in ("kept", "gone"))
    unmarked = pipeline("gone") if either.cluster.info.distribution == "opensearch" else None
    either.deploy(*filter(None, (kept, gone, unmarked)))
    either.deploy(Artifact("detection", f"{PREFIX}other", {}), pack="theirs")
    either.cluster.request("DELETE", f"/{REGISTRY_INDEX}")
    plan = either.plan(kept)
    assert {change.key: change.action for change in plan.changes} == {
        kept.key: Action.RECORD,
        gone.key: Action.DELETE,
    }
    apply(either.cluster, plan)
    assert {hit["_id"] for hit in either.cluster.scan("sigmawatch-detections")} == {
        kept.id,
        f"{PREFIX}other",
    }
    assert either.actions(kept) == ["unchanged"]
    if unmarked is not None:
        # Nothing there says whose it is.
        assert either.cluster.request("GET", f"/_ingest/pipeline/{unmarked.id}")


def test_what_is_marked_as_another_packs_is_refused_even_where_it_is_the_same(either: Target) -> None:
    component = bundle()[3]
    either.deploy(component, pack="theirs")
    either.cluster.request("DELETE", f"/{REGISTRY_INDEX}")
    plan = either.plan(component, pack="ours")
    assert plan.changes[0].reason == "marked as belonging to pack theirs"
    assert plan.changes[0].action is Action.CONFLICT


def test_a_mapping_that_grew_by_itself_is_no_drift(either: Target) -> None:
    index = Artifact("index", f"{PREFIX}index", {"mappings": {"properties": {"a": {"type": "keyword"}}}})
    either.deploy(index)
    either.cluster.request("PUT", f"/{index.id}/_doc/1", {"b": "something new"}, params={"refresh": "true"})
    assert either.actions(index) == ["unchanged"]


def test_marks_say_who_owns_what_where_there_is_a_place_for_them(either: Target) -> None:
    either.deploy(*bundle())
    found = either.cluster.request("GET", f"/_component_template/{PREFIX}component")
    meta = found["component_templates"][0]["component_template"]["_meta"]
    assert meta["about"] == "a test"
    assert {key: meta["sigmawatch"][key] for key in ("managed_by", "pack", "release")} == {
        "managed_by": "sigmawatch",
        "pack": "p",
        "release": "1",
    }
    live = either.cluster.request("GET", f"/_ingest/pipeline/{PREFIX}one")[f"{PREFIX}one"]
    assert ("_meta" in live) == (either.cluster.info.distribution == "elasticsearch")


def test_a_seed_is_created_and_then_the_users_own(either: Target) -> None:
    seed = pipeline("custom", seed=True)
    either.deploy(seed, pipeline("one"))
    theirs = {"description": "theirs now", "processors": []}
    either.cluster.request("PUT", f"/_ingest/pipeline/{PREFIX}custom", theirs)
    assert either.actions(seed, pipeline("one")) == ["unchanged", "unchanged"]
    changed = pipeline("custom", "2", seed=True)
    assert either.actions(changed, pipeline("one")) == ["unchanged", "unchanged"]
    plan = either.plan(pipeline("one"))
    assert [change.reason for change in plan.changes if change.artifact is None] == [
        "no longer in the pack; the user owns it"
    ]
    assert not plan.has_work


def test_an_upgraded_server_that_added_defaults_is_not_drift(
    either: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    either.deploy(pipeline("one"))
    body = {**pipeline("one").body, "version": 7}
    either.cluster.request("PUT", f"/_ingest/pipeline/{PREFIX}one", body)
    assert either.actions(pipeline("one")) == ["drifted"]
    monkeypatch.setattr("sigmawatch.deploy.planner.engine_of", lambda cluster: "elasticsearch 99.0.0")
    plan = either.plan(pipeline("one"))
    assert plan.changes[0].action is Action.RECORD
    assert "became elasticsearch 99.0.0" in plan.changes[0].reason


@pytest.mark.engine
def test_a_data_stream_is_created_once_and_kept(target: Target) -> None:
    template = Artifact(
        "index_template",
        f"{PREFIX}template",
        {"index_patterns": [f"{PREFIX}logs-*"], "data_stream": {}, "priority": 900},
    )
    stream = Artifact("data_stream", f"{PREFIX}logs-a", {}, depends_on=(template.key,))
    target.deploy(stream, template)
    assert target.actions(stream, template) == ["unchanged", "unchanged"]
    plan = target.plan(template)
    assert [change.action.value for change in plan.changes] == ["unchanged", "unchanged"]
    assert target.cluster.request("HEAD", f"/{PREFIX}logs-a")


@pytest.mark.elasticsearch
def test_a_cluster_without_data_streams_is_told_before_anything_is_written(elastic: Target) -> None:
    with pytest.raises(TargetUnavailable, match="built without data streams"):
        elastic.plan(Artifact("data_stream", f"{PREFIX}logs-a", {}))


@pytest.mark.engine
def test_a_no_op_plan_of_many_artifacts_makes_few_requests(target: Target) -> None:
    def many(count: int) -> list[Artifact]:
        detections = [Artifact("detection", f"{PREFIX}{n}", {"n": n}) for n in range(count)]
        return [*(pipeline(f"n{n:03}") for n in range(count)), *detections]

    target.deploy(*many(200))
    with target.counted() as requests:
        plan = target.plan(*many(200))
    assert plan.summary == "400 unchanged"
    with target.counted() as fewer:
        target.plan(*many(2), prune=False)
    assert len(requests) == len(fewer) <= 6


@pytest.mark.engine
def test_a_failure_stops_its_dependents_and_nothing_else(target: Target) -> None:
    bad = Artifact("ingest_pipeline", f"{PREFIX}bad", {"processors": [{"no_such": {}}]})
    needs_bad = pipeline("needs-bad", depends_on=(bad.key,))
    needs_that = pipeline("needs-that", depends_on=(needs_bad.key,))
    old = pipeline("old")
    target.deploy(old)
    with pytest.raises(DeployIncomplete) as caught:
        target.deploy(bad, needs_bad, needs_that, pipeline("one"), pipeline("two"))
    assert caught.value.exit_code == 4
    results = {one.key.id.removeprefix(PREFIX): one for one in caught.value.result.results}
    assert {name for name, one in results.items() if one.ok} == {"one", "two"}
    assert "No processor type exists with name [no_such]" in results["bad"].error
    assert results["needs-bad"].error == f"needs ingest_pipeline {PREFIX}bad, which failed"
    assert results["needs-that"].skipped
    assert results["old"].error == "kept, because others failed"
    good = pipeline("bad", "9")
    assert sorted(target.actions(good, needs_bad, needs_that, pipeline("one"), pipeline("two"))) == [
        "create",
        "create",
        "create",
        "delete",
        "unchanged",
        "unchanged",
    ]
    target.deploy(good, needs_bad, needs_that, pipeline("one"), pipeline("two"))
    assert target.cluster.request("GET", f"/_ingest/pipeline/{PREFIX}old", ignore=(404,)) is None


@pytest.mark.engine
def test_a_failed_update_leaves_the_record_of_what_is_live(target: Target) -> None:
    target.deploy(pipeline("one"))
    bad = Artifact("ingest_pipeline", f"{PREFIX}one", {"processors": [{"no_such": {}}]})
    with pytest.raises(DeployIncomplete):
        target.deploy(bad)
    assert target.actions(pipeline("one")) == ["unchanged"]
    assert target.actions(bad) == ["update"]


@pytest.mark.engine
def test_a_mapping_that_cannot_change_is_reported(target: Target) -> None:
    def index(kind: str) -> Artifact:
        return Artifact("index", f"{PREFIX}index", {"mappings": {"properties": {"a": {"type": kind}}}})

    target.deploy(index("keyword"))
    with pytest.raises(DeployIncomplete, match="cannot be changed from type"):
        target.deploy(index("long"))


@pytest.mark.engine
def test_dependencies_decide_the_order(target: Target) -> None:
    script = Artifact(
        "stored_script", f"{PREFIX}script", {"script": {"lang": "painless", "source": "ctx.a = 1"}}
    )
    body = {"processors": [{"script": {"id": script.id}}, {"pipeline": {"name": f"{PREFIX}inner"}}]}
    outer = Artifact(
        "ingest_pipeline",
        f"{PREFIX}a-outer",
        body,
        depends_on=(ArtifactKey("ingest_pipeline", f"{PREFIX}inner"),),
    )
    with target.counted() as requests:
        target.deploy(outer, pipeline("inner"), script)
    puts = [
        request.rsplit("/", 1)[1]
        for request in requests
        if request.startswith(("PUT /_ingest", "PUT /_scripts"))
    ]
    assert puts == [f"{PREFIX}script", f"{PREFIX}inner", f"{PREFIX}a-outer"]


@pytest.mark.engine
def test_content_that_cannot_be_deployed_is_refused(target: Target) -> None:
    a = pipeline("a", depends_on=(pipeline("b").key,))
    b = pipeline("b", depends_on=(pipeline("a").key,))
    with pytest.raises(ContentError, match=r"depend on each other: ingest_pipeline swtest-a → .*b → .*a"):
        target.plan(a, b)
    with pytest.raises(ContentError, match=r"has two bodies, from one.yml and one.yml"):
        target.plan(pipeline("one"), pipeline("one", "2"))
    with pytest.raises(ContentError, match="no such kind"):
        target.plan(Artifact("nonsense", "x", {}))
    assert target.actions(pipeline("one"), pipeline("one")) == ["create"]
