"""Roles of OpenSearch's security plugin as artifacts, and what the doctor asks about them, against `SecurityStandIn`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.command_line import sigmawatch, write
from cluster.fault_proxy import Fault, FaultProxy
from deploy.deploy_targets import Target, target_at
from deploy.security_stand_in import SecurityStandIn
from deploy.spoilt_deploys import Witness, spoilt_deploys
from sigmawatch.artifact import Artifact
from sigmawatch.bundle import brought_artifacts
from sigmawatch.cluster import ConnectionSettings, ResponseError, connect
from sigmawatch.cluster.retry import RetryPolicy
from sigmawatch.deploy import DeployIncomplete, apply, plan, removal_plan
from sigmawatch.deploy.journal import Journals
from sigmawatch.deploy.kind import ChangedMeanwhile, Write
from sigmawatch.deploy.kinds import all_kinds
from sigmawatch.deploy.releases import list_releases, read_release, release_before, restored
from sigmawatch.doctor import Verdict, check_privileges
from sigmawatch.doctor.permissions import UNASKED, questions
from sigmawatch.errors import ClusterError, SigmawatchError, TargetUnavailable
from sigmawatch.pack.layout import Pack
from sigmawatch.render.target import Target as Executor
from sigmawatch.roles import ROLES, opensearch_role

STRIDE = 1 if os.environ.get("SIGMAWATCH_EVERY_FAULT") else 5


@pytest.fixture
def server() -> Iterator[SecurityStandIn]:
    with SecurityStandIn() as stand_in:
        yield stand_in


@pytest.fixture
def target(server: SecurityStandIn) -> Iterator[Target]:
    made = target_at(server.url)
    with made.cluster:
        yield made


def soc(name: str = "analyst", **body: Any) -> Artifact:
    return Artifact("opensearch_role", f"soc-{name}", body or opensearch_role(name))


def writes(server: SecurityStandIn) -> list[tuple[str, str]]:
    return [one for one in server.requests if one[0] in {"PUT", "DELETE"} and "/roles/" in one[1]]


@pytest.mark.parametrize("executor", [Executor.RUNNER, Executor.OPENSEARCH])
def test_our_roles_are_taken_and_come_back_as_they_are(target: Target, executor: Executor) -> None:
    made = [soc(name, **opensearch_role(name, target=executor, tenant="acme")) for name in ROLES]
    assert target.deploy(*made).failed == ()
    assert set(target.actions(*made)) == {"unchanged"}, "what the server adds is no change"


def test_a_role_is_created_updated_restored_and_deleted(target: Target, server: SecurityStandIn) -> None:
    target.deploy(soc())
    assert target.actions(soc()) == ["unchanged"]
    server.requests.clear()
    assert target.deploy(soc()).failed == ()
    assert writes(server) == [], "what is unchanged is not written"
    other = soc(cluster_permissions=["cluster:monitor/main"], index_permissions=[])
    assert target.actions(other) == ["update"]
    target.deploy(other)
    server.roles["soc-analyst"]["cluster_permissions"] = ["*"]
    (change,) = target.plan(other).changes
    assert change.action.value == "drifted"
    assert '-    "*"' in change.diff
    target.deploy(other)
    assert server.roles["soc-analyst"]["cluster_permissions"] == ["cluster:monitor/main"]
    before = read_release(target.cluster, release_before(list_releases(target.cluster, "p")).number)
    back = plan(target.cluster, restored(target.cluster, before), pack="p")
    assert apply(target.cluster, back, restores=before.content).failed == ()
    assert apply(target.cluster, removal_plan(target.cluster, pack="p")).failed == ()
    assert server.roles == {}


def test_a_role_that_somebody_else_made_is_left_alone(target: Target, server: SecurityStandIn) -> None:
    other = target_at(server.url)
    with other.cluster:
        other.cluster.request(
            "PUT", "/_plugins/_security/api/roles/soc-analyst", {"cluster_permissions": ["*"]}
        )
    assert target.actions(soc()) == ["conflict"]
    target.deploy(soc("runner"))
    assert apply(target.cluster, removal_plan(target.cluster, pack="p")).failed == ()
    assert set(server.roles) == {"soc-analyst"}
    assert target.actions(soc(), adopt=True) == ["adopt"]


def test_a_write_beside_somebody_elses_is_repeated(target: Target, server: SecurityStandIn) -> None:
    server.conflicts = 2
    assert target.deploy(soc(), soc("runner")).failed == ()
    assert set(server.roles) == {"soc-analyst", "soc-runner"}
    server.conflicts = 1
    assert apply(target.cluster, removal_plan(target.cluster, pack="p")).failed == ()
    assert server.roles == {}


def test_what_somebody_changes_meanwhile_is_left_as_it_is(server: SecurityStandIn) -> None:
    target = target_at(server.url)
    with target.cluster:
        target.deploy(soc())
        made = target.plan(soc(cluster_permissions=["cluster:monitor/main"]))
        server.roles["soc-analyst"]["cluster_permissions"] = ["theirs"]
        with pytest.raises(ClusterError, match="changed by somebody else since this plan was made"):
            apply(target.cluster, made)
        kind, late = all_kinds()["opensearch_role"], Write("soc-analyst", {}, may_replace=lambda live: False)
        with pytest.raises(ChangedMeanwhile):
            kind.write(target.cluster, late)
    assert server.roles["soc-analyst"]["cluster_permissions"] == ["theirs"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"cluster": ["monitor"]}, "Invalid configuration; invalid_keys: cluster"),
        ({"cluster_permissions": "*"}, "Wrong datatype; cluster_permissions: Array expected"),
        ({"cluster_permissions": [None]}, "`null` is not allowed"),
        ({"cluster_permissions": ["restapi:admin/roles"]}, "Access denied"),
    ],
    ids=lambda value: str(value)[:25],
)
def test_a_role_that_is_wrong_is_told_as_the_server_says_it(
    target: Target, body: dict[str, Any], told: str
) -> None:
    with pytest.raises(DeployIncomplete) as caught:
        target.deploy(Artifact("opensearch_role", "wrong", body))
    assert told in str(caught.value)


def test_a_role_of_the_plugin_itself_stays_as_it_is(target: Target, server: SecurityStandIn) -> None:
    own = Artifact("opensearch_role", "readall", {"cluster_permissions": ["*"]})
    assert target.actions(own) == ["conflict"]
    with pytest.raises(DeployIncomplete, match="Resource 'readall' is static"):
        target.deploy(own, adopt=True)
    server.roles["secret"] = {**server.static["readall"], "static": False, "hidden": True}
    with pytest.raises(DeployIncomplete, match="Resource 'secret' is not available"):
        target.deploy(Artifact("opensearch_role", "secret", {"cluster_permissions": ["*"]}))


def test_who_may_not_change_roles_is_told_what_it_takes(target: Target, server: SecurityStandIn) -> None:
    server.may_change_roles = False
    with pytest.raises(ResponseError, match="No permission to access REST API") as caught:
        target.plan(soc())
    assert "plugins.security.restapi.roles_enabled" in caught.value.hint


def test_without_the_plugin_it_is_said_before_anything_is_written(
    target: Target, server: SecurityStandIn
) -> None:
    server.has_plugin = False
    with pytest.raises(TargetUnavailable, match="has no security plugin, or it is switched off"):
        target.plan(soc())
    assert [one for one in server.requests if one[0] == "PUT"] == []


@pytest.mark.engine
def test_the_minimal_distribution_says_so_too(opensearch: Any) -> None:
    with connect(ConnectionSettings(opensearch.url)) as cluster, pytest.raises(TargetUnavailable) as caught:
        plan(cluster, [soc()], pack="p")
    assert "OpenSearch 3.7" in caught.value.message
    assert caught.value.hint == "Roles need the plugin opensearch-security."


@pytest.mark.elasticsearch
def test_elasticsearch_has_other_roles(elasticsearch: Any) -> None:
    with (
        connect(ConnectionSettings(elasticsearch.url)) as cluster,
        pytest.raises(TargetUnavailable) as caught,
    ):
        plan(cluster, [soc()], pack="p")
    assert caught.value.hint == "Roles of Elasticsearch are artifacts of the kind role."


class Bench:
    """A cluster with the plugin, and the way to it through a proxy that spoils requests."""

    def __init__(self, server: SecurityStandIn, proxy: FaultProxy, folder: Path) -> None:
        self.server, self.proxy = server, proxy
        self.direct = connect(ConnectionSettings(server.url))
        settings = ConnectionSettings(proxy.url, timeout=1.0)
        self.through = connect(settings, retry=RetryPolicy(attempts=2), sleep=lambda seconds: None)
        body = {"cluster_permissions": ["*"]}
        self.direct.request("PUT", "/_plugins/_security/api/roles/theirs", body)
        apply(self.direct, plan(self.direct, self.version(1), pack="p"))
        keys = {one.key for number in (1, 2) for one in self.version(number)}
        self.witness = Witness(self.direct, Journals(folder), keys)

    def version(self, number: int) -> list[Artifact]:
        """One of two bundles: between them everything is created, updated, deleted or left alone once."""
        changing = ["cluster:monitor/main", "cluster:monitor/state"][:number]
        return [
            soc(),
            soc("changing", cluster_permissions=changing),
            soc(f"only-{number}", cluster_permissions=["cluster:monitor/main"]),
        ]

    def deploy(self, number: int) -> SigmawatchError | None:
        try:
            planned = plan(self.through, self.version(number), pack="p")
            apply(self.through, planned, journals=self.witness.journals)
        except SigmawatchError as error:
            return error
        return None

    def expire_lock(self) -> None:
        self.server.indices["sigmawatch-registry"].pop("lock", None)

    def check_truth(self, number: int) -> None:
        """Assert that nobody else's role was touched, and that what of ours is in the way is known as ours."""
        found = plan(self.direct, self.version(number), pack="p")
        assert {change.action.value for change in found.changes} <= {
            "create", "update", "delete", "record", "unchanged",
        }  # fmt: skip
        assert self.server.roles["theirs"]["cluster_permissions"] == ["*"]

    def check(self, number: int) -> None:
        assert plan(self.direct, self.version(number), pack="p").summary == "3 unchanged"
        assert set(self.server.roles) == {"theirs", "soc-analyst", "soc-changing", f"soc-only-{number}"}


@pytest.fixture
def bench(server: SecurityStandIn, tmp_path: Path) -> Iterator[Bench]:
    with FaultProxy(server.url) as proxy:
        made = Bench(server, proxy, tmp_path / "journals")
        with made.direct, made.through:
            yield made


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name)
def test_a_request_that_is_spoiled_costs_at_most_another_run(bench: Bench, fault: Fault) -> None:
    first = list(Fault).index(fault) % STRIDE + 1
    runs = list(spoilt_deploys(bench, fault, first=first, stride=STRIDE, recover=bench.expire_lock))
    assert runs[-1].at > 20, "that was no deploy"


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.HALF, Fault.GATEWAY_TIMEOUT])
def test_a_cluster_that_is_gone_from_some_request_on_costs_another_run(bench: Bench, fault: Fault) -> None:
    options: dict[str, Any] = {"onwards": True, "recover": bench.expire_lock}
    for run in spoilt_deploys(bench, fault, first=len(fault.name) % STRIDE + 1, stride=STRIDE, **options):
        if run.was_spared:
            assert run.error is None
    assert run.at > 20


# As a pack brings it, and as people get it -------------------------------------------------------------------


def test_a_pack_brings_roles(target: Target, server: SecurityStandIn, tmp_path: Path) -> None:
    printed = sigmawatch("roles", "shipper", "--engine", "opensearch")
    assert printed.code == 0, printed.err
    write(tmp_path / "artifacts/opensearch_role/soc-shipper.json", printed.out)
    brought = brought_artifacts(Pack("p", tmp_path))
    assert target.actions(*brought) == ["create"]
    assert server.roles == {}
    target.deploy(*brought)
    assert server.roles["soc-shipper"]["description"] == "sigmawatch: sends logs"


def test_roles_are_printed_for_either_product() -> None:
    every = json.loads(sigmawatch("roles", "--engine", "opensearch").out)
    assert every == {name: opensearch_role(name) for name in ROLES}
    monitors = json.loads(sigmawatch("roles", "deployer", "--target", "opensearch").out)
    assert "cluster:admin/opendistro/alerting/monitor/write" in monitors["cluster_permissions"]
    lean = json.loads(sigmawatch("roles", "deployer", "--engine", "opensearch", "--no-retention").out)
    granted = {action for access in lean["index_permissions"] for action in access["allowed_actions"]}
    assert "indices:admin/delete" not in granted
    elastic = json.loads(sigmawatch("roles", "deployer").out)
    assert {"cluster", "indices"} == set(elastic)
    for wrong in (("--target", "watcher"), ("--target", "kibana"), ("--space", "soc")):
        assert sigmawatch("roles", "--engine", "opensearch", *wrong).code == 2


# What the doctor asks ---------------------------------------------------------------------------------------


def test_the_doctor_asks_the_cluster_and_changes_nothing(target: Target, server: SecurityStandIn) -> None:
    found = check_privileges(target.cluster, "deployer", target=Executor.RUNNER)
    assert found.verdict is Verdict.FINE
    assert len(server.asked) > 20
    server.mine = opensearch_role("archiver")
    found = check_privileges(target.cluster, "deployer", target=Executor.RUNNER)
    assert found.verdict is Verdict.PROBLEM
    assert found.message == "ci lacks 7"
    assert "sigmawatch-registry: indices:admin/get" in found.details
    assert "logs-*: indices:admin/delete" in found.details
    assert "sigmawatch-archive-*: indices:admin/get" not in found.details
    assert found.hint == "`sigmawatch roles deployer --engine opensearch` prints a role that has them."
    assert server.roles == {}


def test_the_doctor_says_what_it_cannot_know(target: Target, server: SecurityStandIn) -> None:
    server.checks_permissions = False
    old = check_privileges(target.cluster, "runner", target=Executor.RUNNER)
    assert (old.verdict, old.details) == (
        Verdict.UNKNOWN,
        ("has the role own_index", "has the role sigmawatch-deployer"),
    )
    assert "since 3.2" in old.message
    server.checks_permissions, server.certificate = True, "CN=kirk"
    assert check_privileges(target.cluster, "runner", target=Executor.RUNNER).verdict is Verdict.UNKNOWN
    assert server.asked == [], "nobody asks what a super admin may do: it would be done"
    server.has_plugin = False
    open_to_all = check_privileges(target.cluster, "runner", target=Executor.RUNNER)
    assert open_to_all.verdict is Verdict.WARNING
    assert open_to_all.message == "this cluster has no security plugin, or it is switched off"


@pytest.mark.parametrize("name", ROLES)
def test_each_permission_is_asked_for_or_known_to_be_unasked(name: str) -> None:
    for executor in (Executor.RUNNER, Executor.OPENSEARCH):
        asked = {label for label, _ in questions(name, target=executor)}
        body = opensearch_role(name, target=executor)
        wanted = {f"cluster: {one}" for one in body["cluster_permissions"]} | {
            f"{pattern}: {action}"
            for access in body["index_permissions"]
            for pattern in access["index_patterns"]
            for action in access["allowed_actions"]
        }
        rest = {label.partition(": ")[2] for label in wanted - asked}
        assert {one for one in rest if not one.startswith((*UNASKED, "indices:data/read/msearch"))} == set()
        assert asked <= wanted


def contents(cluster: Any) -> Any:
    state = cluster.request("GET", "/_cluster/state/metadata")["metadata"]
    return {key: value for key, value in state.items() if key != "cluster_coordination"}


@pytest.mark.engine
def test_what_the_doctor_asks_would_do_nothing_if_it_were_taken_for_a_command(opensearch: Any) -> None:
    """By a real node, which has no plugin: it refuses the parameter, and without it has nothing to do."""
    with connect(ConnectionSettings(opensearch.url)) as cluster:
        # As after a deploy: the templates of data streams are there.
        template = {"index_patterns": ["logs-*"], "data_stream": {}, "priority": 1}
        cluster.request("PUT", "/_index_template/swtest-asked", template)
        try:
            before = contents(cluster)
            for name in ROLES:
                for label, (method, target, body) in questions(name, target=Executor.RUNNER):
                    path, _, given = target.partition("?")
                    params = dict(one.split("=") for one in given.split("&") if one)
                    asking = {**params, "perform_permission_check": "true"}
                    with pytest.raises(ResponseError, match="unrecognized parameter"):
                        cluster.request(method, path, body, params=asking, idempotent=True)
                    cluster.request(method, path, body, params=params, idempotent=True, ignore=(400, 404))
                    assert contents(cluster) == before, label
        finally:
            cluster.request("DELETE", "/_index_template/swtest-asked")
