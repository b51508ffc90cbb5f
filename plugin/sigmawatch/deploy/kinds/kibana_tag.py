"""Tags of Kibana: the one that says which pack owns an object."""

from __future__ import annotations

from sigmawatch.deploy.kinds._saved_objects import SavedObjects

__all__ = ["KibanaTag"]


class KibanaTag(SavedObjects):
    """Saved objects of type `tag`."""

    name = "kibana_tag"
    object_type = "tag"
    type_version = "8.0.0"
    rank = 64
    authored = False
