"""What is to be loaded: files, folders, patterns and standard input, each as text in chunks, unpacked if need be."""

from __future__ import annotations

import bz2
import codecs
import glob
import gzip
import io
import lzma
import os
import stat
import sys
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from sigmawatch.errors import UsageError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["STDIN", "Chunks", "Source", "find_sources", "is_packed"]

STDIN = "-"
"""What standard input is called on the command line."""

HEAD = 1 << 18
"""Characters of a text that are looked at before it is loaded."""

_READ = 1 << 17
"""Bytes that are read at once."""

_GZIP = b"\x1f\x8b"
_BZIP2 = b"BZh"
_XZ = b"\xfd7zXZ\x00"
_ZSTD = b"\x28\xb5\x2f\xfd"
_MAGIC_BYTES = 8
_NO_LINES = {
    b"PK\x03\x04": "a zip archive",
    b"PAR1": "a Parquet file",
    b"\xd4\xc3\xb2\xa1": "a packet capture",
    b"\x0a\x0d\x0d\x0a": "a packet capture",
}
"""What files begin with that cannot be read line by line."""

_EVTX = b"ElfFile\x00"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""What text begins with as PowerShell and the Event Viewer of Windows may write it."""

_TAR = b"ustar"
_TAR_AT = 257

_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError)


@dataclass(frozen=True)
class Source:
    """One file, or standard input."""

    label: str
    """What people know it by."""
    path: Path | None
    """The file; None: standard input."""
    named: bool = True
    """Whether it was named by itself, not found in a folder or by a pattern."""

    @property
    def size(self) -> int | None:
        """Bytes, None where there is no telling before the end."""
        if self.path is None:
            return None
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    @contextmanager
    def open(self) -> Iterator[Chunks]:
        """Yield its text. Raises UsageError where it cannot be read or holds no lines."""
        if self.path is None:
            yield Chunks(io.BufferedReader(io.FileIO(0, closefd=False)), self.label)
            return
        try:
            raw = self.path.open("rb")
        except OSError as error:
            raise UsageError(f"{self.label} cannot be read: {error.strerror}") from error
        with raw:
            yield Chunks(raw, self.label)


class Chunks:
    """A text in chunks, of which the beginning can be looked at first. Raises UsageError for what holds no lines."""

    def __init__(self, raw: io.BufferedReader, label: str) -> None:
        self._raw = raw
        self._label = label
        self._seekable = raw.seekable()
        self._given: list[str] = []
        self.unread: str | None = None
        """Why the rest could not be read."""
        try:
            # By what it holds: logs are renamed on their way, and rotated ones are not always called .gz.
            self._rest = self._decoded(unpacked(raw, label))
        except OSError as error:
            raise UsageError(f"{label} cannot be read: {error.strerror}") from error

    def __iter__(self) -> Iterator[str]:
        return chain(self._take(), self._rest)

    def _take(self) -> Iterator[str]:
        while self._given:
            yield self._given.pop(0)

    def head(self) -> str:
        """Return the first characters, which iterating yields all the same."""
        while sum(map(len, self._given)) < HEAD and (chunk := next(self._rest, None)) is not None:
            self._given.append(chunk)
        return "".join(self._given)[:HEAD]

    @property
    def position(self) -> int:
        """How many bytes of the file were read; 0 where there is no telling."""
        return self._raw.tell() if self._seekable else 0

    def _decoded(self, data: IO[bytes]) -> Iterator[str]:
        """Yield text up to the end, or to the last line before the file is cut off or damaged, and note that."""
        # Bytes that are no UTF-8 must not stop a load; what they were stays visible as escapes.
        decoder: codecs.IncrementalDecoder | None = None
        read = cast("Callable[[int], bytes]", getattr(data, "read1", data.read))
        lines = 0
        begun = ""
        while True:
            try:
                found = read(_READ)
            except _DAMAGE as error:
                what = "cut off" if isinstance(error, EOFError) else "damaged"
                reason = getattr(error, "strerror", None) or error
                self.unread = f"{self._label} is {what} after line {lines}: {reason}"
                return
            if decoder is None:
                encoding = "utf-16" if found.startswith(_UTF16) else "utf-8-sig"
                decoder = codecs.getincrementaldecoder(encoding)("backslashreplace")
            text = decoder.decode(found, final=not found)
            end = text.rfind("\n") + 1
            lines += text.count("\n")
            # A line that is not yet whole waits: where the file is cut off within it, it is no event.
            if end or not found:
                yield begun + text[:end] if found else begun + text
                begun = text[end:]
            elif len(begun) > HEAD:
                yield begun + text
                begun = ""
            else:
                begun += text
            if not found:
                return


def unpacked(raw: io.BufferedReader, label: str) -> IO[bytes]:
    """Return a file unpacked. Raises UsageError for what holds no lines, OSError where it cannot be read."""
    magic = raw.peek(_MAGIC_BYTES)[:_MAGIC_BYTES]
    for known, what in _NO_LINES.items():
        if magic.startswith(known):
            raise UsageError(f"{label} is {what}, not a log of lines", hint="Unpack or export it first.")
    if magic.startswith(_EVTX):
        raise UsageError(
            f"{label} is a Windows event log (EVTX), not a log of lines",
            hint="Export it on Windows: wevtutil query-events FILE.evtx /logfile:true /format:xml > FILE.xml",
        )
    found = cast("IO[bytes]", raw)
    if magic.startswith(_GZIP):
        found = cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    elif magic.startswith(_BZIP2):
        found = bz2.BZ2File(raw)  # closed with what is below it
    elif magic.startswith(_XZ):
        found = lzma.LZMAFile(raw)  # noqa: SIM115
    elif magic.startswith(_ZSTD):
        found = cast("IO[bytes]", zstd.ZstdFile(raw))
    try:
        start = cast("io.BufferedReader", found).peek(_TAR_AT + len(_TAR))
    except _DAMAGE:
        return found  # what is wrong with it is told where it is read
    if start[_TAR_AT:].startswith(_TAR):
        raise UsageError(f"{label} is a tar archive, not a log of lines", hint="Unpack it first.")
    return found


def is_packed(path: Path) -> bool:
    """Whether a file is packed, or holds no lines at all. Raises OSError where it cannot be read."""
    with path.open("rb") as raw:
        magic = raw.read(_MAGIC_BYTES)
    return magic.startswith((_GZIP, _BZIP2, _XZ, _ZSTD, _EVTX, *_NO_LINES))


def find_sources(given: Sequence[str]) -> list[Source]:
    """Return what arguments name: files, all files in folders, what patterns match, `-` for standard input.

    Hidden files of folders are left out, and a file that is named twice is read once. Raises UsageError for an
    argument that names nothing.
    """
    found: list[Source] = []
    known: set[object] = set()
    for argument in given:
        for source in _found(argument):
            identity: object = STDIN
            if source.path is not None:
                status = source.path.stat()
                identity = (status.st_dev, status.st_ino)
            if identity not in known:
                known.add(identity)
                found.append(source)
    return found


def _found(argument: str) -> list[Source]:
    if argument == STDIN:
        return [Source("standard input", None)]
    path = Path(argument)
    if path.is_dir():
        files = [Source(str(file), file, named=False) for file in files_below(path)]
        if not files:
            raise UsageError(f"{argument} holds no files")
        return files
    if path.exists():
        return [Source(argument, path)]
    if glob.has_magic(argument):
        matches = [Path(match) for match in sorted(glob.glob(argument, recursive=True))]  # noqa: PTH207  # absolute, too
        files = [Source(str(match), match, named=False) for match in matches if match.is_file()]
        if files:
            return files
        raise UsageError(f"no file matches {argument}")
    raise UsageError(f"{argument} does not exist")


def files_below(folder: Path) -> list[Path]:
    """Return all regular files below a folder by name, without hidden ones."""
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = [Path(root, name) for name in sorted(files) if not name.startswith(".")]
        found += [path for path in paths if path.is_file()]
    return found
