"""What can be said about keeping events, as values. All ages are whole days."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Archive",
    "Mechanism",
    "Retention",
    "RetentionTuning",
    "Rollover",
    "SiteRetention",
    "automatic_age",
]


class Mechanism(StrEnum):
    """Who in a cluster moves and deletes indices."""

    ILM = "ilm"
    """Index lifecycle management of Elasticsearch."""
    ISM = "ism"
    """Index state management, a plugin of OpenSearch."""
    LIFECYCLE = "lifecycle"
    """The lifecycle that a data stream of Elasticsearch has itself; it knows no tiers."""
    NONE = "none"
    """Nobody that we tell: nothing is rolled over or deleted."""


def automatic_age(kept: int | None) -> int:
    """Return after how many days an index is rolled over that keeps its events for `kept` days (None: for ever).

    About as many indices for each stream, however long it is kept: a small stream must not become many shards, and
    what is deleted goes by whole indices, so that an index that covers long keeps its first events too long. Data
    stream lifecycles decide in the same steps (`max_age: auto`).
    """
    if kept is None or kept > 90:
        return 30
    return 7 if kept > 14 else 1


@dataclass(frozen=True)
class Rollover:
    """When a stream goes on in a new index: at an age or at a size, whatever comes first."""

    max_age: int | None = None
    """Days. None: as `automatic_age` has it."""
    max_primary_shard_size: str = "50gb"


@dataclass(frozen=True)
class Archive:
    """Copies of the events of one stream for the long term, with fewer fields. Ages as `Retention`'s."""

    after: int = 30
    """From this age on an index is copied."""
    delete: int | None = None
    """From this age on the copy is deleted. None: never."""
    replicas: int | None = None
    """Of the copies. None: one where there is a second node."""
    rate: int = 5_000
    """Documents that are copied in a second at most."""
    keep: tuple[str, ...] = ()
    """Fields that the site keeps besides, as names or with a `*`."""
    drop: tuple[str, ...] = ()
    """Fields that the site does not keep; they win."""


@dataclass(frozen=True)
class Retention:
    """How long the events of one stream are kept. Ages count from the rollover of their index.

    So an event is kept for at least `delete` days, and for at most as many and `rollover_age` more.
    """

    source: str = "default"
    """The preset that it comes from; `own` where the site changed it."""
    warm: int | None = None
    """From this age on read-only, merged to one segment, on warm nodes where there are any. None: never."""
    cold: int | None = None
    """From this age on on cold nodes where there are any, recovered last. None: never."""
    delete: int | None = None
    """From this age on deleted. None: never."""
    rollover: Rollover = field(default_factory=Rollover)
    best_compression: bool = True
    shrink: int | None = None
    """Primary shards that a warm index is shrunk to. None: as many as it has."""
    by: Mechanism | None = None
    """`NONE`: left to the site. None: whoever does it for the others."""
    archive: Archive | None = None
    """None: nothing is copied for the long term."""

    @property
    def rollover_age(self) -> int:
        """Days after which an index is rolled over."""
        return self.rollover.max_age or automatic_age(self.delete)

    @property
    def longest(self) -> int | None:
        """Days after which an event is gone at the latest. None: never."""
        return None if self.delete is None else self.delete + self.rollover_age


@dataclass(frozen=True)
class RetentionTuning:
    """What is said in one place: a preset, and what is different from it."""

    preset: str | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    """Values by the names of `Retention`'s members, with `rollover.max_age` and `rollover.max_primary_shard_size`.

    `archive` is whether there is one; its members are `archive.after` and so on.
    """

    def over(self, below: RetentionTuning) -> RetentionTuning:
        """Return this over what is said less specifically: a preset begins anew, anything else adds to it."""
        if self.preset is not None:
            return self
        return RetentionTuning(below.preset, {**below.given, **self.given})


@dataclass(frozen=True)
class SiteRetention:
    """What a site says for everything that it keeps. None, and `...` for ages: as the preset says."""

    logs: RetentionTuning = field(default_factory=RetentionTuning)
    by: str | None = None
    """The name of a mechanism, or `auto`."""
    alerts: Any = ...
    """Days; None: for ever."""
    health: Any = ...
    """Days; None: for ever."""
