"""What a site says about keeping events, and what follows from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sigmawatch import yamlfile
from sigmawatch.datasets.reader import Reader
from sigmawatch.errors import Problem
from sigmawatch.retention import (
    PRESETS,
    Mechanism,
    Retention,
    RetentionTuning,
    SiteRetention,
    merged_site_retention,
    read_retention,
    read_site_retention,
)
from sigmawatch.retention.reading import presets, resolved
from sigmawatch.retention.values import automatic_age


def reader_of(text: str, folder: Path) -> Reader:
    path = folder / "sigmawatch.yml"
    path.write_text(text)
    document = yamlfile.load(path)
    return Reader(document, document.data, [], code="configuration")


def site(text: str, folder: Path) -> SiteRetention:
    reader = reader_of(text, folder)
    found = read_site_retention(reader)
    assert reader.problems == []
    return found


def own(text: str, folder: Path) -> RetentionTuning:
    reader = reader_of(text, folder)
    found = read_retention(reader)
    assert reader.problems == []
    return found


def wrong(text: str, folder: Path, *, dataset: bool = False) -> list[Problem]:
    reader = reader_of(text, folder)
    (read_retention if dataset else read_site_retention)(reader)
    return reader.problems


def test_nothing_is_deleted_before_a_site_says_so() -> None:
    found = resolved(SiteRetention(), "flow.aws_vpc")
    assert (found.source, found.delete, found.warm, found.best_compression) == ("default", None, 30, True)


def test_there_are_the_presets_that_are_named() -> None:
    assert tuple(presets()) == PRESETS
    for preset in presets().values():
        assert preset.title
        assert len(preset.why) > 100, f"{preset.name} gives no reason"
        assert preset.alerts is None or preset.alerts >= 365, (
            f"{preset.name} keeps alerts for less than a year"
        )


def test_pci_dss_keeps_twelve_months_and_three_of_them_at_hand() -> None:
    found = resolved(SiteRetention(RetentionTuning("pci_dss")), "auth.sshd")
    assert found.delete is not None
    assert found.cold is not None
    assert found.delete >= 366, "twelve months have up to 366 days"
    assert found.cold >= 92, "three months have up to 92 days"
    assert (presets()["pci_dss"].alerts or 0) > found.delete


@pytest.mark.parametrize(("dataset", "days"), [("auth.sshd", 30), ("web.nginx", 14), ("dns.bind", 14)])
def test_under_gdpr_no_event_is_older_than_it_may_be(dataset: str, days: int) -> None:
    assert resolved(SiteRetention(RetentionTuning("gdpr")), dataset).longest == days


def test_a_dataset_says_more_than_its_site(tmp_path: Path) -> None:
    everywhere = site("retention: {preset: pci_dss, delete: 500d}", tmp_path)
    assert resolved(everywhere, "a.b").delete == 500
    mine = own("retention: {delete: 60d, rollover: {max_age: 2d}}", tmp_path)
    found = resolved(everywhere, "a.b", mine)
    assert (found.source, found.warm, found.cold, found.delete, found.rollover_age) == (
        "own",
        30,
        None,
        60,
        2,
    )
    assert found.longest == 62


def test_a_preset_of_a_dataset_begins_anew(tmp_path: Path) -> None:
    everywhere = site("retention: {preset: pci_dss, delete: 500d, shrink: 2}", tmp_path)
    found = resolved(everywhere, "auth.sshd", own("retention: gdpr", tmp_path))
    assert (found.source, found.delete, found.warm, found.shrink) == ("gdpr", 23, None, None)


def test_what_begins_no_earlier_than_the_next_phase_never_begins(tmp_path: Path) -> None:
    found = resolved(
        SiteRetention(RetentionTuning("pci_dss")), "a.b", own("retention: {cold: 10d}", tmp_path)
    )
    assert (found.warm, found.cold, found.delete) == (None, 10, 366)


def test_never_is_said_by_name(tmp_path: Path) -> None:
    mine = own("retention: {delete: never}", tmp_path)
    found = resolved(SiteRetention(RetentionTuning("pci_dss")), "a.b", mine)
    assert (found.delete, found.longest, found.cold) == (None, None, 92)


def test_a_dataset_can_be_left_to_the_site(tmp_path: Path) -> None:
    found = resolved(SiteRetention(RetentionTuning("gdpr")), "a.b", own("retention: {by: none}", tmp_path))
    assert (found.by, found.source) == (Mechanism.NONE, "gdpr")


def test_an_environment_says_more_than_the_site(tmp_path: Path) -> None:
    everywhere = site("retention: {preset: gdpr, by: ilm, alerts: 500d}", tmp_path)
    here = merged_site_retention(everywhere, site("retention: {delete: 5d}", tmp_path))
    assert (resolved(here, "a.b").delete, here.by, here.alerts) == (5, "ilm", 500)
    anew = merged_site_retention(everywhere, site("retention: pci_dss", tmp_path))
    assert (resolved(anew, "a.b").delete, anew.by, anew.alerts) == (366, "ilm", ...)


@pytest.mark.parametrize(
    ("kept", "age"), [(1, 1), (14, 1), (15, 7), (90, 7), (91, 30), (3650, 30), (None, 30)]
)
def test_a_stream_becomes_few_indices_however_long_it_is_kept(kept: int | None, age: int) -> None:
    assert automatic_age(kept) == age
    assert Retention(delete=kept).rollover_age == age
    if kept is not None and kept <= 400:
        assert kept / age <= 15


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("retention: sox", "'sox' is no preset"),
        ("retention: 3", "expected a mapping, found a number"),
        ("retention:\n  hot: 7d", "hot: says nothing"),
        ("retention:\n  delete: 30", "delete: 30 is no number of days"),
        ("retention:\n  delete: 1y", "delete: '1y' is no number of days"),
        ("retention:\n  warm: 40d\n  delete: 30d", "warm: begins at 40d, but delete at 30d already"),
        ("retention:\n  by: cron", "by: 'cron' is none"),
        ("retention:\n  rollover: {max_age: never}", "max_age: 'never' is no number of days"),
        ("retention:\n  rollover: {max_primary_shard_size: 5}", "5 is not like 50gb"),
        ("retention:\n  compression: zstd", "compression: 'zstd' is none"),
        ("retention:\n  shrink: 0", "shrink: expected a number of primary shards"),
        ("retention:\n  archiv: 1d", "unknown key 'archiv'"),
        ("retention:\n  preset: x", "'x' is no preset"),
    ],
)
def test_mistakes_are_told_with_their_line(text: str, told: str, tmp_path: Path) -> None:
    (problem,) = wrong(text, tmp_path)
    assert told in problem.message
    assert problem.line == (2 if "\n" in text and "warm" not in text else problem.line)


def test_only_none_is_said_by_a_dataset(tmp_path: Path) -> None:
    (problem,) = wrong("retention: {by: ilm}", tmp_path, dataset=True)
    assert "only `none`" in problem.message
    (problem,) = wrong("retention: {alerts: 3d}", tmp_path, dataset=True)
    assert "unknown key 'alerts'" in problem.message
