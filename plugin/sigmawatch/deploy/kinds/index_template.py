"""Composable index templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.artifact import ArtifactKey
from sigmawatch.cluster import url_path
from sigmawatch.deploy.kind import Body, Kind, Write
from sigmawatch.deploy.kinds._shapes import marked, marks_in, normal_template, put_template, unmarked

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sigmawatch.cluster import Cluster, ClusterInfo

__all__ = ["IndexTemplate"]

_DATA_STREAM_DEFAULTS: dict[str, Any] = {
    "hidden": False,
    "allow_custom_routing": False,
    "timestamp_field": {"name": "@timestamp"},  # OpenSearch
}


class IndexTemplate(Kind):
    """`_index_template`."""

    name = "index_template"
    rank = 30

    def read_all(self, cluster: Cluster, ids: Iterable[str]) -> Mapping[str, Body]:
        """Read all index templates at once."""
        wanted = set(ids)
        answer = cluster.request("GET", "/_index_template", ignore=(404,)) or {}
        found = {one["name"]: one["index_template"] for one in answer.get("index_templates", ())}
        return {name: body for name, body in found.items() if name in wanted}

    def read(self, cluster: Cluster, artifact_id: str) -> Body | None:
        """Read one by its name."""
        answer = cluster.request("GET", url_path("_index_template", artifact_id), ignore=(404,)) or {}
        return next((each["index_template"] for each in answer.get("index_templates", ())), None)

    def write(self, cluster: Cluster, one: Write) -> None:
        """Replace the index template; mappings of all its parts together are checked."""
        put_template(self, cluster, url_path("_index_template", one.id), one)

    def delete(self, cluster: Cluster, artifact_id: str) -> None:
        """Delete the index template; refused while a data stream uses it."""
        cluster.request("DELETE", url_path("_index_template", artifact_id), ignore=(404,))

    def in_use(
        self, cluster: Cluster, ids: Collection[str], going: Collection[ArtifactKey]
    ) -> Mapping[str, str]:
        """Return the templates of data streams that stay: servers refuse to delete those."""
        if not cluster.features().has_data_streams:
            return {}
        params = {"filter_path": "data_streams.name,data_streams.template"}
        answer = cluster.request("GET", "/_data_stream", params=params) or {}
        return {
            one["template"]: f"the data stream {one['name']} uses it"
            for one in answer.get("data_streams", ())
            if one.get("template") in ids and ArtifactKey("data_stream", one["name"]) not in going
        }

    def normalise(self, body: Mapping[str, Any]) -> Body:
        """Flatten settings; leave out marks, empty parts and the defaults of `data_stream`."""
        copy = unmarked(body)
        copy["template"] = normal_template(copy.get("template"))
        if isinstance(copy.get("index_patterns"), str):
            copy["index_patterns"] = [copy["index_patterns"]]
        stream = copy.get("data_stream")
        if isinstance(stream, dict):
            copy["data_stream"] = {
                key: value for key, value in stream.items() if value != _DATA_STREAM_DEFAULTS.get(key, ...)
            }
        for key in ("template", "composed_of", "ignore_missing_component_templates"):
            if key in copy and not copy[key]:
                del copy[key]
        return copy

    def mark(self, body: Mapping[str, Any], marks: Mapping[str, str], info: ClusterInfo) -> Body:
        """Mark in `_meta`."""
        del info
        return marked(body, marks)

    def marks_of(self, body: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the marks in `_meta`."""
        return marks_in(body)
