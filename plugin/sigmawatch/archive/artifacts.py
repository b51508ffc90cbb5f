"""The index template of the copies of a dataset's events. It says in `_meta` what `sigmawatch archive` is to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.archive.fields import ORIGINAL, kept_fields
from sigmawatch.artifact import Artifact
from sigmawatch.datasets.load import base_fields
from sigmawatch.datasets.templates import properties_of
from sigmawatch.retention.values import Mechanism

if TYPE_CHECKING:
    from sigmawatch.datasets.model import Dataset
    from sigmawatch.datasets.privacy import Privacy
    from sigmawatch.datasets.templates import EngineTraits
    from sigmawatch.retention.artifacts import Kept

__all__ = ["ARCHIVE", "DAY_SIGN", "MEMBER", "archive_artifacts"]

ARCHIVE = "sigmawatch-archive"
"""What copies and their templates begin with. Not `logs-`: no rule may alert a second time."""

MEMBER = "archive"
"""Member of a template's `_meta`."""

DAY_SIGN = "@"
"""Between the stream and the day in the name of a copy."""

PRIORITY = 300
TENANT_PRIORITY = 310
"""A tenant's own template wins over the one for everybody."""

_PARENTS = ("nested", "object")


def archive_artifacts(
    dataset: Dataset, one: Kept, *, traits: EngineTraits, privacy: Privacy
) -> list[Artifact]:
    """Return what a cluster needs to archive a dataset; nothing where nobody wants that."""
    archive = one.retention.archive
    if archive is None:
        return []
    fields = kept_fields(dataset, archive)
    # What is hidden is not to come to light by an event that was stored before it was, or that could not be read.
    original = () if privacy.hides else ORIGINAL
    declared = {**base_fields(), **dataset.field_info}
    mapped = {name: declared[name] for name in (*fields, *original) if name in declared}
    for name in fields:
        parent = name
        while "." in parent:
            parent = parent.rpartition(".")[0]
            if parent in declared and declared[parent].type in _PARENTS:
                mapped[parent] = declared[parent]
    settings: dict[str, Any] = {
        "codec": "best_compression",
        "mapping": {"ignore_malformed": True},
        # Nobody waits for what is copied to be found.
        "refresh_interval": "60s",
    }
    if archive.replicas is None:
        settings["auto_expand_replicas"] = "0-1"
    else:
        settings["number_of_replicas"] = archive.replicas
    said: dict[str, Any] = {
        "dataset": dataset.name,
        "after": archive.after,
        "rate": archive.rate,
        "fields": list(fields),
        "original": list(original),
    }
    if dataset.tenant:
        said["tenant"] = dataset.tenant
    if archive.delete is not None:
        said["delete"] = archive.delete
    if one.mechanism is not Mechanism.NONE and one.retention.delete is not None:
        said["events_deleted"] = one.retention.delete
    body = {
        # A namespace may hold any sign of the pattern's but this: one tenant's must not match the other's.
        "index_patterns": [f"{ARCHIVE}-{dataset.index_pattern}{DAY_SIGN}*"],
        "priority": TENANT_PRIORITY if dataset.tenant else PRIORITY,
        "template": {
            "settings": {"index": settings},
            "mappings": {"dynamic": False, "properties": properties_of(mapped, traits)},
        },
        "_meta": {MEMBER: said},
    }
    source = f"ingest_pipelines/{dataset.name}"
    return [
        Artifact(
            "index_template", f"{ARCHIVE}-{dataset.template_id.removeprefix('logs-')}", body, source=source
        )
    ]
