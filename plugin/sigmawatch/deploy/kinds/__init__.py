"""Kinds of artifacts: one module each, found by being there. A new kind is a new file, and no list is edited.

Modules whose name begins with `_` are no kinds. Planner and applier know a kind only by the interface in
`sigmawatch.deploy.kind`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

from sigmawatch.deploy.kind import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["all_kinds"]


@cache
def all_kinds() -> Mapping[str, Kind]:
    """Return every kind by its name."""
    found: dict[str, Kind] = {}
    for module_info in pkgutil.iter_modules(__path__):
        if module_info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{__name__}.{module_info.name}")
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, Kind) and kind.__module__ == module.__name__ and not inspect.isabstract(kind):
                found[kind.name] = kind()
    return dict(sorted(found.items()))
