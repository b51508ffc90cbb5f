"""Logs of an hour on a small network, quiet ones and attacked ones, to see the detections at work.

The files in `logs/` are written by `scripts/make_demo_logs`; all names and addresses are those reserved for
documentation.
"""

from __future__ import annotations

from contextlib import contextmanager
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["MOMENT", "NAMESPACE", "demo_logs"]

MOMENT = "2026-11-20T11:00:00Z"
"""The end of that hour, at which the demo evaluates the detections."""

NAMESPACE = "demo"
"""Data streams and alerts of the demo."""


@contextmanager
def demo_logs() -> Iterator[list[tuple[str, Path]]]:
    """Yield the datasets and files of the demo; the files exist while the block runs."""
    with as_file(files("sigmawatch.demo") / "logs") as folder:
        yield [
            (path.name.rpartition(".")[0].rpartition(".")[0], path) for path in sorted(folder.glob("*.log"))
        ]
