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
    KIBANA = "kibana"
    """Kibana's detection engine, for rules that are no correlations."""
    OPENSEARCH = "opensearch"
    """OpenSearch's alerting plugin."""

    @property
    def executor(self) -> str:
        """Who executes, in words."""
        return {
            Target.WATCHER: "Watcher",
            Target.RUNNER: "`sigmawatch run`",
            Target.KIBANA: "Kibana's detection engine",
            Target.OPENSEARCH: "OpenSearch's alerting plugin",
        }[self]
