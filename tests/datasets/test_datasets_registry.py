"""The registry of fields: types agree everywhere, and nothing that is stored already breaks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from datasets.dataset_server import ROOT
from sigmawatch.datasets.registry import changes, conflicts, read_registry, registry, registry_text
from sigmawatch.errors import ContentError

if TYPE_CHECKING:
    from sigmawatch.datasets import Dataset

SCRIPT = ROOT.parent / "scripts" / "pages" / "registry.py"
BEFORE = {"all": {"@timestamp": "date", "event.kind": "keyword"}, "a.b": {"x.y": "keyword", "x.z": "long"}}


def test_the_registry_is_up_to_date(datasets: list[Dataset]) -> None:
    text = registry_text(registry(datasets))
    assert (ROOT / "registry.yml").read_text(encoding="utf-8") == text, "run scripts/registry"
    assert read_registry(text) == registry(datasets)


def test_types_agree_everywhere(datasets: list[Dataset]) -> None:
    assert not conflicts(registry(datasets))


@pytest.mark.parametrize(
    ("after", "told", "breaks"),
    [
        ({}, [], False),
        ({"a.b": {"x.y": "keyword", "x.z": "long", "x.w": "ip"}}, ["a.b: x.w is new (ip)"], False),
        ({"a.c": {"x.v": "ip"}}, ["a.c: x.v is new (ip)"], False),
        ({"a.b": {"x.y": "long", "x.z": "long"}}, ["a.b: x.y is long (it was keyword)"], True),
        ({"a.b": {"x.y": "keyword"}}, ["a.b: x.z is gone (it was long)"], True),
        (
            {"a.b": {"x.y": "keyword", "x.zz": "long"}},
            ["a.b: x.z is gone (it was long)", "a.b: x.zz is new (long)"],
            True,
        ),
        ({"a.b": None}, ["a.b: x.y is gone (it was keyword)", "a.b: x.z is gone (it was long)"], True),
        ({"all": {"@timestamp": "date"}}, ["all: event.kind is gone (it was keyword)"], True),
        # From one dataset to all of them, and back: the field is where it was.
        (
            {"all": {**BEFORE["all"], "x.y": "keyword"}, "a.b": {"x.z": "long"}},
            ["all: x.y is new (keyword)"],
            False,
        ),
        ({"a.b": {**BEFORE["a.b"], "event.kind": "keyword"}}, [], False),
    ],
)
def test_what_breaks_stored_data_is_told_from_what_adds_to_it(
    after: dict[str, dict[str, str] | None], told: list[str], breaks: bool
) -> None:
    now = {name: fields for name, fields in {**BEFORE, **after}.items() if fields is not None}
    found = changes(BEFORE, now)
    assert [str(change) for change in found] == told
    assert any(change.breaks for change in found) == breaks


def test_fields_that_differ_between_datasets_are_told() -> None:
    found = {"all": {}, "a.b": {"x.y": "long", "x.o": "keyword"}, "a.c": {"x.y": "keyword", "x.o.p": "ip"}}
    assert conflicts(found) == [
        "x.y is long in a.b, and keyword in a.c",
        "x.o is keyword in a.b, and an object with x.o.p",
    ]


def test_what_is_no_registry_is_told() -> None:
    for text in ("- a", "a: [", "a: b"):
        with pytest.raises(ContentError):
            read_registry(text)


def run(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, "--root", root, *options], capture_output=True, text=True, check=False
    )


def test_a_revision_is_compared_with_the_one_before(tmp_path: Path) -> None:
    folder = tmp_path / "ingest_pipelines" / "flow.aws_vpc"
    shutil.copytree(ROOT / "flow.aws_vpc", folder)
    fields = folder / "fields.yml"

    def commit(message: str) -> None:
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{who}_{what}": "a@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }  # fmt: skip
        for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", message]):
            subprocess.run(["git", *arguments], cwd=tmp_path, check=True, env=environment)

    assert "is not up to date" in run(tmp_path, "--check").stderr
    assert run(tmp_path).returncode == 0
    commit("first")
    assert run(tmp_path, "--check").returncode == 0
    # A field more is no harm, as soon as the registry has it.
    fields.write_text(fields.read_text() + "  aws.vpcflow.more: {description: more}\n")
    assert run(tmp_path, "--check").returncode == 1
    assert "flow.aws_vpc: aws.vpcflow.more is new (keyword)" in run(tmp_path).stdout
    commit("second")
    assert run(tmp_path, "--check").returncode == 0
    # Another type is, also when the registry has it.
    fields.write_text(fields.read_text().replace("{description: more}", "{type: long, description: more}"))
    refused = run(tmp_path)
    assert refused.returncode == 1
    assert "flow.aws_vpc: aws.vpcflow.more is long (it was keyword)" in refused.stderr
    assert run(tmp_path, "--accept-breaking").returncode == 0
    commit("third")
    told = run(tmp_path, "--check", "--base", "HEAD~1")
    assert told.returncode == 1
    assert told.stderr == (
        "error: breaks what is stored: flow.aws_vpc: aws.vpcflow.more is long (it was keyword)\n"
    )
    assert run(tmp_path, "--check", "--base", "HEAD").returncode == 0
