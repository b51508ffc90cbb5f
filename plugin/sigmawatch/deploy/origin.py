"""Where a release comes from: who deployed it, and which revision of the pack it is."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Origin", "origin_of", "whoami"]

GIT_SECONDS = 20
"""A repository that takes longer to tell its revision is not waited for."""

_PEOPLE = ("GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILD_REQUESTEDFOR", "BITBUCKET_STEP_TRIGGERER_UUID")
"""What CI systems call the person who started a job: GitHub, GitLab, Azure, Bitbucket."""


@dataclass(frozen=True)
class Origin:
    """Who applies a plan, and what it was made of. Everything may be empty."""

    by: str = ""
    """User and host; in a CI job also who started it."""
    revision: str = ""
    """Git commit of the pack; empty where it is in no repository."""
    modified: bool = False
    """The pack had changes that were not committed."""
    target: str = ""
    namespace: str = ""
    environment: str = ""
    message: str = ""
    """Why, in the words of who deployed."""
    untuned: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What rules that the site tunes say themselves: the next deploy tells what changed under its tunings."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Origin:
        """Read what `to_dict` wrote, perhaps in another version."""
        return cls(**{name: value for name, value in data.items() if name in cls.__dataclass_fields__})


def whoami() -> str:
    """Return user and host of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def origin_of(folder: Path, environ: Mapping[str, str] | None = None) -> Origin:
    """Return who we are and which git revision a pack's folder is of."""
    variables = os.environ if environ is None else environ
    person = next((variables[name] for name in _PEOPLE if variables.get(name)), "")
    found = Origin(by=f"{person} ({whoami()})" if person else whoami())
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if not commit:
        return found
    # Only the pack itself: what else lies in its repository is not deployed.
    changes = _git(folder, "status", "--porcelain", "--", ".")
    return replace(found, revision=commit, modified=bool(changes))


def _git(folder: Path, *arguments: str) -> str:
    """Return what git says; nothing where there is no git or no repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, timeout=GIT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else ""
