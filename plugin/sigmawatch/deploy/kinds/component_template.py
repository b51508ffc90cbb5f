"""Component templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.artifact import ArtifactKey
from sigmawatch.cluster import url_path
from sigmawatch.deploy.kind import Body, Kind, Write
from sigmawatch.deploy.kinds._shapes import marked, marks_in, normal_template, put_template, unmarked

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from sigmawatch.cluster import Cluster, ClusterInfo

__all__ = ["ComponentTemplate"]


class ComponentTemplate(Kind):
    """`_component_template`. Settings come back nested under `index`, every value as text."""

    name = "component_template"
    rank = 10

    def read_all(self, cluster: Cluster, ids: Iterable[str]) -> Mapping[str, Body]:
        """Read all component templates at once."""
        wanted = set(ids)
        answer = cluster.request("GET", "/_component_template", ignore=(404,)) or {}
        found = {one["name"]: one["component_template"] for one in answer.get("component_templates", ())}
        return {name: body for name, body in found.items() if name in wanted}

    def read(self, cluster: Cluster, artifact_id: str) -> Body | None:
        """Read one by its name."""
        answer = cluster.request("GET", url_path("_component_template", artifact_id), ignore=(404,)) or {}
        return next((each["component_template"] for each in answer.get("component_templates", ())), None)

    def write(self, cluster: Cluster, one: Write) -> None:
        """Replace the component template."""
        put_template(self, cluster, url_path("_component_template", one.id), one)

    def delete(self, cluster: Cluster, artifact_id: str) -> None:
        """Delete the component template; refused while an index template is composed of it."""
        cluster.request("DELETE", url_path("_component_template", artifact_id), ignore=(404,))

    def in_use(
        self, cluster: Cluster, ids: Collection[str], going: Collection[ArtifactKey]
    ) -> Mapping[str, str]:
        """Return what index templates that stay are composed of: servers refuse to delete those."""
        params = {"filter_path": "index_templates.name,index_templates.index_template.composed_of"}
        answer = cluster.request("GET", "/_index_template", params=params) or {}
        return {
            component: f"the index template {one['name']} is composed of it"
            for one in answer.get("index_templates", ())
            if ArtifactKey("index_template", one["name"]) not in going
            for component in one["index_template"].get("composed_of", ())
            if component in ids
        }

    def normalise(self, body: Mapping[str, Any]) -> Body:
        """Flatten settings and leave out marks."""
        copy = unmarked(body)
        copy["template"] = normal_template(copy.get("template"))
        return copy

    def mark(self, body: Mapping[str, Any], marks: Mapping[str, str], info: ClusterInfo) -> Body:
        """Mark in `_meta`."""
        del info
        return marked(body, marks)

    def marks_of(self, body: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the marks in `_meta`."""
        return marks_in(body)
