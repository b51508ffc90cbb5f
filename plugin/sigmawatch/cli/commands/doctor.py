"""`sigmawatch doctor`: whether a cluster is fit for a pack."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from sigmawatch.bundle import choose_target, compile_pack, known_datasets, unmade_enrichments
from sigmawatch.cli.options import (
    cluster_options,
    format_option,
    open_cluster,
    open_pack,
    pack_option,
    site_of,
)
from sigmawatch.cli.terminal import counted, print_json, results
from sigmawatch.config import dataset_settings
from sigmawatch.doctor import Finding, Verdict, check_privileges, check_rules, check_surroundings
from sigmawatch.errors import TargetUnavailable
from sigmawatch.render.target import Target
from sigmawatch.retention import Mechanism, choose_mechanism
from sigmawatch.roles import ROLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sigmawatch.cluster import Cluster
    from sigmawatch.compile.context import Compiled
    from sigmawatch.config import Environment
    from sigmawatch.pack.layout import Pack

__all__ = ["command"]

MOST = 10
"""Details that are shown of one finding; JSON has them all."""

_STYLES = {
    Verdict.FINE: ("ok", "green"),
    Verdict.WARNING: ("warning", "yellow"),
    Verdict.PROBLEM: ("PROBLEM", "bold red"),
    Verdict.UNKNOWN: ("unknown", "dim"),
}


@click.command()
@pack_option
@click.option(
    "--target", type=click.Choice([each.value for each in Target]), help="Who is to execute the detections."
)
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(ROLES),
    help="Whether the one who asks has the privileges of this role; several are possible. [default: deployer]",
)
@cluster_options
@format_option("text", "json")
def command(
    pack_path: Path | None,
    target: str | None,
    roles: tuple[str, ...],
    output_format: str,
    config_path: Path | None,
    environment: str | None,
    **connection: Any,
) -> None:
    """Look whether a cluster is fit for a pack. Changes nothing.

    Looks at version, licence, health, clocks, disks and privileges, and whether each rule has indices with the fields
    and types that it was compiled for. Exits with 1 when something does not work.

    \b
    Examples:
      sigmawatch doctor --url https://es.example.com:9200
      sigmawatch doctor --role runner
    """
    pack = open_pack(pack_path)
    site = site_of(config_path, environment, [pack.root])
    with open_cluster(
        **connection, config_path=config_path, environment=environment, folders=[pack.root]
    ) as cluster:
        chosen = target or site.target
        found = _examined(cluster, pack, site, Target(chosen) if chosen else None, roles or ("deployer",))
    if output_format == "json":
        print_json({"findings": [one.to_dict() for one in found]})
    else:
        for one in found:
            _print(one)
    if any(one.verdict is Verdict.PROBLEM for one in found):
        sys.exit(1)


def _examined(
    cluster: Cluster, pack: Pack, site: Environment, target: Target | None, roles: tuple[str, ...]
) -> list[Finding]:
    compiled, own = compile_pack(pack, site=site)
    compiled.require()
    found = list(check_surroundings(cluster, target=target))
    try:
        executing = choose_target(target, cluster.features())
    except TargetUnavailable:  # told already
        executing = Target.RUNNER
    keeps = _keeps(cluster, site)
    found += [
        check_privileges(cluster, name, target=executing, tenant=site.tenant, retention=keeps)
        for name in roles
    ]
    types: dict[str, str] = {}
    known = known_datasets(own)
    for dataset in known:
        types |= dataset.fields
    scoping = {name for dataset in known for scope in dataset.scopes for name in scope}
    found += _blinded(compiled)
    unmade = unmade_enrichments(own, dataset_settings(site.datasets, known), cluster.features())
    found += [Finding("enrichments", Verdict.WARNING, one.message) for one in unmade]
    found += check_rules(cluster, compiled.plans, types, scoping=scoping)
    return found


def _keeps(cluster: Cluster, site: Environment) -> bool:
    """Return whether policies are deployed that act with the rights of who deploys them."""
    try:
        return choose_mechanism(site.retention, cluster.features()) in {Mechanism.ILM, Mechanism.ISM}
    except TargetUnavailable:  # told already
        return False


def _blinded(compiled: Compiled) -> Iterator[Finding]:
    """Yield which rules datasets are missing of that are switched off."""
    told = tuple(one.message for one in compiled.problems if one.code == "dataset-off")
    if told:
        message = f"{counted(len(told), 'rule')} look at what is switched off"
        hint = "Switch it on under `datasets:` in sigmawatch.yml where its logs are there."
        yield Finding("datasets", Verdict.WARNING, message, hint, told)


def _print(finding: Finding) -> None:
    word, style = _STYLES[finding.verdict]
    line = Text(f"{word:<8}", style=style)
    line.append(f" {finding.check}: {finding.message}", style="")
    console = results()
    console.print(line)
    shown = finding.details if len(finding.details) <= MOST + 1 else finding.details[:MOST]
    for detail in shown:
        console.print(Text(f"           {detail}", style="dim"))
    if len(shown) < len(finding.details):
        console.print(f"           … and {len(finding.details) - len(shown)} more")
    if finding.hint:
        console.print(Text(f"         {finding.hint}"))
