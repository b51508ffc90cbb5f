"""The stored scripts that searches and watches refer to. Rules only ever become their parameters."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from sigmawatch.artifact import Artifact, ArtifactKey

__all__ = ["script", "script_artifacts", "script_id", "source"]

NAMES = (
    "any-expression",
    "any-text",
    "candidate",
    "date-part",
    "field-reference",
    "watch-condition",
    "watch-transform",
    "window-combine",
    "window-init",
    "window-map",
    "window-reduce",
)

WATCHER_ONLY = frozenset({"watch-condition", "watch-transform"})


def script_id(name: str) -> str:
    """Return the id under which a script is stored in the cluster."""
    return f"sigmawatch-{name}"


def script(name: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a reference to a stored script, as request bodies have it."""
    return {"id": script_id(name), "params": params} if params is not None else {"id": script_id(name)}


@cache
def source(name: str) -> str:
    """Return the Painless source of a script."""
    return (files("sigmawatch.render") / "painless" / f"{name}.painless").read_text(encoding="utf-8")


def script_artifacts(*, watcher: bool) -> list[Artifact]:
    """Return the stored scripts, those of watches only where there is Watcher."""
    return [
        Artifact(
            kind="stored_script",
            id=script_id(name),
            body={"script": {"lang": "painless", "source": source(name)}},
            source=f"render/painless/{name}.painless",
            shared=True,
        )
        for name in NAMES
        if watcher or name not in WATCHER_ONLY
    ]


def script_keys(*, watcher: bool) -> tuple[ArtifactKey, ...]:
    """Return the keys of those artifacts, for what depends on them."""
    return tuple(artifact.key for artifact in script_artifacts(watcher=watcher))
