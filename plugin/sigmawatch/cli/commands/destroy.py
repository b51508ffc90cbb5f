"""`sigmawatch destroy`: take a pack out of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sigmawatch.alerts.document import ALERTS, HEALTH
from sigmawatch.cli.deploying import (
    carry_out,
    confirm,
    deployed_pack,
    journal_option,
    message_option,
    pack_name_option,
    yes_option,
)
from sigmawatch.cli.options import cluster_options, format_option, open_cluster, site_of
from sigmawatch.cli.terminal import errors, print_json, results
from sigmawatch.deploy import DeployIncomplete, Origin, removal_plan, render_plan
from sigmawatch.deploy.origin import whoami

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["command"]


@click.command()
@cluster_options
@pack_name_option
@click.option(
    "--delete-data", is_flag=True, help="Delete its data streams and indices, too, with their documents."
)
@message_option
@journal_option
@yes_option
@format_option("text", "json")
def command(
    pack_name: str | None,
    delete_data: bool,
    message: str,
    journal_folder: Path | None,
    yes: bool,
    output_format: str,
    **connection: Any,
) -> None:
    """Take a pack out of a cluster.

    Removes what sigmawatch deployed of it, and nothing else; lists it and asks first. Data streams and indices stay,
    and what they need to go on working, unless --delete-data is given; those that were there before stay even then.
    Alerts are evidence and are never deleted. `sigmawatch rollback` brings everything but the data back.

    \b
    Example:
      sigmawatch destroy --url https://es.example.com:9200
    """
    site = site_of(connection["config_path"], connection["environment"])
    with open_cluster(**connection) as cluster:
        pack = deployed_pack(cluster, pack_name, tenant=site.tenant)
        plan = removal_plan(cluster, pack=pack, data=delete_data)
        if output_format == "text":
            results().print(render_plan(plan))
        confirm(plan, yes=yes)
        origin = Origin(by=whoami(), message=message)
        try:
            result = carry_out(cluster, plan, origin, word="Removing", journal_folder=journal_folder)
        except DeployIncomplete as incomplete:
            if output_format == "json":
                print_json({"pack": pack, **incomplete.result.to_dict()})
            raise
    if output_format == "json":
        print_json({"pack": pack, **result.to_dict()})
    elif plan.has_changes:
        results().print(f"Removed, as release {result.release}.", markup=False)
    else:
        results().print("Nothing to remove.")
    errors().print(f"Alerts stay in {ALERTS}-* and {HEALTH}-*.", markup=False)
