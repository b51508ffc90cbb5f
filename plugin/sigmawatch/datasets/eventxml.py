"""Windows events as XML files hold them, whatever lines they stand in.

The Event Viewer writes `<?xml …?><Events><Event>…</Event>…</Events>`, `wevtutil qe /f:xml` the events alone; and what
an event quotes, such as a script block, has line ends of its own.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from sigmawatch.datasets.jsontext import MAX_PIECE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["begins_with_events", "events_and_lines"]

_FIRST = re.compile(r"\ufeff?\s*<(?:\?xml|!--|Events?)[\s>/?-]")
_BLANK = "\ufeff \t\r\n"
_START = re.compile(r"<Event[\s>]")
_END = "</Event>"
_AROUND = re.compile(r"\ufeff|<\?xml[^>]*\?>|</?Events(?:\s[^>]*)?>|<!--.*?-->", re.DOTALL)
"""What stands around the events of a file."""


def begins_with_events(chunks: Iterable[str]) -> tuple[bool, Iterator[str]]:
    """Return whether a text begins as files of events do, and the text, of which nothing is taken away."""
    rest = iter(chunks)
    seen = ""
    for chunk in rest:
        seen += chunk
        if len(seen.strip(_BLANK)) > len("<Events "):
            break
    return _FIRST.match(seen) is not None, chain([seen], rest)


def events_and_lines(chunks: Iterable[str]) -> Iterator[str]:
    """Yield the events of a text, and by lines whatever else is in it but the elements around them.

    An event that has no end before the next one begins, or is longer than a record may be, comes by lines, too.
    """
    text = ""
    searched = 0
    for chunk in chunks:
        text += chunk
        at = 0
        while (end := text.find(_END, max(at, searched))) >= 0:
            end += len(_END)
            starts = [found.start() for found in _START.finditer(text, at, end)]
            start = starts[-1] if starts else end
            yield from _lines(text[at:start])
            if starts:
                yield text[start:end]
            at = end
        text = text[at:]
        searched = max(0, len(text) - len(_END))
        if len(text) > MAX_PIECE:
            cut = text.rfind("\n") + 1 or len(text)
            yield from _lines(text[:cut])
            text, searched = text[cut:], 0
    yield from _lines(text)


def _lines(text: str) -> Iterator[str]:
    for line in _AROUND.sub("", text).splitlines():
        if line.strip():
            yield line
