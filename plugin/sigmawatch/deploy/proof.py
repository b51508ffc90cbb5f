"""Trying what was just deployed, where it is: pipelines on samples, watches and monitors as a dry run, searches once.

What a server takes need not work: scripts meet documents, searches meet mappings and privileges only when they run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigmawatch.deploy.kind import Trial
from sigmawatch.deploy.kinds import all_kinds
from sigmawatch.deploy.plan import WRITING
from sigmawatch.errors import ClusterError, PartlyApplied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sigmawatch.artifact import Artifact, ArtifactKey
    from sigmawatch.cluster import Cluster
    from sigmawatch.datasets import Dataset
    from sigmawatch.deploy.outcome import ApplyResult
    from sigmawatch.deploy.plan import Plan

__all__ = ["Failing", "NotWorking", "prove", "samples_of"]

SAMPLES = 20
"""Documents that a pipeline is tried on."""


@dataclass(frozen=True)
class Failing:
    """Something that was deployed and does not work."""

    key: ArtifactKey
    problem: str
    tried: bool = True
    """False: it could not be tried, for a reason that says nothing about it."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON."""
        return {"kind": self.key.kind, "id": self.key.id, "problem": self.problem, "tried": self.tried}


class NotWorking(PartlyApplied):
    """Everything was deployed, and some of it does not work."""

    def __init__(self, failing: Sequence[Failing]) -> None:
        self.failing = tuple(failing)
        shown = [f"  {one.key}: {one.problem}" for one in failing[:20]]
        more = [f"  … and {len(failing) - 20} more"] if len(failing) > 20 else []
        super().__init__(
            "\n".join([f"{len(failing)} of what was deployed does not work when tried", *shown, *more]),
            hint="Correct the cause and deploy again, or go back with `sigmawatch rollback`.",
        )


def samples_of(datasets: Iterable[Dataset]) -> dict[str, list[dict[str, Any]]]:
    """Return documents for the pipelines of datasets, from the samples that they bring; by the pipelines' ids."""
    found: dict[str, list[dict[str, Any]]] = {}
    for dataset in datasets:
        documents: list[dict[str, Any]] = []
        for path in sorted((dataset.folder / "samples").glob("*.log")):
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            documents += list(dataset.documents(lines))[: SAMPLES // 4]
        if documents:
            found[dataset.pipeline_id] = documents[:SAMPLES]
    return found


def prove(
    cluster: Cluster,
    plan: Plan,
    result: ApplyResult,
    *,
    samples: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    on_progress: Callable[[int, int], object] | None = None,
) -> list[Failing]:
    """Return what of the artifacts that were just written does not work, or could not be tried.

    `samples`: documents for pipelines, by id. `on_progress` is called with the number of artifacts tried and of all.
    """
    failed = {one.key for one in result.failed}
    by_kind: dict[str, list[Artifact]] = {}
    for change in plan.changes:
        if change.action in WRITING and change.artifact is not None and change.key not in failed:
            by_kind.setdefault(change.key.kind, []).append(change.artifact)
    total, done = sum(map(len, by_kind.values())), 0
    found: list[Failing] = []
    for name, artifacts in by_kind.items():
        try:
            trials = all_kinds()[name].prove(cluster, artifacts, samples or {})
        except ClusterError as error:
            trials = {one.id: Trial(error.message, allowed=False) for one in artifacts}
        found += [
            Failing(one.key, trials[one.id].problem, trials[one.id].allowed)
            for one in artifacts
            if one.id in trials
        ]
        done += len(artifacts)
        if on_progress is not None:
            on_progress(done, total)
    return found
