"""Which file a rotated log is in by now: by its name, and by what it holds, since inodes are used again."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from sigmawatch.ingest.generations import BEGINNING
from sigmawatch.ingest.sources import unpacked

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

    from sigmawatch.ingest.generations import Generation

__all__ = [
    "goes_on",
    "holds",
    "is_beginning",
    "is_rotated",
    "is_same",
    "key_of",
    "outline",
    "rotated",
    "skip",
    "unrotated",
]

_CHUNK = 1 << 20
"""Bytes that are read at once."""

_SUFFIX = re.compile(r"[.-](?:[0-9][0-9T:_.-]*|old|prev|bak)(?:\.(?:gz|bz2|xz|zst))?")
"""What rotation puts behind the name of a log."""
_AT_END = re.compile(f"{_SUFFIX.pattern}$")


def key_of(status: os.stat_result) -> tuple[int, int]:
    """Return the device and inode of a file."""
    return status.st_dev, status.st_ino


def is_rotated(other: Path, path: Path) -> bool:
    """Whether a file has the name of one that was rotated away from a path."""
    name = path.name
    return (
        other.parent == path.parent
        and other.name.startswith(name)
        and bool(_SUFFIX.fullmatch(other.name[len(name) :]))
    )


def unrotated(path: Path) -> Path:
    """Return what a file was called before it was rotated, by its name."""
    while (end := _AT_END.search(path.name)) is not None and end.start():
        path = path.with_name(path.name[: end.start()])
    return path


def rotated(path: Path) -> list[tuple[Path, os.stat_result]]:
    """Return what was rotated away from a path, the oldest first."""
    found = []
    for other in path.parent.glob(f"{glob.escape(path.name)}[.-]*"):
        if is_rotated(other, path):
            with suppress(OSError):
                found.append((other, other.stat()))
    return sorted(found, key=lambda one: one[1].st_mtime)


def is_beginning(data: bytes, one: Generation) -> bool:
    """Whether these are the first bytes by which a generation is known."""
    return len(data) == one.length and hashlib.sha256(data).hexdigest() == one.begins


def holds(path: Path, one: Generation) -> bool:
    """Whether a file, packed or not, begins as a generation did, and is at least as long as what was read of it."""
    with path.open("rb") as raw:
        text = unpacked(raw, str(path))
        data = text.read(one.length)
        if not is_beginning(data, one):
            return False
        return skip(text, one.offset - len(data))


def outline(path: Path) -> tuple[bytes, bytes, int]:
    """Return the first and the last bytes of a file, packed or not, and how many it has. Raises OSError, EOFError."""
    with path.open("rb") as raw:
        text = unpacked(raw, str(path))
        begins = text.read(BEGINNING)
        ends, size = begins, len(begins)
        while more := text.read(_CHUNK):
            ends, size = (ends + more)[-BEGINNING:], size + len(more)
    return begins, ends, size


def is_same(file: IO[bytes], begins: bytes, ends: bytes, size: int) -> bool:
    """Whether a file has so many bytes, of which these are the first and the last."""
    if file.seek(0, os.SEEK_END) != size:
        return False
    file.seek(size - len(ends))
    if file.read() != ends:
        return False
    file.seek(0)
    return file.read(len(begins)) == begins


def skip(text: IO[bytes], size: int) -> bool:
    """Read so many bytes of a text that may be packed, and give them up; return whether it has as many."""
    while size > 0 and (more := text.read(min(size, _CHUNK))):
        size -= len(more)
    return size <= 0


def goes_on(path: Path, one: Generation) -> bool:
    """Whether a file, packed or not, has where a generation was read to what was read there last."""
    with path.open("rb") as raw:
        text = unpacked(raw, str(path))
        skip(text, one.offset - one.last_length)
        return bool(one.last) and hashlib.sha256(text.read(one.last_length)).hexdigest() == one.last
