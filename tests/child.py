"""Processes of Python that tests start, to kill them or to run them beside others."""

from __future__ import annotations

import sys

__all__ = ["python"]


def python(code: str, *arguments: str) -> list[str]:
    """Return the command that runs code which may import whatever a test may."""
    return [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}", *arguments]
