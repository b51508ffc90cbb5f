"""Composable index templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.artifact import ArtifactKey
from sigmawatch.deploy.kinds._templates import Template

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sigmawatch.cluster import Cluster
    from sigmawatch.deploy.kind import Body

__all__ = ["IndexTemplate"]

_DATA_STREAM_DEFAULTS: dict[str, Any] = {
    "hidden": False,
    "allow_custom_routing": False,
    "timestamp_field": {"name": "@timestamp"},  # OpenSearch
}


class IndexTemplate(Template):
    """`_index_template`; the mappings of all its parts together are checked when it is written."""

    name = "index_template"
    rank = 30

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
        copy = super().normalise(body)
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
