"""What a site says about datasets: `datasets:` in `sigmawatch.yml`, by name or glob."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.names import fields_like, similar_fields
from sigmawatch.datasets.pipeline import build_pipeline, options_of
from sigmawatch.datasets.privacy import ADDRESSES, Privacy
from sigmawatch.datasets.settings import ENRICHMENTS, DatasetSettings
from sigmawatch.errors import ContentError, Problem, Severity, UsageError
from sigmawatch.retention.reading import read_retention
from sigmawatch.retention.values import RetentionTuning

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sigmawatch.compile.context import Compiled
    from sigmawatch.compile.plan import DetectionPlan
    from sigmawatch.datasets import Dataset
    from sigmawatch.datasets.reader import Reader
    from sigmawatch.yamlfile import YamlDocument

__all__ = ["DatasetTuning", "dataset_settings", "merged_datasets", "needing_only", "read_datasets"]

_KEYS = ("enabled", "enrich", "options", "privacy", "retention")
_GLOB = re.compile(r"[a-z0-9_.*?-]+", re.ASCII)
_OPTIONS = ("format", "networks", "timezone")
_PRIVACY = ("users", "addresses", "original", "keep", "fields")


@dataclass(frozen=True)
class DatasetTuning:
    """What is said about the datasets of one name or glob."""

    enabled: bool | None = None
    enrich: Mapping[str, bool] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    privacy: Mapping[str, Any] = field(default_factory=dict)
    """Those of `Privacy` that are given."""
    retention: RetentionTuning = field(default_factory=RetentionTuning)
    document: YamlDocument | None = field(default=None, compare=False, repr=False)
    """The configuration."""
    places: Mapping[str, tuple[str | int, ...]] = field(default_factory=dict, compare=False, repr=False)
    """Where in it each thing is said: `` for the name itself, `options.timezone`, …"""

    def problem(self, message: str, key: str = "", *, hint: str = "") -> Problem:
        """Return that something about it is wrong, with the line that says it."""
        path = self.document.path if self.document is not None else None
        place = self.places.get(key) or self.places.get("", ())
        line = self.document.line_of(*place) if self.document is not None else None
        return Problem(message, path, line, hint, code="datasets")


def read_datasets(reader: Reader) -> dict[str, DatasetTuning]:
    """Read `datasets:`. Whether there are datasets of these names is for `dataset_settings` to say."""
    member = reader.get("datasets")
    found: dict[str, DatasetTuning] = {}
    for key, each in member.items() if member is not None else ():
        if not _GLOB.fullmatch(key):
            hint = 'e.g. `auth.sshd`, `"dns.*"`, or `"*"`'
            each.problem(f"{key!r} is no name of datasets", hint=hint)
        if each.is_mapping(_KEYS):
            found[key] = _tuning(each)
    return found


def _tuning(reader: Reader) -> DatasetTuning:
    enrich, options = reader.get("enrich"), reader.get("options")
    return DatasetTuning(
        enabled=reader.flag("enabled") if reader.get("enabled") is not None else None,
        enrich=_switches(enrich) if enrich is not None and enrich.is_mapping(ENRICHMENTS) else {},
        options=_options(options) if options is not None and options.is_mapping(_OPTIONS) else {},
        privacy=_privacy(reader.get("privacy")),
        retention=read_retention(reader),
        document=reader.document,
        places=_places(reader),
    )


def _switches(reader: Reader) -> dict[str, bool]:
    return {name: reader.flag(name) for name in reader.data}


def _options(reader: Reader) -> dict[str, Any]:
    """Read texts and lists of texts; what they mean is for the dataset to say."""
    return {
        name: list(reader.texts(name)) if isinstance(value, list) or name == "networks" else reader.text(name)
        for name, value in reader.data.items()
    }


def _privacy(reader: Reader | None) -> dict[str, Any]:
    if reader is None or not reader.is_mapping(_PRIVACY):
        return {}
    found: dict[str, Any] = {
        name: reader.flag(name) for name in ("users", "original") if reader.get(name) is not None
    }
    found |= {name: reader.texts(name) for name in ("keep", "fields") if reader.get(name) is not None}
    addresses = reader.get("addresses")
    if addresses is not None:
        if addresses.data not in ADDRESSES:
            addresses.problem(f"addresses: {addresses.data!r} is none", hint=f"one of {', '.join(ADDRESSES)}")
        found["addresses"] = addresses.data
    if found.get("original") and (found.get("users") or found.get("addresses", "none") != "none"):
        reader.at("original").problem("original: a line that is kept has in it what pseudonyms stand for")
    return found


def _places(reader: Reader) -> dict[str, tuple[str | int, ...]]:
    """Return where everything is said about a dataset."""
    found: dict[str, tuple[str | int, ...]] = {"": reader.keys}
    for name, value in reader.data.items():
        found[name] = (*reader.keys, name)
        if isinstance(value, dict):
            found |= {f"{name}.{inner}": (*reader.keys, name, inner) for inner in value}
    retention = reader.data.get("retention")
    archive = retention.get("archive") if isinstance(retention, dict) else None
    for name in ("keep", "drop"):
        elements = archive.get(name) if isinstance(archive, dict) else None
        if isinstance(elements, list):
            # Not by their place: where an environment says something else, there are others in it.
            keys = (*reader.keys, "retention", "archive", name)
            found |= {f"archive.{name}.{value}": (*keys, index) for index, value in enumerate(elements)}
        elif elements is not None:
            found[f"archive.{name}.{elements}"] = (*reader.keys, "retention", "archive", name)
    return found


def merged_datasets(
    site: Mapping[str, DatasetTuning], environment: Mapping[str, DatasetTuning]
) -> dict[str, DatasetTuning]:
    """Return what an environment says over what the whole site does, key by key."""
    found = dict(site)
    for key, tuning in environment.items():
        found[key] = _over(found[key], tuning) if key in found else tuning
    return found


def _over(below: DatasetTuning, tuning: DatasetTuning) -> DatasetTuning:
    return replace(
        tuning,
        enabled=below.enabled if tuning.enabled is None else tuning.enabled,
        enrich={**below.enrich, **tuning.enrich},
        options={**below.options, **tuning.options},
        privacy={**below.privacy, **tuning.privacy},
        retention=tuning.retention.over(below.retention),
        places={**below.places, **tuning.places},
    )


def _specificity(key: str) -> tuple[bool, int]:
    """Return how closely a name or glob says which datasets it means."""
    exact = not any(sign in key for sign in "*?")
    return exact, sum(sign not in "*?" for sign in key)


def dataset_settings(
    tunings: Mapping[str, DatasetTuning], datasets: Iterable[Dataset]
) -> dict[str, DatasetSettings]:
    """Return what a site wants of each dataset, the more specific name or glob over the other.

    Of globs the one with more characters that are no wildcards is the more specific, of equal ones the later.
    Raises ContentError for names that no dataset has, and for options that none of those that are meant knows.
    """
    known = {dataset.name: dataset for dataset in datasets}
    problems = [problem for key, tuning in tunings.items() for problem in _misfits(key, tuning, known)]
    found: dict[str, DatasetSettings] = {}
    ordered = sorted(tunings, key=_specificity)
    for name, dataset in known.items():
        whole = DatasetTuning()
        for key in ordered:
            if fnmatchcase(name, key):
                whole = _over(whole, tunings[key])
        has = options_of(dataset)
        found[name] = DatasetSettings(
            enabled=whole.enabled is not False,
            options={option: value for option, value in whole.options.items() if option in has},
            enrich=whole.enrich,
            privacy=Privacy(**whole.privacy),
            retention=whole.retention,
        )
        problems += _unbuildable(dataset, found[name], whole)
    if problems:
        # What is wrong with a glob is told once, not for each dataset that it means.
        raise ContentError(list(dict.fromkeys(problems)))
    return found


def _misfits(key: str, tuning: DatasetTuning, known: Mapping[str, Dataset]) -> Iterable[Problem]:
    """Yield what no dataset that is meant can have."""
    meant = [dataset for name, dataset in known.items() if fnmatchcase(name, key)]
    if not meant:
        similar = get_close_matches(key, known, n=3, cutoff=0.6)
        hint = f"did you mean {', '.join(similar)}?" if similar else "`sigmawatch check` knows all names"
        yield tuning.problem(f"there is no dataset {key}", hint=hint)
        return
    has = {option for dataset in meant for option in options_of(dataset)} - {"enrich"}
    for option in tuning.options:
        if option not in has:
            told = f"It has: {', '.join(sorted(has)) or 'none'}."
            yield tuning.problem(f"{key} has no option {option!r}", f"options.{option}", hint=told)
    fields = {name for dataset in meant for name in dataset.fields}
    for name in ("keep", "drop"):
        for pattern in tuning.retention.given.get(f"archive.{name}", ()):
            if not fields_like(pattern, fields):
                place, hint = f"archive.{name}.{pattern}", similar_fields(pattern, fields)
                yield tuning.problem(f"{name}: {key} has no field {pattern!r}", place, hint=hint)


def _unbuildable(dataset: Dataset, settings: DatasetSettings, tuning: DatasetTuning) -> Iterable[Problem]:
    """Yield the option whose value makes no sense for a dataset."""
    for option, value in settings.options.items():
        try:
            build_pipeline(dataset, options={option: value})
        except UsageError as error:
            yield tuning.problem(error.message, f"options.{option}", hint=error.hint)


def needing_only(off: Sequence[Dataset], compiled: Compiled) -> tuple[list[DetectionPlan], list[Problem]]:
    """Return the plans that have anything to look at, and a warning for each rule that datasets are missing of.

    `off`: the datasets that are switched off. A rule that looks at nothing else is left out; a correlation of which
    one base rule does stays, since the others may be enough for it.
    """
    names = {dataset.name for dataset in off}
    kept: list[DetectionPlan] = []
    problems: list[Problem] = []
    for plan in compiled.plans if names else ():
        queries = plan.correlation.queries if plan.correlation is not None else (plan.query,)
        blind = [found for query in queries if (found := _scope(query)) and found <= names]
        if not blind:
            kept.append(plan)
            continue
        off_here = _switched_off(sorted({name for found in blind for name in found}))
        message = f"{plan.rule.title!r} is not deployed: it only looks at {off_here}"
        if len(blind) < len(queries):
            kept.append(plan)
            message = f"{plan.rule.title!r} lacks a part: one of its rules only looks at {off_here}"
        place = compiled.places.get(plan.rule.id)
        problems.append(
            Problem(
                message,
                place.path if place is not None else None,
                place.line if place is not None else None,
                "`datasets:` in sigmawatch.yml",
                Severity.WARNING,
                "dataset-off",
            )
        )
    return (kept if names else list(compiled.plans)), problems


_NAMED = 3
"""Datasets that a rule looks at which are told by name."""


def _switched_off(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"{names[0]}, which is switched off"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}, which are switched off"


def _scope(query: Mapping[str, Any]) -> frozenset[str]:
    """Return the datasets that a query of a plan looks at; empty where it looks at any."""
    filters = query.get("bool", {}).get("filter", ())
    return frozenset(
        name
        for clause in ([filters] if isinstance(filters, dict) else filters)
        for name in clause.get("terms", {}).get("event.dataset", ())
    )
