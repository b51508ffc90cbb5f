"""Fetches an engine's archive from Maven Central: verified by our own checksum, whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from sigmawatch.errors import EngineError

if TYPE_CHECKING:
    from pathlib import Path

    from sigmawatch.engine.distribution import Archive

__all__ = ["REPOSITORY_VARIABLE", "OnProgress", "ensure_space", "fetch", "out_of_space"]

OnProgress = Callable[[str, int, int], None]
"""Called with (description, done bytes, total bytes) during long work."""

_Reporter = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]

REPOSITORY_VARIABLE = "SIGMAWATCH_MAVEN_REPOSITORY"
"""Names the address of a mirror, for networks that do not reach Maven Central itself."""

_ATTEMPTS = 3
_TIMEOUT = 60  # seconds without a single byte, not for the whole file
_CHUNK = 1 << 20


class _CorruptError(Exception):
    """The file is not the pinned one."""


def ensure_space(folder: Path, needed: int, what: str, variable: str = "SIGMAWATCH_CACHE") -> None:
    """Raise EngineError when the disk under `folder` has less than `needed` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise EngineError(
            f"{what} needs {_megabytes(needed)} in {folder}, but only {_megabytes(free)} are free",
            hint=f"Free some space, or set {variable} to a folder on another disk.",
        )


def out_of_space(error: OSError) -> bool:
    """Return whether the system refused to write because a disk, quota or file size limit is reached."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


def fetch(archive: Archive, title: str, downloads: Path, on_progress: OnProgress | None = None) -> Path:
    """Return the archive's file below `downloads`, fetching it unless the verified file is there already.

    The caller holds a lock on `downloads`. A file that was put there by hand (no network) is used when its
    checksum is right. A corrupt file is removed and fetched again once; network errors are tried three times.
    """
    target = downloads / f"{archive.artifact}-{archive.version}.zip"
    partial = downloads / f"{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed: the lock is ours now
    if target.is_file():
        if _sha256(target) == archive.sha256:
            return target
        target.unlink()
    corrupt = False
    attempt = 1
    while True:
        try:
            _download(archive, partial, target, _reporter(f"Fetching {title}", on_progress))
        except _CorruptError as error:
            if corrupt:
                raise EngineError(
                    f"{archive} was fetched twice and is corrupt: {error}",
                    hint="A proxy or mirror may alter downloads; the file was removed. Try again later.",
                ) from error
            corrupt = True
        except OSError as error:
            if out_of_space(error):
                raise EngineError(
                    f"the disk is full: {archive} cannot be written to {downloads}",
                    hint="Free some space, or set SIGMAWATCH_CACHE to a folder on another disk.",
                ) from error
            if attempt == _ATTEMPTS:
                raise _unavailable(archive, error) from error
            attempt += 1
        except RuntimeError as error:  # how jgo says that no repository has the file: trying again is no use
            raise _unavailable(archive, error) from error
        else:
            return target
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _unavailable(archive: Archive, error: Exception) -> EngineError:
    return EngineError(
        f"{archive} cannot be fetched: {error}",
        hint=f"The network (HTTPS_PROXY, or a mirror in {REPOSITORY_VARIABLE}) must allow downloads from "
        "Maven Central.",
    )


def _download(archive: Archive, partial: Path, target: Path, reporter: _Reporter) -> None:
    # Imported here: jgo takes a quarter of a second to import and is needed once in the life of a cache.
    from jgo.maven import MavenContext, PythonResolver

    mirror = os.environ.get(REPOSITORY_VARIABLE)
    context = MavenContext(
        resolver=PythonResolver(progress_callback=reporter),
        repo_cache=partial,
        remote_repos={"mirror": mirror.rstrip("/")} if mirror else None,
        timeout=_TIMEOUT,
    )
    component = context.project(archive.group, archive.artifact).at_version(archive.version)
    file: Path = component.artifact(packaging="zip").resolve()
    size = file.stat().st_size
    if size != archive.size:
        raise _CorruptError(f"{size:,} bytes instead of {archive.size:,}")
    digest = _sha256(file)
    if digest != archive.sha256:
        raise _CorruptError(f"SHA-256 {digest} instead of {archive.sha256}")
    file.replace(target)


def _reporter(description: str, on_progress: OnProgress | None) -> _Reporter:
    """Return what jgo calls with a file's name and size, and then with the bytes that came."""

    @contextmanager
    def report(_filename: str, total: int) -> Iterator[Callable[[int], None]]:
        done = reported = 0

        def add(count: int) -> None:
            nonlocal done, reported
            done += count
            # jgo reports every 8 kB: a hundred thousand calls for a large archive.
            if on_progress and (done - reported >= _CHUNK or done == total):
                reported = done
                on_progress(description, done, total)

        yield add

    return report


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
