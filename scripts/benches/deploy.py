"""Deploying packs of many rules to an embedded engine: seconds and requests of first, no-op and one-change deploys."""

from __future__ import annotations

import argparse
import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
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


def measured(cluster: Cluster, artifacts: list[Artifact]) -> dict[str, Any]:
    """Deploy, and return what it took: seconds on the clock, our own CPU's, and requests."""
    begun, start, requests = time.process_time(), time.perf_counter(), CountingNode.requests
    planned = plan(cluster, artifacts, pack="bench")
    middle, between = time.perf_counter(), CountingNode.requests
    apply(cluster, planned)
    end = time.perf_counter()
    return {
        "plan_seconds": round(middle - start, 2),
        "plan_requests": between - requests,
        "apply_seconds": round(end - middle, 2),
        "apply_requests": CountingNode.requests - between,
        "cpu_seconds": round(time.process_time() - begun, 2),
        "what": planned.summary,
    }


def line(one: dict[str, Any]) -> str:
    """Return a measurement in a line."""
    return (
        f"plan {one['plan_seconds']:6.2f} s {one['plan_requests']:4} requests   "
        f"apply {one['apply_seconds']:6.2f} s {one['apply_requests']:4} requests   "
        f"our CPU {one['cpu_seconds']:5.2f} s   {one['what']}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", type=int, nargs="+", default=[100, 1000, 3000])
    parser.add_argument("--output", type=Path, help="Write the measurements to this file, as JSON.")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    engine_name = ""
    for rules in options.rules:
        # A node for each: nothing of a smaller pack is there before.
        with (
            engine.temporary() as node,
            connect(ConnectionSettings(node.url), node_class=CountingNode) as cluster,
        ):
            engine_name = str(cluster.info).partition(",")[0]
            print(f"{rules} rules and {PIPELINES} pipelines")
            for name, artifacts in (
                ("first", bundle(rules)),
                ("no-op", bundle(rules)),
                ("one change", bundle(rules, changed=True)),
            ):
                one = measured(cluster, artifacts)
                found.setdefault(str(rules), {})[name] = one
                print(f"  {name:<11} {line(one)}", flush=True)
    if options.output is not None:
        about = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "engine": engine_name, "pipelines": PIPELINES}
        text = json.dumps({**about, "load_average": os.getloadavg()[0], "rules": found}, indent=2)
        options.output.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
