"""Plain indices, e.g. for state: created where absent; later only their mapping grows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.deploy.kind import Body, Kind, Write
from sigmawatch.deploy.kinds._shapes import marked, marks_in, name_lists, unmarked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sigmawatch.cluster import Cluster, ClusterInfo

__all__ = ["Index"]


class Index(Kind):
    """An index with its `settings`, `mappings` and `aliases`. Holds data: only deleted where data is to go, too.

    Settings and aliases are set at creation and then left alone: most settings cannot be changed, and the
    rest is the operator's to tune.
    """

    name = "index"
    rank = 40
    additive = True  # dynamic mapping adds fields, and a mapping never loses one
    deletable = False

    def read_all(self, cluster: Cluster, ids: Iterable[str]) -> Mapping[str, Body]:
        """Read the mappings of those that exist."""
        found: dict[str, Body] = {}
        for names in name_lists(ids):
            path = f"/{','.join(url_path(name)[1:] for name in names)}/_mapping"
            params = {"ignore_unavailable": "true", "expand_wildcards": "all"}
            found.update(cluster.request("GET", path, params=params, ignore=(404,)) or {})
        return found

    def write(self, cluster: Cluster, one: Write) -> None:
        """Create it, or add to its mapping; refused when a field would change its type."""
        try:
            cluster.request("PUT", url_path(one.id), one.body)
        except ResponseError as error:
            if error.error_type != "resource_already_exists_exception":
                raise
            if one.body.get("mappings"):
                cluster.request("PUT", f"{url_path(one.id)}/_mapping", one.body["mappings"])

    def delete(self, cluster: Cluster, artifact_id: str) -> None:
        """Delete it with all its documents."""
        cluster.request("DELETE", url_path(artifact_id), ignore=(404,))

    def normalise(self, body: Mapping[str, Any]) -> Body:
        """Return the mappings, with `dynamic` as servers return it (text)."""
        mappings = unmarked(body.get("mappings") or {})
        return {"mappings": _dynamic_as_text(mappings)} if mappings else {}

    def mark(self, body: Mapping[str, Any], marks: Mapping[str, str], info: ClusterInfo) -> Body:
        """Mark in the mapping's `_meta`."""
        del info
        return {**body, "mappings": marked(body.get("mappings") or {}, marks)}

    def marks_of(self, body: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the marks in the mapping's `_meta`."""
        return marks_in(body.get("mappings") or {})


def _dynamic_as_text(mapping: Mapping[str, Any]) -> Body:
    """Write booleans of `dynamic` as text, at every level that has properties."""
    copy = dict(mapping)
    if isinstance(copy.get("dynamic"), bool):
        copy["dynamic"] = str(copy["dynamic"]).lower()
    properties = copy.get("properties")
    if isinstance(properties, dict):
        copy["properties"] = {
            name: _dynamic_as_text(field) if isinstance(field, dict) else field
            for name, field in properties.items()
        }
        # An object is one by having properties; servers leave the type out.
        if copy.get("type") == "object":
            del copy["type"]
    return copy
