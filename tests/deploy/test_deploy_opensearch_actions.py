"""Our roles of OpenSearch's security plugin against the actions that a real OpenSearch performs for each of their owners.

The plugin cannot be had by these tests; what it asks for is worked out after its sources (`traced_actions`). Both ways:
all that is asked for is granted, and nothing is granted that is not asked for, or else it stands here with its reason.
What index state management and alerting perform is not seen by a node without them: their REST requests are those that
the stand-ins got, their actions are named here after the plugins' sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from archive.archived_streams import Streams, now
from cli.command_line import emptied_by
from deploy.alerting_stand_in import AlertingStandIn
from deploy.deploy_targets import target_at
from deploy.lifecycle_stand_in import LifecycleStandIn
from deploy.test_deploy_monitors import monitor
from deploy.test_deploy_privileges import FEW, deploys
from deploy.test_deploy_retention import OLD, STREAM, made
from deploy.traced_actions import Demand, TracedEngine, granted, permissions, traced_engine
from sigmawatch.archive.archiver import archive
from sigmawatch.archive.holdings import DAY, read_archives
from sigmawatch.bundle import bundle_for
from sigmawatch.cluster import BulkItem, Cluster, ConnectionSettings, bulk, connect
from sigmawatch.deploy import apply, plan, removal_plan
from sigmawatch.deploy.proof import prove
from sigmawatch.deploy.status import read_status
from sigmawatch.pack.layout import builtin_pack
from sigmawatch.render.target import Target
from sigmawatch.retention import Mechanism
from sigmawatch.roles import opensearch_role
from sigmawatch.run.runner import Runner, Tick

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def engine() -> Iterator[TracedEngine]:
    with traced_engine() as traced:
        yield traced


@pytest.fixture
def admin(engine: TracedEngine) -> Iterator[Cluster]:
    with connect(ConnectionSettings(engine.node.url)) as cluster:
        emptied_by(cluster)
        yield cluster
        emptied_by(cluster)


def pages(cluster: Cluster, index: str) -> None:
    """Look at more than fits on one page, as with many rules or artifacts."""
    assert len(list(cluster.scan(index, size=1))) > 1


def lacks(engine: TracedEngine, role: dict[str, object]) -> dict[str, str]:
    """Return what is asked for and not granted."""
    return {
        f"{demand.index or 'cluster'}: {demand.action}": request
        for demand, request in engine.demands().items()
        if not granted(role, demand)
    }


def idle(engine: TracedEngine, role: dict[str, object]) -> set[str]:
    """Return what is granted, and nothing asked for it."""
    return permissions(role) - {one for demand in engine.demands() for one in granted(role, demand)}


def test_a_node_tells_what_it_does(engine: TracedEngine, admin: Cluster) -> None:
    """What all of this rests on: a request whose actions are known."""
    admin.request("PUT", "/swtest-index/_doc/0", {"a": 1})
    engine.forget()
    with engine.connected() as cluster:
        cluster.request(
            "POST", "/_bulk", b'{"create":{"_index":"swtest-index","_id":"1"}}\n{"b":1}\n', idempotent=True
        )
        assert set(engine.demands()) == {
            Demand("indices:data/write/bulk", None),
            Demand("indices:data/write/bulk[s]", "swtest-index"),
            Demand("indices:data/write/index", "swtest-index"),
            Demand("indices:admin/mapping/put", "swtest-index"),
        }
    admin.request("DELETE", "/swtest-index")


def test_a_deployer(engine: TracedEngine, admin: Cluster) -> None:
    engine.forget()
    with engine.connected() as cluster:
        deploys(cluster)
        pages(cluster, "sigmawatch-releases")
        read_status(cluster)
        streams = Streams(engine.node.url, admin)
        streams.deploy()
        streams.fill()
        assert archive(admin, now(), sleep=lambda seconds: None).failed == {}
        engine.skip()
        assert read_archives(cluster, now()).entries
        role = opensearch_role("deployer", retention=False)
        assert lacks(engine, role) == {}
        assert idle(engine, role) == set()


def test_what_a_deployers_policies_do_with_its_rights(engine: TracedEngine, admin: Cluster) -> None:
    """As requests: the actions are the same that index management performs by itself, in the name of the deployer."""
    template = {"index_patterns": ["logs-*"], "data_stream": {}}
    admin.request("PUT", "/_index_template/sigmawatch-policies", template)
    admin.request("PUT", "/_data_stream/logs-a-b")
    engine.forget()
    with engine.connected() as cluster:
        index = ".ds-logs-a-b-000001"
        cluster.request("GET", f"/{index}/_stats")
        cluster.request("GET", "/_resolve/index/logs-a-*")  # ours, when a policy goes
        cluster.request("POST", "/logs-a-b/_rollover", idempotent=True)
        cluster.request("PUT", f"/{index}/_settings", {"index.blocks.write": True, "index.priority": 50})
        cluster.request("POST", f"/{index}/_forcemerge", params={"max_num_segments": "1"}, idempotent=True)
        cluster.request("DELETE", f"/{index}")
        assert lacks(engine, opensearch_role("deployer")) == {}
        without = opensearch_role("deployer", retention=False)
        assert set(lacks(engine, without)) == {
            f"{index}: indices:admin/delete",
            f"{index}: indices:admin/forcemerge",
            "logs-a-b: indices:admin/rollover",
            "logs-a-*: indices:admin/resolve/index",
            f"{index}: indices:admin/settings/update",
        }
        more = permissions(opensearch_role("deployer")) - permissions(without)
        of_plugin = {one for one in more if "opendistro/ism" in one or "opensearch/ism" in one}
        assert idle(engine, opensearch_role("deployer")) & more == of_plugin


def test_a_runner(engine: TracedEngine, admin: Cluster) -> None:
    bundle = bundle_for(admin, builtin_pack(), target=Target.RUNNER, namespace="default", site=FEW).artifacts
    apply(admin, plan(admin, bundle, pack="p"))
    moment = int(admin.request("POST", "/_scripts/painless/_execute", NOW)["result"]) - 60_000
    action = {
        "action": "ssh_login",
        "category": ["authentication"],
        "dataset": "auth.sshd",
        "ingested": moment,
    }
    # A rule that finds one event, and a correlation of many: before that is reported, it is looked for.
    logins = [("203.0.113.201", "root", "success"), *(("203.0.113.7", f"u{n}", "failure") for n in range(40))]
    for number, (address, user, outcome) in enumerate(logins):
        event = {
            "@timestamp": moment,
            "event": {**action, "outcome": outcome},
            "source": {"ip": address},
            "user": {"name": user},
            "host": {"name": "web1"},
        }
        params = {"refresh": "true", "pipeline": "_none"}
        admin.request("PUT", f"/logs-auth.sshd-default/_create/{number}", event, params=params)
    engine.forget()
    ticks: list[Tick] = []
    with engine.connected() as cluster:
        assert cluster.info.distribution == "opensearch"  # the command asks first of all
        for later in (0, 400_000):  # by then a window of the correlation is over
            runner = Runner(cluster, clock=lambda later=later: now() + later)  # type: ignore[misc]
            runner.run(stop=lambda seconds: True, on_tick=ticks.append)
        assert sum(tick.new for tick in ticks) == 2
        pages(cluster, "sigmawatch-detections")
        # As the slower one of two runners that reported the same burst at the same moment.
        (hit, *_) = admin.scan("sigmawatch-alerts-*")
        assert bulk(cluster, [BulkItem("delete", hit["_index"], hit["_id"])], refresh=True) == []
        role = opensearch_role("runner")
        assert lacks(engine, role) == {}
        # Asked for where `do_not_fail_on_forbidden` is on, and only there.
        assert idle(engine, role) == {
            "logs-*: indices:data/read/msearch",
            "sigmawatch-alerts-*: indices:data/read/msearch",
        }


NOW = {"script": {"source": "String.valueOf(new Date().getTime())"}}


def test_an_archiver(engine: TracedEngine, admin: Cluster) -> None:
    streams = Streams(engine.node.url, admin)
    streams.deploy()
    streams.fill()
    engine.forget()
    with engine.connected() as cluster:
        run = archive(cluster, now(), sleep=lambda seconds: None)
        assert run.failed == {}
        assert archive(cluster, now() + 401 * DAY, sleep=lambda seconds: None).deleted == list(run.copied)
        role = opensearch_role("archiver")
        assert lacks(engine, role) == {}
        assert idle(engine, role) == set()


def test_a_shipper(engine: TracedEngine, admin: Cluster) -> None:
    admin.request(
        "PUT", "/_index_template/sigmawatch-shipped", {"index_patterns": ["logs-*"], "data_stream": {}}
    )
    engine.forget()
    with engine.connected() as cluster:
        assert cluster.info.distribution == "opensearch"
        line = {"@timestamp": "2026-03-01T10:00:00Z", "message": "x", "new": "field"}
        assert bulk(cluster, [BulkItem("create", "logs-new.thing-default", "1", line)]) == []
        role = opensearch_role("shipper")
        assert lacks(engine, role) == {}
        assert idle(engine, role) == set()


def test_an_analyst(engine: TracedEngine, admin: Cluster) -> None:
    alerts = "sigmawatch-alerts-default-2026.03"
    admin.request("PUT", f"/{alerts}", {"aliases": {"sigmawatch-alerts": {}}})
    for number in (1, 2):
        admin.request("PUT", f"/{alerts}/_doc/{number}", {"rule": {"id": "r"}}, params={"refresh": "true"})
    engine.forget()
    with engine.connected() as cluster:
        assert cluster.info.distribution == "opensearch"
        pages(cluster, "sigmawatch-alerts")
        cluster.request("POST", "/_msearch", b'{"index":"sigmawatch-alerts"}\n{}\n', idempotent=True)
        cluster.request("POST", f"/{alerts}/_mget", {"ids": ["1"]}, idempotent=True)
        for path in (
            "_doc/1",
            "_field_caps?fields=*",
            "_mapping",
            "_mapping/field/rule.id",
            "_alias",
            "_settings",
            "",
        ):
            cluster.request("GET", f"/{alerts}/{path}".rstrip("/"))
        cluster.request("GET", "/_resolve/index/sigmawatch-alerts-*")
        role = opensearch_role("analyst")
        assert lacks(engine, role) == {}
        assert idle(engine, role) == set()


FORBIDDEN: dict[str, list[Demand]] = {
    "deployer": [
        Demand("indices:data/read/search", "logs-auth.sshd-default"),
        Demand("indices:data/write/index", "logs-auth.sshd-default"),
        Demand("indices:admin/delete", "logs-auth.sshd-default"),
        Demand("indices:data/read/search", "sigmawatch-alerts-default-2026.03"),
        Demand("indices:admin/delete", "sigmawatch-shadow-default-2026.03"),
        Demand("indices:admin/create", "somebodys-index"),
        Demand("cluster:admin/settings/update", None),
        Demand("restapi:admin/roles", None),
    ],
    "runner": [
        Demand("indices:data/write/index", "logs-auth.sshd-default"),
        Demand("indices:data/write/index", "sigmawatch-detections"),
        Demand("indices:admin/delete", "sigmawatch-alerts-default-2026.03"),
        Demand("cluster:admin/ingest/pipeline/put", None),
        Demand("indices:data/read/search", "sigmawatch-registry"),
    ],
    "archiver": [
        Demand("indices:data/write/index", "logs-auth.sshd-default"),
        Demand("indices:admin/delete", ".ds-logs-auth.sshd-default-000001"),
        Demand("indices:data/write/delete", "sigmawatch-archive-x"),
        Demand("indices:data/read/search", "sigmawatch-alerts-default-2026.03"),
        Demand("indices:admin/index_template/put", None),
    ],
    "analyst": [
        Demand("indices:data/write/index", "sigmawatch-alerts-default-2026.03"),
        Demand("indices:data/write/bulk[s]", "sigmawatch-alerts-default-2026.03"),
        Demand("indices:admin/delete", "logs-auth.sshd-default"),
        Demand("indices:data/read/search", "sigmawatch-detections"),
        Demand("cluster:admin/ingest/pipeline/get", None),
    ],
    "shipper": [
        Demand("indices:data/read/search", "logs-auth.sshd-default"),
        Demand("indices:data/read/get", "logs-auth.sshd-default"),
        Demand("indices:data/write/delete", "logs-auth.sshd-default"),
        Demand("indices:data/write/index", "sigmawatch-alerts-default-2026.03"),
    ],
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_role_allows_no_more_than_its_work(name: str) -> None:
    role = opensearch_role(name, retention=False)
    assert [demand for demand in FORBIDDEN[name] if granted(role, demand)] == []


@pytest.mark.parametrize("name", FORBIDDEN)
def test_the_roles_of_a_tenant_reach_its_logs_and_alerts_and_no_others(name: str) -> None:
    role = opensearch_role(name, tenant="acme")
    for index in ("logs-auth.sshd-beta", "sigmawatch-alerts-beta-2026.03", "sigmawatch-alerts"):
        for action in ("indices:data/read/search", "indices:data/write/index", "indices:admin/delete"):
            assert granted(role, Demand(action, index)) == []


# The plugins that are stood in for ---------------------------------------------------------------------------

PLUGINS: list[tuple[str, str, list[str]]] = [
    # opensearch-project/index-management, indexstatemanagement/resthandler and transport/action
    ("GET", r"/_plugins/_ism/policies", ["cluster:admin/opendistro/ism/policy/search"]),
    ("GET", r"/_plugins/_ism/policies/[^/]+", ["cluster:admin/opendistro/ism/policy/get"]),
    ("PUT", r"/_plugins/_ism/policies/[^/]+", ["cluster:admin/opendistro/ism/policy/write"]),
    ("DELETE", r"/_plugins/_ism/policies/[^/]+", ["cluster:admin/opendistro/ism/policy/delete"]),
    ("GET", r"/_plugins/_ism/explain/.+", ["cluster:admin/opendistro/ism/managedindex/explain", "MANAGED"]),
    ("POST", r"/_plugins/_ism/add/.+", ["cluster:admin/opendistro/ism/managedindex/add", "MANAGED"]),
    (
        "POST",
        r"/_plugins/_ism/change_policy/.+",
        ["cluster:admin/opendistro/ism/managedindex/change", "MANAGED"],
    ),
    ("POST", r"/_plugins/_ism/remove/.+", ["cluster:admin/opendistro/ism/managedindex/remove", "MANAGED"]),
    # AlertingActions of opensearch-project/common-utils; ExecuteMonitorAction of opensearch-project/alerting
    ("POST", r"/_plugins/_alerting/monitors/_search", ["cluster:admin/opendistro/alerting/monitor/search"]),
    (
        "POST",
        r"/_plugins/_alerting/monitors/.+/_execute",
        ["cluster:admin/opendistro/alerting/monitor/execute"],
    ),
    (
        "POST",
        r"/_plugins/_alerting/monitors",
        ["cluster:admin/opendistro/alerting/monitor/write", "SEARCHED"],
    ),
    ("GET", r"/_plugins/_alerting/monitors/.+", ["cluster:admin/opendistro/alerting/monitor/get"]),
    (
        "PUT",
        r"/_plugins/_alerting/monitors/.+",
        ["cluster:admin/opendistro/alerting/monitor/write", "SEARCHED"],
    ),
    ("DELETE", r"/_plugins/_alerting/monitors/.+", ["cluster:admin/opendistro/alerting/monitor/delete"]),
]
_OF_INDEX = {
    "MANAGED": Demand("indices:admin/opensearch/ism/managedindex", ".ds-logs-a-b-000001"),
    "SEARCHED": Demand("indices:data/read/search", "logs-a-b"),
}


def asked_of_plugins(requests: list[tuple[str, str]]) -> set[Demand]:
    found: set[Demand] = set()
    for method, path in requests:
        if not path.startswith("/_plugins/"):
            continue
        names = next(names for verb, form, names in PLUGINS if verb == method and re.fullmatch(form, path))
        found |= {_OF_INDEX.get(name) or Demand(name, None) for name in names}
    return found


@pytest.mark.parametrize("tenant", ["", "b"])
def test_policies_of_index_management_are_deployed_by_a_deployer(tenant: str) -> None:
    with LifecycleStandIn(opensearch=True) as server:
        target = target_at(server.url)
        with target.cluster:
            target.deploy(*made(Mechanism.ISM))
            server.streams[STREAM] = [OLD]
            for days in (60, 30):
                target.deploy(*made(Mechanism.ISM, days))
            apply(target.cluster, removal_plan(target.cluster, pack="p"))
            asked = asked_of_plugins(server.requests)
    role = opensearch_role("deployer", tenant=tenant)
    assert {one for one in asked if not granted(role, one)} == set()
    used = {one for demand in asked for one in granted(role, demand)}
    assert {one for one in permissions(role) - used if "/ism/" in one} == set()


def test_monitors_are_deployed_by_a_deployer_of_monitors() -> None:
    with AlertingStandIn() as server:
        target = target_at(server.url)
        with target.cluster:
            for minutes in (5, 10):
                planned = target.plan(monitor(minutes=minutes))
                prove(target.cluster, planned, apply(target.cluster, planned))
            apply(target.cluster, removal_plan(target.cluster, pack="p"))
            asked = asked_of_plugins(server.requests)
    role = opensearch_role("deployer", target=Target.OPENSEARCH)
    assert {one for one in asked if not granted(role, one)} == set()
    used = {one for demand in asked for one in granted(role, demand)}
    # Read one by one only where an answer got lost.
    more = {"cluster:admin/opendistro/alerting/monitor/get"}
    assert {one for one in permissions(role) - used if "/alerting/" in one} == more
    assert granted(opensearch_role("deployer"), _OF_INDEX["SEARCHED"]) == []
