"""In which order artifacts are written: what others need first, and otherwise by the rank of their kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmawatch.errors import ContentError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sigmawatch.artifact import Artifact, ArtifactKey

__all__ = ["waves"]


def waves(artifacts: Iterable[Artifact], rank: Callable[[Artifact], int]) -> list[list[Artifact]]:
    """Split artifacts into groups to write one after the other; inside a group the order does not matter.

    A dependency that is not among the artifacts is taken to be in the cluster already. Raises ContentError
    when artifacts depend on each other in a circle.
    """
    remaining = {artifact.key: artifact for artifact in artifacts}
    missing = {
        key: {dependency for dependency in artifact.depends_on if dependency in remaining}
        for key, artifact in remaining.items()
    }
    needed_by: dict[ArtifactKey, list[ArtifactKey]] = {}
    for key, dependencies in missing.items():
        for dependency in dependencies:
            needed_by.setdefault(dependency, []).append(key)
    result: list[list[Artifact]] = []
    ready = {key for key, dependencies in missing.items() if not dependencies}
    while ready:
        lowest = min(rank(remaining[key]) for key in ready)
        wave = sorted(key for key in ready if rank(remaining[key]) == lowest)
        result.append([remaining.pop(key) for key in wave])
        ready.difference_update(wave)
        for key in wave:
            for dependent in needed_by.get(key, ()):
                missing[dependent].discard(key)
                if not missing[dependent]:
                    ready.add(dependent)
    if remaining:
        circle = _circle({key: missing[key] for key in remaining})
        raise ContentError(
            [Problem(f"artifacts depend on each other: {' → '.join(map(str, circle))}", code="cycle")]
        )
    return result


def _circle(missing: dict[ArtifactKey, set[ArtifactKey]]) -> list[ArtifactKey]:
    """Return one circle, its first member again at the end."""
    path: list[ArtifactKey] = []
    key = min(missing)
    while key not in path:
        path.append(key)
        key = min(missing[key])
    return [*path[path.index(key) :], key]
