"""Writes and checks the registry of fields. Run by scripts/registry."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sigmawatch.datasets import load_datasets
from sigmawatch.datasets.registry import changes, conflicts, read_registry, registry, registry_text
from sigmawatch.errors import SigmawatchError

if TYPE_CHECKING:
    from collections.abc import Mapping

PLACE = Path("ingest_pipelines", "registry.yml")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/registry", description="Types of all fields of all datasets."
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 when something is wrong"
    )
    parser.add_argument(
        "--base", default="HEAD~1", metavar="REV", help="what was stored before [default: HEAD~1]"
    )
    parser.add_argument("--accept-breaking", action="store_true", help="write it although something breaks")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[2], help=argparse.SUPPRESS)
    options = parser.parse_args()
    path = options.root / PLACE
    try:
        found = registry(load_datasets(options.root / "ingest_pipelines"))
        told = [f"error: types differ: {text}" for text in conflicts(found)]
        text = registry_text(found)
        written = path.read_text(encoding="utf-8") if path.is_file() else ""
        before = _at(options.root, options.base) if options.check else read_registry(written or "{}")
    except SigmawatchError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if options.check and text != written:
        told.append(f"error: {PLACE} is not up to date; run scripts/registry")
    different = changes(before, found) if before else []
    breaking = [change for change in different if change.breaks]
    if not options.accept_breaking:
        told += [f"error: breaks what is stored: {change}" for change in breaking]
    if told:
        sys.stderr.write("".join(f"{line}\n" for line in told))
        if breaking and not options.check:
            sys.stderr.write("nothing written; --accept-breaking does it all the same\n")
        return 1
    if not options.check:
        path.write_text(text, encoding="utf-8")
        shown = different[:20]
        sys.stdout.write("".join(f"{change}\n" for change in shown))
        if len(different) > len(shown):
            sys.stdout.write(f"and {len(different) - len(shown)} more\n")
    fields = len({name for names in found.values() for name in names})
    sys.stdout.write(f"{PLACE}: {fields:,} fields of {len(found) - 1} datasets\n")
    return 0


def _at(root: Path, revision: str) -> Mapping[str, Mapping[str, str]]:
    """Return the registry of a revision; empty where it has none, or where there is no such revision."""
    shown = subprocess.run(
        ["git", "show", f"{revision}:{PLACE.as_posix()}"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    return read_registry(shown.stdout) if shown.returncode == 0 else {}


if __name__ == "__main__":
    sys.exit(main())
