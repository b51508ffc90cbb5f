"""What `plan`, `deploy` and the other commands that change a cluster have in common."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sigmawatch.artifact import SHARED_OWNER, secrets_in
from sigmawatch.bundle import Bundle, bundle_for, owner_of
from sigmawatch.cli.options import (
    DEFAULT_NAMESPACE,
    cluster_options,
    namespace_option,
    open_pack,
    pack_option,
    site_of,
)
from sigmawatch.cli.terminal import counted, errors, print_problems, progress_bar
from sigmawatch.config import changed_under
from sigmawatch.deploy import ApplyResult, Origin, Plan, apply, origin_of
from sigmawatch.deploy import plan as make_plan
from sigmawatch.deploy.journal import Account, Journals, journals_at
from sigmawatch.deploy.plan import Refusal
from sigmawatch.deploy.planner import MAX_DELETES
from sigmawatch.deploy.proof import NotWorking, prove, samples_of
from sigmawatch.deploy.registry import read_registry
from sigmawatch.deploy.releases import list_releases
from sigmawatch.errors import UsageError
from sigmawatch.render.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sigmawatch.cluster import Cluster
    from sigmawatch.config import Environment
    from sigmawatch.datasets import Dataset
    from sigmawatch.deploy import Release
    from sigmawatch.deploy.proof import Failing
    from sigmawatch.deploy.saved import PlanOptions
    from sigmawatch.pack.layout import Pack

__all__ = [
    "Wanted",
    "carry_out",
    "confirm",
    "cut_off",
    "deploy_options",
    "deployed_pack",
    "is_of_tenant",
    "journal_option",
    "max_deletes_option",
    "message_option",
    "origin_with",
    "pack_name_option",
    "planned",
    "require_working",
    "tell_left_out",
    "try_out",
    "verify_option",
    "wanted",
    "yes_option",
]

max_deletes_option = click.option(
    "--max-deletes",
    type=click.IntRange(0),
    default=MAX_DELETES,
    show_default=True,
    help="Refuse to delete more artifacts than this.",
)

verify_option = click.option(
    "--verify/--no-verify",
    default=True,
    help="Try what was deployed afterwards: pipelines on samples, watches and monitors as a dry run, searches once.",
)

yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask; for scripts and CI.")

message_option = click.option(
    "--message", "-m", default="", help="Why, for the list of releases; e.g. a ticket."
)

journal_option = click.option(
    "--journal",
    "journal_folder",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="SIGMAWATCH_JOURNAL",
    help="Folder of this machine's journals of deploys; then it has to work. [default: deploys/ below "
    "SIGMAWATCH_STATE]",
)

pack_name_option = click.option(
    "--pack",
    "pack_name",
    metavar="NAME",
    help="Name of the pack, as `sigmawatch releases list` shows it, or its folder. "
    "[default: the only one that is deployed]",
)


def deploy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that decide what is deployed, and where."""
    for option in (
        max_deletes_option,
        click.option("--adopt", is_flag=True, help="Take over artifacts of our names that others made."),
        click.option(
            "--delete-data",
            is_flag=True,
            help="Data streams and indices that the pack no longer has go, too, with their documents.",
        ),
        click.option(
            "--keep-going",
            is_flag=True,
            help="Leave out rules that do not compile or that the target cannot express; what is deployed of "
            "them stays.",
        ),
        click.option("--prune/--no-prune", default=True, help="Delete what the pack no longer has."),
        namespace_option("Of data streams and alerts."),
        click.option(
            "--target",
            type=click.Choice([each.value for each in Target]),
            help="Who executes the detections. [default: watcher where the cluster has it, else runner]",
        ),
        pack_option,
        cluster_options,
    ):
        function = option(function)
    return function


@dataclass(frozen=True)
class Wanted:
    """What the options of `deploy_options` ask for, with what the configuration says where they leave it open."""

    pack: Pack
    site: Environment
    target: Target | None
    namespace: str
    options: PlanOptions

    @property
    def origin(self) -> Origin:
        """Who deploys, and of which revision the pack is."""
        return replace(origin_of(self.pack.root), namespace=self.namespace, environment=self.site.name)


def wanted(
    pack_path: Path | None,
    target: str | None,
    namespace: str | None,
    options: PlanOptions,
    config_path: Path | None,
    environment: str | None,
) -> Wanted:
    """Return what is to be deployed. Raises ContentError for an invalid configuration, UsageError."""
    pack = open_pack(pack_path)
    site = site_of(config_path, environment, [pack.root])
    chosen = target or site.target
    if site.tenant and namespace not in {None, site.tenant}:
        raise UsageError(
            f"--namespace {namespace}, and the environment {site.name} is that of the tenant {site.tenant}",
            hint="A tenant's namespace is its name.",
        )
    return Wanted(
        pack,
        site,
        Target(chosen) if chosen is not None else None,
        namespace or site.namespace or DEFAULT_NAMESPACE,
        options,
    )


def planned(cluster: Cluster, what: Wanted) -> tuple[Bundle, Plan]:
    """Return the bundle of a pack and its plan for a cluster; warnings about rules go to standard error."""
    options = what.options
    bundle = bundle_for(
        cluster,
        what.pack,
        target=what.target,
        namespace=what.namespace,
        site=what.site,
        keep_going=options.keep_going,
    )
    print_problems(bundle.problems, in_brief=not bundle.errors)
    plan = make_plan(
        cluster,
        bundle.artifacts,
        pack=owner_of(what.pack, what.site),
        prune=options.prune,
        adopt=options.adopt,
        max_deletes=options.max_deletes,
        data=options.delete_data,
        spared=bundle.spared,
    )
    elsewhere = _deployed_elsewhere(plan, what)
    if elsewhere is not None and not options.adopt:
        plan = replace(plan, refusals=(*plan.refusals, elsewhere))
    return bundle, replace(plan, notes=(*plan.notes, *_under_tunings(plan, bundle, what.site)))


def _under_tunings(plan: Plan, bundle: Bundle, site: Environment) -> Iterator[str]:
    """Yield how the pack changed rules that the site tunes, since the last release of this environment."""
    last = plan.last
    if last is not None and last.origin.environment == site.name:
        for told in changed_under(last.origin.untuned, bundle.compiled.untuned, site.rules):
            yield f"since release {last.number}, {told}"


def origin_with(what: Wanted, bundle: Bundle) -> Origin:
    """Return the origin of a bundle, with what later deploys compare."""
    return replace(what.origin, target=bundle.target.value, untuned=bundle.compiled.untuned)


def _deployed_elsewhere(plan: Plan, what: Wanted) -> Refusal | None:
    """Return why a deploy would take the place of another namespace's: ids are the same whatever the namespace."""
    last = plan.last
    if last is None or last.removal or last.origin.namespace in {"", what.namespace}:
        return None
    there = last.origin.namespace + (f" ({last.origin.environment})" if last.origin.environment else "")
    return Refusal(
        f"release {last.number} deployed {plan.pack} for the namespace {there}, and this one is for {what.namespace}",
        f"`tenant: {what.namespace}` in sigmawatch.yml has both side by side; --adopt replaces the other.",
    )


def tell_left_out(number: int) -> None:
    """Say at the end how many rules have no part in this, since their errors stand far above by then."""
    if number:
        errors().print(
            f"{counted(number, 'rule')} left out, with the errors told before", style="bold red", markup=False
        )


def deployed_pack(cluster: Cluster, given: str | None, *, tenant: str = "") -> str:
    """Return the name of the pack that is meant, as it is deployed. Raises UsageError, naming those there are.

    `tenant`: whose packs alone may be meant.
    """
    owners = {entry.pack for entry in read_registry(cluster).values()} - {SHARED_OWNER}
    deployed = sorted(owners | {release.pack for release in list_releases(cluster)})
    packs = [pack for pack in deployed if is_of_tenant(pack, tenant)]
    of = f" for the tenant {tenant}" if tenant else ""
    if given is None:
        if len(packs) == 1:
            return packs[0]
        if not packs:
            raise UsageError(f"nothing is deployed in this cluster{of}")
        raise UsageError("several packs are deployed here", hint=f"--pack takes one of {', '.join(packs)}.")
    for name in (given, Path(given).resolve().name):
        for pack in (name, f"{name}@{tenant}"):
            if pack in packs:
                return pack
    known = f"There are {', '.join(packs)}." if packs else f"Nothing is deployed in this cluster{of}."
    raise UsageError(f"no pack {given} is deployed here", hint=known)


def is_of_tenant(pack: str, tenant: str) -> bool:
    """Return whether a deployed pack may be meant where a tenant is; where none is, each may."""
    return not tenant or pack.endswith(f"@{tenant}")


def confirm(plan: Plan, *, yes: bool) -> None:
    """Ask whether a plan is to be applied. Raises UsageError where nobody can be asked, Abort for a no."""
    if not plan.has_changes or yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "not asked, because there is no terminal", hint="Pass --yes to apply it without asking."
        )
    click.confirm(f"Apply ({plan.summary})?", abort=True, err=True)


def require_working(found: Sequence[Failing]) -> None:
    """Say what could not be tried; raise NotWorking when something was, and does not work."""
    untried = [one for one in found if not one.tried]
    if untried:
        errors().print(
            f"note: {counted(len(untried), 'artifact')} could not be tried: {untried[0].problem}",
            markup=False,
        )
    failing = [one for one in found if one.tried]
    if failing:
        raise NotWorking(failing)


def try_out(
    cluster: Cluster, plan: Plan, result: ApplyResult, datasets: Iterable[Dataset] = ()
) -> list[Failing]:
    """Try what was written, behind a progress bar; return what does not work."""
    with progress_bar() as progress:
        task = progress.add_task("Trying it", total=None)
        return prove(
            cluster,
            plan,
            result,
            samples=samples_of(datasets),
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )


def carry_out(
    cluster: Cluster,
    plan: Plan,
    origin: Origin,
    *,
    word: str,
    journal_folder: Path | None,
    restores: int | None = None,
    site: Environment | None = None,
) -> ApplyResult:
    """Apply a plan behind a progress bar. `site`: says where the secrets are that it needs."""
    needed = any(one.artifact is not None and secrets_in(one.artifact.body) for one in plan.changes)
    secrets = site.secrets() if site is not None and needed else {}
    told: list[str] = []
    try:
        with progress_bar() as progress:
            task = progress.add_task(word, total=len(plan.changes))

            def on_wait(reason: str) -> None:
                progress.update(task, description=f"{word}, waiting for the cluster to compile scripts")
                if not told:
                    told.append(reason)
                    progress.console.print(
                        f"note: the cluster compiles no more scripts for a while, so this takes longer: {reason}",
                        markup=False,
                    )

            result = apply(
                cluster,
                plan,
                origin=origin,
                restores=restores,
                secrets=secrets,
                journals=journals_at(journal_folder, _warn),
                on_wait=on_wait,
                on_progress=lambda _, done, total: progress.update(task, completed=done, total=total),
            )
            progress.update(task, total=len(result.results), completed=len(result.results))
    except (KeyboardInterrupt, SystemExit):
        errors().print(
            "What was written is recorded. Run the same command again to complete it; `sigmawatch status` tells how "
            "far it came.",
            markup=False,
        )
        raise
    for account in result.completed:
        what = "the deploy" if account.release is None else f"release {account.release}"
        begun = account.begun[:19].replace("T", " ")
        errors().print(f"Completed {what}, begun {begun}, which was cut off.", markup=False)
    return result


def _warn(message: str, hint: str) -> None:
    errors().print(f"warning: {message}", style="yellow", markup=False)
    errors().print(f"  {hint}", markup=False)


def cut_off(
    cluster: Cluster, journals: Journals, newest: Iterable[Release | None], pack: str | None = None
) -> list[Account]:
    """Return the deploys from this machine that were cut off and that nobody completed since.

    `newest`: the newest release of each pack, as the cluster has it.
    """
    found = journals.unfinished(uuid=cluster.info.uuid, pack=pack)
    latest = {one.pack: one for one in newest if one is not None}
    return [one for one in found if one.pack not in latest or not one.is_settled_by(latest[one.pack])]
