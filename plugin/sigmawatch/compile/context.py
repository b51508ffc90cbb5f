"""What the compiler has to know besides the rules, and what comes of it.

Nothing of pySigma is imported here: it takes a tenth of a second, which is most of the time that a rule set takes of
which nothing has changed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sigmawatch.errors import ContentError, Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sigma.processing.pipeline import ProcessingPipeline
    from sigma.rule import SigmaRule

    from sigmawatch.compile.plan import DetectionPlan

__all__ = ["DEFAULT_INDICES", "KEYWORD_FIELDS", "Binding", "CompileContext", "Compiled", "Place", "relative"]

KEYWORD_FIELDS = ("message",)
"""Fields that hold the whole event as text, in which keywords are searched."""

DEFAULT_INDICES = "logs-*"
"""Searched where no dataset is known to hold a rule's log source."""


@dataclass(frozen=True)
class Binding:
    """Says that a dataset holds the events of a log source."""

    dataset: str
    """Value of `event.dataset`, e.g. `auth.sshd`."""
    indices: str
    """Index pattern that holds its documents, e.g. `logs-auth.sshd-*`."""
    logsource: Mapping[str, str]
    """Category, product and service that the dataset's events have, as far as they have any."""
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Field -> values of which the events of this log source have one; empty: all events of the dataset are of it."""

    def serves(self, rule: SigmaRule) -> bool:
        """Whether everything that the rule asks of its log source is true of this one."""
        asked = {
            "category": rule.logsource.category,
            "product": rule.logsource.product,
            "service": rule.logsource.service,
        }
        return all(value is None or self.logsource.get(key) == value for key, value in asked.items())


@dataclass(frozen=True)
class CompileContext:
    """What the compiler has to know besides the rules."""

    bindings: tuple[Binding, ...] = ()
    """Which datasets hold which log sources."""
    datasets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The fields of each dataset with their mapping types."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    """Mapping types that win over all others."""
    pipelines: tuple[ProcessingPipeline, ...] = ()
    """Processing pipelines of the user's, applied before ours."""
    default_indices: str = DEFAULT_INDICES
    keyword_fields: tuple[str, ...] = KEYWORD_FIELDS
    """Fields that hold the whole event as text, in which keywords are searched."""
    without_message: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Datasets whose documents keep no message -> their fields in which keywords are searched instead."""
    placeholders: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Values of the placeholders that rules use with `expand`, e.g. names of administrators."""
    root: Path | None = None
    """Sources are named relative to this folder."""

    @property
    def dataset_types(self) -> Mapping[str, str]:
        """Mapping types of all datasets' fields."""
        return {name: kind for fields in self.datasets.values() for name, kind in fields.items()}


@dataclass(frozen=True)
class Place:
    """Where the rule of a plan is written."""

    path: Path
    line: int
    """The line that its document begins on."""
    detection: int
    """The line of its detection, or of its correlation."""


@dataclass(frozen=True)
class Compiled:
    """The plans of the rules that are to be emitted, and what was found wrong with others."""

    plans: tuple[DetectionPlan, ...]
    problems: tuple[Problem, ...]
    """Errors (the rule has no plan) and warnings (it has)."""
    places: Mapping[str, Place] = field(default_factory=dict, repr=False)
    """Where the plans' rules are written, by their ids."""
    untuned: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """What rules that a site tunes say themselves, by their ids: remembered, so that a change of it can be told."""

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Only the problems that cost a rule its plan."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)

    def require(self) -> tuple[DetectionPlan, ...]:
        """Return the plans. Raises ContentError when any rule has none."""
        if self.errors:
            raise ContentError(self.errors)
        return self.plans


def relative(path: Path, root: Path | None) -> str:
    """Return how the source of a plan is named: relative to its pack, where it is in one."""
    try:
        return path.resolve().relative_to(root.resolve()).as_posix() if root is not None else path.as_posix()
    except ValueError:
        return path.name
