"""What `plan` and `deploy` have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sigmawatch.bundle import Bundle, bundle_for
from sigmawatch.cli.options import connection_options, namespace_option, open_pack, pack_option
from sigmawatch.cli.terminal import print_problems
from sigmawatch.config import find_configuration
from sigmawatch.deploy import Plan
from sigmawatch.deploy import plan as make_plan
from sigmawatch.deploy.planner import MAX_DELETES
from sigmawatch.render.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmawatch.cluster import Cluster

__all__ = ["deploy_options", "planned"]


def deploy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that decide what is deployed, and where."""
    for option in (
        click.option(
            "--max-deletes",
            type=click.IntRange(0),
            default=MAX_DELETES,
            show_default=True,
            help="Refuse to delete more artifacts than this.",
        ),
        click.option("--adopt", is_flag=True, help="Take over artifacts of our names that others made."),
        click.option("--prune/--no-prune", default=True, help="Delete what the pack no longer has."),
        namespace_option("Of data streams and alerts."),
        click.option(
            "--target",
            type=click.Choice([each.value for each in Target]),
            help="Who executes the detections. [default: watcher where the cluster has it, else runner]",
        ),
        pack_option,
        connection_options,
    ):
        function = option(function)
    return function


def planned(
    cluster: Cluster,
    pack_path: Path | None,
    target: str | None,
    namespace: str,
    prune: bool,
    adopt: bool,
    max_deletes: int,
) -> tuple[Bundle, Plan]:
    """Return the bundle of a pack and its plan for a cluster; warnings about rules go to standard error."""
    pack = open_pack(pack_path)
    chosen = Target(target) if target is not None else None
    bundle = bundle_for(
        cluster,
        pack,
        target=chosen,
        namespace=namespace,
        placeholders=find_configuration(None, [pack.root, Path.cwd()]).placeholders,
    )
    print_problems(bundle.problems, in_brief=True)
    plan = make_plan(
        cluster, bundle.artifacts, pack=pack.name, prune=prune, adopt=adopt, max_deletes=max_deletes
    )
    return bundle, plan
