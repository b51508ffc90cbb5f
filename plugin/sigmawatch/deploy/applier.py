"""Applying a plan: in order, a few at a time, and recorded so that the next run completes a killed one."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from typing import TYPE_CHECKING

from sigmawatch.artifact import secrets_in
from sigmawatch.deploy.execution import Execution, has_moved
from sigmawatch.deploy.journal import Journal
from sigmawatch.deploy.kinds import all_kinds
from sigmawatch.deploy.lock import DEFAULT_SECONDS, DeployLock
from sigmawatch.deploy.origin import Origin, whoami
from sigmawatch.deploy.outcome import ApplyResult, ArtifactResult, DeployIncomplete, ReleaseNotRecorded
from sigmawatch.deploy.plan import WRITING, Plan
from sigmawatch.deploy.planner import engine_of
from sigmawatch.deploy.registry import create_registry, fingerprint, read_registry
from sigmawatch.deploy.releases import (
    KEPT_RELEASES,
    begin_release,
    close_release,
    forget_old_releases,
)
from sigmawatch.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sigmawatch.cluster import Cluster
    from sigmawatch.deploy.journal import Journals
    from sigmawatch.deploy.releases import Release

__all__ = ["apply"]


def apply(
    cluster: Cluster,
    plan: Plan,
    *,
    on_progress: Callable[[ArtifactResult, int, int], None] | None = None,
    origin: Origin | None = None,
    restores: int | None = None,
    kept_releases: int = KEPT_RELEASES,
    lock_seconds: float = DEFAULT_SECONDS,
    secrets: Mapping[str, object] | None = None,
    journals: Journals | None = None,
    on_wait: Callable[[str], object] | None = None,
) -> ApplyResult:
    """Make a cluster what a plan says, and record it as a release.

    `on_progress` is called with each result, the number of results so far and the number there will be.
    `origin`: who deploys what. `restores`: number of the release that the plan goes back to. `kept_releases`: how
    many of the pack's releases are kept. `secrets`: what bodies need and do not hold, by name. `journals`: where this
    machine keeps its own account of deploys, if it does. `on_wait` is called, from any thread, with the reason whenever
    the cluster has to be waited for.

    Raises UsageError when the plan was refused or a secret is missing, DeployLocked while somebody else deploys,
    ClusterError when the cluster changed since the plan was made or fails before anything was written,
    DeployIncomplete when some artifacts failed. After an interrupt, what was written is recorded and the lock released.
    """
    plan.require_applicable()
    unfinished = () if journals is None else journals.unfinished(uuid=cluster.info.uuid, pack=plan.pack)
    if not plan.has_work:
        if journals is not None and plan.last is not None:
            journals.settle(unfinished, plan.last.number)
        return ApplyResult(())
    _require_secrets(plan, secrets or {})
    origin = origin or Origin(by=whoami())
    create_registry(cluster)
    with DeployLock(cluster, seconds=lock_seconds) as lock:
        _require_unmoved(cluster, plan)
        journal = _journal(cluster, plan, origin, restores, secrets, journals)
        with journal:
            release = _begin(cluster, plan, origin, restores, journal)
            run = Execution(
                cluster, plan, lock, str(release.number), on_progress, secrets or {}, journal, on_wait
            )
            try:
                run.all()
            except BaseException:
                journal.end("interrupted")
                # Its bodies and intentions are there; that it was interrupted is only told more kindly this way.
                with suppress(ClusterError):
                    close_release(cluster, release, run.failures(), interrupted=True)
                raise
            result = ApplyResult(tuple(run.results.values()), release.number)
            try:
                _close(cluster, lock, release, result, kept_releases)
            except ReleaseNotRecorded:
                journal.end("incomplete")
                raise
            journal.end("incomplete" if result.failed else "complete")
    if result.failed:
        raise DeployIncomplete(result)
    if journals is not None:
        journals.settle(unfinished, release.number)
        told = tuple(one for one in unfinished if plan.last is None or not one.is_settled_by(plan.last))
        result = dataclasses.replace(result, completed=told)
    return result


def _journal(
    cluster: Cluster,
    plan: Plan,
    origin: Origin,
    restores: int | None,
    secrets: Mapping[str, object] | None,
    journals: Journals | None,
) -> Journal:
    """Begin the journal on this machine's disk; one that keeps nothing where none is wanted."""
    if journals is None:
        return Journal()
    return journals.begin(cluster, plan, origin, restores=restores, secret=(secrets or {}).values())


def _begin(cluster: Cluster, plan: Plan, origin: Origin, restores: int | None, journal: Journal) -> Release:
    """Record in the cluster and in the journal that a plan is about to be applied. Raises ClusterError."""
    try:
        release = begin_release(cluster, plan, origin, engine_of(cluster), restores=restores)
    except ClusterError:
        journal.end("nothing")
        raise
    journal.release(release.number)
    return release


def _require_secrets(plan: Plan, secrets: Mapping[str, object]) -> None:
    """Raise UsageError when something is to be written that needs a secret which nobody gave."""
    for change in plan.changes:
        if change.action in WRITING and change.artifact is not None:
            missing = secrets_in(change.artifact.body) - set(secrets)
            if missing:
                raise UsageError(
                    f"{change.key} needs the key {min(missing)} of pseudonyms, which is not the one at hand",
                    hint="`privacy: {key: …}` in sigmawatch.yml names it; --config and --env say which file and part.",
                )


def _require_unmoved(cluster: Cluster, plan: Plan) -> None:
    """Raise ClusterError when the cluster is no longer what the plan was made for. The lock must be held."""
    again = "Plan again and look at the difference."
    if fingerprint(read_registry(cluster)) != fingerprint(plan.registry):
        raise ClusterError("another deploy finished since this plan was made", hint=again)
    kinds = all_kinds()
    ids: dict[str, list[str]] = {}
    for change in plan.changes:
        if change.is_change and kinds[change.key.kind].updatable and not kinds[change.key.kind].additive:
            ids.setdefault(change.key.kind, []).append(change.key.id)
    live = {kind: kinds[kind].read_all(cluster, wanted) for kind, wanted in ids.items()}
    moved = [
        change.key
        for change in plan.changes
        if change.is_change
        and change.key.kind in live
        and has_moved(plan, change, kinds[change.key.kind], live[change.key.kind].get(change.key.id))
    ]
    if moved:
        shown = ", ".join(map(str, moved[:5])) + (f" and {len(moved) - 5} more" if len(moved) > 5 else "")
        raise ClusterError(f"changed by somebody else since this plan was made: {shown}", hint=again)


def _close(
    cluster: Cluster, lock: DeployLock, release: Release, result: ApplyResult, kept_releases: int
) -> None:
    """Record how a release ended. What is in the cluster is as it is, so failing here is told as such."""
    failures = [(one.key, one.error) for one in result.failed]
    try:
        close_release(cluster, release, failures)
        if not lock.lost:
            forget_old_releases(cluster, release.pack, kept=kept_releases)
    except ClusterError as error:
        if result.failed:
            return  # told with what failed
        raise ReleaseNotRecorded(release.number, error) from error
