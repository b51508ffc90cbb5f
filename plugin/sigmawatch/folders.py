"""Where a user's own files of ours belong, by the XDG convention."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_folder", "user_folder"]


def user_folder(variable: str, xdg: str, default: str) -> Path | None:
    """Return the folder that an environment variable of ours names, or else the one of the XDG convention.

    None where the user has no home folder. Nothing is created.
    """
    if own := os.environ.get(variable):
        return Path(own).absolute()
    # The XDG specification: relative paths in these variables are to be ignored.
    shared = Path(os.environ.get(xdg, ""))
    try:
        return (shared if shared.is_absolute() else Path.home() / default) / "sigmawatch"
    except RuntimeError:
        return None


def cache_folder() -> Path | None:
    """Return the folder of what can be deleted at any time: `$SIGMAWATCH_CACHE`, or by the XDG convention."""
    return user_folder("SIGMAWATCH_CACHE", "XDG_CACHE_HOME", ".cache")
