"""Deploying packs of many rules to an embedded engine: seconds and requests of first, no-op and one-change deploys."""

from __future__ import annotations

import argparse
import time
from typing import Any

from sigmawatch import engine
from sigmawatch.artifact import Artifact
from sigmawatch.cluster import Cluster, CompatibleNode, ConnectionSettings, connect
from sigmawatch.deploy import apply, plan

PIPELINES = 60

PLAN = {
    "query": {"bool": {"filter": [{"term": {"process.name": f"program-{n}.exe"}} for n in range(40)]}},
    "rule": {"title": "t" * 80, "description": "d" * 800},
}


def bundle(rules: int, *, changed: bool = False) -> list[Artifact]:
    """Return a bundle; changed is one of its rules."""
    processors = [{"set": {"field": "a", "value": "b"}}]
    found = [
        Artifact(
            "ingest_pipeline", f"sigmawatch-bench-{n}", {"description": str(n), "processors": processors}
        )
        for n in range(PIPELINES)
    ]
    return found + [
        Artifact(
            "detection", f"bench-{n}", {**PLAN, "number": n, "interval": 60 if changed and n == 0 else 300}
        )
        for n in range(rules)
    ]


class CountingNode(CompatibleNode):
    """Counts requests."""

    requests = 0

    def perform_request(self, *args: Any, **kwargs: Any) -> Any:
        CountingNode.requests += 1
        return super().perform_request(*args, **kwargs)


def measured(cluster: Cluster, artifacts: list[Artifact]) -> str:
    """Deploy, and return what it took."""
    start, requests = time.perf_counter(), CountingNode.requests
    planned = plan(cluster, artifacts, pack="bench")
    middle, between = time.perf_counter(), CountingNode.requests
    apply(cluster, planned)
    end = time.perf_counter()
    return (
        f"plan {middle - start:6.2f} s {between - requests:4} requests   "
        f"apply {end - middle:6.2f} s {CountingNode.requests - between:4} requests   {planned.summary}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", type=int, nargs="+", default=[100, 1000, 3000])
    options = parser.parse_args()
    for rules in options.rules:
        # A node for each: nothing of a smaller pack is there before.
        with (
            engine.temporary() as node,
            connect(ConnectionSettings(node.url), node_class=CountingNode) as cluster,
        ):
            print(f"{rules} rules and {PIPELINES} pipelines")
            for name, artifacts in (
                ("first", bundle(rules)),
                ("no-op", bundle(rules)),
                ("one change", bundle(rules, changed=True)),
            ):
                print(f"  {name:<11} {measured(cluster, artifacts)}", flush=True)


if __name__ == "__main__":
    main()
