"""Kinds of Kibana against `KibanaStandIn`; the registry is kept by `WatcherStandIn`, which has the document API."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from deploy_targets import Target
from kibana_stand_in import KibanaStandIn
from watcher_stand_in import WatcherStandIn

from sigmawatch.artifact import Artifact
from sigmawatch.cluster import Cluster, ConnectionSettings, connect
from sigmawatch.deploy import DeployIncomplete, apply, removal_plan
from sigmawatch.deploy import plan as make_plan
from sigmawatch.deploy.releases import read_release, restored
from sigmawatch.deploy.spaces import placed
from sigmawatch.errors import ClusterError, TargetUnavailable
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


def test_what_analysts_set_survives_updates_and_is_no_drift(site: Site) -> None:
    site.deploy(rule())
    theirs = {
        "enabled": False,
        "exceptions_list": [{"id": "e", "list_id": "l", "type": "rule_default", "namespace_type": "single"}],
        "actions": [{"id": "slack", "group": "default", "action_type_id": ".slack", "params": {}}],
    }
    site.kibana.rule("r1").update(theirs)
    site.kibana.rule("r1")["meta"] = {"from": "7m", "kibana_siem_app_url": "https://k/app/security"}
    assert site.actions(rule()) == ["unchanged"]
    site.deploy(rule(severity="low"))
    found = site.kibana.rule("r1")
    assert found["severity"] == "low"
    assert {name: found[name] for name in theirs} == theirs


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
