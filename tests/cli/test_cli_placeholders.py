"""Placeholders of rules get their values from `sigmawatch.yml`, in every command that compiles."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from cli.command_line import rule_text, sigmawatch, write

SITE = """\
placeholders:
  admins: [root, "admin*"]
environments:
  stage:
    placeholders: {admins: tester}
"""


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    write(tmp_path / "rules" / "r.yml", rule_text("user.name|expand: '%admins%'"))
    (tmp_path / "ingest_pipelines").mkdir()
    write(tmp_path / "sigmawatch.yml", SITE)
    return tmp_path


def found(*arguments: str | Path) -> str:
    ran = sigmawatch("compile", *arguments, "--format", "plan")
    assert ran.code == 0, ran.err
    return str(orjson.loads(ran.out)["query"])


def test_the_configuration_of_the_pack_is_found_and_another_can_be_named(pack: Path) -> None:
    assert "root" in found(pack)
    assert "admin*" in found("--pack", pack)
    other = write(pack / "other.yml", "placeholders: {admins: alice}")
    assert "alice" in found(pack, "--config", other)


def test_an_environment_has_values_of_its_own(pack: Path) -> None:
    assert "tester" in found(pack, "--env", "stage")
    ran = sigmawatch("compile", pack, "--env", "prod")
    assert ran.code == 2
    assert "has no environment prod" in ran.err
    assert "It has: stage" in ran.err


def test_check_and_explain_know_the_values_and_tell_mistakes_with_their_lines(pack: Path) -> None:
    rule = pack / "rules" / "r.yml"
    assert sigmawatch("check", pack).code == 0
    explained = sigmawatch("explain", rule)
    assert explained.code == 0
    assert "root" in explained.out
    write(pack / "sigmawatch.yml", "placeholders:\n  admins: []\n")
    for command in (("check", pack), ("explain", rule), ("compile", pack)):
        ran = sigmawatch(*command)
        assert ran.code == 2
        assert f"{pack / 'sigmawatch.yml'}:2: error: admins: has no value" in ran.err


def test_a_rule_test_uses_the_values(pack: Path) -> None:
    write(
        pack / "rules" / "r.test.yml",
        "tests:\n  - name: an administrator\n    events: [{user.name: ADMIN7, '@timestamp': '2026-03-01T10:00:00Z'}]\n"
        "    alerts: 1\n",
    )
    ran = sigmawatch("test", pack / "rules", "--format", "json")
    assert ran.code == 0, ran.err + ran.out
    assert ran.json["passed"] == 1
