"""Reading retention from `sigmawatch.yml`, and our presets of it; every mistake is told with its line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sigmawatch import yamlfile
from sigmawatch.datasets.reader import Reader
from sigmawatch.errors import ContentError
from sigmawatch.retention.values import (
    Archive,
    Mechanism,
    Retention,
    RetentionTuning,
    Rollover,
    SiteRetention,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmawatch.errors import Problem

__all__ = [
    "DEFAULT",
    "PRESETS",
    "Preset",
    "merged_retention",
    "merged_site_retention",
    "presets",
    "read_retention",
    "read_site_retention",
    "resolved",
]

DEFAULT = "default"
"""The preset where none is named."""

PRESETS = ("default", "pci_dss", "gdpr")

_DAYS = re.compile(r"([1-9][0-9]{0,4})d")
_MAX_RATE = 1_000_000
_SIZE = re.compile(r"[1-9][0-9]{0,5}(mb|gb|tb)")
_AGES = ("warm", "cold", "delete")
_LOGS = ("preset", *_AGES, "rollover", "compression", "shrink", "archive")
_COMPRESSIONS = {"best": True, "default": False}
_HOT = "every event begins hot; how long it stays so is said by `warm:`, the age from which it no longer is"


@dataclass(frozen=True)
class Preset:
    """One entry of `presets.yml`."""

    name: str
    title: str
    why: str
    logs: RetentionTuning
    alerts: int | None
    health: int | None
    datasets: Mapping[str, RetentionTuning] = field(default_factory=dict)
    """What is different for datasets, by glob; the last that matches wins."""

    def of(self, dataset: str) -> RetentionTuning:
        """Return what it says for a dataset; for everything else by the name ``."""
        found = self.logs
        for glob, tuning in self.datasets.items():
            if fnmatchcase(dataset, glob):
                found = tuning.over(found)
        return found


@cache
def presets() -> Mapping[str, Preset]:
    """Return our presets by name."""
    problems: list[Problem] = []
    document = yamlfile.load(Path(__file__).with_name("presets.yml"))
    found: dict[str, Preset] = {}
    for name, each in Reader(document, document.data, problems, code="retention").items():
        alerts, health = each.get("alerts"), each.get("health")
        datasets = each.get("datasets")
        logs = {key: value for key, value in each.data.items() if key in _LOGS}
        found[name] = Preset(
            name,
            each.text("title"),
            each.text("why"),
            _tuning(Reader(document, logs, problems, each.keys, each.code)),
            _age(alerts, never=True) if alerts is not None else None,
            _age(health, never=True) if health is not None else None,
            {glob: _tuning(one) for glob, one in datasets.items()} if datasets is not None else {},
        )
    if problems:
        raise ContentError(problems)
    return found


def read_retention(reader: Reader) -> RetentionTuning:
    """Read `retention:` of datasets: the name of a preset, or a mapping."""
    member = reader.get("retention")
    if member is None:
        return RetentionTuning()
    if isinstance(member.data, str):
        return RetentionTuning(_preset(member))
    if not _is_retention(member, (*_LOGS, "by")):
        return RetentionTuning()
    found = _tuning(member, of_datasets=True)
    by = member.get("by")
    if by is None:
        return found
    if by.data != Mechanism.NONE:
        by.problem("by: only `none` is said for single datasets", hint="`retention: {by: …}` for all of them")
    return RetentionTuning(found.preset, {**found.given, "by": Mechanism.NONE})


def read_site_retention(reader: Reader) -> SiteRetention:
    """Read `retention:` of a site or an environment: the name of a preset, or a mapping."""
    member = reader.get("retention")
    if member is None:
        return SiteRetention()
    if isinstance(member.data, str):
        return SiteRetention(RetentionTuning(_preset(member)))
    if not _is_retention(member, (*_LOGS, "by", "alerts", "health")):
        return SiteRetention()
    by, alerts, health = member.get("by"), member.get("alerts"), member.get("health")
    known = ["auto", *(each.value for each in Mechanism)]
    if by is not None and by.data not in known:
        by.problem(f"by: {by.data!r} is none", hint=f"one of {', '.join(known)}")
    return SiteRetention(
        _tuning(member),
        str(by.data) if by is not None else None,
        _age(alerts, never=True) if alerts is not None else ...,
        _age(health, never=True) if health is not None else ...,
    )


def merged_retention(site: RetentionTuning, environment: RetentionTuning) -> RetentionTuning:
    """Return what an environment says over what the site does."""
    return environment.over(site)


def merged_site_retention(site: SiteRetention, environment: SiteRetention) -> SiteRetention:
    """Return what an environment says over what the site does. A preset of its own begins anew."""
    anew = environment.logs.preset is not None
    return SiteRetention(
        environment.logs.over(site.logs),
        environment.by or site.by,
        environment.alerts if environment.alerts is not ... or anew else site.alerts,
        environment.health if environment.health is not ... or anew else site.health,
    )


def resolved(site: SiteRetention, dataset: str = "", own: RetentionTuning | None = None) -> Retention:
    """Return the retention of a dataset: what is said about it, over the site's, over the preset's."""
    own = own or RetentionTuning()
    if own.preset is None:
        own = own.over(site.logs)
    preset = presets()[own.preset or DEFAULT]
    values = {**preset.of(dataset).given, **own.given}
    ages = {name: values.get(name) for name in _AGES}
    # What begins no earlier than what follows it, never begins.
    if ages["cold"] is not None and ages["delete"] is not None and ages["cold"] >= ages["delete"]:
        ages["cold"] = None
    following = [age for age in (ages["cold"], ages["delete"]) if age is not None]
    if ages["warm"] is not None and following and ages["warm"] >= min(following):
        ages["warm"] = None
    return Retention(
        source="own" if own.given.keys() - {"by"} else preset.name,
        **ages,
        rollover=Rollover(
            values.get("rollover.max_age"), values.get("rollover.max_primary_shard_size") or "50gb"
        ),
        best_compression=values.get("compression", True),
        shrink=values.get("shrink"),
        by=values.get("by"),
        archive=_resolved_archive(values),
    )


def _resolved_archive(values: Mapping[str, Any]) -> Archive | None:
    if not values.get("archive"):
        return None
    # What is said in two places may not fit together: an `after` that could not be read is None.
    given = {
        name.removeprefix("archive."): value for name, value in values.items() if name.startswith("archive.")
    }
    return Archive(**{name: value for name, value in given.items() if name != "after" or value is not None})


def _is_retention(reader: Reader, known: tuple[str, ...]) -> bool:
    if not reader.is_mapping():
        return False
    if "hot" in reader.data:
        reader.at("hot").problem("hot: says nothing", hint=_HOT)
    return reader.is_mapping((*known, "hot"))


def _preset(reader: Reader) -> str | None:
    if reader.data not in PRESETS:
        reader.problem(
            f"{reader.name}: {reader.data!r} is no preset", hint=f"one of {', '.join(PRESETS)}, or a mapping"
        )
        return None
    return str(reader.data)


def _tuning(reader: Reader, *, of_datasets: bool = False) -> RetentionTuning:
    given: dict[str, Any] = {}
    for name in _AGES:
        member = reader.get(name)
        if member is not None:
            given[name] = _age(member, never=True)
    for earlier, later in (("warm", "cold"), ("warm", "delete"), ("cold", "delete")):
        one, other = given.get(earlier), given.get(later)
        if one is not None and other is not None and one >= other:
            reader.at(earlier).problem(f"{earlier}: begins at {one}d, but {later} at {other}d already")
    rollover = reader.get("rollover")
    if rollover is not None and rollover.is_mapping(("max_age", "max_primary_shard_size")):
        given |= _rollover(rollover)
    compression = reader.get("compression")
    if compression is not None:
        if compression.data not in _COMPRESSIONS:
            compression.problem(f"compression: {compression.data!r} is none", hint="best or default")
        given["compression"] = _COMPRESSIONS.get(compression.data, True)
    shrink = reader.get("shrink")
    if shrink is not None:
        if isinstance(shrink.data, bool) or not isinstance(shrink.data, int) or not 0 < shrink.data <= 1024:
            shrink.problem("shrink: expected a number of primary shards")
        given["shrink"] = shrink.data
    archive = reader.get("archive")
    if archive is not None:
        given |= _archive(archive, of_datasets=of_datasets)
    preset = reader.get("preset")
    return RetentionTuning(_preset(preset) if preset is not None else None, given)


def _archive(reader: Reader, *, of_datasets: bool) -> dict[str, Any]:
    """Read `archive`: `never`, or a mapping. Which fields there are is for `dataset_settings` to say."""
    if reader.data == "never":
        return {"archive": False}
    known = ("after", "delete", "replicas", "rate")
    if not of_datasets and isinstance(reader.data, dict):
        for name in ("keep", "drop"):
            if (member := reader.get(name)) is not None:
                member.problem(
                    f"{name}: fields are said of datasets", hint='`datasets: {"*": {retention: …}}`'
                )
    if not reader.is_mapping((*known, "keep", "drop")):
        return {}
    given: dict[str, Any] = {"archive": True}
    after, delete = reader.get("after"), reader.get("delete")
    if after is not None:
        given["archive.after"] = 0 if after.data == "0d" else _age(after, never=False)
    if delete is not None:
        given["archive.delete"] = _age(delete, never=True)
    first, last = given.get("archive.after"), given.get("archive.delete")
    if first is not None and last is not None and first >= last:
        reader.at("after").problem(f"after: begins at {first}d, but delete at {last}d already")
    for name, least, most in (("replicas", 0, 9), ("rate", 1, _MAX_RATE)):
        member = reader.get(name)
        if member is None:
            continue
        if (
            isinstance(member.data, bool)
            or not isinstance(member.data, int)
            or not least <= member.data <= most
        ):
            member.problem(f"{name}: expected a number from {least} to {most:,}")
            continue
        given[f"archive.{name}"] = member.data
    for name in ("keep", "drop"):
        if of_datasets and reader.get(name) is not None:
            given[f"archive.{name}"] = reader.texts(name)
    return given


def _rollover(reader: Reader) -> dict[str, Any]:
    found: dict[str, Any] = {}
    age, size = reader.get("max_age"), reader.get("max_primary_shard_size")
    if age is not None:
        found["rollover.max_age"] = None if age.data == "auto" else _age(age, never=False)
    if size is not None:
        if not _SIZE.fullmatch(str(size.data)):
            size.problem(f"max_primary_shard_size: {size.data!r} is not like 50gb")
        found["rollover.max_primary_shard_size"] = str(size.data)
    return found


def _age(reader: Reader, *, never: bool) -> int | None:
    """Read days, or `never` (deleted)."""
    if never and reader.data == "never":
        return None
    found = _DAYS.fullmatch(str(reader.data))
    if not found:
        also = ", or `never`" if never else ""
        reader.problem(f"{reader.name}: {reader.data!r} is no number of days", hint=f"e.g. 90d{also}")
        return None
    return int(found[1])
