"""Where the engine keeps things, as whom it runs, and locks between processes.

    store   archives being fetched, unpacked engines, class archives: can be deleted at any time
    state   one small file per running node
    work    one folder per node (configuration, data, logs), gone when the node is

The store is shared by all nodes of a user; the other two are a node's own.
"""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sigmawatch.errors import EngineError
from sigmawatch.folders import user_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "WORK_PREFIX",
    "Account",
    "account",
    "can_reach",
    "locked",
    "new_work_dir",
    "state_dir",
    "store_dir",
]

WORK_PREFIX = "sigmawatch-node-"
"""Every work folder's name begins so; nothing else is ever deleted as one."""

_SYSTEM_STORE = Path("/var/cache/sigmawatch")
_NOBODY = 65534


@dataclass(frozen=True)
class Account:
    """The user that the engine runs as."""

    name: str
    uid: int
    gid: int
    switch: bool
    """Whether the caller is root, as which the engines refuse to run: privileges have to be dropped then."""

    def own(self, path: Path) -> None:
        """Give a file or folder to this user, where it is not the caller's own anyway."""
        if self.switch:
            os.chown(path, self.uid, self.gid)


def account() -> Account:
    """Return the caller's own user, or `nobody` when the caller is root."""
    if os.name != "posix":
        raise EngineError(
            "the embedded engine runs on Linux and macOS only", hint="Use a cluster of your own with --url."
        )
    import pwd

    uid = os.geteuid()
    if uid != 0:
        return Account(str(uid), uid, os.getegid(), switch=False)
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return Account("nobody", _NOBODY, _NOBODY, switch=True)
    return Account("nobody", entry.pw_uid, entry.pw_gid, switch=True)


def can_reach(user: Account, path: Path, *, need: int = stat.S_IROTH) -> bool:
    """Return whether `user` may enter every folder above `path` and has `need` on it.

    `need` is given in bits for others (`stat.S_IROTH | stat.S_IXOTH`). For the caller the system is asked;
    for another user only the mode bits are looked at, which at worst is stricter than the system is.
    """
    if not user.switch:
        return os.access(path, need)  # these bits are those of os.R_OK and os.X_OK
    for folder in path.resolve().parents:
        if not _allowed(user, folder, stat.S_IXOTH):
            return False
    return _allowed(user, path, need)


def _allowed(user: Account, path: Path, need: int) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    if status.st_uid == user.uid:
        granted = status.st_mode >> 6
    elif status.st_gid == user.gid:
        granted = status.st_mode >> 3
    else:
        granted = status.st_mode
    return granted & need == need


def _base(variable: str, xdg: str, default: str) -> Path:
    folder = user_folder(variable, xdg, default)
    if folder is None:
        raise EngineError("no home folder is known for this user", hint=f"Set {variable}.")
    return folder


def state_dir() -> Path:
    """Return the folder of the node records: `$SIGMAWATCH_STATE`, or by the XDG convention."""
    return _made(_base("SIGMAWATCH_STATE", "XDG_STATE_HOME", ".local/state"), "SIGMAWATCH_STATE", 0o700)


def store_dir(user: Account) -> Path:
    """Return the folder for fetched engines: `$SIGMAWATCH_CACHE`, or by the XDG convention.

    Root's home is closed to the user that the engine runs as; then it is the system's cache folder.
    """
    store = _made(_base("SIGMAWATCH_CACHE", "XDG_CACHE_HOME", ".cache"), "SIGMAWATCH_CACHE", 0o755)
    if not user.switch:
        return store
    status = store.stat()
    if status.st_uid == 0 and not _allowed(user, store, stat.S_IXOTH):
        # It is ours alone (`mktemp -d` made it, say): passing through it is all that is granted.
        store.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXGRP | stat.S_IXOTH)
    if can_reach(user, store, need=stat.S_IXOTH):
        return store
    return _made(_SYSTEM_STORE, "SIGMAWATCH_CACHE", 0o755)


def _made(path: Path, variable: str, mode: int) -> Path:
    try:
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(mode)
    except OSError as error:
        raise EngineError(
            f"the folder {path} cannot be created: {error.strerror}",
            hint=f"Set {variable} to a folder that can be written.",
        ) from error
    return path


def new_work_dir(user: Account) -> Path:
    """Return the path of a work folder that does not exist yet, in a place that `user` can reach."""
    candidates = [Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/tmp")]  # noqa: S108 - the name is random
    for folder in candidates:
        if can_reach(user, folder, need=stat.S_IXOTH) and os.access(folder, os.W_OK | os.X_OK):
            return folder.resolve() / f"{WORK_PREFIX}{secrets.token_hex(8)}"
    raise EngineError(
        f"no temporary folder can be used by user {user.name}: tried {', '.join(map(str, candidates))}",
        hint="Set TMPDIR to a folder that this user can enter.",
    )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes while the block runs; waits for whoever holds it.

    The system drops it when its holder dies, so there are no stale locks. The empty file stays: deleting it
    would let two processes hold "the" lock on two different files.
    """
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise EngineError(f"cannot lock {path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
