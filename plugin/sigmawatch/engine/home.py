"""Unpacks an engine into the store: slim, once, whole or not at all."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import orjson

from sigmawatch.engine.fetch import OnProgress, ensure_space, fetch, out_of_space
from sigmawatch.engine.places import locked
from sigmawatch.errors import EngineError

if TYPE_CHECKING:
    from sigmawatch.engine.distribution import Distribution

__all__ = ["installed"]

_MANIFEST = "manifest.json"


def installed(distribution: Distribution, store: Path, on_progress: OnProgress | None = None) -> Path:
    """Return the engine's home folder in `store`; fetch and unpack it when it is not there or not whole."""
    home = store / distribution.home_name
    if _is_whole(home):
        return home
    with locked(store / f"{distribution.home_name}.lock"):
        if _is_whole(home):  # another process was faster
            return home
        try:
            _install(distribution, store, home, on_progress)
        except OSError as error:
            if out_of_space(error):
                raise EngineError(
                    f"the disk is full: {distribution.title} cannot be unpacked to {store}",
                    hint="Free some space, or set SIGMAWATCH_CACHE to a folder on another disk.",
                ) from error
            raise EngineError(f"{distribution.title} cannot be unpacked to {store}: {error}") from error
    return home


def _install(distribution: Distribution, store: Path, home: Path, on_progress: OnProgress | None) -> None:
    name = f"{distribution.title} {distribution.version}"
    downloads = store / "downloads"
    downloads.mkdir(mode=0o755, exist_ok=True)
    shutil.rmtree(home, ignore_errors=True)
    ensure_space(store, distribution.archive.size + distribution.unpacked_size, f"fetching {name}")
    archive = fetch(distribution.archive, name, downloads, on_progress)
    partial = home.with_name(f"{home.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _unpack(archive, distribution, partial, on_progress)
        partial.rename(home)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    archive.unlink()  # the home is all that is needed; a gigabyte of Elasticsearch's archive is not


def _is_whole(home: Path) -> bool:
    """Return whether every unpacked file is there with its size.

    Folders for temporary and cached files are swept by the system file by file, so that a home can lose
    some; the engine would then start and fail later in ways that nobody can explain.
    """
    try:
        manifest = orjson.loads((home / _MANIFEST).read_bytes())
        return all((home / name).stat().st_size == size for name, size in manifest.items())
    except (OSError, ValueError, AttributeError):
        return False


def _unpack(archive: Path, distribution: Distribution, home: Path, on_progress: OnProgress | None) -> None:
    with zipfile.ZipFile(archive) as source:
        members = [
            (member, name)
            for member in source.infolist()
            if not member.is_dir() and (name := _wanted(member.filename, distribution))
        ]
        total = sum(member.file_size for member, _ in members)
        done = 0
        sizes: dict[str, int] = {}
        # The engine looks for bin/ and plugins/ and refuses to start without; both stay empty.
        for folder in (".", "bin", "config", "plugins"):
            _make_folder(home / folder)
        for member, name in members:
            target = home / name
            for parent in reversed(PurePosixPath(name).parents):
                _make_folder(home / parent)
            with source.open(member) as packed, target.open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)
            # Not the caller's umask: the engine may run as another user.
            executable = os.path.basename(name) == "server-launcher"  # noqa: PTH119 - a name in a zip
            target.chmod(0o755 if executable else 0o644)
            sizes[name] = member.file_size
            done += member.file_size
            if on_progress:
                on_progress(f"Unpacking {distribution.title} {distribution.version}", done, total)
    manifest = home / _MANIFEST
    manifest.write_bytes(orjson.dumps(sizes, option=orjson.OPT_SORT_KEYS))
    manifest.chmod(0o644)


def _wanted(filename: str, distribution: Distribution) -> str:
    """Return the path below the home for a member of the zip, or nothing when it is left out."""
    if not filename.startswith(distribution.folder):
        return ""
    name = filename[len(distribution.folder) :]
    if ".." in PurePosixPath(name).parts or name.startswith("/"):
        raise EngineError(f"{distribution.archive} holds a file outside of its folder: {filename}")
    wanted = name.startswith(distribution.keep) and not name.startswith(distribution.drop)
    return name if wanted else ""


def _make_folder(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
