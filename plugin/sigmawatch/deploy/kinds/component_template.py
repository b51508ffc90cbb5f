"""Component templates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmawatch.artifact import ArtifactKey
from sigmawatch.deploy.kinds._templates import Template

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sigmawatch.cluster import Cluster

__all__ = ["ComponentTemplate"]


class ComponentTemplate(Template):
    """`_component_template`."""

    name = "component_template"
    rank = 10

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
