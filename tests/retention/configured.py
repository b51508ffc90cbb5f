"""What a configuration leads to: the bundle of two datasets, and how their events are kept."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from sigmawatch.bundle import build_bundle
from sigmawatch.cluster import Features
from sigmawatch.compile.context import Compiled
from sigmawatch.config import dataset_settings, load_configuration
from sigmawatch.datasets import load_datasets
from sigmawatch.datasets.templates import ELASTICSEARCH
from sigmawatch.pack.layout import builtin_pack
from sigmawatch.render.target import Target
from sigmawatch.retention import RetentionTuning, kept

if TYPE_CHECKING:
    from pathlib import Path

    from sigmawatch.bundle import Bundle
    from sigmawatch.datasets import Dataset
    from sigmawatch.retention import Kept

ILM = Features(
    has_watcher=False,
    has_data_streams=True,
    has_ilm=True,
    has_alerting=False,
    flattened_type="flattened",
    has_wildcard=True,
    has_constant_keyword=True,
    has_match_only_text=True,
    has_scaled_float=True,
    reasons={"ism": "no"},
)


@cache
def datasets() -> tuple[Dataset, ...]:
    """The built-in datasets."""
    return tuple(load_datasets(builtin_pack().ingest_pipelines))


def configured(
    text: str, folder: Path, *, features: Features = ILM, environment: str = ""
) -> tuple[Bundle, list[Kept]]:
    """Return what a configuration makes of the logins and the web server's log."""
    path = folder / "sigmawatch.yml"
    path.write_text(text)
    configuration = load_configuration(path)
    site = configuration.environment(environment) if environment else configuration.everywhere
    chosen = [one for one in datasets() if one.name in {"auth.sshd", "web.nginx"}]
    settings = dataset_settings(site.datasets, chosen)
    keeping = kept(
        [(one.name, one.template_id, one.index_pattern) for one in chosen],
        site=site.retention,
        tunings={name: one.retention or RetentionTuning() for name, one in settings.items()},
        features=features,
    )
    bundle = build_bundle(
        Compiled((), ()),
        chosen,
        target=Target.RUNNER,
        traits=ELASTICSEARCH,
        settings=settings,
        keeping=keeping,
    )
    return bundle, keeping
