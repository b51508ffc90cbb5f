"""Applying a plan: in order, a few at a time, and recorded so that the next run completes a killed one."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sigmawatch import __version__
from sigmawatch.artifact import Artifact, ArtifactKey, content_hash, secrets_in, with_secrets
from sigmawatch.cluster import ResponseError
from sigmawatch.deploy.journal import Journal
from sigmawatch.deploy.kinds import all_kinds
from sigmawatch.deploy.lock import DEFAULT_SECONDS, DeployLock
from sigmawatch.deploy.order import waves
from sigmawatch.deploy.origin import Origin, whoami
from sigmawatch.deploy.outcome import ApplyResult, ArtifactResult, DeployIncomplete, ReleaseNotRecorded
from sigmawatch.deploy.plan import WRITING, Action, Change, Plan
from sigmawatch.deploy.planner import engine_of
from sigmawatch.deploy.registry import Entry, create_registry, fingerprint, read_registry, write_registry
from sigmawatch.deploy.releases import (
    KEPT_RELEASES,
    begin_release,
    close_release,
    forget_old_releases,
)
from sigmawatch.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sigmawatch.cluster import Cluster
    from sigmawatch.deploy.journal import Journals
    from sigmawatch.deploy.kind import Body, Kind
    from sigmawatch.deploy.releases import Release

__all__ = ["apply"]

WRITERS = 4
"""Requests at a time: writes queue up at the master node anyway."""

_HOPELESS = frozenset({401, 429, 502, 503, 504})
"""Statuses after which, retried as they were, the other artifacts would fail in the same way."""


_NOT_TRIED = ClusterError("not tried")


def _may_have_arrived(error: ClusterError) -> bool:
    """Return whether a write that failed may be in the cluster all the same: no answer came, or not from who did it."""
    return not isinstance(error, ResponseError) or error.status >= 500


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
) -> ApplyResult:
    """Make a cluster what a plan says, and record it as a release.

    `on_progress` is called with each result, the number of results so far and the number there will be.
    `origin`: who deploys what. `restores`: number of the release that the plan goes back to. `kept_releases`: how
    many of the pack's releases are kept. `secrets`: what bodies need and do not hold, by name. `journals`: where this
    machine keeps its own account of deploys, if it does.

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
            run = _Run(cluster, plan, lock, str(release.number), on_progress, secrets or {}, journal)
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
        and _moved(plan, change, kinds[change.key.kind], live[change.key.kind].get(change.key.id))
    ]
    if moved:
        shown = ", ".join(map(str, moved[:5])) + (f" and {len(moved) - 5} more" if len(moved) > 5 else "")
        raise ClusterError(f"changed by somebody else since this plan was made: {shown}", hint=again)


def _moved(plan: Plan, change: Change, kind: Kind, body: Body | None) -> bool:
    """Return whether an artifact is neither as it was when planned nor already as it shall be."""
    if body is None:
        return bool(change.live_hash) and change.after is not None
    wanted = change.artifact.body if change.artifact is not None else {}
    sent = _claims(plan, change)
    if content_hash(kind.ours(body, kind.claims(wanted).union(sent))) == change.live_hash:
        return False
    if change.artifact is None:
        return True
    # As it shall be: the last request of a deployer that was killed arrived after we had looked.
    before, after = kind.compared(body, wanted, sent)
    return content_hash(before) != content_hash(after)


def _claims(plan: Plan, change: Change) -> tuple[str, ...]:
    """Return what of an artifact was ours when the plan was made."""
    entry = plan.registry.get(change.key)
    return entry.claims if entry is not None else ()


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


class _Run:
    """One run of a plan: what is done so far, and whether to go on."""

    def __init__(
        self,
        cluster: Cluster,
        plan: Plan,
        lock: DeployLock,
        release: str,
        on_progress: Callable[[ArtifactResult, int, int], None] | None,
        secrets: Mapping[str, object],
        journal: Journal,
    ) -> None:
        self._secrets = secrets
        self._journal = journal
        self.results: dict[ArtifactKey, ArtifactResult] = {}
        self._cluster = cluster
        self._plan = plan
        self._lock = lock
        self._release = release
        self._on_progress = on_progress
        self._changes = {change.key: change for change in plan.changes}
        self._total = sum(
            change.action in WRITING or change.action in {Action.RECORD, Action.DELETE}
            for change in plan.changes
        )
        self._engine = engine_of(cluster)
        self._hopeless = ""
        self._stop = threading.Event()

    def failures(self) -> list[tuple[ArtifactKey, str]]:
        """Return what failed so far, and why."""
        return [(one.key, one.error) for one in self.results.values() if not one.ok]

    def all(self) -> None:
        """Write wave after wave, then delete."""
        kinds = all_kinds()
        artifacts = [change.artifact for change in self._plan.changes if change.artifact is not None]
        for wave in waves(artifacts, lambda artifact: kinds[artifact.kind].rank):
            changes = [self._changes[artifact.key] for artifact in wave]
            self._wave([one for one in changes if one.action in WRITING or one.action is Action.RECORD])
        gone = [change for change in self._plan.changes if change.artifact is None]
        self._remove([change for change in gone if change.action in {Action.DELETE, Action.RECORD}])

    def _wave(self, changes: Sequence[Change]) -> None:
        writes: list[Change] = []
        records: list[Change] = []
        self._look_at_the_lock()
        for change in changes:
            obstacle = self._hopeless or self._missing_dependency(change)
            if obstacle:
                self._note(change, error=obstacle, skipped=True)
            else:
                (records if change.action is Action.RECORD else writes).append(change)
        if not writes and not records:
            return
        try:
            intentions = [self._intention(change) for change in writes]
            write_registry(
                self._cluster, [*intentions, *(self._entry(one, one.live_hash) for one in records)]
            )
        except ClusterError as error:
            self._give_up(error)
            for change in (*writes, *records):
                self._note(change, error=str(error))
            return
        for change in records:
            self._note(change)
        outcomes: dict[ArtifactKey, ClusterError | None] = {}
        try:
            self._write(writes, outcomes)
        finally:
            # Also after an interrupt: what was written is ours, and the next run should know it.
            self._settle(writes, outcomes)

    def _missing_dependency(self, change: Change) -> str:
        needs = change.artifact.depends_on if change.artifact else ()
        failed = next((key for key in needs if key in self.results and not self.results[key].ok), None)
        return f"needs {failed}, which failed" if failed else ""

    def _write(self, changes: Sequence[Change], outcomes: dict[ArtifactKey, ClusterError | None]) -> None:
        """Write concurrently; each write that was begun has its outcome noted, whatever happens meanwhile."""
        batches = list(self._batches(changes))
        for kind_name in {batch[0].key.kind for batch in batches}:
            try:
                all_kinds()[kind_name].prepare(self._cluster)
            except ClusterError as error:
                self._give_up(error)
                mine = [one for one in changes if one.key.kind == kind_name]
                outcomes.update({change.key: error for change in mine})
                batches = [batch for batch in batches if batch[0].key.kind != kind_name]
                for change in mine:
                    self._note(change, error=str(error))
        with ThreadPoolExecutor(WRITERS, thread_name_prefix="deploy") as pool:
            futures = {pool.submit(self._write_batch, batch): batch for batch in batches}
            try:
                for future in as_completed(futures):
                    self._take(futures[future], future, outcomes)
                    self._report(futures[future], outcomes)
            except BaseException:
                self._stop.set()
                for future in futures:
                    future.cancel()
                raise
            finally:
                for future, batch in futures.items():
                    if not future.cancelled() and future.exception() is None:
                        self._take(batch, future, outcomes)

    def _batches(self, changes: Sequence[Change]) -> Iterable[list[Change]]:
        by_kind: dict[str, list[Change]] = {}
        for change in changes:
            by_kind.setdefault(change.key.kind, []).append(change)
        for kind_name, mine in by_kind.items():
            size = all_kinds()[kind_name].batch_size
            for start in range(0, len(mine), size):
                yield mine[start : start + size]

    def _write_batch(self, batch: list[Change]) -> Mapping[str, ClusterError] | None:
        """Write in a thread of the pool; None when it was not even tried."""
        if self._stop.is_set() or self._lock.lost:
            return None
        kind = all_kinds()[batch[0].key.kind]
        bodies: list[tuple[Artifact, Body]] = []
        for change in batch:
            assert change.artifact is not None
            marks = {
                "managed_by": "sigmawatch",
                "pack": change.artifact.owner(self._plan.pack),
                "version": __version__,
                "release": self._release,
                "hash": change.sent_hash,
            }
            body = kind.mark(change.artifact.body, marks, self._cluster.info)
            body = kind.told(body, _claims(self._plan, change))
            bodies.append((change.artifact, with_secrets(body, self._secrets)))
        self._journal.begins(change.key for change in batch)
        errors = kind.write_batch(self._cluster, bodies)
        self._tell_outcome(batch, errors)
        return errors

    def _tell_outcome(self, batch: Sequence[Change], errors: Mapping[str, ClusterError]) -> None:
        failed = [(one.key, errors[one.key.id]) for one in batch if one.key.id in errors]
        self._journal.outcome(
            written=[change.key for change in batch if change.key.id not in errors],
            refused=[(key, error.message) for key, error in failed if not _may_have_arrived(error)],
            unknown=[(key, error.message) for key, error in failed if _may_have_arrived(error)],
        )

    def _take(
        self,
        batch: list[Change],
        future: Future[Mapping[str, ClusterError] | None],
        outcomes: dict[ArtifactKey, ClusterError | None],
    ) -> None:
        errors = future.result()
        if errors is None:
            return
        for change in batch:
            outcomes[change.key] = errors.get(change.key.id)

    def _report(self, batch: list[Change], outcomes: Mapping[ArtifactKey, ClusterError | None]) -> None:
        for change in batch:
            if change.key not in outcomes:
                self._look_at_the_lock()
                self._hopeless = self._hopeless or "the deploy was stopped"
                self._note(change, error=self._hopeless, skipped=True)
            elif (error := outcomes[change.key]) is None:
                self._note(change)
            else:
                self._give_up(error)
                self._note(change, error=error.message)

    def _look_at_the_lock(self) -> None:
        if self._lock.lost:
            self._hopeless = self._hopeless or "the deploy lock was lost to somebody else"

    def _give_up(self, error: ClusterError) -> None:
        """Stop trying when an error says that nothing else will work either."""
        blocked = isinstance(error, ResponseError) and "cluster_block" in error.error_type
        if blocked or not isinstance(error, ResponseError) or error.status in _HOPELESS:
            self._hopeless = self._hopeless or f"the cluster stopped working: {error.message}"
            self._stop.set()

    def _settle(self, changes: Sequence[Change], outcomes: Mapping[ArtifactKey, ClusterError | None]) -> None:
        """Record what a wave left in the cluster, and take back the intentions that came to nothing."""
        written = {one.key: one for one in changes if outcomes.get(one.key, _NOT_TRIED) is None}
        entries: list[Entry] = []
        forgotten: list[ArtifactKey] = []
        try:
            live = self._read_back(written.values())
            for change in changes:
                error = outcomes.get(change.key)
                before = self._plan.registry.get(change.key)
                if change.key in written:
                    if change.key in live:
                        entries.append(self._entry(change, live[change.key]))
                elif error is not None and _may_have_arrived(error):
                    continue  # the intention stays, and the next run looks for itself
                elif before is not None:
                    entries.append(before)
                else:
                    forgotten.append(change.key)
            write_registry(self._cluster, entries, forgotten)
        except ClusterError as error:
            # The intentions are recorded: the next run finds them and looks for itself.
            self._give_up(error)
            self._hopeless = self._hopeless or error.message
            for change in written.values():
                self._replace(change, f"written, but not recorded: {error.message}")

    def _read_back(self, written: Iterable[Change]) -> dict[ArtifactKey, str]:
        """Return the hashes of what the server made of our bodies, with one reading for each kind."""
        sent: dict[str, dict[str, Mapping[str, Any]]] = {}
        for change in written:
            assert change.artifact is not None
            sent.setdefault(change.key.kind, {})[change.key.id] = change.artifact.body
        found: dict[ArtifactKey, str] = {}
        for name, bodies in sent.items():
            kind = all_kinds()[name]
            for artifact_id, live in kind.read_all(self._cluster, bodies).items():
                mine = kind.ours(live, kind.claims(bodies[artifact_id]))
                found[ArtifactKey(name, artifact_id)] = content_hash(mine)
        return found

    def _remove(self, changes: Sequence[Change]) -> None:
        failed = any(not result.ok for result in self.results.values())
        gone: list[ArtifactKey] = []
        try:
            for change in changes:
                self._look_at_the_lock()
                if failed or self._hopeless:
                    reason = self._hopeless or "kept, because others failed"
                    self._note(change, error=reason, skipped=True)
                    continue
                try:
                    if change.action is Action.DELETE:
                        self._delete(change)
                except ClusterError as error:
                    self._give_up(error)
                    self._note(change, error=error.message)
                else:
                    gone.append(change.key)
                    self._note(change)
        finally:
            if gone:
                write_registry(self._cluster, (), gone)

    def _delete(self, change: Change) -> None:
        self._journal.begins([change.key])
        try:
            all_kinds()[change.key.kind].delete(self._cluster, change.key.id)
        except ClusterError as error:
            self._tell_outcome([change], {change.key.id: error})
            raise
        self._tell_outcome([change], {})

    def _entry(self, change: Change, live_hash: str) -> Entry:
        assert change.artifact is not None
        before = self._plan.registry.get(change.key)
        return Entry(
            kind=change.key.kind,
            id=change.key.id,
            pack=change.artifact.owner(self._plan.pack),
            version=__version__,
            engine=self._engine,
            sent_hash=change.sent_hash,
            live_hash=live_hash,
            updated=datetime.now(UTC).isoformat(timespec="seconds"),
            release=self._release,
            seed=change.artifact.seed,
            found=before.found if before is not None else change.action in {Action.RECORD, Action.ADOPT},
            claims=tuple(sorted(all_kinds()[change.key.kind].claims(change.artifact.body))),
        )

    def _intention(self, change: Change) -> Entry:
        before = self._plan.registry.get(change.key)
        assert change.artifact is not None
        if before is None or before.pack != change.artifact.owner(self._plan.pack):
            before = dataclasses.replace(self._entry(change, ""), sent_hash="")
        return dataclasses.replace(before, pending=change.sent_hash)

    def _note(self, change: Change, *, error: str = "", skipped: bool = False) -> None:
        result = ArtifactResult(change.key, change.action, ok=not error, error=error, skipped=skipped)
        self.results[change.key] = result
        if self._on_progress is not None:
            self._on_progress(result, len(self.results), self._total)

    def _replace(self, change: Change, error: str) -> None:
        self.results[change.key] = ArtifactResult(change.key, change.action, ok=False, error=error)
