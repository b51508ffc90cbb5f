"""`sigmawatch demo`: everything once, on an embedded engine."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from operator import itemgetter
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from sigmawatch import engine
from sigmawatch.alerts.document import ALERTS
from sigmawatch.bundle import bundle_for
from sigmawatch.cli.alerts import alert_table
from sigmawatch.cli.downloads import reporter
from sigmawatch.cli.options import format_option
from sigmawatch.cli.terminal import counted, errors, print_json, progress_bar, results
from sigmawatch.cluster import ConnectionSettings, connect, url_path
from sigmawatch.config import DatasetTuning, Environment
from sigmawatch.demo import MOMENT, NAMESPACE, demo_logs
from sigmawatch.deploy import apply
from sigmawatch.deploy import plan as make_plan
from sigmawatch.ingest.load import load_file
from sigmawatch.pack.layout import builtin_pack
from sigmawatch.render.target import Target
from sigmawatch.run.runner import Runner
from sigmawatch.testing.testfile import parse_moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmawatch.bundle import Bundle
    from sigmawatch.cluster import Cluster

__all__ = ["command"]

NODE = "demo"


def _program() -> str:
    """Return how this program is called: by its path where a shell does not find it."""
    if which("sigmawatch") is not None:
        return "sigmawatch"
    own = Path(sys.argv[0]).absolute()
    return str(own.relative_to(Path.cwd()) if own.is_relative_to(Path.cwd()) else own)


@click.command()
@format_option("text", "json")
def command(output_format: str) -> None:
    """Show everything: raw logs in, alerts out.

    Starts an engine (fetched the first time), deploys the built-in rules and the datasets of the demo's logs, loads an
    hour of them, runs the detections and prints their alerts. The engine is left running. Running it again adds
    nothing.

    \b
    Example:
      sigmawatch demo
      sigmawatch engine stop --name demo
    """
    say = errors()
    with ExitStack() as display:
        node = engine.start(NODE, on_progress=reporter(display))
    runs_on = f"The engine runs on at {node.url}; stop it with: {_program()} engine stop --name {NODE}"
    try:
        say.print(f"{node.engine} {node.version} at {node.url}", markup=False)
        with connect(ConnectionSettings(node.url)) as cluster:
            bundle = _deploy(cluster)
            say.print(f"{len(bundle.artifacts)} artifacts deployed", markup=False)
            _load(cluster, bundle)
            tick = Runner(cluster).evaluate_at(parse_moment(MOMENT))
            found, loaded = _alerts(cluster), _loaded(cluster)
    except BaseException:  # Ctrl-C as well
        say.print(runs_on, markup=False)
        raise
    for problem in tick.problems:
        say.print(problem, style="yellow", markup=False)
    if output_format == "json":
        print_json({"url": node.url, "events": loaded, "alerts": found})
    else:
        results().print()
        results().print(_events_table(loaded))
        results().print()
        results().print(alert_table(found))
        results().print()
    say.print(f"{counted(len(tick.created), 'new alert')}, {len(found)} in all, in {ALERTS}", markup=False)
    say.print(runs_on, markup=False)
    if tick.problems or not found:
        sys.exit(1)


def _deploy(cluster: Cluster) -> Bundle:
    pack = builtin_pack()
    with demo_logs() as logs:
        # All the others are 15 s of work for a newcomer's machine, and nothing comes to them.
        used = {name: DatasetTuning(enabled=True) for name, _ in logs}
    site = Environment("", datasets={"*": DatasetTuning(enabled=False), **used})
    bundle = bundle_for(cluster, pack, target=Target.RUNNER, namespace=NAMESPACE, site=site)
    plan = make_plan(cluster, bundle.artifacts, pack=pack.name)
    with progress_bar() as progress:
        task = progress.add_task("Deploying rules and datasets", total=len(plan.changes))
        apply(
            cluster,
            plan,
            on_progress=lambda _, done, total: progress.update(task, completed=done, total=total),
        )
        progress.update(task, total=len(plan.changes), completed=len(plan.changes))
    return bundle


def _load(cluster: Cluster, bundle: Bundle) -> None:
    datasets = {dataset.name: dataset for dataset in bundle.datasets}
    with demo_logs() as logs, progress_bar(download=True) as progress:
        for name, path in logs:
            task = progress.add_task(f"Loading {path.name}", total=path.stat().st_size)
            load_file(
                cluster,
                datasets[name],
                path,
                namespace=NAMESPACE,
                on_bytes=lambda done, task=task: progress.update(task, completed=done),  # type: ignore[misc]
            )
            cluster.request("POST", f"{url_path(datasets[name].data_stream(NAMESPACE))}/_refresh")


def _loaded(cluster: Cluster) -> dict[str, dict[str, int]]:
    """Return how many events each dataset has, and how many lines that could not be read."""
    unread = {"filter": {"term": {"event.kind": "pipeline_error"}}}
    by_dataset = {"terms": {"field": "event.dataset", "size": 1000}, "aggs": {"unread": unread}}
    path = url_path(f"logs-*-{NAMESPACE}", "_search")
    answer = cluster.request("POST", path, {"size": 0, "aggs": {"datasets": by_dataset}})
    buckets = answer["aggregations"]["datasets"]["buckets"]
    return {
        bucket["key"]: {
            "events": bucket["doc_count"] - bucket["unread"]["doc_count"],
            "unread": bucket["unread"]["doc_count"],
        }
        for bucket in sorted(buckets, key=itemgetter("key"))
    }


def _events_table(loaded: Mapping[str, Mapping[str, int]]) -> Table:
    table = Table("Dataset", box=None, pad_edge=False)
    for name in ("Events", "Not read"):
        table.add_column(name, justify="right")
    for dataset, counts in loaded.items():
        table.add_row(dataset, f"{counts['events']:,}", f"{counts['unread']:,}")
    return table


def _alerts(cluster: Cluster) -> list[dict[str, Any]]:
    hits = [hit["_source"] for hit in cluster.scan(f"{ALERTS}-{NAMESPACE}-*")]
    return sorted(hits, key=lambda alert: (alert["@timestamp"], alert["rule"]["name"]))
