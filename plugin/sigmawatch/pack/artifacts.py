"""Artifacts that a pack brings as they are: `artifacts/KIND/ID.yml` (or .json) is the body of one.

For what no rule and no dataset makes: lifecycle policies, roles, templates and pipelines of a site's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmawatch import yamlfile
from sigmawatch.artifact import Artifact
from sigmawatch.errors import ContentError, Problem

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

__all__ = ["load_artifacts"]

_SUFFIXES = frozenset({".json", ".yaml", ".yml"})


def load_artifacts(root: Path, kinds: Collection[str]) -> list[Artifact]:
    """Return the artifacts in the folder `artifacts` of a pack; none where there is no such folder.

    `kinds`: those that may be there. Raises ContentError, with all that is wrong.
    """
    folder = root / "artifacts"
    problems: list[Problem] = []
    found: list[Artifact] = []
    for place in sorted(folder.iterdir()) if folder.is_dir() else ():
        if place.name.startswith("."):
            continue
        if not place.is_dir() or place.name not in kinds:
            hint = f"a folder for each kind: {', '.join(sorted(kinds))}"
            problems.append(Problem(f"{place.name} is no kind of artifact", place, 1, hint, code="kind"))
            continue
        for path in sorted(place.iterdir()):
            if path.name.startswith("."):
                continue
            if path.suffix not in _SUFFIXES:
                problems.append(Problem("neither YAML nor JSON", path, 1, code="artifact"))
                continue
            try:
                body = yamlfile.load(path).data
            except ContentError as error:
                problems += error.problems
                continue
            source = path.relative_to(root).as_posix()
            found.append(Artifact(place.name, path.stem, body, source=source))
    if problems:
        raise ContentError(problems)
    return found
