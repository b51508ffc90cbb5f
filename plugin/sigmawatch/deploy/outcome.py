"""What became of a plan that was applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigmawatch.errors import PartlyApplied

if TYPE_CHECKING:
    from sigmawatch.artifact import ArtifactKey
    from sigmawatch.deploy.journal import Account
    from sigmawatch.deploy.plan import Action
    from sigmawatch.errors import ClusterError

__all__ = ["ApplyResult", "ArtifactResult", "DeployIncomplete", "ReleaseNotRecorded"]


@dataclass(frozen=True)
class ArtifactResult:
    """What became of one change."""

    key: ArtifactKey
    action: Action
    ok: bool
    error: str = ""
    """Why not."""
    skipped: bool = False
    """Not tried, because of something else that failed."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON."""
        return {
            "kind": self.key.kind,
            "id": self.key.id,
            "action": self.action.value,
            "ok": self.ok,
            "error": self.error,
            "skipped": self.skipped,
        }


@dataclass(frozen=True)
class ApplyResult:
    """What became of a plan: a result for each change that had work in it."""

    results: tuple[ArtifactResult, ...]
    release: int | None = None
    """Number of the release that this is; None where there was nothing to do."""
    completed: tuple[Account, ...] = ()
    """Deploys from this machine that were cut off, which this one completed."""

    @property
    def failed(self) -> tuple[ArtifactResult, ...]:
        """Those that are not as they should be, skipped ones included."""
        return tuple(result for result in self.results if not result.ok)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON."""
        told = [{"release": one.release, "begun": one.begun} for one in self.completed]
        return {
            "release": self.release,
            "results": [result.to_dict() for result in self.results],
            **({"completed": told} if told else {}),
        }


class DeployIncomplete(PartlyApplied):
    """Some artifacts could not be applied; `result` says which and why."""

    def __init__(self, result: ApplyResult) -> None:
        self.result = result
        tried = [one for one in result.failed if not one.skipped]
        skipped = len(result.failed) - len(tried)
        lines = [f"{len(tried)} of {len(result.results)} artifacts failed, {skipped} were skipped"]
        lines += [f"  {one.key}: {one.error}" for one in result.failed[:20]]
        if len(result.failed) > 20:
            lines.append(f"  … and {len(result.failed) - 20} more")
        super().__init__(
            "\n".join(lines), hint="Correct the cause and deploy again: it continues from there."
        )


class ReleaseNotRecorded(PartlyApplied):
    """Everything was applied, only its release could not be marked as complete."""

    def __init__(self, number: int, cause: ClusterError) -> None:
        super().__init__(
            f"everything is deployed, but release {number} could not be marked as complete: {cause.message}",
            hint="Deploy again: it writes what is missing.",
        )
