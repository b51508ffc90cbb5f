"""Every request of an archive run spoiled in turn: the next run completes it, nothing is lost, doubled or called complete."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from archive.archived_streams import TOTAL, Streams, connected, now
from child import python
from cluster.fault_proxy import Fault, FaultProxy
from sigmawatch.archive.archiver import archive
from sigmawatch.cluster import Cluster, ConnectionSettings
from sigmawatch.cluster.retry import RetryPolicy
from sigmawatch.errors import SigmawatchError

pytestmark = pytest.mark.engine

STRIDE = 1 if os.environ.get("SIGMAWATCH_EVERY_FAULT") else 5
"""Usually each fault meets every fifth request, each fault another one."""


def soon(seconds: float) -> None:
    threading.Event().wait(min(seconds, 0.02))


class Bench:
    """A stream whose archive is made through a proxy that spoils requests."""

    def __init__(self, streams: Streams, proxy: FaultProxy) -> None:
        self.streams = streams
        self.proxy = proxy
        streams.deploy()
        self.source = streams.fill()
        self.through: Cluster = connected(
            proxy.url,
            settings=ConnectionSettings(proxy.url, timeout=5.0),
            retry=RetryPolicy(attempts=2),
            sleep=lambda seconds: None,
        )

    def run(self) -> str:
        """Archive through the proxy; return what went wrong, which is always told in words."""
        try:
            run = archive(self.through, now(), sleep=soon)
        except SigmawatchError as error:
            return error.message
        return "; ".join(run.failed.values())

    def check_truth(self) -> None:
        """Assert that the source is as it was, and that nothing is called complete that is not."""
        assert len(self.streams.documents(self.source)) == TOTAL
        for copy in self.streams.copies():
            found = self.streams.cluster.request("GET", f"/{copy}")[copy]["mappings"].get("_meta", {})
            if found.get("sigmawatch", {}).get("archived"):
                assert len(self.streams.documents(copy)) == TOTAL

    def completed(self) -> None:
        """Assert that the next run, undisturbed, completes everything."""
        self.proxy.reset()
        assert self.run() == ""
        assert len(self.streams.copies()) == 1
        self.streams.check(self.source)
        self.proxy.reset()
        assert self.run() == ""
        assert not [one for one in self.proxy.seen if not one.startswith("GET ")], (
            "there was nothing left to do"
        )


@pytest.fixture
def bench(streams: Streams) -> Iterator[Bench]:
    with FaultProxy(streams.url) as proxy:
        made = Bench(streams, proxy)
        yield made
        made.through.close()


FAULTS = [
    Fault.CUT_BEFORE,
    Fault.CUT_AFTER,
    Fault.HALF,
    Fault.BUSY,
    Fault.UNAVAILABLE,
    Fault.GATEWAY_TIMEOUT,
    Fault.PAGE,
]


@pytest.mark.parametrize("onwards", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_of_which_a_request_is_spoiled_is_completed_by_the_next(
    bench: Bench, fault: Fault, onwards: bool
) -> None:
    at = (FAULTS.index(fault) + 3 * onwards) % STRIDE + 1
    while True:

        def spoils(request: int, at: int = at) -> Fault | None:
            return fault if request == at or (onwards and request > at) else None

        bench.streams.forget_copies()
        bench.proxy.reset(spoils)
        told = bench.run()
        made = len(bench.proxy.seen)
        bench.check_truth()
        bench.completed()
        if at > made:
            assert told == ""
            break
        at += STRIDE
    assert at > 15


KILLED = """
import sys
from archive.archived_streams import connected, now
from sigmawatch.archive.archiver import archive

archive(connected(sys.argv[1]), now())
print("done", flush=True)
"""


def test_a_run_that_is_killed_at_any_request_is_completed_by_the_next(bench: Bench) -> None:
    at, killed = 2, 0
    while True:
        at += max(2, STRIDE)
        bench.streams.forget_copies()
        process: Any = subprocess.Popen(python(KILLED, bench.proxy.url), stdout=subprocess.PIPE, text=True)

        def kill(request: int, at: int = at, process: Any = process) -> None:
            if request == at:
                os.kill(process.pid, signal.SIGKILL)
                process.wait(timeout=180)

        bench.proxy.reset()
        bench.proxy.on_request = kill
        lived = process.communicate(timeout=180)[0] == "done\n"
        bench.proxy.on_request = lambda request: None
        killed += not lived
        bench.check_truth()
        bench.completed()
        if lived:
            break
    assert killed >= 3
