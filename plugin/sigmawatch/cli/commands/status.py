"""`sigmawatch status`: what is deployed, whether somebody changed it, whether it works."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from sigmawatch.archive.holdings import read_archives
from sigmawatch.artifact import SHARED_OWNER
from sigmawatch.cli.deploying import (
    cut_off,
    deployed_pack,
    is_of_tenant,
    journal_option,
    pack_name_option,
)
from sigmawatch.cli.options import cluster_options, format_option, open_cluster, site_of
from sigmawatch.cli.terminal import counted, print_json, results
from sigmawatch.cluster.failures import ResponseError
from sigmawatch.deploy.journal import journals_at
from sigmawatch.deploy.present import release_line, render_cut_off
from sigmawatch.deploy.status import read_status
from sigmawatch.errors import ClusterError
from sigmawatch.retention.report import read_holdings
from sigmawatch.run.health import HOURS, read_health

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from sigmawatch.cluster import Cluster
    from sigmawatch.deploy.journal import Account
    from sigmawatch.deploy.status import PackStatus, Status
    from sigmawatch.retention.report import Holding
    from sigmawatch.run.health import Health

__all__ = ["command"]

EXIT_DRIFTED = 3
FORBIDDEN = 403
MOST = 50
"""Findings that are shown; JSON has them all."""


@click.command()
@cluster_options
@pack_name_option
@journal_option
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 3 when something is not as deployed.")
@format_option("text", "json")
def command(
    pack_name: str | None,
    journal_folder: Path | None,
    detailed_exitcode: bool,
    output_format: str,
    **connection: Any,
) -> None:
    """Show what is deployed, and whether it works.

    Shows what somebody changed or removed since, what detections left in the last hours, and how long everything is
    kept, and what is archived. Needs no pack:
    everything is compared with what the cluster's own records say was deployed.

    A deploy from this machine that was cut off is told of, also while the cluster does not answer: what was written,
    what was in flight, what was not begun, and what completes it.

    \b
    Example:
      sigmawatch status --url https://es.example.com:9200
    """
    journals = journals_at(journal_folder)
    tenant = site_of(connection["config_path"], connection["environment"]).tenant
    with open_cluster(**connection) as cluster:
        try:
            pack = None if pack_name is None else deployed_pack(cluster, pack_name, tenant=tenant)
            status = read_status(cluster, pack=pack)
            cut = cut_off(cluster, journals, (one.release for one in status.packs), pack)
            unfinished = [one for one in cut if is_of_tenant(one.pack, tenant)]
            mine = [one for one in status.packs if one.pack == SHARED_OWNER or is_of_tenant(one.pack, tenant)]
            status = replace(status, packs=tuple(mine))
            health = read_health(cluster)
            holdings = read_holdings(cluster)
            archives = _archives(cluster, tenant)
        except ClusterError as error:
            # Then this machine's own journals are all there is to know.
            _tell_of_journals(journals.unfinished(urls=cluster.settings.urls), output_format, error)
            raise
    if output_format == "json":
        kept = [one.to_dict() for one in holdings]
        told = [one.to_dict() for one in unfinished]
        print_json(
            {
                **status.to_dict(),
                "cut_off": told,
                "health": health.to_dict(),
                "retention": kept,
                "archive": archives,
            }
        )
    else:
        _print(results(), status, health)
        _print_holdings(results(), holdings)
        _print_archives(results(), archives)
        for account in unfinished:
            results().print()
            results().print(render_cut_off(account))
    if detailed_exitcode and not status.in_place:
        sys.exit(EXIT_DRIFTED)


def _tell_of_journals(accounts: Sequence[Account], output_format: str, error: ClusterError) -> None:
    if output_format == "json":
        print_json({"error": error.message, "cut_off": [one.to_dict() for one in accounts]})
        return
    for account in accounts:
        results().print(render_cut_off(account))


def _print(console: Console, status: Status, health: Health) -> None:
    console.print(Text(status.cluster))
    if status.deploying:
        console.print(Text(f"Being deployed to by {status.deploying}", style="yellow"))
    if not status.packs:
        console.print("Nothing is deployed.")
    for pack in status.packs:
        _print_pack(console, pack)
    console.print()
    if health.alerts is None or health.notes is None:
        console.print("Alerts: we are not allowed to read them")
    else:
        console.print(f"{counted(health.alerts, 'alert')} in the last {HOURS} hours")
        for rule, count in health.notes.items():
            noted = counted(count, "note")
            console.print(Text(f"  {rule}: {noted} that it could not see everything", style="yellow"))
    if health.detections:
        console.print(_runner(health))


def _print_holdings(console: Console, holdings: list[Holding]) -> None:
    """Print how long everything is kept; what holds nothing is counted."""
    held = [one for one in holdings if one.documents]
    if not holdings:
        return
    console.print()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Kept", "How long", "By"):
        table.add_column(name)
    for name in ("Indices", "Documents", "Size"):
        table.add_column(name, justify="right")
    table.add_column("Since")
    for one in held:
        size = f"{one.bytes / 1e9:,.2f} GB" if one.bytes >= 1e9 else f"{one.bytes / 1e6:,.2f} MB"
        by = one.by.value + (f" ({one.policy})" if " and " in one.policy else "")
        table.add_row(
            one.pattern, one.in_words, by, str(one.indices), f"{one.documents:,}", size, one.oldest[:10]
        )
    if held:
        console.print(table)
    if len(held) < len(holdings):
        console.print(f"{counted(len(holdings) - len(held), 'data stream')} and indices hold nothing yet")


def _archives(cluster: Cluster, tenant: str) -> dict[str, Any] | None:
    """Return what is archived and what waits for it; None where we may not know."""
    try:
        return read_archives(cluster, int(time.time() * 1000), tenant=tenant).to_dict()
    except ResponseError as error:
        if error.status == FORBIDDEN:
            return None
        raise


def _print_archives(console: Console, archives: dict[str, Any] | None) -> None:
    """Print what is archived of each dataset; datasets of which nothing is archived or waits are counted."""
    if archives is None:
        console.print("Archive: we are not allowed to read what there is")
        return
    if not archives["datasets"]:
        return
    console.print()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Archived", "Kept", "Last"):
        table.add_column(name)
    for name in ("Indices", "Documents", "Size", "To be copied", "Too young"):
        table.add_column(name, justify="right")
    idle = 0
    for name, one in archives["datasets"].items():
        if not one["archived"] + one["due"] + one["waiting"]:
            idle += 1
            continue
        kept = "for ever" if one["delete_days"] is None else f"{one['delete_days']} days"
        size = f"{one['archived_bytes'] / 1e6:,.2f} MB"
        numbers = (
            str(one["archived"]),
            f"{one['archived_documents']:,}",
            size,
            str(one["due"]),
            str(one["waiting"]),
        )
        table.add_row(name, kept, (one["last"] or "never")[:16].replace("T", " "), *numbers)
    if table.row_count:
        console.print(table)
    if idle:
        console.print(f"{counted(idle, 'dataset')} to be archived, of which no index was rolled over yet")
    for warning in archives["warnings"]:
        console.print(Text(f"  warning: {warning}", style="yellow"))


def _counted_kind(kind: str, count: int) -> str:
    """Return `1 detection`, `2 index templates`, `2 ilm policies`."""
    word = kind.replace("_", " ")
    if count == 1:
        return f"1 {word}"
    plural = {"y": f"{word[:-1]}ies", "x": f"{word[:-2]}ices"}.get(word[-1], f"{word}s")
    return f"{count:,} {plural}"


def _print_pack(console: Console, pack: PackStatus) -> None:
    console.print()
    name = "What all packs share" if pack.pack == SHARED_OWNER else f"Pack {pack.pack}"
    console.print(Text(name, style="bold"))
    if pack.release is not None:
        console.print(
            Text(f"  {release_line(pack.release)}", style="" if pack.release.is_complete else "yellow")
        )
    console.print(Text("  " + ", ".join(_counted_kind(kind, count) for kind, count in pack.kinds.items())))
    if not pack.findings:
        console.print(Text("  all as deployed", style="green"))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in pack.findings[:MOST]:
        detail = f"({finding.detail})" if finding.detail else ""
        table.add_row(
            "  !", Text(finding.condition.value, style="magenta"), Text(str(finding.key)), Text(detail)
        )
    console.print(table)
    if len(pack.findings) > MOST:
        console.print(f"  … and {len(pack.findings) - MOST} more")


def _runner(health: Health) -> Text:
    """Return how far the runner is, in a line."""
    said = f"{counted(health.detections, 'detection')} for `sigmawatch run`"
    if health.seconds_behind is None:
        return Text(f"{said}: none was evaluated yet; is one running?", style="yellow")
    late = f"the oldest evaluation is {_duration(health.seconds_behind)} ago"
    if health.never_evaluated:
        late += f", {health.never_evaluated} were never evaluated"
    return Text(f"{said}: {late}")


def _duration(seconds: float) -> str:
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            return counted(int(seconds // size), name)
    return counted(int(seconds), "second")
