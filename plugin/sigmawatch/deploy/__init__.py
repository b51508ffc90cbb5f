"""Bringing a bundle into a cluster: plan (reads only), then apply.

kind       what a kind of artifact has to know; kinds/ holds one module each
registry   what we own, with the two hashes that tell our change from somebody else's
releases   what was deployed when, with the bodies to go back to it; origin says who and from where
plan       the plan as data; planner makes it
applier    carries a plan out, under the lock of `lock`; execution writes, outcome is what became of it
journal    what it does, on this machine's disk, for when the cluster is what fails
present    plans and releases for people
"""

from sigmawatch.deploy.applier import apply
from sigmawatch.deploy.lock import DeployLocked
from sigmawatch.deploy.origin import Origin, origin_of
from sigmawatch.deploy.outcome import ApplyResult, ArtifactResult, DeployIncomplete
from sigmawatch.deploy.plan import Action, Change, Plan, Refusal
from sigmawatch.deploy.planner import plan, removal_plan
from sigmawatch.deploy.present import render_plan
from sigmawatch.deploy.releases import Release, ReleaseState

__all__ = [
    "Action",
    "ApplyResult",
    "ArtifactResult",
    "Change",
    "DeployIncomplete",
    "DeployLocked",
    "Origin",
    "Plan",
    "Refusal",
    "Release",
    "ReleaseState",
    "apply",
    "origin_of",
    "plan",
    "removal_plan",
    "render_plan",
]
