"""A node over plain HTTP, for tests of what a dataset builds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import urllib3

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sigmawatch.datasets import EngineTraits

ROOT = Path(__file__).parents[2] / "ingest_pipelines"


class Server:
    """A node over plain HTTP."""

    def __init__(self, url: str, traits: EngineTraits) -> None:
        self.url = url
        self.traits = traits
        self._http = urllib3.PoolManager()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        response = self._http.request(
            method,
            f"{self.url}/{path}",
            body=body if body is None or isinstance(body, bytes) else orjson.dumps(body),
            headers={
                "content-type": "application/x-ndjson" if isinstance(body, bytes) else "application/json"
            },
        )
        answer = json.loads(response.data)  # unlike orjson, it also reads halves of characters
        assert response.status < 300, f"{method} {path}: {response.status} {response.data[:2000]!r}"
        return answer

    def simulate(self, pipeline: Mapping[str, Any], documents: Sequence[Mapping[str, Any]]) -> Sequence[Any]:
        found: Sequence[Any] = self.call(
            "POST", "_ingest/pipeline/_simulate", {"pipeline": pipeline, "docs": documents}
        )["docs"]
        return found

    def run(self, source: str, documents: Iterable[Mapping[str, Any]], **params: Any) -> list[dict[str, Any]]:
        """Return what a script makes of documents."""
        script = {"script": {"source": source, "params": params}}
        results = self.simulate({"processors": [script]}, [{"_source": document} for document in documents])
        return [result["doc"]["_source"] for result in results]
