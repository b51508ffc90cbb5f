"""Ids of documents: what makes loading the same events again add nothing, and lose none.

An event that the log itself tells from all others (CloudTrail's `eventID`) has the hash of that. Any other has the
hash of its text and of everything before it in its file: two equal lines of a file stay two events, and a file that
grew, was renamed, packed or moved has the ids that it had. Files that begin with the same events are told apart by how
many of them there are in one run, so that two hosts that log the same first line lose none, either.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sigmawatch.datasets.model import Event

__all__ = ["Beginnings", "Lineage"]

Beginnings = dict[bytes, int]
"""Beginnings of texts (hashes of their first events) -> how many texts begin so."""

_LEADING = 16
"""Events from which on two texts that are still equal are taken for copies of one another."""

_LENGTH = 32
"""Hexadecimal digits of an id."""


@dataclass
class Lineage:
    """Gives the events of one text their ids, in order."""

    beginnings: Beginnings = field(repr=False)
    """Those of the other texts of this run; this one's are added."""
    chain: bytes = b""
    """The hash of all events so far."""
    number: int = 0
    """How many they are."""
    copy: int = 0
    """How many texts before this one begin with these events."""

    def next_id(self, event: Event) -> str:
        """Return the id of the next event."""
        text: str = event.document["message"]
        link = self.chain + text.encode("utf-8", "surrogatepass")
        if event.left_out:
            link += b"\n%d" % event.left_out
        self.chain = hashlib.sha256(link).digest()
        self.number += 1
        if event.unique is not None:
            return hashlib.sha256(event.unique).hexdigest()[:_LENGTH]
        if self.number <= _LEADING:
            self.copy = self.beginnings.get(self.chain, 0)
            self.beginnings[self.chain] = self.copy + 1
        if self.copy:
            return hashlib.sha256(b"%s %d" % (self.chain, self.copy)).hexdigest()[:_LENGTH]
        return self.chain.hex()[:_LENGTH]
