"""Writes alerts, once each: the id says what was found, and what exists is left alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sigmawatch.alerts.document import ALERTS, SHADOW, Alert, iso_time
from sigmawatch.cluster import BulkItem, bulk
from sigmawatch.run.msearch import Search, failure_of, msearch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sigmawatch.cluster import Cluster

__all__ = ["Refused", "Written", "write_alerts"]

_EXISTS = 409
_ASKED_AT_ONCE = 200


@dataclass(frozen=True)
class Refused:
    """An alert that could not be written, and why."""

    alert: Alert
    reason: str


@dataclass(frozen=True)
class Written:
    """What became of alerts."""

    created: tuple[Alert, ...]
    existing: int
    """Alerts that had been written before."""
    refused: tuple[Refused, ...]


def write_alerts(cluster: Cluster, alerts: Sequence[Alert], *, gaps: Mapping[str, int]) -> Written:
    """Write alerts that do not exist yet, and make them visible to the next search.

    `gaps`: for the id of each correlation, its timespan in milliseconds. An event that arrives late can move
    the beginning of a burst and with it the alert's id; a burst whose alert is already there is not written
    again. Raises ClusterError when the cluster does not answer.
    """
    unique = list({(alert.index, alert.id): alert for alert in alerts}.values())
    bursts = [alert for alert in unique if _is_burst(alert, gaps)]
    reported, unclear = _reported(cluster, bursts, gaps)
    # What may have been reported is not written now; the evaluation is repeated, which costs nothing.
    kept_back = reported | {(one.alert.index, one.alert.id) for one in unclear}
    new = [alert for alert in unique if (alert.index, alert.id) not in kept_back]
    items = [BulkItem("create", alert.index, alert.id, alert.document) for alert in new]
    failures = bulk(cluster, items, refresh=True)
    failed = {(failure.item.index, failure.item.id): failure for failure in failures}
    created = [alert for alert in new if (alert.index, alert.id) not in failed]
    beaten = _take_back(cluster, [alert for alert in created if _is_burst(alert, gaps)], gaps)
    refused = [
        Refused(alert, failure.reason)
        for alert in new
        if (failure := failed.get((alert.index, alert.id))) and failure.status != _EXISTS
    ]
    return Written(
        created=tuple(alert for alert in created if (alert.index, alert.id) not in beaten),
        existing=len(reported) + len(beaten) + sum(failure.status == _EXISTS for failure in failures),
        refused=(*unclear, *refused),
    )


def _rule(alert: Alert) -> str:
    rule_id: str = alert.document["rule"]["id"]
    return rule_id


def _group(alert: Alert) -> str:
    group: str = alert.document["sigmawatch"].get("group", "")
    return group


def _kind_of(alert: Alert) -> str:
    """Return the name under which such alerts are read: those of a trial are no earlier ones of a live rule."""
    return SHADOW if alert.index.startswith(f"{SHADOW}-") else ALERTS


def _is_burst(alert: Alert, gaps: Mapping[str, int]) -> bool:
    return _rule(alert) in gaps and bool(_group(alert))


def _reported(
    cluster: Cluster, bursts: Sequence[Alert], gaps: Mapping[str, int]
) -> tuple[set[tuple[str, str]], list[Refused]]:
    """Return the bursts that have an alert already, and those of which that cannot be told."""
    reported: set[tuple[str, str]] = set()
    unclear: list[Refused] = []
    for batch in _batches(bursts):
        searches = [Search((f"{_kind_of(alert)}-*",), _same_burst(alert, gaps)) for alert in batch]
        for alert, answer in zip(batch, msearch(cluster, searches), strict=True):
            failure = failure_of(answer)
            if _hits(answer):
                reported.add((alert.index, alert.id))
            elif failure is not None:
                unclear.append(Refused(alert, f"earlier alerts cannot be searched: {failure}"))
    return reported, unclear


def _take_back(cluster: Cluster, created: Sequence[Alert], gaps: Mapping[str, int]) -> set[tuple[str, str]]:
    """Delete those alerts just created whose burst another runner reported at the same moment.

    Two runners that see different events of a burst, because some came in between, give its alert different
    ids. Both looked for the other's before either wrote. Of two in one index the later one finds the earlier.
    """
    beaten: dict[tuple[str, str], Alert] = {}
    for batch in _batches(created):
        searches = [
            Search((alert.index,), _same_burst(alert, gaps) | {"sort": [{"_seq_no": "asc"}]})
            for alert in batch
        ]
        for alert, answer in zip(batch, msearch(cluster, searches), strict=True):
            hits = _hits(answer)
            if hits and hits[0]["_id"] != alert.id:
                beaten[(alert.index, alert.id)] = alert
    bulk(cluster, [BulkItem("delete", alert.index, alert.id) for alert in beaten.values()], refresh=True)
    return set(beaten)


def _hits(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    hits: list[dict[str, Any]] = (answer.get("hits") or {}).get("hits") or []
    return hits


def _batches(alerts: Sequence[Alert]) -> Iterator[Sequence[Alert]]:
    for start in range(0, len(alerts), _ASKED_AT_ONCE):
        yield alerts[start : start + _ASKED_AT_ONCE]


def _same_burst(alert: Alert, gaps: Mapping[str, int]) -> dict[str, Any]:
    """Return the search for an alert of the same burst.

    A burst is a run of firings with less than a timespan between neighbours. So another alert of the group is
    about the same one exactly if its firings and these overlap or come that near to each other.
    """
    gap = gaps[_rule(alert)]
    before = {"gt": iso_time(_milliseconds(alert.document["@timestamp"]) - gap)}
    after = {"lt": iso_time(_milliseconds(alert.document["event"]["end"]) + gap)}
    filters: list[dict[str, Any]] = [
        {"term": {"sigmawatch.group": _group(alert)}},
        {"range": {"event.end": before}},
        {"range": {"@timestamp": after}},
    ]
    return {"size": 1, "_source": False, "track_total_hits": False, "query": {"bool": {"filter": filters}}}


def _milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
