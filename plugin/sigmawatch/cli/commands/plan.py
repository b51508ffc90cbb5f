"""`sigmawatch plan`: what a deploy would change."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from sigmawatch.cli.deploying import deploy_options, planned, wanted
from sigmawatch.cli.options import format_option, open_cluster
from sigmawatch.cli.terminal import counted, errors, print_json, results
from sigmawatch.deploy import render_plan
from sigmawatch.deploy.saved import PlanOptions, plan_document, save_plan

__all__ = ["command"]

EXIT_PENDING = 3


@click.command()
@deploy_options
@click.option(
    "--out",
    "output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Save the plan, for `sigmawatch deploy --plan FILE`.",
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 3 when there is something to change.")
@format_option("text", "json")
def command(
    pack_path: Path | None,
    target: str | None,
    namespace: str | None,
    prune: bool,
    adopt: bool,
    max_deletes: int,
    delete_data: bool,
    output: Path | None,
    detailed_exitcode: bool,
    output_format: str,
    config_path: Path | None,
    environment: str | None,
    **connection: Any,
) -> None:
    """Show what a deploy would change. Changes nothing.

    With --out the plan is saved, bodies and all: `sigmawatch deploy --plan FILE` then does exactly that, or refuses
    when the cluster is no longer what the plan was made for.

    \b
    Examples:
      sigmawatch plan --url https://es.example.com:9200
      sigmawatch plan --out plan.json --detailed-exitcode
    """
    options = PlanOptions(prune, adopt, max_deletes, delete_data)
    what = wanted(pack_path, target, namespace, options, config_path, environment)
    with open_cluster(
        **connection, config_path=config_path, environment=environment, folders=[what.pack.root]
    ) as cluster:
        bundle, plan = planned(cluster, what)
        document = plan_document(
            plan,
            cluster_uuid=cluster.info.uuid,
            options=what.options,
            origin=replace(what.origin, target=bundle.target.value),
        )
    if output_format == "json":
        print_json(document)
    else:
        errors().print(
            f"target {bundle.target}: {counted(len(bundle.compiled.plans), 'detection')}", markup=False
        )
        results().print(render_plan(plan))
    if plan.refusals:
        sys.exit(2)
    if output is not None:
        save_plan(output, document)
        errors().print(f"Saved; apply it with: sigmawatch deploy --plan {output}", markup=False)
    if detailed_exitcode and plan.has_changes:
        sys.exit(EXIT_PENDING)
