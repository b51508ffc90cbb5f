"""Releases: what was deployed when, by whom and from which revision, with everything needed to deploy it again.

One document per release names its artifacts by the hash of their bodies; the bodies are documents of their own, each
kept once however many releases have it. Only the newest releases of a pack are kept, so the index stays bounded.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import orjson

from sigmawatch import __version__
from sigmawatch.artifact import Artifact, ArtifactKey, content_hash
from sigmawatch.cluster import BulkItem, ResponseError, bulk, url_path
from sigmawatch.deploy.origin import Origin
from sigmawatch.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sigmawatch.cluster import Cluster
    from sigmawatch.deploy.plan import Plan

__all__ = [
    "KEPT_RELEASES",
    "RELEASES_INDEX",
    "Reference",
    "Release",
    "ReleaseState",
    "begin_release",
    "bodies_of",
    "close_release",
    "forget_old_releases",
    "latest_release",
    "list_releases",
    "read_release",
    "release_before",
    "restored",
]

RELEASES_INDEX = "sigmawatch-releases"

KEPT_RELEASES = 20
"""Releases of a pack that are kept; older ones, and the bodies that only they have, are forgotten."""

_PAGE = 1_000
_LONGEST_ERROR = 500
_INDEX: dict[str, Any] = {
    "settings": {"number_of_shards": 1, "auto_expand_replicas": "0-1", "hidden": True},
    "mappings": {
        "dynamic": False,  # read whole, and never searched for anything else
        "properties": {
            "document": {"type": "keyword"},
            "number": {"type": "long"},
            "pack": {"type": "keyword"},
            "created": {"type": "date"},
            "state": {"type": "keyword"},
        },
    },
}


class ReleaseState(StrEnum):
    """How far a release came."""

    BEGUN = "begun"
    """Being applied right now, or its deployer was killed."""
    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    """Some artifacts failed, or the deploy was interrupted."""


@dataclass(frozen=True)
class Reference:
    """One artifact of a release, without its body."""

    key: ArtifactKey
    hash: str
    """Hash of its body."""
    source: str = ""
    seed: bool = False
    shared: bool = False
    depends_on: tuple[ArtifactKey, ...] = ()

    def to_json(self) -> list[Any]:
        """Return a list: thousands of these make a document."""
        return [
            *self.key,
            self.hash,
            self.source,
            self.seed,
            self.shared,
            [list(key) for key in self.depends_on],
        ]

    @classmethod
    def from_json(cls, data: Sequence[Any]) -> Reference:
        """Read what `to_json` wrote."""
        kind, artifact_id, body_hash, source, seed, shared, depends_on = data[:7]
        needs = tuple(ArtifactKey(*key) for key in depends_on)
        return cls(ArtifactKey(kind, artifact_id), body_hash, source, bool(seed), bool(shared), needs)

    @classmethod
    def of(cls, artifact: Artifact, body_hash: str) -> Reference:
        """Return the reference to an artifact of the bundle."""
        return cls(
            artifact.key, body_hash, artifact.source, artifact.seed, artifact.shared, artifact.depends_on
        )


@dataclass(frozen=True)
class Release:
    """One release of one pack."""

    number: int
    """Counted through all packs of a cluster."""
    pack: str
    created: str
    """When it began, ISO 8601 in UTC."""
    state: ReleaseState
    digest: str
    """Hash of all its artifacts: two releases of the same digest are the same."""
    origin: Origin = field(default_factory=Origin)
    version: str = ""
    """Version of sigmawatch that made it."""
    engine: str = ""
    restores: int | None = None
    """The release that a rollback went back to."""
    removal: bool = False
    """It removed the pack (`destroy`)."""
    changes: tuple[tuple[str, ArtifactKey], ...] = ()
    """What was to be done: action and artifact."""
    failures: tuple[tuple[ArtifactKey, str], ...] = ()
    """What failed or was skipped, and why."""
    artifacts: tuple[Reference, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many artifacts had each action."""
        return dict(sorted(Counter(action for action, _ in self.changes).items()))

    @property
    def is_complete(self) -> bool:
        """Whether everything was applied."""
        return self.state is ReleaseState.COMPLETE

    @property
    def content(self) -> int:
        """The number of the release whose content this is: its own, or of the one that it restored."""
        return self.number if self.restores is None else self.restores

    def to_dict(self, *, whole: bool = False) -> dict[str, Any]:
        """Return JSON for people and scripts; `whole` with its changes and artifacts."""
        origin = {name: value for name, value in self.origin.to_dict().items() if name != "untuned"}
        brief = {
            "number": self.number,
            "pack": self.pack,
            "created": self.created,
            "state": self.state.value,
            **origin,
            "version": self.version,
            "engine": self.engine,
            "restores": self.restores,
            "removal": self.removal,
            "counts": self.counts,
            "failed": len(self.failures),
        }
        if not whole:
            return brief
        return {
            **brief,
            "digest": self.digest,
            "changes": [{"action": action, "kind": key.kind, "id": key.id} for action, key in self.changes],
            "failures": [{"kind": key.kind, "id": key.id, "error": error} for key, error in self.failures],
            "artifacts": [
                {"kind": one.key.kind, "id": one.key.id, "source": one.source, "hash": one.hash}
                for one in self.artifacts
            ],
        }

    def to_document(self) -> dict[str, Any]:
        """Return the document that is kept in the cluster."""
        return {
            "document": "release",
            "number": self.number,
            "pack": self.pack,
            "created": self.created,
            "state": self.state.value,
            "digest": self.digest,
            "origin": self.origin.to_dict(),
            "version": self.version,
            "engine": self.engine,
            "restores": self.restores,
            "removal": self.removal,
            "changes": [[action, *key] for action, key in self.changes],
            "failures": [[*key, error] for key, error in self.failures],
            "artifacts": [one.to_json() for one in self.artifacts],
        }

    @classmethod
    def from_document(cls, data: Mapping[str, Any]) -> Release:
        """Read what `to_document` wrote, perhaps without its artifacts."""
        return cls(
            number=int(data["number"]),
            pack=data["pack"],
            created=data["created"],
            state=ReleaseState(data["state"]),
            digest=data["digest"],
            origin=Origin.from_dict(data.get("origin") or {}),
            version=data.get("version", ""),
            engine=data.get("engine", ""),
            restores=data.get("restores"),
            removal=bool(data.get("removal")),
            changes=tuple(
                (action, ArtifactKey(kind, name)) for action, kind, name in data.get("changes", ())
            ),
            failures=tuple(
                (ArtifactKey(kind, name), error) for kind, name, error in data.get("failures", ())
            ),
            artifacts=tuple(Reference.from_json(one) for one in data.get("artifacts", ())),
        )


# Reading --------------------------------------------------------------------------------------------------


def list_releases(cluster: Cluster, pack: str | None = None) -> list[Release]:
    """Return the releases of a pack, or of all, newest first, without their artifacts. Raises ClusterError."""
    return list(_search(cluster, pack, _PAGE, without=("artifacts",)))


def latest_release(cluster: Cluster, pack: str) -> Release | None:
    """Return the newest release of a pack, without artifacts and changes; None before the first."""
    return next(iter(_search(cluster, pack, 1, without=("artifacts", "changes"))), None)


def read_release(cluster: Cluster, number: int) -> Release:
    """Return a whole release. Raises UsageError when there is none of that number, ClusterError."""
    path = url_path(RELEASES_INDEX, "_doc", f"release-{number}")
    found = cluster.request("GET", path, ignore=(404,))
    if not found or not found.get("found"):
        raise UsageError(
            f"there is no release {number}",
            hint="`sigmawatch releases list` shows those that are kept.",
        )
    return Release.from_document(found["_source"])


def _search(cluster: Cluster, pack: str | None, size: int, without: Sequence[str] = ()) -> Iterator[Release]:
    filters = [{"term": {"document": "release"}}, *([{"term": {"pack": pack}}] if pack is not None else [])]
    body = {
        "size": size,
        "query": {"bool": {"filter": filters}},
        "sort": [{"number": {"order": "desc", "unmapped_type": "long"}}],
        "_source": {"excludes": list(without)},
    }
    params = {"ignore_unavailable": "true", "allow_no_indices": "true"}
    answer = cluster.request("POST", f"{url_path(RELEASES_INDEX)}/_search", body, params=params)
    for hit in answer["hits"]["hits"]:
        yield Release.from_document(hit["_source"])


def release_before(releases: Sequence[Release]) -> Release:
    """Return what a rollback goes back to, given a pack's releases from the newest.

    That is what was completely deployed before the present release, if it differs from it, else before that. A rollback
    counts as the release that it went back to, so that rolling back twice goes back two steps. An unfinished deploy is
    taken back, an unfinished rollback is finished. Raises UsageError where there is nothing to go back to.
    """
    if not releases:
        raise UsageError("nothing was deployed yet, so there is nothing to go back to")
    now = releases[0]
    complete = [one for one in releases if one.is_complete and not one.removal]
    if not now.is_complete and now.restores is not None:
        unfinished = next((one for one in complete if one.content == now.restores), None)
        if unfinished is not None:
            return unfinished
    position = now.content if now.is_complete else now.number
    for one in complete:
        if one.number < position:
            if one.digest != now.digest:
                return one
            position = one.content
    if len(releases) == 1 and not now.removal:
        raise UsageError(
            f"release {now.number} is the first of {now.pack}, so there is none to go back to",
            hint=f"`sigmawatch destroy --pack {now.pack}` takes it out of the cluster.",
        )
    raise UsageError(
        f"no complete release from before {now.number} is kept that differs from it",
        hint="`sigmawatch releases list` shows those that are kept; --to N goes to one of them.",
    )


def restored(cluster: Cluster, release: Release) -> list[Artifact]:
    """Return the artifacts of a release with their bodies. Raises ClusterError when any body is missing."""
    bodies = bodies_of(cluster, release.artifacts)
    missing = [one for one in release.artifacts if one.hash not in bodies]
    if missing:
        raise ClusterError(
            f"release {release.number} cannot be restored: {len(missing)} of its {len(release.artifacts)} bodies "
            f"are missing or damaged in {RELEASES_INDEX}, the first of them {missing[0].key}",
            hint="Deploy the pack from its git revision instead.",
        )
    return [
        Artifact(one.key.kind, one.key.id, bodies[one.hash], one.depends_on, one.source, one.seed, one.shared)
        for one in release.artifacts
    ]


def bodies_of(cluster: Cluster, references: Iterable[Reference]) -> dict[str, dict[str, Any]]:
    """Return the bodies that artifacts of releases had, by hash; those that are missing are left out."""
    wanted = sorted({one.hash for one in references})
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(wanted), _PAGE):
        ids = [_body_id(each) for each in wanted[start : start + _PAGE]]
        answer = cluster.request("POST", f"{url_path(RELEASES_INDEX)}/_mget", {"ids": ids}, ignore=(404,))
        for document in (answer or {}).get("docs", ()):
            if document.get("found"):
                body = orjson.loads(document["_source"]["body"])
                found[content_hash(body)] = body
    return found


# Writing --------------------------------------------------------------------------------------------------


def begin_release(
    cluster: Cluster, plan: Plan, origin: Origin, engine: str, *, restores: int | None = None
) -> Release:
    """Note that a plan is about to be applied, with all its bodies. The deploy lock must be held.

    Raises ClusterError; then nothing of it may be applied.
    """
    _create_index(cluster)
    newest = next(iter(_search(cluster, None, 1, without=("artifacts", "changes"))), None)
    last = latest_release(cluster, plan.pack)
    before: tuple[Reference, ...] = ()
    if last is not None:
        whole = read_release(cluster, last.number)
        before = whole.artifacts
        if whole.state is ReleaseState.BEGUN:  # we hold the lock, so whoever began it is gone
            close_release(cluster, whole, whole.failures, interrupted=True)
    references = _references(plan, before)
    release = Release(
        number=newest.number + 1 if newest is not None else 1,
        pack=plan.pack,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        state=ReleaseState.BEGUN,
        digest=content_hash(sorted(one.to_json()[:3] for one in references)),
        origin=origin,
        version=__version__,
        engine=engine,
        restores=restores,
        removal=plan.removal,
        changes=tuple((one.action.value, one.key) for one in plan.changes if one.is_change),
        artifacts=references,
    )
    known = {one.hash for one in before}
    bodies = {
        change.sent_hash: change.artifact.body
        for change in plan.changes
        if change.artifact is not None and change.sent_hash not in known
    }
    # Bodies first: a release that is there can be restored.
    _write(cluster, [_body_item(body_hash, body) for body_hash, body in bodies.items()])
    _write(cluster, [BulkItem("create", RELEASES_INDEX, _release_id(release), release.to_document())])
    return release


def close_release(
    cluster: Cluster,
    release: Release,
    failures: Iterable[tuple[ArtifactKey, str]],
    *,
    interrupted: bool = False,
) -> Release:
    """Note how a release ended. Raises ClusterError."""
    failed = tuple((key, error[:_LONGEST_ERROR]) for key, error in failures)
    state = ReleaseState.INCOMPLETE if failed or interrupted else ReleaseState.COMPLETE
    closed = replace(release, state=state, failures=failed)
    _write(cluster, [BulkItem("index", RELEASES_INDEX, _release_id(closed), closed.to_document())])
    return closed


def forget_old_releases(cluster: Cluster, pack: str, *, kept: int = KEPT_RELEASES) -> None:
    """Remove all but the newest releases of a pack, and bodies that no release has. The lock must be held.

    Unfinished ones are counted by themselves: however many fail, there are as many to go back to. Raises ClusterError.
    """
    releases = list_releases(cluster, pack)
    complete = [one for one in releases if one.is_complete]
    unfinished = [one for one in releases if not one.is_complete]
    old = [*complete[kept:], *unfinished[kept:]]
    if not old:
        return
    _write(cluster, [BulkItem("delete", RELEASES_INDEX, _release_id(one)) for one in old])
    needed: set[str] = set()
    for hit in cluster.scan(RELEASES_INDEX, {"term": {"document": "release"}}, source=["artifacts"], size=10):
        references = map(Reference.from_json, hit["_source"].get("artifacts", ()))
        needed.update(_body_id(reference.hash) for reference in references)
    stored = cluster.scan(RELEASES_INDEX, {"term": {"document": "body"}}, source=False, size=5_000)
    unused = [hit["_id"] for hit in stored if hit["_id"] not in needed]
    _write(cluster, [BulkItem("delete", RELEASES_INDEX, each) for each in unused])


def _references(plan: Plan, before: Iterable[Reference]) -> tuple[Reference, ...]:
    """Return what the pack has after a plan: its bundle, and what it keeps although the bundle lacks it."""
    found = {
        change.key: Reference.of(change.artifact, change.sent_hash)
        for change in plan.changes
        if change.artifact is not None
    }
    mentioned = {change.key for change in plan.changes}
    for one in before:
        # Not pruned: it stays deployed, and going back here must not delete it.
        if one.key not in mentioned and one.key in plan.registry:
            found[one.key] = one
    return tuple(found.values())


def _release_id(release: Release) -> str:
    return f"release-{release.number}"


def _body_id(body_hash: str) -> str:
    return f"body-{body_hash}"


def _body_item(body_hash: str, body: Mapping[str, Any]) -> BulkItem:
    # As text: it comes back exactly as it was, whatever names its keys have.
    text = orjson.dumps(body).decode()
    return BulkItem("index", RELEASES_INDEX, _body_id(body_hash), {"document": "body", "body": text})


def _create_index(cluster: Cluster) -> None:
    if cluster.request("HEAD", url_path(RELEASES_INDEX)):
        return
    try:
        cluster.request("PUT", url_path(RELEASES_INDEX), _INDEX)
    except ResponseError as error:
        if error.error_type != "resource_already_exists_exception":
            raise


def _write(cluster: Cluster, items: Sequence[BulkItem]) -> None:
    failures = bulk(cluster, items, refresh=True) if items else []
    if failures:
        first = failures[0]
        error = {"error": {"type": first.type, "reason": first.reason}}
        cause = ResponseError("POST", f"/{RELEASES_INDEX}/_bulk", first.status, error)
        raise ClusterError(f"the release cannot be recorded: {cause.message}", hint=cause.hint) from cause
