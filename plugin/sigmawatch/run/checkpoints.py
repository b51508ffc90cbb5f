"""How far each detection is evaluated, kept in the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmawatch.cluster import BulkItem, bulk, url_path
from sigmawatch.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmawatch.cluster import Cluster

__all__ = ["CHECKPOINTS", "Checkpoints"]

CHECKPOINTS = "sigmawatch-checkpoints"
"""One document per detection: `evaluated` is the moment (epoch milliseconds) up to which it is done."""

_INDEX = {
    "settings": {"number_of_shards": 1, "auto_expand_replicas": "0-1", "hidden": True},
    "mappings": {"dynamic": False, "properties": {"evaluated": {"type": "long"}}},
}
_EXISTS = 409


class Checkpoints:
    """The checkpoints of all detections, as last read or written."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: dict[str, int] = {}
        self._prepared = False

    def read(self) -> None:
        """Read all of them: another runner may have been faster."""
        found = {hit["_id"]: hit["_source"].get("evaluated") for hit in self._cluster.scan(CHECKPOINTS)}
        self._known = {rule: moment for rule, moment in found.items() if isinstance(moment, int)}

    def get(self, rule: str) -> int | None:
        """Return the moment up to which a detection is evaluated, None if it never was."""
        return self._known.get(rule)

    def begin(self, moments: Mapping[str, int]) -> None:
        """Note where detections begin that were never evaluated, so that not even their first look is lost."""
        self._write(
            [BulkItem("create", CHECKPOINTS, rule, {"evaluated": to}) for rule, to in moments.items()]
        )
        self._known = {**moments, **self._known}

    def save(self, moments: Mapping[str, int]) -> None:
        """Note that detections are evaluated. Their alerts must be written before."""
        self._write([BulkItem("index", CHECKPOINTS, rule, {"evaluated": to}) for rule, to in moments.items()])
        self._known.update(moments)

    def _write(self, items: list[BulkItem]) -> None:
        if not items:
            return
        if not self._prepared:
            if not self._cluster.request("HEAD", url_path(CHECKPOINTS)):
                self._cluster.request("PUT", url_path(CHECKPOINTS), _INDEX, ignore=(400,))
            self._prepared = True
        failures = [one for one in bulk(self._cluster, items, refresh=True) if one.status != _EXISTS]
        if failures:
            raise ClusterError(f"checkpoints cannot be written: {failures[0]}")
