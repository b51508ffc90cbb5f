"""`sigmawatch pseudonym`: what stands in events in the place of a user or an address."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import click

from sigmawatch.cli.options import configuration_options, format_option, site_of
from sigmawatch.cli.terminal import print_json, results

if TYPE_CHECKING:
    from pathlib import Path

    from sigmawatch.datasets.pseudonyms import Pseudonyms

__all__ = ["command"]


@click.command()
@click.argument("values", nargs=-1, required=True)
@configuration_options
@format_option("text", "json")
def command(
    values: tuple[str, ...], config_path: Path | None, environment: str | None, output_format: str
) -> None:
    """Print what stands in events for users and addresses.

    VALUES are names of users, their ids or addresses of mail, and IP addresses; what is printed is to be searched for.
    The key is the one of the configuration (`privacy: {key: …}`). There is no way back from a pseudonym.

    \b
    Example:
      sigmawatch pseudonym --env prod anna 198.51.100.7
    """
    pseudonyms = site_of(config_path, environment).pseudonyms()
    found = {value: _pseudonym(pseudonyms, value) for value in values}
    if output_format == "json":
        print_json(found)
        return
    for value, pseudonym in found.items():
        results().print(f"{value}\t{pseudonym}", markup=False)


def _pseudonym(pseudonyms: Pseudonyms, value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return pseudonyms.user(value)
    return pseudonyms.address(value)
