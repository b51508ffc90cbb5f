"""The registry of fields: which fields the documents of all datasets have, of which types, and what may change in it.

Stored documents outlive the version that wrote them. A field that gets another type, or none, leaves searches over old
and new data with errors or without hits; a field that comes new harms nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from sigmawatch.datasets.load import base_fields
from sigmawatch.errors import ContentError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.datasets.model import Dataset

__all__ = ["ALL", "Change", "changes", "conflicts", "read_registry", "registry", "registry_text"]

ALL = "all"
"""Stands for the fields that any dataset's documents may have."""

_HEAD = """\
# Every field of every dataset with its mapping type. Made by scripts/registry, which says what else to do.
# A type that changes, or a field that goes, breaks what is stored already; one that comes new does not.
"""


@dataclass(frozen=True)
class Change:
    """What is different about a field of a dataset."""

    dataset: str
    field: str
    before: str | None
    """Its type before; None: it is new."""
    after: str | None
    """Its type now; None: it is gone."""

    @property
    def breaks(self) -> bool:
        """Whether searches over what is stored already break by it."""
        return self.before is not None

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.dataset}: {self.field} is new ({self.after})"
        if self.after is None:
            return f"{self.dataset}: {self.field} is gone (it was {self.before})"
        return f"{self.dataset}: {self.field} is {self.after} (it was {self.before})"


def registry(datasets: Sequence[Dataset]) -> Mapping[str, Mapping[str, str]]:
    """Return dataset -> field -> mapping type, with the fields of all datasets under `ALL`."""
    found: dict[str, Mapping[str, str]] = {ALL: {name: info.type for name, info in base_fields().items()}}
    found |= {
        dataset.name: {name: info.type for name, info in dataset.field_info.items()} for dataset in datasets
    }
    return found


def conflicts(found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return the fields that have different types in different datasets, each with who has which."""
    types: dict[str, dict[str, list[str]]] = {}
    for dataset, fields in found.items():
        for name, mapping_type in fields.items():
            types.setdefault(name, {}).setdefault(mapping_type, []).append(dataset)
    told = [
        f"{name} is " + ", and ".join(f"{kind} in {', '.join(names)}" for kind, names in by_type.items())
        for name, by_type in sorted(types.items())
        if len(by_type) > 1
    ]
    # An object in one dataset and a value in another is refused by every index that has both.
    objects = {name[:at]: name for name in types for at, sign in enumerate(name) if sign == "."}
    told += [
        f"{name} is {next(iter(types[name]))} in {', '.join(next(iter(types[name].values())))}, "
        f"and an object with {objects[name]}"
        for name in sorted(types)
        if name in objects and not {"object", "nested"} & set(types[name])
    ]
    return told


def changes(before: Mapping[str, Mapping[str, str]], after: Mapping[str, Mapping[str, str]]) -> list[Change]:
    """Return what is different between two registries, what breaks first."""
    found = []
    for dataset in sorted({*before, *after}):
        # A field that all datasets have now is no longer listed with each.
        old, new = before.get(dataset, {}), {**after.get(ALL, {}), **after.get(dataset, {})}
        if dataset not in after:
            new = {}
        found += [
            Change(dataset, name, kind, new.get(name)) for name, kind in old.items() if new.get(name) != kind
        ]
        listed = after.get(dataset, {})
        common = before.get(ALL, {})
        found += [
            Change(dataset, name, None, kind)
            for name, kind in listed.items()
            if name not in old and name not in common
        ]
    return sorted(found, key=lambda change: (not change.breaks, change.dataset, change.field))


def registry_text(found: Mapping[str, Mapping[str, str]]) -> str:
    """Return a registry as YAML, one line a field, the same for the same fields."""
    lines = [_HEAD]
    for dataset in (ALL, *sorted(set(found) - {ALL})):
        lines.append(f"{dataset}:\n")
        lines += [f"  {_key(name)}: {kind}\n" for name, kind in sorted(found[dataset].items())]
    return "".join(lines)


def _key(name: str) -> str:
    return f'"{name}"' if name.startswith("@") else name


def read_registry(text: str) -> Mapping[str, Mapping[str, str]]:
    """Read a registry. Raises ContentError for a text that is none."""
    try:
        data: Any = yaml.safe_load(text)
        return {
            str(dataset): {str(name): str(kind) for name, kind in (fields or {}).items()}
            for dataset, fields in data.items()
        }
    except (yaml.YAMLError, AttributeError) as error:
        raise ContentError([Problem(f"not a registry of fields: {error}", code="registry")]) from error
