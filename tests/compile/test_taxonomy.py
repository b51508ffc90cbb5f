"""Where the fields that rules name are found, and which datasets hold their log sources."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaConfigurationError
from sigma.rule import SigmaDetectionItem, SigmaLogSource, SigmaRule
from sigma.types import SigmaNull

from sigmawatch.compile.fieldnames import (
    FieldNames,
    Listing,
    field_names,
    is_known_field,
    listings,
    vendor_fields,
)
from sigmawatch.compile.taxonomy import bound_datasets, ecs_pipeline, integration_bindings
from sigmawatch.ecs import ecs_type


def names(**logsource: str) -> FieldNames:
    return field_names(SigmaLogSource.from_dict(logsource))


def applied(selection: dict[str, Any], logsource: dict[str, str], times: int = 1) -> Any:
    """Return the selection of a rule after the pipeline, as field -> values."""
    text: dict[str, Any] = {
        "title": "Test",
        "logsource": logsource,
        "detection": {"selection": selection, "condition": "selection"},
    }
    rule = SigmaCollection.from_dicts([text]).rules[0]
    for _ in range(times):
        ecs_pipeline(integration_bindings()).apply(rule)
    assert isinstance(rule, SigmaRule)
    return {
        item.field: [None if isinstance(value, SigmaNull) else str(value) for value in item.value]
        for item in rule.detection.detections["selection"].detection_items
        if isinstance(item, SigmaDetectionItem)
    }


def correlation(*logsources: dict[str, str], **more: Any) -> SigmaCorrelationRule:
    """Return a correlation of one rule for each log source, after the pipeline."""
    bases: list[dict[str, Any]] = [
        {
            "title": "Base",
            "name": f"base{number}",
            "logsource": logsource,
            "detection": {"selection": {"event.kind": "event"}, "condition": "selection"},
        }
        for number, logsource in enumerate(logsources)
    ]
    told = {
        "type": "event_count",
        "rules": [base["name"] for base in bases],
        "timespan": "5m",
        "condition": {"gte": 2},
        **more,
    }
    collection = SigmaCollection.from_dicts([*bases, {"title": "Many", "correlation": told}])
    rule = next(rule for rule in collection.rules if isinstance(rule, SigmaCorrelationRule))
    ecs_pipeline(()).apply(rule)
    return rule


def spelled(listing: Listing) -> str:
    return ",".join(f"{key}={value}" for key, value in listing.logsource.items())


def targets(listing: Listing) -> dict[str, str]:
    moved = {name: told.to for name, told in listing.translated.items()}
    return {**listing.fields, **moved, **{f"{name}.x": f"{to}.x" for name, to in listing.members.items()}}


# The tables ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listing", listings(), ids=spelled)
def test_every_target_is_ecs_or_a_field_of_a_known_vendor(listing: Listing) -> None:
    others = [f"{listing.others}.x"] if listing.others else []
    found = [*targets(listing).values(), *others]
    found += [told.otherwise for told in listing.translated.values() if told.otherwise]
    assert [name for name in found if not is_known_field(name)] == []


@pytest.mark.parametrize("listing", listings(), ids=spelled)
def test_names_have_no_blanks_and_no_wildcards(listing: Listing) -> None:
    for name in [text for pair in targets(listing).items() for text in pair]:
        assert name == name.strip(), name
        assert not set(name) & set(" *?"), name


@pytest.mark.parametrize(
    "path", sorted(Path(ecs_pipeline.__code__.co_filename).parent.glob("taxonomies/*.yml"))
)
def test_no_name_is_listed_twice_for_a_log_source(path: Path) -> None:
    seen: set[tuple[str, str]] = set()
    for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["logsources"]:
        listed = [
            name
            for group in entry.get("fields", {}).values()
            for name in ([group] if isinstance(group, str) else group)
        ]
        for logsource in entry.get("logsources") or [entry["logsource"]]:
            for name in [*listed, *entry.get("translated", {})]:
                assert (str(logsource), name) not in seen
                seen.add((str(logsource), name))


@pytest.mark.parametrize("listing", listings(), ids=spelled)
def test_what_is_renamed_stays_where_it_is(listing: Listing) -> None:
    found = names(**dict(listing.logsource))
    for target in targets(listing).values():
        assert found.target(target) in (None, target)


@pytest.mark.parametrize("listing", listings(), ids=spelled)
def test_names_that_differ_by_case_alone_mean_the_same(listing: Listing) -> None:
    folded: dict[str, set[str]] = defaultdict(set)
    for name, target in targets(listing).items():
        folded[name.lower()].add(target)
    # sudo itself writes both: USER is whom the command runs as.
    several = {name for name, found in folded.items() if len(found) > 1}
    assert several <= ({"user"} if dict(listing.logsource).get("service") == "sudo" else set())


def test_log_sources_that_meet_in_one_rule_do_not_put_different_facts_into_one_field() -> None:
    """The names of one target are listed together; names of two tables must not meet there by chance."""
    for one, other in combinations(listings(), 2):
        together = {**one.logsource, **other.logsource}
        if any(one.logsource.get(key, value) != value for key, value in other.logsource.items()):
            continue
        reached: dict[str, set[str]] = defaultdict(set)
        listed = [name for each in (one, other) for name in (*each.fields, *each.translated)]
        for name in listed:
            target = names(**together).target(name)
            assert target is not None
            reached[target].add(name)
        for target, found in reached.items():
            groups = [{n for n in found if n in each.fields or n in each.translated} for each in (one, other)]
            strangers = (groups[0] - groups[1], groups[1] - groups[0])
            if not all(strangers):
                continue
            assert is_synonym(target), (target, strangers)


def is_synonym(target: str) -> bool:
    """Fields that mean one thing whatever the log calls it: ends of a connection, parts of a request or a query."""
    return target.startswith(
        ("source.", "destination.", "url.", "http.", "dns.", "user_agent.", "network.")
    ) or (target in ("user.name", "event.action", "event.type", "rule.name", "rule.id"))


def test_vendor_fields_are_not_ecs() -> None:
    assert [prefix for prefix in vendor_fields() if ecs_type(prefix)] == []


# Names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("logsource", "name", "target"),
    [
        ({"category": "firewall"}, "src_ip", "source.ip"),
        ({"category": "dns"}, "query", "dns.question.name"),
        ({"category": "dns"}, "answer", "dns.answers.data"),
        ({"category": "proxy"}, "c-uri", "url.original"),
        ({"category": "proxy"}, "cs-uri-query", "url.query"),
        # SigmaHQ's rules for web servers write the whole request target there …
        ({"category": "webserver"}, "cs-uri-query", "url.original"),
        # … which IIS does not.
        ({"category": "webserver", "product": "iis"}, "cs-uri-query", "url.query"),
        ({"category": "webserver", "product": "nginx"}, "cs-uri-query", "url.original"),
        ({"product": "zeek", "service": "dns"}, "id.orig_h", "source.ip"),
        ({"product": "zeek", "service": "dns"}, "Z", "zeek.dns.Z"),
        ({"product": "zeek", "service": "smb_files"}, "name", "zeek.smb_files.name"),
        ({"product": "zeek", "service": "x509"}, "certificate.serial", "zeek.x509.certificate.serial"),
        ({"product": "suricata"}, "alert.signature", "rule.name"),
        ({"product": "suricata"}, "alert.gid", "suricata.eve.alert.gid"),
        ({"product": "aws", "service": "cloudtrail"}, "eventName", "event.action"),
        ({"product": "aws", "service": "cloudtrail"}, "userIdentity.arn", "aws.cloudtrail.user_identity.arn"),
        (
            {"product": "aws", "service": "cloudtrail"},
            "requestParameters.attribute",
            "aws.cloudtrail.flattened.request_parameters.attribute",
        ),
        (
            {"product": "aws", "service": "cloudtrail"},
            "requestParameters",
            "aws.cloudtrail.request_parameters",
        ),
        # The same name in whatever case the export has it.
        ({"product": "azure", "service": "signinlogs"}, "ResultType", "azure.signinlogs.result_type"),
        ({"product": "azure", "service": "signinlogs"}, "resultType", "azure.signinlogs.result_type"),
        ({"product": "gcp", "service": "gcp.audit"}, "gcp.audit.method_name", "event.action"),
        ({"product": "okta", "service": "okta"}, "actor.alternateId", "okta.actor.alternate_id"),
        ({"product": "m365", "service": "audit"}, "ObjectId", "o365.audit.ObjectId"),
        ({"product": "linux", "service": "sudo"}, "USER", "user.effective.name"),
        ({"product": "linux", "service": "sudo"}, "user", "user.name"),
        ({"product": "windows", "service": "security"}, "EventID", "event.code"),
        # Who did it and whom it was done to are two facts, and neither is always the user.
        (
            {"product": "windows", "service": "security"},
            "SubjectUserName",
            "winlog.event_data.SubjectUserName",
        ),
        ({"product": "windows", "service": "security"}, "TargetUserName", "winlog.event_data.TargetUserName"),
        # What is where it belongs already stays, and so does what nobody knows.
        ({"product": "windows", "service": "security"}, "user.name", None),
        ({"product": "windows", "service": "security"}, "winlog.event_data.LogonType", None),
        ({"category": "firewall"}, "mycompany.zone", None),
        ({"category": "test"}, "src_ip", None),
    ],
)
def test_a_field_is_found_at(logsource: dict[str, str], name: str, target: str | None) -> None:
    assert names(**logsource).target(name) == target


def test_the_pipeline_may_be_applied_twice() -> None:
    selection = {
        "eventName": "ConsoleLogin",
        "requestParameters.x": "y",
        "userIdentity.type": "Root",
        "sourceIPAddress|cidr": "10.0.0.0/8",
    }
    trail = {"product": "aws", "service": "cloudtrail"}
    assert applied(selection, trail) == applied(selection, trail, times=2)
    security = {"IpAddress": "-", "Keywords": "0x8010000000000000", "TargetUserName": "x"}
    windows = {"product": "windows", "service": "security"}
    assert applied(security, windows) == applied(security, windows, times=2)


# Values -------------------------------------------------------------------------------------------------------


def test_a_dash_for_an_address_means_that_there_is_none() -> None:
    windows = {"product": "windows", "service": "security"}
    assert applied({"IpAddress": ["-", "::1"]}, windows) == {"source.ip": [None, "::1"]}
    assert applied({"IpAddress|contains": "-"}, windows) == {"source.ip": [None]}
    assert applied({"WorkstationName": "-"}, windows) == {"winlog.event_data.WorkstationName": ["-"]}


def test_values_are_written_as_the_target_has_them() -> None:
    firewall = {"category": "firewall"}
    assert applied({"blocked": "false"}, firewall) == {"event.type": ["allowed"]}
    assert applied({"blocked": True}, firewall) == {"event.type": ["denied"]}
    windows = {"product": "windows", "service": "security"}
    assert applied({"Keywords": "0x8010000000000000"}, windows) == {"event.outcome": ["failure"]}


def test_a_status_that_is_no_result_is_a_reason() -> None:
    logsource = {"product": "azure", "service": "auditlogs"}
    assert applied({"Status": "Success"}, logsource) == {"event.outcome": ["success"]}
    reason = {"azure.auditlogs.properties.result_reason": ["Admin did it"]}
    assert applied({"Status": "Admin did it"}, logsource) == reason


def test_networks_are_looked_for_among_what_parsed_as_an_address() -> None:
    logsource = {"product": "aws", "service": "cloudtrail"}
    assert list(applied({"sourceIPAddress|cidr": "10.0.0.0/8"}, logsource)) == ["source.ip"]
    assert list(applied({"sourceIPAddress": "AWS Internal"}, logsource)) == ["source.address"]


# Correlations -------------------------------------------------------------------------------------------------


def test_a_correlation_groups_by_where_its_rules_have_the_field() -> None:
    rule = correlation(
        {"category": "firewall"}, {"product": "linux", "service": "sshd"}, **{"group-by": ["src_ip"]}
    )
    assert rule.group_by == ["source.ip"]


def test_a_correlation_over_one_name_for_two_fields_is_refused() -> None:
    sources = ({"product": "linux", "service": "sudo"}, {"product": "m365", "service": "audit"})
    with pytest.raises(
        SigmaConfigurationError, match=r"user\.name in rule base0.*o365\.audit\.user in rule base1"
    ):
        correlation(*sources, **{"group-by": ["user"]})


def test_an_alias_is_found_where_its_own_rule_has_the_field() -> None:
    rule = correlation(
        {"product": "linux", "service": "sudo"},
        {"product": "okta", "service": "okta"},
        type="temporal",
        aliases={"who": {"base0": "user", "base1": "actor.alternateId"}},
        **{"group-by": ["who"]},
    )
    (alias,) = rule.aliases
    assert sorted(alias.mapping.values()) == ["okta.actor.alternate_id", "user.name"]
    assert rule.group_by == ["who"]


# Integrations -------------------------------------------------------------------------------------------------


def test_the_integrations_bind_a_log_source_to_their_data_stream() -> None:
    rule = SigmaCollection.from_dicts(
        [
            {
                "title": "Test",
                "logsource": {"product": "aws", "service": "cloudtrail"},
                "detection": {"selection": {"eventName": "x"}, "condition": "selection"},
            }
        ]
    ).rules[0]
    pipeline = ecs_pipeline(integration_bindings())
    pipeline.apply(rule)
    (binding,) = bound_datasets(pipeline.state)
    assert (binding.dataset, binding.indices) == ("aws.cloudtrail", "logs-aws.cloudtrail-*")


def test_every_log_source_of_an_integration_is_written_once_and_in_full() -> None:
    seen = [(binding.dataset, tuple(sorted(binding.logsource.items()))) for binding in integration_bindings()]
    assert len(seen) == len(set(seen))
    for binding in integration_bindings():
        assert set(binding.logsource) <= {"category", "product", "service"}
        assert binding.indices.startswith("logs-")
        assert "product" in binding.logsource, binding


@pytest.mark.skipif(
    os.environ.get("SIGMAWATCH_EXPECT_PYSIGMA") == "2", reason="sigma-cli does not run on pySigma 2"
)
def test_sigma_cli_finds_our_pipelines(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("sigma")
    listed = subprocess.run([command, "list", "pipelines"], capture_output=True, text=True, check=True)
    assert "sigmawatch_ecs" in listed.stdout
    assert "sigmawatch_integrations" in listed.stdout
    rule = tmp_path / "rule.yml"
    rule.write_text(
        yaml.safe_dump(
            {
                "title": "Test",
                "id": "00000000-0000-4000-8000-000000000001",
                "status": "test",
                "level": "low",
                "logsource": {"product": "aws", "service": "cloudtrail"},
                "detection": {"selection": {"eventName": "DeleteTrail"}, "condition": "selection"},
            }
        ),
        encoding="utf-8",
    )
    converted = subprocess.run(
        [command, "convert", "-t", "sigmawatch", "-f", "plan", "-p", "sigmawatch_integrations", rule],
        capture_output=True,
        text=True,
        check=True,
    )
    plan = json.loads(converted.stdout)
    assert "logs-aws.cloudtrail-*" in plan["indices"]
