"""Plans in files: applied later exactly as they were looked at, or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from sigmawatch import __version__
from sigmawatch.artifact import Artifact, ArtifactKey, content_hash
from sigmawatch.deploy.kinds import all_kinds
from sigmawatch.deploy.origin import Origin
from sigmawatch.deploy.plan import Action
from sigmawatch.deploy.planner import plan as make_plan
from sigmawatch.deploy.registry import fingerprint
from sigmawatch.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmawatch.cluster import Cluster
    from sigmawatch.deploy.kind import Kind
    from sigmawatch.deploy.plan import Plan

__all__ = ["PlanOptions", "SavedPlan", "load_plan", "plan_document", "save_plan"]

FORMAT = 1
"""Version of the file's layout."""

_AGAIN = "Plan again and look at the difference."


@dataclass(frozen=True)
class PlanOptions:
    """What decided about a plan besides the bundle and the cluster."""

    prune: bool = True
    adopt: bool = False
    max_deletes: int = 20
    delete_data: bool = False
    keep_going: bool = False
    """Rules that cannot be deployed are left out."""


@dataclass(frozen=True)
class SavedPlan:
    """A plan as it was saved: what was to be deployed, and what the cluster looked like then."""

    pack: str
    cluster_uuid: str
    cluster: str
    artifacts: tuple[Artifact, ...]
    decisions: Mapping[ArtifactKey, tuple[str, str]]
    """For each artifact its action, and the hash of the live body that was seen."""
    registry: str
    """Fingerprint of the registry."""
    options: PlanOptions
    origin: Origin
    left_out: int = 0
    """Rules that are not in it, because they do not compile or the target cannot express them."""

    def planned_again(self, cluster: Cluster) -> Plan:
        """Return the plan, made anew, if it is still the same one.

        Raises ClusterError when it is another cluster or one that moved on since; says what is different.
        """
        if cluster.info.uuid != self.cluster_uuid:
            raise ClusterError(
                f"the plan is for {self.cluster}, and this is {cluster.info}", hint="Is it the right --url?"
            )
        options = self.options
        plan = make_plan(
            cluster,
            self.artifacts,
            pack=self.pack,
            prune=options.prune,
            adopt=options.adopt,
            max_deletes=options.max_deletes,
            data=options.delete_data,
            spared=self._spared,
        )
        now = {change.key: (change.action.value, change.live_hash) for change in plan.changes}
        moved = [self._difference(key, now) for key in dict.fromkeys([*self.decisions, *now])]
        told = [text for text in moved if text]
        if told:
            more = [f"… and {len(told) - 10} more"] if len(told) > 10 else []
            lines = "\n".join(f"  {text}" for text in [*told[:10], *more])
            raise ClusterError(f"the cluster moved on since the plan was made:\n{lines}", hint=_AGAIN)
        if fingerprint(plan.registry) != self.registry:
            raise ClusterError("another deploy finished since the plan was made", hint=_AGAIN)
        return plan

    def _spared(self, key: ArtifactKey, kind: Kind) -> str:
        """Return why something that the plan has no body for stays: because that was planned."""
        del kind
        return "kept as planned" if self.decisions.get(key, ("",))[0] == Action.UNCHANGED else ""

    def _difference(self, key: ArtifactKey, now: Mapping[ArtifactKey, tuple[str, str]]) -> str:
        """Return how an artifact is not as it was planned; empty when it is."""
        if key not in self.decisions:
            return f"{key}: was not in the plan, would now be: {now[key][0]}"
        action, live_hash = self.decisions[key]
        if key not in now:
            return f"{key}: planned to {action}, is no longer ours"
        if now[key][0] != action:
            return f"{key}: planned: {action}, would now be: {now[key][0]}"
        kind = all_kinds()[key.kind]
        if kind.updatable and not kind.additive and now[key][1] != live_hash:
            return f"{key}: was changed in the cluster"
        return ""


def plan_document(
    plan: Plan, *, cluster_uuid: str, options: PlanOptions, origin: Origin, left_out: int = 0
) -> dict[str, Any]:
    """Return a plan as JSON: for people's scripts, and whole enough to be applied from a file."""
    return {
        "format": FORMAT,
        "version": __version__,
        "cluster_uuid": cluster_uuid,
        "target": origin.target,
        **plan.to_dict(),
        "options": {
            "prune": options.prune,
            "adopt": options.adopt,
            "max_deletes": options.max_deletes,
            "delete_data": options.delete_data,
            "keep_going": options.keep_going,
        },
        "origin": origin.to_dict(),
        "registry": fingerprint(plan.registry),
        "left_out": left_out,
    }


def save_plan(path: Path, document: Mapping[str, Any]) -> None:
    """Write a plan's document to a file that only its owner can read: bodies of others may hold secrets.

    Raises UsageError when that is not possible; a file that was there stays whole then.
    """
    data = orjson.dumps(document, option=orjson.OPT_INDENT_2)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.resolve().parent, prefix=".sigmawatch-plan-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data + b"\n")
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def load_plan(path: Path) -> SavedPlan:
    """Read a saved plan. Raises UsageError for a file that is none, was edited, or is of another version."""
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is no saved plan: it is not JSON", hint="Was it cut off?") from error
    if not isinstance(data, dict) or "cluster_uuid" not in data:
        raise UsageError(f"{path} is no saved plan", hint="`sigmawatch plan --out FILE` makes one.")
    made_by = (data.get("format"), data.get("version"))
    if made_by != (FORMAT, __version__):
        raise UsageError(
            f"{path} was made by sigmawatch {data.get('version')}, and this is {__version__}", hint=_AGAIN
        )
    try:
        return _parsed(path, data)
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is no saved plan: {error!r}", hint="Was it edited?") from error


def _parsed(path: Path, data: Mapping[str, Any]) -> SavedPlan:
    artifacts: list[Artifact] = []
    decisions: dict[ArtifactKey, tuple[str, str]] = {}
    for change in data["changes"]:
        key = ArtifactKey(change["kind"], change["id"])
        decisions[key] = (change["action"], change["live_hash"])
        body = change["after"]
        if body is None:
            continue
        if content_hash(body) != change["sent_hash"]:
            raise UsageError(
                f"{path}: the body of {key} is not the one that was planned",
                hint="A plan is applied as it was made; change the pack and plan again.",
            )
        needs = tuple(ArtifactKey(*each) for each in change["depends_on"])
        artifacts.append(
            Artifact(
                key.kind,
                key.id,
                body,
                needs,
                change["source"],
                change["seed"],
                change["shared"],
                change.get("stage", ""),
            )
        )
    return SavedPlan(
        pack=data["pack"],
        cluster_uuid=data["cluster_uuid"],
        cluster=data["cluster"],
        artifacts=tuple(artifacts),
        decisions=decisions,
        registry=data["registry"],
        options=PlanOptions(**data["options"]),
        origin=Origin.from_dict(data["origin"]),
        left_out=data.get("left_out", 0),
    )
