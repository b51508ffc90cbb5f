"""Saved plans: applied exactly as they were made, or refused with what is different."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.deploy_targets import PREFIX, Target, pipeline
from deploy.test_deploy_lifecycle import bundle
from sigmawatch.artifact import Artifact
from sigmawatch.deploy import Origin, apply
from sigmawatch.deploy.registry import read_registry
from sigmawatch.deploy.saved import PlanOptions, SavedPlan, load_plan, plan_document, save_plan
from sigmawatch.errors import ClusterError, UsageError


def saved(target: Target, folder: Path, *artifacts: Artifact, **options: Any) -> SavedPlan:
    plan = target.plan(*artifacts, **options)
    document = plan_document(
        plan, cluster_uuid=target.cluster.info.uuid, options=PlanOptions(**options), origin=Origin(by="anna")
    )
    save_plan(folder / "plan.json", document)
    return load_plan(folder / "plan.json")


def test_a_saved_plan_is_applied_exactly_whatever_became_of_the_pack(either: Target, tmp_path: Path) -> None:
    either.deploy(pipeline("one"), pipeline("gone"))
    wanted = [pipeline("one", "2"), *(one for one in bundle() if one.id != f"{PREFIX}one")]
    plan = saved(either, tmp_path, *wanted)
    assert plan.artifacts == tuple(sorted(wanted, key=lambda one: plan.artifacts.index(one)))
    with either.counted() as requests:
        again = plan.planned_again(either.cluster)
    assert [one for one in requests if one.startswith(("PUT", "DELETE /_ingest"))] == []
    assert [change.action for change in again.changes] == [
        change.action for change in either.plan(*wanted).changes
    ]
    assert apply(either.cluster, again, origin=plan.origin).failed == ()
    assert either.actions(*wanted) == ["unchanged"] * 7
    with pytest.raises(ClusterError, match="moved on"):
        plan.planned_again(either.cluster)


def test_only_its_owner_can_read_it(target: Target, tmp_path: Path) -> None:
    saved(target, tmp_path, pipeline("one"))
    assert (tmp_path / "plan.json").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        save_plan(tmp_path / "none" / "plan.json", {})


def edit_by_hand(target: Target, name: str) -> None:
    foreign = {"description": "hand-made", "processors": []}
    target.cluster.request("PUT", f"/_ingest/pipeline/{PREFIX}{name}", foreign)


MOVES: dict[str, tuple[Callable[[Target], object], str]] = {
    "what is to be updated was edited": (
        lambda target: edit_by_hand(target, "changing"),
        "swtest-changing: planned: update, would now be: drifted",
    ),
    "what is to be restored was edited again": (
        lambda target: target.cluster.request(
            "PUT", f"/_ingest/pipeline/{PREFIX}drifted", {"description": "other", "processors": []}
        ),
        "swtest-drifted: was changed in the cluster",
    ),
    "what was to stay as it is was edited": (
        lambda target: edit_by_hand(target, "same"),
        "swtest-same: planned: unchanged, would now be: drifted",
    ),
    "what is to be created was made by somebody": (
        lambda target: edit_by_hand(target, "new"),
        "swtest-new: planned: create, would now be: conflict",
    ),
    "what is to be deleted was edited": (
        lambda target: edit_by_hand(target, "gone"),
        "swtest-gone: was changed in the cluster",
    ),
    "what is to be deleted is gone": (
        lambda target: target.cluster.request("DELETE", f"/_ingest/pipeline/{PREFIX}gone"),
        "swtest-gone: planned: delete, would now be: record",
    ),
    "another deploy added to the pack": (
        lambda target: target.deploy(pipeline("more"), prune=False),
        "swtest-more: was not in the plan, would now be: delete",
    ),
    "another pack was deployed": (
        lambda target: target.deploy(pipeline("more"), pack="other"),
        "another deploy finished since the plan was made",
    ),
}


@pytest.mark.engine
@pytest.mark.parametrize("move", MOVES)
def test_a_cluster_that_moved_on_is_refused_before_anything_is_written(
    target: Target, tmp_path: Path, move: str
) -> None:
    target.deploy(*(pipeline(name) for name in ("changing", "drifted", "same", "gone")))
    edit_by_hand(target, "drifted")
    plan = saved(
        target, tmp_path, pipeline("changing", "2"), pipeline("drifted"), pipeline("same"), pipeline("new")
    )
    make, said = MOVES[move]
    make(target)
    before = read_registry(target.cluster)
    with pytest.raises(ClusterError) as caught:
        plan.planned_again(target.cluster)
    assert said in caught.value.message
    assert read_registry(target.cluster) == before


@pytest.mark.engine
def test_an_edit_while_somebody_is_asked_is_refused_as_well(target: Target) -> None:
    target.deploy(pipeline("one"), pipeline("gone"))
    for name in ("one", "gone"):
        plan = target.plan(pipeline("one", "2"))
        edit_by_hand(target, name)
        with pytest.raises(ClusterError, match=f"changed by somebody else .* {PREFIX}{name}"):
            apply(target.cluster, plan)
        target.deploy(pipeline("one"), pipeline("gone"))
    assert target.actions(pipeline("one"), pipeline("gone")) == ["unchanged"] * 2


@pytest.mark.engine
def test_a_plan_for_another_cluster_is_refused(target: Target, tmp_path: Path) -> None:
    saved(target, tmp_path, pipeline("one"))
    path = tmp_path / "plan.json"
    document = json.loads(path.read_text())
    path.write_text(
        json.dumps({**document, "cluster_uuid": "other", "cluster": "Elasticsearch 9.4.3, cluster x"})
    )
    with pytest.raises(
        ClusterError, match=r"the plan is for Elasticsearch 9.4.3, cluster x, and this is Open"
    ):
        load_plan(path).planned_again(target.cluster)


def test_a_file_that_is_no_plan_or_was_edited_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    body: dict[str, Any] = {"processors": []}
    change = {"kind": "k", "id": "i", "action": "create", "after": body, "sent_hash": "x", "live_hash": ""}
    for text, said in (
        ('{"cut": ', "not JSON"),
        ("[]", "is no saved plan"),
        ("{}", "is no saved plan"),
        ('{"cluster_uuid": "u", "format": 1, "version": "0.0.0"}', "was made by sigmawatch 0.0.0"),
        (json.dumps({"cluster_uuid": "u", "format": 1, "version": version()}), "KeyError"),
        (
            json.dumps({"cluster_uuid": "u", "format": 1, "version": version(), "changes": [change]}),
            "body of k i is not the one that was planned",
        ),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=said):
            load_plan(path)
    with pytest.raises(UsageError, match="cannot be read"):
        load_plan(tmp_path / "none.json")


def version() -> str:
    from sigmawatch import __version__

    return __version__
