"""`Follower` against whatever rotation and crashes can do in a row: every line arrives, and arrives once.

Files, rotation and records are real. The clock is a stand-in, and so is the cluster: it keeps what it was sent by id,
and is cut off at moments of the test's choosing. Real ones are in `test_ingest_follow.py`.
"""

from __future__ import annotations

import gzip
import os
import random
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from ingest.conftest import flows
from sigmawatch.bundle import known_datasets
from sigmawatch.ingest.follow import Follower
from sigmawatch.ingest.generations import Record

if TYPE_CHECKING:
    from sigmawatch.datasets import Dataset
    from sigmawatch.datasets.model import Event
    from sigmawatch.ingest.detect import Verdict
    from sigmawatch.ingest.identity import Lineage


HEAD = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status\n"


class _Killed(Exception):
    """Stands in for the death of the process."""


class _Cluster:
    """Stands in for the loader and the cluster behind it."""

    def __init__(self) -> None:
        self.documents: dict[str, str] = {}
        self._unanswered: dict[str, str] = {}
        self.deadly: int | None = None
        """How many more events are taken before everything ends."""

    def add(self, dataset: Dataset, event: Event, lineage: Lineage, result: Any) -> None:
        if self.deadly is not None:
            if self.deadly == 0:
                raise _Killed
            self.deadly -= 1
        self._unanswered[lineage.next_id(event)] = event.document["message"]

    def finish(self) -> None:
        if self.deadly is not None and self._unanswered:
            raise _Killed
        self.documents.update(self._unanswered)
        self._unanswered = {}

    def die(self, chance: random.Random) -> None:
        """Lose what was not answered; any part of it may be in nevertheless."""
        for doc_id, text in self._unanswered.items():
            if chance.random() < 0.5:
                self.documents[doc_id] = text
        self._unanswered = {}
        self.deadly = None


def _unasked(text: str) -> Verdict:
    raise AssertionError("the dataset is given")


class Log(RuleBasedStateMachine):
    """A log that is written, rotated in every way and followed by somebody who is killed now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.logs = self.folder / "logs"
        self.logs.mkdir()
        self.log = self.logs / "flow.log"
        self.record = self.folder / "record.json"
        self.dataset = next(one for one in known_datasets(()) if one.name == "flow.aws_vpc")
        self.cluster = _Cluster()
        self.written: list[str] = []
        self.part = ""
        self.renamed = 0.0
        self.now = 1_800_000_000.0
        clock = mock.Mock(time=lambda: self.now, monotonic=lambda: self.now)
        self.patched = mock.patch("sigmawatch.ingest.follow.time", clock)
        self.patched.start()
        self.follower: Follower | None = None

    @initialize(folder=st.booleans(), copies=st.booleans(), heads=st.booleans())
    def begin(self, folder: bool, copies: bool, heads: bool) -> None:
        """`copies`: how this log is rotated; nobody does it now this way, now that. `heads`: all files begin alike."""
        self.heads = heads
        self.argument = str(self.logs if folder else self.log)
        self.copies = copies

    def passes(self, seconds: float = 1.0) -> None:
        self.now += seconds

    def append(self, text: str) -> None:
        self.passes()
        with self.log.open("a") as file:
            if self.heads and not file.tell():
                file.write(HEAD)
            file.write(text)
        os.utime(self.log, (self.now, self.now))

    @rule(number=st.integers(1, 40), long=st.booleans())
    def write(self, number: int, long: bool) -> None:
        lines = flows(number * (10 if long else 1), 1000 + len(self.written))
        self.written += lines
        self.append(self.part + "".join(f"{line}\n" for line in lines))
        self.part = ""

    @rule()
    def write_half_a_line(self) -> None:
        if not self.part:
            line = flows(1, 1000 + len(self.written))[0] + "\n"
            self.written.append(line[:-1])
            self.append(line[:-10])
            self.part = line[-10:]

    def complete(self) -> None:
        if self.part:
            self.append(self.part)
            self.part = ""

    def is_known(self) -> bool:
        """Whether it was followed before; what was rotated before that is not what is followed."""
        record = Record(self.record)
        record.load()
        return bool(record.generations)

    def shift(self, packed: bool) -> Path:
        """Make room for the newest of the rotated files; what was there is packed or not."""
        olds = sorted(self.logs.glob("flow.log.*"), key=lambda one: int(one.name.split(".")[2]), reverse=True)
        for old in olds:
            number = int(old.name.split(".")[2])
            new = old.with_name(f"flow.log.{number + 1}{'.gz' if old.suffix == '.gz' else ''}")
            old.rename(new)
            if packed:
                self.pack(new)
        return self.logs / "flow.log.1"

    def pack(self, path: Path) -> None:
        if path.suffix != ".gz":
            status = path.stat()
            new = path.with_name(path.name + ".gz")
            with path.open("rb") as plain, gzip.open(new, "wb") as file:
                shutil.copyfileobj(plain, file)
            os.utime(new, (status.st_mtime, status.st_mtime))
            path.unlink()

    @precondition(lambda self: not self.copies and self.log.exists() and self.is_known())
    @rule(packed=st.booleans(), at_once=st.booleans(), create=st.booleans())
    def rotate_by_renaming(self, packed: bool, at_once: bool, create: bool) -> None:
        self.complete()
        self.passes()
        status = self.log.stat()
        busy = status.st_size > len(HEAD) and self.now - status.st_mtime < 30
        new = self.shift(packed)
        self.log.rename(new)
        if at_once:
            self.pack(new)
        # Of a quiet log only the real clock tells when it was renamed.
        self.renamed = self.now if busy and not at_once else 0.0
        if create:
            self.append("")

    @precondition(lambda self: self.renamed > self.now - 30 and (self.logs / "flow.log.1").exists())
    @rule(number=st.integers(1, 10))
    def write_to_the_renamed(self, number: int) -> None:
        """Who writes a log goes on for a while until it opens the new one."""
        lines = flows(number, 1000 + len(self.written))
        self.written += lines
        self.passes()
        old = self.logs / "flow.log.1"
        with old.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)
        os.utime(old, (self.now, self.now))

    @precondition(lambda self: self.copies and self.log.exists() and self.is_known())
    @rule(packed=st.booleans(), looked=st.booleans(), keeps_time=st.booleans())
    def rotate_by_copying(self, packed: bool, looked: bool, keeps_time: bool) -> None:
        self.complete()
        self.passes()
        copy = self.shift(packed)
        shutil.copy2(self.log, copy)
        if not keeps_time:
            os.utime(copy, (self.now, self.now))
        elif looked:
            looked = False  # when it was made, only the real clock tells
        if looked and self.follower is not None:
            self.look()
        self.passes(0.5)
        os.truncate(self.log, 0)
        os.utime(self.log, (self.now, self.now))

    @rule()
    def look(self) -> None:
        self.passes()
        if self.follower is None:
            record = Record(self.record)
            record.load()
            loader: Any = self.cluster
            follower = Follower(self.argument, record, loader, {}, _unasked, self.dataset, {}, str)
            self.follower = follower
        assert self.follower is not None
        self.follower.round()
        self.cluster.finish()
        self.follower.record.save()

    # Of a file of which no more than the heading was read, nothing tells it from another once both are packed.
    @precondition(lambda self: not self.heads)
    @rule(events=st.integers(0, 60), seed=st.integers(0, 1000))
    def look_and_die(self, events: int, seed: int) -> None:
        self.cluster.deadly = events
        with suppress(_Killed):
            self.look()
        self.cluster.die(random.Random(seed))
        self.stop()

    @rule()
    def stop(self) -> None:
        if self.follower is not None:
            self.follower.close()
            self.follower = None

    @rule(seconds=st.sampled_from([5.0, 30.0, 300.0]))
    def wait(self, seconds: float) -> None:
        self.passes(seconds)

    def teardown(self) -> None:
        try:
            self.complete()
            self.append("")  # what came and went is looked for when there is a new one
            for _ in range(4):
                self.look()
                self.passes(30)
            found = sorted(one for one in self.cluster.documents.values() if one != HEAD.strip())
            missing = sorted(set(self.written) - set(found))
            assert not missing, f"{len(missing)} of {len(self.written)} lines were lost"
            assert len(found) == len(self.written), "lines came twice"
        finally:
            self.stop()
            self.patched.stop()
            shutil.rmtree(self.folder)


Log.TestCase.settings = settings(
    max_examples=250,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],  # the machine may do other work
)
TestLog = Log.TestCase
