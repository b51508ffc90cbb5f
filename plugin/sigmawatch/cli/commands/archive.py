"""`sigmawatch archive`: copies of events for the long term."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from sigmawatch.archive.archiver import MAX_DELETES, archive, expired
from sigmawatch.archive.holdings import State, read_archives
from sigmawatch.cli.options import cluster_options, format_option, open_cluster, site_of
from sigmawatch.cli.terminal import counted, errors, print_json, progress_bar, results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmawatch.archive.archiver import Run
    from sigmawatch.archive.holdings import Archives, Entry

__all__ = ["command"]

EXIT_PARTLY = 4
_ACTIONS = {
    State.DUE: "copy",
    State.BEGUN: "go on copying",
    State.WAITING: "later",
    State.EXPIRED: "delete",
    State.ORPHANED: "none: its source is gone",
}


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done. Changes nothing.")
@click.option("--rate", type=click.IntRange(1), help="Documents a second at most. [default: as deployed]")
@click.option(
    "--max-deletes",
    type=click.IntRange(0),
    default=MAX_DELETES,
    show_default=True,
    help="Refuse to delete more copies than this.",
)
@cluster_options
@format_option("text", "json")
def command(dry_run: bool, rate: int | None, max_deletes: int, output_format: str, **connection: Any) -> None:
    """Keep copies of old events with what forensics needs.

    For cron or a timer, e.g. every night. Of each data stream that is to be archived every index that is no longer
    written is copied when it has the age that `retention: {archive: {after: …}}` says, and its copy deleted when it has
    that of `delete`. The source is never touched. What is to be done stands in the cluster since the last deploy: no
    pack is needed. A run that is interrupted is completed by the next one. Exit code 4: something could not be copied.

    \b
    Example:
      sigmawatch archive --url https://es.example.com:9200 --dry-run
    """
    now = int(time.time() * 1000)
    tenant = site_of(connection["config_path"], connection["environment"]).tenant
    with open_cluster(**connection) as cluster:
        if dry_run:
            archives = read_archives(cluster, now, tenant=tenant)
            expired(archives, max_deletes=max_deletes)
            if output_format == "json":
                print_json({"cluster": str(cluster.info), **archives.to_dict()})
            else:
                _print_plan(archives)
            return
        with progress_bar() as progress:
            tasks: dict[str, Any] = {}

            def tell(entry: Entry, done: int, total: int) -> None:
                if entry.index not in tasks:
                    tasks[entry.index] = progress.add_task(entry.index, total=total)
                progress.update(tasks[entry.index], completed=done, total=total)

            run = archive(cluster, now, tenant=tenant, rate=rate, max_deletes=max_deletes, on_progress=tell)
        if output_format == "json":
            print_json({"cluster": str(cluster.info), **run.to_dict()})
        else:
            _print_run(run)
    if run.failed:
        sys.exit(EXIT_PARTLY)


def _print_plan(archives: Archives) -> None:
    if not archives.policies:
        results().print(
            "Nothing is to be archived: `retention: {archive: …}`, then `sigmawatch deploy`.", markup=False
        )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Index", "Copy", "What"):
        table.add_column(name)
    for name in ("Documents", "Size"):
        table.add_column(name, justify="right")
    table.add_column("When")
    shown = [entry for entry in archives.entries if entry.state is not State.ARCHIVED]
    shown = [entry for entry in shown if entry.copy is not None or entry.state is not State.EXPIRED]
    for entry in shown:
        one = entry.to_dict()
        when = one["expires"] if entry.state is State.EXPIRED else one["due"]
        size = f"{one['bytes'] / 1e6:,.2f} MB" if one["bytes"] is not None else ""
        what = _ACTIONS[entry.state]
        table.add_row(one["index"], one["copy"], what, f"{one['documents']:,}", size, (when or "")[:10])
    if shown:
        results().print(table)
    copies = [entry.copy for entry in archives.of(State.ARCHIVED) if entry.copy is not None]
    if copies:
        events, stored = sum(copy.events for copy in copies), sum(copy.bytes for copy in copies)
        number = "1 index" if len(copies) == 1 else f"{len(copies):,} indices"
        results().print(f"Archived so far: {number} with {counted(events, 'event')}, {stored / 1e6:,.2f} MB")
    _warn(archives.warnings)


def _print_run(run: Run) -> None:
    for name, one in run.copied.items():
        known = f", {one.known:,} of them known before" if one.known else ""
        results().print(
            f"{name}: {counted(one.documents, 'document')}{known}, {one.seconds:.0f} s", markup=False
        )
    for name in run.deleted:
        results().print(f"{name}: deleted, as old as it may be", markup=False)
    if not run.copied and not run.deleted and not run.failed:
        results().print("Nothing to do.")
    for index, reason in run.failed.items():
        errors().print(f"error: {index}: {reason}", style="red", markup=False)
    _warn(run.warnings)


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        errors().print(f"warning: {warning}", style="yellow", markup=False)
