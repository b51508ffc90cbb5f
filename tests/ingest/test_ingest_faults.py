"""Loading through everything that can go wrong between us and a cluster: nothing is lost, nothing is doubled."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.command_line import sigmawatch, started, until
from cluster.fault_proxy import Fault, FaultProxy
from ingest.conftest import flows
from sigmawatch.cluster import ConnectionSettings, connect
from sigmawatch.ingest import sender

pytestmark = pytest.mark.engine

LINES = 24_000
BATCHES = -(-LINES // sender.BATCH_LINES)


@pytest.fixture
def proxy(deployed: str) -> Iterator[FaultProxy]:
    with FaultProxy(deployed) as found:
        yield found


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("logs") / "flow.log"
    path.write_text("\n".join(flows(LINES)) + "\n")
    return path


def ports(url: str, namespace: str) -> list[int]:
    stream = f"logs-flow.aws_vpc-{namespace}"
    with connect(ConnectionSettings(url)) as cluster:
        cluster.request("POST", f"/{stream}/_refresh")
        return sorted(
            hit["_source"]["destination"]["port"] for hit in cluster.scan(stream, source=["destination.port"])
        )


def wanted(number: int) -> list[int]:
    return sorted(int(line.split()[6]) for line in flows(number))


def arguments(url: str, namespace: str, *more: str | Path) -> list[str | Path]:
    return [
        "ingest",
        "--dataset",
        "flow.aws_vpc",
        "--namespace",
        namespace,
        "--url",
        url,
        "--format",
        "json",
        *more,
    ]


def bulks(proxy: FaultProxy, number: int) -> int:
    """Return the number of a request among those that write, 0 for any other."""
    sent = proxy.seen[:number]
    return sum(one.startswith("POST /_bulk") for one in sent) if sent[-1].startswith("POST /_bulk") else 0


FAULTS = [
    Fault.BUSY,
    Fault.UNAVAILABLE,
    Fault.BAD_GATEWAY,
    Fault.GATEWAY_TIMEOUT,
    Fault.CUT_BEFORE,
    Fault.CUT_AFTER,
    Fault.HALF,
]


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_what_passes_is_waited_for(deployed: str, proxy: FaultProxy, log: Path, fault: Fault) -> None:
    namespace = f"fault.{fault.name.lower()}"
    proxy.reset(lambda number: fault if bulks(proxy, number) in (1, 2, 4, 5) else None)
    ran = sigmawatch(*arguments(proxy.url, namespace, log))
    assert ran.code == 0, ran.err
    found = ran.json["datasets"]["flow.aws_vpc"]
    # What got through before its answer was lost is known when it is sent again.
    assert found["created"] + found["existing"] == LINES
    assert (found["existing"] > 0) == (fault in {Fault.GATEWAY_TIMEOUT, Fault.CUT_AFTER, Fault.HALF})
    assert ports(deployed, namespace) == wanted(LINES)


def test_a_request_that_is_too_long_is_split_and_later_ones_are_shorter(
    deployed: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    path = tmp_path / "flow.log"
    path.write_text("\n".join([*flows(LINES), "x" * 150_000]))
    proxy.longest = 120_000
    ran = sigmawatch(*arguments(proxy.url, "long", "--failed", tmp_path / "refused.ndjson", path))
    found = ran.json["datasets"]["flow.aws_vpc"]
    assert (ran.code, found["created"], found["failed"]) == (4, LINES, 1), ran.err
    assert "more than the cluster takes" in ran.err
    assert ports(deployed, "long") == wanted(LINES)
    assert (tmp_path / "refused.ndjson").read_text().count("\n") == 1
    refused = sum(one.startswith("POST /_bulk") for one in proxy.seen)
    assert refused < 150, "every request was too long anew"


def test_a_cluster_that_stays_busy_is_given_up_and_the_same_command_completes(
    deployed: str, proxy: FaultProxy, log: Path
) -> None:
    proxy.reset(lambda number: Fault.BUSY if bulks(proxy, number) > 2 else None)
    ran = sigmawatch(*arguments(proxy.url, "busy", "--wait", "2", "--parallel", "1", log))
    assert ran.code == 5
    assert "queue is full" in ran.err
    assert "Run the same command again" in ran.err
    assert ran.json["datasets"]["flow.aws_vpc"]["created"] == 2 * sender.BATCH_LINES
    proxy.reset()
    again = sigmawatch(*arguments(proxy.url, "busy", log))
    assert again.code == 0, again.err
    found = again.json["datasets"]["flow.aws_vpc"]
    assert (found["existing"], found["created"]) == (2 * sender.BATCH_LINES, LINES - 2 * sender.BATCH_LINES)
    assert ports(deployed, "busy") == wanted(LINES)


def test_a_refused_login_is_told_at_once(proxy: FaultProxy, log: Path) -> None:
    proxy.reset(lambda number: Fault.PAGE if bulks(proxy, number) == 2 else None)
    ran = sigmawatch(*arguments(proxy.url, "page", log))
    assert ran.code == 5
    assert "not JSON" in ran.err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_what_was_killed_in_the_middle_is_completed_by_the_same_command(
    deployed: str, proxy: FaultProxy, log: Path, number: signal.Signals
) -> None:
    namespace = f"killed.{number.name.lower()}"
    process: Any = None
    third = []

    def on_request(at: int) -> None:
        if bulks(proxy, at) == 3:
            third.append(at)
            until(lambda: process is not None)
            if number == signal.SIGKILL:
                process.kill()
            else:
                process.send_signal(number)

    proxy.on_request = on_request
    process = started(*arguments(proxy.url, namespace, "--parallel", "2", log))
    _out, err = process.communicate(timeout=180)
    assert third, "it ended before it could be killed"
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[number], err
    assert "Traceback" not in err
    assert ("Run the same command again" in err) == (number != signal.SIGKILL)
    proxy.on_request = lambda at: None
    again = sigmawatch(*arguments(deployed, namespace, log))
    assert again.code == 0, again.err
    found = again.json["datasets"]["flow.aws_vpc"]
    assert found["created"] + found["existing"] == LINES
    assert found["existing"] >= sender.BATCH_LINES
    assert ports(deployed, namespace) == wanted(LINES)
