"""What our checks for `sigma check` find, and what they leave alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import sigma.validators.sigmawatch as ours
import yaml
from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule
from sigma.rule import SigmaRule
from sigma.validation import SigmaValidator
from sigma.validators.base import SigmaValidationIssue

from sigmawatch.pack.layout import builtin_pack, rule_files
from sigmawatch.pack.rules import load_rules

SSHD = {"product": "linux", "service": "sshd"}


def rule(selection: dict[str, Any], logsource: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "title": "Test",
        "id": "00000000-0000-4000-8000-000000000001",
        "name": "base",
        "level": "low",
        "logsource": logsource or SSHD,
        "detection": {"selection": selection, "condition": "selection"},
        **more,
    }


def count(threshold: dict[str, Any], **more: Any) -> dict[str, Any]:
    told = {"type": "event_count", "rules": ["base"], "timespan": "5m", "condition": threshold, **more}
    identifier = "00000000-0000-4000-8000-000000000002"
    return {"title": "Many", "id": identifier, "level": "low", "correlation": told}


def issues_of(rules: Iterable[SigmaRule | SigmaCorrelationRule]) -> list[SigmaValidationIssue]:
    validator = SigmaValidator([getattr(ours, name) for name in ours.__all__])
    # pySigma's annotation leaves out the correlations that its checks are for, too.
    return validator.validate_rules(cast("Iterator[SigmaRule]", iter(rules)))


def found(*rules: dict[str, Any]) -> list[str]:
    """Return what the checks find, as names without the word Issue."""
    collection = SigmaCollection.from_dicts(list(rules))
    return sorted(type(issue).__name__.removesuffix("Issue") for issue in issues_of(collection.rules))


@pytest.mark.parametrize(
    ("selection", "logsource", "expected"),
    [
        ({"user": "root"}, SSHD, []),
        ({"user.name": "root"}, SSHD, []),
        ({"sshd.auth_method": "password"}, SSHD, []),
        ({"usr": "root"}, SSHD, ["UnknownField"]),
        ({"source_ip": "10.0.0.1"}, {"category": "firewall"}, ["UnknownField"]),
        ({"TargetUserName": "x"}, {"product": "windows", "service": "security"}, []),
        ({"anything": "x"}, {"product": "linux", "service": "ssh"}, ["UnservedLogsource"]),
        ({"eventName": "x"}, {"product": "aws", "service": "cloudtrail"}, []),
        # Searches for nothing.
        ({"user|contains": ""}, SSHD, ["EmptySearch"]),
        ({"user|startswith": ["a", ""]}, SSHD, ["EmptySearch"]),
        ({"user|endswith": "*"}, SSHD, ["EmptySearch"]),
        ({"user": ""}, SSHD, []),
        ({"user": "*"}, SSHD, []),
        ({"user|contains": "?"}, SSHD, []),
        # Networks as texts.
        ({"source.ip|startswith": "10."}, SSHD, ["PrivateAddressPrefix"]),
        ({"src_ip|startswith": ["192.168.", "8.8."]}, SSHD, ["PrivateAddressPrefix"]),
        ({"src_ip": "172.16.*"}, SSHD, ["PrivateAddressPrefix"]),
        ({"src_ip|startswith": "fe80:"}, SSHD, ["PrivateAddressPrefix"]),
        ({"src_ip|cidr": "10.0.0.0/8"}, SSHD, []),
        ({"src_ip|startswith": "100."}, SSHD, []),
        ({"user|startswith": "10."}, SSHD, []),
    ],
)
def test_detections(selection: dict[str, Any], logsource: dict[str, str], expected: list[str]) -> None:
    assert found(rule(selection, logsource)) == expected


def test_a_rule_without_id_or_level_is_incomplete() -> None:
    assert found(rule({"user": "root"}, level=None)) == ["IncompleteAlert"]
    bare = rule({"user": "root"})
    del bare["id"], bare["level"]
    assert found(bare) == ["IncompleteAlert"]


def test_a_base_rule_that_gives_no_alerts_needs_neither() -> None:
    bare = rule({"user": "root"})
    del bare["id"], bare["level"]
    assert found(bare, count({"gte": 5})) == []
    assert found(bare, count({"gte": 5}, generate=True)) == ["IncompleteAlert"]


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        ({"gte": 1}, ["ThresholdOfOne"]),
        ({"gt": 0}, ["ThresholdOfOne"]),
        ({"gte": 2}, []),
        ({"gt": 1}, []),
        ({"lt": 1}, []),
    ],
)
def test_a_threshold_that_one_event_reaches(threshold: dict[str, Any], expected: list[str]) -> None:
    assert found(rule({"user": "root"}), count(threshold)) == expected


@pytest.mark.parametrize(
    ("group_by", "expected"),
    [
        (["src_ip"], []),
        (["source.ip", "user"], []),
        (["src_user"], ["UnknownGroupField"]),
    ],
)
def test_groups_by_fields_that_the_log_source_has(group_by: list[str], expected: list[str]) -> None:
    assert found(rule({"user": "root"}), count({"gte": 5}, **{"group-by": group_by})) == expected


def test_one_name_for_two_fields_is_no_group_but_an_alias_is() -> None:
    second = rule({"eventType": "x"}, {"product": "m365", "service": "audit"}, name="second")
    second["id"] = "00000000-0000-4000-8000-000000000003"
    del second["detection"]["selection"]["eventType"]
    second["detection"]["selection"]["Operation"] = "x"
    told: dict[str, Any] = {
        "type": "temporal",
        "rules": ["base", "second"],
        "timespan": "5m",
        "group-by": ["user"],
    }
    both = {
        "title": "Both",
        "id": "00000000-0000-4000-8000-000000000004",
        "level": "low",
        "correlation": told,
    }
    assert found(rule({"user": "root"}), second, both) == ["UnknownGroupField"]
    told["aliases"] = {"user": {"base": "user", "second": "UserId"}}
    assert found(rule({"user": "root"}), second, both) == []


def test_every_check_says_what_is_wrong_and_what_is_better() -> None:
    for name in ours.__all__:
        documentation = getattr(ours, name).__doc__ or ""
        assert "Anti-pattern:" in documentation, name
        assert "Better:" in documentation, name


def test_the_built_in_rules_have_no_findings() -> None:
    rules = [item.rule for item in load_rules(rule_files([builtin_pack().rules])).rules]
    assert [str(issue) for issue in issues_of(rules)] == []


@pytest.mark.skipif(
    os.environ.get("SIGMAWATCH_EXPECT_PYSIGMA") == "2", reason="sigma-cli does not run on pySigma 2"
)
def test_sigma_check_runs_them(tmp_path: Path) -> None:
    path = tmp_path / "rule.yml"
    path.write_text(yaml.safe_dump(rule({"src_ip|startswith": "10."})), encoding="utf-8")
    command: list[str | Path] = [Path(sys.executable).with_name("sigma"), "check", path]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "PrivateAddressPrefix" in checked.stdout
