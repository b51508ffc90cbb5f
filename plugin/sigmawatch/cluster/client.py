"""A cluster: what it is, what it can do, and the Kibana that belongs to it."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sigmawatch.cluster.connection import Connection, url_path
from sigmawatch.cluster.features import Features, probe
from sigmawatch.cluster.info import ClusterInfo, parse_info
from sigmawatch.cluster.kibana import Kibana
from sigmawatch.cluster.node import CompatibleNode
from sigmawatch.cluster.retry import RetryPolicy
from sigmawatch.errors import TargetUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sigmawatch.cluster.settings import ConnectionSettings

__all__ = ["Cluster", "connect", "url_path"]


def connect(
    settings: ConnectionSettings,
    *,
    node_class: type[CompatibleNode] = CompatibleNode,
    retry: RetryPolicy | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Cluster:
    """Return a client for a cluster; nothing is sent before the first request.

    `node_class`, `retry` and `sleep` are the seams for tests.
    """
    return Cluster(settings, node_class=node_class, retry=retry or RetryPolicy(), sleep=sleep)


class Cluster(Connection):
    """A cluster of any supported product. Safe to use from several threads."""

    @property
    def info(self) -> ClusterInfo:
        """What the cluster is; asked once. Raises ClusterError when it is nothing that we support."""
        with self._asking:
            return self._info

    @cached_property
    def _info(self) -> ClusterInfo:
        return parse_info(self.request("GET", "/"), self.url)

    def features(self) -> Features:
        """What the cluster can do; asked once."""
        with self._asking:
            return self._features

    @cached_property
    def _features(self) -> Features:
        return probe(self)

    @property
    def kibana(self) -> Kibana:
        """The Kibana of the cluster. Raises TargetUnavailable where none is configured."""
        with self._asking:
            return self._kibana

    @cached_property
    def _kibana(self) -> Kibana:
        if self.settings.kibana is None:
            raise TargetUnavailable(
                "no Kibana is configured",
                hint="Set SIGMAWATCH_KIBANA_URL, or `kibana: {url: …, space: …}` in the environment.",
            )
        return Kibana(self.settings.kibana, node_class=self._node_class, retry=self._retry, sleep=self._sleep)

    def close(self) -> None:
        """Close all connections."""
        if "_kibana" in self.__dict__:
            self._kibana.close()
        super().close()

    def scan(
        self,
        index: str,
        query: Mapping[str, Any] | None = None,
        *,
        source: bool | Sequence[str] = True,
        size: int = 1_000,
    ) -> Iterator[dict[str, Any]]:
        """Yield every hit of a search, as of its start, in no order. A missing index has no hits.

        By scroll, which both products have unchanged; the server keeps it for two minutes after each page.
        """
        body = {"size": size, "query": query or {"match_all": {}}, "sort": ["_doc"], "_source": source}
        params = {"scroll": "2m", "ignore_unavailable": "true", "allow_no_indices": "true"}
        page = self.request("POST", f"{url_path(index)}/_search", body, params=params)
        scroll_id = page.get("_scroll_id")
        try:
            while hits := page["hits"]["hits"]:
                yield from hits
                if len(hits) < size:
                    break
                # Not sent again: a page that got lost on the way back would be skipped.
                page = self.request(
                    "POST", "/_search/scroll", {"scroll": "2m", "scroll_id": scroll_id}, idempotent=False
                )
                scroll_id = page.get("_scroll_id", scroll_id)
        finally:
            if scroll_id:
                self.request("DELETE", "/_search/scroll", {"scroll_id": [scroll_id]}, ignore=(404,))
