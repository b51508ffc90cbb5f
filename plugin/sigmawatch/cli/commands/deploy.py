"""`sigmawatch deploy`: make a cluster what the pack says."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from sigmawatch.cli.deploying import deploy_options, planned
from sigmawatch.cli.options import format_option, open_cluster
from sigmawatch.cli.terminal import errors, print_json, progress_bar, results
from sigmawatch.deploy import ApplyResult, DeployIncomplete, Plan, apply, render_plan
from sigmawatch.errors import UsageError
from sigmawatch.render.target import Target

if TYPE_CHECKING:
    from pathlib import Path

    from sigmawatch.bundle import Bundle
    from sigmawatch.cluster import Cluster

__all__ = ["command"]


@click.command()
@deploy_options
@click.option("--yes", "-y", is_flag=True, help="Do not ask; for scripts and CI.")
@format_option("text", "json")
def command(
    pack_path: Path | None,
    target: str | None,
    namespace: str,
    prune: bool,
    adopt: bool,
    max_deletes: int,
    yes: bool,
    output_format: str,
    **connection: Any,
) -> None:
    """Make a cluster what a pack says.

    Deploys pipelines, templates, detections and alert indices. Shows the plan and asks first, unless --yes is
    given. A second deploy changes nothing. One that failed or was interrupted is completed by running it again.

    \b
    Example:
      sigmawatch deploy --url https://es.example.com:9200 --yes
    """
    with open_cluster(**connection) as cluster:
        bundle, plan = planned(cluster, pack_path, target, namespace, prune, adopt, max_deletes)
        if output_format == "text":
            results().print(render_plan(plan))
        plan.require_applicable()
        if plan.has_changes and not yes:
            _ask(plan.summary)
        try:
            result = _apply(cluster, plan)
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


def _apply(cluster: Cluster, plan: Plan) -> ApplyResult:
    with progress_bar() as progress:
        task = progress.add_task("Deploying", total=len(plan.changes))
        result = apply(
            cluster,
            plan,
            release=f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}",
            on_progress=lambda _, done, total: progress.update(task, completed=done, total=total),
        )
        progress.update(task, total=len(result.results), completed=len(result.results))
    return result


def _print(bundle: Bundle, result: ApplyResult) -> None:
    print_json({"target": bundle.target.value, **result.to_dict()})


def _ask(summary: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(
            "not asked, because there is no terminal", hint="Pass --yes to deploy without asking."
        )
    click.confirm(f"Apply ({summary})?", abort=True, err=True)
