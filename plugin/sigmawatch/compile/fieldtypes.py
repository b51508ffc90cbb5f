"""What type a field has, because the type decides which query asks the right question of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from sigmawatch.ecs import ecs_type

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FieldKind", "FieldTypes", "kind_of"]


class FieldKind(StrEnum):
    """Mapping types that are queried alike."""

    KEYWORD = "keyword"
    FLATTENED = "flattened"
    TEXT = "text"
    IP = "ip"
    INTEGER = "integer"
    FLOAT = "float"
    DATE = "date"
    BOOLEAN = "boolean"
    OTHER = "other"


_KINDS = {
    "keyword": FieldKind.KEYWORD,
    "constant_keyword": FieldKind.KEYWORD,
    "wildcard": FieldKind.KEYWORD,
    "counted_keyword": FieldKind.KEYWORD,
    "flattened": FieldKind.FLATTENED,
    "flat_object": FieldKind.FLATTENED,
    "version": FieldKind.KEYWORD,
    "text": FieldKind.TEXT,
    "match_only_text": FieldKind.TEXT,
    "ip": FieldKind.IP,
    "byte": FieldKind.INTEGER,
    "short": FieldKind.INTEGER,
    "integer": FieldKind.INTEGER,
    "long": FieldKind.INTEGER,
    "unsigned_long": FieldKind.INTEGER,
    "half_float": FieldKind.FLOAT,
    "float": FieldKind.FLOAT,
    "double": FieldKind.FLOAT,
    "scaled_float": FieldKind.FLOAT,
    "date": FieldKind.DATE,
    "date_nanos": FieldKind.DATE,
    "boolean": FieldKind.BOOLEAN,
}


UNINDEXED = frozenset({"event.original"})
"""Fields that ECS, and so our templates, keep without indexing them: no search finds anything in them."""

WITH_KEYWORD = frozenset({"message"})
"""Text fields that our templates also index whole, as `<name>.keyword`."""


def kind_of(mapping_type: str) -> FieldKind:
    """Return how fields of a mapping type are queried."""
    return _KINDS.get(mapping_type, FieldKind.OTHER)


@dataclass(frozen=True)
class FieldTypes:
    """The types of all fields a rule may name: overrides first, then the datasets' own, then ECS."""

    overrides: Mapping[str, str] = field(default_factory=dict)
    """Mapping types that win, e.g. those of a rule test or of a live index."""
    datasets: Mapping[str, str] = field(default_factory=dict)
    """Mapping types of the fields that datasets declare."""

    _kinds: dict[str, FieldKind] = field(default_factory=dict, init=False, repr=False, compare=False)
    """The kinds of fields that were asked for: a rule set asks for few fields, but for each of its values."""

    def mapping_type(self, name: str) -> str | None:
        """Return the mapping type of a field, or None where nothing declares it."""
        return self.overrides.get(name) or self.datasets.get(name) or ecs_type(name)

    def searched(self, name: str) -> str:
        """Return the field to search for values of `name`: itself, or its sub-field that is not analysed."""
        whole = f"{name}.keyword"
        if name not in self.overrides:
            return whole if name in WITH_KEYWORD else name
        is_whole = kind_of(self.overrides.get(whole, "")) is FieldKind.KEYWORD
        return whole if is_whole and kind_of(self.overrides[name]) is FieldKind.TEXT else name

    def is_searchable(self, name: str) -> bool:
        """Whether a search can find anything in a field."""
        return name not in UNINDEXED or name in self.overrides

    def kind(self, name: str) -> FieldKind:
        """Return how a field is queried; a field that nothing declares is taken for a keyword.

        Members of a flattened object are declared by nothing but the object.
        """
        found = self._kinds.get(name)
        if found is None:
            found = self._kinds[name] = self._kind(name)
        return found

    def _kind(self, name: str) -> FieldKind:
        if self.searched(name) != name:
            return FieldKind.KEYWORD
        mapping_type = self.mapping_type(name)
        if mapping_type is not None:
            return kind_of(mapping_type)
        return FieldKind.FLATTENED if self.flattened_parent(name) else FieldKind.KEYWORD

    def flattened_parent(self, name: str) -> str:
        """Return the flattened object of which a field is a member; empty where it is none."""
        if self.mapping_type(name) is not None:
            return ""
        parents = (name[:dot] for dot, char in enumerate(name) if char == ".")
        found = (each for each in parents if self.mapping_type(each) in ("flattened", "flat_object"))
        return next(found, "")
