"""A file as it was in a git revision, with everything beside it that it is read with."""

from __future__ import annotations

import io
import os
import subprocess
import zipfile
from pathlib import Path

from sigmawatch.errors import UsageError

__all__ = ["checked_out"]

SECONDS = 60
"""Git answers within this, or something is wrong."""

CONTENT = ":(glob)**/*.y*ml"
"""What rules and datasets are written in. One pattern, since git wants each to match something."""


def checked_out(path: Path, revision: str, folder: Path) -> Path:
    """Write the YAML files of a revision of the path's repository to a folder; return the path in there.

    Base rules and datasets come from the same revision. Raises UsageError where there is no such thing.
    """
    place = path.resolve()
    top = Path(os.fsdecode(_git(place.parent, "rev-parse", "--show-toplevel").rstrip(b"\n")))
    commit = _git(place.parent, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    archive = _git(top, "archive", "--format=zip", commit.decode().strip(), CONTENT)
    with zipfile.ZipFile(io.BytesIO(archive)) as content:
        content.extractall(folder)  # names cannot leave the folder, and links become plain files
    found = folder / place.relative_to(top.resolve())
    if not found.is_file():
        raise UsageError(f"{path} was not there in {revision}")
    return found


def _git(folder: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, timeout=SECONDS, check=False
        )
    except FileNotFoundError as error:
        raise UsageError("git is not installed", hint="--diff FILE compares without it.") from error
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"git {arguments[0]} did not end within {SECONDS} seconds") from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().removeprefix("fatal: ")
        raise UsageError(f"git: {said.splitlines()[0] if said else arguments[0]}")
    return done.stdout
