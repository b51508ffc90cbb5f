"""What we own in a cluster: one document per artifact, so that ours, others' and drift are told apart.

Two hashes are kept: of the body that we sent, and of the body that the server returned after it. We changed
it when the first differs from the artifact; somebody else did when the second differs from what is live.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sigmawatch.artifact import ArtifactKey, content_hash
from sigmawatch.cluster import BulkItem, ResponseError, bulk, url_path
from sigmawatch.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sigmawatch.cluster import Cluster

__all__ = ["REGISTRY_INDEX", "Entry", "create_registry", "fingerprint", "read_registry", "write_registry"]

REGISTRY_INDEX = "sigmawatch-registry"

_INDEX: dict[str, Any] = {
    "settings": {"number_of_shards": 1, "auto_expand_replicas": "0-1", "hidden": True},
    "mappings": {
        "dynamic": False,  # a newer version may store more than an older one has mapped
        "properties": {
            "document": {"type": "keyword"},
            "kind": {"type": "keyword"},
            "id": {"type": "keyword"},
            "pack": {"type": "keyword"},
            "release": {"type": "keyword"},
            "updated": {"type": "date"},
        },
    },
}


@dataclass(frozen=True)
class Entry:
    """What is recorded about one artifact that we own."""

    kind: str
    id: str
    pack: str
    """The pack that owns it."""
    version: str
    """Version of sigmawatch that wrote it."""
    engine: str
    """Product and version of the cluster then: an upgrade may add defaults to a body."""
    sent_hash: str
    """Hash of the artifact's body as sent, without marks; empty while it was never written completely."""
    live_hash: str
    """Hash of the normalised body that the server returned right after; empty as above."""
    updated: str
    """When, ISO 8601 in UTC."""
    release: str = ""
    pending: str = ""
    """Hash of the body that a deploy was about to write. Found by a later deploy, it was interrupted."""
    seed: bool = False
    """Created for the user to own."""
    found: bool = False
    """It was there before we came, so that the data in it is not ours to delete."""

    claims: tuple[str, ...] = ()
    """What of it is ours, where people work on the same body: see `Kind.claims`."""

    @property
    def key(self) -> ArtifactKey:
        """Kind and id."""
        return ArtifactKey(self.kind, self.id)


def _document_id(key: ArtifactKey) -> str:
    plain = f"{key.kind}:{key.id}"
    # A document id holds at most 512 bytes; names of watches and scripts may be as long.
    return plain if len(plain.encode()) <= 500 else hashlib.sha256(plain.encode()).hexdigest()


def read_registry(cluster: Cluster) -> dict[ArtifactKey, Entry]:
    """Return all entries; none where there is no registry yet. Raises ClusterError."""
    names = Entry.__dataclass_fields__
    entries: dict[ArtifactKey, Entry] = {}
    for hit in cluster.scan(REGISTRY_INDEX, {"term": {"document": "artifact"}}, size=5_000):
        given = {name: value for name, value in hit["_source"].items() if name in names}
        entry = Entry(**{**given, "claims": tuple(given.get("claims") or ())})
        entries[entry.key] = entry
    return entries


def create_registry(cluster: Cluster) -> None:
    """Create the index where it is absent. Raises ClusterError."""
    if cluster.request("HEAD", url_path(REGISTRY_INDEX)):
        return
    try:
        cluster.request("PUT", url_path(REGISTRY_INDEX), _INDEX)
    except ResponseError as error:
        if error.error_type != "resource_already_exists_exception":
            raise


def write_registry(cluster: Cluster, entries: Iterable[Entry], forgotten: Iterable[ArtifactKey] = ()) -> None:
    """Write entries and remove those of forgotten artifacts; the next read sees it. Raises ClusterError."""
    items = [
        BulkItem("index", REGISTRY_INDEX, _document_id(entry.key), {"document": "artifact", **asdict(entry)})
        for entry in entries
    ]
    items += [BulkItem("delete", REGISTRY_INDEX, _document_id(key)) for key in forgotten]
    failures = bulk(cluster, items, refresh=True)
    if failures:
        first = failures[0]
        error = {"error": {"type": first.type, "reason": first.reason}}
        cause = ResponseError("POST", f"/{REGISTRY_INDEX}/_bulk", first.status, error)
        raise ClusterError(f"the registry takes no entries: {cause.message}", hint=cause.hint) from cause


def fingerprint(entries: Mapping[ArtifactKey, Entry]) -> str:
    """Return a hash of a registry's state, to notice that it changed between plan and apply."""
    return content_hash(sorted((*key, e.sent_hash, e.live_hash, e.pending) for key, e in entries.items()))
