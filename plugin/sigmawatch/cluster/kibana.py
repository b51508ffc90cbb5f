"""A Kibana: requests below a space, with what Kibana wants in their headers.

Sources: the pages "Using the APIs" and "Spaces" of Kibana's guide, and its `core/http` for the header `kbn-xsrf`,
without which every request that changes something is answered with 400.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from sigmawatch.cluster.connection import Connection, url_path
from sigmawatch.cluster.failures import ResponseError
from sigmawatch.errors import ClusterError, TargetUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from sigmawatch.cluster.node import CompatibleNode
    from sigmawatch.cluster.retry import RetryPolicy
    from sigmawatch.cluster.settings import KibanaSettings

__all__ = ["DEFAULT_SPACE", "Kibana"]

DEFAULT_SPACE = "default"
"""The space that has no prefix in the addresses."""

_HEADERS = {"kbn-xsrf": "sigmawatch", "elastic-api-version": "2023-10-31"}
"""The version is that of all public APIs since 8.10; older ones do not look at it."""


class Kibana(Connection):
    """One Kibana, and the space that things are deployed to."""

    endpoint = "Kibana"

    def __init__(
        self,
        settings: KibanaSettings,
        *,
        node_class: type[CompatibleNode],
        retry: RetryPolicy,
        sleep: Callable[[float], None],
    ) -> None:
        super().__init__(settings.connection, node_class=node_class, retry=retry, sleep=sleep)
        self.space = settings.space
        self._known_spaces: set[str] = set()
        self._known_engines: set[str] = set()

    @property
    def version(self) -> str:
        """Its version; asked once. Raises ClusterError when no Kibana answers."""
        with self._asking:
            return self._version

    @cached_property
    def _version(self) -> str:
        answer = super().request("GET", "/api/status", headers=_HEADERS)
        version = answer.get("version") if isinstance(answer, dict) else None
        if not isinstance(version, dict) or "number" not in version:
            raise ClusterError(
                f"{self.url} is no Kibana", hint="kibana.url is where people open Kibana in the browser."
            )
        return str(version["number"])

    def __str__(self) -> str:
        """Return product, version and address."""
        return f"Kibana {self.version} at {self.url}"

    def in_space(
        self,
        space: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        ignore: Collection[int] = (),
        idempotent: bool | None = None,
        text: bool = False,
    ) -> Any:
        """Send a request within a space; see `request`, which this is otherwise."""
        prefix = "" if space == DEFAULT_SPACE else url_path("s", space)
        return self.request(
            method,
            f"{prefix}{path}",
            body,
            params=params,
            headers={**_HEADERS, **(headers or {})},
            ignore=ignore,
            idempotent=idempotent,
            text=text,
        )

    def require_space(self, space: str) -> None:
        """Raise TargetUnavailable when there is no such space: Kibana would write into it all the same."""
        with self._asking:
            if space in self._known_spaces:
                return
            _ = self.version
            path = url_path("api", "spaces", "space", space)
            try:
                found = self.request("GET", path, headers=_HEADERS, ignore=(404,))
            except ResponseError as error:
                if error.status != 403:
                    raise
                found = {}  # not allowed to look: the request itself will say what it lacks
            if found is None:
                raise TargetUnavailable(
                    f"{self} has no space {space}",
                    hint="Make it in Kibana, or name another one (kibana.space, SIGMAWATCH_KIBANA_SPACE).",
                )
            self._known_spaces.add(space)

    def require_detection_engine(self, space: str) -> None:
        """Raise TargetUnavailable when a space cannot take detection rules."""
        with self._asking:
            if space in self._known_engines:
                return
            self.require_space(space)
            try:
                found = self.in_space(space, "GET", "/api/detection_engine/privileges")
            except ResponseError as error:
                if error.status != 404:
                    raise
                raise TargetUnavailable(
                    f"{self} has no detection engine",
                    hint="It is part of Elastic Security; is that switched off in this Kibana?",
                ) from error
            if not found.get("has_encryption_key", True):
                raise TargetUnavailable(
                    f"{self} has no encryption key, so it takes no detection rules",
                    hint="Set xpack.encryptedSavedObjects.encryptionKey in kibana.yml.",
                )
            self._known_engines.add(space)
