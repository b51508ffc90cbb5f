"""`sigmawatch plan`: what a deploy would change."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sigmawatch.cli.deploying import deploy_options, origin_with, planned, tell_left_out, wanted
from sigmawatch.cli.options import format_option, open_cluster
from sigmawatch.cli.terminal import counted, errors, print_json, progress_bar, results
from sigmawatch.deploy import render_plan
from sigmawatch.deploy.cost import cost_of
from sigmawatch.deploy.plan import WRITING
from sigmawatch.deploy.present import render_history
from sigmawatch.deploy.saved import PlanOptions, plan_document, save_plan
from sigmawatch.retention.report import archive_faults, summary
from sigmawatch.run.history import History, count_history

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmawatch.bundle import Bundle
    from sigmawatch.cluster import Cluster
    from sigmawatch.compile.plan import DetectionPlan
    from sigmawatch.deploy import Plan

__all__ = ["command"]

EXIT_PENDING = 3

LONGEST_HISTORY = 90
"""Days."""


def _days(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Return a number of days."""
    if value is None:
        return None
    text = value.removesuffix("d")
    if not text.isdecimal() or not 1 <= int(text) <= LONGEST_HISTORY:
        raise click.BadParameter(f"{value!r} is not from 1d to {LONGEST_HISTORY}d", ctx, param)
    return int(text)


@click.command()
@deploy_options
@click.option(
    "--out",
    "output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Save the plan, for `sigmawatch deploy --plan FILE`.",
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 3 when there is something to change.")
@click.option(
    "--history",
    metavar="DAYS",
    callback=_days,
    help="Count the alerts that new and changed rules would have raised in so many days, e.g. 7d.",
)
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
    output: Path | None,
    detailed_exitcode: bool,
    history: int | None,
    output_format: str,
    config_path: Path | None,
    environment: str | None,
    **connection: Any,
) -> None:
    """Show what a deploy would change. Changes nothing.

    With --out the plan is saved, bodies and all: `sigmawatch deploy --plan FILE` then does exactly that, or refuses
    when the cluster is no longer what the plan was made for.

    With --history the searches of the rules that are new or changed are run over the days before, without writing
    anything: how many alerts a day they would have raised, rule by rule.

    \b
    Examples:
      sigmawatch plan --url https://es.example.com:9200
      sigmawatch plan --history 7d
      sigmawatch plan --out plan.json --detailed-exitcode
    """
    options = PlanOptions(prune, adopt, max_deletes, delete_data, keep_going)
    what = wanted(pack_path, target, namespace, options, config_path, environment)
    with open_cluster(
        **connection, config_path=config_path, environment=environment, folders=[what.pack.root]
    ) as cluster:
        bundle, plan = planned(cluster, what)
        document = plan_document(
            plan,
            cluster_uuid=cluster.info.uuid,
            options=what.options,
            origin=origin_with(what, bundle),
            left_out=len(bundle.errors),
        )
        plans = [plan_ for plan_ in bundle.compiled.plans if plan_.rule.id not in bundle.refused]
        cost = cost_of(cluster, plans, bundle.target)
        document["cost"] = cost.to_dict()
        counted_history = _counted(cluster, plans, plan, history) if history is not None else None
        if counted_history is not None:
            document["history"] = counted_history.to_dict()
        document["retention"] = {one.what: one.to_dict() for one in bundle.keeping}
    if output_format == "json":
        print_json(document)
    else:
        errors().print(_headline(bundle), markup=False)
        for line in summary(bundle.keeping):
            errors().print(line, markup=False)
        for note in (note for one in bundle.keeping for note in one.notes):
            errors().print(f"note: {note}", markup=False)
        for fault in archive_faults(bundle.keeping):
            errors().print(f"warning: {fault}", style="yellow", markup=False)
        results().print(render_plan(plan))
        results().print(f"Cost: {cost}.", markup=False)
        for warning in cost.warnings:
            results().print(f"Note: {warning}", style="yellow", markup=False)
        if counted_history is not None:
            results().print(render_history(counted_history))
    tell_left_out(len(bundle.errors))
    if plan.refusals:
        sys.exit(2)
    if output is not None:
        save_plan(output, document)
        errors().print(f"Saved; apply it with: sigmawatch deploy --plan {output}", markup=False)
    if detailed_exitcode and plan.has_changes:
        sys.exit(EXIT_PENDING)


def _counted(cluster: Cluster, plans: Sequence[DetectionPlan], plan: Plan, days: int) -> History:
    """Return what history says about the rules that a plan creates or changes."""
    changed = {
        change.key.id.removeprefix("sigmawatch-").rpartition("/")[2]
        for change in plan.changes
        if change.action in WRITING and change.artifact is not None and change.artifact.stage
    }
    with progress_bar() as progress:
        task = progress.add_task("Counting", total=None)
        return count_history(
            cluster,
            [one for one in plans if one.rule.id in changed],
            days=days,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )


def _headline(bundle: Bundle) -> str:
    """Return who executes how many detections, and how far they are trusted."""
    stages = bundle.stages
    tested = stages.get("test", 0)
    number = len(bundle.compiled.plans) - len(bundle.refused) - tested
    told = [f"target {bundle.target}: {counted(number, 'detection')}"]
    if stages.get("shadow"):
        told.append(f"{stages['shadow']} of them on trial (stage shadow)")
    if tested:
        told.append(f"{tested} not deployed (stage test)")
    return ", ".join(told)
