"""Releases: recorded with everything needed to go back, gone back to, bounded, and told truthfully."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from child import python
from deploy.deploy_targets import PREFIX, Target, pipeline
from deploy.test_deploy_lifecycle import bundle
from sigmawatch.artifact import Artifact
from sigmawatch.deploy import DeployIncomplete, Origin, Release, ReleaseState, apply, origin_of, removal_plan
from sigmawatch.deploy.registry import read_registry
from sigmawatch.deploy.releases import (
    RELEASES_INDEX,
    list_releases,
    read_release,
    release_before,
    restored,
)
from sigmawatch.deploy.status import Condition, read_status
from sigmawatch.errors import ClusterError, PartlyApplied, UsageError

if TYPE_CHECKING:
    from sigmawatch.deploy import ApplyResult
    from sigmawatch.deploy.outcome import ArtifactResult


def go_back(target: Target, to: int | None = None, pack: str = "p") -> ApplyResult:
    number = release_before(list_releases(target.cluster, pack)).number if to is None else to
    release = read_release(target.cluster, number)
    plan = target.plan(*restored(target.cluster, release), pack=release.pack)
    return apply(target.cluster, plan, restores=release.content)


def value_of(target: Target, name: str) -> str | None:
    path = f"/_ingest/pipeline/{PREFIX}{name}"
    found = target.cluster.request("GET", path, ignore=(404,))
    return found[f"{PREFIX}{name}"]["processors"][0]["set"]["value"] if found else None


def told(target: Target, pack: str | None = None) -> list[tuple[int, str, int | None]]:
    return [(one.number, one.state.value, one.restores) for one in list_releases(target.cluster, pack)]


def test_a_deploy_that_changes_something_is_a_release_that_says_what_and_by_whom(either: Target) -> None:
    origin = Origin("anna@ci", "abc123", modified=True, target="runner", namespace="n", message="CHG-7")
    apply(either.cluster, either.plan(*bundle()), origin=origin)
    assert either.deploy(*bundle()).release is None, "nothing to do is no release"
    assert either.deploy(pipeline("one"), pipeline("two", "2"), prune=False).release == 2
    second, first = list_releases(either.cluster)
    assert (first.number, first.pack, first.state) == (1, "p", ReleaseState.COMPLETE)
    assert first.origin == origin
    assert first.counts == {"create": 7}
    assert second.counts == {"update": 1}
    assert [str(key) for _, key in second.changes] == [f"ingest_pipeline {PREFIX}two"]
    assert {entry.release for entry in read_registry(either.cluster).values()} == {"1", "2"}


def test_going_back_restores_changes_deletions_and_additions_exactly(either: Target) -> None:
    either.deploy(*bundle())
    second = [pipeline("one", "2"), pipeline("three"), *(one for one in bundle() if one.kind == "index")]
    either.deploy(*second)
    assert value_of(either, "two") is None
    result = go_back(either)
    assert result.failed == ()
    # Nothing is left to do for the first bundle: every body of every kind came back as it was.
    assert either.actions(*bundle()) == ["unchanged"] * 7
    assert (value_of(either, "one"), value_of(either, "two"), value_of(either, "three")) == ("1", "1", None)
    assert told(either) == [(3, "complete", 1), (2, "complete", None), (1, "complete", None)]


def test_going_back_twice_goes_back_two_steps_and_forward_again_by_number(target: Target) -> None:
    for value in "123":
        target.deploy(pipeline("one", value))
    go_back(target)
    assert value_of(target, "one") == "2"
    go_back(target)
    assert value_of(target, "one") == "1"
    with pytest.raises(UsageError, match="no complete release from before 5 is kept"):
        go_back(target)
    go_back(target, 3)
    assert value_of(target, "one") == "3"
    assert told(target)[:3] == [(6, "complete", 3), (5, "complete", 1), (4, "complete", 2)]
    # A deploy after a rollback: what was there before it is what the rollback had brought back.
    go_back(target, 1)
    target.deploy(pipeline("one", "8"))
    go_back(target)
    assert value_of(target, "one") == "1"


def test_going_back_undoes_what_somebody_changed_by_hand(target: Target) -> None:
    target.deploy(pipeline("one"))
    target.deploy(pipeline("one", "2"))
    foreign = {"description": "hand-made", "processors": []}
    target.cluster.request("PUT", f"/_ingest/pipeline/{PREFIX}one", foreign)
    target.deploy(pipeline("one", "2"))  # restores it: a release of the same content
    go_back(target)
    assert value_of(target, "one") == "1"


def test_a_failed_deploy_is_an_incomplete_release_and_is_taken_back(target: Target) -> None:
    target.deploy(pipeline("one"))
    bad = Artifact("ingest_pipeline", f"{PREFIX}bad", {"processors": [{"no_such": {}}]})
    with pytest.raises(DeployIncomplete):
        target.deploy(pipeline("one", "2"), bad)
    failed = read_release(target.cluster, 2)
    assert failed.state is ReleaseState.INCOMPLETE
    assert [key.id for key, _ in failed.failures] == [f"{PREFIX}bad"]
    assert "no_such" in failed.failures[0][1]
    go_back(target)
    assert value_of(target, "one") == "1"
    assert target.actions(pipeline("one")) == ["unchanged"]


@pytest.mark.parametrize("after", [1, 9, 20])
def test_an_interrupted_rollback_is_completed_by_the_next(target: Target, after: int) -> None:
    def many(value: str) -> list[Artifact]:
        return [pipeline(f"n{number:02}", value) for number in range(20)]

    for value in "123":
        target.deploy(*many(value))

    def on_progress(result: ArtifactResult, done: int, total: int) -> None:
        if done == after:
            raise KeyboardInterrupt

    release = release_before(list_releases(target.cluster, "p"))
    plan = target.plan(*restored(target.cluster, read_release(target.cluster, release.number)))
    with pytest.raises(KeyboardInterrupt):
        apply(target.cluster, plan, restores=release.content, on_progress=on_progress)
    assert told(target)[0] == (4, "incomplete", 2)
    assert go_back(target).failed == (), "the same again, not one further back"
    assert target.actions(*many("2")) == ["unchanged"] * 20
    assert told(target)[0] == (5, "complete", 2)


KILLED = """
import os, signal, sys
from sigmawatch.cluster import ConnectionSettings, connect
from sigmawatch.deploy import apply, plan
from deploy.deploy_targets import pipeline

cluster = connect(ConnectionSettings(sys.argv[1]))
on_progress = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
apply(cluster, plan(cluster, [pipeline("one", "2")], pack="p"), on_progress=on_progress, lock_seconds=0.1)
"""


def test_a_killed_deploy_is_taken_back_or_completed(target: Target) -> None:
    target.deploy(pipeline("one"))
    command = python(KILLED, target.cluster.url)
    assert subprocess.run(command, capture_output=True, timeout=180).returncode == -9
    assert told(target)[0] == (2, "begun", None)
    status = read_status(target.cluster, pack="p")
    assert [one.condition for one in status.packs[0].findings] == [Condition.UNFINISHED]
    target.cluster.request("DELETE", "/sigmawatch-registry/_doc/lock", params={"refresh": "true"})
    go_back(target)
    assert value_of(target, "one") == "1"
    assert told(target)[:2] == [(3, "complete", 1), (2, "incomplete", None)]


def test_a_release_that_could_not_be_closed_is_told_and_made_good(target: Target) -> None:
    target.deploy(pipeline("one"))

    def block(on: bool) -> None:
        settings = {"index.blocks.read_only_allow_delete": True if on else None}
        target.cluster.request("PUT", f"/{RELEASES_INDEX}/_settings", settings)

    plan = target.plan(pipeline("one", "2"))
    try:
        with pytest.raises(PartlyApplied, match="release 2 could not be marked as complete"):
            apply(target.cluster, plan, on_progress=lambda *_: block(True))
    finally:
        block(False)
    again = target.plan(pipeline("one", "2"))
    assert not again.has_changes
    assert again.has_work
    apply(target.cluster, again)
    assert told(target)[:2] == [(3, "complete", None), (2, "incomplete", None)]
    go_back(target)
    assert value_of(target, "one") == "1"


def test_nothing_is_written_when_a_release_cannot_be_recorded(target: Target) -> None:
    target.deploy(pipeline("one"))
    settings = {"index.blocks.write": True}
    target.cluster.request("PUT", f"/{RELEASES_INDEX}/_settings", settings)
    try:
        with pytest.raises(ClusterError, match="the release cannot be recorded"):
            target.deploy(pipeline("one", "2"))
    finally:
        target.cluster.request("PUT", f"/{RELEASES_INDEX}/_settings", {"index.blocks.write": None})
    assert value_of(target, "one") == "1"
    target.deploy(pipeline("one", "2"))


def test_what_is_not_pruned_is_part_of_the_release(target: Target) -> None:
    target.deploy(pipeline("one"), pipeline("two"))
    target.deploy(pipeline("one", "2"), prune=False)
    target.deploy(pipeline("one", "3"), prune=True)
    assert value_of(target, "two") is None
    go_back(target)
    assert (value_of(target, "one"), value_of(target, "two")) == ("2", "1")


def test_releases_of_several_packs_are_counted_together_and_go_back_apart(target: Target) -> None:
    common = pipeline("common", shared=True)
    target.deploy(pipeline("one"), common, pack="first")
    target.deploy(pipeline("two"), common, pack="second")
    target.deploy(pipeline("one", "2"), common, pack="first")
    assert [(one.number, one.pack) for one in list_releases(target.cluster)] == [
        (3, "first"),
        (2, "second"),
        (1, "first"),
    ]
    go_back(target, pack="first")
    assert (value_of(target, "one"), value_of(target, "two")) == ("1", "1")
    with pytest.raises(UsageError, match="the first of second, so there is none to go back to"):
        release_before(list_releases(target.cluster, "second"))


def test_only_the_newest_releases_are_kept_and_no_body_of_the_others(target: Target) -> None:
    def documents(name: str) -> int:
        query = {"query": {"term": {"document": name}}}
        found: int = target.cluster.request("POST", f"/{RELEASES_INDEX}/_count", query)["count"]
        return found

    target.deploy(pipeline("theirs"), pack="other")
    for number in range(6):
        changing = pipeline("one", str(number))
        apply(target.cluster, target.plan(changing, pipeline("constant")), kept_releases=3)
    assert [one.number for one in list_releases(target.cluster, "p")] == [7, 6, 5]
    assert documents("release") == 4
    assert documents("body") == 1 + 3 + 1, "three of the changing, the constant one, the other pack's"
    for _ in range(2):
        go_back(target)
    assert value_of(target, "one") == "3"
    with pytest.raises(UsageError, match="there is no release 3"):
        read_release(target.cluster, 3)


def test_unfinished_releases_do_not_push_out_those_to_go_back_to(target: Target) -> None:
    target.deploy(pipeline("one"))
    bad = Artifact("ingest_pipeline", f"{PREFIX}bad", {"processors": [{"no_such": {}}]})
    for _ in range(5):
        with pytest.raises(DeployIncomplete):
            apply(target.cluster, target.plan(pipeline("one"), bad), kept_releases=2)
    assert [number for number, _, _ in told(target)] == [6, 5, 1]


def test_a_body_that_was_lost_is_told_and_nothing_is_deleted_for_it(target: Target) -> None:
    target.deploy(pipeline("one"), pipeline("two"))
    target.deploy(pipeline("one", "2"), pipeline("two", "2"))
    first = read_release(target.cluster, 1)
    params = {"refresh": "true"}
    target.cluster.request("DELETE", f"/{RELEASES_INDEX}/_doc/body-{first.artifacts[1].hash}", params=params)
    damaged = {"document": "body", "body": '{"processors": []}'}
    path = f"/{RELEASES_INDEX}/_doc/body-{first.artifacts[0].hash}"
    target.cluster.request("PUT", path, damaged, params=params)
    with pytest.raises(ClusterError, match=r"release 1 cannot be restored: 2 of its 2 bodies are missing"):
        go_back(target)


def test_a_lost_index_of_releases_costs_the_past_and_nothing_else(target: Target) -> None:
    target.deploy(pipeline("one"))
    target.cluster.request("DELETE", f"/{RELEASES_INDEX}")
    plan = target.plan(pipeline("one"))
    assert not plan.has_changes
    apply(target.cluster, plan)
    assert told(target) == [(1, "complete", None)]
    target.deploy(pipeline("one", "2"))
    go_back(target)
    assert value_of(target, "one") == "1"


def test_bodies_come_back_to_the_byte(target: Target) -> None:
    odd = {"": 1.0, "a.b": [1, 2.5, None, True], "z": {"a": 'é\n"{{x}}" \U0001f600'}, "a": 2**53}
    artifact = Artifact("detection", f"{PREFIX}odd", odd)
    target.deploy(artifact)
    (back,) = restored(target.cluster, read_release(target.cluster, 1))
    assert back.body == odd
    assert list(back.body) == list(odd)
    assert isinstance(back.body[""], float)


def release(number: int, state: str = "complete", digest: str = "", restores: int | None = None) -> Release:
    return Release(number, "p", "", ReleaseState(state), digest or str(number), restores=restores)


@pytest.mark.parametrize(
    ("releases", "expected"),
    [
        ([release(2), release(1)], 1),
        ([release(3, digest="1"), release(2, digest="1"), release(1, digest="0")], 1),
        ([release(3, digest="1", restores=1), release(2), release(1)], None),
        ([release(4, digest="2", restores=2), release(3), release(2), release(1)], 1),
        # Deployed on top of a rollback: back to what the rollback had brought, not to what it had undone.
        ([release(5), release(4, digest="2", restores=2), release(3), release(2), release(1)], 4),
        ([release(3, "incomplete"), release(2), release(1)], 2),
        ([release(3, "begun"), release(2), release(1)], 2),
        ([release(4, "incomplete", "1", 1), release(3), release(2), release(1)], 1),
        ([release(5, "incomplete"), release(4, digest="1", restores=1), release(3), release(1)], 4),
        ([release(1)], None),
        ([], None),
    ],
)  # fmt: skip
def test_what_a_rollback_goes_back_to(releases: list[Release], expected: int | None) -> None:
    if expected is None:
        with pytest.raises(UsageError):
            release_before(releases)
    else:
        assert release_before(releases).number == expected


def test_a_first_release_has_none_to_go_back_to_and_says_what_takes_it_out() -> None:
    with pytest.raises(UsageError, match="release 1 is the first of p") as caught:
        release_before([release(1)])
    assert "sigmawatch destroy --pack p" in caught.value.hint


# Taking a pack out ----------------------------------------------------------------------------------------


def test_destroying_removes_what_is_ours_and_nothing_else_and_can_be_taken_back(either: Target) -> None:
    foreign = {"description": "theirs", "processors": []}
    either.cluster.request("PUT", f"/_ingest/pipeline/{PREFIX}theirs", foreign)
    seeds = [pipeline("custom", seed=True), pipeline("untouched", seed=True)]
    either.deploy(*bundle(), *seeds)
    either.cluster.request("PUT", f"/_ingest/pipeline/{PREFIX}custom", foreign)
    either.deploy(pipeline("other"), pack="other")
    plan = removal_plan(either.cluster, pack="p")
    kept = {str(change.key): change.reason for change in plan.changes if not change.is_change}
    assert kept == {
        f"index {PREFIX}index": "the pack goes; its data is kept",
        f"ingest_pipeline {PREFIX}custom": "the pack goes; the user owns it",
    }
    assert apply(either.cluster, plan).failed == ()
    pipelines = either.cluster.request("GET", f"/_ingest/pipeline/{PREFIX}*")
    assert set(pipelines) == {f"{PREFIX}theirs", f"{PREFIX}other", f"{PREFIX}custom"}
    assert either.cluster.request("HEAD", f"/{PREFIX}index")
    assert list_releases(either.cluster, "p")[0].removal
    assert not removal_plan(either.cluster, pack="p").has_changes
    go_back(either)
    assert set(either.actions(*bundle(), *seeds)) == {"unchanged"}
    assert (
        either.cluster.request("GET", f"/_ingest/pipeline/{PREFIX}custom")[f"{PREFIX}custom"]["processors"]
        == []
    )


def test_data_goes_only_when_asked_for_and_never_what_was_there_before(either: Target) -> None:
    found = Artifact("index", f"{PREFIX}found", {})
    ours = next(one for one in bundle() if one.kind == "index")
    either.cluster.request("PUT", f"/{found.id}")
    try:
        either.deploy(found, ours)
        plan = removal_plan(either.cluster, pack="p", data=True)
        assert {change.key.id: change.action.value for change in plan.changes} == {
            found.id: "unchanged",
            ours.id: "delete",
        }
        apply(either.cluster, plan)
        assert either.cluster.request("HEAD", f"/{found.id}")
        assert not either.cluster.request("HEAD", f"/{ours.id}")
    finally:
        either.cluster.request("DELETE", f"/{found.id}")


def test_what_all_packs_share_goes_with_the_last_of_them(target: Target) -> None:
    common = pipeline("common", shared=True)
    target.deploy(common, pipeline("one"), pack="first")
    target.deploy(common, pipeline("two"), pack="second")
    plan = removal_plan(target.cluster, pack="first")
    assert [change.key.id for change in plan.changes] == [f"{PREFIX}one"]
    assert plan.notes == ("what all packs share stays for second",)
    apply(target.cluster, plan)
    plan = removal_plan(target.cluster, pack="second")
    assert [change.key.id for change in plan.changes] == [f"{PREFIX}common", f"{PREFIX}two"]
    apply(target.cluster, plan)
    assert read_registry(target.cluster) == {}
    assert removal_plan(target.cluster, pack="nobody").changes == ()


def stream_bundle() -> list[Artifact]:
    """A data stream and all that it needs: template, its component, a pipeline that calls another."""
    inner = pipeline("inner")
    body = {"processors": [{"foreach": {"field": "x", "processor": {"pipeline": {"name": inner.id}}}}]}
    outer = Artifact("ingest_pipeline", f"{PREFIX}outer", body, depends_on=(inner.key,))
    settings = {"index.default_pipeline": outer.id}
    component = Artifact("component_template", f"{PREFIX}component", {"template": {"settings": settings}})
    template = Artifact(
        "index_template",
        f"{PREFIX}template",
        {
            "index_patterns": [f"{PREFIX}logs-*"],
            "data_stream": {},
            "priority": 900,
            "composed_of": [component.id],
        },
        depends_on=(component.key,),
    )
    stream = Artifact("data_stream", f"{PREFIX}logs-a", {}, depends_on=(template.key, outer.key))
    return [stream, template, component, outer, inner, pipeline("free")]


@pytest.mark.engine
def test_what_kept_data_needs_is_kept_with_it(target: Target) -> None:
    target.deploy(*stream_bundle())
    plan = removal_plan(target.cluster, pack="p")
    assert [change.key.id for change in plan.changes if change.is_change] == [f"{PREFIX}free"]
    reasons = {change.key.id.removeprefix(PREFIX): change.reason for change in plan.changes}
    assert reasons["template"] == f"kept: the data stream {PREFIX}logs-a uses it"
    assert reasons["component"] == f"kept: the index template {PREFIX}template is composed of it"
    assert reasons["outer"].startswith(f"kept: the index .ds-{PREFIX}logs-a")
    assert reasons["inner"] == f"kept: the pipeline {PREFIX}outer calls it"
    assert apply(target.cluster, plan).failed == ()
    document = {"@timestamp": "2026-03-01T10:00:00Z", "x": [1]}
    target.cluster.request("POST", f"/{PREFIX}logs-a/_doc", document)
    # A dataset that left the pack is the same case, and no failure in every deploy from then on.
    assert not target.plan(pipeline("new"), prune=True).refusals
    assert target.deploy(pipeline("new")).failed == ()


@pytest.mark.engine
def test_with_the_data_everything_goes(target: Target) -> None:
    target.deploy(*stream_bundle())
    plan = removal_plan(target.cluster, pack="p", data=True)
    assert {change.action.value for change in plan.changes} == {"delete"}
    assert apply(target.cluster, plan).failed == ()
    assert read_registry(target.cluster) == {}
    assert not target.cluster.request("HEAD", f"/{PREFIX}logs-a")


# Status ---------------------------------------------------------------------------------------------------


def test_status_tells_what_somebody_changed_or_removed_without_the_pack(either: Target) -> None:
    assert read_status(either.cluster).packs == ()
    either.deploy(*bundle(), pipeline("common", shared=True), pipeline("custom", seed=True))
    status = read_status(either.cluster)
    assert status.in_place
    assert [one.pack for one in status.packs] == ["p", "sigmawatch"]
    assert status.packs[0].kinds["ingest_pipeline"] == 3
    foreign = {"description": "hand-made", "processors": []}
    for name in ("one", "custom"):
        either.cluster.request("PUT", f"/_ingest/pipeline/{PREFIX}{name}", foreign)
    either.cluster.request("DELETE", f"/_ingest/pipeline/{PREFIX}two")
    either.cluster.request("PUT", f"/{PREFIX}index/_mapping", {"properties": {"new": {"type": "ip"}}})
    found = {one.key.id: one.condition for one in read_status(either.cluster).packs[0].findings}
    assert found == {f"{PREFIX}one": Condition.CHANGED, f"{PREFIX}two": Condition.MISSING}
    assert not read_status(either.cluster).in_place


# Where a release comes from -------------------------------------------------------------------------------


def test_the_origin_names_the_git_revision_and_what_was_not_committed(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=Anna", "-c", "user.email=anna@example.com"]
        done = subprocess.run(["git", "-C", tmp_path, *who, *arguments], capture_output=True, check=True)
        return done.stdout.decode().strip()

    pack = tmp_path / "pack"
    pack.mkdir()
    assert origin_of(pack, {}).revision == ""
    git("init", "-q")
    assert origin_of(pack, {}).revision == "", "no commit yet"
    (pack / "rule.yml").write_text("a")
    git("add", "-A")
    git("commit", "-qm", "first")
    assert origin_of(pack, {}).revision == git("rev-parse", "HEAD")
    assert not origin_of(pack, {}).modified
    (tmp_path / "elsewhere.txt").write_text("not of the pack")
    assert not origin_of(pack, {}).modified
    (pack / "rule.yml").write_text("b")
    assert origin_of(pack, {}).modified
    assert origin_of(pack, {"GITHUB_ACTOR": "anna"}).by.startswith("anna (")
    assert origin_of(tmp_path / "none", {}).revision == ""
