"""Which fields of a dataset's events an archive keeps: `fields.yml`, and what datasets and sites say besides."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sigmawatch import yamlfile
from sigmawatch.datasets.names import fields_like

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmawatch.datasets.model import Dataset
    from sigmawatch.retention.values import Archive

__all__ = ["ORIGINAL", "FieldGroup", "field_groups", "kept_fields"]

ORIGINAL = ("event.original", "message")
"""Kept of what could not be parsed as a whole: what became of no field stands there only."""


@dataclass(frozen=True)
class FieldGroup:
    """An entry of `fields.yml`."""

    why: str
    fields: tuple[str, ...]
    """Names, some with a `*`."""
    drop: tuple[str, ...] = ()
    """Of those that are kept of all datasets."""


@cache
def field_groups() -> Mapping[str, FieldGroup]:
    """Return what is kept of all datasets, as ``, and by group of datasets."""
    data: Mapping[str, Any] = yamlfile.load(Path(__file__).with_name("fields.yml")).data
    return {
        name: FieldGroup(entry["why"], tuple(entry["fields"]), tuple(entry.get("drop", ())))
        for name, entry in {"": data["all"], **data["groups"]}.items()
    }


def kept_fields(dataset: Dataset, archive: Archive) -> tuple[str, ...]:
    """Return the fields of a dataset that its archive keeps, sorted; without `ORIGINAL`, which few events keep."""
    groups = field_groups()
    group = groups.get(dataset.name.partition(".")[0], FieldGroup("", ()))
    found: dict[str, None] = {}
    # The more specific has the last word: the site over the dataset, and dropping over keeping in each.
    for keep, drop in (
        ((*groups[""].fields, *group.fields), group.drop),
        (dataset.archived.keep, dataset.archived.drop),
        (archive.keep, archive.drop),
    ):
        found |= {name: None for pattern in keep for name in fields_like(pattern, dataset.fields)}
        for pattern in drop:
            for name in fields_like(pattern, list(found)):
                del found[name]
    return tuple(sorted({*found, "@timestamp"}))
