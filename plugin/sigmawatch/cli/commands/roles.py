"""`sigmawatch roles`: the least privileges that each part of the work needs."""

from __future__ import annotations

import click

from sigmawatch.cli.terminal import print_json
from sigmawatch.config.model import TENANT
from sigmawatch.render.target import Target
from sigmawatch.roles import ROLES, role

__all__ = ["command"]


def _tenant(ctx: click.Context, param: click.Parameter, value: str | None) -> str:
    if value is not None and not TENANT.fullmatch(value):
        raise click.BadParameter(f"{value!r} must have lower-case letters, digits and _ . only", ctx, param)
    return value or ""


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(ROLES))
@click.option(
    "--target",
    type=click.Choice([each.value for each in Target]),
    default=Target.RUNNER.value,
    show_default=True,
    help="Who executes the detections: who deploys watches lends them its rights.",
)
@click.option(
    "--space",
    metavar="NAME",
    help="Also what it takes to deploy to this space of Kibana and to look at it; with --target kibana always one.",
)
@click.option("--tenant", callback=_tenant, help="Only for the logs and alerts of this tenant.")
def command(names: tuple[str, ...], target: str, space: str | None, tenant: str) -> None:
    """Print the roles with the least privileges, in Kibana too.

    One name prints the body for `PUT _security/role/NAME`; several, or none for all, print them by name, which is
    also the form of an API key's role_descriptors. They are tested: enough for the work, and no privilege too many.

    \b
    Example:
      sigmawatch roles deployer | curl -u admin -X PUT -H 'content-type: application/json' --data-binary @- \\
        https://es.example.com:9200/_security/role/sigmawatch-deployer
    """
    found = {name: role(name, target=Target(target), space=space, tenant=tenant) for name in names or ROLES}
    print_json(found[names[0]] if len(names) == 1 else found)
