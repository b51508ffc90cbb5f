"""Fields by name or, with a `*`, by what their names begin or end with."""

from __future__ import annotations

from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["fields_like", "similar_fields"]


def fields_like(pattern: str, fields: Iterable[str]) -> list[str]:
    """Return the fields that a name, perhaps with a `*`, means."""
    return [name for name in fields if name == pattern or ("*" in pattern and fnmatchcase(name, pattern))]


def similar_fields(pattern: str, fields: Iterable[str]) -> str:
    """Return a hint with the fields that may have been meant instead; empty where none is alike."""
    found = get_close_matches(pattern, list(fields), n=3, cutoff=0.7)
    return f"did you mean {', '.join(found)}?" if found else ""
