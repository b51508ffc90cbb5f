"""The cluster itself: what it is, whether it is well, whether its clocks and disks are."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from sigmawatch.bundle import choose_target
from sigmawatch.cluster import ResponseError
from sigmawatch.doctor.findings import Finding, Verdict
from sigmawatch.errors import ClusterError, TargetUnavailable
from sigmawatch.render.target import Target
from sigmawatch.retention import Mechanism, SiteRetention, choose_mechanism

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sigmawatch.cluster import Cluster

__all__ = ["check_surroundings"]

SKEW = 5.0
"""Seconds by which clocks may differ. Windows are cut by the runner's clock and events stamped by others'."""

_DEFAULTS = {"low": "85%", "high": "90%", "flood_stage": "95%"}
_UNITS = {"b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40, "pb": 1 << 50}


def check_surroundings(
    cluster: Cluster, *, target: Target | None, clock: Callable[[], float] = time.time
) -> Iterator[Finding]:
    """Yield what there is to say about a cluster. Raises ClusterError only when it does not answer at all."""
    yield _version(cluster)
    yield _target(cluster, target)
    yield _retention(cluster)
    for name, check in (
        ("health", _health),
        ("clocks", lambda cluster: _clocks(cluster, clock)),
        ("disks", _disks),
        ("blocks", _blocks),
    ):
        try:
            yield check(cluster)
        except ResponseError as error:
            yield Finding(name, Verdict.UNKNOWN, f"not told: {error.message}", error.hint)


def _version(cluster: Cluster) -> Finding:
    features = cluster.features()
    licence = f", licence {features.licence}" if features.licence else ""
    return Finding("cluster", Verdict.FINE, f"{cluster.info} at {cluster.url}{licence}")


def _target(cluster: Cluster, wanted: Target | None) -> Finding:
    features = cluster.features()
    try:
        chosen = choose_target(wanted, features)
    except TargetUnavailable as error:
        return Finding("target", Verdict.PROBLEM, error.message, error.hint)
    if chosen is Target.KIBANA:
        try:
            kibana = cluster.kibana
            kibana.require_detection_engine(kibana.space)
        except ClusterError as error:
            return Finding("target", Verdict.PROBLEM, error.message, error.hint)
    reason = features.why_not("watcher") if chosen is Target.RUNNER else ""
    details = (reason,) if reason else ()
    return Finding("target", Verdict.FINE, f"detections are executed by {chosen.executor}", details=details)


def _retention(cluster: Cluster) -> Finding:
    """Say who in the cluster can keep and delete events; what a site wants of it is for the plan to refuse."""
    features = cluster.features()
    mechanism = choose_mechanism(SiteRetention(), features)
    if mechanism is not Mechanism.NONE:
        return Finding("retention", Verdict.FINE, f"indices are rolled over and deleted by {mechanism}")
    kept = "data_streams", "ilm" if cluster.info.distribution == "elasticsearch" else "ism"
    reasons = tuple(filter(None, (features.why_not(name) for name in kept)))
    hint = "Disks fill until somebody deletes: see docs/retention.md."
    return Finding("retention", Verdict.WARNING, "nobody here rolls over or deletes indices", hint, reasons)


def _health(cluster: Cluster) -> Finding:
    found = cluster.request("GET", "/_cluster/health")
    status = str(found["status"])
    nodes, shards = found["number_of_nodes"], found["unassigned_shards"]
    told = f"{status}, {nodes} node{'' if nodes == 1 else 's'}"
    if shards:
        told += f", {shards} shards without a node"
    if status == "red":
        return Finding(
            "health", Verdict.PROBLEM, told, "Some data cannot be searched: detections miss events."
        )
    # One node has nowhere to put replicas, and nothing is wrong with that.
    lonely = nodes == 1
    return Finding("health", Verdict.FINE if status == "green" or lonely else Verdict.WARNING, told)


def _clocks(cluster: Cluster, clock: Callable[[], float]) -> Finding:
    before = clock()
    params = {"filter_path": "nodes.*.name,nodes.*.timestamp"}
    nodes = cluster.request("GET", "/_nodes/stats/fs", params=params)["nodes"]
    after = clock()
    # A node took its time somewhere between our two readings: only what lies outside of them is a difference.
    skews = {}
    for node in nodes.values():
        moment = node["timestamp"] / 1000
        skews[str(node.get("name", "?"))] = max(before - moment, moment - after, 0.0)
    worst = max(skews.values(), default=0.0)
    if worst <= SKEW:
        return Finding("clocks", Verdict.FINE, f"agree with this machine's to {worst:.1f} s")
    details = tuple(f"{name}: {skew:.0f} s" for name, skew in sorted(skews.items()) if skew > SKEW)
    return Finding(
        "clocks",
        Verdict.PROBLEM,
        f"differ by {worst:.0f} s from this machine's",
        "Let all of them follow NTP: windows are cut by these clocks.",
        details,
    )


def _disks(cluster: Cluster) -> Finding:
    marks = _watermarks(cluster)
    if not marks:
        return Finding(
            "disks", Verdict.FINE, "the cluster does not look at them (its watermarks are switched off)"
        )
    params = {"filter_path": "nodes.*.name,nodes.*.fs.total"}
    nodes = cluster.request("GET", "/_nodes/stats/fs", params=params)["nodes"]
    told: list[tuple[int, str]] = []
    for node in nodes.values():
        total = node["fs"]["total"]
        size, free = int(total["total_in_bytes"]), int(total["available_in_bytes"])
        used = 100 - 100 * free / size if size else 0.0
        reached = [name for name, mark in marks.items() if size and free < _must_be_free(mark, size)]
        line = f"{node.get('name', '?')}: {used:.0f} % used"
        told.append((len(reached), f"{line}, beyond the {reached[-1]} watermark" if reached else line))
    worst = max((level for level, _ in told), default=0)
    details = tuple(line for level, line in told if level)
    if worst == 0:
        return Finding("disks", Verdict.FINE, "below every watermark")
    if worst < len(_DEFAULTS):
        return Finding(
            "disks", Verdict.WARNING, "nearly full", "Free space before indices turn read-only.", details
        )
    hint = "Indices with shards there turn read-only: no alerts are written. Free space."
    return Finding("disks", Verdict.PROBLEM, "full (flood stage)", hint, details)


def _watermarks(cluster: Cluster) -> dict[str, str]:
    prefix = "cluster.routing.allocation.disk."
    params = {"include_defaults": "true", "flat_settings": "true"}
    answer = cluster.request("GET", "/_cluster/settings", params=params)
    settings = {**answer.get("defaults", {}), **answer.get("persistent", {}), **answer.get("transient", {})}
    if str(settings.get(f"{prefix}threshold_enabled", "true")) == "false":
        return {}
    return {name: str(settings.get(f"{prefix}watermark.{name}") or mark) for name, mark in _DEFAULTS.items()}


def _must_be_free(mark: str, size: int) -> float:
    """Return the bytes below which a watermark is reached; one is a share that is used, or bytes that are free."""
    if mark.endswith("%"):
        return size * (1 - float(mark[:-1]) / 100)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgtp]?b)", mark.strip().lower())
    if found:
        return float(found[1]) * _UNITS[found[2]]
    try:
        return size * (1 - float(mark))  # a ratio, e.g. 0.85
    except ValueError:
        return 0.0


def _blocks(cluster: Cluster) -> Finding:
    params: dict[str, Any] = {
        "expand_wildcards": "all",
        "ignore_unavailable": "true",
        "allow_no_indices": "true",
        "filter_path": "*.settings.index.blocks",
    }
    found = cluster.request("GET", "/sigmawatch-*,logs-*/_settings", params=params) or {}
    blocked = [
        f"{index}: {name}"
        for index, settings in sorted(found.items())
        for name, value in settings["settings"]["index"]["blocks"].items()
        if str(value) == "true"
    ]
    if not blocked:
        return Finding("blocks", Verdict.FINE, "no index of ours is read-only")
    hint = "After a full disk the block goes away by itself; others are set in index.blocks.*."
    return Finding("blocks", Verdict.PROBLEM, f"{len(blocked)} blocks on indices", hint, tuple(blocked))
