"""Trying many artifacts, a few at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from sigmawatch.cluster import ResponseError
from sigmawatch.deploy.kind import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sigmawatch.artifact import Artifact

__all__ = ["tried"]

AT_ONCE = 4


def tried(artifacts: Sequence[Artifact], trial: Callable[[Artifact], str]) -> dict[str, Trial]:
    """Return the artifacts that do not work, by id. A refusal is a reason; other errors are raised."""

    def one(artifact: Artifact) -> Trial:
        try:
            return Trial(trial(artifact))
        except ResponseError as error:
            return Trial(error.message, allowed=error.status != 403)

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="prove") as pool:
        found = list(pool.map(one, artifacts))
    return {artifact.id: each for artifact, each in zip(artifacts, found, strict=True) if each.problem}
