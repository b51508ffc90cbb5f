"""Formats of times and time zones, as descriptions and options name them."""

from __future__ import annotations

import re
from zoneinfo import available_timezones

from sigmawatch.errors import UsageError

__all__ = ["format_fault", "time_zone"]

_RUN = re.compile(r"'[^']*'|([A-Za-z])\1*|[^A-Za-z]")
_OFFSET = re.compile(r"UTC|[+-]\d\d:\d\d")
_KNOWN = re.compile(r"yyyy|yy|M{1,3}|dd?|HH?|hh?|mm?|ss?|S+|a|E+|z|X+|Z+|x+")


def format_fault(pattern: str) -> str:
    """Return what is wrong with the format of a time, empty when nothing is.

    The letters are those of Java's `DateTimeFormatter` that the Painless function `timeOf` knows; `iso` is ISO 8601.
    """
    if pattern == "iso":
        return ""
    if pattern.count("'") % 2:
        return "a quote is not closed"
    letters = set()
    for match in _RUN.finditer(pattern):
        if match[1] is not None:
            if not _KNOWN.fullmatch(match[0]):
                return f"{match[0]!r} is unknown"
            letters.add(match[1])
    missing = [letter for letter in "Md" if letter not in letters]
    if missing:
        return f"{missing[0]!r} is missing"
    return "" if ("h" in letters) == ("a" in letters) else "'h' and 'a' belong together"


def time_zone(name: str) -> str:
    """Return the name of a time zone, UTC for an empty one. Raises UsageError for one that does not exist."""
    zone = name or "UTC"
    zones = available_timezones()  # none where the machine has no time zone database
    if not _OFFSET.fullmatch(zone) and zones and zone not in zones:
        raise UsageError(f"{zone!r} is no time zone", hint="For example UTC, Europe/Berlin or +01:00.")
    return zone
