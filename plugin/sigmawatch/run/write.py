"""Writes alerts, once each: the id says what was found, and what exists is left alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from sigmawatch.alerts.document import ALERTS, Alert
from sigmawatch.cluster import BulkItem, bulk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmawatch.cluster import Cluster

__all__ = ["Written", "write_alerts"]

_EXISTS = 409
_ASKED_AT_ONCE = 200


@dataclass(frozen=True)
class Written:
    """What became of alerts."""

    created: tuple[Alert, ...]
    existing: int
    """Alerts that had been written before."""
    failed: tuple[str, ...]
    """Why the cluster refused others."""


def write_alerts(cluster: Cluster, alerts: Sequence[Alert], *, gaps: dict[str, int]) -> Written:
    """Write alerts that do not exist yet, and make them visible to the next search.

    `gaps`: for the id of each correlation, its timespan in milliseconds. An event that arrives late can move
    the beginning of a burst and with it the alert's id; a burst whose alert is already there within that time
    is the same one. Raises ClusterError when the cluster does not answer.
    """
    unique = list({(alert.index, alert.id): alert for alert in alerts}.values())
    known = _known_bursts(cluster, unique, gaps)
    new = [alert for alert in unique if (alert.index, alert.id) not in known]
    items = [BulkItem("create", alert.index, alert.id, alert.document) for alert in new]
    failures = bulk(cluster, items, refresh=True)
    refused = {(failure.item.index, failure.item.id): failure for failure in failures}
    return Written(
        created=tuple(alert for alert in new if (alert.index, alert.id) not in refused),
        existing=len(known) + sum(failure.status == _EXISTS for failure in failures),
        failed=tuple(str(failure) for failure in failures if failure.status != _EXISTS),
    )


def _known_bursts(cluster: Cluster, alerts: Sequence[Alert], gaps: dict[str, int]) -> set[tuple[str, str]]:
    bursts = [alert for alert in alerts if alert.document["rule"]["id"] in gaps and _group(alert)]
    known: set[tuple[str, str]] = set()
    for start in range(0, len(bursts), _ASKED_AT_ONCE):
        batch = bursts[start : start + _ASKED_AT_ONCE]
        lines = []
        for alert in batch:
            header = {"index": f"{ALERTS}-*", "ignore_unavailable": True, "allow_no_indices": True}
            lines += [orjson.dumps(header), orjson.dumps(_same_burst(alert, gaps))]
        answer = cluster.request("POST", "/_msearch", b"\n".join(lines) + b"\n")
        for alert, response in zip(batch, answer["responses"], strict=True):
            hits = (response.get("hits") or {}).get("hits") or []
            if hits:
                known.add((alert.index, alert.id))
    return known


def _group(alert: Alert) -> str:
    group: str = alert.document["sigmawatch"].get("group", "")
    return group


def _same_burst(alert: Alert, gaps: dict[str, int]) -> dict[str, Any]:
    gap = gaps[alert.document["rule"]["id"]]
    at = alert.document["@timestamp"]
    return {
        "size": 1,
        "_source": False,
        "query": {
            "bool": {
                "filter": [
                    {"term": {"sigmawatch.group": _group(alert)}},
                    {
                        "range": {
                            "@timestamp": {"gt": f"{at}||-{gap // 1000}s", "lt": f"{at}||+{gap // 1000}s"}
                        }
                    },
                ]
            }
        },
    }
