"""One deployer at a time: a lock document with an expiry, renewed while its holder lives."""

from __future__ import annotations

import os
import secrets
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.deploy.origin import whoami
from sigmawatch.deploy.registry import REGISTRY_INDEX
from sigmawatch.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmawatch.cluster import Cluster

__all__ = ["DEFAULT_SECONDS", "DeployLock", "DeployLocked", "holder"]

DEFAULT_SECONDS = 60.0
"""How long a dead deployer blocks others. Renewed after each third of it."""

_PATH = url_path(REGISTRY_INDEX, "_doc", "lock")
_CREATE = url_path(REGISTRY_INDEX, "_create", "lock")


class DeployLocked(ClusterError):  # a state of the cluster, like TargetUnavailable
    """Somebody else is deploying, or took the lock from us."""


def _now() -> datetime:
    return datetime.now(UTC)


class DeployLock:
    """The lock, held within a `with` block. Entering raises DeployLocked while somebody else holds it.

    The registry index must exist. Expiry is compared with this machine's clock, so clocks of deployers should
    agree to a fraction of `seconds`.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        seconds: float = DEFAULT_SECONDS,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._cluster = cluster
        self._seconds = seconds
        self._clock = clock
        self._token = secrets.token_hex(8)
        self._version: dict[str, int] = {}
        self._lost = threading.Event()
        self._ended = threading.Event()
        self._renewing: threading.Thread | None = None

    @property
    def lost(self) -> bool:
        """Whether the lock is no longer ours: nothing more may be written."""
        return self._lost.is_set()

    def __enter__(self) -> Self:
        self._acquire()
        self._renewing = threading.Thread(target=self._renew_until_ended, name="deploy-lock", daemon=True)
        self._renewing.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        if self._renewing is not None:
            # Not for ever: it may be waiting for a cluster that is gone. Later it finds its lock gone as well.
            self._renewing.join(timeout=5)
        if not self.lost:
            try:
                self._cluster.request("DELETE", _PATH, params=self._version, ignore=(404, 409))
            except ClusterError:
                # It expires by itself; what went wrong before matters more than this.
                self._lost.set()

    def _document(self) -> dict[str, Any]:
        expires = self._clock() + timedelta(seconds=self._seconds)
        return {
            "document": "lock",
            "holder": f"{whoami()}, process {os.getpid()}",
            "token": self._token,
            "expires": expires.isoformat(timespec="seconds"),
        }

    def _acquire(self) -> None:
        for _ in range(5):
            try:
                self._keep(self._cluster.request("PUT", _CREATE, self._document()))
            except ResponseError as error:
                if error.status != 409:
                    raise
            else:
                return
            if self._take_over():
                return
        raise DeployLocked("the deploy lock changes hands faster than we can take it", hint="Try again.")

    def _take_over(self) -> bool:
        """Take a lock that expired. Returns False when it went away or somebody was faster."""
        found = self._cluster.request("GET", _PATH, ignore=(404,))
        if not found or not found.get("found"):
            return False
        current = found["_source"]
        # Our own token: our first PUT got through, only its answer got lost.
        if current.get("token") != self._token and self._clock() < _expiry(current):
            raise DeployLocked(
                f"{current.get('holder')} is deploying, until {current.get('expires')} at the latest",
                hint="Wait for it; a deployer that died gives way at that time.",
            )
        version = {"if_seq_no": found["_seq_no"], "if_primary_term": found["_primary_term"]}
        try:
            self._keep(self._cluster.request("PUT", _PATH, self._document(), params=version))
        except ResponseError as error:
            if error.status != 409:
                raise
            return False
        return True

    def _keep(self, answer: dict[str, Any]) -> None:
        self._version = {"if_seq_no": answer["_seq_no"], "if_primary_term": answer["_primary_term"]}

    def _renew_until_ended(self) -> None:
        expires = self._clock() + timedelta(seconds=self._seconds)
        while not self._ended.wait(self._seconds / 3):
            try:
                self._keep(self._cluster.request("PUT", _PATH, self._document(), params=self._version))
                expires = self._clock() + timedelta(seconds=self._seconds)
            except ClusterError as error:
                conflict = isinstance(error, ResponseError) and error.status == 409
                if conflict and self._is_still_ours():
                    continue
                if conflict or self._clock() >= expires:
                    self._lost.set()
                    return

    def _is_still_ours(self) -> bool:
        """Look after a conflict: it may have been with ourselves, when the answer to a renewal got lost."""
        try:
            found = self._cluster.request("GET", _PATH, ignore=(404,))
        except ClusterError:
            return False
        if not found or not found.get("found") or found["_source"].get("token") != self._token:
            return False
        self._keep(found)
        return True


def holder(cluster: Cluster) -> str:
    """Return who is deploying right now; empty when nobody is. Raises ClusterError."""
    found = cluster.request("GET", _PATH, ignore=(404,))
    if not found or not found.get("found") or _now() >= _expiry(found["_source"]):
        return ""
    return str(found["_source"].get("holder"))


def _expiry(document: dict[str, Any]) -> datetime:
    try:
        return datetime.fromisoformat(str(document.get("expires")))
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
