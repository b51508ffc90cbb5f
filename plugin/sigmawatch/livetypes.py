"""The types that fields really have in a cluster: compiling for them suits mappings that are not ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigmawatch.cluster import url_path
from sigmawatch.compile.fieldtypes import kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmawatch.cluster import Cluster

__all__ = ["LiveTypes", "live_types"]

_OBJECTS = frozenset({"object", "nested", "unmapped"})


@dataclass(frozen=True)
class LiveTypes:
    """What an index pattern's mappings say."""

    types: Mapping[str, str]
    """Mapping type of every field, sub-fields included, that has one kind of type everywhere."""
    conflicts: Mapping[str, tuple[str, ...]]
    """Fields that have types in different indices of which no one query asks the same."""


def live_types(cluster: Cluster, indices: str) -> LiveTypes:
    """Return the types of all fields in the indices that match a pattern (`_field_caps`).

    No index at all is no error: there is nothing to be said then. Raises ClusterError.
    """
    answer: dict[str, Any] = cluster.request(
        "GET",
        url_path(indices, "_field_caps"),
        params={"fields": "*", "ignore_unavailable": "true", "allow_no_indices": "true"},
    )
    types: dict[str, str] = {}
    conflicts: dict[str, tuple[str, ...]] = {}
    for name, found in answer["fields"].items():
        listed = sorted(
            kind
            for kind, told in found.items()
            if kind not in _OBJECTS and not told.get("metadata_field", False)
        )
        kinds = {kind_of(kind) for kind in listed}
        if len(kinds) == 1:
            types[name] = listed[0]
        elif kinds:
            conflicts[name] = tuple(listed)
    return LiveTypes(types, conflicts)
