"""Making a plan: reads what is live and what is recorded, writes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sigmawatch import __version__
from sigmawatch.artifact import SHARED_OWNER, Artifact, ArtifactKey, content_hash
from sigmawatch.deploy.compare import covers
from sigmawatch.deploy.kinds import all_kinds
from sigmawatch.deploy.order import waves
from sigmawatch.deploy.plan import Action, Change, Plan, Refusal
from sigmawatch.deploy.registry import Entry, read_registry
from sigmawatch.deploy.releases import latest_release, read_release
from sigmawatch.errors import ContentError, Problem, TargetUnavailable, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from sigmawatch.cluster import Cluster
    from sigmawatch.deploy.kind import Body, Kind
    from sigmawatch.deploy.releases import Reference, Release

__all__ = ["MAX_DELETES", "engine_of", "plan", "removal_plan"]

MAX_DELETES = 20
"""Artifacts that one deploy deletes unless it is told that more are meant."""


def engine_of(cluster: Cluster) -> str:
    """Return product and version, as they are recorded."""
    return f"{cluster.info.distribution} {'.'.join(map(str, cluster.info.version))}"


def plan(
    cluster: Cluster,
    artifacts: Iterable[Artifact],
    *,
    pack: str,
    prune: bool = True,
    adopt: bool = False,
    max_deletes: int = MAX_DELETES,
    data: bool = False,
    spared: Callable[[ArtifactKey, Kind], str] | None = None,
) -> Plan:
    """Compare a bundle with a cluster. Changes nothing in the cluster.

    `prune`: plan to delete what the pack owns and the bundle no longer holds; never from an empty bundle.
    `adopt`: plan to take over what has our name and is not ours, instead of refusing it.
    `data`: data streams and indices that the bundle no longer holds go as well, with all that is in them.
    `spared`: says of what the bundle no longer holds why it is to be kept; nothing where it may go.

    Raises UsageError for a name that no pack may have; ContentError for an unknown kind, two bodies of one name,
    or dependencies in a circle; ClusterError when the cluster cannot be read; TargetUnavailable when it lacks the
    API of a kind.
    """
    if pack == SHARED_OWNER:
        raise UsageError(
            f"a pack cannot be called {pack}: that is what all packs share", hint="Rename its folder."
        )
    bundle = _unique(artifacts)
    kinds = all_kinds()
    # A release that is restored also names what another environment has in another space.
    foreign = [key for key in bundle if not kinds[key.kind].concerns(cluster, key.id)]
    bundle = {key: artifact for key, artifact in bundle.items() if key not in foreign}
    ordered = [
        one for wave in waves(bundle.values(), lambda artifact: kinds[artifact.kind].rank) for one in wave
    ]
    registry = read_registry(cluster)
    last = latest_release(cluster, pack)
    notes: list[str] = []
    gone = [entry for key, entry in registry.items() if entry.pack == pack and key not in bundle]
    if prune and bundle and last is not None and not any(entry.pack == pack for entry in registry.values()):
        gone += _left_behind(cluster, last, bundle, registry)
    unknown = [entry for entry in gone if entry.kind not in kinds]
    if unknown:
        notes.append(f"{len(unknown)} artifacts of kinds that this version does not know are left alone")
    gone = [entry for entry in gone if entry.kind in kinds]
    elsewhere = [entry for entry in gone if not kinds[entry.kind].concerns(cluster, entry.id)]
    if elsewhere or foreign:
        number = len({*foreign, *(entry.key for entry in elsewhere)})
        notes.append(f"{number} artifacts in other spaces of Kibana are left alone")
        gone = [entry for entry in gone if entry not in elsewhere]
    if gone and not bundle:
        notes.append("the bundle is empty, so nothing is deleted")
    if not prune or not bundle:
        gone = []
    live = _read(cluster, bundle, gone, notes)
    gone = [entry for entry in gone if entry.kind in live]
    planner = _Planner(pack, adopt, engine_of(cluster), live, registry, data=data)
    changes = [planner.change(artifact) for artifact in ordered]
    reasons = {entry.key: spared(entry.key, kinds[entry.kind]) for entry in gone} if spared else {}
    changes += _removals(cluster, planner, [entry for entry in gone if not reasons.get(entry.key)])
    changes += [
        replace(
            planner.removal(entry),
            action=Action.UNCHANGED,
            reason=reasons[entry.key],
            artifact=None,
            after=None,
            sent_hash="",
        )
        for entry in gone
        if reasons.get(entry.key)
    ]
    return Plan(
        pack=pack,
        cluster=str(cluster.info),
        changes=tuple(changes),
        registry=registry,
        refusals=tuple(_refusals(changes, max_deletes)),
        notes=tuple(notes),
        last=last,
    )


def _left_behind(
    cluster: Cluster, last: Release, bundle: Collection[ArtifactKey], registry: Collection[ArtifactKey]
) -> list[Entry]:
    """Return what the last release has and the bundle no longer, where the registry was lost that would know.

    Only what its own marks say is of that pack: else a rule that left the pack would go on alerting, in nobody's list.
    """
    if last.removal:
        return []
    kinds = all_kinds()
    found: list[Entry] = []
    by_kind: dict[str, list[Reference]] = {}
    for one in read_release(cluster, last.number).artifacts:
        if one.key not in bundle and one.key not in registry and one.key.kind in kinds and not one.shared:
            by_kind.setdefault(one.key.kind, []).append(one)
    for name, references in by_kind.items():
        kind = kinds[name]
        try:
            live = kind.read_all(cluster, [one.key.id for one in references])
        except TargetUnavailable:
            continue
        for one in references:
            body = live.get(one.key.id)
            if body is not None and kind.marks_of(body).get("pack") == last.pack:
                live_hash = content_hash(kind.ours(body, ()))
                found.append(
                    Entry(
                        *one.key,
                        last.pack,
                        last.version,
                        last.engine,
                        one.hash,
                        live_hash,
                        last.created,
                        seed=one.seed,
                    )
                )
    return found


def removal_plan(cluster: Cluster, *, pack: str, data: bool = False) -> Plan:
    """Return the plan to take a pack out of a cluster: everything that is recorded as its own, and nothing else.

    What all packs share goes with the last of them. `data`: data streams and indices go as well, with all that is in
    them. Raises ClusterError when the cluster cannot be read.
    """
    registry = read_registry(cluster)
    kinds = all_kinds()
    owners = {entry.pack for entry in registry.values()}
    going = {pack} if owners - {pack, SHARED_OWNER} else {pack, SHARED_OWNER}
    gone = [entry for entry in registry.values() if entry.pack in going and pack in owners]
    notes: list[str] = []
    if gone and SHARED_OWNER in owners - going:
        others = ", ".join(sorted(owners - {pack, SHARED_OWNER}))
        notes.append(f"what all packs share stays for {others}")
    unknown = [entry for entry in gone if entry.kind not in kinds]
    if unknown:
        notes.append(f"{len(unknown)} artifacts of kinds that this version does not know are left alone")
    gone = [entry for entry in gone if entry.kind in kinds]
    live = _read(cluster, (), gone, notes)
    planner = _Planner(pack, False, engine_of(cluster), live, registry, whole=True, data=data)
    changes = _removals(cluster, planner, [entry for entry in gone if entry.kind in live])
    return Plan(
        pack=pack,
        cluster=str(cluster.info),
        changes=tuple(changes),
        registry=registry,
        notes=tuple(notes),
        last=latest_release(cluster, pack),
        removal=True,
    )


def _removals(cluster: Cluster, planner: _Planner, gone: Iterable[Entry]) -> list[Change]:
    """Return the changes of what goes, in the order in which it can; what data still uses is kept, with the reason."""
    kinds = all_kinds()
    changes = [
        planner.removal(entry)
        for entry in sorted(gone, key=lambda entry: (-kinds[entry.kind].rank, entry.kind, entry.id))
    ]
    deleted = {change.key for change in changes if change.action is Action.DELETE}
    # In the order of deletion: what only a kept template needs is kept with it.
    for name in dict.fromkeys(key.kind for key in (change.key for change in changes)):
        mine = {key.id for key in deleted if key.kind == name}
        used = kinds[name].in_use(cluster, mine, deleted) if mine else {}
        deleted -= {ArtifactKey(name, artifact_id) for artifact_id in used}
        changes = [
            replace(change, action=Action.UNCHANGED, reason=f"kept: {used[change.key.id]}")
            if change.key.kind == name and change.key.id in used
            else change
            for change in changes
        ]
    return changes


def _unique(artifacts: Iterable[Artifact]) -> dict[ArtifactKey, Artifact]:
    kinds = all_kinds()
    bundle: dict[ArtifactKey, Artifact] = {}
    problems = []
    for artifact in artifacts:
        other = bundle.setdefault(artifact.key, artifact)
        if artifact.kind not in kinds:
            known = ", ".join(kinds)
            problems.append(Problem(f"{artifact.key}: no such kind", hint=f"Known: {known}", code="kind"))
        elif other is not artifact and content_hash(other.body) != content_hash(artifact.body):
            places = " and ".join(one.source or "?" for one in (other, artifact))
            problems.append(
                Problem(f"{artifact.key} has two bodies, from {places}", code="duplicate-artifact")
            )
    if problems:
        raise ContentError(problems)
    return bundle


def _read(
    cluster: Cluster, bundle: Iterable[ArtifactKey], gone: Iterable[Entry], notes: list[str]
) -> dict[str, Mapping[str, Body]]:
    """Return what is live, by kind and id. A kind that could not be read, and need not be, is left out."""
    needed: dict[str, list[str]] = {}
    for key in bundle:
        needed.setdefault(key.kind, []).append(key.id)
    going: dict[str, list[str]] = {}
    for entry in gone:
        going.setdefault(entry.kind, []).append(entry.id)
    live: dict[str, Mapping[str, Body]] = {}
    for kind in sorted({*needed, *going}):
        try:
            live[kind] = all_kinds()[kind].read_all(cluster, [*needed.get(kind, ()), *going.get(kind, ())])
        except TargetUnavailable as error:
            if kind in needed:
                raise
            # After a downgrade of the licence watches cannot even be deleted: that stops nothing else.
            notes.append(f"{len(going[kind])} of kind {kind} cannot be deleted: {error.message}")
    return live


def _refusals(changes: list[Change], max_deletes: int) -> Iterable[Refusal]:
    conflicts = [change for change in changes if change.action is Action.CONFLICT]
    if conflicts:
        shown = ", ".join(f"{change.key} ({change.reason})" for change in conflicts[:5])
        more = f" and {len(conflicts) - 5} more" if len(conflicts) > 5 else ""
        yield Refusal(
            f"not ours to change: {shown}{more}", "Compare them in the plan; --adopt takes them over."
        )
    deletions = sum(change.action is Action.DELETE for change in changes)
    if deletions > max_deletes:
        yield Refusal(
            f"{deletions} artifacts would be deleted; the limit is {max_deletes}",
            f"Did the whole pack load? If they are meant to go: --max-deletes {deletions}.",
        )


class _Planner:
    """Decides about one artifact after the other, from what was read."""

    def __init__(
        self,
        pack: str,
        adopt: bool,
        engine: str,
        live: Mapping[str, Mapping[str, Body]],
        registry: Mapping[ArtifactKey, Entry],
        *,
        whole: bool = False,
        data: bool = False,
    ) -> None:
        self._whole = whole
        self._why = "the pack goes" if whole else "no longer in the pack"
        self._data = data
        self._pack = pack
        self._adopt = adopt
        self._engine = engine
        self._live = live
        self._registry = registry

    def change(self, artifact: Artifact) -> Change:
        """Decide about an artifact of the bundle."""
        kind = all_kinds()[artifact.kind]
        live = self._live[artifact.kind].get(artifact.id)
        entry = self._registry.get(artifact.key)
        sent_hash = content_hash(artifact.body)
        before: Body | None
        if live is None:
            before, after, live_hash = None, kind.normalise(artifact.body), ""
            was_there = entry is not None and bool(entry.live_hash)
            action, reason = Action.CREATE, "deleted outside" if was_there else ""
        else:
            claims = entry.claims if entry is not None else ()
            before, after = kind.compared(live, artifact.body, claims)
            live_hash = content_hash(kind.ours(live, kind.claims(artifact.body).union(claims)))
            action, reason = self._decide(artifact, kind, live, before, after, sent_hash, live_hash)
            left = sorted(kind.normalise(artifact.body).keys() - after.keys())
            if left:
                told = f"left as it was changed outside: {', '.join(left)}"
                reason = f"{reason}; {told}" if reason else told
        return Change(
            key=artifact.key,
            action=action,
            reason=reason,
            artifact=artifact,
            before=before,
            after=after,
            sent_hash=sent_hash,
            live_hash=live_hash,
        )

    def _decide(
        self,
        artifact: Artifact,
        kind: Kind,
        live: Body,
        before: Body,
        after: Body,
        sent_hash: str,
        live_hash: str,
    ) -> tuple[Action, str]:
        """Decide about an artifact that is live."""
        entry = self._registry.get(artifact.key)
        if artifact.seed:
            return Action.UNCHANGED, "the user's own since it was created"
        if not kind.updatable:
            return (Action.RECORD, "exists already") if entry is None else (Action.UNCHANGED, "")
        owner = artifact.owner(self._pack)
        if entry is not None and (entry.pack, entry.live_hash, entry.sent_hash, entry.pending) == (
            (owner, live_hash, sent_hash, "")
        ):
            # Of thousands nearly all: comparing their bodies as well would take half of the time of a plan.
            return Action.UNCHANGED, ""
        equal = content_hash(before) == content_hash(after)
        covered = covers(before, after)
        if entry is None:
            return self._unrecorded(artifact, kind.marks_of(live), equal, covered, sent_hash)
        if entry.pack != owner:
            return self._foreign(f"belongs to pack {entry.pack}")
        if entry.pending:
            marked = kind.marks_of(live).get("hash") == sent_hash
            if equal or (marked and covered):
                return Action.RECORD, "an interrupted deploy had written it"
            return Action.UPDATE, "an earlier deploy was interrupted"
        if entry.live_hash == live_hash or (kind.additive and covered):
            return (Action.UNCHANGED, "") if entry.sent_hash == sent_hash else (Action.UPDATE, "")
        if equal:
            return Action.RECORD, "changed outside to what it shall be"
        upgraded = entry.engine != self._engine or entry.version != __version__
        if upgraded and entry.sent_hash == sent_hash and covered:
            return Action.RECORD, f"has more defaults since {entry.engine} became {self._engine}"
        ours = "" if entry.sent_hash == sent_hash else "; changed here too"
        return Action.DRIFTED, f"changed outside since {entry.updated}{ours}"

    def _unrecorded(
        self, artifact: Artifact, marks: Mapping[str, str], equal: bool, covered: bool, sent_hash: str
    ) -> tuple[Action, str]:
        """Decide about one that the registry does not know: lost, somebody else's, or by chance the same."""
        owner = marks.get("pack", "")
        if owner and owner != artifact.owner(self._pack):
            return self._foreign(f"marked as belonging to pack {owner}")
        if equal:
            return Action.RECORD, "exists already, the same"
        if owner:
            same = marks.get("hash") == sent_hash and covered
            return (Action.RECORD if same else Action.UPDATE), "its marks say that it is ours"
        return self._foreign("exists, and we did not make it")

    def _foreign(self, reason: str) -> tuple[Action, str]:
        return (Action.ADOPT if self._adopt else Action.CONFLICT), reason

    def removal(self, entry: Entry) -> Change:
        """Decide about an artifact that the bundle no longer holds."""
        kind = all_kinds()[entry.kind]
        live = self._live[entry.kind].get(entry.id)
        retirement = None if live is None or entry.seed else kind.retirement(live, entry.claims)
        if retirement is not None and retirement.body is not None and not self._whole:
            change = self.change(Artifact(entry.kind, entry.id, retirement.body))
            return replace(change, reason=f"{self._why}; {retirement.reason}")
        before = None if live is None else kind.ours(live, entry.claims)
        live_hash = "" if before is None else content_hash(before)
        action, reason = Action.DELETE, self._why
        if before is None:
            action, reason = Action.RECORD, f"{self._why}, and gone already"
        elif retirement is not None and not self._whole:
            action, reason = Action.UNCHANGED, f"{self._why}; {retirement.reason}"
        elif retirement is not None and retirement.lost:
            reason += f"; with what was set there: {retirement.lost}"
        elif entry.seed and self._whole and kind.deletable and entry.live_hash == live_hash:
            reason += "; nobody made anything of it"
        elif not kind.deletable and self._data and not entry.found:
            reason = "with all its data"
        elif entry.seed or not kind.deletable:
            action = Action.UNCHANGED
            kept = "the user owns it" if entry.seed else "its data is kept"
            if entry.found and self._data:
                kept = "its data is kept, because it was there before"
            reason = f"{self._why}; {kept}"
        elif entry.live_hash != live_hash and not entry.pending:
            reason += "; changed outside meanwhile"
        return Change(key=entry.key, action=action, reason=reason, before=before, live_hash=live_hash)
