"""The vocabulary between building and deploying: one named body for one cluster API."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "SHARED_OWNER",
    "Artifact",
    "ArtifactKey",
    "canonical_json",
    "content_hash",
    "secret",
    "secrets_in",
    "with_secrets",
    "without_secrets",
]

SHARED_OWNER = "sigmawatch"
"""Recorded as the owner of shared artifacts; no pack may have this name."""


class ArtifactKey(NamedTuple):
    """What identifies an artifact in a cluster."""

    kind: str
    """Name of the kind: `ingest_pipeline`, `component_template`, `index_template`, `stored_script`,
    `data_stream`, `watch`, `detection`, …"""
    id: str
    """Its name in that API."""

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


@dataclass(frozen=True)
class Artifact:
    """One named body for one cluster API."""

    kind: str
    id: str
    body: Mapping[str, Any]
    """Exactly what is sent, before the deployer adds its ownership marks."""
    depends_on: tuple[ArtifactKey, ...] = ()
    """Artifacts that must be in the cluster before this one."""
    source: str = ""
    """Where in a pack it comes from, relative to the pack's root."""
    seed: bool = False
    """Created where it is absent, then the user's own (custom hooks): never updated, and only deleted when the whole
    pack goes and nobody has made anything of it."""

    shared: bool = False
    """Part of sigmawatch rather than of a pack: every pack brings it along, none owns or deletes it."""

    stage: str = ""
    """Of a detection, how far its rule is trusted."""

    def owner(self, pack: str) -> str:
        """Return who owns it when `pack` deploys it."""
        return SHARED_OWNER if self.shared else pack

    @property
    def key(self) -> ArtifactKey:
        """Kind and id."""
        return ArtifactKey(self.kind, self.id)


_SECRET = "$secret"  # noqa: S105  # a key of JSON


def secret(name: str) -> dict[str, str]:
    """Return what stands for a secret in a body: its name. The secret itself is put beside it when it is sent."""
    return {_SECRET: name}


def secrets_in(body: object) -> frozenset[str]:
    """Return the names of the secrets that a body needs."""
    if isinstance(body, dict):
        own = frozenset({body[_SECRET]} if isinstance(body.get(_SECRET), str) else ())
        return own.union(*(secrets_in(value) for value in body.values()))
    if isinstance(body, list):
        return frozenset().union(*(secrets_in(value) for value in body))
    return frozenset()


def with_secrets(body: Any, secrets: Mapping[str, object]) -> Any:
    """Return a body with its secrets, as it is sent. Raises KeyError for one that is not given."""
    if isinstance(body, dict):
        if isinstance(body.get(_SECRET), str):
            return {**body, "value": secrets[body[_SECRET]]}
        return {key: with_secrets(value, secrets) for key, value in body.items()}
    if isinstance(body, list):
        return [with_secrets(value, secrets) for value in body]
    return body


def without_secrets(body: Any) -> Any:
    """Return a body that was read without its secrets, as it is compared, shown and recorded."""
    if isinstance(body, dict):
        if isinstance(body.get(_SECRET), str):
            return {_SECRET: body[_SECRET]}
        return {key: without_secrets(value) for key, value in body.items()}
    if isinstance(body, list):
        return [without_secrets(value) for value in body]
    return body


def canonical_json(value: object) -> bytes:
    """Return JSON bytes that are the same for equal values: sorted keys, no blanks, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def content_hash(value: object) -> str:
    """Return the SHA-256 of `canonical_json(value)` in hexadecimal."""
    return hashlib.sha256(canonical_json(value)).hexdigest()
