"""What the paths on a command line lead to: rules, their tests, the datasets that they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmawatch.datasets import Dataset, load_datasets
from sigmawatch.errors import ContentError, Problem, Severity
from sigmawatch.pack.layout import TEST_SUFFIX, builtin_pack, rule_files, test_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

__all__ = [
    "datasets_around",
    "is_test",
    "pack_roots",
    "rule_roots",
    "rules_at",
    "tests_at",
    "untested",
    "within",
]

DATASETS = "ingest_pipelines"
RULES = "rules"


def rules_at(paths: Sequence[Path]) -> list[Path]:
    """Return the rule files at or below the paths; of a pack those in its rules/."""
    return rule_files(_with_rules(paths))


def tests_at(paths: Sequence[Path]) -> list[Path]:
    """Return the test files at or below the paths, and those beside rule files that are named directly."""
    return test_files(_with_rules(paths))


def is_test(path: Path) -> bool:
    """Return whether a file holds rule tests."""
    return path.name.endswith(TEST_SUFFIX)


def _with_rules(paths: Sequence[Path]) -> list[Path]:
    rules = [path / RULES if (path / RULES).is_dir() else path for path in paths]
    return [path for path in rules if DATASETS not in path.resolve().parts]


def _pack_root(path: Path) -> Path | None:
    for folder in (path.resolve(), *path.resolve().parents):
        if (folder / DATASETS).is_dir():
            return folder
    return None


def pack_roots(paths: Iterable[Path]) -> list[Path]:
    """Return the folders of the packs that paths are in."""
    return list(dict.fromkeys(root for path in paths if (root := _pack_root(path)) is not None))


def datasets_around(paths: Sequence[Path], problems: list[Problem] | None = None) -> list[Dataset]:
    """Return the datasets of the packs that the paths are in; those of the built-in pack stand behind.

    What is wrong with them goes to `problems`, or is raised as ContentError where that is not given.
    """
    found: dict[str, Dataset] = {}
    roots = [builtin_pack().root, *(_pack_root(path) for path in paths)]
    for root in dict.fromkeys(root for root in roots if root is not None):
        try:
            found |= {dataset.name: dataset for dataset in load_datasets(root / DATASETS)}
        except ContentError as error:
            if problems is None:
                raise
            problems += error.problems
    return [found[name] for name in sorted(found)]


def rule_roots(paths: Sequence[Path]) -> list[Path]:
    """Return the folders in which correlations may find base rules that their tests do not list."""
    found: list[Path] = []
    for path in paths:
        root = _pack_root(path)
        if root is not None and (root / RULES).is_dir():
            found.append(root / RULES)
        found.append(path if path.is_dir() else path.parent)
    return list(dict.fromkeys(found))


def within(folder: Path, paths: Iterable[Path]) -> bool:
    """Return whether a folder is one of the paths or below one."""
    place = folder.resolve()
    return any(path == place or path in place.parents for path in (path.resolve() for path in paths))


def untested(rules: Iterable[Path], tested: Iterable[Path]) -> list[Problem]:
    """Return a warning for each rule file that has no tests beside it and is not among the tested ones."""
    done = {path.resolve() for path in tested}
    hint = "the README says under Write rules what tests look like"
    return [
        Problem(f"no tests: {path.stem}{TEST_SUFFIX} is missing", path, 1, hint, Severity.WARNING, "untested")
        for path in rules
        if not path.with_name(path.stem + TEST_SUFFIX).is_file() and path.resolve() not in done
    ]
