"""Which fields an archive keeps, what is deployed for it, and what a site may say about it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from retention.configured import ILM, configured, datasets
from sigmawatch.archive.artifacts import archive_artifacts
from sigmawatch.archive.fields import ORIGINAL, field_groups, kept_fields
from sigmawatch.cluster import Features
from sigmawatch.datasets import Dataset, load_dataset
from sigmawatch.datasets.names import fields_like
from sigmawatch.datasets.privacy import Privacy
from sigmawatch.datasets.registry import read_registry
from sigmawatch.datasets.templates import ELASTICSEARCH
from sigmawatch.errors import ContentError, TargetUnavailable
from sigmawatch.pack.layout import builtin_pack
from sigmawatch.retention import Archive, Kept, Mechanism, Retention
from sigmawatch.retention.report import archive_faults, summary


def named(name: str) -> Dataset:
    return next(one for one in datasets() if one.name == name)


@cache
def registered() -> Any:
    return read_registry((builtin_pack().ingest_pipelines / "registry.yml").read_text())


def flat(properties: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the fields of a mapping with their types."""
    found: dict[str, str] = {}
    for name, body in properties.items():
        if "type" in body:
            found[f"{prefix}{name}"] = body["type"]
        found |= flat(body.get("properties", {}), f"{prefix}{name}.")
    return found


def template(
    dataset: Dataset, archive: Archive | None = None, privacy: Privacy | None = None
) -> dict[str, Any]:
    one = Kept(
        f"logs-{dataset.name}", dataset.index_pattern, Mechanism.ILM, Retention(archive=archive or Archive())
    )
    (made,) = archive_artifacts(dataset, one, traits=ELASTICSEARCH, privacy=privacy or Privacy())
    assert made.id == f"sigmawatch-archive-{dataset.name}"
    return dict(made.body)


def test_every_name_in_the_list_means_a_field_of_some_dataset() -> None:
    groups = field_groups()
    kinds = {one.name.partition(".")[0] for one in datasets()}
    assert set(groups) - {""} == kinds
    for name, group in groups.items():
        assert len(group.why) > 40
        alike = {other for other, entry in groups.items() if entry.fields == group.fields}
        known = {
            field
            for one in datasets()
            for field in one.fields
            if not name or one.name.partition(".")[0] in alike
        }
        listed = [*group.fields, *group.drop]
        assert [one for one in listed if not fields_like(one, known)] == [], f"in {name or 'all'}"


@pytest.mark.parametrize("name", [one.name for one in datasets()])
def test_an_archive_has_who_what_when_and_where_and_not_the_line(name: str) -> None:
    dataset = named(name)
    fields = kept_fields(dataset, Archive())
    assert set(fields) <= set(dataset.fields)
    wanted = {"@timestamp", "event.action", "event.outcome", "event.dataset", "event.kind", "user.name", "source.ip",
              "destination.ip", "host.name", "rule.id", "related.ip", "related.user", "related.hosts"}  # fmt: skip
    assert (wanted & set(dataset.fields)) <= set(fields)
    assert not {*ORIGINAL, "event.created", "agent.ephemeral_id", "log.offset"} & set(fields)


@pytest.mark.parametrize("name", [one.name for one in datasets()])
def test_an_archive_has_the_fields_that_are_copied_with_the_types_of_the_registry(name: str) -> None:
    types = {**registered()["all"], **registered()[name]}
    body = template(named(name))
    mapped = flat(body["template"]["mappings"]["properties"])
    kept_too = {*body["_meta"]["archive"]["fields"], *body["_meta"]["archive"]["original"]}
    assert kept_too <= set(mapped)
    for field, mapping_type in mapped.items():
        assert mapping_type == types[field], field
        # An object around what is kept, or what is kept.
        assert field in kept_too or types[field] in ("nested", "object")
    assert body["template"]["mappings"]["dynamic"] is False
    assert body["template"]["settings"]["index"]["codec"] == "best_compression"


def test_sites_have_the_last_word() -> None:
    sshd = named("auth.sshd")
    usual = kept_fields(sshd, Archive())
    assert "sshd.auth_method" in usual
    other = kept_fields(sshd, Archive(keep=("log.*",), drop=("sshd.*", "source.port")))
    assert "log.file.path" in other
    assert not [one for one in other if one.startswith("sshd.")]
    assert set(usual) - set(other) >= {"source.port"}
    assert "@timestamp" in kept_fields(sshd, Archive(drop=("*",)))


def test_what_is_hidden_in_events_is_not_in_their_archive() -> None:
    sshd = named("auth.sshd")
    assert template(sshd)["_meta"]["archive"]["original"] == list(ORIGINAL)
    for privacy in (Privacy(original=False), Privacy(users=True)):
        body = template(sshd, privacy=privacy)
        assert body["_meta"]["archive"]["original"] == []
        assert "message" not in body["template"]["mappings"]["properties"]


def test_replicas_are_as_the_site_says() -> None:
    index = template(named("auth.sshd"))["template"]["settings"]["index"]
    assert (index["auto_expand_replicas"], index.get("number_of_replicas")) == ("0-1", None)
    index = template(named("auth.sshd"), Archive(replicas=0))["template"]["settings"]["index"]
    assert (index.get("auto_expand_replicas"), index["number_of_replicas"]) == (None, 0)


# What a configuration says ---------------------------------------------------------------------------------------------


def bodies(text: str, folder: Path, features: Features = ILM) -> tuple[dict[str, Any], list[Kept]]:
    """Return the templates of archives that a configuration leads to, and how everything is kept."""
    bundle, keeping = configured(text, folder, features=features)
    found = {one.id: one.body for one in bundle.artifacts if one.id.startswith("sigmawatch-archive")}
    return {name: body["_meta"]["archive"] for name, body in found.items()}, keeping


def test_nothing_is_archived_before_a_site_says_so(tmp_path: Path) -> None:
    assert bodies("retention: pci_dss\n", tmp_path)[0] == {}


def test_what_a_site_says_is_what_is_deployed(tmp_path: Path) -> None:
    text = """
    retention: {preset: pci_dss, delete: 92d, archive: {after: 60d, delete: 366d, rate: 900}}
    datasets:
      web.nginx: {retention: {archive: {delete: 500d, keep: [nginx.server], drop: "url.*"}}}
    """
    found, keeping = bodies(text, tmp_path)
    sshd, nginx = found["sigmawatch-archive-auth.sshd"], found["sigmawatch-archive-web.nginx"]
    assert {name: sshd[name] for name in ("after", "delete", "rate", "events_deleted", "dataset")} == {
        "after": 60, "delete": 366, "rate": 900, "events_deleted": 92, "dataset": "auth.sshd",
    }  # fmt: skip
    assert (nginx["after"], nginx["delete"]) == (60, 500)
    assert "nginx.server" in nginx["fields"]
    assert not [one for one in nginx["fields"] if one.startswith("url.")]
    assert archive_faults(keeping) == []
    assert any("archived from 60 d on until 366 d" in line for line in summary(keeping))


def test_a_dataset_may_be_left_out(tmp_path: Path) -> None:
    text = "retention: {archive: {after: 0d}}\ndatasets: {web.*: {retention: {archive: never}}}\n"
    found, _ = bodies(text, tmp_path)
    assert list(found) == ["sigmawatch-archive-auth.sshd"]
    assert "delete" not in found["sigmawatch-archive-auth.sshd"], "kept for ever"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "{delete: 20d, archive: {after: 20d}}",
            "events are deleted from 20 d on, and archived from 20 d on",
        ),
        (
            "{delete: 20d, archive: {after: 9d, delete: 20d}}",
            "kept for 20 d, no longer than the events themselves",
        ),
    ],
)
def test_an_archive_that_lacks_events_is_told(text: str, fault: str, tmp_path: Path) -> None:
    (found,) = archive_faults(bodies(f"retention: {text}\n", tmp_path)[1])
    assert fault in found
    assert found.endswith("logs-auth.sshd, logs-web.nginx")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("retention:\n  archive: {after: soon}\n", 2, "after: 'soon' is no number of days"),
        (
            "retention:\n  archive: {after: 30d, delete: 30d}\n",
            2,
            "after: begins at 30d, but delete at 30d already",
        ),
        ("retention:\n  archive:\n    rate: 0\n", 3, "rate: expected a number from 1 to 1,000,000"),
        ("retention:\n  archive:\n    keep: [user.name]\n", 3, "keep: fields are said of datasets"),
        ("retention:\n  archive: {until: 3d}\n", 2, "unknown key 'until'"),
        ("retention:\n  archive: always\n", 2, "archive: expected a mapping, found a text"),
        (
            "datasets:\n  auth.sshd:\n    retention:\n      archive:\n        keep:\n          - user.name\n"
            "          - sshd.fingerprnt\n",
            7,
            "keep: auth.sshd has no field 'sshd.fingerprnt'",
        ),
        (
            "datasets:\n  web.*:\n    retention: {archive: {drop: nginx.serve}}\n",
            3,
            "drop: web.* has no field 'nginx.serve'",
        ),
    ],
)
def test_mistakes_are_told_where_they_stand(text: str, line: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(ContentError) as caught:
        bodies(text, tmp_path)
    (problem,) = caught.value.problems
    assert problem.path == tmp_path / "sigmawatch.yml"
    assert (problem.line, problem.message) == (line, message)


def test_a_field_that_is_not_there_is_told_with_those_that_are_like_it(tmp_path: Path) -> None:
    text = "datasets: {auth.sshd: {retention: {archive: {keep: [sshd.fingerprnt]}}}}\n"
    with pytest.raises(ContentError) as caught:
        bodies(text, tmp_path)
    assert caught.value.problems[0].hint == "did you mean sshd.fingerprint?"


def test_a_dataset_names_fields_that_it_has(tmp_path: Path) -> None:
    folder = tmp_path / "test.archived"
    folder.mkdir()
    description = """name: test.archived
title: For a test
description: One word a line.
module: test
logsources: [{product: test}]
message: text
parse: [{patterns: [{regex: '(?<word>\\w+)'}]}]
fields: {word: event.action}
archive:
  keep:
    - test.a
    - test.b
  drop: [user.naem]
"""
    (folder / "dataset.yml").write_text(description)
    (folder / "fields.yml").write_text("own:\n  test.a: {description: a word}\n")
    with pytest.raises(ContentError) as caught:
        load_dataset(folder)
    about = [one for one in caught.value.problems if one.code == "unknown-field"]
    assert [(one.line, one.message) for one in about] == [
        (12, "keep: no declared field is 'test.b'"),
        (13, "drop: no declared field is 'user.naem'"),
    ]


def test_a_cluster_without_data_streams_is_told_before_anything_is_deployed(tmp_path: Path) -> None:
    from dataclasses import replace

    features = replace(
        ILM,
        has_data_streams=False,
        has_ilm=False,
        reasons={"data_streams": "x is built without data streams"},
    )
    with pytest.raises(TargetUnavailable, match="is to be archived, but x is built without data streams"):
        bodies("retention: {archive: {after: 3d}}\n", tmp_path, features)
