"""`rsyslog/sigmawatch.conf` in a real rsyslogd, writing to a real engine.

Needs `apt-get install rsyslog rsyslog-elasticsearch jq curl`.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli.command_line import until
from cluster.fault_proxy import Fault, FaultProxy
from sigmawatch.cluster import ConnectionSettings, connect

FILES = Path(__file__).parents[1] / "rsyslog"
PORTS = (9514, 9515, 9516)
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Daemon:
    """An rsyslogd whose ports, paths and waiting times are those of a test; all else is as in the file."""

    def __init__(self, folder: Path, url: str, kafka: str | None = None) -> None:
        self.folder = folder
        self.url = url
        self.ports = {port: free_port() for port in PORTS}
        self.socket = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        text = (FILES / "sigmawatch.conf").read_text(encoding="utf-8")
        self.kafka = kafka or ""
        if kafka is None:
            text = re.sub(r"(?m)^.*imkafka.*\n", "", text)
        for port, own in self.ports.items():
            assert f'port="{port}"' in text
            text = text.replace(f'port="{port}"', f'port="{own}"')
        for old, new in (
            ('"/var/log/', f'"{folder}/'),
            ('resumeInterval="5"', 'resumeInterval="1"'),
            ('resumeIntervalMax="60"', 'resumeIntervalMax="1"'),
        ):
            assert old in text
            text = text.replace(old, new)
        for name in ("nginx/access.log", "nginx/error.log"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
        (folder / "work").mkdir()
        (folder / "sigmawatch.conf").write_text(text, encoding="utf-8")
        (folder / "rsyslog.conf").write_text(
            f'global(workDirectory="{folder}/work")\n'
            'module(load="imuxsock" SysSock.Use="off")\n'
            f'input(type="imuxsock" Socket="{self.socket}")\n'
            'module(load="impstats" interval="1" format="json" log.syslog="off" '
            f'log.file="{folder}/counters")\n'
            f'include(file="{folder}/sigmawatch.conf")\n',
            encoding="utf-8",
        )

    def start(self) -> None:
        program = shutil.which("rsyslogd", path=PATH)
        assert program, "no rsyslogd: apt-get install rsyslog rsyslog-elasticsearch"
        command = [program, "-n", "-f", str(self.folder / "rsyslog.conf"), "-i", str(self.folder / "pid")]
        # The language of the environment must not change what a byte is.
        environment = {"SIGMAWATCH_URL": self.url, "KAFKA": self.kafka, "PATH": PATH, "LANG": "C.UTF-8"}
        self.process = subprocess.Popen(command, env=environment)
        until((self.folder / "pid").exists)
        until(self.socket.exists)

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.process = None

    def tcp(self, port: int, *lines: bytes) -> None:
        with socket.create_connection(("127.0.0.1", self.ports[port])) as connection:
            connection.sendall(b"".join(line + b"\n" for line in lines))

    def udp(self, port: int, *lines: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for line in lines:
                sender.sendto(line, ("127.0.0.1", self.ports[port]))

    def local(self, *lines: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(str(self.socket))
            for line in lines:
                sender.send(line)

    def queued(self) -> int:
        """Return how many documents have reached the queue in front of the cluster."""
        found = re.findall(
            r'"name": "action-\d+-omelasticsearch queue".*?"enqueued": (\d+)', self.written("counters")
        )
        return int(found[-1]) if found else 0

    def written(self, name: str) -> str:
        path = self.folder / name
        return path.read_text() if path.exists() else ""


@contextmanager
def running(folder: Path, url: str) -> Iterator[Daemon]:
    daemon = Daemon(folder, url)
    daemon.start()
    try:
        yield daemon
    finally:
        if daemon.process is not None:
            daemon.stop()


def stored(url: str, number: int) -> dict[str, list[dict[str, Any]]]:
    """Return the documents of each data stream as soon as there are so many."""
    with connect(ConnectionSettings(url)) as cluster:

        def count() -> bool:
            cluster.request("POST", "/logs-*/_refresh")
            return bool(cluster.request("GET", "/logs-*/_count")["count"] >= number)

        until(count)
        found: dict[str, list[dict[str, Any]]] = {}
        for hit in cluster.scan("logs-*"):
            found.setdefault(hit["_index"].removeprefix(".ds-").split("-")[1], []).append(hit["_source"])
        return found


TRAFFIC = (
    b"1,2026/03/01 10:00:01,001801000001,TRAFFIC,drop,2560,2026/03/01 10:00:00,198.51.100.9,10.0.0.20,0.0.0.0,0.0.0.0,"
    b"interzone-default,,,not-applicable,vsys1,untrust,dmz,ethernet1/1,ethernet1/2,to-siem,2026/03/01 10:00:00,4711,1,"
    b"40100,3389,0,0,0x400053,tcp,deny,66,66,0,1,2026/03/01 10:00:00,0,any,0,1002"
)
ASA = (
    b"<162>Mar 01 2026 10:05:00 fw1 : %ASA-2-106001: Inbound TCP connection denied from 198.51.100.9/40100 to "
    b"203.0.113.20/22 flags SYN  on interface outside"
)
FAILED = b"Failed password for root from 198.51.100.9 port %d ssh2"
SUDO = b"sudo:    alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/echo sshd[1]: %b"
ACCESS = '198.51.100.23 - - [10/Oct/2025:13:55:36 +0000] "GET /x?a=1 HTTP/1.1" 404 612 "-" "curl/8.5.0"'


def originals(documents: list[dict[str, Any]]) -> list[str]:
    return sorted(document["event"]["original"] for document in documents)


def test_every_input_becomes_events_of_its_dataset(cluster: str, tmp_path: Path) -> None:
    relayed = b"<86>Mar  1 10:00:00 web1 " + SUDO
    with running(tmp_path, cluster) as daemon:
        daemon.udp(9514, b"<14>Mar  1 10:00:01 pa1 " + TRAFFIC)
        daemon.tcp(9515, ASA, ASA)
        daemon.tcp(
            9516,
            b"<38>Mar  1 10:00:00 web1 sshd[4711]: " + FAILED % 1,
            b"<38>1 2026-03-01T10:00:00Z web1 sshd-session 4711 - -  " + FAILED % 2,
            relayed % b'a\tb \x01 "x" \\ \xc3\xa4',
            relayed % b"bad \xff\xfe bytes",
            b"<86>Mar  1 10:00:00 w\xffeb1 su\xfedo: bytes in the header",
        )
        # What programs send to the socket has no host, and no year.
        daemon.local(
            b"<38>Mar  1 10:00:00 sshd[4711]: " + FAILED % 3, b"<86>Mar  1 10:00:00 " + SUDO % b"3\xff"
        )
        daemon.local(b"<86>Mar  1 10:00:00 b\xffd[1]: tag", b"<14>Mar  1 10:00:00 app: of no concern")
        with (tmp_path / "nginx/access.log").open("a") as log:
            log.write(ACCESS + "\n")
        found = stored(cluster, 12)
    assert {dataset: len(documents) for dataset, documents in found.items()} == {
        "firewall.paloalto": 1, "firewall.cisco_asa": 2, "auth.sshd": 3, "auth.linux": 5, "web.nginx": 1,
    }  # fmt: skip
    assert originals(found["firewall.paloalto"]) == [f"<14>Mar  1 10:00:01 pa1 {TRAFFIC.decode()}"]
    assert found["firewall.paloalto"][0]["event"]["action"] == "deny"
    # Equal lines are two events.
    assert originals(found["firewall.cisco_asa"]) == [ASA.decode()] * 2
    assert {one["source"]["port"]: one["event"]["outcome"] for one in found["auth.sshd"]} == {
        1: "failure", 2: "failure", 3: "failure",
    }  # fmt: skip
    linux = originals(found["auth.linux"])
    assert (relayed % b'a\tb \x01 "x" \\ \xc3\xa4').decode() in linux
    assert (relayed % b"bad ?? bytes").decode() in linux
    assert "<86>Mar  1 10:00:00 w?eb1 su?do: bytes in the header" in linux
    assert sum(re.fullmatch(r"<86>20\S+ \S+ -: tag", line) is not None for line in linux) == 1
    run = [one for one in found["auth.linux"] if "command_line" in one.get("process", {})]
    assert len(run) == 3, "the program decides, not a word that somebody had written"
    assert originals(found["web.nginx"]) == [ACCESS]
    assert found["web.nginx"][0]["log"]["file"]["path"] == f"{tmp_path}/nginx/access.log"
    assert not daemon.written("sigmawatch-refused.log") + daemon.written("sigmawatch-requests.log")


def test_bytes_of_all_kinds_are_kept(cluster: str, tmp_path: Path) -> None:
    chance = random.Random(5)
    lines = [
        b"<38>Mar  1 10:00:00 web1 sshd[1]: %d " % number + chance.randbytes(40).replace(b"\n", b"")
        for number in range(2_000)
    ]
    lines += [b"<13>" + chance.randbytes(30).replace(b"\n", b"") + b" %d" % number for number in range(500)]
    with running(tmp_path, cluster) as daemon:
        daemon.tcp(9516, *lines)
        found = stored(cluster, len(lines))
        assert sum(map(len, found.values())) == len(lines)
        assert len({line for documents in found.values() for line in originals(documents)}) == len(lines)
        assert not daemon.written("sigmawatch-refused.log") + daemon.written("sigmawatch-requests.log")


def failures(first: int, number: int) -> list[bytes]:
    return [b"<38>Mar  1 10:00:00 web1 sshd[4711]: " + FAILED % port for port in range(first, first + number)]


def ports(url: str, number: int) -> list[int]:
    return sorted(one["source"]["port"] for one in stored(url, number)["auth.sshd"])


FAULTS = [
    Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.HALF, Fault.BAD_GATEWAY, Fault.GATEWAY_TIMEOUT, Fault.BUSY,
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_what_fails_on_the_way_is_sent_again(cluster: str, tmp_path: Path, fault: Fault) -> None:
    def bulks(number: int) -> int:
        sent = proxy.seen[:number]
        return sum(one.startswith("POST /_bulk") for one in sent) if sent[-1].startswith("POST /_bulk") else 0

    def requests_beyond(number: int) -> Callable[[], bool]:
        return lambda: len(proxy.seen) > number

    with FaultProxy(cluster) as proxy:
        proxy.reset(lambda number: fault if bulks(number) in (1, 2, 4) else None)
        with running(tmp_path, proxy.url) as daemon:
            for part in range(5):
                one_more = requests_beyond(len(proxy.seen))
                daemon.tcp(9516, *failures(1000 + 500 * part, 500))
                until(one_more)
            if fault is Fault.BUSY:
                # A request that is refused as a whole is only written down.
                until(lambda: daemon.written("sigmawatch-requests.log").count("\n") == 3)
                command = [FILES / "resend", tmp_path / "sigmawatch-requests.log"]
                environment = {**os.environ, "SIGMAWATCH_URL": cluster}
                for _ in range(2):
                    done = subprocess.run(
                        command, env=environment, capture_output=True, text=True, check=True
                    )
                    assert done.stdout + done.stderr == ""
            assert ports(cluster, 2_500) == list(range(1000, 3500))


def test_lines_wait_on_disk_for_the_cluster(cluster: str, tmp_path: Path) -> None:
    with running(tmp_path, f"http://127.0.0.1:{free_port()}") as daemon:
        daemon.tcp(9516, *failures(1000, 3_000))
        until(lambda: daemon.queued() == 3_000)
        daemon.stop()
        daemon.url = cluster
        daemon.start()
        # rsyslogd 8.2302 loses the batch that it was trying to send.
        found = ports(cluster, 2_500)
        assert found == sorted(set(found))


def test_a_full_disk_is_waited_for_and_refused_documents_are_kept(cluster: str, tmp_path: Path) -> None:
    def block(name: str, value: bool | None) -> None:
        connected.request("PUT", "/logs-auth.sshd-default/_settings", {f"index.blocks.{name}": value})

    with connect(ConnectionSettings(cluster)) as connected, running(tmp_path, cluster) as daemon:
        daemon.tcp(9516, *failures(1000, 10))
        ports(cluster, 10)
        # What the engine does at the flood stage: 429 for each document.
        block("read_only_allow_delete", True)
        with FaultProxy(cluster) as proxy:
            daemon.stop()
            daemon.url = proxy.url
            daemon.start()
            daemon.tcp(9516, *failures(2000, 10))
            until(lambda: len(proxy.seen) > 3)
            block("read_only_allow_delete", None)
            assert ports(cluster, 20) == [*range(1000, 1010), *range(2000, 2010)]
            block("write", True)
            daemon.tcp(9516, *failures(3000, 10))
            until(lambda: daemon.written("sigmawatch-refused.log").count("\n") == 10)
            block("write", None)
    for number, line in enumerate(failures(3000, 10)):
        assert line.decode() in daemon.written("sigmawatch-refused.log").replace("\\/", "/"), number
