"""Roles of OpenSearch's security plugin.

All roles are one document of the plugin's index, so that of two writes at the same moment one is refused, whatever
roles they are about; such a write is repeated after another look. There is no place for marks: the registry alone
knows the owner. Roles that the plugin brings (`static`) or its administrator keeps (`reserved`, `hidden`) are shown or
not, and refused with 403 or 404 when somebody writes them.

Sources: `RolesApiAction`, `AbstractApiAction`, `EndpointValidator`, `RequestContentValidator` and `RoleV7` of
opensearch-project/security.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.deploy.kind import Body, Kind, Write
from sigmawatch.errors import TargetUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sigmawatch.cluster import Cluster

__all__ = ["OpenSearchRole"]

_ROLES = ("_plugins", "_security", "api", "roles")
_SERVERS = frozenset({"hidden", "reserved", "static"})
_EMPTY: tuple[Any, ...] = ([], {}, None, "")

_CONFLICTS = 5
"""How often somebody else may have written a role at the same moment."""
_PAUSE = 0.2
"""Seconds after which it is tried again, at first."""


class OpenSearchRole(Kind):
    """`_plugins/_security/api/roles`. There is no place for marks: the registry alone knows the owner."""

    name = "opensearch_role"
    rank = 5
    batch_size = 1_000
    """One after the other: two of ours at the same moment would refuse each other."""

    def read_all(self, cluster: Cluster, ids: Iterable[str]) -> Mapping[str, Body]:
        """Read all roles at once; those that the plugin brings are among them."""
        wanted = set(ids)
        if not wanted:
            return {}
        answer = _asked(cluster, *_ROLES) or {}
        return {name: body for name, body in answer.items() if name in wanted}

    def read(self, cluster: Cluster, artifact_id: str) -> Body | None:
        """Read one by its name."""
        answer = _asked(cluster, *_ROLES, artifact_id) or {}
        return answer.get(artifact_id)

    def write(self, cluster: Cluster, one: Write) -> None:
        """Replace the role; who is mapped to it has what it gives now at once."""

        def put() -> None:
            self.look(cluster, one)
            cluster.request("PUT", url_path(*_ROLES, one.id), one.body)

        _through_conflicts(put)

    def delete(self, cluster: Cluster, artifact_id: str) -> None:
        """Delete the role; its mapping stays, and would count for another one of that name."""

        def delete() -> None:
            cluster.request("DELETE", url_path(*_ROLES, artifact_id), ignore=(404,))

        _through_conflicts(delete)

    def normalise(self, body: Mapping[str, Any]) -> Body:
        """Leave out empty parts, and what servers add."""
        copy = {key: value for key, value in body.items() if key not in _SERVERS}
        for part in ("index_permissions", "tenant_permissions"):
            copy[part] = [
                {key: value for key, value in access.items() if value not in _EMPTY}
                for access in copy.get(part) or ()
            ]
        return {key: value for key, value in copy.items() if value not in _EMPTY}


def _asked(cluster: Cluster, *path: str) -> Any:
    """Return the answer of the plugin, None where there is none. Raises TargetUnavailable where there is no plugin."""
    if cluster.info.distribution != "opensearch":
        raise TargetUnavailable(
            f"{cluster.info} has no roles of OpenSearch's security plugin",
            hint="Roles of Elasticsearch are artifacts of the kind role.",
        )
    try:
        return cluster.request("GET", url_path(*path), ignore=(404,))
    except ResponseError as error:
        # Without the plugin, or switched off by plugins.security.disabled, nobody knows the path.
        if error.status in {400, 405}:
            raise TargetUnavailable(
                f"{cluster.info} has no security plugin, or it is switched off",
                hint="Roles need the plugin opensearch-security.",
            ) from error
        raise


def _through_conflicts(write: Callable[[], None]) -> None:
    """Write, and again while somebody else wrote at the same moment. Raises ChangedMeanwhile, ClusterError."""
    for conflicts in range(_CONFLICTS):
        try:
            write()
        except ResponseError as error:
            if error.status != 409 or conflicts + 1 == _CONFLICTS:
                raise
            time.sleep(_PAUSE * 2**conflicts)
        else:
            return
