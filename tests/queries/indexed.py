"""A cluster with what searches ask: the scripts they refer to, and an index of a test's documents."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson

from sigmawatch.cluster import Cluster, ConnectionSettings, connect
from sigmawatch.render.scripts import script_artifacts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def store_scripts(cluster: Cluster) -> None:
    """Store the scripts that searches refer to."""
    for artifact in script_artifacts(watcher=False):
        cluster.request("PUT", f"/_scripts/{artifact.id}", artifact.body)


@contextmanager
def indexed(url: str, index: str, body: Mapping[str, Any], documents: Mapping[str, Any]) -> Iterator[Cluster]:
    """Store the scripts, and documents by their ids in an index of this body, which is removed afterwards."""
    with connect(ConnectionSettings(url)) as cluster:
        store_scripts(cluster)
        cluster.request("PUT", f"/{index}", dict(body))
        lines = []
        for identifier, document in documents.items():
            lines += [orjson.dumps({"create": {"_id": identifier}}), orjson.dumps(document)]
        path = f"/{index}/_bulk"
        answer = cluster.request("POST", path, b"\n".join(lines) + b"\n", params={"refresh": "true"})
        assert not answer["errors"], answer
        yield cluster
        cluster.request("DELETE", f"/{index}")
