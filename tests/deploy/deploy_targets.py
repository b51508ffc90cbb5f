"""Clusters for deploy tests: cleaned before and after, with every request counted."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sigmawatch.artifact import Artifact
from sigmawatch.cluster import Cluster, CompatibleNode, ConnectionSettings, connect
from sigmawatch.deploy import ApplyResult, Plan, apply, plan

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "swtest-"


@dataclass
class Target:
    """A cluster to deploy to, and what was asked of it."""

    cluster: Cluster
    requests: list[str] = field(default_factory=list)
    """Method and path of every request so far."""

    def plan(self, *artifacts: Artifact, pack: str = "p", **options: Any) -> Plan:
        return plan(self.cluster, artifacts, pack=pack, **options)

    def deploy(self, *artifacts: Artifact, pack: str = "p", **options: Any) -> ApplyResult:
        return apply(self.cluster, self.plan(*artifacts, pack=pack, **options))

    def actions(self, *artifacts: Artifact, **options: Any) -> list[str]:
        return [change.action.value for change in self.plan(*artifacts, **options).changes]

    @contextmanager
    def counted(self) -> Iterator[list[str]]:
        """Yield the list of requests made inside the block."""
        inside: list[str] = []
        start = len(self.requests)
        yield inside
        inside.extend(self.requests[start:])


def target_at(url: str) -> Target:
    requests: list[str] = []

    class CountingNode(CompatibleNode):
        def perform_request(self, method: str, target: str, *args: Any, **kwargs: Any) -> Any:
            requests.append(f"{method} {target}")
            return super().perform_request(method, target, *args, **kwargs)

    return Target(connect(ConnectionSettings(url), node_class=CountingNode), requests)


def clean(cluster: Cluster) -> None:
    names = ["sigmawatch-registry", "sigmawatch-releases", "sigmawatch-detections", f"{PREFIX}index"]
    for name in names:
        cluster.request("DELETE", f"/{name}", params={"ignore_unavailable": "true"}, ignore=(404,))
    if cluster.info.distribution == "opensearch":
        cluster.request("DELETE", f"/_data_stream/{PREFIX}*", ignore=(404,))
    cluster.request("DELETE", f"/_index_template/{PREFIX}*", ignore=(404,))
    cluster.request("DELETE", f"/_component_template/{PREFIX}*", ignore=(404,))
    cluster.request("DELETE", f"/_ingest/pipeline/{PREFIX}*", ignore=(404,))
    for name in ("script", "other"):
        cluster.request("DELETE", f"/_scripts/{PREFIX}{name}", ignore=(404,))


@contextmanager
def cleaned(url: str) -> Iterator[Target]:
    target = target_at(url)
    with target.cluster:
        clean(target.cluster)
        yield target
        clean(target.cluster)


def pipeline(name: str, value: str = "1", **more: Any) -> Artifact:
    body = {"description": name, "processors": [{"set": {"field": "a", "value": value}}]}
    return Artifact("ingest_pipeline", f"{PREFIX}{name}", body, source=f"{name}.yml", **more)
