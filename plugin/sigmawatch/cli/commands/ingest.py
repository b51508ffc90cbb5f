"""`sigmawatch ingest`: load log files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from sigmawatch.bundle import known_datasets
from sigmawatch.cli.options import (
    DEFAULT_NAMESPACE,
    cluster_options,
    format_option,
    namespace_option,
    open_cluster,
    open_pack,
    pack_option,
    site_of,
)
from sigmawatch.cli.terminal import errors, print_json, progress_bar, results
from sigmawatch.config import dataset_settings
from sigmawatch.datasets import load_datasets
from sigmawatch.errors import UsageError
from sigmawatch.ingest.files import Loaded, load_file, require_deployed

__all__ = ["command"]


@click.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--dataset", "name", required=True, help="What kind of log it is, e.g. flow.aws_vpc.")
@namespace_option("Of the data stream.")
@pack_option
@cluster_options
@format_option("text", "json")
def command(
    files: tuple[Path, ...],
    name: str,
    namespace: str | None,
    pack_path: Path | None,
    output_format: str,
    config_path: Path | None,
    environment: str | None,
    **connection: Any,
) -> None:
    """Load log files, plain or packed with gzip, bzip2 or xz.

    The events go into the data stream of the dataset, which must be deployed. They are taken out of what they come in:
    JSON lists and Records, CloudWatch, Firehose, Kinesis, Pub/Sub, the objects of shippers. An event keeps its id, so
    loading a file again adds nothing. Lines that cannot be parsed are kept and marked (event.kind: pipeline_error).

    \b
    Example:
      sigmawatch ingest --dataset flow.aws_vpc --url http://127.0.0.1:9200 flows.log.gz
    """
    pack = open_pack(pack_path)
    known = {dataset.name: dataset for dataset in known_datasets(load_datasets(pack.ingest_pipelines))}
    if name not in known:
        raise UsageError(f"unknown dataset {name}", hint=f"Known: {', '.join(sorted(known))}")
    found: dict[str, Loaded] = {}
    site = site_of(config_path, environment, [pack.root])
    if not dataset_settings(site.datasets, known.values())[name].enabled:
        raise UsageError(f"the dataset {name} is switched off", hint="By `datasets:` in sigmawatch.yml.")
    with open_cluster(
        **connection, config_path=config_path, environment=environment, folders=[pack.root]
    ) as cluster:
        require_deployed(cluster, known[name])
        with progress_bar(download=True) as progress:
            for path in files:
                task = progress.add_task(path.name, total=path.stat().st_size)
                found[str(path)] = load_file(
                    cluster,
                    known[name],
                    path,
                    namespace=namespace or site.namespace or DEFAULT_NAMESPACE,
                    on_bytes=lambda done, task=task: progress.update(task, completed=done),  # type: ignore[misc]
                )
    if output_format == "json":
        print_json({path: vars(loaded) for path, loaded in found.items()})
    for path_name, loaded in found.items():
        if output_format == "text":
            results().print(f"{path_name}: {_spell(loaded)}", markup=False)
        for reason in loaded.reasons:
            errors().print(f"  {reason}", style="red", markup=False)
        if loaded.unread:
            errors().print(f"error: {loaded.unread}", style="red", markup=False)
    if any(loaded.failed or loaded.unread for loaded in found.values()):
        sys.exit(4)


def _spell(loaded: Loaded) -> str:
    parts = [f"{loaded.created:,} line{'' if loaded.created == 1 else 's'} loaded"]
    parts += [f"{loaded.existing:,} known before"] if loaded.existing else []
    parts += [f"{loaded.dropped:,} header lines"] if loaded.dropped else []
    parts += [f"{loaded.failed:,} refused"] if loaded.failed else []
    return ", ".join(parts)
