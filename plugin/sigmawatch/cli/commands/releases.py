"""`sigmawatch releases`: what was deployed when, by whom and from which revision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sigmawatch.cli.deploying import (
    cut_off,
    deployed_pack,
    is_of_tenant,
    journal_option,
    pack_name_option,
)
from sigmawatch.cli.options import cluster_options, format_option, open_cluster, site_of
from sigmawatch.cli.terminal import errors, print_json, results
from sigmawatch.deploy.compare import unified_diff
from sigmawatch.deploy.journal import journals_at
from sigmawatch.deploy.present import render_release, render_releases
from sigmawatch.deploy.releases import bodies_of, list_releases, read_release

if TYPE_CHECKING:
    from pathlib import Path

    from sigmawatch.artifact import ArtifactKey
    from sigmawatch.cluster import Cluster
    from sigmawatch.deploy.releases import Release

__all__ = ["command"]


@click.group()
def command() -> None:
    """Show what was deployed when, by whom and from which revision.

    The newest releases of each pack are kept in the cluster, with everything that `sigmawatch rollback` needs.

    \b
    Example:
      sigmawatch releases list --url https://es.example.com:9200
    """


@command.command(name="list")
@cluster_options
@pack_name_option
@journal_option
@format_option("text", "json")
def list_(pack_name: str | None, journal_folder: Path | None, output_format: str, **connection: Any) -> None:
    """List releases, the newest first.

    \b
    Example:
      sigmawatch releases list
    """
    tenant = site_of(connection["config_path"], connection["environment"]).tenant
    with open_cluster(**connection) as cluster:
        pack = None if pack_name is None else deployed_pack(cluster, pack_name, tenant=tenant)
        releases = list_releases(cluster, pack)
        found = [one for one in releases if is_of_tenant(one.pack, tenant)]
        newest = {one.pack: one for one in reversed(releases)}
        cut = cut_off(cluster, journals_at(journal_folder), newest.values(), pack)
        unfinished = [one for one in cut if is_of_tenant(one.pack, tenant)]
    if output_format == "json":
        told = [one.to_dict() for one in unfinished]
        print_json({"releases": [one.to_dict() for one in found], "cut_off": told})
    elif found:
        results().print(render_releases(found))
    else:
        results().print("Nothing was deployed yet.")
    if unfinished and output_format == "text":
        errors().print(
            f"A deploy of pack {unfinished[0].pack} from this machine was cut off; `sigmawatch status` tells how far "
            "it came.",
            style="yellow",
            markup=False,
        )


@command.command()
@click.argument("number", type=click.IntRange(1))
@click.option("--diff", is_flag=True, help="Show how bodies changed from the release before.")
@cluster_options
@format_option("text", "json")
def show(number: int, diff: bool, output_format: str, **connection: Any) -> None:
    """Show one release: what it changed, and what failed.

    \b
    Example:
      sigmawatch releases show 12 --diff
    """
    with open_cluster(**connection) as cluster:
        release = read_release(cluster, number)
        differences = _differences(cluster, release) if diff else {}
    if output_format == "json":
        told = [{"kind": key.kind, "id": key.id, "diff": text} for key, text in differences.items()]
        print_json({**release.to_dict(whole=True), **({"differences": told} if diff else {})})
    else:
        results().print(render_release(release, differences))


def _differences(cluster: Cluster, release: Release) -> dict[ArtifactKey, str]:
    """Return how bodies differ from those of the complete release before it, by artifact."""
    earlier = [one for one in list_releases(cluster, release.pack) if one.number < release.number]
    complete = next((one for one in earlier if one.is_complete), None)
    before = {one.key: one for one in read_release(cluster, complete.number).artifacts} if complete else {}
    after = {one.key: one for one in release.artifacts}
    differing = [
        key
        for key in dict.fromkeys([*after, *before])
        if key not in before or key not in after or before[key].hash != after[key].hash
    ]
    bodies = bodies_of(cluster, [side[key] for key in differing for side in (before, after) if key in side])
    return {
        key: unified_diff(
            bodies.get(before[key].hash) if key in before else None,
            bodies.get(after[key].hash) if key in after else None,
        )
        for key in differing
    }
