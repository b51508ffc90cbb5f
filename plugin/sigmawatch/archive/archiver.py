"""One run of `sigmawatch archive`: what is due is copied, the oldest first, and copies that are too old are deleted."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sigmawatch.archive.copying import copy_index
from sigmawatch.archive.holdings import Archives, Entry, State, read_archives
from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmawatch.archive.copying import Copied
    from sigmawatch.cluster import Cluster

__all__ = ["MAX_DELETES", "Run", "archive", "expired"]

MAX_DELETES = 100
"""Copies that one run deletes: more than that is a wrong clock, or a wrong configuration."""


@dataclass(frozen=True)
class Run:
    """What a run did."""

    copied: dict[str, Copied] = field(default_factory=dict)
    """By the name of the copy."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why, by the name of the index."""
    deleted: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """What may go wrong with what is not copied yet."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON."""
        return {
            "copied": {
                name: {
                    "documents": one.documents,
                    "known_before": one.known,
                    "seconds": round(one.seconds, 1),
                }
                for name, one in self.copied.items()
            },
            "failed": self.failed,
            "deleted": self.deleted,
            "warnings": self.warnings,
        }


def expired(archives: Archives, *, max_deletes: int = MAX_DELETES) -> list[Entry]:
    """Return the copies that are to go. Raises UsageError when they are suspiciously many."""
    found = [entry for entry in archives.of(State.EXPIRED) if entry.copy is not None]
    if len(found) > max_deletes:
        raise UsageError(
            f"{len(found)} copies are older than they are kept; more than {max_deletes} are not deleted at once",
            hint="See `sigmawatch archive --dry-run`; --max-deletes allows more.",
        )
    return found


def archive(
    cluster: Cluster,
    now: int,
    *,
    tenant: str = "",
    rate: int | None = None,
    max_deletes: int = MAX_DELETES,
    on_progress: Callable[[Entry, int, int], object] | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Run:
    """Copy what is due at a moment (milliseconds since 1970), and delete copies that are too old.

    `tenant`: only what is of this one. `rate`: documents a second, in place of what is deployed. What cannot be copied
    is told, and does not keep the rest from being copied. Raises UsageError before anything is done where too much
    would be deleted; ClusterError when the cluster does not answer.
    """
    archives = read_archives(cluster, now, tenant=tenant)
    going = expired(archives, max_deletes=max_deletes)
    run = Run()
    for entry in archives.entries:
        policy = archives.policy_of(entry)
        if not entry.is_due or entry.source is None or policy is None:
            continue

        def tell(done: int, total: int, entry: Entry = entry) -> None:
            if on_progress is not None:
                on_progress(entry, done, total)

        try:
            run.copied[entry.copy_index] = copy_index(
                cluster,
                entry.source,
                entry.copy_index,
                policy,
                begun=entry.copy,
                rate=rate,
                on_progress=tell,
                sleep=sleep,
            )
        except ClusterError as error:
            if error.__cause__ is not None and not isinstance(error, ResponseError):
                raise  # nobody answers any more
            run.failed[entry.index] = error.message
    for entry in going:
        cluster.request("DELETE", url_path(entry.copy_index), ignore=(404,))
        run.deleted.append(entry.copy_index)
    after = read_archives(cluster, now, tenant=tenant)
    return replace(run, warnings=after.warnings)
