"""Somebody else changes an artifact while we deploy: what they made is kept, told of, and everything else goes on.

A proxy lets them act at a chosen request: after our look under the lock, at the very write, or right after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cluster.fault_proxy import Fault, FaultProxy
from deploy.alerting_stand_in import AlertingStandIn
from deploy.deploy_targets import PREFIX, Target, pipeline, target_at
from deploy.kibana_stand_in import KibanaStandIn
from deploy.lifecycle_stand_in import LifecycleStandIn
from deploy.test_deploy_kibana_faults import rule, view
from deploy.test_deploy_monitors import monitor
from deploy.test_deploy_policies import ilm, ism
from deploy.test_deploy_watch import watch
from deploy.watcher_stand_in import WatcherStandIn
from sigmawatch.artifact import Artifact
from sigmawatch.cluster import Cluster, ConnectionSettings, connect
from sigmawatch.deploy import ApplyResult, DeployIncomplete, apply, plan
from sigmawatch.deploy.kinds import all_kinds
from sigmawatch.deploy.spaces import placed

AFTER_THE_LOOK = "HEAD /sigmawatch-releases"
"""The first request after what is live was compared with the plan under the lock."""


def component(value: str) -> Artifact:
    mappings = {"properties": {value: {"type": "keyword"}}}
    return Artifact("component_template", f"{PREFIX}component", {"template": {"mappings": mappings}})


def template(priority: int) -> Artifact:
    body = {"index_patterns": [f"{PREFIX}logs-*"], "priority": priority}
    return Artifact("index_template", f"{PREFIX}template", body)


def script(value: int) -> Artifact:
    body = {"script": {"lang": "painless", "source": f"return {value};"}}
    return Artifact("stored_script", f"{PREFIX}script", body)


def detection(value: str) -> Artifact:
    return Artifact("detection", f"{PREFIX}detection", {"n": value})


def versioned(number: int, value: str) -> Artifact:
    body = {"version": number, "processors": [{"set": {"field": "a", "value": value}}]}
    return Artifact("ingest_pipeline", f"{PREFIX}versioned", body)


OURS = {
    "pipeline": (pipeline("p", "ours"), pipeline("p", "new"), pipeline("p", "theirs")),
    "component template": (component("ours"), component("new"), component("theirs")),
    "index template": (template(901), template(902), template(909)),
    "stored script": (script(1), script(2), script(9)),
    "detection": (detection("ours"), detection("new"), detection("theirs")),
}
"""What is deployed, what shall be, and what somebody else makes of it meanwhile."""

OTHER = pipeline("other", "2")
"""Has nothing to do with it."""


def put(cluster: Cluster, artifact: Artifact) -> None:
    """Write as somebody does who knows nothing of us: no marks, no versions."""
    paths = {
        "ingest_pipeline": "/_ingest/pipeline/",
        "component_template": "/_component_template/",
        "index_template": "/_index_template/",
        "stored_script": "/_scripts/",
        "detection": "/sigmawatch-detections/_doc/",
    }
    cluster.request(
        "PUT",
        paths[artifact.kind] + artifact.id,
        dict(artifact.body),
        params={"refresh": "true"} if artifact.kind == "detection" else None,
    )


def live(cluster: Cluster, artifact: Artifact) -> Any:
    kind = all_kinds()[artifact.kind]
    found = kind.read_all(cluster, [artifact.id]).get(artifact.id)
    return None if found is None else kind.normalise(found)


def normal(artifact: Artifact) -> Any:
    return all_kinds()[artifact.kind].normalise(artifact.body)


@contextmanager
def meddling(url: str, act: Callable[[], object], when: Callable[[str], bool]) -> Iterator[Cluster]:
    """Yield a cluster whose requests let somebody act, once, before the one that `when` names is passed on."""
    with (
        FaultProxy(url) as proxy,
        connect(ConnectionSettings(proxy.url)) as through,
        _acting(proxy, act, when),
    ):
        yield through


@contextmanager
def _acting(proxy: FaultProxy, act: Callable[[], object], when: Callable[[str], bool]) -> Iterator[None]:
    """Let somebody act, once, before the request that `when` names is passed on."""
    acted: list[int] = []

    def on_request(number: int) -> None:
        if not acted and when(proxy.seen[-1]):
            acted.append(number)
            act()

    proxy.on_request = on_request
    yield
    assert acted, "nobody came to act"


def deployed(through: Cluster, *artifacts: Artifact) -> ApplyResult:
    return apply(through, plan(through, artifacts, pack="p"))


def refused(through: Cluster, *artifacts: Artifact) -> str:
    """Deploy and return why the only artifact that was not written was not."""
    with pytest.raises(DeployIncomplete) as caught:
        deployed(through, *artifacts)
    (failed,) = caught.value.result.failed
    return failed.error


EACH = pytest.mark.parametrize(("old", "new", "theirs"), OURS.values(), ids=OURS)


@EACH
def test_a_change_after_the_look_under_the_lock_is_kept(
    either: Target, old: Artifact, new: Artifact, theirs: Artifact
) -> None:
    either.deploy(old)
    with meddling(either.cluster.url, lambda: put(either.cluster, theirs), AFTER_THE_LOOK.__eq__) as through:
        assert "was changed by somebody else meanwhile, and was left as it is" in refused(through, new, OTHER)
    assert live(either.cluster, new) == normal(theirs)
    assert live(either.cluster, OTHER) == normal(OTHER), "all else goes on"
    assert either.actions(new, OTHER) == ["drifted", "unchanged"] or either.actions(new, OTHER) == [
        "unchanged",
        "drifted",
    ]
    either.deploy(new, OTHER)
    assert live(either.cluster, new) == normal(new)


@EACH
def test_what_somebody_makes_of_that_name_meanwhile_is_kept(
    either: Target, old: Artifact, new: Artifact, theirs: Artifact
) -> None:
    either.deploy(OTHER, detection("so that there is an index"))
    either.deploy(OTHER)
    with meddling(either.cluster.url, lambda: put(either.cluster, theirs), AFTER_THE_LOOK.__eq__) as through:
        assert "was changed by somebody else meanwhile" in refused(through, new, OTHER)
    assert live(either.cluster, new) == normal(theirs)
    assert "conflict" in either.actions(new, OTHER), "it is theirs"


@EACH
def test_what_somebody_changed_meanwhile_is_not_deleted(
    either: Target, old: Artifact, new: Artifact, theirs: Artifact
) -> None:
    either.deploy(old, OTHER)
    with meddling(either.cluster.url, lambda: put(either.cluster, theirs), AFTER_THE_LOOK.__eq__) as through:
        assert "was changed by somebody else meanwhile" in refused(through, OTHER)
    assert live(either.cluster, new) == normal(theirs)
    either.deploy(OTHER)
    assert live(either.cluster, new) is None, "the next plan showed it"


@pytest.mark.parametrize("name", ["component template", "index template", "detection"])
def test_of_some_kinds_the_cluster_itself_refuses_to_create_what_is_there_by_then(
    either: Target, name: str
) -> None:
    _, new, theirs = OURS[name]
    either.deploy(OTHER, detection("so that there is an index"))
    either.deploy(OTHER)
    at = "POST /_bulk?refresh=true" if name == "detection" else "?create=true"
    seen: list[str] = []

    def the_write(request: str) -> bool:
        seen.append(request)
        # The third bulk request: after the release's bodies and itself, and the intention.
        return at in request and (name != "detection" or _bulks(seen) == 4)

    with meddling(either.cluster.url, lambda: put(either.cluster, theirs), the_write) as through:
        assert "was changed by somebody else meanwhile" in refused(through, new, OTHER)
    assert live(either.cluster, new) == normal(theirs)


def _bulks(seen: list[str]) -> int:
    return sum("/_bulk" in request for request in seen)


def test_a_detection_is_only_replaced_in_the_version_that_was_read(either: Target) -> None:
    old, new, theirs = OURS["detection"]
    either.deploy(old)
    seen: list[str] = []

    def the_write(request: str) -> bool:
        seen.append(request)
        return "/_bulk" in request and "_mget" in seen[-2]

    with meddling(either.cluster.url, lambda: put(either.cluster, theirs), the_write) as through:
        assert "was changed by somebody else meanwhile" in refused(through, new)
    assert live(either.cluster, new) == normal(theirs)


@pytest.mark.elasticsearch
def test_a_pipeline_with_versions_is_only_replaced_in_the_version_that_was_read(elastic: Target) -> None:
    elastic.deploy(versioned(1, "ours"))

    def the_write(request: str) -> bool:
        return request == f"PUT /_ingest/pipeline/{PREFIX}versioned?if_version=1"

    theirs = versioned(5, "theirs")
    with meddling(elastic.cluster.url, lambda: put(elastic.cluster, theirs), the_write) as through:
        assert "was changed by somebody else meanwhile" in refused(through, versioned(2, "new"))
    assert live(elastic.cluster, theirs) == normal(theirs)
    elastic.deploy(versioned(6, "new"))
    elastic.deploy(versioned(6, "newer"))
    assert live(elastic.cluster, theirs) == normal(versioned(6, "newer"))


@EACH
def test_a_change_right_after_the_write_is_told_and_shown_by_the_next_plan(
    either: Target, old: Artifact, new: Artifact, theirs: Artifact
) -> None:
    either.deploy(old)
    seen: list[str] = []

    def read_back(request: str) -> bool:
        seen.append(request)
        written = any(
            (one.startswith("PUT /_") and f"/{new.id}" in one)
            or (new.kind == "detection" and _bulks(seen[:-1]) >= 4)
            for one in seen[:-1]
        )
        return written and not request.startswith("PUT")

    with meddling(either.cluster.url, lambda: put(either.cluster, theirs), read_back) as through:
        assert refused(through, new) == "written, and changed by somebody else right after it"
    assert either.actions(new) == ["drifted"]
    either.deploy(new)
    assert either.actions(new) == ["unchanged"]


@pytest.mark.parametrize("fault", [Fault.CUT_AFTER, Fault.HALF, Fault.LATE, Fault.GATEWAY_TIMEOUT])
@pytest.mark.parametrize("before", [True, False], ids=["update", "creation"])
def test_our_own_write_whose_answer_got_lost_is_nobody_elses(
    either: Target, fault: Fault, before: bool
) -> None:
    """Each such write is sent again, and then meets itself."""
    if before:
        either.deploy(versioned(1, "a"), *(old for old, _, _ in OURS.values()))
    news = [versioned(2, "b"), *(new for _, new, _ in OURS.values())]
    with FaultProxy(either.cluster.url) as proxy:
        settings = ConnectionSettings(proxy.url, timeout=2.0)
        with connect(settings, sleep=lambda seconds: None) as through:
            planned = plan(through, news, pack="p")
            spoilt: list[str] = []

            def spoils(number: int) -> Fault | None:
                request = proxy.seen[-1]
                if (
                    request.startswith("PUT /_")
                    or (
                        "_bulk" in request
                        and any("mget" in one or "HEAD /sigmawatch-det" in one for one in proxy.seen)
                    )
                ) and request not in spoilt:
                    spoilt.append(request)
                    return fault
                return None

            proxy.reset(spoils)
            apply(through, planned)
            assert len(spoilt) >= 6
    assert set(either.actions(*news)) == {"unchanged"}


def test_a_deploy_that_changes_nothing_makes_no_more_requests_for_it(either: Target) -> None:
    everything = [new for _, new, _ in OURS.values()]
    either.deploy(*everything)
    with either.counted() as requests:
        either.deploy(*everything)
    assert len(requests) <= 3 + len(everything) + 1, requests


# Stand-ins --------------------------------------------------------------------------------------------------


def meddled(
    url: str, act: Callable[[], object], when: Callable[[str], bool], old: Artifact | None, new: Artifact
) -> str:
    """Deploy an artifact, change it while somebody acts, and return why it was refused."""
    if old is not None:
        with connect(ConnectionSettings(url)) as direct:
            deployed(direct, old)
    with meddling(url, act, when) as through:
        return refused(through, new)


def test_a_watch_that_only_gains_is_replaced_in_the_version_that_was_read() -> None:
    with WatcherStandIn() as server:

        def act() -> None:
            found = server.watches["sigmawatch-one"]
            found.body["throttle_period"] = "9h"
            found.seq_no += 100

        def the_write(request: str) -> bool:
            return request.startswith("PUT /_watcher/watch/") and "if_seq_no" in request

        error = meddled(server.url, act, the_write, watch(), watch(interval="10m"))
        assert "was changed by somebody else meanwhile" in error
        assert server.watches["sigmawatch-one"].body["throttle_period"] == "9h"


def test_a_watch_that_loses_a_key_is_replaced_and_not_merged() -> None:
    with WatcherStandIn() as server, target_at(server.url).cluster as cluster:
        deployed(cluster, watch(throttle_period="1h"))
        deployed(cluster, watch())
        assert server.merged == []
        assert "throttle_period" not in server.watches["sigmawatch-one"].body
        deployed(cluster, watch(interval="10m"))
        assert server.merged == ["sigmawatch-one"]


def test_a_watch_that_changed_after_the_look_under_the_lock_is_kept() -> None:
    with WatcherStandIn() as server:

        def act() -> None:
            server.watches["sigmawatch-one"].body["throttle_period"] = "9h"

        error = meddled(server.url, act, AFTER_THE_LOOK.__eq__, watch(throttle_period="1h"), watch())
        assert "was changed by somebody else meanwhile" in error
        assert server.watches["sigmawatch-one"].body["throttle_period"] == "9h"


@pytest.mark.parametrize("at_the_write", [True, False])
def test_a_monitor_that_somebody_changed_meanwhile_is_kept(at_the_write: bool) -> None:
    with AlertingStandIn() as server:

        def act() -> None:
            server.monitor("r1")["schedule"]["period"]["interval"] = 60
            (name,) = server.monitors
            server.versions[name] += 100

        def when(request: str) -> bool:
            return request.startswith("PUT /_plugins") if at_the_write else request == AFTER_THE_LOOK

        error = meddled(server.url, act, when, monitor(), monitor(minutes=10))
        assert "was changed by somebody else meanwhile" in error
        assert server.monitor("r1")["schedule"]["period"]["interval"] == 60


@pytest.mark.parametrize(
    ("opensearch", "at_the_write"),
    [(True, True), (True, False), (False, False)],
    ids=["ISM at the write", "ISM before it", "ILM before it, since it has no means at the write"],
)
def test_a_policy_that_somebody_changed_meanwhile_is_kept(opensearch: bool, at_the_write: bool) -> None:
    make = ism if opensearch else ilm
    with LifecycleStandIn(opensearch=opensearch) as server:

        def act() -> None:
            name = "states" if opensearch else "phases"
            server.policies["soc-logs"][name] = [{"name": "hot"}] if opensearch else {"hot": {"actions": {}}}
            server.versions["soc-logs"] += 100

        def when(request: str) -> bool:
            return request.startswith("PUT /_plugins/_ism") if at_the_write else request == AFTER_THE_LOOK

        error = meddled(server.url, act, when, make(90), make(30))
        assert "was changed by somebody else meanwhile" in error
        assert server.versions["soc-logs"] == 101


@pytest.fixture
def kibana() -> Iterator[KibanaStandIn]:
    with KibanaStandIn() as server:
        yield server


@contextmanager
def with_kibana(
    url: str, kibana: KibanaStandIn, act: Callable[[], object], when: Callable[[str], bool]
) -> Iterator[Cluster]:
    """Yield a real cluster with a Kibana of which the requests let somebody act, once."""
    with (
        FaultProxy(kibana.url) as proxy,
        connect(ConnectionSettings(url).with_kibana(proxy.url)) as through,
        _acting(proxy, act, when),
    ):
        yield through


def at(*artifacts: Artifact) -> list[Artifact]:
    return placed(list(artifacts), space="default", pack="p")


@pytest.mark.engine
def test_a_saved_object_that_somebody_makes_meanwhile_is_kept(target: Target, kibana: KibanaStandIn) -> None:
    theirs = {"type": "index-pattern", "attributes": {"title": "theirs-*"}, "references": []}

    def act() -> None:
        kibana.objects["index-pattern", "v"] = kibana._stored("default", "v", theirs)

    def the_import(request: str) -> bool:
        return (
            request == "POST /api/saved_objects/_import" and ("tag", "sigmawatch-default-p") in kibana.objects
        )

    with with_kibana(target.cluster.url, kibana, act, the_import) as through:
        error = refused(through, *at(view("v", "ours-*"), view("w", "other-*")))
    assert "was changed by somebody else meanwhile" in error
    assert kibana.objects["index-pattern", "v"]["attributes"]["title"] == "theirs-*"
    assert ("index-pattern", "w") in kibana.objects


@pytest.mark.engine
def test_a_saved_object_that_somebody_changes_meanwhile_is_kept(
    target: Target, kibana: KibanaStandIn
) -> None:
    def act() -> None:
        kibana.objects["index-pattern", "v"]["attributes"]["title"] = "theirs-*"

    exports: list[str] = []

    def the_look_before_the_import(request: str) -> bool:
        if "_export" in request:
            exports.append(request)
        return len(exports) > looks

    looks = 1000
    with with_kibana(target.cluster.url, kibana, act, the_look_before_the_import) as through:
        deployed(through, *at(view("v", "ours-*"), view("w", "other-*")))
        planned = plan(through, at(view("v", "new-*"), view("w", "other-*")), pack="p")
        looks = len(exports) + 1  # the one under the lock
        with pytest.raises(DeployIncomplete, match="was changed by somebody else meanwhile"):
            apply(through, planned)
    assert kibana.objects["index-pattern", "v"]["attributes"]["title"] == "theirs-*"


@pytest.mark.engine
@pytest.mark.parametrize("new", [True, False])
def test_a_rule_of_kibana_that_somebody_changes_meanwhile_is_kept(
    target: Target, kibana: KibanaStandIn, new: bool
) -> None:
    def act() -> None:
        theirs = {**rule("r").body, "rule_id": "r", "id": "x", "severity": "critical"}
        kibana.rules = {("default", "x"): kibana._rule(theirs, None)}

    reads: list[str] = []

    def the_look(request: str) -> bool:
        if ready and request.startswith("POST" if new else "GET /api/detection_engine/rules?rule_id"):
            reads.append(request)
        return bool(reads)

    ready: list[bool] = []
    with with_kibana(target.cluster.url, kibana, act, the_look) as through:
        if not new:
            deployed(through, *at(rule("r", "high")))
        ready.append(True)
        error = refused(through, *at(rule("r", "low")))
    assert "was changed by somebody else meanwhile" in error
    assert kibana.rule("r")["severity"] == "critical"
