"""A detection plan as the document that our own runner reads from the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmawatch.alerts.document import ALERTS, SHADOW
from sigmawatch.artifact import Artifact, ArtifactKey
from sigmawatch.render.scripts import script_keys

if TYPE_CHECKING:
    from sigmawatch.compile.plan import DetectionPlan

__all__ = ["detection_artifact"]


def detection_artifact(plan: DetectionPlan, *, namespace: str = "default") -> Artifact:
    """Return the artifact of kind `detection`: the plan, and the namespace its alerts go to."""
    template = SHADOW if plan.rule.stage == "shadow" else ALERTS
    return Artifact(
        kind="detection",
        id=plan.rule.id,
        body={**plan.to_dict(), "namespace": namespace},
        depends_on=(ArtifactKey("index_template", template), *script_keys(watcher=False)),
        source=plan.rule.source,
        stage=plan.rule.stage,
    )
