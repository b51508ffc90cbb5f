"""Every request of a deploy spoiled in turn: the next run converges, nothing foreign is touched, nothing doubled."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from child import python
from cluster.fault_proxy import Fault, FaultProxy
from deploy.deploy_targets import PREFIX, Target, pipeline
from deploy.spoilt_deploys import Witness, spoilt_deploys
from sigmawatch.artifact import Artifact
from sigmawatch.cluster import Cluster, ConnectionSettings, connect
from sigmawatch.cluster.retry import RetryPolicy
from sigmawatch.deploy import apply
from sigmawatch.deploy import plan as make_plan
from sigmawatch.deploy.journal import Journals
from sigmawatch.deploy.registry import REGISTRY_INDEX, read_registry
from sigmawatch.deploy.releases import list_releases, read_release, restored
from sigmawatch.deploy.status import read_status
from sigmawatch.errors import SigmawatchError

pytestmark = pytest.mark.engine

STRIDE = 1 if os.environ.get("SIGMAWATCH_EVERY_FAULT") else 8
"""Each fault at each request takes a quarter of an hour. Usually each fault meets every eighth request, each fault
another one, so that together they meet all of them."""

FOREIGN = {"description": "theirs", "processors": []}


def version(number: int) -> list[Artifact]:
    """One of two bundles: between them everything is created, updated, deleted or left alone once."""
    value = str(number)
    component = Artifact(
        "component_template",
        f"{PREFIX}component",
        {"template": {"mappings": {"properties": {f"a{number}": {"type": "keyword"}}}}},
    )
    template = Artifact(
        "index_template",
        f"{PREFIX}template",
        {"index_patterns": [f"{PREFIX}logs-*"], "composed_of": [component.id], "priority": 900 + number},
        depends_on=(component.key,),
    )
    detections = [
        Artifact("detection", f"{PREFIX}{name}", {"n": name}) for name in ("kept", f"only-{number}")
    ]
    return [
        component,
        template,
        pipeline("constant"),
        pipeline("changing", value),
        pipeline(f"only-{number}"),
        *detections,
    ]


class Bench:
    """A cluster seen directly and through a proxy that spoils requests."""

    def __init__(self, target: Target, proxy: FaultProxy, folder: Path) -> None:
        self.target = target
        self.journals = Journals(folder)
        self.proxy = proxy
        settings = ConnectionSettings(proxy.url, timeout=1.0)
        retry = RetryPolicy(attempts=2)
        self.through: Cluster = connect(settings, retry=retry, sleep=lambda seconds: None)
        target.cluster.request("PUT", f"/_ingest/pipeline/{PREFIX}theirs", FOREIGN)
        target.deploy(*version(1))
        keys = {one.key for number in (1, 2) for one in version(number)}
        self.witness = Witness(target.cluster, self.journals, keys)

    def version(self, number: int) -> list[Artifact]:
        return version(number)

    def deploy(self, number: int) -> SigmawatchError | None:
        """Deploy through the proxy; what goes wrong is always an error in words."""
        try:
            apply(self.through, make_plan(self.through, version(number), pack="p"), journals=self.journals)
        except SigmawatchError as error:
            return error
        return None

    def expire_lock(self) -> None:
        """Let the lock of a deployer that could not give it back expire."""
        path = f"/{REGISTRY_INDEX}/_doc/lock"
        found = self.target.cluster.request("GET", path, ignore=(404,))
        if found and found.get("found"):
            past = {**found["_source"], "expires": "2000-01-01T00:00:00+00:00"}
            self.target.cluster.request("PUT", path, past)

    def check(self, number: int) -> None:
        """Assert that one version is deployed: all of it, once, and nothing else was touched."""
        wanted = version(number)
        cluster = self.target.cluster
        plan = self.target.plan(*wanted)
        assert plan.summary == f"{len(wanted)} unchanged"
        assert not plan.has_work
        pipelines = cluster.request("GET", f"/_ingest/pipeline/{PREFIX}*")
        assert pipelines.pop(f"{PREFIX}theirs") == FOREIGN
        assert set(pipelines) == {one.id for one in wanted if one.kind == "ingest_pipeline"}
        found = Counter(hit["_id"] for hit in cluster.scan("sigmawatch-detections"))
        assert found == Counter(one.id for one in wanted if one.kind == "detection")
        assert set(read_registry(cluster)) == {one.key for one in wanted}
        assert read_status(cluster).in_place
        newest = list_releases(cluster, "p")[0]
        assert newest.is_complete
        back = restored(cluster, read_release(cluster, newest.number))
        assert {one.key: one.body for one in back} == {one.key: one.body for one in wanted}

    def check_truth(self, number: int) -> None:
        """Assert that nothing which a deploy left half done is taken for somebody else's doing."""
        actions = set(self.target.actions(*version(number)))
        assert actions <= {"create", "update", "delete", "record", "unchanged"}
        pipelines = self.target.cluster.request("GET", f"/_ingest/pipeline/{PREFIX}theirs")
        assert pipelines == {f"{PREFIX}theirs": FOREIGN}


@pytest.fixture
def bench(target: Target, tmp_path: Path) -> Iterator[Bench]:
    with FaultProxy(target.cluster.url) as proxy:
        made = Bench(target, proxy, tmp_path / "journals")
        with made.through:
            yield made


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name)
def test_a_request_that_is_spoiled_once_costs_at_most_another_run(bench: Bench, fault: Fault) -> None:
    first = list(Fault).index(fault) % STRIDE + 1
    runs = list(spoilt_deploys(bench, fault, first=first, stride=STRIDE, recover=bench.expire_lock))
    outlived = sum(run.error is None for run in runs)
    assert runs[-1].at > 25, "that was no deploy"
    # What may be sent twice was, so that nobody noticed. A page with 200 is not what a cluster says, and what is too
    # long once is too long again: those never.
    assert outlived > (0 if fault in (Fault.PAGE, Fault.TOO_LONG) else len(runs) * 0.6)


@pytest.mark.parametrize(
    "fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.HALF, Fault.GATEWAY_TIMEOUT, Fault.UNAVAILABLE]
)
def test_a_cluster_that_is_gone_from_some_request_on_costs_another_run(bench: Bench, fault: Fault) -> None:
    first = len(fault.name) % STRIDE + 1
    for run in spoilt_deploys(
        bench, fault, first=first, stride=STRIDE, onwards=True, recover=bench.expire_lock
    ):
        if run.was_spared:
            assert run.error is None
        elif run.error is None:
            # Only giving back the lock and forgetting old releases may fail without anybody noticing.
            assert run.at >= run.made - 3
    assert run.at > 25


KILLED = """
import sys
from pathlib import Path
from sigmawatch.cluster import ConnectionSettings, connect
from sigmawatch.deploy import apply, plan
from sigmawatch.deploy.journal import Journals
from deploy.test_deploy_faults import version

journals = Journals(Path(sys.argv[2]))
cluster = connect(ConnectionSettings(sys.argv[1]))
for line in sys.stdin:
    apply(cluster, plan(cluster, version(int(line)), pack="p"), journals=journals)
    print("done", flush=True)
"""


class Deployer:
    """A process of its own that deploys, and that can be killed."""

    def __init__(self, url: str, folder: Path) -> None:
        self.process = subprocess.Popen(
            python(KILLED, url, str(folder)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin
        assert self.process.stdout
        self.orders, self.told = self.process.stdin, self.process.stdout

    def deploy(self, number: int) -> bool:
        """Return whether it lived to the end of the deploy."""
        with suppress(BrokenPipeError):
            self.orders.write(f"{number}\n")
            self.orders.flush()
        return self.told.readline() == "done\n"

    def end(self) -> None:
        with suppress(BrokenPipeError):
            self.orders.close()
        self.told.close()
        self.process.wait(timeout=180)


@pytest.mark.parametrize("delivered", [False, True], ids=["before the request", "after the request"])
def test_a_deployer_that_is_killed_at_any_request_is_followed_by_one_that_completes(
    bench: Bench, delivered: bool
) -> None:
    number, at, killed = 1, 0, 0
    while True:
        at += max(3, STRIDE)  # each takes a process of its own
        number = 3 - number
        assert bench.journals.folder is not None
        deployer = Deployer(bench.proxy.url, bench.journals.folder)

        def kill(request: int, at: int = at, deployer: Deployer = deployer) -> None:
            if request == at and not delivered:
                os.kill(deployer.process.pid, signal.SIGKILL)
                deployer.process.wait(timeout=180)
            if request == at + 1 and delivered:
                os.kill(deployer.process.pid, signal.SIGKILL)

        def unsent(request: int, at: int = at) -> Fault | None:
            # Else the proxy passed on what the dead one sent, beside the deployer that follows.
            return Fault.CUT_BEFORE if request == at and not delivered else None

        bench.witness.look()
        bench.proxy.reset(unsent)
        bench.proxy.on_request = kill
        lived = deployer.deploy(number)
        deployer.end()
        bench.proxy.reset()
        bench.proxy.on_request = lambda request: None
        killed += not lived
        bench.witness.check(version(number))
        bench.expire_lock()
        if not lived:
            bench.check_truth(number)
            assert bench.deploy(number) is None
        bench.check(number)
        if lived:
            break
    assert killed >= 4
