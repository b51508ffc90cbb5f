"""Text as it comes, in pieces: lines, and JSON values however they are laid out.

A value may be a line of its own (NDJSON), stretch over many lines, follow another one without a line feed between them,
or be an element of a list that is a gigabyte long. Only a window of the text is in memory. What is no JSON is a line;
a value that is damaged comes as the text that it is, and whatever is whole around it is found all the same.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

__all__ = ["MAX_PIECE", "Piece", "Way", "compact", "pieces"]

MAX_PIECE = 32 * 1024 * 1024
"""Characters of a line or value that are kept together. Clusters take requests of 100 MB at most."""

_WINDOW = 1 << 20
_SHOWN = 1_000
"""Characters kept of a line that is too long."""

_NESTED = 3
"""Lists of events in lists of events that are opened."""

_HEAD = 1 << 16
"""Characters in which a long object has to show the list that it is made of."""

_LEAD = re.compile(r"[ \t\r\ufeff\x1e]*")
"""What may stand before a value: blanks, a byte order mark, the separator of RFC 7464."""

_BLANKS = re.compile(r"[ \t\r\n]*")
_AFTER = re.compile(r"[ \t\r]*,?[ \t\r]*(?=\n|\Z|[{\[\x1e])")
"""What may stand behind a value for it to be one."""

_PARTS = re.compile(r'("(?:[^"\\]|\\.)*")|[ \t\r\n]+', re.DOTALL)
_LOOSE = re.compile(r'[ \t\r\n][^"]|[:,] ')
_FIRST_KEY = re.compile(r'\{\s*("(?:[^"\\]|\\.)*")')
_DECODER = json.JSONDecoder()

Way = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """A line, or a JSON value."""

    text: str
    """As it stands there; a value without the blanks around its members."""
    data: Any = None
    """The value, where it is a JSON object or list."""
    left_out: int = 0
    """Characters of a line beyond `MAX_PIECE` that are not in `text`."""


def compact(text: str) -> str:
    """Return JSON text without the blanks outside its strings; nothing else changes, numbers neither."""
    if not _LOOSE.search(text):
        return text
    return _PARTS.sub(lambda found: found.group(1) or "", text)


def pieces(
    chunks: Iterable[str], lists: Collection[Way] = (), *, wrapping: Collection[str] = ()
) -> Iterator[Piece]:
    """Yield the lines and JSON values of a text.

    `lists`: ways to lists whose elements are yielded one by one in place of the object around them. `wrapping`: names
    of lists for which that is so when there is nothing else in the object, or only what `_BESIDE` names. Elements that
    are texts come as lines. Blank lines are left out.
    """
    text = _Text(iter(chunks))
    ways = frozenset(lists)
    names = frozenset(wrapping)
    while True:
        start = text.lead()
        char = text.buffer[start : start + 1]
        if char == "\n":
            text.at = start + 1
        elif not char:
            return
        elif char in "{[":
            yield from _values(text, start, ways, names)
        else:
            piece = text.line()
            if piece is not None:
                yield piece


class _Text:
    """A window over a text."""

    def __init__(self, chunks: Iterator[str]) -> None:
        self._chunks = chunks
        self.buffer = ""
        self.at = 0
        """Where what is not yet taken begins in the buffer."""
        self.ended = False

    def more(self) -> bool:
        """Read at least as much again as there is; return whether there was any."""
        rest = self.buffer[self.at :]
        found = [rest]
        wanted = max(len(rest), _WINDOW)
        while wanted > 0:
            chunk = next(self._chunks, None)
            if chunk is None:
                self.ended = True
                break
            found.append(chunk)
            wanted -= len(chunk)
        self.buffer = "".join(found)
        self.at = 0
        return len(self.buffer) > len(rest)

    def lead(self) -> int:
        """Return where the next thing on the line begins, the line feed included; the buffer's end at the end."""
        while True:
            found = _LEAD.match(self.buffer, self.at)
            start = found.end() if found else self.at
            if start < len(self.buffer) or self.ended:
                return start
            self.more()

    def next_char(self) -> str:
        """Go to the next character that is no blank and return it; empty at the end."""
        while True:
            found = _BLANKS.match(self.buffer, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if self.ended or not self.more():
                return ""

    def following(self) -> str:
        """Return the character after this one that is no blank, without taking anything; empty at the end."""
        while True:
            found = _BLANKS.match(self.buffer, self.at + 1)
            after = found.end() if found else self.at + 1
            if after < len(self.buffer) or self.ended or after - self.at > _HEAD:
                return self.buffer[after : after + 1]
            self.more()

    def line_end(self) -> int:
        """Return where the line ends in the buffer, -1 when it is longer than a piece may be."""
        searched = self.at
        while True:
            found = self.buffer.find("\n", searched)
            if found >= 0:
                return found if found - self.at <= MAX_PIECE else -1
            if len(self.buffer) - self.at > MAX_PIECE:
                return -1
            if self.ended:
                return len(self.buffer)
            searched = len(self.buffer) - self.at
            self.more()

    def line(self) -> Piece | None:
        """Take the rest of the line; None when it is blank."""
        end = self.line_end()
        if end < 0:
            return self._long_line()
        found = self.buffer[self.at : end].rstrip("\r")
        self.at = end + 1
        return Piece(found) if found.strip() else None

    def _long_line(self) -> Piece:
        shown = self.buffer[self.at : self.at + _SHOWN]
        length = 0
        while (end := self.buffer.find("\n", self.at)) < 0:
            length += len(self.buffer) - self.at
            self.at = len(self.buffer)
            if self.ended or not self.more():
                return Piece(shown, left_out=length - len(shown))
        length += end - self.at
        self.at = end + 1
        return Piece(shown, left_out=length - len(shown))

    def value(self) -> tuple[Any, str] | None:
        """Take the JSON value that begins here, and its text; None when it is damaged or longer than a piece."""
        while True:
            try:
                data, end = _DECODER.raw_decode(self.buffer, self.at)
            except (ValueError, RecursionError) as error:
                if self.ended or not _may_go_on(error, len(self.buffer)):
                    return None
            else:
                if end < len(self.buffer) or self.ended:
                    found = self.buffer[self.at : end]
                    self.at = end
                    return data, found
            if len(self.buffer) - self.at > MAX_PIECE:
                return None
            self.more()


def _may_go_on(error: Exception, end: int) -> bool:
    """Whether what is wrong with a value may only be that the rest of it is not there yet."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    # Literals and escapes are at most this long; of an unfinished text the beginning is told.
    return error.pos >= end - 16 or error.msg.startswith("Unterminated string")


def _values(text: _Text, start: int, ways: frozenset[Way], names: frozenset[str]) -> Iterator[Piece]:
    """Yield what begins with a bracket: a JSON value or its elements, or else the line that it is."""
    newline = text.buffer.find("\n", start)
    while newline < 0 and not text.ended and len(text.buffer) - start < _WINDOW:
        text.more()
        start = text.lead()
        newline = text.buffer.find("\n", start)
    if newline >= 0 or text.ended:
        end = newline if newline >= 0 else len(text.buffer)
        try:
            data = orjson.loads(text.buffer[start:end])
        except orjson.JSONDecodeError:
            pass
        else:
            around = _around(data, ways, names)
            if around is not None:
                text.at = start
                yield from _inside(text, around, ways, names)
            else:
                yield Piece(text.buffer[start:end].rstrip(), data)
                text.at = end + 1
            return
    lead = text.buffer[text.at : start]
    text.at = start
    if text.buffer[start] == "{":
        around = _around_head(text.buffer[start : start + _HEAD], ways, names)
        if around is None and (found := _whole(text)) is not None:
            data, raw = found
            around = _around(data, ways, names)
            if around is None:
                if (after := _AFTER.match(text.buffer, text.at)) is not None:
                    text.at = after.end()
                yield Piece(compact(raw), data)
                return
            text.at -= len(raw)
    else:
        # Many logs put a time or a level in brackets: only what begins as a list of objects is one.
        around = frozenset() if text.following() == "{" else None
    if around is not None:
        yield from _inside(text, around, ways, names)
    elif (piece := text.line()) is not None:
        yield replace(piece, text=lead + piece.text)


def _whole(text: _Text) -> tuple[Any, str] | None:
    """Take the JSON object that begins here, over several lines maybe, with its text."""
    found = text.value()
    if found is None:
        return None
    after = _AFTER.match(text.buffer, text.at)
    if after is None:
        text.at -= len(found[1])
        return None
    return found


_MEMBER = r'"(?:[^"\\\n]|\\.)*"\s*:\s*'
_SCALAR = r'(?:"(?:[^"\\\n]|\\.)*"|[\w.+-]+)'


def _around_head(head: str, ways: frozenset[Way], names: frozenset[str]) -> frozenset[Way] | None:
    """Return the way to the list that a long object is made of: nothing but single values stands before it."""
    found = re.match(rf"\{{\s*(?:{_MEMBER}{_SCALAR}\s*,\s*)*+({_MEMBER})\[\s*[{{\"]", head)
    if found is None:
        return None
    name = found.group(1).rstrip().removesuffix(":").rstrip()[1:-1]
    return frozenset({(name,)}) if (name,) in ways or name in names else None


_BESIDE = frozenset(
    {
        "requestId", "timestamp", "invocationId", "deliveryStreamArn", "region", "sourceKinesisStreamArn",
        "NextShardIterator", "MillisBehindLatest", "NextToken", "nextToken", "nextPageToken", "count",
        "@odata.context", "@odata.count", "@odata.nextLink",
    }
)  # fmt: skip
"""What senders and listings put beside a list of events."""


def _around(data: Any, ways: frozenset[Way], names: frozenset[str]) -> frozenset[Way] | None:
    """Return the ways to the lists of events in a value, None when it is an event itself."""
    if isinstance(data, list):
        return frozenset() if data and isinstance(data[0], dict) else None
    found = {way for way in ways if _is_list(_at(data, way))}
    if not found:
        found = {(name,) for name in names if _is_list(data.get(name))}
        if len(found) != 1 or any((key,) not in found and key not in _BESIDE for key in data):
            return None
    return frozenset(found)


def _is_list(value: Any) -> bool:
    """Whether a value is a list of events; an empty one is kept as it is, so that no line disappears."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict | str)


def _at(data: Any, way: Way) -> Any:
    for key in way:
        if not isinstance(data, dict):
            return None
        data = data.get(key)
    return data


def _inside(
    text: _Text, around: frozenset[Way], ways: frozenset[Way], names: frozenset[str], depth: int = 0
) -> Iterator[Piece]:
    """Yield the elements of a list, or of the lists in an object."""
    if text.buffer[text.at] == "[":
        yield from _elements(text, ways, names, depth)
    else:
        yield from _Members(ways, names, depth).read(text, around, ())


@dataclass(frozen=True)
class _Members:
    """Reads the members of an object around lists of events."""

    ways: frozenset[Way]
    names: frozenset[str]
    depth: int

    def read(self, text: _Text, around: frozenset[Way], inside: Way) -> Iterator[Piece]:
        """Yield the elements of the lists that `around` leads to."""
        text.at += 1
        while (char := text.next_char()) not in ("}", ""):
            if char == ",":
                text.at += 1
                continue
            key = text.value() if char == '"' else None
            if key is None or text.next_char() != ":":
                break
            text.at += 1
            way = (*inside, str(key[0]))
            char = text.next_char()
            if char == "[" and way in around:
                yield from _elements(text, self.ways, self.names, self.depth)
            elif char == "{" and any(one[: len(way)] == way for one in around):
                yield from self.read(text, around, way)
            elif text.value() is None:
                break
        else:
            text.at += len(char)
            if not inside and (after := _AFTER.match(text.buffer, text.at)):
                text.at = after.end()
            return
        # Damaged between its lists: what is left is passed on as it is.
        piece = text.line()
        if piece is not None:
            yield piece


def _elements(text: _Text, ways: frozenset[Way], names: frozenset[str], depth: int) -> Iterator[Piece]:
    text.at += 1
    while (char := text.next_char()) not in ("]", ""):
        if char == ",":
            text.at += 1
            continue
        found = text.value()
        if found is None:
            yield from _damaged(text)
            continue
        data, raw = found
        if isinstance(data, str):
            if data.strip():
                yield Piece(data)
        elif (
            depth < _NESTED and isinstance(data, dict) and (around := _around(data, ways, names)) is not None
        ):
            # Of batches, each is an object around events (Event Hubs).
            text.at -= len(raw)
            yield from _inside(text, around, ways, names, depth + 1)
        else:
            yield Piece(compact(raw), data)
    text.at += len(char)


def _damaged(text: _Text) -> Iterator[Piece]:
    """Yield the text of a damaged element: up to the next one that begins with the same key, or all that is left."""
    key = _FIRST_KEY.match(text.buffer, text.at)
    # A list that was cut off may be followed by lines that are whole.
    following = re.compile(rf"\s*(?:,|\n)\s*(?=\{{\s*{re.escape(key.group(1))})") if key else None
    while True:
        found = following.search(text.buffer, text.at + 1) if following else None
        if found is not None:
            yield Piece(text.buffer[text.at : found.start()])
            text.at = found.end()
            return
        if text.ended or len(text.buffer) - text.at > MAX_PIECE:
            break
        text.more()
    left = text.buffer[text.at : text.at + MAX_PIECE].rstrip()
    text.at += min(len(text.buffer) - text.at, MAX_PIECE)
    if left:
        yield Piece(left)
