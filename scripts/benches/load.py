"""Speed of `sigmawatch ingest` beside that of the bare engine, with the same lines and the same pipeline.

Bare is a client that does nothing but send bulk requests made beforehand, as many at once and as long as those of
`ingest`. The rounds of both take turns on one node, so that what else runs on the machine disturbs both alike. The
node has the optimising compiler, as users' clusters do.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson

from sigmawatch import engine
from sigmawatch.bundle import traits_of
from sigmawatch.cluster import Cluster, ConnectionSettings, connect, url_path
from sigmawatch.datasets import artifacts, base_artifacts, load_datasets
from sigmawatch.deploy.kind import Write
from sigmawatch.deploy.kinds import all_kinds
from sigmawatch.ingest.sender import BATCH_LINES, PARALLEL

ROOT = Path(__file__).parents[2] / "ingest_pipelines"
DATASET = "flow.aws_vpc"
LINE = "2 123456789010 eni-0a1b2c3d 203.0.113.{a} 10.0.{b}.{c} {port} 443 6 {n} {size} 1772359200 1772359260 ACCEPT OK"
PROGRAM = Path(sys.executable).with_name("sigmawatch")


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/bench load", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--lines", type=int, default=200_000, help="in each round [default: 200000]")
    parser.add_argument("--rounds", type=int, default=3, help="the median of them counts [default: 3]")
    parser.add_argument("--json", action="store_true", help="print figures for machines")
    options = parser.parse_args()
    pick = random.Random(1)  # noqa: S311  # the same lines every time
    lines = [
        LINE.format(
            a=pick.randrange(1, 255), b=pick.randrange(255), c=pick.randrange(1, 255),
            port=pick.randrange(1024, 65536), n=pick.randrange(1, 1000), size=number,
        )
        for number in range(options.lines)
    ]  # fmt: skip
    bare, ours = [], []
    with (
        tempfile.TemporaryDirectory() as folder,
        engine.temporary(heap="1g", steady=True) as node,
        connect(ConnectionSettings(node.url, timeout=120)) as cluster,
    ):
        path = Path(folder) / "flow.log"
        path.write_text("\n".join(lines) + "\n")
        _install(cluster)
        for number in range(options.rounds + 1):  # the first is for the compiler
            bare.append(options.lines / _bare(cluster, lines, f"bare{number}"))
            ours.append(options.lines / _ours(node.url, path, f"ours{number}"))
    rate, own = statistics.median(bare[1:]), statistics.median(ours[1:])
    result = {
        "lines": options.lines,
        "bare_lines_per_second": round(rate),
        "ingest_lines_per_second": round(own),
        "ratio": round(own / rate, 2),
    }
    if options.json:
        sys.stdout.buffer.write(orjson.dumps(result, option=orjson.OPT_APPEND_NEWLINE))
    else:
        print("\n".join(f"{name}: {value:,}" for name, value in result.items()))
    return 0


def _install(cluster: Cluster) -> None:
    traits = traits_of(cluster.features())
    dataset = next(one for one in load_datasets(ROOT) if one.name == DATASET)
    for artifact in [*base_artifacts(traits), *artifacts(dataset, traits=traits)]:
        all_kinds()[artifact.kind].write(cluster, Write(artifact.id, dict(artifact.body)))


def _bare(cluster: Cluster, lines: list[str], namespace: str) -> float:
    """Return the seconds for requests that were made beforehand."""
    stream = f"logs-{DATASET}-{namespace}"
    bodies = [
        b"".join(
            orjson.dumps({"create": {"_id": f"{start + n:032}"}})
            + b"\n"
            + orjson.dumps({"message": line})
            + b"\n"
            for n, line in enumerate(lines[start : start + BATCH_LINES])
        )
        for start in range(0, len(lines), BATCH_LINES)
    ]
    path = url_path(stream, "_bulk")
    started = time.perf_counter()
    with ThreadPoolExecutor(PARALLEL) as pool:
        for answer in pool.map(
            lambda body: cluster.request("POST", path, body, params={"filter_path": "errors"}), bodies
        ):
            if answer["errors"]:
                raise SystemExit("the cluster refused lines")
    seconds = time.perf_counter() - started
    cluster.request("DELETE", url_path("_data_stream", stream))
    return seconds


def _ours(url: str, path: Path, namespace: str) -> float:
    """Return the seconds that `ingest` says its load took, without the start of Python."""
    done = subprocess.run(
        [
            PROGRAM,
            "ingest",
            "--dataset",
            DATASET,
            "--namespace",
            namespace,
            "--url",
            url,
            "--format",
            "json",
            path,
        ],
        stdout=subprocess.PIPE,
        check=True,
    )
    answer = orjson.loads(done.stdout)
    if answer["datasets"][DATASET]["created"] != sum(1 for _ in path.open()):
        raise SystemExit("not all lines were loaded")
    with connect(ConnectionSettings(url)) as cluster:
        cluster.request("DELETE", url_path("_data_stream", f"logs-{DATASET}-{namespace}"))
    seconds: float = answer["seconds"]
    return seconds


if __name__ == "__main__":
    sys.exit(main())
