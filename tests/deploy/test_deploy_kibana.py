"""Kinds of Kibana against `KibanaStandIn`; the registry is kept by `WatcherStandIn`, which has the document API."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deploy.deploy_targets import Target
from deploy.kibana_stand_in import KibanaStandIn
from deploy.watcher_stand_in import WatcherStandIn
from sigmawatch.artifact import Artifact
from sigmawatch.cluster import Cluster, ConnectionSettings, connect
from sigmawatch.compile.plan import DetectionPlan, RuleInfo
from sigmawatch.deploy import DeployIncomplete, apply, removal_plan
from sigmawatch.deploy import plan as make_plan
from sigmawatch.deploy.origin import Origin
from sigmawatch.deploy.releases import read_release, restored
from sigmawatch.deploy.saved import PlanOptions, load_plan, plan_document, save_plan
from sigmawatch.deploy.spaces import placed
from sigmawatch.deploy.status import read_status
from sigmawatch.errors import ClusterError, TargetUnavailable
from sigmawatch.render.kibana import RuleAction, kibana_artifact
from sigmawatch.render.target import Target as Executor

RULE = {
    "name": "Root login",
    "description": "Somebody logs in as root",
    "type": "query",
    "language": "kuery",
    "query": "",
    "filters": [{"meta": {"type": "custom"}, "query": {"term": {"user.name": "root"}}}],
    "index": ["logs-auth.sshd-*"],
    "interval": "5m",
    "from": "now-7m",
    "severity": "high",
    "risk_score": 73,
    "tags": ["attack.t1078"],
    "enabled": True,
}


def rule(name: str = "r1", **more: Any) -> Artifact:
    return Artifact("kibana_rule", name, {**RULE, **more})


def data_view(name: str = "logs", title: str = "logs-*") -> Artifact:
    return Artifact("data_view", name, {"attributes": {"title": title, "timeFieldName": "@timestamp"}})


def dashboard(name: str = "overview", title: str = "Overview", shows: str = "logs") -> Artifact:
    attributes = {
        "title": title,
        "panelsJSON": [],
        "optionsJSON": {"useMargins": True},
        "kibanaSavedObjectMeta": {
            "searchSourceJSON": {"query": {"query": "", "language": "kuery"}, "filter": []}
        },
    }
    references = [{"type": "index-pattern", "id": shows, "name": "a:indexpattern-datasource-layer-b"}]
    return Artifact("dashboard", name, {"attributes": attributes, "references": references})


def search(name: str = "root", shows: str = "logs") -> Artifact:
    meta = {"searchSourceJSON": {"indexRefName": "kibanaSavedObjectMeta.searchSourceJSON.index"}}
    attributes = {"title": "Root", "columns": ["user.name"], "sort": [], "kibanaSavedObjectMeta": meta}
    name_ = "kibanaSavedObjectMeta.searchSourceJSON.index"
    references = [{"type": "index-pattern", "id": shows, "name": name_}]
    return Artifact("saved_search", name, {"attributes": attributes, "references": references})


@dataclass
class Site:
    """A cluster with its Kibana."""

    registry: WatcherStandIn
    kibana: KibanaStandIn
    space: str = "default"
    pack: str = "p"
    _clusters: list[Cluster] = field(default_factory=list)

    @property
    def target(self) -> Target:
        settings = ConnectionSettings(self.registry.url).with_kibana(self.kibana.url, self.space)
        cluster = connect(settings, sleep=lambda seconds: None)
        self._clusters.append(cluster)
        return Target(cluster)

    def placed(self, *artifacts: Artifact) -> list[Artifact]:
        return placed(artifacts, space=self.space, pack=self.pack)

    def deploy(self, *artifacts: Artifact, **options: Any) -> None:
        self.target.deploy(*self.placed(*artifacts), pack=self.pack, **options)

    def actions(self, *artifacts: Artifact, **options: Any) -> list[str]:
        return self.target.actions(*self.placed(*artifacts), pack=self.pack, **options)

    def destroy(self) -> None:
        cluster = self.target.cluster
        apply(cluster, removal_plan(cluster, pack=self.pack))

    def close(self) -> None:
        for one in self._clusters:
            one.close()


@pytest.fixture
def site() -> Iterator[Site]:
    with WatcherStandIn() as registry, KibanaStandIn() as kibana:
        made = Site(registry, kibana)
        yield made
        made.close()


# Saved objects --------------------------------------------------------------------------------------------


def test_saved_objects_are_created_updated_restored_and_deleted(site: Site) -> None:
    everything = (data_view(), search(), dashboard())
    assert site.actions(*everything) == ["create"] * 4, "with the tag of the pack"
    site.deploy(*everything)
    assert site.actions(*everything) == ["unchanged"] * 4, "what Kibana adds is no change"
    before = len(site.kibana.writes)
    site.deploy(*everything)
    assert len(site.kibana.writes) == before

    assert sorted(site.actions(data_view(), search(), dashboard(title="New"))) == ["unchanged"] * 3 + [
        "update"
    ]
    site.deploy(data_view(), search(), dashboard(title="New"))
    stored = site.kibana.objects["dashboard", "overview"]["attributes"]
    assert stored["title"] == "New"
    assert json.loads(stored["optionsJSON"]) == {"useMargins": True}

    stored["title"] = "Theirs"
    assert "drifted" in site.actions(data_view(), search(), dashboard(title="New"))
    site.destroy()
    assert site.kibana.objects == {}


def test_objects_are_owned_by_a_tag_that_analysts_see(site: Site) -> None:
    site.deploy(data_view(), dashboard())
    (tag,) = [one for one in site.kibana.objects.values() if one["type"] == "tag"]
    assert tag["attributes"]["name"] == "sigmawatch: p"
    tagged = [
        one["type"]
        for one in site.kibana.objects.values()
        if {"type": "tag", "id": tag["id"], "name": f"tag-ref-{tag['id']}"} in one["references"]
    ]
    assert sorted(tagged) == ["dashboard", "index-pattern"]
    site.registry.indices.clear()  # the registry is lost: the tag still says whose they are
    assert "conflict" not in site.actions(data_view(), dashboard())
    site.pack = "other"
    assert "conflict" in site.actions(data_view(), dashboard())


def test_an_object_of_somebody_else_is_not_overwritten(site: Site) -> None:
    site.deploy(data_view())
    site.kibana.objects["index-pattern", "logs"]["references"] = []
    site.registry.indices.clear()
    assert site.actions(data_view(title="logs-x-*")) == ["record", "conflict"]
    assert site.actions(data_view(title="logs-x-*"), adopt=True) == ["record", "adopt"]


def test_an_import_that_fails_with_200_is_a_failure_and_the_others_are_imported(site: Site) -> None:
    with pytest.raises(DeployIncomplete) as caught:
        site.deploy(data_view(), dashboard(), dashboard("broken", shows="nothing"))
    text = str(caught.value)
    assert "1 of 4 artifacts failed" in text
    assert "does not have what it refers to: index-pattern nothing" in text
    assert ("dashboard", "overview") in site.kibana.objects
    assert ("dashboard", "broken") not in site.kibana.objects


def test_what_kibana_does_not_know_is_told_in_its_words(site: Site) -> None:
    odd = Artifact("data_view", "odd", {"attributes": {"title": "x", "surprise": 1}})
    with pytest.raises(
        DeployIncomplete, match=r"\[attributes.surprise\]: definition for this key is missing"
    ):
        site.deploy(odd)


def test_each_space_has_its_own_objects_and_leaves_the_other_alone(site: Site) -> None:
    everything = (data_view(), dashboard(), rule())
    site.deploy(*everything)
    site.space = "soc"
    plan = site.target.plan(*site.placed(*everything), pack="p")
    assert plan.notes == ("4 artifacts in other spaces of Kibana are left alone",)
    assert [change.action.value for change in plan.changes] == ["create"] * 4
    site.deploy(*everything)
    shown = site.kibana.objects["dashboard", "soc-overview"]
    assert [one["id"] for one in shown["references"] if one["type"] == "index-pattern"] == ["soc-logs"]
    assert shown["namespaces"] == ["soc"]
    assert {where for where, _ in site.kibana.rules} == {"default", "soc"}
    site.deploy(data_view())  # what leaves the pack leaves this space only
    assert ("dashboard", "overview") in site.kibana.objects
    assert ("dashboard", "soc-overview") not in site.kibana.objects


def test_a_rollback_in_one_space_leaves_the_other_as_it_is(site: Site) -> None:
    def deploy(space: str, severity: str) -> None:
        site.space = space
        site.deploy(rule(severity=severity))

    deploy("default", "low")
    deploy("soc", "low")
    deploy("default", "high")
    deploy("soc", "high")
    cluster = site.target.cluster  # of the space soc
    release = read_release(cluster, 2)
    plan_back = make_plan(cluster, restored(cluster, release), pack="p")
    assert apply(cluster, plan_back).failed == ()
    assert site.kibana.rule("r1", "soc")["severity"] == "low"
    assert site.kibana.rule("r1", "default")["severity"] == "high"
    site.space = "default"
    assert site.actions(rule(severity="high")) == ["unchanged"]


def test_references_within_panels_follow_into_the_space() -> None:
    lens = {"references": [{"type": "index-pattern", "id": "logs", "name": "layer"}]}
    panels = [{"type": "lens", "embeddableConfig": {"attributes": lens}}]
    for written in (panels, json.dumps(panels)):
        one = dashboard()
        body = {**one.body, "attributes": {**one.body["attributes"], "panelsJSON": written}}
        made = placed([data_view(), Artifact("dashboard", "d", body)], space="soc", pack="p")[-1]
        found = made.body["attributes"]["panelsJSON"]
        found = json.loads(found) if isinstance(found, str) else found
        (reference,) = found[0]["embeddableConfig"]["attributes"]["references"]
        assert reference["id"] == "soc-logs"
        assert ("data_view", "soc/soc-logs") in made.depends_on


def test_an_id_that_another_space_has_is_no_success(site: Site) -> None:
    site.deploy(data_view("soc-logs"))
    site.space = "soc"
    with pytest.raises(
        DeployIncomplete, match=r"another space of Kibana 9.1.0 at .* has a index-pattern soc-logs"
    ):
        site.deploy(data_view())
    assert len([key for key in site.kibana.objects if key[0] == "index-pattern"]) == 1, (
        "no copy is left behind"
    )


def test_a_data_view_that_others_show_is_kept(site: Site) -> None:
    site.deploy(data_view(), rule())
    theirs = {
        **dashboard("theirs", "Theirs").body,
        "type": "dashboard",
        "id": "theirs",
        "namespaces": ["default"],
    }
    site.kibana.objects["dashboard", "theirs"] = theirs
    plan = site.target.plan(*site.placed(rule()), pack="p")
    (kept,) = [change for change in plan.changes if change.key.kind == "data_view"]
    assert (kept.action.value, kept.reason) == ("unchanged", "kept: the dashboard 'Theirs' shows it")


# Detection rules ------------------------------------------------------------------------------------------


def test_a_rule_is_created_updated_restored_and_deleted(site: Site) -> None:
    site.deploy(rule())
    assert site.actions(rule()) == ["unchanged"], "what Kibana adds is no change"
    made = site.kibana.rule("r1")
    assert made["tags"] == ["attack.t1078", "managed-by:sigmawatch", "sigmawatch-pack:p"]
    assert made["meta"]["sigmawatch"]["pack"] == "p"
    plan = site.target.plan(*site.placed(rule(severity="low")), pack="p")
    (change,) = plan.changes
    assert change.action.value == "update"
    assert change.diff.count("\n-") + change.diff.count("\n+") == 2, change.diff
    site.deploy(rule(severity="low"))
    assert site.kibana.rule("r1")["id"] == made["id"], (
        "the rule stays the same: its alerts and history hang on that"
    )
    site.kibana.rule("r1")["severity"] = "critical"
    assert site.actions(rule(severity="low")) == ["drifted"]
    site.destroy()
    assert site.kibana.rules == {}


EXCEPTIONS = [{"id": "e", "list_id": "l", "type": "rule_default", "namespace_type": "single"}]
ACTION = {
    "id": "slack",
    "group": "default",
    "action_type_id": ".slack",
    "params": {"message": "Look"},
    "uuid": "u",
}

THEIRS: dict[str, dict[str, Any]] = {
    "switched off": {"enabled": False},
    "exceptions": {"exceptions_list": EXCEPTIONS},
    "actions": {"actions": [ACTION]},
    "response actions": {"response_actions": [{"action_type_id": ".osquery", "params": {"query": "x"}}]},
    "a note": {"note": "Ask the host's owner first"},
    "fields to look at": {"investigation_fields": {"field_names": ["user.name"]}},
    "a setup guide": {"setup": "Switch on auditing"},
    "a suppression": {"alert_suppression": {"group_by": ["host.name"], "duration": {"value": 1, "unit": "h"}}},
    "a timeline": {"timeline_id": "t", "timeline_title": "T"},
    "weights by a field": {"severity_mapping": [{"field": "a", "operator": "equals", "value": "b", "severity": "low"}]},
    "of a later version": {"namespace": "soc"},
}  # fmt: skip
"""What analysts set on rules, each by itself."""


@pytest.mark.parametrize("what", THEIRS)
def test_what_analysts_set_survives_updates_and_rollbacks_and_is_no_drift(site: Site, what: str) -> None:
    theirs = THEIRS[what]
    site.deploy(rule())
    site.kibana.rule("r1").update(theirs)
    site.kibana.rule("r1")["meta"] = {"from": "7m", "kibana_siem_app_url": "https://k/app/security"}
    assert site.actions(rule()) == ["unchanged"]
    assert read_status(site.target.cluster).in_place

    site.deploy(rule(severity="low"))
    found = site.kibana.rule("r1")
    assert found["severity"] == "low"
    assert {name: found[name] for name in theirs} == theirs
    assert found["meta"]["from"] == "7m"

    cluster = site.target.cluster
    apply(cluster, make_plan(cluster, restored(cluster, read_release(cluster, 1)), pack="p"), restores=1)
    found = site.kibana.rule("r1")
    assert found["severity"] == "high"
    assert {name: found[name] for name in theirs} == theirs
    assert site.actions(rule()) == ["unchanged"]


def test_a_snooze_survives_because_the_rule_is_never_made_anew(site: Site) -> None:
    site.deploy(rule())
    snooze = {"mute_all": True, "snooze_schedule": [{"duration": 86_400_000}]}
    site.kibana.snoozed[site.kibana.rule("r1")["id"]] = snooze
    site.kibana.rule("r1")["actions"] = [ACTION]
    site.deploy(rule(severity="low"))
    site.deploy(rule("r2"))  # r1 leaves the pack
    site.deploy(rule(), rule("r2"))
    assert site.kibana.snoozed == {site.kibana.rule("r1")["id"]: snooze}


def test_a_note_is_the_packs_until_analysts_change_it(site: Site) -> None:
    site.deploy(rule(note="Call the owner"))
    plan = site.target.plan(*site.placed(rule(note="Call the owner at once")), pack="p")
    assert '+  "note": "Call the owner at once"' in plan.changes[0].diff
    site.deploy(rule(note="Call the owner at once"))
    assert site.kibana.rule("r1")["note"] == "Call the owner at once"

    site.kibana.rule("r1")["note"] = "Call Bob"
    assert site.actions(rule(note="Call the owner at once")) == ["unchanged"]
    (change,) = site.target.plan(*site.placed(rule(note="Nobody", severity="low")), pack="p").changes
    assert (change.action.value, change.reason) == ("update", "left as it was changed outside: note")
    assert "note" not in change.diff
    site.deploy(rule(note="Nobody", severity="low"))
    assert site.kibana.rule("r1")["note"] == "Call Bob"
    assert site.actions(rule(note="Nobody", severity="low")) == ["unchanged"]

    del site.kibana.rule("r1")["note"]  # they want none
    site.deploy(rule(note="Nobody", severity="high"))
    assert "note" not in site.kibana.rule("r1")


def test_a_note_that_the_pack_drops_goes_unless_analysts_changed_it(site: Site) -> None:
    site.deploy(rule(note="Old"), rule("r2", note="Old"))
    site.kibana.rule("r2")["note"] = "Mine"
    assert site.actions(rule(), rule("r2")) == ["update", "update"]
    site.deploy(rule(), rule("r2"))
    assert "note" not in site.kibana.rule("r1")
    assert site.kibana.rule("r2")["note"] == "Mine"


def test_tags_lists_and_actions_of_both_stand_side_by_side(site: Site) -> None:
    ours = {"id": "soar", "group": "default", "action_type_id": ".webhook", "params": {"body": "{}"}}
    shared = {"id": "s", "list_id": "shared", "type": "detection", "namespace_type": "agnostic"}
    site.deploy(rule(actions=[ours], exceptions_list=[shared]))
    live = site.kibana.rule("r1")
    live["tags"].append("reviewed")
    live["actions"].append(ACTION)
    live["exceptions_list"] += EXCEPTIONS
    same = rule(actions=[ours], exceptions_list=[shared])
    assert site.actions(same) == ["unchanged"]

    site.deploy(rule(tags=["attack.t1110"]))  # ours go, theirs stay
    live = site.kibana.rule("r1")
    assert live["tags"] == ["attack.t1110", "managed-by:sigmawatch", "sigmawatch-pack:p", "reviewed"]
    assert live["actions"] == [ACTION]
    assert live["exceptions_list"] == EXCEPTIONS
    assert site.actions(rule(tags=["attack.t1110"])) == ["unchanged"]

    site.deploy(same)
    assert [one["id"] for one in site.kibana.rule("r1")["actions"]] == ["soar", "slack"]
    site.kibana.rule("r1")["actions"] = [ACTION]  # somebody took ours away: that is drift
    (change,) = site.target.plan(*site.placed(same), pack="p").changes
    assert change.action.value == "drifted"
    assert '"id": "soar"' in change.diff
    assert "slack" not in change.diff


def test_whom_the_site_tells_stands_beside_whom_analysts_tell_and_keeps_its_id(site: Site) -> None:
    plan = DetectionPlan(RuleInfo("r1", "Root login", level="high"), ("logs-*",), {"term": {"a": "b"}}, 300)

    def telling(message: str) -> Artifact:
        return kibana_artifact(plan, [RuleAction("soc", ".slack", params={"message": message})])

    site.deploy(telling("Look"))
    (made,) = site.kibana.rule("r1")["actions"]
    site.kibana.rule("r1")["actions"].append(ACTION)
    assert site.actions(telling("Look")) == ["unchanged"]
    site.deploy(telling("Look now"))
    ours, theirs = site.kibana.rule("r1")["actions"]
    assert (ours["uuid"], ours["params"], theirs) == (made["uuid"], {"message": "Look now"}, ACTION)
    ours["params"] = {"message": "Theirs"}
    (change,) = site.target.plan(*site.placed(telling("Look now")), pack="p").changes
    assert change.action.value == "drifted"
    assert '+        "message": "Look now"' in change.diff
    site.deploy(kibana_artifact(plan))
    assert site.kibana.rule("r1")["actions"] == [ACTION]


def test_what_decides_about_what_is_found_is_ours(site: Site) -> None:
    site.deploy(rule())
    site.kibana.rule("r1").update(data_view_id="dv", index=[])
    (change,) = site.target.plan(*site.placed(rule()), pack="p").changes
    assert change.action.value == "drifted"
    assert '-  "data_view_id": "dv"' in change.diff
    site.deploy(rule())
    assert "data_view_id" not in site.kibana.rule("r1")


def test_a_rule_with_work_of_analysts_is_switched_off_when_it_leaves_and_on_when_it_returns(
    site: Site,
) -> None:
    site.deploy(rule(note="Ours"), rule("untouched"))
    site.kibana.rule("r1").update(exceptions_list=EXCEPTIONS, actions=[ACTION])
    made = site.kibana.rule("r1")["id"]
    others = rule("other")

    changes = {change.key.id: change for change in site.target.plan(*site.placed(others), pack="p").changes}
    assert changes["default/untouched"].action.value == "delete"
    leaving = changes["default/r1"]
    assert leaving.action.value == "update"
    assert leaving.reason == (
        "no longer in the pack; switched off, and kept for what analysts set: exceptions, actions"
    )
    assert '+  "enabled": false' in leaving.diff
    site.deploy(others)
    kept = site.kibana.rule("r1")
    assert (kept["id"], kept["enabled"], kept["note"]) == (made, False, "Ours")
    assert "sigmawatch-retired" in kept["tags"]
    assert kept["exceptions_list"] == EXCEPTIONS
    again = {one.key.id: one for one in site.target.plan(*site.placed(others), pack="p").changes}
    assert again["default/r1"].action.value == "unchanged"
    assert not site.target.plan(*site.placed(others), pack="p").has_work
    assert read_status(site.target.cluster).in_place

    returning = site.target.plan(*site.placed(others, rule(note="Ours")), pack="p").changes
    assert ['+  "enabled": true' in change.diff for change in returning] == [False, True]
    site.deploy(others, rule(note="Ours"))
    back = site.kibana.rule("r1")
    assert (back["id"], back["enabled"], back["actions"]) == (made, True, [ACTION])
    assert "sigmawatch-retired" not in back["tags"]

    site.deploy(others)
    site.kibana.rule("r1").update(exceptions_list=[], actions=[])  # nothing of theirs is left
    assert sorted(site.actions(others)) == ["delete", "unchanged"]


def test_a_rule_that_analysts_switched_off_stays_off_when_it_leaves_and_returns(site: Site) -> None:
    site.deploy(rule(), rule("other"))
    site.kibana.rule("r1")["enabled"] = False
    plan = site.target.plan(*site.placed(rule("other")), pack="p")
    (kept,) = [change for change in plan.changes if change.key.id == "default/r1"]
    assert (kept.action.value, kept.reason) == (
        "unchanged",
        "no longer in the pack; kept, switched off by analysts",
    )
    site.deploy(rule("other", severity="low"))
    site.deploy(rule(severity="critical"), rule("other"))
    found = site.kibana.rule("r1")
    assert (found["enabled"], found["severity"]) == (False, "critical")


def test_a_rollback_brings_a_rule_back_with_what_analysts_set(site: Site) -> None:
    site.deploy(rule(), rule("other"))
    site.kibana.rule("r1")["exceptions_list"] = EXCEPTIONS
    made = site.kibana.rule("r1")["id"]
    site.deploy(rule("other"))
    cluster = site.target.cluster
    apply(cluster, make_plan(cluster, restored(cluster, read_release(cluster, 1)), pack="p"), restores=1)
    found = site.kibana.rule("r1")
    assert (found["id"], found["enabled"], found["exceptions_list"]) == (made, True, EXCEPTIONS)


def test_when_the_whole_pack_goes_it_is_told_what_goes_with_it(site: Site) -> None:
    site.deploy(rule())
    site.kibana.rule("r1")["exceptions_list"] = EXCEPTIONS
    (change,) = removal_plan(site.target.cluster, pack="p").changes
    assert (change.action.value, change.reason) == (
        "delete",
        "the pack goes; with what was set there: exceptions",
    )
    site.destroy()
    assert site.kibana.rules == {}


def test_a_plan_in_a_file_switches_off_what_it_said(site: Site, tmp_path: Path) -> None:
    site.deploy(rule(), rule("other"))
    site.kibana.rule("r1")["exceptions_list"] = EXCEPTIONS
    cluster = site.target.cluster
    made = make_plan(cluster, site.placed(rule("other")), pack="p")
    document = plan_document(
        made, cluster_uuid=cluster.info.uuid, options=PlanOptions(), origin=Origin(by="test")
    )
    save_plan(tmp_path / "plan.json", document)
    apply(cluster, load_plan(tmp_path / "plan.json").planned_again(cluster))
    assert site.kibana.rule("r1")["enabled"] is False


def test_a_rule_that_somebody_made_is_refused(site: Site) -> None:
    site.deploy(rule())
    site.kibana.rule("r1").update(meta={}, tags=["mine"], name="Mine")
    site.registry.indices.clear()
    assert site.actions(rule()) == ["conflict"]
    assert site.actions(rule(), adopt=True) == ["adopt"]


def test_a_lost_registry_is_found_again_by_the_marks(site: Site) -> None:
    site.deploy(rule())
    site.registry.indices.clear()
    assert site.actions(rule()) == ["record"]
    site.kibana.rule("r1")["meta"] = {}  # edited in Kibana: its pages write that anew
    assert site.actions(rule(severity="low")) == ["update"], "the tags still say whose it is"


def test_rules_that_kibana_refuses_are_told_by_name_and_the_rest_goes_on(site: Site) -> None:
    with pytest.raises(DeployIncomplete) as caught:
        site.deploy(rule(), rule("r2", severity="terrible"), rule("r3", surprise=1))
    text = str(caught.value)
    assert "kibana_rule default/r2" in text
    assert "severity: Invalid enum value" in text
    assert "surprise: Unrecognized key" in text
    assert site.kibana.rule("r1")["enabled"]


def test_thousands_of_rules_are_read_in_addresses_that_fit(site: Site) -> None:
    many = [rule(f"{number:036}") for number in range(250)]
    site.deploy(*many)
    site.kibana.requests.clear()
    target = site.target
    assert target.plan(*site.placed(*many), pack="p").summary == "250 unchanged"
    finds = [one for one in site.kibana.requests if "_find" in one]
    assert len(finds) == 3


def test_ids_are_quoted_for_kql(site: Site) -> None:
    odd = rule('a" or "b\\c')
    site.deploy(odd)
    assert site.actions(odd) == ["unchanged"]


# The connection -------------------------------------------------------------------------------------------


def test_the_login_of_the_cluster_is_that_of_kibana(site: Site) -> None:
    site.kibana.login = "ApiKey " + base64.b64encode(b"id:s3cr3t").decode()
    settings = ConnectionSettings(site.registry.url, api_key="id:s3cr3t").with_kibana(site.kibana.url)
    with connect(settings) as cluster:
        Target(cluster).deploy(*site.placed(rule()))
        assert site.kibana.rule("r1")
        assert "s3cr3t" not in repr(settings)
    wrong = ConnectionSettings(site.registry.url, api_key="id:other").with_kibana(site.kibana.url)
    with connect(wrong) as cluster, pytest.raises(ClusterError) as caught:
        Target(cluster).plan(*site.placed(rule()))
    assert caught.value.hint == "Kibana does not accept our API key: wrong, expired or revoked."


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"spaces": {"default"}}, "has no space soc"),
        ({"has_encryption_key": False}, "has no encryption key"),
        ({"has_security": False}, "has no detection engine"),
    ],
)
def test_what_kibana_lacks_is_said_before_anything_is_written(
    site: Site, change: dict[str, Any], reason: str
) -> None:
    for name, value in change.items():
        setattr(site.kibana, name, value)
    site.space = "soc"
    with pytest.raises(TargetUnavailable, match=reason):
        site.actions(rule())
    assert site.kibana.writes == []
    assert site.registry.indices == {}


def test_an_address_that_is_no_kibana_is_told(site: Site) -> None:
    settings = ConnectionSettings(site.registry.url).with_kibana(site.registry.url)
    with connect(settings) as cluster, pytest.raises(ClusterError):
        Target(cluster).plan(*site.placed(data_view()))


def test_without_a_kibana_it_is_said_how_to_name_one(site: Site) -> None:
    with connect(ConnectionSettings(site.registry.url)) as cluster:
        with pytest.raises(TargetUnavailable, match="no Kibana is configured") as caught:
            Target(cluster).plan(*placed([data_view()], space="", pack="p"))
        assert "SIGMAWATCH_KIBANA_URL" in caught.value.hint


def test_kinds_of_kibana_can_be_brought_by_a_pack() -> None:
    from sigmawatch.deploy.kinds import all_kinds

    brought = {name for name, kind in all_kinds().items() if kind.authored and kind.spaced}
    assert brought == {"dashboard", "data_view", "kibana_rule", "saved_search", "visualization"}


def test_the_target_says_who_executes() -> None:
    assert {each: each.executor for each in Executor}[Executor.KIBANA] == "Kibana's detection engine"
