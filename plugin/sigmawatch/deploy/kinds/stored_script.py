"""Stored scripts and stored search templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.artifact import ArtifactKey, canonical_json
from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.deploy.kind import Body, Kind, Write
from sigmawatch.deploy.kinds._shapes import called_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sigmawatch.cluster import Cluster

__all__ = ["StoredScript"]


class StoredScript(Kind):
    """`_scripts`. There is no place for marks and no API that lists them, except the cluster state."""

    name = "stored_script"
    rank = 10

    def read_all(self, cluster: Cluster, ids: Iterable[str]) -> Mapping[str, Body]:
        """Read from the cluster state in one request, and one by one what is not shown there.

        The state may be withheld (privilege `monitor`, Serverless) or empty, so absence there proves nothing.
        """
        found: dict[str, Body] = {}
        try:
            state = cluster.request(
                "GET", "/_cluster/state/metadata", params={"filter_path": "metadata.stored_scripts"}
            )
        except ResponseError:
            state = {}
        stored = ((state or {}).get("metadata") or {}).get("stored_scripts") or {}
        for script_id in ids:
            script = stored.get(script_id)
            if script is None:
                answer = cluster.request("GET", url_path("_scripts", script_id), ignore=(404,)) or {}
                script = answer.get("script")
            if script is not None:
                found[script_id] = {"script": script}
        return found

    def read(self, cluster: Cluster, artifact_id: str) -> Body | None:
        """Read one by its name."""
        answer = cluster.request("GET", url_path("_scripts", artifact_id), ignore=(404,)) or {}
        return {"script": answer["script"]} if "script" in answer else None

    def write(self, cluster: Cluster, one: Write) -> None:
        """Replace the script; it is compiled, and refused when it is wrong."""
        self.look(cluster, one)
        cluster.request("PUT", url_path("_scripts", one.id), one.body)

    def delete(self, cluster: Cluster, artifact_id: str) -> None:
        """Delete the script; nothing stops that while it is in use."""
        cluster.request("DELETE", url_path("_scripts", artifact_id), ignore=(404,))

    def in_use(
        self, cluster: Cluster, ids: Collection[str], going: Collection[ArtifactKey]
    ) -> Mapping[str, str]:
        """Return the scripts of pipelines that stay: nothing else stops their deletion."""
        pipelines = cluster.request("GET", "/_ingest/pipeline", ignore=(404,)) or {}
        return {
            script: f"the pipeline {name} uses it"
            for name, body in pipelines.items()
            if ArtifactKey("ingest_pipeline", name) not in going
            for script in called_names(body, "script", "id")
            if script in ids
        }

    def normalise(self, body: Mapping[str, Any]) -> Body:
        """Return language and source; a source given as an object is stored as its JSON text."""
        script = dict(body.get("script") or {})
        options = {
            key: value for key, value in (script.pop("options", None) or {}).items() if key != "content_type"
        }
        if isinstance(script.get("source"), dict):
            script["source"] = canonical_json(script["source"]).decode()
        return {"script": {**script, **({"options": options} if options else {})}}
