"""Fields that no event of a rule's log source has are told, with the line and a similar name."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from sigmawatch.bundle import compile_context, known_datasets
from sigmawatch.compile.compiler import compile_rules
from sigmawatch.pack.rules import load_rules

BASE = """\
title: Rejected
id: 00000000-0000-4000-8000-000000000001
name: rejected
logsource: {product: aws, service: vpcflow}
detection:
  selection:
    action: REJECT
    %s
  condition: selection
"""

CORRELATION = """\
---
title: Many
id: 00000000-0000-4000-8000-000000000002
correlation:
  type: value_count
  rules: [rejected]
  group-by: [%s]
  timespan: 5m
  condition: {field: %s, gte: 3}
"""


def warnings(tmp_path: Path, text: str) -> list[tuple[int | None, str, str]]:
    path = tmp_path / "rule.yml"
    path.write_text(dedent(text), encoding="utf-8")
    compiled = compile_rules(load_rules([path]), compile_context(known_datasets([])))
    assert not compiled.errors
    return [
        (each.line, each.message, each.hint) for each in compiled.problems if each.code == "unknown-field"
    ]


def test_a_misspelt_field_is_told_with_its_line_and_a_similar_name(tmp_path: Path) -> None:
    assert warnings(tmp_path, BASE % "srcadr|contains: x") == [
        (8, "no event of flow.aws_vpc has the field srcadr", "did you mean srcaddr?")
    ]


def test_a_field_of_ecs_that_the_dataset_lacks_is_told(tmp_path: Path) -> None:
    assert warnings(tmp_path, BASE % "dns.question.name: x") == [
        (8, "no event of flow.aws_vpc has the field dns.question.name", "")
    ]


def test_fields_of_the_dataset_by_any_of_their_names_are_not_told(tmp_path: Path) -> None:
    assert not warnings(tmp_path, BASE % "dstport: 22")
    assert not warnings(tmp_path, BASE % "destination.port: 22")
    assert not warnings(tmp_path, BASE % "aws.vpcflow.tcp_flags: 2")


def test_a_field_that_is_only_compared_with_is_told(tmp_path: Path) -> None:
    assert warnings(tmp_path, BASE % "srcaddr|fieldref: dstadr")[0][:2] == (
        5,
        "no event of flow.aws_vpc has the field dstadr",
    )


def test_fields_that_a_correlation_groups_by_or_counts_are_told(tmp_path: Path) -> None:
    text = (BASE % "dstport: 22") + CORRELATION
    assert not warnings(tmp_path, text % ("source.ip", "destination.port"))
    assert [each[:2] for each in warnings(tmp_path, text % ("source.ipp", "destination.prt"))] == [
        (16, "no event of flow.aws_vpc has the field source.ipp"),
        (18, "no event of flow.aws_vpc has the field destination.prt"),
    ]


def test_rules_on_logs_that_no_dataset_serves_are_left_alone(tmp_path: Path) -> None:
    assert not warnings(tmp_path, (BASE % "anything: x").replace("vpcflow", "unheard_of"))
