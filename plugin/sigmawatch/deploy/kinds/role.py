"""Roles of Elasticsearch's security."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.deploy.kind import Body, Kind, Write
from sigmawatch.deploy.kinds._shapes import marked, marks_in, unmarked
from sigmawatch.errors import TargetUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sigmawatch.cluster import Cluster, ClusterInfo

__all__ = ["Role"]

_EMPTY: tuple[Any, ...] = ([], {}, None, "")


class Role(Kind):
    """`_security/role`."""

    name = "role"
    rank = 5

    def read_all(self, cluster: Cluster, ids: Iterable[str]) -> Mapping[str, Body]:
        """Read all roles at once; the built-in ones are among them."""
        wanted = set(ids)
        if not wanted:
            return {}
        if cluster.info.distribution != "elasticsearch":
            raise TargetUnavailable(
                f"{cluster.info} has no roles of Elasticsearch",
                hint="Make them in OpenSearch's security plugin.",
            )
        try:
            answer = cluster.request("GET", "/_security/role", ignore=(404,)) or {}
        except ResponseError as error:
            if error.status in {400, 405, 500}:
                raise TargetUnavailable(
                    f"security is switched off in {cluster.info}", hint="Roles need xpack.security.enabled."
                ) from error
            raise
        return {name: body for name, body in answer.items() if name in wanted}

    def read(self, cluster: Cluster, artifact_id: str) -> Body | None:
        """Read one by its name."""
        answer = cluster.request("GET", url_path("_security", "role", artifact_id), ignore=(404,)) or {}
        return answer.get(artifact_id)

    def write(self, cluster: Cluster, one: Write) -> None:
        """Replace the role; privileges that do not exist are refused."""
        self.look(cluster, one)
        cluster.request("PUT", url_path("_security", "role", one.id), one.body)

    def delete(self, cluster: Cluster, artifact_id: str) -> None:
        """Delete the role; users and keys that had it lose what it gave."""
        cluster.request("DELETE", url_path("_security", "role", artifact_id), ignore=(404,))

    def normalise(self, body: Mapping[str, Any]) -> Body:
        """Leave out marks, empty parts, and what servers add."""
        copy = unmarked(body, within="metadata")
        copy.pop("transient_metadata", None)  # `enabled`: whether the licence allows it right now
        copy["indices"] = [
            {
                key: [value] if key in {"names", "privileges"} and isinstance(value, str) else value
                for key, value in access.items()
                if value not in _EMPTY and (key, value) != ("allow_restricted_indices", False)
            }
            for access in copy.get("indices") or copy.pop("index", None) or ()
        ]
        return {key: value for key, value in copy.items() if value not in _EMPTY}

    def mark(self, body: Mapping[str, Any], marks: Mapping[str, str], info: ClusterInfo) -> Body:
        """Mark in `metadata`."""
        del info
        return marked(body, marks, within="metadata")

    def marks_of(self, body: Mapping[str, Any]) -> Mapping[str, str]:
        """Return the marks in `metadata`."""
        return marks_in(body, within="metadata")
