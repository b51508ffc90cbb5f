"""Data views of Kibana."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmawatch.cluster import url_path
from sigmawatch.deploy.kinds._saved_objects import SavedObjects, by_space, in_space

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sigmawatch.artifact import ArtifactKey
    from sigmawatch.cluster import Cluster, Kibana

__all__ = ["DataView"]

_USERS = {
    "dashboard": "dashboard",
    "lens": "lens",
    "map": "map",
    "search": "saved_search",
    "visualization": "visualization",
}
"""Types of objects that show data, and the kinds that deploy them."""


class DataView(SavedObjects):
    """Saved objects of type `index-pattern`."""

    name = "data_view"
    object_type = "index-pattern"
    type_version = "8.0.0"
    rank = 66

    def _delete(self, kibana: Kibana, space: str, object_id: str) -> None:
        path = url_path("api", "data_views", "data_view", object_id)
        kibana.in_space(space, "DELETE", path, ignore=(404,))

    def in_use(
        self, cluster: Cluster, ids: Collection[str], going: Collection[ArtifactKey]
    ) -> Mapping[str, str]:
        """Return which data views something of others shows."""
        leaving = {(key.kind, key.id) for key in going}
        found: dict[str, str] = {}
        for space, mine in by_space(ids).items():
            for object_id in mine:
                query = {
                    "type": list(_USERS),
                    "hasReference": [{"type": self.object_type, "id": object_id}],
                    "excludeExportDetails": True,
                }
                for user in self.exported(cluster.kibana, space, query):
                    if (_USERS[user["type"]], in_space(space, user["id"])) not in leaving:
                        title = user.get("attributes", {}).get("title") or user["id"]
                        found[in_space(space, object_id)] = f"the {user['type']} {title!r} shows it"
                        break
        return found
