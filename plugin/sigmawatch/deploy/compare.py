"""Comparing two bodies: whether one holds the other, and how they differ, line by line."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["covers", "unified_diff"]

REDACTED = "::es_redacted::"
"""What Watcher returns in place of a secret: it compares to nothing, so it is taken to be what we sent."""


def covers(live: Any, wanted: Any) -> bool:
    """Return whether `live` is `wanted` and perhaps more keys, as where a server added defaults."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(
            key in live and covers(live[key], wanted[key]) for key in wanted
        )
    if isinstance(wanted, list | tuple):
        if not isinstance(live, list) or len(live) != len(wanted):
            return False
        return all(covers(one, other) for one, other in zip(live, wanted, strict=True))
    return bool(live == wanted) or live == REDACTED


def unified_diff(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    """Return the difference of two bodies as lines with `+`, `-` and context; empty when there is none."""
    old = [] if before is None else list(_lines(before))
    new = [] if after is None else list(_lines(after))
    lines = list(difflib.unified_diff(old, new, lineterm="", n=3))[2:]  # without the names of files
    return "\n".join(lines)


def _lines(body: Mapping[str, Any]) -> Iterator[str]:
    """Yield a body as indented JSON with sorted keys; text of several lines (scripts) stays readable."""
    for line in json.dumps(body, indent=2, sort_keys=True, ensure_ascii=False, default=str).split("\n"):
        if "\\n" not in line:
            yield line
            continue
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        first, *rest = line.replace("\\\\n", "\0").split("\\n")
        yield first.replace("\0", "\\\\n")
        for part in rest:
            yield indent + part.replace("\0", "\\\\n")
