"""Who there is, and which indices their work is about: the same in both products."""

from __future__ import annotations

__all__ = ["ALIASES", "ARCHIVE", "CHECKPOINTS", "DETECTIONS", "FINDINGS", "LOGS", "OWN", "ROLES", "of_tenant"]

ROLES = ("deployer", "runner", "archiver", "analyst", "shipper")
"""deployer: plan, deploy, rollback, status, destroy. runner: `sigmawatch run`. archiver: `sigmawatch archive`.
analyst: reads alerts, logs and the archive. shipper: sends logs."""

LOGS = "logs-*"
ARCHIVE = "sigmawatch-archive-*"
DETECTIONS = "sigmawatch-detections"
CHECKPOINTS = "sigmawatch-checkpoints"
OWN = ("sigmawatch-registry", "sigmawatch-releases", DETECTIONS)
"""What a deployer writes its documents to."""

ALIASES = ("sigmawatch-alerts", "sigmawatch-shadow", "sigmawatch-health")
FINDINGS = tuple(f"{alias}-*" for alias in ALIASES)
"""What a runner writes: alerts, those of rules on trial, and notes on the health of rules."""


def of_tenant(index: str, tenant: str) -> str:
    """Return the indices of a tenant among those of a name or pattern: of logs, alerts, trials and health notes."""
    if index == LOGS:
        return f"logs-*-{tenant}"
    if index == ARCHIVE:
        return f"sigmawatch-archive-logs-*-{tenant}@*"
    # Whoever may read an alias may read all that is behind it, so a tenant has its own.
    alias = index.removesuffix("-*")
    return index.replace(alias, f"{alias}-{tenant}", 1) if alias in ALIASES else index
