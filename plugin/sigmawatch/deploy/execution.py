"""One run of a plan: wave after wave, a few at a time, each write noted before and after."""

from __future__ import annotations

import dataclasses
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING

from sigmawatch import __version__
from sigmawatch.artifact import ArtifactKey, content_hash, with_secrets
from sigmawatch.cluster import ResponseError
from sigmawatch.deploy.compare import covers
from sigmawatch.deploy.kind import ChangedMeanwhile, Write
from sigmawatch.deploy.kinds import all_kinds
from sigmawatch.deploy.limits import MOST_WAITING, compilation_wait
from sigmawatch.deploy.order import waves
from sigmawatch.deploy.outcome import ArtifactResult
from sigmawatch.deploy.plan import WRITING, Action, Change, Plan
from sigmawatch.deploy.planner import engine_of
from sigmawatch.deploy.registry import Entry, write_registry
from sigmawatch.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sigmawatch.cluster import Cluster
    from sigmawatch.deploy.journal import Journal
    from sigmawatch.deploy.kind import Body, Kind
    from sigmawatch.deploy.lock import DeployLock

__all__ = ["Execution", "has_moved"]

WRITERS = 4
"""Requests at a time: writes queue up at the master node anyway."""

LOOKED_AT = 50
"""Artifacts that are looked at together right before they are deleted one after the other."""

_HOPELESS = frozenset({401, 429, 502, 503, 504})
"""Statuses after which, retried as they were, the other artifacts would fail in the same way."""


_NOT_TRIED = ClusterError("not tried")


def _may_have_arrived(error: ClusterError) -> bool:
    """Return whether a write that failed may be in the cluster all the same: no answer came, or not from who did it."""
    if isinstance(error, ChangedMeanwhile):
        return False
    return not isinstance(error, ResponseError) or error.status >= 500


def has_moved(plan: Plan, change: Change, kind: Kind, body: Body | None) -> bool:
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


def _kind_of(change: Change) -> Kind:
    return all_kinds()[change.key.kind]


def _hash_of_ours(change: Change, live: Body) -> str:
    """Return the hash of what is ours of a body that was written."""
    kind = _kind_of(change)
    wanted = change.artifact.body if change.artifact is not None else {}
    return content_hash(kind.ours(live, kind.claims(wanted)))


def _alike(changes: Iterable[Change], most: int) -> Iterator[list[Change]]:
    """Yield changes in their order, some at a time, all of one kind."""
    for _, same in groupby(changes, key=lambda change: change.key.kind):
        group = list(same)
        for start in range(0, len(group), most):
            yield group[start : start + most]


class Execution:
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
        on_wait: Callable[[str], object] | None = None,
    ) -> None:
        self._secrets = secrets
        self._journal = journal
        self._on_wait = on_wait
        self._progressed = time.monotonic()
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
        writes: list[Write] = []
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
            body = with_secrets(kind.told(body, _claims(self._plan, change)), self._secrets)
            writes.append(self._write_of(change, body))
        self._journal.begins(change.key for change in batch)
        errors = self._patiently(kind, writes)
        self._tell_outcome(batch, errors)
        return errors

    def _write_of(self, change: Change, body: Body) -> Write:
        """Return what to send, with what it may replace: anything where it is not replaced or only grows."""
        kind = _kind_of(change)
        if kind.fluid or kind.additive or not kind.updatable:
            return Write(change.key.id, body)
        return Write(
            change.key.id,
            body,
            may_replace=lambda live: not has_moved(self._plan, change, kind, live),
            is_new=not change.live_hash,
        )

    def _patiently(self, kind: Kind, writes: Sequence[Write]) -> Mapping[str, ClusterError]:
        """Write, and again for what only the limit of compilations stands against, as long as that passes."""
        errors: dict[str, ClusterError] = {}
        while True:
            failed = kind.write_batch(self._cluster, writes)
            waits = {name: wait for name, error in failed.items() if (wait := compilation_wait(error))}
            errors |= failed
            if len(failed) < len(writes):
                self._progressed = time.monotonic()
            if not waits or not self._waited(max(waits.values()), failed[next(iter(waits))]):
                return errors
            writes = [one for one in writes if one.id in waits]
            errors = {name: error for name, error in errors.items() if name not in waits}

    def _waited(self, seconds: float, error: ClusterError) -> bool:
        """Wait until the next script may be compiled; False where that is too long, or the deploy ends."""
        if time.monotonic() + seconds - self._progressed > MOST_WAITING or self._lock.lost:
            return False
        if self._on_wait is not None:
            self._on_wait(error.message)
        # All writers wait for the same bucket: those that come too early ask again.
        return not self._stop.wait(max(seconds, 0.5))

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
        if isinstance(error, ChangedMeanwhile):
            return
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
                    if change.key not in live:
                        continue
                    if self._is_ours(change, live[change.key]):
                        entries.append(self._entry(change, _hash_of_ours(change, live[change.key])))
                    else:
                        # As if it had been read in time: so the next plan shows what somebody made of it.
                        entries.append(self._entry(change, content_hash(change.after)))
                        self._replace(change, "written, and changed by somebody else right after it")
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

    def _read_back(self, written: Iterable[Change]) -> dict[ArtifactKey, Body]:
        """Return what the server made of our bodies, with one reading for each kind."""
        ids: dict[str, list[str]] = {}
        for change in written:
            ids.setdefault(change.key.kind, []).append(change.key.id)
        return {
            ArtifactKey(kind, artifact_id): body
            for kind, wanted in ids.items()
            for artifact_id, body in all_kinds()[kind].read_all(self._cluster, wanted).items()
        }

    @staticmethod
    def _is_ours(change: Change, live: Body) -> bool:
        """Return whether a body that was read back is what was written: by its mark, else by all that it holds."""
        kind = _kind_of(change)
        if kind.fluid or kind.additive or not kind.updatable:
            return True
        marks = kind.marks_of(live)
        if marks:
            # Servers reshape what they are sent; what has our mark is ours, also where it holds less than we sent.
            return marks.get("hash", change.sent_hash) == change.sent_hash
        return covers(kind.normalise(live), change.after)

    def _remove(self, changes: Sequence[Change]) -> None:
        failed = any(not result.ok for result in self.results.values())
        gone: list[ArtifactKey] = []
        try:
            for group in _alike(changes, LOOKED_AT):
                live: Mapping[str, Body] | ClusterError = {}
                if not failed and not self._hopeless:
                    live = self._looked_at(group)
                for change in group:
                    self._look_at_the_lock()
                    if failed or self._hopeless:
                        reason = self._hopeless or "kept, because others failed"
                        self._note(change, error=reason, skipped=True)
                        continue
                    try:
                        if change.action is Action.DELETE:
                            self._delete(change, live)
                    except ClusterError as error:
                        self._give_up(error)
                        self._note(change, error=error.message)
                    else:
                        gone.append(change.key)
                        self._note(change)
        finally:
            if gone:
                write_registry(self._cluster, (), gone)

    def _looked_at(self, group: Sequence[Change]) -> Mapping[str, Body] | ClusterError:
        """Return what is about to be deleted as it is now, or why it cannot be read."""
        wanted = [change.key.id for change in group if change.action is Action.DELETE]
        kind = all_kinds()[group[0].key.kind]
        if not wanted or kind.fluid or not kind.updatable or kind.additive:
            return {}
        try:
            return kind.read_all(self._cluster, wanted)
        except ClusterError as error:
            return error

    def _delete(self, change: Change, live: Mapping[str, Body] | ClusterError) -> None:
        """Delete an artifact, unless somebody changed it since the plan was made."""
        kind = all_kinds()[change.key.kind]
        if isinstance(live, ClusterError):
            raise live
        body = live.get(change.key.id)
        kind.require_basis(self._write_of(change, {}), body)
        claims = _claims(self._plan, change)
        if body is not None and not self._plan.removal and kind.retirement(body, claims) is not None:
            raise ChangedMeanwhile(change.key)  # what people put into it since would be lost
        self._journal.begins([change.key])
        try:
            kind.delete(self._cluster, change.key.id)
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
            claims=tuple(sorted(_kind_of(change).claims(change.artifact.body))),
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
