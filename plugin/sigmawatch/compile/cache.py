"""Keeps what rules compiled to, for the next run: JSON by a digest of all that it depends on.

An SQLite file in the user's cache folder, since it does what a cache needs: many small texts in one file, whole or not
at all, by several processes at a time. It can be deleted at any time. Nothing that goes wrong with it is ever an error:
what cannot be read was not kept, and what cannot be written is compiled again. Each text has a checksum, because
the file is not synchronised to disk and may be half of itself after a power failure.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import stat
import time
from typing import TYPE_CHECKING

from sigmawatch.folders import cache_folder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

__all__ = ["MAX_BYTES", "PlanCache", "default_cache"]

_NAME = "plans-1.sqlite3"
"""The number is that of the table's form."""

MAX_BYTES = 100_000_000
"""Size from which on the texts that were not used for longest go; 3,000 rules take 8 MB."""

_PATIENCE = 1.0
"""Seconds to wait for another process that writes."""

_AT_ONCE = 500
"""Keys asked for in one query; SQLite takes 999 parameters and more."""

_DAY = 86_400


class PlanCache:
    """The texts in one folder."""

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder.absolute()
        self._path = self._folder / _NAME
        self._max_bytes = max_bytes
        self._today = int(time.time()) // _DAY
        self._found: set[bytes] = set()
        """Keys of texts that were asked for and there, but have not been noted as used today."""

    def get(self, keys: Collection[bytes]) -> dict[bytes, bytes]:
        """Return those of the texts that are there."""
        found: dict[bytes, bytes] = {}
        wanted = list(keys)
        with self._opened(writable=False) as database:
            for start in range(0, len(wanted) if database is not None else 0, _AT_ONCE):
                some = wanted[start : start + _AT_ONCE]
                marks = ",".join("?" * len(some))
                # Nothing but question marks is put into the statement.
                query = f"SELECT key, body, checksum, used FROM plans WHERE key IN ({marks})"  # noqa: S608
                assert database is not None
                for key, body, checksum, used in database.execute(query, some):
                    if isinstance(body, bytes) and checksum == _checksum(key, body):
                        found[key] = body
                        if used != self._today:
                            self._found.add(key)
        return found

    def keep(self, texts: Mapping[bytes, bytes]) -> None:
        """Keep texts, and note the use of those that were found, which therefore stay longer."""
        if not texts and not self._found:
            return
        with self._opened(writable=True) as database:
            if database is None:
                return
            database.execute("BEGIN IMMEDIATE")
            database.executemany(
                "INSERT OR REPLACE INTO plans (key, body, checksum, used) VALUES (?, ?, ?, ?)",
                ((key, body, _checksum(key, body), self._today) for key, body in texts.items()),
            )
            database.executemany(
                "UPDATE plans SET used = ? WHERE key = ?", ((self._today, key) for key in self._found)
            )
            self._bound(database)
            database.execute("COMMIT")
            self._found.clear()

    def _bound(self, database: sqlite3.Connection) -> None:
        """Delete what was not used for longest, where there is too much."""
        (pages,), (free,), (size,) = (
            database.execute(f"PRAGMA {name}").fetchone()
            for name in ("page_count", "freelist_count", "page_size")
        )
        excess = (pages - free) * size - self._max_bytes
        if excess <= 0:
            return
        # A quarter more, so that not every run has to.
        excess += self._max_bytes // 4
        old = []
        for number, length in database.execute("SELECT rowid, length(body) FROM plans ORDER BY used, rowid"):
            if excess <= 0:
                break
            old.append((number,))
            excess -= length
        database.executemany("DELETE FROM plans WHERE rowid = ?", old)

    @contextlib.contextmanager
    def _opened(self, *, writable: bool) -> Iterator[sqlite3.Connection | None]:
        """Open the file, None where that is not possible. Whatever goes wrong within the block ends it quietly."""
        database = None
        try:
            database = self._connect(writable=writable)
        except OSError:
            # No folder, or none that we may enter or write.
            self._found.clear()
        except sqlite3.Error as error:
            self._failed(error)
        try:
            yield database
        except sqlite3.Error as error:
            self._failed(error)
        finally:
            if database is not None:
                database.close()

    def _connect(self, *, writable: bool) -> sqlite3.Connection | None:
        if writable:
            self._folder.mkdir(parents=True, exist_ok=True)
            # For its owner only: it holds the rules.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        if not _is_own(self._path):
            return None
        place = f"{self._path.as_uri()}?mode={'rw' if writable else 'ro'}"
        database = sqlite3.connect(place, uri=True, timeout=_PATIENCE, isolation_level=None)
        if writable:
            database.execute("PRAGMA synchronous = OFF")
            database.execute(_TABLE)
        return database

    def _failed(self, error: sqlite3.Error) -> None:
        # The operational ones pass or are not ours to settle: locked for too long, not writable, full, no table.
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            # No database, or a damaged one: the next run makes it anew.
            with contextlib.suppress(OSError):
                self._path.unlink()


_TABLE = """\
CREATE TABLE IF NOT EXISTS plans (
    key BLOB PRIMARY KEY,
    body BLOB NOT NULL,
    checksum BLOB NOT NULL,
    used INTEGER NOT NULL  -- day, counted from 1970
)"""


def _checksum(key: bytes, body: bytes) -> bytes:
    return hashlib.blake2b(body, key=key, digest_size=8).digest()


def _is_own(path: Path) -> bool:
    """Whether a file is a regular one of this user's: what others may write is nothing to deploy."""
    status = path.lstat()
    return stat.S_ISREG(status.st_mode) and (os.name != "posix" or status.st_uid == os.geteuid())


def default_cache() -> PlanCache | None:
    """Return the cache of this user; None where there is no folder for it, or `$SIGMAWATCH_NO_CACHE` is set."""
    folder = None if os.environ.get("SIGMAWATCH_NO_CACHE") else cache_folder()
    return PlanCache(folder / "compiled") if folder is not None else None
