"""Where things are in a pack, and where the built-in pack is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sigmawatch
from sigmawatch.errors import UsageError

__all__ = ["Pack", "builtin_pack", "rule_files", "test_files"]

TEST_SUFFIX = ".test.yml"


@dataclass(frozen=True)
class Pack:
    """A folder with `rules/`, `ingest_pipelines/` and `dashboards/`."""

    name: str
    root: Path

    @property
    def rules(self) -> Path:
        """Folder of the Sigma rules."""
        return self.root / "rules"

    @property
    def ingest_pipelines(self) -> Path:
        """Folder of the datasets."""
        return self.root / "ingest_pipelines"


def builtin_pack() -> Pack:
    """Return the pack that comes with sigmawatch: inside the installed package, else the checkout's own."""
    package = Path(sigmawatch.__file__).parent
    installed = package / "builtin"
    root = installed if installed.is_dir() else package.parent.parent
    if not (root / "rules").is_dir():
        raise UsageError(f"the built-in pack is missing from {package}", hint="install sigmawatch again")
    return Pack("builtin", root)


def _yaml_below(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(
            found
            for found in path.rglob("*")
            if found.suffix in (".yml", ".yaml") and found.is_file() and not found.name.startswith(".")
        )
    if not path.exists():
        raise UsageError(f"{path} does not exist")
    return [path]


def rule_files(paths: list[Path]) -> list[Path]:
    """Return the rule files at or below the paths, each once, in order. Raises UsageError for missing ones."""
    found = [file for path in paths for file in _yaml_below(path) if not file.name.endswith(TEST_SUFFIX)]
    return list(dict.fromkeys(found))


def test_files(paths: list[Path]) -> list[Path]:
    """Return the test files at or below the paths, and those beside rule files that are named directly."""
    found: list[Path] = []
    for path in paths:
        for file in _yaml_below(path):
            if file.name.endswith(TEST_SUFFIX):
                found.append(file)
            elif path == file:
                beside = file.with_name(file.stem + TEST_SUFFIX)
                found += [beside] if beside.exists() else []
    return list(dict.fromkeys(found))
