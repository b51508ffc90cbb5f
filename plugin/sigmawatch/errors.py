"""Everything that can go wrong for a user, in one hierarchy.

    SigmawatchError
    ├── UsageError              2  the command was called wrongly
    ├── ContentError            2  a rule, dataset or test is invalid; lists every problem found
    ├── RenderRefused           2  a target cannot express a plan (`render/refusal.py`)
    ├── EngineError             5  the embedded engine cannot be fetched, started or stopped
    ├── ClusterError            5  a cluster is unreachable, refuses us, or answers nonsense
    │   └── TargetUnavailable   5  the cluster lacks what a target needs; says which target would do
    └── PartlyApplied           4  a deploy went part of the way

The number is the exit code of the command line (design, section 8). A traceback is never shown for these.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

__all__ = [
    "ClusterError",
    "ContentError",
    "EngineError",
    "PartlyApplied",
    "Problem",
    "Severity",
    "SigmawatchError",
    "TargetUnavailable",
    "UsageError",
    "similar_names",
]


def similar_names(name: str, known: Collection[str]) -> str:
    """Return what to say of a name that is none of the known ones: `did you mean …?`, or all that there are."""
    within = [one for one in sorted(known) if len(name) > 2 and name in one]
    found = list(dict.fromkeys([*within, *get_close_matches(name, known, n=3, cutoff=0.7)]))[:3]
    if not found:
        return f"known: {', '.join(sorted(known))}"
    return f"did you mean {' or '.join(found)}?"


class Severity(StrEnum):
    """How bad a problem is: an error makes the content unusable, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Problem:
    """One finding about one place in the content."""

    message: str
    """What is wrong, in one sentence."""
    path: Path | None = None
    """The file it was found in."""
    line: int | None = None
    """The line in that file, counted from 1."""
    hint: str = ""
    """What to do about it."""
    severity: Severity = Severity.ERROR
    code: str = ""
    """A short stable name of the check, for machines (e.g. `duplicate-key`)."""

    def __str__(self) -> str:
        """Return `file:line: severity: message (hint)`, the form that editors and CI can jump to."""
        place = ""
        if self.path is not None:
            place = f"{self.path}:{self.line}: " if self.line else f"{self.path}: "
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}{self.severity}: {self.message}{hint}"


class SigmawatchError(Exception):
    """Base of all errors that are reported to the user without a traceback."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(SigmawatchError):
    """The command was called in a way that makes no sense."""


class ContentError(SigmawatchError):
    """Content is invalid. Carries every problem found, so that one mistake never hides the others."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class EngineError(SigmawatchError):
    """The embedded engine cannot be fetched, started or stopped."""

    exit_code = 5


class ClusterError(SigmawatchError):
    """A cluster cannot be reached, refuses us, or answers something that is not its API."""

    exit_code = 5


class TargetUnavailable(ClusterError):
    """The cluster lacks what a target needs, for example a licence for Watcher."""


class PartlyApplied(SigmawatchError):
    """A deploy stopped part of the way; running it again converges."""

    exit_code = 4
