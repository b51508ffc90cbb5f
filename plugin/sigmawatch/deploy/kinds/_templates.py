"""What component and index templates have in common: their API is the same, by two names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.deploy.kind import Body, Kind, Write
from sigmawatch.deploy.kinds._shapes import flat_settings, marked, marks_in, unmarked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sigmawatch.cluster import Cluster, ClusterInfo

__all__ = ["Template"]


class Template(Kind):
    """`_component_template` or `_index_template`. Settings come back nested under `index`, every value as text."""

    def _read(self, cluster: Cluster, *names: str) -> dict[str, Body]:
        path = url_path(f"_{self.name}", *names)
        answer = cluster.request("GET", path, ignore=(404,)) or {}
        return {one["name"]: one[self.name] for one in answer.get(f"{self.name}s", ())}

    def read_all(self, cluster: Cluster, ids: Iterable[str]) -> Mapping[str, Body]:
        """Read all templates at once."""
        wanted = set(ids)
        return {name: body for name, body in self._read(cluster).items() if name in wanted}

    def read(self, cluster: Cluster, artifact_id: str) -> Body | None:
        """Read one by its name."""
        return self._read(cluster, artifact_id).get(artifact_id)

    def write(self, cluster: Cluster, one: Write) -> None:
        """Create or replace the template; the server refuses (`create`) to make a new one where there is one."""
        path = url_path(f"_{self.name}", one.id)
        if one.is_new:
            try:
                cluster.request("PUT", path, one.body, params={"create": "true"})
            except ResponseError as error:
                if "already exists" not in error.reason:
                    raise
            else:
                return
        self.look(cluster, one)
        cluster.request("PUT", path, one.body)

    def delete(self, cluster: Cluster, artifact_id: str) -> None:
        """Delete the template; refused while an index template is composed of it, or a data stream uses it."""
        cluster.request("DELETE", url_path(f"_{self.name}", artifact_id), ignore=(404,))

    def normalise(self, body: Mapping[str, Any]) -> Body:
        """Leave out marks and what is empty in `template`, and flatten its settings."""
        copy = unmarked(body)
        template = dict(copy.get("template") or {})
        if template.get("settings"):
            template["settings"] = flat_settings(template["settings"])
        copy["template"] = {key: value for key, value in template.items() if value not in ({}, None)}
        return copy

    def mark(self, body: Mapping[str, Any], marks: Mapping[str, str], info: ClusterInfo) -> Body:
        """Mark in `_meta`."""
        del info
        return marked(body, marks)

    def marks_of(self, body: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the marks in `_meta`."""
        return marks_in(body)
