"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sigmawatch.compile.cache import PlanCache, default_cache
from sigmawatch.config import Environment, find_configuration
from sigmawatch.config.model import NAMESPACE
from sigmawatch.errors import UsageError
from sigmawatch.pack.layout import Pack, builtin_pack

if TYPE_CHECKING:
    from sigmawatch.cluster import Cluster

__all__ = [
    "DEFAULT_NAMESPACE",
    "cache_option",
    "cluster_options",
    "configuration_options",
    "connection_options",
    "format_option",
    "namespace_option",
    "open_cluster",
    "open_pack",
    "pack_option",
    "placeholders",
    "plan_cache",
    "site_of",
]

DEFAULT_NAMESPACE = "default"
"""Namespace of data streams and alerts where nobody names one."""

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def connection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--url`, `--ca`, `--fingerprint`, `--insecure` and `--timeout`; collect them for `open_cluster`."""
    for option in (
        click.option("--timeout", type=float, help="Seconds to wait for an answer. [default: 30]"),
        click.option("--insecure", is_flag=True, help="Do not verify the cluster's certificate."),
        click.option("--fingerprint", help="SHA-256 of the cluster's certificate."),
        click.option(
            "--ca", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="PEM file of the CA."
        ),
        click.option(
            "--url",
            help="Address of the cluster, else SIGMAWATCH_URL. Log in by SIGMAWATCH_API_KEY, or "
            "SIGMAWATCH_USERNAME and SIGMAWATCH_PASSWORD.",
        ),
    ):
        function = option(function)
    return function


def cluster_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what `connection_options` and `configuration_options` have; `open_cluster` takes all of it."""
    return connection_options(configuration_options(function))


def open_cluster(
    *,
    url: str | None,
    ca: Path | None,
    fingerprint: str | None,
    insecure: bool,
    timeout: float | None,
    config_path: Path | None = None,
    environment: str | None = None,
    folders: Iterable[Path] = (),
) -> Cluster:
    """Return a client for what the options, the configuration and environment variables say, in this order.

    Raises ContentError for an invalid configuration, UsageError when there is no telling which cluster is meant.
    """
    # Commands that only look at files do not wait for the client to be imported.
    from sigmawatch.cluster import connect

    site = Environment("") if environment is None else site_of(config_path, environment, folders)
    if url is not None and (site.url or site.cloud_id):
        raise UsageError(
            f"--url and the address of the environment {site.name} exclude each other",
            hint="Its credentials must not go to another cluster.",
        )
    given = tuple(part.strip() for part in (url or "").split(",") if part.strip())
    if url is not None and not given:
        raise UsageError("no cluster address", hint="Pass --url or set SIGMAWATCH_URL.")
    chosen = replace(
        site,
        url=given or site.url,
        ca_file=ca or site.ca_file,
        fingerprint=fingerprint or site.fingerprint,
        verify=site.verify and not insecure,
        timeout=site.timeout if timeout is None else timeout,
    )
    return connect(chosen.connection())


def site_of(config_path: Path | None, environment: str | None, folders: Iterable[Path] = ()) -> Environment:
    """Return what the configuration says for an environment, or where none is named.

    `folders`: where the configuration is looked for when none is named; then in the current folder. Raises
    ContentError for an invalid configuration, UsageError for an unknown environment.
    """
    found = find_configuration(config_path, [*folders, Path.cwd()])
    return found.everywhere if environment is None else found.environment(environment)


def pack_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--pack`."""
    return click.option(
        "--pack",
        "pack_path",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Folder with rules/ and ingest_pipelines/. [default: the built-in pack]",
    )(function)


def open_pack(path: Path | None) -> Pack:
    """Return the pack in a folder, the built-in one without. Raises UsageError for a folder that is none."""
    if path is None:
        return builtin_pack()
    root = path.resolve()
    if not (root / "rules").is_dir():
        raise UsageError(
            f"{path} is no pack: it has no rules/", hint="A pack has rules/ and ingest_pipelines/."
        )
    return Pack(root.name, root)


def configuration_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--config` and `--env`; `placeholders` reads what they say for rules."""
    for option in (
        click.option("--env", "environment", metavar="NAME", help="Environment of the configuration."),
        click.option(
            "--config",
            "config_path",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="Configuration. [default: sigmawatch.yml of the pack or the current folder]",
        ),
    ):
        function = option(function)
    return function


def placeholders(
    config_path: Path | None, environment: str | None, folders: Iterable[Path]
) -> Mapping[str, tuple[str, ...]]:
    """Return the values of placeholders at a site, or in one of its environments. Raises as `site_of` does."""
    return site_of(config_path, environment, folders).placeholders


def cache_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--no-cache`."""
    return click.option(
        "--no-cache", is_flag=True, help="Compile every rule, and keep nothing for the next run."
    )(function)


def plan_cache(*, no_cache: bool) -> PlanCache | None:
    """Return where compiled rules are kept, None where they are not to be."""
    return None if no_cache else default_cache()


def namespace_option(what: str) -> Decorator:
    """Return the option `--namespace`."""
    return click.option(
        "--namespace",
        callback=_checked_namespace,
        help=f"{what} [default: the environment's, else {DEFAULT_NAMESPACE}]",
    )


def _checked_namespace(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Return a namespace that can end the name of an index."""
    if value is not None and not NAMESPACE.fullmatch(value):
        raise click.BadParameter(
            f"{value!r} must begin with a lower-case letter or digit and have no others but - _ .", ctx, param
        )
    return value


def format_option(*choices: str) -> Decorator:
    """Return the option `--format` with these choices, the first the default."""
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(list(choices)),
        default=choices[0],
        show_default=True,
        help="For people or for machines.",
    )
