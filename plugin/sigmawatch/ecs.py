"""What the Elastic Common Schema says about a field: its type, and the values it allows.

The rule compiler asks which query a field needs, the datasets whether what they emit is ECS. The table
itself is `ecs.yml`; it is read on the first question, not at import.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sigmawatch import yamlfile

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["allowed_values", "ecs_type", "ecs_version", "types_of_category"]


@cache
def _table() -> Mapping[str, Any]:
    data: Mapping[str, Any] = yamlfile.load(Path(__file__).with_name("ecs.yml")).data
    return data


@cache
def _types() -> Mapping[str, str]:
    """Return the fields of every set at its own prefix: `source.ip`, `hash.md5`."""
    return {
        f"{field_set}.{name}" if field_set else name: mapping_type
        for field_set, types in _table()["sets"].items()
        for mapping_type, names in types.items()
        for name in names
    }


@cache
def _reuse() -> tuple[tuple[str, str], ...]:
    """Return (prefix, field set found there), the longest prefixes first."""
    places = [(place, field_set) for field_set, found in _table()["reuse"].items() for place in found]
    return tuple(sorted(places, key=lambda place: (-len(place[0]), place[0])))


@cache
def ecs_type(field: str) -> str | None:
    """Return the mapping type ECS gives a field (`keyword`, `ip`, `long`, …), or None where it is not in ECS.

    An object that has fields below it but no type of its own (`source`) is no field.
    """
    if field.partition(".")[0] in _table()["only_reused"]:
        return None
    for prefix, member_type in _table()["open_objects"].items():
        if field.startswith(f"{prefix}."):
            return str(member_type)
    nested_in_itself: set[str] = set()
    while True:
        found = _types().get(field)
        if found is not None:
            return found
        for prefix, field_set in _reuse():
            if field.startswith(f"{prefix}."):
                # `process.parent` is a process, but no `process.parent.parent` follows from that.
                if prefix.startswith(f"{field_set}."):
                    if field_set in nested_in_itself:
                        return None
                    nested_in_itself.add(field_set)
                field = f"{field_set}{field.removeprefix(prefix)}"
                break
        else:
            return None


def ecs_version() -> str:
    """Return the version of ECS that the table describes."""
    return str(_table()["version"])


def allowed_values(field: str) -> frozenset[str] | None:
    """Return the values ECS allows in a field, or None where any value will do."""
    values = _table()["allowed"].get(field)
    return None if values is None else frozenset(values)


def types_of_category(category: str) -> frozenset[str]:
    """Return the values of `event.type` that make sense for an `event.category`."""
    return frozenset(_table()["types_of_category"].get(category, ()))
