"""What a deploy would do, artifact by artifact: planned by reading, and data from there on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sigmawatch.deploy.compare import unified_diff
from sigmawatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmawatch.artifact import Artifact, ArtifactKey
    from sigmawatch.deploy.registry import Entry
    from sigmawatch.deploy.releases import Release

__all__ = ["Action", "Change", "Plan", "Refusal"]


class Action(StrEnum):
    """What is to be done about one artifact."""

    CREATE = "create"
    """It is not in the cluster."""
    UPDATE = "update"
    """We changed it."""
    DRIFTED = "drifted"
    """Somebody else changed it; it is written back to ours."""
    ADOPT = "adopt"
    """Somebody else's, of the same name: it becomes ours, because that was asked for."""
    RECORD = "record"
    """The cluster has it as it should be, only the registry does not say so."""
    UNCHANGED = "unchanged"
    """Nothing."""
    DELETE = "delete"
    """It is ours and no longer in the bundle."""
    CONFLICT = "conflict"
    """Somebody else's, of the same name: refused."""


WRITING = frozenset({Action.CREATE, Action.UPDATE, Action.DRIFTED, Action.ADOPT})
_CHANGING = WRITING | {Action.DELETE}


_TITLES = (("rule", "title"), ("metadata", "rule", "title"), ("name",))
"""Where bodies have the name that people know them by."""


@dataclass(frozen=True)
class Change:
    """One artifact, and what is to be done about it."""

    key: ArtifactKey
    action: Action
    reason: str = ""
    """Why, where the action does not say it all."""
    artifact: Artifact | None = None
    """What the bundle holds; None when it no longer does."""
    before: Mapping[str, Any] | None = None
    """The live body, normalised; None when it is absent."""
    after: Mapping[str, Any] | None = None
    """The body it shall have, normalised; None when it goes."""
    sent_hash: str = ""
    """Hash of the artifact's body."""
    live_hash: str = ""
    """Hash of what is ours of the live body; empty when it is absent."""

    @property
    def is_change(self) -> bool:
        """Whether anything in the cluster becomes different."""
        return self.action in _CHANGING

    @property
    def title(self) -> str:
        """What people call it; empty where its id is all there is."""
        body: Any = self.artifact.body if self.artifact is not None else self.before or {}
        for way in _TITLES:
            found = body
            for key in way:
                found = found.get(key) if isinstance(found, dict) else None
            if isinstance(found, str) and found != self.key.id:
                return found
        return ""

    @property
    def diff(self) -> str:
        """How the body changes, as a unified diff of JSON."""
        return unified_diff(self.before, self.after)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON, with the exact body that is sent (without marks)."""
        return {
            "kind": self.key.kind,
            "id": self.key.id,
            "title": self.title,
            "action": self.action.value,
            "reason": self.reason,
            "source": self.artifact.source if self.artifact else "",
            "before": self.before if self.is_change or self.action is Action.CONFLICT else None,
            "after": None if self.artifact is None else dict(self.artifact.body),
            "diff": self.diff if self.action in _CHANGING else "",
            "sent_hash": self.sent_hash,
            "live_hash": self.live_hash,
            "depends_on": [list(key) for key in self.artifact.depends_on] if self.artifact else [],
            "seed": self.artifact is not None and self.artifact.seed,
            "shared": self.artifact is not None and self.artifact.shared,
            "stage": self.artifact.stage if self.artifact else "",
        }


@dataclass(frozen=True)
class Refusal:
    """Why a plan cannot be applied as it is, and what would allow it."""

    message: str
    hint: str


@dataclass(frozen=True)
class Plan:
    """The difference between a bundle and a live cluster."""

    pack: str
    cluster: str
    """What the cluster says it is."""
    changes: tuple[Change, ...]
    """Every artifact of the bundle and every one that goes, in order of writing, deletions last."""
    registry: Mapping[ArtifactKey, Entry]
    """The registry as the plan found it."""
    refusals: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()
    """What else a reader should know."""
    last: Release | None = None
    """The newest release of the pack, without its artifacts."""
    removal: bool = False
    """The whole pack goes."""

    @property
    def counts(self) -> dict[Action, int]:
        """How many artifacts have each action."""
        found = Counter(change.action for change in self.changes)
        return {action: found[action] for action in Action if found[action]}

    @property
    def has_changes(self) -> bool:
        """Whether anything in the cluster would become different (the registry aside)."""
        return any(change.is_change for change in self.changes)

    @property
    def has_work(self) -> bool:
        """Whether applying would write anything at all, our own records included."""
        if self.has_changes or any(change.action is Action.RECORD for change in self.changes):
            return True
        # All is as it should be, but no complete release says so: the last one was cut off at its very end.
        return bool(self.changes) and (self.last is None or not self.last.is_complete)

    @property
    def summary(self) -> str:
        """The counts in one line."""
        counts = self.counts
        said = {
            Action.CREATE: "to create",
            Action.UPDATE: "to update",
            Action.DRIFTED: "changed outside, to restore",
            Action.ADOPT: "to adopt",
            Action.DELETE: "to delete",
            Action.CONFLICT: "not ours",
            Action.RECORD: "to record",
            Action.UNCHANGED: "unchanged",
        }
        parts = [f"{counts[action]} {words}" for action, words in said.items() if action in counts]
        return ", ".join(parts) or "nothing to do"

    def require_applicable(self) -> None:
        """Raise UsageError when something stands against applying the plan."""
        if self.refusals:
            hints = " ".join(dict.fromkeys(refusal.hint for refusal in self.refusals))
            raise UsageError("; ".join(refusal.message for refusal in self.refusals), hint=hints)

    def to_dict(self) -> dict[str, Any]:
        """Return the whole plan as JSON."""
        return {
            "pack": self.pack,
            "cluster": self.cluster,
            "summary": self.summary,
            "counts": {action.value: count for action, count in self.counts.items()},
            "changes": [change.to_dict() for change in self.changes],
            "refusals": [{"message": one.message, "hint": one.hint} for one in self.refusals],
            "notes": list(self.notes),
        }
