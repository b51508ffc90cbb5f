"""Retention as the bodies that clusters take: policies of ILM and of ISM, lifecycles of data streams.

Ages count from the rollover in all three. Sources: "Index lifecycle" and "Data stream lifecycle" of Elasticsearch's
reference; "Index State Management" of OpenSearch's, and its plugin's source for what shrinking does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmawatch.retention.values import Retention

__all__ = [
    "ISM_PRIORITY",
    "PRIORITIES",
    "ilm_policy",
    "ilm_until",
    "ism_policy",
    "ism_until",
    "lifecycle",
    "unserved",
]

ISM_PRIORITY = 250
"""Of the policies that take indices by their names: two of one priority must not match the same."""

PRIORITIES = {"hot": 100, "warm": 50, "cold": 0}
"""After a restart the indices that are written and searched most come back first."""


def ilm_policy(retention: Retention) -> dict[str, Any]:
    """Return the body of an ILM policy for a data stream."""
    rollover = {
        "max_age": f"{retention.rollover_age}d",
        "max_primary_shard_size": retention.rollover.max_primary_shard_size,
    }
    phases: dict[str, Any] = {"hot": _phase(0, "hot", rollover=rollover)}
    if retention.warm is not None:
        # Events that are late go to the newest index: what is warm is never written again.
        actions: dict[str, Any] = {"readonly": {}, "forcemerge": {"max_num_segments": 1}}
        if retention.shrink is not None:
            actions["shrink"] = {"number_of_shards": retention.shrink}
        phases["warm"] = _phase(retention.warm, "warm", **actions)
    if retention.cold is not None:
        phases["cold"] = _phase(retention.cold, "cold", readonly={})
    if retention.delete is not None:
        phases["delete"] = {"min_age": f"{retention.delete}d", "actions": {"delete": {}}}
    return {"policy": {"phases": phases}}


def ilm_until(days: int | None) -> dict[str, Any]:
    """Return the body of an ILM policy for indices that end by themselves, such as those of a month.

    `days`: deleted so long after they were created; None: never.
    """
    phases: dict[str, Any] = {"hot": _phase(0, "hot")}
    if days is not None:
        phases["delete"] = {"min_age": f"{days}d", "actions": {"delete": {}}}
    return {"policy": {"phases": phases}}


def _phase(age: int, name: str, **actions: Any) -> dict[str, Any]:
    return {
        "min_age": f"{age}d" if age else "0ms",
        "actions": {"set_priority": {"priority": PRIORITIES[name]}, **actions},
    }


def ism_policy(retention: Retention, pattern: str, priority: int = ISM_PRIORITY) -> dict[str, Any]:
    """Return the body of an ISM policy for the data streams that `pattern` matches."""
    rollover = {
        "min_index_age": f"{retention.rollover_age}d",
        "min_primary_shard_size": retention.rollover.max_primary_shard_size,
    }
    states = [("hot", 0, [{"rollover": rollover}])]
    if retention.warm is not None:
        actions: list[dict[str, Any]] = [{"read_only": {}}, {"force_merge": {"max_num_segments": 1}}]
        states.append(("warm", retention.warm, actions))
    if retention.cold is not None:
        states.append(("cold", retention.cold, [{"read_only": {}}]))
    if retention.delete is not None:
        states.append(("delete", retention.delete, [{"delete": {}}]))
    # Of an index that was not rolled over this asks nothing: it is left only when the rollover is done.
    return _ism(pattern, priority, states, "min_rollover_age")


def ism_until(days: int | None, pattern: str, priority: int = ISM_PRIORITY) -> dict[str, Any]:
    """Return the body of an ISM policy for indices that end by themselves; `days` as for `ilm_until`."""
    states: list[tuple[str, int, list[dict[str, Any]]]] = [("hot", 0, [])]
    if days is not None:
        states.append(("delete", days, [{"delete": {}}]))
    return _ism(pattern, priority, states, "min_index_age")


def _ism(
    pattern: str, priority: int, states: list[tuple[str, int, list[dict[str, Any]]]], age: str
) -> dict[str, Any]:
    bodies: list[dict[str, Any]] = []
    for (name, _, actions), following in zip(states, [*states[1:], None], strict=True):
        recovered = [{"index_priority": {"priority": PRIORITIES[name]}}] if name in PRIORITIES else []
        transitions = (
            [{"state_name": following[0], "conditions": {age: f"{following[1]}d"}}] if following else []
        )
        bodies.append({"name": name, "actions": [*recovered, *actions], "transitions": transitions})
    return {
        "policy": {
            "description": f"sigmawatch: how long {pattern} is kept",
            "default_state": states[0][0],
            "ism_template": [{"index_patterns": [pattern], "priority": priority}],
            "states": bodies,
        }
    }


def lifecycle(retention: Retention) -> dict[str, Any]:
    """Return the lifecycle of a data stream. Without a retention it is rolled over and merged, and kept for ever."""
    body: dict[str, Any] = {"enabled": True}
    if retention.delete is not None:
        body["data_retention"] = f"{retention.delete}d"
    return body


def unserved(retention: Retention, mechanism: str) -> Iterator[str]:
    """Yield what of a retention a mechanism cannot do. None of it changes how long anything is kept."""
    if mechanism == "lifecycle":
        if retention.warm is not None or retention.cold is not None:
            yield "no warm or cold phase: a data stream lifecycle merges after each rollover, and knows no tiers"
        if retention.rollover.max_age is not None:
            yield "rollover.max_age: the cluster decides (cluster.lifecycle.default.rollover)"
    if mechanism != "ilm" and retention.shrink is not None:
        # The plugin's shrink fails for an index of one shard, and leaves the stream without its new index.
        yield "shrink: only ILM puts a shrunken index back into its data stream"
