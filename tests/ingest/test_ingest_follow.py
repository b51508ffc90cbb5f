"""`sigmawatch ingest --follow`: logs that are written, rotated and emptied while somebody reads them, or nobody does."""

from __future__ import annotations

import gzip
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.command_line import sigmawatch, started, until
from cluster.fault_proxy import Fault, FaultProxy
from ingest.conftest import flows
from sigmawatch.cluster import ConnectionSettings, connect

pytestmark = pytest.mark.engine


class Following:
    """A process that follows, and what the cluster has of it."""

    def __init__(self, url: str, tmp_path: Path, namespace: str) -> None:
        self.url = url
        self.through = url
        self.state = {"SIGMAWATCH_STATE": str(tmp_path / "state")}
        self.namespace = namespace
        self.stream = f"logs-flow.aws_vpc-{namespace}"
        self.written = 0
        self.process: subprocess.Popen[str] | None = None

    def start(self, *paths: str | Path) -> None:
        arguments = (
            "--namespace",
            self.namespace,
            "--url",
            self.through,
            "--dataset",
            "flow.aws_vpc",
            *paths,
        )
        self.process = started("ingest", "--follow", *arguments, env=self.state)

    def stop(self, number: signal.Signals = signal.SIGINT) -> str:
        assert self.process is not None
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=180)
        assert "Traceback" not in err, err
        self.process = None
        return out + err

    def lines(self, number: int) -> str:
        """Return so many new lines."""
        first = 1000 + self.written
        self.written += number
        return "".join(f"{line}\n" for line in flows(number, first))

    def write(self, path: Path, number: int) -> None:
        with path.open("a") as file:
            file.write(self.lines(number))

    def ports(self) -> list[int]:
        with connect(ConnectionSettings(self.url)) as cluster:
            cluster.request("POST", f"/{self.stream}/_refresh", ignore=(404,))
            return sorted(hit["_source"]["destination"]["port"] for hit in cluster.scan(self.stream))

    def has_all(self) -> None:
        """Wait until all that was written is there, and see that it is there once."""
        if self.process is not None:
            assert self.process.poll() is None, self.process.communicate()
        until(lambda: len(self.ports()) >= self.written)
        assert self.ports() == list(range(1000, 1000 + self.written))


@pytest.fixture
def following(deployed: str, tmp_path: Path, request: Any) -> Iterator[Following]:
    number = sorted(item.name for item in request.session.items).index(request.node.name)
    found = Following(deployed, tmp_path, f"follow{number}")
    yield found
    if found.process is not None:
        found.process.kill()
        found.process.communicate()


def test_a_file_is_read_as_it_grows_and_a_line_when_it_is_whole(following: Following, tmp_path: Path) -> None:
    log = tmp_path / "flow.log"
    following.start(log)  # not there yet
    following.write(log, 10)
    following.has_all()
    line = following.lines(1)
    with log.open("a") as file:
        file.write(line[:30])
        file.flush()
        following.write(tmp_path / "other.log", 0)
        file.write(line[30:])
    following.write(log, 5)
    following.has_all()
    said = following.stop()
    assert "16 events loaded" in said
    with connect(ConnectionSettings(following.url)) as cluster:
        broken = cluster.request("GET", f"/{following.stream}/_count?q=event.kind:pipeline_error")
    assert broken["count"] == 0


def test_rotation_by_renaming_loses_nothing_even_of_what_is_still_written_to_the_old_file(
    following: Following, tmp_path: Path
) -> None:
    log, old = tmp_path / "flow.log", tmp_path / "flow.log.1"
    following.write(log, 10)
    following.start(log)
    following.has_all()
    with log.open("a") as still_open:
        log.rename(old)
        following.write(log, 10)
        still_open.write(following.lines(10))
        still_open.flush()
        following.has_all()
        still_open.write(following.lines(3))
    following.has_all()


def test_equal_lines_of_two_generations_are_two_events(following: Following, tmp_path: Path) -> None:
    log = tmp_path / "flow.log"
    text = following.lines(5)
    log.write_text(text)
    following.start(log)
    following.has_all()
    log.rename(tmp_path / "flow.log.1")
    log.write_text(text)
    until(lambda: len(following.ports()) == 10)
    following.stop(signal.SIGKILL)
    following.start(log)
    following.write(log, 1)
    until(lambda: len(following.ports()) == 11)


def test_rotation_by_copying_and_emptying_loses_nothing_of_what_is_in_the_copy(
    following: Following, tmp_path: Path
) -> None:
    log = tmp_path / "flow.log"
    following.write(log, 200)
    following.start(log)
    following.has_all()
    following.stop()
    following.write(log, 20)
    shutil.copy2(log, tmp_path / "flow.log.1")
    with log.open("r+") as file:
        file.truncate()
    following.write(log, 7)
    following.start(log)
    following.has_all()
    shutil.copy2(log, tmp_path / "flow.log.2")
    with log.open("r+") as file:
        file.truncate()
    following.write(log, 300)  # longer at once than it was before
    following.has_all()
    # The same beginning, and longer at once: only what was read last tells that it is another text.
    text = log.read_text()
    following.stop()
    log.write_text(text[: len(text) // 3 * 2])
    following.write(log, 200)
    following.start(log)
    until(lambda: len(following.ports()) == following.written + 200)


def _copied(log: Path, old: Path) -> None:
    shutil.copy2(log, old)
    log.write_bytes(b"")


@pytest.mark.parametrize("rotate", [_copied, Path.rename])
def test_what_is_rotated_before_its_first_answer_came_is_read_after_a_restart(
    following: Following, deployed: str, tmp_path: Path, rotate: Callable[[Path, Path], object]
) -> None:
    log = tmp_path / "flow.log"
    following.write(log, 20)
    with FaultProxy(deployed) as proxy:
        proxy.reset(lambda number: Fault.CUT_AFTER if "_bulk" in proxy.seen[number - 1] else None)
        following.through = proxy.url
        following.start(log)
        until(lambda: any("_bulk" in seen for seen in proxy.seen))
        following.stop(signal.SIGKILL)
        proxy.reset()
        following.write(log, 10)  # which only the rotated file has
        rotate(log, tmp_path / "flow.log.1")
        following.write(log, 7)
        following.start(log)
        following.has_all()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_is_rotated_and_packed_while_nobody_looks_is_read_after_a_restart(
    following: Following, tmp_path: Path, number: signal.Signals
) -> None:
    log = tmp_path / "flow.log"
    (tmp_path / "flow.log.7").write_text("an old one\n")
    following.write(log, 1000)
    following.start(log)
    following.has_all()
    following.write(log, 500)
    following.stop(number)
    following.write(log, 10)
    packed = tmp_path / "flow.log.2.gz"
    log.rename(tmp_path / "flow.log.2")
    with (tmp_path / "flow.log.2").open("rb") as plain, gzip.open(packed, "wb") as file:
        shutil.copyfileobj(plain, file)
    (tmp_path / "flow.log.2").unlink()
    following.write(tmp_path / "flow.log.1", 20)  # came and went
    following.write(log, 30)
    following.start(log)
    following.has_all()
    following.write(log, 5)
    following.has_all()


def test_files_that_appear_in_a_followed_folder_are_followed(following: Following, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    (folder / "a").mkdir(parents=True)
    following.write(folder / "a" / "flow.log", 10)
    following.start(folder)
    following.has_all()
    following.write(folder / "new.log", 10)
    (folder / "a" / "flow.log").rename(folder / "a" / "flow.log.1")
    following.write(folder / "a" / "flow.log", 10)
    following.has_all()


def test_a_cluster_that_is_away_is_waited_for(following: Following, deployed: str, tmp_path: Path) -> None:
    log = tmp_path / "flow.log"
    with FaultProxy(deployed) as proxy:
        following.through = proxy.url
        following.write(log, 10)
        following.start(log)
        following.has_all()
        proxy.reset(lambda number: (Fault.CUT_BEFORE, Fault.UNAVAILABLE, Fault.CUT_AFTER)[number % 3])
        following.write(log, 10)
        until(lambda: len(proxy.seen) >= 5)
        proxy.reset()
        following.has_all()
        following.write(log, 1)  # which is sent when the last answer came
        following.has_all()
        said = following.stop()
    assert said.count("waiting: ") == 1
    assert said.count("going on") == 1


def test_two_do_not_follow_the_same_file(following: Following, tmp_path: Path) -> None:
    log = tmp_path / "flow.log"
    following.write(log, 1)
    following.start(log)
    following.has_all()
    second = sigmawatch(
        "ingest", "--follow", "--dataset", "flow.aws_vpc", "--namespace", following.namespace, "--url", following.url,
        log, env=following.state,
    )  # fmt: skip
    assert second.code == 2
    assert "is being followed already" in second.err


def test_what_was_followed_is_not_loaded_again(following: Following, tmp_path: Path) -> None:
    log = tmp_path / "flow.log"
    following.write(log, 100)
    following.start(log)
    following.has_all()
    following.stop()
    ran = sigmawatch("ingest", "--namespace", following.namespace, "--url", following.url, log)
    assert "0 events loaded, 100 known before" in ran.out


def test_the_dataset_of_a_followed_file_is_found_out(
    following: Following, deployed: str, tmp_path: Path
) -> None:
    log = tmp_path / "flow.log"
    following.write(log, 10)
    following.process = started(
        "ingest", "--follow", "--namespace", following.namespace, "--url", deployed, log, env=following.state
    )
    following.has_all()
    assert "flow.aws_vpc" in following.stop()
    log.write_text("remember the milk\n")
    ran = sigmawatch("ingest", "--follow", "--namespace", "x", "--url", deployed, log, env=following.state)
    assert (ran.code, "--dataset NAME" in ran.err) == (2, True)


@pytest.mark.parametrize(("name", "said"), [("-", "cannot be followed"), ("flow.log.gz", "is packed")])
def test_what_cannot_be_followed_is_told(deployed: str, tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "flow.log.gz").write_bytes(gzip.compress(b"x\n"))
    given = name if name == "-" else tmp_path / name
    ran = sigmawatch(
        "ingest", "--follow", "--dataset", "flow.aws_vpc", "--url", deployed, given,
        env={"SIGMAWATCH_STATE": str(tmp_path / "state")},
    )  # fmt: skip
    assert ran.code == 2
    assert said in ran.err
