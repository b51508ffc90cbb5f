"""`sigmawatch drift`: how what is deployed differs from what was deployed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from sigmawatch.artifact import SHARED_OWNER
from sigmawatch.cli.deploying import deployed_pack, is_of_tenant, pack_name_option
from sigmawatch.cli.options import cluster_options, format_option, open_cluster, site_of
from sigmawatch.cli.terminal import counted, print_json, results
from sigmawatch.deploy.present import difference_lines
from sigmawatch.deploy.status import Drift, read_drift

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["command"]

EXIT_DRIFTED = 3
MOST = 80
"""Lines of one difference that are shown; --full and JSON have them all."""


@click.command()
@cluster_options
@pack_name_option
@click.option("--full", is_flag=True, help="Do not cut long differences.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 3 when something is not as deployed.")
@format_option("text", "json")
def command(
    pack_name: str | None, full: bool, detailed_exitcode: bool, output_format: str, **connection: Any
) -> None:
    """Show line by line what somebody changed since a deploy.

    Needs no pack: what was deployed is in the cluster's own records. `sigmawatch deploy` writes it back,
    `sigmawatch rollback --to N` does so without the pack.

    \b
    Example:
      sigmawatch drift --url https://es.example.com:9200 --detailed-exitcode
    """
    tenant = site_of(connection["config_path"], connection["environment"]).tenant
    with open_cluster(**connection) as cluster:
        pack = None if pack_name is None else deployed_pack(cluster, pack_name, tenant=tenant)
        drifts = read_drift(cluster, pack=pack)
    found = [one for one in drifts if one.pack == SHARED_OWNER or is_of_tenant(one.pack, tenant)]
    if output_format == "json":
        print_json({"drift": [one.to_dict() for one in found]})
    else:
        for line in _lines(found, full):
            results().print(line)
    if detailed_exitcode and found:
        sys.exit(EXIT_DRIFTED)


def _lines(found: Sequence[Drift], full: bool) -> Iterator[Text]:
    for one in found:
        detail = f" ({one.finding.detail})" if one.finding.detail else ""
        condition = one.finding.condition.value
        yield Text(f"! {one.pack}: {one.finding.key} {condition}{detail}", style="magenta")
        lines = difference_lines(one.diff)
        shown = lines if full else lines[:MOST]
        yield from shown
        if len(shown) < len(lines):
            yield Text(f"    … {len(lines) - len(shown)} more lines; --full shows them", style="dim")
    told = f"{counted(len(found), 'artifact')} not as deployed." if found else "All as deployed."
    yield Text(told, style="bold")
