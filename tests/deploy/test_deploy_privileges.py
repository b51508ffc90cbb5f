"""The documented roles on a real Elasticsearch with security: enough for the work, and nothing that could be left out."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest

from archive.archived_streams import STREAM, TOTAL, Streams, StreamsStandIn, now
from cli.command_line import emptied_by
from deploy.deploy_targets import Target as DeployTarget
from deploy.deploy_targets import clean, pipeline, target_at
from sigmawatch import engine
from sigmawatch.archive.archiver import archive
from sigmawatch.archive.holdings import DAY, State, read_archives
from sigmawatch.artifact import Artifact
from sigmawatch.bundle import bundle_for
from sigmawatch.cluster import Cluster, CompatibleNode, ConnectionSettings, ResponseError, connect
from sigmawatch.config import DatasetTuning, Environment
from sigmawatch.config.tuning import RuleTuning
from sigmawatch.deploy import Action, DeployIncomplete, apply, plan, removal_plan
from sigmawatch.deploy.proof import prove
from sigmawatch.deploy.releases import list_releases, read_release, release_before, restored
from sigmawatch.deploy.status import read_status
from sigmawatch.doctor import Finding, Verdict, check_privileges
from sigmawatch.engine import Node
from sigmawatch.errors import SigmawatchError, TargetUnavailable
from sigmawatch.pack.layout import builtin_pack
from sigmawatch.render.target import Target
from sigmawatch.roles import KIBANA, ROLES, Role, role
from sigmawatch.run.runner import Runner, Tick

pytestmark = pytest.mark.elasticsearch

AGO = 60_000


@dataclass
class Secured:
    """A node with security, as its superuser sees it."""

    admin: Cluster

    def as_role(self, body: Role, node_class: type[CompatibleNode] = CompatibleNode) -> Cluster:
        """Return the cluster for somebody who has just that role."""
        asked = {"name": "test", "role_descriptors": {"r": body}}
        # A key is found by its id at once; by default the answer waits for the next refresh, most of a second.
        made = self.admin.request(
            "POST", "/_security/api_key", asked, params={"refresh": "false"}, idempotent=False
        )
        settings = ConnectionSettings(self.admin.url, api_key=f"{made['id']}:{made['api_key']}")
        return connect(settings, node_class=node_class)


@pytest.fixture(scope="module")
def secured() -> Iterator[Secured]:
    with ExitStack() as running:
        try:
            node = running.enter_context(engine.temporary(engine.Engine.ELASTICSEARCH, security=True))
        except engine.MissingJavaError as error:
            pytest.skip(f"Elasticsearch is not tested here: {error.message}")
        login = (node.user, node.password)
        yield Secured(running.enter_context(connect(ConnectionSettings(node.url, basic=login))))


FEW = Environment("", datasets={"*": DatasetTuning(enabled=False), "auth.sshd": DatasetTuning(enabled=True)})
"""One dataset needs the privileges that all of them do."""


def deploys(cluster: Cluster) -> None:
    """Do everything that a deployer does."""
    bundle = bundle_for(
        cluster, builtin_pack(), target=Target.RUNNER, namespace="default", site=FEW
    ).artifacts
    assert not apply(cluster, plan(cluster, bundle, pack="p")).failed
    fewer = [one for one in bundle if one.kind != "detection"]
    assert not apply(cluster, plan(cluster, fewer, pack="p")).failed
    assert read_status(cluster).in_place
    before = read_release(cluster, release_before(list_releases(cluster, "p")).number)
    assert not apply(
        cluster, plan(cluster, restored(cluster, before), pack="p"), restores=before.content
    ).failed
    assert not apply(cluster, removal_plan(cluster, pack="p")).failed


def runs(cluster: Cluster) -> None:
    """Do what a runner does for one tick."""
    ticks: list[Tick] = []
    assert cluster.info.distribution == "elasticsearch"  # the command asks first of all
    Runner(cluster).run(stop=lambda seconds: True, on_tick=ticks.append)
    problems = [problem for tick in ticks for problem in tick.problems if "no index matches" not in problem]
    assert problems == []
    assert sum(tick.new for tick in ticks) == 1


def without(body: Role) -> Iterator[tuple[str, Role]]:
    """Yield a role once without each of its privileges."""
    for number, privilege in enumerate(body["cluster"]):
        less = copy.deepcopy(body)
        del less["cluster"][number]
        yield privilege, less
    for number, access in enumerate(body["indices"]):
        for position, privilege in enumerate(access["privileges"]):
            less = copy.deepcopy(body)
            del less["indices"][number]["privileges"][position]
            if not less["indices"][number]["privileges"]:
                del less["indices"][number]
            yield f"{privilege} on {access['names'][0]}", less


def needless(
    secured: Secured,
    body: Role,
    work: Callable[[Cluster], None],
    prepare: Callable[[], None],
    node_class: type[CompatibleNode] = CompatibleNode,
) -> list[str]:
    """Return the privileges of a role without which the work is done as well."""
    found = []
    for privilege, less in without(body):
        prepare()
        try:
            with secured.as_role(less, node_class) as cluster:
                work(cluster)
        except (SigmawatchError, AssertionError):
            continue
        found.append(privilege)
    return found


def test_a_deployer_can_do_all_its_work_and_needs_each_privilege(secured: Secured) -> None:
    def prepare() -> None:
        emptied_by(secured.admin)

    prepare()
    with secured.as_role(role("deployer")) as cluster:
        deploys(cluster)
    # Those are for data streams and who keeps them, which this engine is built without.
    for_streams = [
        "manage_ilm",
        "create_index on logs-*",
        "monitor on logs-*",
        "view_index_metadata on logs-*",
        # And those for what `status` tells of the archive.
        "monitor on sigmawatch-archive-*",
        "view_index_metadata on sigmawatch-archive-*",
        # With which ILM does what its policies say.
        "manage on logs-*",
    ]
    assert needless(secured, role("deployer"), deploys, prepare) == for_streams


def as_never_run(secured: Secured) -> None:
    """Leave one event of this moment, and nothing of what a runner makes."""
    for index in (*RUNNERS, "sigmawatch-checkpoints", "logs-*"):
        found = secured.admin.request("GET", f"/{index}", params={"expand_wildcards": "all"}, ignore=(404,))
        for name in found or ():
            secured.admin.request("DELETE", f"/{name}")
    moment = int(secured.admin.request("POST", "/_scripts/painless/_execute", NOW)["result"]) - AGO
    document = {
        "@timestamp": moment,
        "event": {
            "action": "ssh_login",
            "outcome": "success",
            "category": ["authentication"],
            "dataset": "auth.sshd",
            "ingested": moment,
        },
        "source": {"ip": "203.0.113.201"},
        "user": {"name": "root"},
        "host": {"name": "web1"},
    }
    params = {"refresh": "true", "pipeline": "_none"}
    secured.admin.request("PUT", "/logs-auth.sshd-default/_doc/1", document, params=params)


RUNNERS = ("sigmawatch-alerts-*", "sigmawatch-shadow-*", "sigmawatch-health-*")
"""Indices that a runner writes what it finds to."""


def test_a_runner_can_do_all_its_work_and_needs_each_privilege(secured: Secured) -> None:
    emptied_by(secured.admin)
    bundle = bundle_for(
        secured.admin, builtin_pack(), target=Target.RUNNER, namespace="default", site=FEW
    ).artifacts
    apply(secured.admin, plan(secured.admin, bundle, pack="p"))

    def prepare() -> None:
        as_never_run(secured)

    prepare()
    with secured.as_role(role("runner")) as cluster:
        runs(cluster)
    # Servers are silent about what a search may not read: without these two it would tell things twice, sooner or
    # later, and only `doctor --role runner` says so.
    silent = ["read on sigmawatch-checkpoints", "read on sigmawatch-alerts-*"]
    assert needless(secured, role("runner"), runs, prepare) == silent


def archives(cluster: Cluster) -> None:
    """Do what an archiver does: copy what is due, and delete what is too old."""
    run = archive(cluster, now(), sleep=lambda seconds: None)
    assert run.failed == {}
    (copied,) = run.copied.values()
    assert copied.documents == TOTAL
    assert archive(cluster, now() + 401 * DAY, sleep=lambda seconds: None).deleted == list(run.copied)


@pytest.fixture
def archived(secured: Secured) -> Iterator[Streams]:
    """The secured node with indices to be archived."""
    emptied_by(secured.admin)
    with connect(secured.admin.settings, node_class=StreamsStandIn) as admin:
        streams = Streams(secured.admin.url, admin)
        streams.deploy()
        streams.fill()
        yield streams
    emptied_by(secured.admin)


def test_an_archiver_can_do_all_its_work_and_needs_each_privilege(
    secured: Secured, archived: Streams
) -> None:
    with secured.as_role(role("archiver"), StreamsStandIn) as cluster:
        archives(cluster)
    # Without `monitor` sizes are silently missing; data streams, which are stood in for here, need view_index_metadata;
    # and that who creates documents may change mappings is deprecated.
    silent = [
        "monitor on logs-*",
        "view_index_metadata on logs-*",
        "indices:admin/mapping/put on sigmawatch-archive-*",
        "monitor on sigmawatch-archive-*",
    ]
    assert needless(secured, role("archiver"), archives, archived.forget_copies, StreamsStandIn) == silent


def test_who_deploys_sees_what_waits_and_copies_nothing(secured: Secured, archived: Streams) -> None:
    with secured.as_role(role("deployer"), StreamsStandIn) as deployer:
        (entry,) = read_archives(deployer, now()).entries
        assert (entry.stream, entry.state) == (STREAM, State.DUE)
        assert len(archive(deployer, now()).failed) == 1
    assert archived.copies() == []


def counted(cluster: Cluster, index: str) -> int:
    answer = cluster.request("POST", f"/{index}/_search", {"size": 0}, params={"allow_no_indices": "true"})
    return int(answer["hits"]["total"]["value"])


def test_a_rule_on_trial_needs_and_gets_the_same_for_its_alerts(secured: Secured) -> None:
    emptied_by(secured.admin)
    trial = replace(FEW, rules={ROOT_LOGIN: RuleTuning(stage="shadow")})
    with secured.as_role(role("deployer")) as deployer:
        bundle = bundle_for(deployer, builtin_pack(), target=Target.RUNNER, namespace="default", site=trial)
        assert not apply(deployer, plan(deployer, bundle.artifacts, pack="p")).failed
    as_never_run(secured)
    with secured.as_role(role("runner")) as runner:
        runs(runner)
    found = {index: counted(secured.admin, index) for index in RUNNERS}
    assert found == {"sigmawatch-alerts-*": 0, "sigmawatch-shadow-*": 1, "sigmawatch-health-*": 0}

    with secured.as_role(role("analyst")) as analyst, secured.as_role(role("shipper")) as shipper:
        assert counted(analyst, "sigmawatch-shadow-*") == 1
        with pytest.raises(ResponseError, match="403"):
            counted(shipper, "sigmawatch-shadow-default-*")
    # Who keeps these alerts, and for how long, is the deployer's business, and what they say is not.
    with secured.as_role(role("deployer")) as deployer:
        index = min(secured.admin.request("GET", "/sigmawatch-shadow-*"))
        deployer.request("PUT", f"/{index}/_settings", {"index.number_of_replicas": 0})
        assert deployer.request("GET", f"/_cat/indices/{index}", params={"format": "json"})
        assert deployer.request("GET", f"/{index}/_settings")
        with pytest.raises(ResponseError, match="403"):
            counted(deployer, index)

    less = role("runner")
    for access in less["indices"]:
        access["names"] = [name for name in access["names"] if "shadow" not in name]
    as_never_run(secured)
    with secured.as_role(less) as runner, pytest.raises(AssertionError):
        runs(runner)
    assert counted(secured.admin, "sigmawatch-shadow-*") == 0


ROOT_LOGIN = "b7c2e8d4-4f6a-4a1b-9e3d-5d8c7f0a1b51"
"""The rule that finds the event of `as_never_run`."""

NOW = {"script": {"source": "String.valueOf(new Date().getTime())"}}

FORBIDDEN: dict[str, list[tuple[str, str, Any]]] = {
    "deployer": [
        ("GET", "/logs-auth.sshd-default/_search", None),
        ("PUT", "/logs-auth.sshd-default/_doc/2", {"a": 1}),
        ("DELETE", "/logs-auth.sshd-default", None),
        ("GET", "/sigmawatch-alerts-default-2026.03/_search", None),
        ("GET", "/sigmawatch-shadow-default-2026.03/_search", None),
        ("DELETE", "/sigmawatch-shadow-default-2026.03", None),
        ("PUT", "/somebodys-index", None),
        ("PUT", "/_security/user/eve", {"password": "secret-1", "roles": ["superuser"]}),
        ("PUT", "/_cluster/settings", {"persistent": {"cluster.max_shards_per_node": 1}}),
    ],
    "runner": [
        ("PUT", "/logs-auth.sshd-default/_doc/2", {"a": 1}),
        ("DELETE", "/logs-auth.sshd-default", None),
        ("PUT", "/sigmawatch-detections/_doc/evil", {"plan": {}}),
        ("DELETE", "/sigmawatch-alerts-default-2026.03", None),
        ("PUT", "/_ingest/pipeline/evil", {"processors": []}),
        ("GET", "/sigmawatch-registry/_search", None),
    ],
    "archiver": [
        ("PUT", "/logs-auth.sshd-default/_doc/2", {"a": 1}),
        ("DELETE", "/logs-auth.sshd-default", None),
        ("PUT", "/sigmawatch-archive-x/_doc/1", {"a": 1}),
        ("GET", "/sigmawatch-alerts-default-2026.03/_search", None),
        ("GET", "/sigmawatch-registry/_search", None),
        ("PUT", "/_index_template/evil", {"index_patterns": ["evil"]}),
    ],
    "analyst": [
        ("PUT", "/sigmawatch-alerts-default-2026.03/_doc/2", {"a": 1}),
        ("DELETE", "/sigmawatch-alerts-default-2026.03/_doc/1", None),
        ("GET", "/sigmawatch-detections/_search", None),
        ("PUT", "/_ingest/pipeline/evil", {"processors": []}),
    ],
    "shipper": [
        ("GET", "/logs-auth.sshd-default/_search", None),
        ("DELETE", "/logs-auth.sshd-default/_doc/1", None),
        ("GET", "/sigmawatch-alerts-default-2026.03/_search", None),
        ("PUT", "/sigmawatch-alerts-default-2026.03/_doc/2", {"a": 1}),
    ],
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_role_allows_no_more_than_its_work(secured: Secured, name: str) -> None:
    for index in (
        "logs-auth.sshd-default",
        "sigmawatch-alerts-default-2026.03",
        "sigmawatch-shadow-default-2026.03",
    ):
        secured.admin.request(
            "PUT", f"/{index}/_doc/1", {"a": 1}, params={"refresh": "true", "pipeline": "_none"}
        )
    # The policies of a deployer delete logs and alerts with its rights, where it deploys any.
    with secured.as_role(role(name, retention=False)) as cluster:
        for method, path, body in FORBIDDEN[name]:
            with pytest.raises(ResponseError) as caught:
                cluster.request(method, path, body)
            assert (path, caught.value.status) == (path, 403)


def test_a_deployer_may_do_what_its_policies_do_and_reads_nothing(secured: Secured) -> None:
    emptied_by(secured.admin)
    for index in ("logs-auth.sshd-default", "sigmawatch-alerts-default-2026.03"):
        secured.admin.request("PUT", f"/{index}/_doc/1", {"a": 1}, params={"pipeline": "_none"})
        with secured.as_role(role("deployer")) as deployer:
            with pytest.raises(ResponseError, match="403"):
                counted(deployer, index)
            # Actions of ILM: set_priority, readonly, forcemerge, delete.
            deployer.request("PUT", f"/{index}/_settings", {"index.priority": 50})
            deployer.request("PUT", f"/{index}/_block/write")
            deployer.request("POST", f"/{index}/_forcemerge", params={"max_num_segments": "1"})
            deployer.request("DELETE", f"/{index}")


def test_the_roles_of_a_tenant_reach_its_logs_and_alerts_and_no_others(secured: Secured) -> None:
    emptied_by(secured.admin)
    made = {"refresh": "true"}
    for tenant in ("acme", "beta"):
        alerts = f"sigmawatch-alerts-{tenant}-2026.03"
        aliases: dict[str, Any] = {"sigmawatch-alerts": {}, f"sigmawatch-alerts-{tenant}": {}}
        secured.admin.request("PUT", f"/{alerts}", {"aliases": aliases})
        for index in (alerts, f"logs-auth.sshd-{tenant}"):
            secured.admin.request("PUT", f"/{index}/_doc/1", {"of": tenant}, params=made)

    def seen(cluster: Cluster, indices: str) -> list[str]:
        return [hit["_source"]["of"] for hit in cluster.scan(indices)]

    with secured.as_role(role("analyst", tenant="acme")) as analyst:
        assert seen(analyst, "sigmawatch-alerts-acme") == ["acme"]
        assert seen(analyst, "sigmawatch-alerts-*") == seen(analyst, "logs-*") == ["acme"]
        for index in ("sigmawatch-alerts", "sigmawatch-alerts-beta", "logs-auth.sshd-beta"):
            with pytest.raises(ResponseError, match="unauthorized"):
                analyst.request("GET", f"/{index}/_search")
    for name, index in (("runner", "sigmawatch-alerts-beta-2026.03"), ("shipper", "logs-auth.sshd-beta")):
        with secured.as_role(role(name, tenant="acme")) as cluster:
            own = index.replace("beta", "acme")
            cluster.request("PUT", f"/{own}/_create/2", {"of": "acme"})
            with pytest.raises(ResponseError, match="unauthorized"):
                cluster.request("PUT", f"/{index}/_create/2", {"of": "acme"})


def test_an_analyst_reads_alerts_and_a_shipper_sends_logs(secured: Secured) -> None:
    alert = {"rule": {"id": "r"}}
    params = {"refresh": "true"}
    secured.admin.request("PUT", "/sigmawatch-alerts-default-2026.03/_doc/1", alert, params=params)
    with secured.as_role(role("analyst")) as analyst, secured.as_role(role("shipper")) as shipper:
        found = analyst.request("POST", "/sigmawatch-alerts-*/_search", {"query": {"term": {"rule.id": "r"}}})
        assert found["hits"]["total"]["value"] >= 1
        document = {"@timestamp": "2026-03-01T10:00:00Z", "message": "x"}
        shipper.request("POST", "/logs-new.thing-default/_create/1", document, idempotent=False)


def test_what_is_missing_is_told_by_the_first_request_that_needs_it(secured: Secured) -> None:
    body = role("deployer")
    body["cluster"].remove("manage_ingest_pipelines")
    target = target_at(secured.admin.url)
    with secured.as_role(body) as cluster, pytest.raises(ResponseError) as caught:
        apply(cluster, plan(cluster, [pipeline("one")], pack="p"))
    assert caught.value.status == 403
    assert "lacks one of the cluster privileges" in caught.value.hint
    assert "manage_ingest_pipelines" in caught.value.hint
    target.cluster.close()
    clean(secured.admin)


def test_what_a_deployer_may_not_try_is_no_failure(secured: Secured) -> None:
    body = {
        "rule": {"id": "swtest-r", "title": "r"},
        "indices": ["logs-*"],
        "query": {"term": {"a": "b"}},
        "interval": 60,
        "correlation": None,
        "literals": None,
    }
    target = target_at(secured.admin.url)
    secured.admin.request("PUT", "/logs-private", ignore=(400,))
    with secured.as_role(role("deployer")) as deployer:
        made = plan(deployer, [Artifact("detection", "swtest-r", body)], pack="p")
        found = prove(deployer, made, apply(deployer, made))
    secured.admin.request("DELETE", "/logs-private")
    assert [one.tried for one in found] in ([False], []), found
    target.cluster.close()
    clean(secured.admin)


def test_the_doctor_tells_what_somebody_lacks(secured: Secured) -> None:
    with secured.as_role(role("deployer")) as deployer:
        assert check_privileges(deployer, "deployer", target=Target.RUNNER).verdict is Verdict.FINE
    with secured.as_role(role("deployer", retention=False)) as deployer:
        keeping = check_privileges(deployer, "deployer", target=Target.RUNNER)
        assert {"cluster: manage_ilm", "logs-*: manage"} <= set(keeping.details)
        fine = check_privileges(deployer, "deployer", target=Target.RUNNER, retention=False)
        assert fine.verdict is Verdict.FINE
        found = check_privileges(deployer, "runner", target=Target.RUNNER)
    assert found.verdict is Verdict.PROBLEM
    assert found.details == (
        "logs-*: read",
        "sigmawatch-alerts-*: create_index",
        "sigmawatch-alerts-*: read",
        "sigmawatch-alerts-*: write",
        "sigmawatch-checkpoints: create_index",
        "sigmawatch-checkpoints: read",
        "sigmawatch-checkpoints: view_index_metadata",
        "sigmawatch-checkpoints: write",
        "sigmawatch-health-*: create_index",
        "sigmawatch-health-*: read",
        "sigmawatch-health-*: write",
        "sigmawatch-shadow-*: create_index",
        "sigmawatch-shadow-*: read",
        "sigmawatch-shadow-*: write",
    )
    assert found.hint == "`sigmawatch roles runner` prints a role that has them."


def test_who_deploys_watches_lends_them_what_they_need() -> None:
    body = role("deployer", target=Target.WATCHER)
    assert "manage_watcher" in body["cluster"]
    assert [one for one in role("runner")["indices"] if one not in body["indices"]] == []
    assert "manage_watcher" not in role("deployer")["cluster"]


def registered(secured: Secured, *privileges: str) -> None:
    """Register privileges with Elasticsearch as a Kibana does when it starts; the actions are made up."""
    body = {name: {"actions": ["login:", f"api:{name}"]} for name in privileges}
    secured.admin.request("PUT", "/_security/privilege", {KIBANA: body})


KIBANA_NAMES = [
    f"feature_{feature}.{kind}"
    for feature in ("dashboard", "discover", "visualize", "indexPatterns", "savedObjectsTagging", "siem", "actions")
    for kind in ("all", "read")
]  # fmt: skip


def test_the_doctor_tells_what_somebody_lacks_in_a_space_of_kibana(secured: Secured) -> None:
    registered(secured, *KIBANA_NAMES, "feature_securitySolutionRulesV4.all", "feature_dashboard_v2.all")
    url = "http://127.0.0.1:9"  # it is Elasticsearch that is asked, no Kibana

    def checked(body: Role, space: str, target: Target, asked: str = "deployer") -> Finding:
        made = secured.as_role(body)
        settings = made.settings.with_kibana(url, space)
        made.close()
        with connect(settings) as cluster:
            return check_privileges(cluster, asked, target=target)

    soc = role("deployer", target=Target.KIBANA, space="soc")
    assert checked(soc, "soc", Target.KIBANA).verdict is Verdict.FINE
    assert checked(role("deployer", space="soc"), "soc", Target.RUNNER).verdict is Verdict.FINE
    for_analysts = role("analyst", target=Target.KIBANA, space="soc")
    assert checked(for_analysts, "soc", Target.KIBANA, "analyst").verdict is Verdict.FINE

    lacking = checked(role("deployer", space="soc"), "soc", Target.KIBANA)
    assert lacking.verdict is Verdict.PROBLEM
    assert "Kibana, space soc: siem.all" in lacking.details
    assert "logs-*: read" in lacking.details
    assert lacking.hint == (
        "`sigmawatch roles deployer --target kibana --space soc` prints a role that has them."
    )
    elsewhere = checked(soc, "default", Target.RUNNER)
    assert "Kibana, space default: dashboard.all" in elsewhere.details
    assert checked(role("runner"), "soc", Target.RUNNER, "runner").verdict is Verdict.FINE

    (access,) = soc["applications"]
    renamed = {"feature_siem.all": "feature_securitySolutionRulesV4.all"} | {
        "feature_dashboard.all": "feature_dashboard_v2.all"
    }
    access["privileges"] = [renamed.get(one, one) for one in access["privileges"]]
    assert checked(soc, "soc", Target.KIBANA).verdict is Verdict.FINE, "a role by the names of a later Kibana"


def test_rules_of_kibana_search_with_what_their_deployer_may_read(secured: Secured) -> None:
    secured.admin.request("PUT", "/logs-auth.sshd-default/_doc/9", {"a": 1}, params={"pipeline": "_none"})
    with secured.as_role(role("deployer", target=Target.KIBANA)) as cluster:
        assert cluster.request("POST", "/logs-auth.sshd-default/_search", {"size": 0})
        with pytest.raises(ResponseError) as caught:
            cluster.request("DELETE", "/logs-auth.sshd-default/_doc/9")
        assert caught.value.status == 403


def test_an_analyst_closes_alerts_of_kibana_and_deletes_none(secured: Secured) -> None:
    path = "/.internal.alerts-security.alerts-default-000001"
    secured.admin.request("PUT", f"{path}/_doc/1", {"kibana.alert.workflow_status": "open"})
    secured.admin.request("POST", f"{path}/_refresh")
    closing = {"script": {"source": "ctx._source['kibana.alert.workflow_status'] = 'closed'"}}
    with secured.as_role(role("analyst", target=Target.KIBANA)) as analyst:
        done = analyst.request(
            "POST", f"{path}/_update_by_query", closing, params={"refresh": "true"}, idempotent=False
        )
        assert done["updated"] == 1
        with pytest.raises(ResponseError) as caught:
            analyst.request("DELETE", f"{path}/_doc/1")
        assert caught.value.status == 403


@pytest.mark.parametrize("name", ROLES)
def test_the_roles_are_taken_by_elasticsearch_as_they_are(secured: Secured, name: str) -> None:
    for target in Target:
        for space in (None, "soc"):
            body = role(name, target=target, space=space)
            secured.admin.request("PUT", f"/_security/role/sigmawatch-{name}", body)


def test_roles_are_deployed_like_everything_else(secured: Secured) -> None:
    clean(secured.admin)
    target = DeployTarget(secured.admin)
    wanted = Artifact("role", "swtest-role", role("analyst"))
    other = Artifact("role", "swtest-role", {"cluster": ["monitor"], "run_as": [], "metadata": {"by": "us"}})
    target.deploy(wanted)
    assert target.actions(wanted) == ["unchanged"], "what the server adds is no change"
    live = secured.admin.request("GET", "/_security/role/swtest-role")["swtest-role"]
    assert live["metadata"]["sigmawatch"]["pack"] == "p"
    assert target.actions(other) == ["update"]
    target.deploy(other)
    assert target.actions(other) == ["unchanged"]
    secured.admin.request("PUT", "/_security/role/swtest-role", {"cluster": ["all"]})
    plan_of_it = target.plan(other)
    assert plan_of_it.changes[0].action is Action.DRIFTED
    assert '-    "all"' in plan_of_it.changes[0].diff
    apply(secured.admin, plan_of_it)
    with pytest.raises(DeployIncomplete, match="unknown cluster privilege"):
        target.deploy(Artifact("role", "swtest-role", {"cluster": ["everything"]}))
    assert apply(secured.admin, removal_plan(secured.admin, pack="p")).failed == ()
    assert secured.admin.request("GET", "/_security/role/swtest-role", ignore=(404,)) is None


def test_roles_where_there_is_no_security_are_refused_before_anything_is_written(elasticsearch: Node) -> None:
    unavailable = pytest.raises(TargetUnavailable, match="security is switched off")
    with connect(ConnectionSettings(elasticsearch.url)) as cluster, unavailable:
        plan(cluster, [Artifact("role", "swtest-role", role("analyst"))], pack="p")
