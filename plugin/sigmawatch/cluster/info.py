"""What a cluster says it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from sigmawatch.errors import ClusterError

__all__ = ["ClusterInfo", "parse_info"]

_OLDEST = {"elasticsearch": (8, 0), "opensearch": (2, 0)}


@dataclass(frozen=True)
class ClusterInfo:
    """Identity of a cluster, from `GET /`."""

    distribution: Literal["elasticsearch", "opensearch"]
    version: tuple[int, int, int]
    name: str
    """Name of the cluster."""
    uuid: str
    """Unique id of the cluster, `_na_` while it forms."""
    serverless: bool = False
    """Elastic Cloud Serverless: no version, no Watcher."""

    def __str__(self) -> str:
        product = "Elasticsearch" if self.distribution == "elasticsearch" else "OpenSearch"
        number = "Serverless" if self.serverless else ".".join(map(str, self.version))
        return f"{product} {number}, cluster {self.name}"


def parse_info(answer: Any, url: str) -> ClusterInfo:
    """Build ClusterInfo from the answer of `GET /`. Raises ClusterError for anything we do not support."""
    version = answer.get("version") if isinstance(answer, dict) else None
    number = version.get("number") if isinstance(version, dict) else None
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", str(number or ""))
    if not isinstance(version, dict) or not found:
        raise ClusterError(
            f"{url}: answers JSON, but is neither Elasticsearch nor OpenSearch",
            hint="Check the address; a path before the cluster's API belongs to it.",
        )
    # With `compatibility.override_main_response_version` OpenSearch calls itself 7.10.2.
    is_opensearch = (
        version.get("distribution") == "opensearch" or "opensearch" in str(answer.get("tagline", "")).lower()
    )
    parts = (int(found[1]), int(found[2]), int(found[3] or 0))
    info = ClusterInfo(
        distribution="opensearch" if is_opensearch else "elasticsearch",
        version=parts,
        name=str(answer.get("cluster_name", "")),
        uuid=str(answer.get("cluster_uuid", "")),
        serverless=version.get("build_flavor") == "serverless",
    )
    overridden = is_opensearch and parts[0] == 7
    if not info.serverless and not overridden and parts[:2] < _OLDEST[info.distribution]:
        raise ClusterError(
            f"{url}: {info} is not supported", hint="Supported: Elasticsearch 8 and 9, OpenSearch 2 and 3."
        )
    return info
