"""What a cluster has of an archive: indices that wait to be copied, copies, and what is to be done with each.

Ages count from the rollover of an index, as those of its retention do. When that was follows from the next index of the
stream, which came into being by it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sigmawatch.archive.artifacts import ARCHIVE, DAY_SIGN, MEMBER
from sigmawatch.cluster import ResponseError
from sigmawatch.errors import ClusterError, TargetUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sigmawatch.cluster import Cluster

__all__ = [
    "DAY",
    "Archives",
    "Copy",
    "Entry",
    "Policy",
    "Source",
    "State",
    "copy_name",
    "read_archives",
    "told",
]

DAY = 86_400_000
"""Milliseconds."""

MARGIN = 2 * DAY
"""So long before its events are deleted an index is told that is not copied yet."""

_STREAM = re.compile(r"logs-([a-z0-9_.]+)-.+")
_BACKING = re.compile(
    r"(?:.*\.ds-)?(?P<stream>.+?)(?:-(?P<date>\d{4}\.\d{2}\.\d{2}))?-(?P<generation>\d{6,})"
)


@dataclass(frozen=True)
class Policy:
    """What is to be done for a dataset, as its template says."""

    dataset: str
    after: int
    """Days from which on an index is copied."""
    delete: int | None
    """Days from which on a copy is deleted. None: never."""
    events_deleted: int | None
    """Days after which the stream loses its indices, as far as we were told to see to that. None: never."""
    rate: int
    """Documents a second."""
    fields: tuple[str, ...]
    original: tuple[str, ...]
    """Fields of events that could not be read, besides."""
    tenant: str = ""
    """Whose events alone it is about, which is their namespace; empty: everybody's that have no policy of their own."""

    @property
    def name(self) -> str:
        """The dataset, with the tenant."""
        return f"{self.dataset}-{self.tenant}" if self.tenant else self.dataset

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Policy:
        """Return what a template says. Raises KeyError for one that is not ours."""
        return cls(
            said["dataset"],
            said["after"],
            said.get("delete"),
            said.get("events_deleted"),
            said["rate"],
            tuple(said["fields"]),
            tuple(said["original"]),
            said.get("tenant", ""),
        )


@dataclass(frozen=True)
class Source:
    """An index of a data stream that is no longer written."""

    index: str
    stream: str
    dataset: str
    created: int
    """When, in milliseconds since 1970 as all times here."""
    rolled_over: int
    documents: int
    bytes: int
    """Of its primary shards."""
    uuid: str


@dataclass(frozen=True)
class Copy:
    """An index of the archive."""

    index: str
    source: str
    """The index that it is a copy of."""
    stream: str
    dataset: str
    rolled_over: int
    documents: int
    bytes: int
    """On disk, replicas included."""
    archived: str
    """When it was complete, ISO 8601 in UTC; empty: it is not."""
    fields: tuple[str, ...]
    original: tuple[str, ...]
    delete: int | None
    """Days, as they were when it was made."""
    events: int = 0
    """How many it had when it was complete."""


class State(StrEnum):
    """What becomes of an index, or of its copy."""

    ARCHIVED = "archived"
    DUE = "due"
    BEGUN = "begun"
    """Due, and partly copied."""
    WAITING = "waiting"
    """Too young."""
    EXPIRED = "expired"
    """Older than its copy is kept."""
    ORPHANED = "orphaned"
    """A copy that is not complete, and whose source is gone."""


@dataclass(frozen=True)
class Entry:
    """An index and its copy; one of them may be missing."""

    copy_index: str
    """What its copy is called."""
    state: State
    due: int | None
    """From when on it is to be copied; None where its dataset is no longer archived."""
    expires: int | None
    """From when on the copy is deleted. None: never."""
    lost: int | None
    """From when on its events may be deleted. None: never, as far as we know."""
    source: Source | None = None
    copy: Copy | None = None

    @property
    def dataset(self) -> str:
        """The dataset of its events."""
        one = self.source or self.copy
        return one.dataset if one is not None else ""

    @property
    def index(self) -> str:
        """The index that is copied."""
        if self.source is not None:
            return self.source.index
        return self.copy.source if self.copy is not None else ""

    @property
    def stream(self) -> str:
        """Its data stream."""
        one = self.source or self.copy
        return one.stream if one is not None else ""

    @property
    def is_due(self) -> bool:
        """Whether it is to be copied now."""
        return self.state in (State.DUE, State.BEGUN)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON."""
        source, copy = self.source, self.copy
        return {
            "index": self.index,
            "stream": self.stream,
            "dataset": self.dataset,
            "copy": self.copy_index,
            "state": self.state.value,
            "documents": source.documents if source is not None else copy.events if copy is not None else 0,
            "bytes": source.bytes if source is not None else None,
            "copied_documents": copy.documents if copy is not None else 0,
            "copied_bytes": copy.bytes if copy is not None else 0,
            "archived": copy.archived if copy is not None and copy.archived else None,
            "due": told(self.due),
            "expires": told(self.expires),
            "events_deleted": told(self.lost),
        }


@dataclass(frozen=True)
class Archives:
    """All that there is in a cluster, the oldest first."""

    policies: Mapping[str, Policy]
    """By their names."""
    entries: tuple[Entry, ...]
    now: int = field(repr=False)
    tenants: frozenset[str] = frozenset()
    """Data streams that are some tenant's own: what is said for everybody is not for them."""

    def policy_of(self, entry: Entry) -> Policy | None:
        """Return what is to be done with an index and its copy."""
        return _policy_of(entry.stream, entry.dataset, self.policies, self.tenants)

    def of(self, *states: State) -> list[Entry]:
        """Return what is in one of some states."""
        return [entry for entry in self.entries if entry.state in states]

    @property
    def warnings(self) -> list[str]:
        """What may go wrong, or went wrong."""
        found = [
            f"{name}: events are deleted from {policy.events_deleted} days on, and copied from {policy.after} days on: "
            "they may be deleted before they are copied"
            for name, policy in self.policies.items()
            if policy.events_deleted is not None and policy.after >= policy.events_deleted
        ]
        for entry in self.entries:
            if entry.source is not None and entry.is_due and entry.lost is not None:
                if entry.lost <= self.now:
                    found.append(f"{entry.index} is not copied, and may be deleted at any moment")
                elif entry.lost <= self.now + MARGIN:
                    found.append(f"{entry.index} is not copied, and is deleted from {told(entry.lost)} on")
            if entry.state is State.ORPHANED:
                found.append(f"{entry.copy_index} is not complete, and {entry.index} is gone")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return JSON."""
        return {
            "datasets": {
                name: {
                    "after_days": policy.after,
                    "delete_days": policy.delete,
                    "fields": len(policy.fields),
                    **_numbers([entry for entry in self.entries if self.policy_of(entry) is policy]),
                }
                for name, policy in self.policies.items()
            },
            "indices": [entry.to_dict() for entry in self.entries],
            "warnings": self.warnings,
        }


def _numbers(entries: Iterable[Entry]) -> dict[str, Any]:
    entries = list(entries)
    done = [entry.copy for entry in entries if entry.copy is not None and entry.copy.archived]
    due = [entry for entry in entries if entry.is_due]
    return {
        "archived": len(done),
        "archived_documents": sum(copy.documents for copy in done),
        "archived_bytes": sum(copy.bytes for copy in done),
        "last": max((copy.archived for copy in done), default=None),
        "due": len(due),
        "due_documents": sum(entry.source.documents for entry in due if entry.source is not None),
        "waiting": sum(entry.state is State.WAITING for entry in entries),
    }


def told(moment: int | None) -> str | None:
    """Return a time as ISO 8601 in UTC."""
    if moment is None:
        return None
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="seconds")


def copy_name(source: Source) -> str:
    """Return what the copy of an index is called.

    With the day on which the index came into being: a stream that is deleted and made anew counts from 1 again.
    """
    found = _BACKING.fullmatch(source.index)
    date = (found and found["date"]) or datetime.fromtimestamp(source.created / 1000, UTC).strftime(
        "%Y.%m.%d"
    )
    generation = found["generation"] if found else "000000"
    return f"{ARCHIVE}-{source.stream}{DAY_SIGN}{date}-{generation}"


def read_archives(cluster: Cluster, now: int, *, tenant: str = "") -> Archives:
    """Return what a cluster has at a moment. `tenant`: only what is of this one.

    Raises ClusterError; TargetUnavailable without data streams.
    """
    policies = _read_policies(cluster)
    copies = _read_copies(cluster)
    if tenant:
        policies = {name: policy for name, policy in policies.items() if policy.tenant == tenant}
        copies = [copy for copy in copies if _namespace(copy.stream) == tenant]
    if not policies and not copies:
        return Archives({}, (), now)
    tenants = _read_tenants(cluster)
    sources = {
        copy_name(one): one
        for one in _read_sources(cluster)
        if _policy_of(one.stream, one.dataset, policies, tenants) is not None
    }
    made = {copy.index: copy for copy in copies}
    entries = []
    for name in {**sources, **made}:
        source, copy = sources.get(name), made.get(name)
        one = source or copy
        policy = _policy_of(one.stream, one.dataset, policies, tenants) if one is not None else None
        entries.append(_entry(name, source, copy, policy, now))
    return Archives(policies, tuple(sorted(entries, key=_age)), now, tenants)


def _policy_of(
    stream: str, dataset: str, policies: Mapping[str, Policy], tenants: frozenset[str]
) -> Policy | None:
    return policies.get(stream.removeprefix("logs-") if stream in tenants else dataset)


def _namespace(stream: str) -> str:
    return stream.removeprefix("logs-").partition("-")[2]


def _read_tenants(cluster: Cluster) -> frozenset[str]:
    """Return the data streams that have an index template of their own, which tenants have."""
    params = {"filter_path": "index_templates.name"}
    answer = cluster.request("GET", "/_index_template/logs-*", params=params, ignore=(404,)) or {}
    names = (one["name"] for one in answer.get("index_templates", ()))
    return frozenset(name for name in names if _STREAM.fullmatch(name))


def _age(entry: Entry) -> tuple[int, str]:
    one = entry.source or entry.copy
    return (one.rolled_over if one is not None else 0, entry.copy_index)


def _entry(name: str, source: Source | None, copy: Copy | None, policy: Policy | None, now: int) -> Entry:
    # What the copy says was so when it was made: what is deployed now wins.
    rolled_over = copy.rolled_over if copy is not None else source.rolled_over if source is not None else 0
    delete = policy.delete if policy is not None else copy.delete if copy is not None else None
    due = rolled_over + policy.after * DAY if policy is not None else None
    expires = rolled_over + delete * DAY if delete is not None else None
    lost = None
    if source is not None and policy is not None and policy.events_deleted is not None:
        lost = source.rolled_over + policy.events_deleted * DAY
    if expires is not None and expires <= now:
        state = State.EXPIRED
    elif copy is not None and copy.archived:
        state = State.ARCHIVED
    elif source is None:
        state = State.ORPHANED
    elif due is None or due > now:
        state = State.WAITING
    else:
        state = State.BEGUN if copy is not None else State.DUE
    return Entry(name, state, due, expires, lost, source, copy)


def _read_policies(cluster: Cluster) -> dict[str, Policy]:
    params = {"filter_path": "index_templates.name,index_templates.index_template._meta"}
    answer = cluster.request("GET", f"/_index_template/{ARCHIVE}-*", params=params, ignore=(404,)) or {}
    found = {}
    for one in answer.get("index_templates", ()):
        said = (one["index_template"].get("_meta") or {}).get(MEMBER)
        if isinstance(said, dict):
            try:
                policy = Policy.of(said)
            except KeyError as error:
                raise ClusterError(
                    f"the index template {one['name']} does not say what to archive: {error} is missing",
                    hint="Deploy again: `sigmawatch deploy`.",
                ) from None
            found[policy.name] = policy
    return dict(sorted(found.items()))


def _read_copies(cluster: Cluster) -> list[Copy]:
    params = {"filter_path": "*.mappings._meta", "allow_no_indices": "true", "expand_wildcards": "all"}
    answer = cluster.request("GET", f"/{ARCHIVE}-*", params=params, ignore=(404,)) or {}
    sizes = _sizes(cluster, f"{ARCHIVE}-*") if answer else {}
    found = []
    for index, body in answer.items():
        ours = ((body.get("mappings") or {}).get("_meta") or {}).get("sigmawatch") or {}
        said, archived = ours.get("archive"), ours.get("archived") or {}
        if not isinstance(said, dict):
            continue  # somebody else's, whatever its name
        size = sizes.get(index, {})
        found.append(
            Copy(
                index,
                said["source"],
                said["stream"],
                said["dataset"],
                said["rolled_over"],
                int(size.get("docs.count") or 0),
                int(size.get("store.size") or 0),
                archived.get("at", ""),
                tuple(said["fields"]),
                tuple(said["original"]),
                said.get("delete"),
                archived.get("documents", 0),
            )
        )
    return found


def _read_sources(cluster: Cluster) -> list[Source]:
    """Return all indices of the data streams of logs that are no longer written."""
    try:
        answer = cluster.request("GET", "/_data_stream/logs-*")
    except ResponseError as error:
        if error.status in {400, 404, 405} and (reason := cluster.features().why_not("data_streams")):
            raise TargetUnavailable(reason, hint="Only indices of data streams are archived.") from error
        raise
    params = {
        "filter_path": "*.settings.index.creation_date,*.settings.index.uuid",
        "expand_wildcards": "all",
    }
    settings = (
        cluster.request("GET", "/logs-*/_settings", params={**params, "allow_no_indices": "true"}) or {}
    )
    sizes = _sizes(cluster, "logs-*")
    found = []
    for stream in answer.get("data_streams", ()):
        of_logs = _STREAM.fullmatch(stream["name"])
        indices = [one["index_name"] for one in stream["indices"]]
        if of_logs is None:
            continue
        for index, following in pairwise(indices):
            own = _settings(settings, index)
            size = sizes.get(index, {})
            if not own or not size:
                continue  # gone since
            found.append(
                Source(
                    index,
                    stream["name"],
                    of_logs[1],
                    int(own["creation_date"]),
                    _began(following, _settings(settings, following)),
                    int(size.get("docs.count") or 0),
                    int(size.get("pri.store.size") or 0),
                    str(own["uuid"]),
                )
            )
    return found


def _settings(settings: Mapping[str, Any], index: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = ((settings.get(index) or {}).get("settings") or {}).get("index") or {}
    return found


def _began(index: str, settings: Mapping[str, Any]) -> int:
    """Return when an index was first written.

    One that was shrunken or restored is younger than what it holds; its name still says the day, on Elasticsearch.
    """
    created = int(settings.get("creation_date") or 0)
    found = _BACKING.fullmatch(index)
    if found is None or not found["date"]:
        return created
    midnight = datetime.strptime(found["date"], "%Y.%m.%d").replace(tzinfo=UTC).timestamp()
    return min(created, int(midnight * 1000) + DAY)


def _sizes(cluster: Cluster, pattern: str) -> dict[str, dict[str, Any]]:
    params = {
        "format": "json",
        "bytes": "b",
        "h": "index,docs.count,store.size,pri.store.size",
        "expand_wildcards": "all",
    }
    found = cluster.request("GET", f"/_cat/indices/{pattern}", params=params, ignore=(404,))
    return {str(one["index"]): one for one in found or ()}
