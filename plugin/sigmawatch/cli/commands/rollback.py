"""`sigmawatch rollback`: go back to what was deployed before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from sigmawatch.cli.deploying import (
    carry_out,
    confirm,
    deployed_pack,
    is_of_tenant,
    journal_option,
    max_deletes_option,
    message_option,
    pack_name_option,
    require_working,
    try_out,
    verify_option,
    yes_option,
)
from sigmawatch.cli.options import cluster_options, format_option, open_cluster, site_of
from sigmawatch.cli.terminal import print_json, results
from sigmawatch.deploy import DeployIncomplete, Release, render_plan
from sigmawatch.deploy import plan as make_plan
from sigmawatch.deploy.origin import whoami
from sigmawatch.deploy.present import release_line
from sigmawatch.deploy.releases import list_releases, read_release, release_before, restored
from sigmawatch.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from sigmawatch.cluster import Cluster

__all__ = ["command"]


@click.command()
@cluster_options
@pack_name_option
@click.option(
    "--to", "number", type=click.IntRange(1), help="Go back to this release. [default: the one before]"
)
@click.option("--adopt", is_flag=True, help="Take over artifacts of our names that others made since.")
@max_deletes_option
@verify_option
@message_option
@journal_option
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@yes_option
@format_option("text", "json")
def command(
    pack_name: str | None,
    number: int | None,
    adopt: bool,
    max_deletes: int,
    verify: bool,
    message: str,
    journal_folder: Path | None,
    dry_run: bool,
    yes: bool,
    output_format: str,
    **connection: Any,
) -> None:
    """Go back to what was deployed before.

    Shows the plan and asks first. Everything is restored from the cluster's own records, so neither the pack nor
    its git revision is needed. Data that was collected meanwhile stays. A rollback is a release itself: rolling
    back twice goes back two steps, and one that was interrupted is completed by running it again.

    \b
    Examples:
      sigmawatch rollback --url https://es.example.com:9200
      sigmawatch rollback --to 12 --yes
    """
    site = site_of(connection["config_path"], connection["environment"])
    with open_cluster(**connection) as cluster:
        release = _release(cluster, pack_name, number, site.tenant)
        plan = make_plan(
            cluster, restored(cluster, release), pack=release.pack, adopt=adopt, max_deletes=max_deletes
        )
        if output_format == "text":
            results().print(f"Back to {release_line(release)}", markup=False)
            results().print(render_plan(plan))
        elif dry_run:
            print_json({"restores": release.content, **plan.to_dict()})
        plan.require_applicable()
        if dry_run:
            return
        confirm(plan, yes=yes)
        # What is deployed then is of the old revision, only by whom is new.
        origin = replace(release.origin, by=whoami(), message=message)
        try:
            result = carry_out(
                cluster,
                plan,
                origin,
                word="Rolling back",
                journal_folder=journal_folder,
                restores=release.content,
                site=site,
            )
        except DeployIncomplete as incomplete:
            if output_format == "json":
                print_json({"restores": release.content, **incomplete.result.to_dict()})
            raise
        failing = try_out(cluster, plan, result) if verify else []
    if output_format == "json":
        told = [one.to_dict() for one in failing]
        print_json({"restores": release.content, **result.to_dict(), "failing": told})
    elif plan.has_changes:
        results().print(f"Release {release.number} is back, as release {result.release}.", markup=False)
    else:
        results().print("Nothing to change.")
    require_working(failing)


def _release(cluster: Cluster, pack_name: str | None, number: int | None, tenant: str) -> Release:
    """Return the release to go back to. Raises UsageError for one that cannot be."""
    if number is None:
        pack = deployed_pack(cluster, pack_name, tenant=tenant)
        return read_release(cluster, release_before(list_releases(cluster, pack)).number)
    release = read_release(cluster, number)
    if pack_name is not None and release.pack != deployed_pack(cluster, pack_name, tenant=tenant):
        raise UsageError(f"release {number} is of pack {release.pack}")
    if not is_of_tenant(release.pack, tenant):
        raise UsageError(
            f"release {number} is of pack {release.pack}, and the environment that of the tenant {tenant}"
        )
    if release.removal:
        raise UsageError(
            f"release {number} removed the pack {release.pack}", hint="`sigmawatch destroy` does that."
        )
    if not release.is_complete:
        raise UsageError(
            f"release {number} was never completed",
            hint="Deploy its git revision instead"
            + (f": {release.origin.revision[:12]}." if release.origin.revision else "."),
        )
    return release
