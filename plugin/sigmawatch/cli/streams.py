"""Standard output and error as programs meet them: closed, full, or with a reader that has gone."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

from sigmawatch.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["prepare_streams"]

EXIT_READER_GONE = 141
"""What a shell shows for programs that a closed pipe ended (128 + SIGPIPE): neither done nor findings."""


class _Output(io.FileIO):
    """Standard output that, where it cannot be written, ends the program in words."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self._lost = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, or end the program: quietly when nobody reads any more, else with an error."""
        if self._lost:
            return len(memoryview(data))
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            self._lost = True
            # Neither an OSError, which click would make "1: findings" of, nor anything that is reported.
            raise SystemExit(EXIT_READER_GONE) from None
        except OSError as error:
            self._lost = True
            raise UsageError(f"standard output cannot be written: {error.strerror}") from error


class _Messages(io.FileIO):
    """Standard error that, where it cannot be written, stops nothing: there is nobody left to tell."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, or drop what nobody can read."""
        try:
            return super().write(data) or 0
        except OSError:
            return len(memoryview(data))


def prepare_streams() -> None:
    """Make standard output and error safe to write to. Streams that are not the process's own stay as they are."""
    # A stream that was closed (`>&-`) has a number that the next file or socket would get.
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if _is_ours(sys.stdout, sys.__stdout__):
        sys.stdout = _text(_Output(1), sys.stdout)
    if _is_ours(sys.stderr, sys.__stderr__):
        sys.stderr = _text(_Messages(2), sys.stderr, line_buffering=True)


def _is_ours(stream: TextIO | None, original: TextIO | None) -> bool:
    """Return whether a stream is the process's own, and a file or pipe that may fail."""
    return stream is None or (stream is original and not stream.isatty())


def _text(raw: io.FileIO, before: TextIO | None, *, line_buffering: bool = False) -> io.TextIOWrapper:
    encoding = getattr(before, "encoding", None) or "utf-8"
    # Names of files may hold what the encoding of the terminal has not; that must not stop a message.
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=line_buffering
    )
