"""Who executes a detection plan."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Target"]


class Target(StrEnum):
    """The targets that plans are rendered for."""

    WATCHER = "watcher"
    """Elasticsearch itself, where its licence has Watcher."""
    RUNNER = "runner"
    """`sigmawatch run`, on any cluster."""
