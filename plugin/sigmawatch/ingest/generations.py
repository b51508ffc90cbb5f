"""What is known of followed files: which file it is, whatever it is called now, and how far it was read.

A log that is rotated is one path and a sequence of files, its generations. One is known by its inode and by the hash of
its first bytes, so that neither renaming it, nor putting another file in its place, nor emptying it goes unnoticed.
The record of each followed argument is one JSON file below `ingest/` of the user's state folder (SIGMAWATCH_STATE).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import IO, TYPE_CHECKING

import orjson

from sigmawatch.errors import UsageError
from sigmawatch.folders import user_folder
from sigmawatch.ingest.identity import Beginnings, Lineage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["BEGINNING", "Generation", "Record", "beginning", "open_record"]

BEGINNING = 4096
"""Bytes by which a file is recognised; fewer as long as it is shorter."""

_KEPT = 64
"""Generations that are remembered after their end."""

_BEGINNINGS = 4096


def beginning(file: IO[bytes], length: int) -> str:
    """Return the hash of the first bytes of a file, empty when it is shorter."""
    file.seek(0)
    data = file.read(length)
    return hashlib.sha256(data).hexdigest() if len(data) == length else ""


@dataclass
class Generation:
    """One file that was or is at a followed path, and how far the cluster has it."""

    path: str
    """What it was called when it was followed."""
    device: int
    inode: int
    dataset: str = ""
    """Empty as long as that is not known."""
    offset: int = 0
    """Bytes whose events the cluster has answered for."""
    begins: str = ""
    """The hash of its first bytes."""
    length: int = 0
    """How many these are."""
    last: str = ""
    """The hash of the last bytes that were read."""
    last_length: int = 0
    """How many these are."""
    modified: float = 0.0
    """When it was last written to, as far as it was read (seconds since 1970)."""
    declared: str | None = None
    """The format that its lines declared for those after them."""
    chain: str = ""
    number: int = 0
    copy: int = 0
    """Where its lineage is; see `Lineage`."""
    ended: bool = False
    """Whether it was read to its end and is no longer written to."""

    @property
    def key(self) -> tuple[int, int]:
        """Device and inode of its file."""
        return self.device, self.inode

    def lineage(self, beginnings: Beginnings) -> Lineage:
        """Return its lineage, to be continued."""
        return Lineage(beginnings, bytes.fromhex(self.chain), self.number, self.copy)

    def advance(self, lineage: Lineage, data: bytes) -> None:
        """Note that these bytes were read."""
        self.offset += len(data)
        end = data[-BEGINNING:]
        self.last, self.last_length = hashlib.sha256(end).hexdigest(), len(end)
        self.chain, self.number, self.copy = lineage.chain.hex(), lineage.number, lineage.copy

    def is_in(self, file: IO[bytes]) -> bool:
        """Whether a file is the same as this one up to where it was read, by its first bytes and the last ones."""
        if self.length and beginning(file, self.length) != self.begins:
            return False
        file.seek(self.offset - self.last_length)
        read = file.read(self.last_length)
        return not self.last_length or hashlib.sha256(read).hexdigest() == self.last

    def remember(self, file: IO[bytes]) -> None:
        """Remember how the file begins, as soon as there is more of that."""
        if self.length < BEGINNING:
            length = min(BEGINNING, file.seek(0, os.SEEK_END))
            if length > self.length:
                self.begins, self.length = beginning(file, length), length


@dataclass
class Record:
    """All that is known of one followed argument."""

    file: Path
    generations: list[Generation] = field(default_factory=list)
    beginnings: Beginnings = field(default_factory=dict)
    _saved: bytes = b""

    def save(self) -> None:
        """Write it, so that it is there whole or as it was before. Raises UsageError where that cannot be."""
        ended = [one for one in self.generations if one.ended]
        for old in ended[:-_KEPT]:
            self.generations.remove(old)
        while len(self.beginnings) > _BEGINNINGS:
            del self.beginnings[next(iter(self.beginnings))]
        data = orjson.dumps(
            {
                "generations": [asdict(one) for one in self.generations],
                "beginnings": {key.hex(): count for key, count in self.beginnings.items()},
            }
        )
        if data == self._saved:
            return
        new = self.file.with_suffix(".new")
        try:
            with new.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self.file)
        except OSError as error:
            raise UsageError(f"{self.file} cannot be written: {error.strerror}") from error
        self._saved = data

    def load(self) -> None:
        """Read what was saved. Raises UsageError for a file that is none of ours."""
        try:
            data = orjson.loads(self.file.read_bytes())
            self.generations = [Generation(**one) for one in data["generations"]]
            self.beginnings = {bytes.fromhex(key): count for key, count in data["beginnings"].items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{self.file} cannot be read: {error}",
                hint="Without it the files are read from their beginning; what is in already is not added twice.",
            ) from error


@contextmanager
def open_record(about: Sequence[str]) -> Iterator[Record]:
    """Yield the record of what is followed, named by these texts, and keep others from following it meanwhile.

    Raises UsageError where somebody does so already.
    """
    base = user_folder("SIGMAWATCH_STATE", "XDG_STATE_HOME", ".local/state")
    if base is None:
        raise UsageError("no home folder is known for this user", hint="Set SIGMAWATCH_STATE.")
    folder = base / "ingest"
    name = hashlib.sha256("\n".join(about).encode("utf-8", "surrogateescape")).hexdigest()[:24]
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (folder / f"{name}.lock").open("w")
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be used: {error.strerror}", hint="Set SIGMAWATCH_STATE."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(f"{about[-1]} is being followed already, into the same cluster") from error
        record = Record(folder / f"{name}.json")
        record.load()
        yield record
