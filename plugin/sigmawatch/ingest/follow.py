"""Follows logs that are being written, as `tail -F` does: through rotation, truncation, restarts and outages.

In each round every file is read from where the cluster has it up to its last whole line, and when the cluster has
answered for all of that, the new places are recorded. What was sent before a crash and not recorded is sent again and
has the same ids. Of a log that was rotated, the old file is read to its end under whatever name it has now; also after
a restart, when it may be packed, and when there were several rotations meanwhile. A file is recorded before anything of
it is sent, so that it is found again even if it is rotated while the first answer never came.
"""

from __future__ import annotations

import glob
import io
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sigmawatch.datasets import FORMAT_FIELD
from sigmawatch.errors import UsageError
from sigmawatch.ingest.generations import BEGINNING, Generation, Record
from sigmawatch.ingest.load import Loaded
from sigmawatch.ingest.rotation import (
    goes_on,
    holds,
    is_beginning,
    is_rotated,
    is_same,
    key_of,
    outline,
    rotated,
    skip,
    unrotated,
)
from sigmawatch.ingest.sources import files_below, is_packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sigmawatch.datasets import Dataset
    from sigmawatch.datasets.model import Event
    from sigmawatch.ingest.detect import Verdict
    from sigmawatch.ingest.load import Loader

__all__ = ["Follower"]

_BLOCK = 4 * 1024 * 1024
"""Bytes of a file that are read in one round."""

_HEAD = 1 << 18
"""Bytes by which the dataset of a file is found out."""

_LONGEST_LINE = 64 * 1024 * 1024
_SETTLING = 10.0
"""Seconds in which a copy of a followed file may turn out to be what is kept of it when it is emptied."""

_GRACE = 60.0
"""Seconds without a change after which nobody is taken to write to a file any more that was renamed or removed."""

_UNFINISHED = 5.0
"""Seconds for which an object over several lines may lack its end."""


@dataclass
class Follower:
    """Follows one argument: a file, a folder, or a pattern."""

    argument: str
    record: Record
    loader: Loader
    datasets: Mapping[str, Dataset]
    detect: Callable[[str], Verdict]
    """Tells the dataset of a text, where none is given."""
    dataset: Dataset | None
    """The dataset of all files, if it was given."""
    results: dict[str, Loaded]
    say: Callable[[str], object]
    """Tells people what they should know."""
    _open: dict[int, IO[bytes]] = field(default_factory=dict)
    """Files by the identity of their generation, kept open so that they can be read when they are renamed or gone."""
    _held: dict[int, tuple[int, float]] = field(default_factory=dict)
    _said: dict[str, str] = field(default_factory=dict)
    _tried: dict[int, int] = field(default_factory=dict)
    """Bytes that a file of an unknown kind had when it was looked at."""
    _started: bool = False

    def close(self) -> None:
        """Close all files."""
        for file in self._open.values():
            file.close()
        self._open.clear()

    def round(self) -> int:
        """Send what is new; return how many bytes that is. Raises UsageError, ClusterError."""
        sent = 0
        known = len(self.record.generations)
        for one in self.record.generations:
            self._resume(one)
        for path in self._paths():
            try:
                with path.open("rb") as file:
                    self._meet(path, file)
            except OSError as error:
                if not isinstance(error, FileNotFoundError):
                    self._tell(str(path), f"{path} cannot be read: {error.strerror}")
        if len(self.record.generations) > known:
            self.loader.finish()  # what was packed meanwhile has been sent by now
            self.record.save()
        for one in list(self.record.generations):
            if not one.ended and id(one) not in self._open:
                self._find_again(one, Path(one.path))
            if not one.ended:
                sent += self._read(one)
        self._started = True
        return sent

    def _resume(self, one: Generation) -> None:
        """Open the file of a generation that a restart has closed, if it is still the same, whatever its name."""
        if one.ended or id(one) in self._open or not one.length:
            return
        path = Path(one.path)
        for place in (path, *(other for other, _ in rotated(unrotated(path)))):
            with suppress(OSError):
                file = place.open("rb")
                status = os.fstat(file.fileno())
                if key_of(status) == one.key and one.is_in(file):
                    self._open[id(one)] = file
                    return
                file.close()

    def _paths(self) -> list[Path]:
        path = Path(self.argument)
        if path.is_dir():
            found = files_below(path)
        elif glob.has_magic(self.argument) and not path.exists():
            matches = sorted(glob.glob(self.argument, recursive=True))  # noqa: PTH207  # absolute, too
            found = [one for one in map(Path, matches) if one.is_file()]
        else:
            return [path.absolute()]
        usable = []
        for one in found:
            with suppress(OSError):
                if not is_packed(one):
                    usable.append(one.absolute())
        return usable

    def _meet(self, path: Path, file: IO[bytes]) -> None:
        """Find out which generation the file at a path is, and what became of the one that was there."""
        status = os.fstat(file.fileno())
        key = key_of(status)
        alike = [
            one
            for one in reversed(self.record.generations)
            if one.key == key
            and (one.length or id(one) in self._open)
            # One that has ended is not where it was any more: it grows under a name of rotation, if at all.
            and (not one.ended or one.offset == status.st_size or is_rotated(path, Path(one.path)))
        ]
        # Inodes are used again: what it holds tells more.
        same = next((one for one in alike if one.length and one.is_in(file)), alike[0] if alike else None)
        if same is not None and same.is_in(file):
            if same.ended and status.st_size > same.offset:
                same.ended = False  # somebody goes on writing to what was rotated
            if not is_rotated(path, Path(same.path)):
                same.path = str(path)
            unsure = not self._started or same.offset in (0, status.st_size)
            if unsure and same.path == str(path) and status.st_mtime > same.modified:
                # It may have been emptied, or another one made, which begins with all that was read of it.
                self._find_between(same, path, file)
                others = [one for one in self.record.generations if one is not same]
                self.record.generations = [*others, same]
                same.modified = status.st_mtime
            same.remember(file)
            self._keep(same, path)
            return
        before = self._last_at(path)
        if same is not None and not same.ended:
            # Emptied or written anew in its place: what was not read yet may be in a copy.
            self._drop(same)
            self._find_again(same, Path(same.path))
        made = max(status.st_mtime, status.st_ctime)  # a copy may keep the time of what it is a copy of
        if self._is_copy(path, file, made, new=before is None):
            return
        if path == Path(self.argument).absolute() and is_packed(path):
            raise UsageError(f"{path} is packed, and cannot be followed", hint="Load it without --follow.")
        if before is not None:
            if not before.ended and id(before) not in self._open:
                self._find_again(before, path)
            self._find_between(before, path, file)
        known = before.dataset if before is not None else ""
        new = Generation(str(path), *key, dataset=known, modified=status.st_mtime)
        new.remember(file)
        self.record.generations.append(new)
        self._keep(new, path)

    def _last_at(self, path: Path) -> Generation | None:
        return next((one for one in reversed(self.record.generations) if one.path == str(path)), None)

    def _keep(self, one: Generation, path: Path) -> None:
        if id(one) not in self._open and not one.ended:
            self._open[id(one)] = path.open("rb")

    def _drop(self, one: Generation) -> None:
        one.ended = True
        if (file := self._open.pop(id(one), None)) is not None:
            file.close()

    def _is_copy(self, path: Path, file: IO[bytes], made: float, *, new: bool) -> bool:
        """Whether a file may be what `copytruncate` keeps of one that is emptied next; `new`: so is its name."""
        if time.time() - made > _SETTLING:
            return False
        return any(
            not one.ended and one.length and (new or is_rotated(path, Path(one.path))) and one.is_in(file)
            for one in self.record.generations
        )

    def _find_again(self, lost: Generation, path: Path) -> None:
        """Find the file that a generation is in now, and read on there; it has ended where there is none."""
        lost.ended = True
        if not lost.length:
            return  # nothing tells it from those that came after it, which `_find_between` finds
        found = [
            one
            for one in rotated(unrotated(path))
            if one[1].st_mtime >= lost.modified and not self._is_open(one[1])
        ]
        # Many logs begin alike: the one that it was, if that is still there; what is packed is another file.
        found.sort(key=lambda one: key_of(one[1]) != lost.key or _is_packed(one[0]))
        for other, status in found:
            with suppress(OSError, EOFError):
                if holds(other, lost):
                    lost.ended = False
                    lost.device, lost.inode = key_of(status)
                    self._read_on(lost, other)
                    return

    def _find_between(self, before: Generation, path: Path, now: IO[bytes]) -> None:
        """Find the files that came to a path and went again while nobody looked; `now`: the one there now."""
        for other, status in rotated(path):
            if status.st_mtime <= before.modified or self._is_open(status):
                continue
            with suppress(OSError, EOFError):
                key = key_of(status)
                begins, ends, size = outline(other)
                if is_same(now, begins, ends, size):
                    continue  # a copy, made to empty the one that is there in a moment
                # What is at the path now is none of those that went, unless it is read on elsewhere.
                others = [
                    one
                    for one in self.record.generations
                    if one is not before or before.ended or id(before) in self._open
                ]
                if any(self._was(one, begins, size) for one in others):
                    continue
                # Written to after it was taken to be at its end.
                grown = [
                    one
                    for one in self.record.generations
                    if one.ended and is_beginning(begins[: one.length], one) and goes_on(other, one)
                ]
                if grown:
                    grown[-1].ended = False
                    grown[-1].device, grown[-1].inode = key
                    self._read_on(grown[-1], other)
                    continue
                new = Generation(str(path), *key, dataset=before.dataset, modified=status.st_mtime)
                self.record.generations.append(new)
                self._read_on(new, other)

    def _is_open(self, status: os.stat_result) -> bool:
        """Whether a file is one that is being read; as long as it is, no other has its inode."""
        key = key_of(status)
        return any(id(one) in self._open and one.key == key for one in self.record.generations)

    def _was(self, one: Generation, begins: bytes, size: int) -> bool:
        """Whether a file that is not empty is a generation that is known, under whatever name, packed or not."""
        file = self._open.get(id(one))
        if file is not None:
            one.remember(file)
        if not one.length or not is_beginning(begins[: one.length], one):
            return False
        # Inodes are used again, what is packed has another one, and many logs begin alike.
        if file is not None:
            return size == os.fstat(file.fileno()).st_size
        return size == one.offset if one.ended else size >= one.offset

    def _read_on(self, one: Generation, place: Path) -> None:
        if is_packed(place):
            self._rest(one, place)
        else:
            self._open[id(one)] = place.open("rb")
            one.remember(self._open[id(one)])

    def _rest(self, one: Generation, path: Path) -> None:
        """Read a generation that is no longer written to from where it was left to its end, packed or not."""
        dataset = self._dataset_of(one, path)
        with path.open("rb") as raw:
            one.remember(io.BytesIO(unpacked(raw, str(path)).read(BEGINNING)))
            raw.seek(0)
            text = unpacked(raw, str(path))
            skip(text, one.offset)
            begun = b""
            while dataset is not None and (data := text.read(_BLOCK)):
                whole, newline, rest = (begun + data).rpartition(b"\n")
                self._send(one, dataset, whole + newline)
                begun = rest
                if len(begun) > _LONGEST_LINE:
                    self._send(one, dataset, begun)
                    begun = b""
            if dataset is not None and begun:
                self._send(one, dataset, begun)
        one.ended = True

    def _read(self, one: Generation) -> int:
        """Send the whole lines that a generation has gained; return their bytes."""
        file = self._open[id(one)]
        status = os.fstat(file.fileno())
        one.remember(file)
        left = status.st_size - one.offset
        # Who writes a log may go on for a while after it was renamed.
        changed = max(status.st_mtime, status.st_ctime)  # also by renaming it
        gone = not self._is_at(one) and time.time() - changed > _GRACE
        if left <= 0:
            if gone:
                self._drop(one)
            return 0
        dataset = self._dataset_of(one, Path(one.path), file)
        if dataset is None:
            return 0
        file.seek(one.offset)
        data = file.read(min(left, _BLOCK))
        while b"\n" not in data and len(data) < min(left, _LONGEST_LINE):
            data += file.read(_BLOCK)
        last = gone and len(data) == left
        if not last and len(data) < _LONGEST_LINE:
            data = data[: data.rfind(b"\n") + 1]
            data = self._without_unfinished(one, dataset, data)
        if data:
            one.modified = status.st_mtime
            self._send(one, dataset, data)
        return len(data)

    def _is_at(self, one: Generation) -> bool:
        """Whether a generation is still the file at its path."""
        try:
            status = Path(one.path).stat()
        except OSError:
            return False
        return key_of(status) == one.key

    def _without_unfinished(self, one: Generation, dataset: Dataset, data: bytes) -> bytes:
        """Leave out an object at the end that is laid out over lines and not all there, for a while."""
        if not dataset.body.is_json or not data:
            return data
        start = max(data.rfind(b"\n{"), data.rfind(b"\n[")) + 1
        tail = data[start:]
        if not tail.startswith((b"{", b"[")) or not _is_unfinished(tail.decode("utf-8", "replace")):
            self._held.pop(id(one), None)
            return data
        place = one.offset + start
        held, since = self._held.get(id(one), (-1, 0.0))
        if held != place + len(tail):
            self._held[id(one)] = (place + len(tail), time.monotonic())
        elif time.monotonic() - since > _UNFINISHED:
            return data
        return data[:start]

    def _dataset_of(self, one: Generation, path: Path, file: IO[bytes] | None = None) -> Dataset | None:
        if self.dataset is not None:
            one.dataset = self.dataset.name
            return self.dataset
        if one.dataset:
            return self.datasets.get(one.dataset)
        if file is None:
            with path.open("rb") as raw:
                head = unpacked(raw, str(path)).read(_HEAD)
        else:
            file.seek(0)
            head = file.read(_HEAD)
        text = head[: head.rfind(b"\n") + 1].decode("utf-8-sig", "backslashreplace")
        # A file whose first lines do not tell is looked at again when there are twice as many.
        if not text or len(text) < 2 * self._tried.get(id(one), 0):
            return None
        verdict = self.detect(text)
        if verdict.dataset is None:
            self._tried[id(one)] = len(text)
            if verdict.empty:
                return None
            if not self._started and path == Path(self.argument).absolute():
                raise UsageError(
                    f"{path}: there is no telling which dataset it is of: {verdict.reason}",
                    hint="Pass --dataset NAME.",
                )
            self._tell(str(path), f"not followed yet: {path}: {verdict.reason}")
            return None
        one.dataset = verdict.dataset.name
        self._tell(str(path), f"{path}  {one.dataset}")
        return verdict.dataset

    def _tell(self, about: str, text: str) -> None:
        if self._said.get(about) != text:
            self._said[about] = text
            self.say(text)

    def _send(self, one: Generation, dataset: Dataset, data: bytes) -> None:
        encoding = "utf-8-sig" if one.offset == 0 else "utf-8"
        text = data.decode(encoding, "backslashreplace")
        result = self.results.setdefault(one.path, Loaded(dataset.name))
        result.dataset = dataset.name
        lineage = one.lineage(self.record.beginnings)
        for event in _declaring(dataset, one, dataset.events([text], declared=one.declared)):
            self.loader.add(dataset, event, lineage, result)
        one.advance(lineage, data)


def _declaring(dataset: Dataset, one: Generation, events: Iterator[Event]) -> Iterator[Event]:
    """Yield events, and remember the format that a line declared for those of the next round."""
    for event in events:
        declared = event.document.get(FORMAT_FIELD)
        if declared is None:
            text = event.document["message"]
            declared = next(
                (found for step in dataset.body.parsers if (found := step.declared_format(text))), None
            )
        if declared is not None:
            one.declared = declared
        yield event


def _is_packed(path: Path) -> bool:
    """Whether a file is packed; one that cannot be read is not."""
    with suppress(OSError):
        return is_packed(path)
    return False


def _is_unfinished(text: str) -> bool:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.pos >= len(text.rstrip()) - 1 or error.msg.startswith("Unterminated string")
    except RecursionError:
        return False
    return False
