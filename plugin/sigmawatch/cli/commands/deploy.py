"""`sigmawatch deploy`: make a cluster what the pack says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from sigmawatch.cli.deploying import (
    carry_out,
    confirm,
    deploy_options,
    message_option,
    planned,
    yes_option,
)
from sigmawatch.cli.options import format_option, open_cluster, open_pack
from sigmawatch.cli.terminal import errors, print_json, results
from sigmawatch.deploy import ApplyResult, DeployIncomplete, origin_of, render_plan
from sigmawatch.render.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from sigmawatch.bundle import Bundle

__all__ = ["command"]


@click.command()
@deploy_options
@message_option
@yes_option
@format_option("text", "json")
def command(
    pack_path: Path | None,
    target: str | None,
    namespace: str,
    prune: bool,
    adopt: bool,
    max_deletes: int,
    message: str,
    yes: bool,
    output_format: str,
    **connection: Any,
) -> None:
    """Make a cluster what a pack says.

    Deploys pipelines, templates, detections and alert indices. Shows the plan and asks first, unless --yes is
    given. A second deploy changes nothing. One that failed or was interrupted is completed by running it again.
    Each deploy that changes something is recorded as a release, to which `sigmawatch rollback` can go back.

    \b
    Example:
      sigmawatch deploy --url https://es.example.com:9200 --yes
    """
    with open_cluster(**connection) as cluster:
        bundle, plan = planned(cluster, pack_path, target, namespace, prune, adopt, max_deletes)
        if output_format == "text":
            results().print(render_plan(plan))
        plan.require_applicable()
        confirm(plan, yes=yes)
        origin = replace(
            origin_of(open_pack(pack_path).root),
            target=bundle.target.value,
            namespace=namespace,
            message=message,
        )
        try:
            result = carry_out(cluster, plan, origin, word="Deploying")
        except DeployIncomplete as incomplete:
            if output_format == "json":
                _print(bundle, incomplete.result)
            raise
    if output_format == "json":
        _print(bundle, result)
    elif plan.has_changes:
        results().print(f"Deployed as release {result.release}.", markup=False)
    else:
        results().print("Nothing to change.")
    if bundle.target is Target.RUNNER:
        errors().print("The detections are executed by `sigmawatch run`; keep one running.", markup=False)


def _print(bundle: Bundle, result: ApplyResult) -> None:
    print_json({"target": bundle.target.value, **result.to_dict()})
