"""A journal of each deploy on this machine's disk, beside what the cluster keeps.

The cluster's own records complete a deploy that was cut off. This is for when the cluster itself is what died: one file
a deploy, of JSON lines, which says what was to be done, what was begun (on disk before it is sent) and what became of
it. So at any time, and after any crash of either side, an artifact is written, refused, not begun, or in flight: begun
without an answer. It holds names, hashes and errors, and no bodies.
"""

from __future__ import annotations

import os
import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import orjson

from sigmawatch.artifact import ArtifactKey
from sigmawatch.errors import UsageError
from sigmawatch.folders import user_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from sigmawatch.cluster import Cluster
    from sigmawatch.deploy.origin import Origin
    from sigmawatch.deploy.plan import Plan
    from sigmawatch.deploy.releases import Release

__all__ = ["KEPT_JOURNALS", "Account", "Journal", "Journals", "journals_at", "read_journal"]

KEPT_JOURNALS = 20
"""Journals of finished deploys that are kept; of unfinished ones as many again."""

FORMAT = 1
_LONGEST_ERROR = 500
_KEPT_ANYWAY = "The deploy goes on: what completes it, should it be cut off, are the cluster's own records."
_TAIL = 4_096
"""Bytes at the end of a journal that are looked at for whether it was finished."""


def journals_at(folder: Path | None, on_trouble: Callable[[str, str], object] | None = None) -> Journals:
    """Return the journals in a folder; in that of the XDG convention where none is named.

    `on_trouble`: is told (message and next step) when they cannot be kept. One that was named has to work.
    """
    named = folder is not None
    if folder is None:
        base = user_folder("SIGMAWATCH_STATE", "XDG_STATE_HOME", ".local/state")
        folder = None if base is None else base / "deploys"
    return Journals(folder, required=named, on_trouble=on_trouble or _ignore)


def _ignore(message: str, hint: str) -> None:
    del message, hint


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Account:
    """What a journal says became of a deploy."""

    path: Path
    cluster: str
    """What the cluster said it is."""
    cluster_uuid: str
    urls: tuple[str, ...]
    pack: str
    begun: str
    """When, ISO 8601 in UTC."""
    last: str
    """When something was last noted."""
    by: str
    revision: str
    release: int | None
    """Its number; None where it did not come so far."""
    restores: int | None
    removal: bool
    running: bool
    """Its deployer is still at work."""
    ended: str
    """How its deployer said that it ended; empty when it could not say so any more."""
    damaged: int
    """Lines that cannot be read, other than a last one that was cut off."""
    hashes: Mapping[ArtifactKey, str]
    """Of the bodies that were to be written; empty for what was to be deleted."""
    written: tuple[ArtifactKey, ...]
    """Written or deleted: the cluster said so."""
    refused: tuple[tuple[ArtifactKey, str], ...]
    """Not written, and why."""
    in_flight: tuple[ArtifactKey, ...]
    """Begun without an answer: the cluster may have them or not."""
    not_begun: tuple[ArtifactKey, ...]

    @property
    def next_step(self) -> str:
        """What completes it."""
        if self.restores is not None:
            return f"`sigmawatch rollback --to {self.restores}` completes it."
        if self.removal:
            return f"`sigmawatch destroy --pack {self.pack}` completes it."
        return f"Deploying {self.pack} again completes it; `sigmawatch rollback` takes it back."

    def is_settled_by(self, newest: Release) -> bool:
        """Return whether the newest release of the pack, as the cluster keeps it, has overtaken this deploy."""
        if self.release is None:
            return newest.is_complete and newest.created >= self.begun[:19]
        return newest.number > self.release or (newest.number == self.release and newest.is_complete)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON."""
        return {
            "journal": str(self.path),
            "cluster": self.cluster,
            "pack": self.pack,
            "release": self.release,
            "restores": self.restores,
            "removal": self.removal,
            "begun": self.begun,
            "last": self.last,
            "by": self.by,
            "revision": self.revision,
            "ended": self.ended,
            "damaged_lines": self.damaged,
            "written": [_named(key) for key in self.written],
            "refused": [{**_named(key), "error": error} for key, error in self.refused],
            "in_flight": [_named(key) for key in self.in_flight],
            "not_begun": [_named(key) for key in self.not_begun],
            "next": self.next_step,
        }


def _named(key: ArtifactKey) -> dict[str, str]:
    return {"kind": key.kind, "id": key.id}


class Journals:
    """The journals of this machine, one file each."""

    def __init__(
        self,
        folder: Path | None,
        *,
        required: bool = False,
        on_trouble: Callable[[str, str], object] = _ignore,
    ) -> None:
        self.folder = folder
        self._required = required
        self._on_trouble = on_trouble

    def begin(
        self,
        cluster: Cluster,
        plan: Plan,
        origin: Origin,
        *,
        restores: int | None = None,
        secret: Iterable[object] = (),
    ) -> Journal:
        """Begin the journal of a deploy; older ones than are kept go.

        `secret`: what errors are not to show. Where no journal can be kept, that is told and the one that is returned
        keeps nothing: the cluster's records are enough to complete a deploy. Raises UsageError when the folder was
        asked for by name.
        """
        head = {
            "event": "begun",
            "format": FORMAT,
            "process": os.getpid(),
            "cluster": str(cluster.info),
            "cluster_uuid": cluster.info.uuid,
            "urls": list(cluster.settings.urls),
            "pack": plan.pack,
            "by": origin.by,
            "revision": origin.revision,
            "restores": restores,
            "removal": plan.removal,
            "changes": [[one.action.value, *one.key, one.sent_hash] for one in plan.changes if one.is_change],
        }
        journal = Journal(self._told, hidden=[text for one in secret if (text := str(one))])
        trouble = "no home folder is known for this user"
        if self.folder is not None:
            moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
            try:
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._prune()
                journal.open(self.folder / f"{moment}-{secrets.token_hex(4)}.jsonl", head)
            except OSError as error:
                trouble = f"{self.folder}: {error.strerror or error}"
            else:
                return journal
        message = f"no journal of this deploy can be kept on this machine: {trouble}"
        if self._required:
            raise UsageError(message, hint="--journal names another folder; without it none is demanded.")
        self._on_trouble(message, f"SIGMAWATCH_STATE names another folder. {_KEPT_ANYWAY}")
        return journal

    def _told(self, message: str) -> None:
        self._on_trouble(message, _KEPT_ANYWAY)

    def unfinished(
        self, *, uuid: str = "", urls: Iterable[str] = (), pack: str | None = None
    ) -> list[Account]:
        """Return the accounts of deploys that did not end well, and that nothing on this machine has completed since.

        Of a cluster by its id, or by its addresses where it does not answer; the newest first. What cannot be read is
        left out.
        """
        addresses = set(urls)
        found = []
        for path in sorted(self._files(), reverse=True):
            account = None if _is_finished(path) else read_journal(path)
            if account is None or account.running or (pack is not None and account.pack != pack):
                continue
            if account.cluster_uuid == uuid if uuid else addresses & set(account.urls):
                found.append(account)
        return found

    def settle(self, accounts: Iterable[Account], release: int | None) -> None:
        """Note in journals of deploys that were cut off that a later one completed them."""
        for account in accounts:
            with suppress(OSError), account.path.open("ab") as file:
                # On a line of its own, whatever the last one was cut off to.
                file.write(b"\n" + _line({"event": "completed", "release": release}))

    def _files(self) -> list[Path]:
        try:
            return list(self.folder.glob("*.jsonl")) if self.folder is not None else []
        except OSError:
            return []

    def _prune(self) -> None:
        files = sorted(self._files(), reverse=True)
        finished = [path for path in files if _is_finished(path)]
        unfinished = [path for path in files if path not in finished]
        for path in [*finished[KEPT_JOURNALS - 1 :], *unfinished[KEPT_JOURNALS - 1 :]]:
            if not _is_locked(path):
                with suppress(OSError):
                    path.unlink()


class Journal:
    """The journal of one deploy, while it is written. Safe to use from several threads; never raises for its disk."""

    def __init__(self, on_trouble: Callable[[str], object] = print, *, hidden: Sequence[str] = ()) -> None:
        self._on_trouble = on_trouble
        self._hidden = hidden
        self._guard = threading.Lock()
        self._descriptor: int | None = None
        self._path: Path | None = None

    def open(self, path: Path, head: Mapping[str, Any]) -> None:
        """Create the file with its first line. Raises OSError."""
        import fcntl

        # Private: names of rules and of machines are nobody else's business.
        self._descriptor = os.open(
            path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        self._path = path
        try:
            with suppress(OSError):  # not on every network file system; it only says that we are still alive
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._append(head)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # the name of the file, too, survives a crash
            finally:
                os.close(folder)
        except OSError:
            self.close()
            with suppress(OSError):
                path.unlink()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. One that was not ended before stays as one that was cut off."""
        with self._guard:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def release(self, number: int) -> None:
        """Note the number of the release."""
        self._note({"event": "release", "number": number})

    def begins(self, keys: Iterable[ArtifactKey]) -> None:
        """Note what is about to be sent; on disk when this returns."""
        self._note({"event": "writing", "artifacts": [list(key) for key in keys]})

    def outcome(
        self,
        written: Iterable[ArtifactKey] = (),
        refused: Iterable[tuple[ArtifactKey, str]] = (),
        unknown: Iterable[tuple[ArtifactKey, str]] = (),
    ) -> None:
        """Note what became of what was sent. `unknown`: no answer tells whether it arrived."""
        parts: dict[str, Any] = {
            "artifacts": [list(key) for key in written],
            "refused": [[*key, self._told(error)] for key, error in refused],
            "unknown": [[*key, self._told(error)] for key, error in unknown],
        }
        self._note({"event": "written", **{name: part for name, part in parts.items() if part}})

    def end(self, state: str) -> None:
        """Note how the deploy ended: `complete`, `incomplete`, `interrupted`, or `nothing` where none was begun."""
        self._note({"event": "ended", "state": state})

    def _told(self, error: str) -> str:
        for text in self._hidden:
            error = error.replace(text, "…")
        return error[:_LONGEST_ERROR]

    def _note(self, record: Mapping[str, Any]) -> None:
        with self._guard:
            if self._descriptor is None:
                return
            try:
                self._append(record)
            except OSError as error:
                # From here on it would say too little: better none than one that is not true.
                os.close(self._descriptor)
                self._descriptor = None
                assert self._path is not None
                with suppress(OSError):
                    self._path.unlink()
                self._on_trouble(
                    f"the journal {self._path} cannot be written: {error.strerror}; it was removed"
                )

    def _append(self, record: Mapping[str, Any]) -> None:
        assert self._descriptor is not None
        data = memoryview(_line(record))
        while data:
            data = data[os.write(self._descriptor, data) :]
        os.fsync(self._descriptor)


def _line(record: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"at": _now(), **record}) + b"\n"


# Reading --------------------------------------------------------------------------------------------------


def _is_locked(path: Path) -> bool:
    """Return whether a deployer still has the file open."""
    import fcntl

    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _is_finished(path: Path) -> bool:
    """Return whether a journal says at its end that all was done, then or by a later deploy."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL))
            tail = file.read()
    except OSError:
        return False
    records = [record for line in tail.splitlines() if (record := _parsed(line)) is not None]
    return any(
        record.get("event") == "completed"
        or (record.get("event") == "ended" and record.get("state") in {"complete", "nothing"})
        for record in records
    )


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None


def read_journal(path: Path) -> Account | None:
    """Return what a journal says; None for one without its first line, which was cut off before anything was done."""
    running = _is_locked(path)
    try:
        lines = [line for line in path.read_bytes().split(b"\n") if line.strip()]
    except OSError:
        return None
    records = [_parsed(line) for line in lines]
    head = records[0] if records else None
    if head is None or head.get("event") != "begun" or head.get("format") != FORMAT:
        return None
    # The last line of a deployer that was killed may be half a line: what it would have said was not begun then.
    damaged = sum(record is None for record in records[:-1])
    try:
        return _account(path, [record for record in records if record is not None], damaged, running)
    except (KeyError, TypeError, ValueError):
        return None


def _account(path: Path, records: Sequence[Mapping[str, Any]], damaged: int, running: bool) -> Account:
    head = records[0]
    hashes = {ArtifactKey(kind, name): body_hash for _, kind, name, body_hash in head["changes"]}
    begun: dict[ArtifactKey, None] = {}
    written: dict[ArtifactKey, None] = {}
    refused: dict[ArtifactKey, str] = {}
    release, ended = None, ""
    for record in records[1:]:
        keys = [ArtifactKey(*each) for each in record.get("artifacts", ())]
        if record["event"] == "writing":
            begun.update(dict.fromkeys(keys))
        elif record["event"] == "written":
            written.update(dict.fromkeys(keys))
            refused.update(
                {ArtifactKey(kind, name): error for kind, name, error in record.get("refused", ())}
            )
        elif record["event"] == "release":
            release = int(record["number"])
        elif record["event"] == "ended":
            ended = str(record["state"])
    return Account(
        path=path,
        cluster=head["cluster"],
        cluster_uuid=head["cluster_uuid"],
        urls=tuple(head["urls"]),
        pack=head["pack"],
        begun=head["at"],
        last=records[-1]["at"],
        by=head["by"],
        revision=head["revision"],
        release=release,
        restores=head["restores"],
        removal=head["removal"],
        running=running,
        ended=ended,
        damaged=damaged,
        hashes=hashes,
        written=tuple(written),
        refused=tuple(refused.items()),
        in_flight=tuple(key for key in begun if key not in written and key not in refused),
        not_begun=tuple(key for key in hashes if key not in begun and key not in written),
    )
