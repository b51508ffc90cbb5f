"""`sigmawatch deploy`: make a cluster what the pack says."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sigmawatch.cli.deploying import (
    carry_out,
    confirm,
    deploy_options,
    journal_option,
    message_option,
    origin_with,
    planned,
    require_working,
    tell_left_out,
    try_out,
    verify_option,
    wanted,
    yes_option,
)
from sigmawatch.cli.options import format_option, open_cluster
from sigmawatch.cli.terminal import errors, print_json, results
from sigmawatch.deploy import DeployIncomplete, render_plan
from sigmawatch.deploy.origin import whoami
from sigmawatch.deploy.saved import PlanOptions, load_plan
from sigmawatch.errors import UsageError
from sigmawatch.render.target import Target

if TYPE_CHECKING:
    from sigmawatch.datasets import Dataset

__all__ = ["command"]

EXIT_PARTLY = 4


@click.command()
@deploy_options
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Apply exactly what `sigmawatch plan --out FILE` saved.",
)
@verify_option
@message_option
@journal_option
@yes_option
@format_option("text", "json")
def command(
    pack_path: Path | None,
    target: str | None,
    namespace: str | None,
    prune: bool,
    keep_going: bool,
    adopt: bool,
    max_deletes: int,
    delete_data: bool,
    plan_file: Path | None,
    verify: bool,
    message: str,
    journal_folder: Path | None,
    yes: bool,
    output_format: str,
    config_path: Path | None,
    environment: str | None,
    **connection: Any,
) -> None:
    """Make a cluster what a pack says.

    Deploys pipelines, templates, detections and alert indices. Shows the plan and asks first, unless --yes is
    given. A second deploy changes nothing. One that failed or was interrupted is completed by running it again.
    Each deploy that changes something is recorded as a release, to which `sigmawatch rollback` can go back.

    What was deployed is tried afterwards, unless --no-verify is given: what does not work is listed (exit code 4).

    Rules that do not compile, or that the target cannot express, are all listed and nothing is deployed. With
    --keep-going the others are (exit code 4); what is deployed already stays until everything compiles again.

    With --plan it applies a saved plan and nothing else; it refuses when the cluster moved on, be it by another
    deploy or by somebody's hand.

    \b
    Examples:
      sigmawatch deploy --url https://es.example.com:9200 --yes
      sigmawatch deploy --plan plan.json --yes
    """
    saved = None
    if plan_file is not None:
        _refuse_beside_a_plan(click.get_current_context())
        saved = load_plan(plan_file)
    options = PlanOptions(prune, adopt, max_deletes, delete_data, keep_going)
    what = wanted(pack_path, target, namespace, options, config_path, environment)
    with open_cluster(
        **connection, config_path=config_path, environment=environment, folders=[what.pack.root]
    ) as cluster:
        if saved is not None:
            plan, origin = saved.planned_again(cluster), replace(saved.origin, by=whoami())
            left_out = saved.left_out
            datasets: tuple[Dataset, ...] = ()
        else:
            bundle, plan = planned(cluster, what)
            origin = origin_with(what, bundle)
            left_out = len(bundle.errors)
            datasets = bundle.datasets
        if output_format == "text":
            results().print(render_plan(plan))
        plan.require_applicable()
        confirm(plan, yes=yes)
        try:
            origin_told = replace(origin, message=message)
            result = carry_out(
                cluster, plan, origin_told, word="Deploying", journal_folder=journal_folder, site=what.site
            )
        except DeployIncomplete as incomplete:
            if output_format == "json":
                print_json({"target": origin.target, **incomplete.result.to_dict()})
            raise
        failing = try_out(cluster, plan, result, datasets) if verify else []
    if output_format == "json":
        told = [one.to_dict() for one in failing]
        print_json({"target": origin.target, **result.to_dict(), "failing": told})
    elif plan.has_changes:
        results().print(f"Deployed as release {result.release}.", markup=False)
    else:
        results().print("Nothing to change.")
    require_working(failing)
    if left_out:
        tell_left_out(left_out)
        sys.exit(EXIT_PARTLY)
    if origin.target == Target.RUNNER.value:
        errors().print("The detections are executed by `sigmawatch run`; keep one running.", markup=False)


def _refuse_beside_a_plan(context: click.Context) -> None:
    """Raise UsageError for options that a saved plan has decided already."""
    given = [
        option
        for name, option in _DECIDED.items()
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise UsageError(
            f"{', '.join(given)} cannot stand beside --plan",
            hint="The plan was made with its own; make another one instead.",
        )


_DECIDED = {
    "pack_path": "--pack",
    "target": "--target",
    "namespace": "--namespace",
    "prune": "--prune",
    "adopt": "--adopt",
    "max_deletes": "--max-deletes",
    "delete_data": "--delete-data",
    "keep_going": "--keep-going",
}
