"""Dashboards of Kibana."""

from __future__ import annotations

from sigmawatch.deploy.kinds._saved_objects import SavedObjects

__all__ = ["Dashboard"]


class Dashboard(SavedObjects):
    """Saved objects of type `dashboard`."""

    name = "dashboard"
    object_type = "dashboard"
    type_version = "8.9.0"
    rank = 72
