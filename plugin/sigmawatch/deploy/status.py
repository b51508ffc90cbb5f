"""What is deployed in a cluster, and whether it is still as it was deployed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sigmawatch.artifact import SHARED_OWNER, ArtifactKey, content_hash
from sigmawatch.deploy.compare import unified_diff
from sigmawatch.deploy.kinds import all_kinds
from sigmawatch.deploy.lock import holder
from sigmawatch.deploy.registry import Entry, read_registry
from sigmawatch.deploy.releases import Reference, Release, bodies_of, latest_release
from sigmawatch.errors import TargetUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sigmawatch.cluster import Cluster

__all__ = ["Condition", "Drift", "Finding", "PackStatus", "Status", "read_drift", "read_status"]


class Condition(StrEnum):
    """How an artifact is, compared with what was deployed."""

    IN_PLACE = "in place"
    CHANGED = "changed outside"
    MISSING = "missing"
    UNFINISHED = "unfinished"
    """A deploy that was cut off had begun to write it."""
    UNREADABLE = "unreadable"
    """The cluster no longer has the API, or the licence for it."""


@dataclass(frozen=True)
class Finding:
    """One artifact that is not as it was deployed."""

    key: ArtifactKey
    condition: Condition
    detail: str = ""


@dataclass(frozen=True)
class PackStatus:
    """What of one pack is deployed."""

    pack: str
    """Its name; what all packs share is listed under a name that no pack has."""
    release: Release | None
    kinds: Mapping[str, int]
    """How many artifacts of each kind."""
    findings: tuple[Finding, ...]

    @property
    def in_place(self) -> bool:
        """Whether everything is as it was deployed, completely."""
        return not self.findings and (self.release is None or self.release.is_complete)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON."""
        return {
            "pack": self.pack,
            "in_place": self.in_place,
            "release": self.release.to_dict() if self.release is not None else None,
            "kinds": dict(self.kinds),
            "findings": [
                {
                    "kind": one.key.kind,
                    "id": one.key.id,
                    "condition": one.condition.value,
                    "detail": one.detail,
                }
                for one in self.findings
            ],
        }


@dataclass(frozen=True)
class Status:
    """All of it."""

    cluster: str
    packs: tuple[PackStatus, ...]
    deploying: str = ""
    """Who is deploying right now."""

    @property
    def in_place(self) -> bool:
        """Whether everything of every pack is as it was deployed."""
        return all(one.in_place for one in self.packs)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON."""
        return {
            "cluster": self.cluster,
            "in_place": self.in_place,
            "deploying": self.deploying,
            "packs": [one.to_dict() for one in self.packs],
        }


def read_status(cluster: Cluster, *, pack: str | None = None) -> Status:
    """Return what is deployed, of one pack or of all. Needs no pack, only the cluster. Raises ClusterError."""
    entries = list(read_registry(cluster).values())
    wanted = [one for one in entries if pack is None or one.pack in {pack, SHARED_OWNER}]
    findings = _findings(cluster, wanted)
    packs = []
    for name in sorted({one.pack for one in wanted}, key=lambda name: (name == SHARED_OWNER, name)):
        mine = [one for one in wanted if one.pack == name]
        packs.append(
            PackStatus(
                name,
                latest_release(cluster, name) if name != SHARED_OWNER else None,
                dict(sorted(Counter(one.kind for one in mine).items())),
                tuple(findings[one.key] for one in mine if one.key in findings),
            )
        )
    return Status(str(cluster.info), tuple(packs), holder(cluster))


@dataclass(frozen=True)
class Drift:
    """How one artifact differs from what was deployed."""

    pack: str
    finding: Finding
    diff: str
    """From what was deployed to what is there, as a unified diff; empty where either is not known."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON."""
        key = self.finding.key
        return {
            "pack": self.pack,
            "kind": key.kind,
            "id": key.id,
            "condition": self.finding.condition.value,
            "detail": self.finding.detail,
            "diff": self.diff,
        }


def read_drift(cluster: Cluster, *, pack: str | None = None) -> list[Drift]:
    """Return what is not as it was deployed, with the differences, of one pack or of all. Raises ClusterError."""
    registry = read_registry(cluster)
    wanted = [one for one in registry.values() if pack is None or one.pack in {pack, SHARED_OWNER}]
    found = _findings(cluster, wanted)
    kinds = all_kinds()
    changed = [key for key, one in found.items() if one.condition is Condition.CHANGED]
    sent = bodies_of(cluster, [Reference(key, registry[key].sent_hash) for key in changed])
    ids: dict[str, list[str]] = {}
    for key in changed:
        ids.setdefault(key.kind, []).append(key.id)
    live = {name: kinds[name].read_all(cluster, mine) for name, mine in ids.items()}
    drifts = []
    for key in sorted(found):
        before, diff = sent.get(registry[key].sent_hash), ""
        now = live.get(key.kind, {}).get(key.id)
        if before is not None and now is not None:
            kind = kinds[key.kind]
            present, was = kind.compared(now, before, registry[key].claims)
            diff = unified_diff(was, present)
        drifts.append(Drift(registry[key].pack, found[key], diff))
    return drifts


def _findings(cluster: Cluster, entries: Iterable[Entry]) -> dict[ArtifactKey, Finding]:
    kinds = all_kinds()
    by_kind: dict[str, list[Entry]] = {}
    for entry in entries:
        if entry.kind in kinds:
            by_kind.setdefault(entry.kind, []).append(entry)
    found: list[Finding] = []
    for name, mine in sorted(by_kind.items()):
        kind = kinds[name]
        try:
            live = kind.read_all(cluster, [entry.id for entry in mine])
        except TargetUnavailable as error:
            found += [Finding(entry.key, Condition.UNREADABLE, error.message) for entry in mine]
            continue
        for entry in mine:
            body = live.get(entry.id)
            if entry.pending:
                found.append(Finding(entry.key, Condition.UNFINISHED, f"since {entry.updated}"))
            elif body is None:
                found.append(Finding(entry.key, Condition.MISSING, f"deployed {entry.updated}"))
            elif entry.seed or kind.additive or not kind.updatable:
                continue  # it may be anything, as long as it is there
            elif content_hash(kind.ours(body, entry.claims)) != entry.live_hash:
                found.append(Finding(entry.key, Condition.CHANGED, f"since {entry.updated}"))
    return {one.key: one for one in found}
