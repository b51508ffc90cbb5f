"""What a check of the doctor says."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["Finding", "Verdict"]


class Verdict(StrEnum):
    """How bad it is."""

    FINE = "fine"
    WARNING = "warning"
    """It works, with something to know about it."""
    PROBLEM = "problem"
    """It does not work."""
    UNKNOWN = "unknown"
    """The cluster did not tell."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    check: str
    """What was looked at."""
    verdict: Verdict
    message: str
    hint: str = ""
    details: tuple[str, ...] = field(default=())
    """What is behind it, one thing a line."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON."""
        return {
            "check": self.check,
            "verdict": self.verdict.value,
            "message": self.message,
            "hint": self.hint,
            "details": list(self.details),
        }
