"""Bringing a bundle into a cluster: plan (reads only), then apply.

kind       what a kind of artifact has to know; kinds/ holds one module each
registry   what we own, with the two hashes that tell our change from somebody else's
plan       the plan as data; planner makes it
applier    carries a plan out, under the lock of `lock`
present    a plan for people
"""

from sigmawatch.deploy.applier import ApplyResult, ArtifactResult, DeployIncomplete, apply
from sigmawatch.deploy.lock import DeployLocked
from sigmawatch.deploy.plan import Action, Change, Plan, Refusal
from sigmawatch.deploy.planner import plan
from sigmawatch.deploy.present import render_plan

__all__ = [
    "Action",
    "ApplyResult",
    "ArtifactResult",
    "Change",
    "DeployIncomplete",
    "DeployLocked",
    "Plan",
    "Refusal",
    "apply",
    "plan",
    "render_plan",
]
