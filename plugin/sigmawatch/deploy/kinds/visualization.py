"""Visualizations of Kibana that several dashboards share."""

from __future__ import annotations

from sigmawatch.deploy.kinds._saved_objects import SavedObjects

__all__ = ["Visualization"]


class Visualization(SavedObjects):
    """Saved objects of type `visualization`."""

    name = "visualization"
    object_type = "visualization"
    type_version = "8.5.0"
    rank = 70
