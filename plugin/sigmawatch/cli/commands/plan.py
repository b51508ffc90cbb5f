"""`sigmawatch plan`: what a deploy would change."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from sigmawatch.cli.deploying import deploy_options, planned
from sigmawatch.cli.options import format_option, open_cluster
from sigmawatch.cli.terminal import errors, print_json, results
from sigmawatch.deploy import render_plan

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["command"]

EXIT_PENDING = 3


@click.command()
@deploy_options
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 3 when there is something to change.")
@format_option("text", "json")
def command(
    pack_path: Path | None,
    target: str | None,
    namespace: str,
    prune: bool,
    adopt: bool,
    max_deletes: int,
    detailed_exitcode: bool,
    output_format: str,
    **connection: Any,
) -> None:
    """Show what a deploy would change. Changes nothing.

    \b
    Example:
      sigmawatch plan --url https://es.example.com:9200
    """
    with open_cluster(**connection) as cluster:
        bundle, plan = planned(cluster, pack_path, target, namespace, prune, adopt, max_deletes)
    if output_format == "json":
        print_json({"target": bundle.target.value, **plan.to_dict()})
    else:
        errors().print(f"target {bundle.target}: {len(bundle.compiled.plans)} detections", markup=False)
        results().print(render_plan(plan))
    if plan.refusals:
        sys.exit(2)
    if detailed_exitcode and plan.has_changes:
        sys.exit(EXIT_PENDING)
