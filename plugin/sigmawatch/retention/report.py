"""How long a cluster keeps what it holds: as it is in the cluster, not as somebody meant it to be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from sigmawatch.alerts.document import ALERTS, HEALTH, SHADOW
from sigmawatch.cluster import ResponseError
from sigmawatch.deploy.kinds import all_kinds
from sigmawatch.deploy.registry import read_registry
from sigmawatch.errors import TargetUnavailable
from sigmawatch.retention.artifacts import MONTH
from sigmawatch.retention.values import Mechanism, automatic_age

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sigmawatch.cluster import Cluster
    from sigmawatch.retention.artifacts import Kept

__all__ = ["Holding", "archive_faults", "read_holdings", "summary"]

_ATTACHMENTS = {
    "ilm_attachment": Mechanism.ILM,
    "ism_attachment": Mechanism.ISM,
    "data_stream_lifecycle": Mechanism.LIFECYCLE,
}
_POLICIES = {Mechanism.ILM: "ilm_policy", Mechanism.ISM: "ism_policy"}
_OWN = (f"{ALERTS}-*", f"{SHADOW}-*", f"{HEALTH}-*")
_TEMPLATE = re.compile(r"(?P<dataset>logs-[a-z0-9_.]+)(?P<tenant>-[a-z0-9_.]+)?")


@dataclass(frozen=True)
class Holding:
    """What a cluster holds of the streams or indices of one pattern, and for how long."""

    pattern: str
    by: Mechanism
    policy: str
    """The policy, or policies, of its indices; empty where there is none."""
    shortest: int | None
    """Days for which an event is kept at least. None: for ever."""
    longest: int | None
    """Days after which it is gone. None: never."""
    indices: int = 0
    documents: int = 0
    bytes: int = 0
    """On disk, replicas included."""
    oldest: str = ""
    """When the oldest index was created, ISO 8601 in UTC; empty where there is none."""

    @property
    def in_words(self) -> str:
        """How long an event is kept."""
        if self.shortest is None:
            return "for ever"
        return (
            f"{self.shortest} to {self.longest} days" if self.longest is not None else f"{self.shortest} days"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return JSON."""
        return {
            "pattern": self.pattern,
            "by": self.by.value,
            "policy": self.policy,
            "kept": self.in_words,
            "at_least_days": self.shortest,
            "at_most_days": self.longest,
            "indices": self.indices,
            "documents": self.documents,
            "bytes": self.bytes,
            "oldest": self.oldest,
        }


def summary(keeping: Iterable[Kept]) -> list[str]:
    """Return in a few lines how long everything is kept: what is kept alike stands together."""
    alike: dict[tuple[str, str], list[str]] = {}
    for one in keeping:
        how = "never deleted" if one.in_words == "for ever" else f"deleted after {one.in_words}"
        who = "since nothing here deletes it" if one.mechanism is Mechanism.NONE else f"by {one.mechanism}"
        phases = [
            f"{name} from {age} d"
            for name, age in (("warm", one.retention.warm), ("cold", one.retention.cold))
            if age is not None and one.mechanism in _POLICIES
        ]
        told = ", ".join([how, *phases]) if one.mechanism is not Mechanism.NONE else "kept for ever,"
        if (archive := one.retention.archive) is not None:
            until = "for ever" if archive.delete is None else f"until {archive.delete} d"
            who += f", archived from {archive.after} d on {until}"
        alike.setdefault((told, who), []).append(one.what)
    return [f"{told} {who}: {_some(names)}" for (told, who), names in alike.items()]


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def archive_faults(keeping: Iterable[Kept]) -> list[str]:
    """Return why archives may lack events, or are none; what is alike stands together."""
    alike: dict[str, list[str]] = {}
    for one in keeping:
        if fault := one.archive_fault:
            alike.setdefault(fault, []).append(one.what)
    return [f"{fault}: {_some(names)}" for fault, names in alike.items()]


def read_holdings(cluster: Cluster) -> list[Holding]:
    """Return what is held of everything that was deployed, by pattern. Raises ClusterError."""
    registry = read_registry(cluster)
    attached = {key.id: _ATTACHMENTS[key.kind] for key in registry if key.kind in _ATTACHMENTS}
    patterns = [
        f"{found['dataset']}{found['tenant'] or '-*'}"
        for key in registry
        if key.kind == "index_template" and (found := _TEMPLATE.fullmatch(key.id))
    ]
    known = dict.fromkeys([*sorted({*patterns, *attached} - set(_OWN))])
    if registry:
        known |= dict.fromkeys(_OWN)
    indices = _indices(cluster)
    policies = _policies(cluster, attached)
    return [_holding(pattern, attached.get(pattern), indices, policies) for pattern in known]


def _holding(
    pattern: str,
    mechanism: Mechanism | None,
    indices: Mapping[str, Mapping[str, Any]],
    policies: Mapping[tuple[Mechanism, str], tuple[str, int | None, int | None]],
) -> Holding:
    mine = [one for name, one in indices.items() if _is_of(name, pattern)]
    created = [int(one.get("creation.date") or 0) for one in mine]
    by = mechanism or Mechanism.NONE
    policy, shortest, longest = policies.get((by, pattern), ("", None, None))
    return Holding(
        pattern,
        by if policy or by is Mechanism.NONE else Mechanism.NONE,
        policy,
        shortest,
        longest,
        len(mine),
        sum(int(one.get("docs.count") or 0) for one in mine),
        sum(int(one.get("store.size") or 0) for one in mine),
        datetime.fromtimestamp(min(created) / 1000, UTC).isoformat(timespec="seconds") if created else "",
    )


def _is_of(index: str, pattern: str) -> bool:
    """Return whether an index, perhaps the backing index of a data stream that was shrunken, belongs to a pattern."""
    _, dash, rest = index.rpartition(".ds-")
    return fnmatchcase(rest if dash else index, pattern)


def _indices(cluster: Cluster) -> dict[str, dict[str, Any]]:
    params = {
        "format": "json",
        "bytes": "b",
        "h": "index,docs.count,store.size,creation.date",
        "expand_wildcards": "open,hidden",
    }
    try:
        found = cluster.request("GET", "/_cat/indices/logs-*,*.ds-logs-*,sigmawatch-*", params=params)
    except ResponseError as error:
        if error.status in {403, 404}:
            return {}
        raise
    return {str(one["index"]): one for one in found or ()}


def _policies(
    cluster: Cluster, attached: Mapping[str, Mechanism]
) -> dict[tuple[Mechanism, str], tuple[str, int | None, int | None]]:
    """Return policy, shortest and longest age in days of each pattern."""
    found: dict[tuple[Mechanism, str], tuple[str, int | None, int | None]] = {}
    kinds = all_kinds()
    for kind, mechanism in _ATTACHMENTS.items():
        patterns = [pattern for pattern, by in attached.items() if by is mechanism]
        if not patterns:
            continue
        try:
            live = kinds[kind].read_all(cluster, patterns)
            names = {name for body in live.values() for name in _names(body)}
            bodies = kinds[_POLICIES[mechanism]].read_all(cluster, names) if mechanism in _POLICIES else {}
        except TargetUnavailable:
            continue
        for pattern, body in live.items():
            if mechanism is Mechanism.LIFECYCLE:
                kept = _days(body.get("data_retention"))
                longest = None if kept is None else kept + automatic_age(kept)
                found[mechanism, pattern] = ("data stream lifecycle", kept, longest)
            elif isinstance(body.get("policy"), str):
                name = body["policy"]
                found[mechanism, pattern] = (name, *_ages(mechanism, bodies.get(name, {})))
            else:
                found[mechanism, pattern] = (
                    " and ".join(one or "none" for one in body["policy"]),
                    None,
                    None,
                )
    return found


def _names(body: Mapping[str, Any]) -> list[str]:
    """Return the policies that indices have."""
    policy = body.get("policy")
    return [one for one in (policy if isinstance(policy, list) else [policy]) if one]


def _ages(mechanism: Mechanism, body: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return for how many days a policy keeps events at least and at most."""
    policy = body.get("policy") or {}
    if mechanism is Mechanism.ILM:
        phases = policy.get("phases") or {}
        deleted = _days((phases.get("delete") or {}).get("min_age"))
        rollover = ((phases.get("hot") or {}).get("actions") or {}).get("rollover")
        age = _days((rollover or {}).get("max_age"))
    else:
        conditions = [
            transition.get("conditions") or {}
            for state in policy.get("states") or ()
            for transition in state.get("transitions") or ()
            if transition.get("state_name") == "delete"
        ]
        deleted = next(
            (_days(one.get("min_rollover_age") or one.get("min_index_age")) for one in conditions), None
        )
        actions = [action for state in policy.get("states") or () for action in state.get("actions") or ()]
        rollover = next((one["rollover"] for one in actions if "rollover" in one), None)
        age = _days((rollover or {}).get("min_index_age"))
    if deleted is None:
        return None, None
    if rollover is None:
        return max(deleted - MONTH, 0), deleted  # of a month: the index is older than the last of its events
    return deleted, None if age is None else deleted + age


def _days(value: Any) -> int | None:
    found = re.fullmatch(r"(\d+)d", str(value or ""))
    return int(found[1]) if found else None
