"""Cost of every ingest pipeline beside that of indexing its finished documents without one.

The lines are those of the samples that become events, many times over with other addresses. CPU is what the system
counts for the node, which other work on the machine disturbs little; the ratio is that of the CPU of finished documents
to the CPU of raw lines. The node has the optimising compiler, as users' clusters do, and gets lines to work on until
that has done with the script: before some 150,000 lines a script costs two to five times as much, compiling included.
"""

from __future__ import annotations

import argparse
import random
import re
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import psutil
from rich.console import Console
from rich.table import Table

from sigmawatch import engine
from sigmawatch.artifact import with_secrets
from sigmawatch.bundle import traits_of
from sigmawatch.cluster import Cluster, ConnectionSettings, connect, url_path
from sigmawatch.datasets import (
    DatasetSettings,
    artifacts,
    base_artifacts,
    load_datasets,
    samples,
    with_enrichments,
)
from sigmawatch.datasets.derive import ENRICHMENTS
from sigmawatch.datasets.privacy import Privacy
from sigmawatch.datasets.pseudonyms import Pseudonyms
from sigmawatch.datasets.threat_intel import Indicator, threat_intel_artifact
from sigmawatch.deploy.kind import Write
from sigmawatch.deploy.kinds import all_kinds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sigmawatch.artifact import Artifact
    from sigmawatch.datasets import Dataset

ROOT = Path(__file__).parents[2] / "ingest_pipelines"
TARGET = 0.6
BATCH = 2000
A_NODE = 12
"""Datasets measured on one node: scripts and indices of many fill its heap."""
RAW, FINISHED = "benchraw", "benchfinished"
_KEY = Pseudonyms(b"no secret, as nothing of it is kept")
_ADDRESS = re.compile(r"\b((?:\d{1,3}\.){3})\d{1,3}\b")


@dataclass(frozen=True)
class Measured:
    """What a dataset's documents cost."""

    dataset: str
    pipeline_us: float
    """CPU microseconds a raw line, parsed and indexed."""
    finished_us: float
    """CPU microseconds a finished document, indexed only."""
    ratio: float
    lines_per_second: float
    finished_per_second: float
    bytes: float
    """Mean length of a line."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/bench ingest", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--dataset", action="append", metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--documents", type=int, default=8000, help="in each round [default: 8000]")
    parser.add_argument("--rounds", type=int, default=3, help="the median of them counts [default: 3]")
    parser.add_argument(
        "--warm-up",
        type=int,
        default=160_000,
        metavar="LINES",
        help="lines before, in which scripts get compiled [default: 160000]",
    )
    parser.add_argument("--engine", choices=["opensearch", "elasticsearch"], default="opensearch")
    parser.add_argument(
        "--enrich",
        action="append",
        default=[],
        choices=[name for name, default in ENRICHMENTS.items() if not default],
        help="make this, too, of lines with public addresses; may be repeated",
    )
    parser.add_argument("--pseudonyms", action="store_true", help="replace users and addresses")
    parser.add_argument("--json", action="store_true", help="print figures for machines")
    options = parser.parse_args()
    datasets = load_datasets(ROOT)
    unknown = set(options.dataset or ()) - {dataset.name for dataset in datasets}
    if unknown:
        parser.error(f"there is no dataset {', '.join(sorted(unknown))}")
    chosen = [dataset for dataset in datasets if not options.dataset or dataset.name in options.dataset]
    result: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "documents": options.documents,
        "rounds": options.rounds,
        "warm_up": options.warm_up,
        "datasets": {},
    }
    for start in range(0, len(chosen), A_NODE):
        with engine.temporary(engine.Engine(options.engine), heap="2g", steady=True) as node:
            with connect(ConnectionSettings(node.url)) as cluster:
                # What indexes has to be compiled as scripts have: the first figures of a node are no good.
                _measure(node, cluster, chosen[start], options)
                for dataset in chosen[start : start + A_NODE]:
                    found = _measure(node, cluster, dataset, options)
                    result["datasets"][dataset.name] = asdict(found)
                    print(
                        f"{len(result['datasets'])} of {len(chosen)}  {dataset.name}  {found.ratio}",
                        file=sys.stderr,
                    )
            result["engine"] = f"{node.engine} {node.version}"
            result["java"] = node.java.partition(" in ")[0]
    if options.json:
        sys.stdout.buffer.write(orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    else:
        _print(Console(), result)
    return 0


def _measure(node: engine.Node, cluster: Cluster, dataset: Dataset, options: argparse.Namespace) -> Measured:
    count, rounds, warm_up = options.documents, options.rounds, options.warm_up
    privacy = Privacy(users=True, addresses="all", key=_KEY.id) if options.pseudonyms else Privacy()
    settings = DatasetSettings(enrich=dict.fromkeys(options.enrich, True), privacy=privacy)
    made = _install(cluster, dataset, settings)
    vary = _abroad if options.enrich else _varied
    pick = random.Random(dataset.name)  # noqa: S311  # the same lines every time
    given = list(_usual(dataset))
    try:
        lines = [vary(pick, pick.choice(given)) for _ in range(count)]
        finished = _finished(cluster, dataset, lines)
        for number in range(-(-warm_up // count)):
            _index(node, cluster, dataset.data_stream(RAW), lines, "")
            if number % 2:  # what indexes is the same for all datasets, and soon warm
                _index(node, cluster, dataset.data_stream(FINISHED), finished, "_none")
        raw_cpu, raw_wall, finished_cpu, finished_wall = [], [], [], []
        for _ in range(rounds):
            cpu, wall = _index(node, cluster, dataset.data_stream(RAW), lines, "")
            plain_cpu, plain_wall = _index(node, cluster, dataset.data_stream(FINISHED), finished, "_none")
            raw_cpu.append(cpu)
            raw_wall.append(wall)
            finished_cpu.append(plain_cpu)
            finished_wall.append(plain_wall)
    finally:
        _remove(cluster, dataset, made)
    cost, plain = statistics.median(raw_cpu), statistics.median(finished_cpu)
    return Measured(
        dataset=dataset.name,
        pipeline_us=round(cost / count * 1e6, 1),
        finished_us=round(plain / count * 1e6, 1),
        ratio=round(plain / cost, 2),
        lines_per_second=round(count / statistics.median(raw_wall)),
        finished_per_second=round(count / statistics.median(finished_wall)),
        bytes=round(statistics.mean(len(str(line.get("message", line)).encode()) for line in lines)),
    )


def _usual(dataset: Dataset) -> Iterator[Mapping[str, Any]]:
    """Yield the documents of the sample lines that become events."""
    for sample in samples(dataset):
        documents = list(dataset.documents(sample.lines))
        for document, expected in zip(documents, sample.expected or (), strict=True):
            # Lines of thousands of characters are in samples to show that they are kept.
            usual = expected is not None and expected["event"]["kind"] != "pipeline_error"
            if usual and len(orjson.dumps(document)) < 4000:
                yield document


def _varied(pick: random.Random, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with other addresses."""
    line = document.get("message")
    if not isinstance(line, str):
        return dict(document)
    return {
        **document,
        "message": _ADDRESS.sub(lambda found: f"{found[1]}{pick.randrange(1, 255)}", line),
    }


def _abroad(pick: random.Random, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with addresses from all over the world, as many as a busy server sees in an hour."""
    line = document.get("message")
    if not isinstance(line, str):
        return dict(document)
    return {**document, "message": _ADDRESS.sub(lambda _: _public(pick.randrange(5000)), line)}


def _public(number: int) -> str:
    bits = random.Random(number)  # noqa: S311  # the same addresses every time
    return f"{bits.randrange(11, 100)}.{bits.randrange(256)}.{bits.randrange(256)}.{bits.randrange(1, 255)}"


def _indicators() -> Artifact:
    """Return the pipeline with a list of usual size, of which few of the addresses are."""
    listed = [Indicator("network", f"{_public(number)}/32") for number in range(4990, 10_000)]
    named = [Indicator("domain", f"host{number}.example.net") for number in range(5_000)]
    return threat_intel_artifact([*listed, *named])


def _install(cluster: Cluster, dataset: Dataset, settings: DatasetSettings) -> list[Artifact]:
    traits = traits_of(cluster.features())
    made = base_artifacts(traits)
    if settings.makes("threat_intel"):
        made.append(_indicators())
    dataset = with_enrichments(dataset, settings.build_options())
    for namespace in (RAW, FINISHED):
        found = artifacts(dataset, namespace=namespace, traits=traits, settings=settings)
        made += [one for one in found if one not in made]
    kinds = all_kinds()
    for artifact in made:
        body = with_secrets(dict(artifact.body), {_KEY.id: _KEY.states()})
        kinds[artifact.kind].write(cluster, Write(artifact.id, body))
    return made


def _remove(cluster: Cluster, dataset: Dataset, made: Sequence[Artifact]) -> None:
    kinds = all_kinds()
    if not any(artifact.kind == "data_stream" for artifact in made):
        for namespace in (RAW, FINISHED):
            cluster.request("DELETE", url_path(dataset.data_stream(namespace)), ignore=(404,))
    for artifact in reversed(made):
        kinds[artifact.kind].delete(cluster, artifact.id)


def _bulk(cluster: Cluster, target: str, documents: Sequence[Mapping[str, Any]], pipeline: str) -> None:
    body = b"".join(b'{"create":{}}\n' + orjson.dumps(document) + b"\n" for document in documents)
    params = {"pipeline": pipeline} if pipeline else None
    answer = cluster.request("POST", url_path(target, "_bulk"), body, params=params)
    failed = [item["create"]["error"] for item in answer["items"] if "error" in item["create"]]
    if failed:
        raise SystemExit(f"{target}: {len(failed)} documents were refused: {failed[0]}")


def _finished(cluster: Cluster, dataset: Dataset, lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what the pipeline makes of lines."""
    path = url_path("_ingest", "pipeline", dataset.pipeline_id, "_simulate")
    found: list[dict[str, Any]] = []
    for start in range(0, len(lines), BATCH):
        documents = [{"_source": line} for line in lines[start : start + BATCH]]
        results = cluster.request("POST", path, {"docs": documents})["docs"]
        found += [result["doc"]["_source"] for result in results]
    errors = [document for document in found if document["event"]["kind"] == "pipeline_error"]
    if len(errors) * 20 > len(found):
        raise SystemExit(f"{dataset.name}: {len(errors)} of the varied lines are no events: {errors[0]}")
    return found


def _index(
    node: engine.Node, cluster: Cluster, target: str, documents: Sequence[Mapping[str, Any]], pipeline: str
) -> tuple[float, float]:
    """Index documents and make them searchable; return CPU and wall seconds."""
    before, started = _cpu_seconds(node), time.perf_counter()
    for start in range(0, len(documents), BATCH):
        _bulk(cluster, target, documents[start : start + BATCH], pipeline)
    cluster.request("POST", url_path(target, "_refresh"))
    return _cpu_seconds(node) - before, time.perf_counter() - started


def _cpu_seconds(node: engine.Node) -> float:
    """Return what a node's processes have used: Elasticsearch's server is a child of its launcher."""
    launcher = psutil.Process(node.pid)
    return sum(
        times.user + times.system
        for times in (one.cpu_times() for one in [launcher, *launcher.children(recursive=True)])
    )


def _print(console: Console, result: Mapping[str, Any]) -> None:
    console.print(
        f"{result['engine']}, {result['date']}, {result['documents']:,} lines a round", highlight=False
    )
    table = Table("dataset", "bytes", "line µs", "document µs", "ratio", "lines/s", "documents/s")
    for name, one in result["datasets"].items():
        low = one["ratio"] < TARGET
        table.add_row(
            name,
            f"{one['bytes']:.0f}",
            f"{one['pipeline_us']}",
            f"{one['finished_us']}",
            f"[red]{one['ratio']}[/]" if low else f"{one['ratio']}",
            f"{one['lines_per_second']:,.0f}",
            f"{one['finished_per_second']:,.0f}",
        )
    console.print(table)
    below = [name for name, one in result["datasets"].items() if one["ratio"] < TARGET]
    if below:
        console.print(f"below {TARGET}: {', '.join(below)}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
