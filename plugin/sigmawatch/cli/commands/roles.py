"""`sigmawatch roles`: the least privileges that each part of the work needs."""

from __future__ import annotations

import click

from sigmawatch.cli.terminal import print_json
from sigmawatch.config.model import TENANT
from sigmawatch.errors import UsageError
from sigmawatch.render.target import Target
from sigmawatch.roles import ROLES, Role, opensearch_role, role

__all__ = ["command"]


def _tenant(ctx: click.Context, param: click.Parameter, value: str | None) -> str:
    if value is not None and not TENANT.fullmatch(value):
        raise click.BadParameter(f"{value!r} must have lower-case letters, digits and _ . only", ctx, param)
    return value or ""


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(ROLES))
@click.option(
    "--engine",
    type=click.Choice(["elasticsearch", "opensearch"]),
    help="Whose security it is for.  [default: OpenSearch's for --target opensearch, else Elasticsearch's]",
)
@click.option(
    "--target",
    type=click.Choice([each.value for each in Target]),
    default=Target.RUNNER.value,
    show_default=True,
    help="Who executes the detections: who deploys watches or monitors lends them its rights.",
)
@click.option(
    "--space",
    metavar="NAME",
    help="Also what it takes to deploy to this space of Kibana and to look at it; with --target kibana always one.",
)
@click.option("--tenant", callback=_tenant, help="Only for the logs and alerts of this tenant.")
@click.option(
    "--retention/--no-retention",
    default=True,
    help="Whether the deployer deploys policies of ILM or ISM: these roll over and delete with its rights.",
)
def command(
    names: tuple[str, ...],
    engine: str | None,
    target: str,
    space: str | None,
    tenant: str,
    retention: bool,
) -> None:
    """Print the roles with the least privileges, in Kibana too.

    One name prints the body for `PUT _security/role/NAME`, or for `PUT _plugins/_security/api/roles/NAME` of
    OpenSearch; several, or none for all, print them by name, which is also the form of an API key's role_descriptors.
    Those of Elasticsearch are tested with it: enough for the work, and no privilege too many. Those of OpenSearch were
    compared with what its nodes do, without the security plugin.

    \b
    Examples:
      sigmawatch roles deployer | curl -u admin -X PUT -H 'content-type: application/json' --data-binary @- \\
        https://es.example.com:9200/_security/role/sigmawatch-deployer
      sigmawatch roles runner --engine opensearch
    """

    def body(name: str) -> Role:
        chosen = Target(target)
        if (engine or ("opensearch" if chosen is Target.OPENSEARCH else "elasticsearch")) == "elasticsearch":
            return role(name, target=chosen, space=space, tenant=tenant, retention=retention)
        if space is not None:
            raise UsageError("--space: OpenSearch has no Kibana", hint="Leave it out.")
        return opensearch_role(name, target=chosen, tenant=tenant, retention=retention)

    found = {name: body(name) for name in names or ROLES}
    print_json(found[names[0]] if len(names) == 1 else found)
