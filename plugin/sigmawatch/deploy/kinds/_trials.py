"""Trying many artifacts, a few at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from sigmawatch.cluster import ResponseError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sigmawatch.artifact import Artifact

__all__ = ["tried"]

AT_ONCE = 4


def tried(artifacts: Sequence[Artifact], trial: Callable[[Artifact], str]) -> dict[str, str]:
    """Return the problems of artifacts by their ids. A refusal is one of them; other errors are raised."""

    def one(artifact: Artifact) -> str:
        try:
            return trial(artifact)
        except ResponseError as error:
            return error.message

    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="prove") as pool:
        problems = list(pool.map(one, artifacts))
    return {artifact.id: problem for artifact, problem in zip(artifacts, problems, strict=True) if problem}
