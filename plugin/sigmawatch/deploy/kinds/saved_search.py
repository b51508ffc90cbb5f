"""Searches that people saved in Kibana's Discover."""

from __future__ import annotations

from sigmawatch.deploy.kinds._saved_objects import SavedObjects

__all__ = ["SavedSearch"]


class SavedSearch(SavedObjects):
    """Saved objects of type `search`."""

    name = "saved_search"
    object_type = "search"
    type_version = "8.0.0"
    rank = 70
