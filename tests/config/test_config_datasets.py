"""`datasets:` in the configuration: which datasets are there, with which options, and which rules miss them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.command_line import contents, rule_text, sigmawatch, write
from sigmawatch.bundle import build_bundle, compile_pack, known_datasets
from sigmawatch.cluster import ConnectionSettings, connect
from sigmawatch.compile.context import Compiled
from sigmawatch.config import Environment, dataset_settings, load_configuration
from sigmawatch.datasets import DatasetSettings
from sigmawatch.datasets.templates import ELASTICSEARCH
from sigmawatch.errors import ContentError
from sigmawatch.pack.layout import Pack, builtin_pack
from sigmawatch.render.target import Target


def site(folder: Path, text: str, environment: str = "") -> Environment:
    path = write(folder / "sigmawatch.yml", text)
    found = load_configuration(path)
    return found.environment(environment) if environment else found.everywhere


def settings(folder: Path, text: str, environment: str = "") -> dict[str, DatasetSettings]:
    return dataset_settings(site(folder, text, environment).datasets, known_datasets([]))


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ContentError) as caught:
        settings(folder, text)
    return [f"{one.line}: {one.message}" for one in caught.value.problems]


def pipeline(settings: dict[str, DatasetSettings], name: str) -> dict[str, Any]:
    """Return the script of a dataset's pipeline as a bundle has it."""
    wanted = [one for one in known_datasets([]) if one.name == name]
    bundle = build_bundle(
        Compiled((), ()), wanted, target=Target.RUNNER, traits=ELASTICSEARCH, settings=settings
    )
    (body,) = [
        one.body
        for one in bundle.artifacts
        if one.kind == "ingest_pipeline" and one.id == f"sigmawatch-{name}"
    ]
    script: dict[str, Any] = body["processors"][0]["script"]
    return script


def test_the_more_specific_name_wins_and_an_environment_over_the_whole_site(tmp_path: Path) -> None:
    text = """\
datasets:
  auth.sshd: {enabled: true}
  "dns.*": {enabled: true, enrich: {community_id: false}}
  "*": {enabled: false, options: {timezone: Europe/Berlin}}
  "dns.b*": {enrich: {registered_domain: false}}
environments:
  prod:
    datasets:
      "dns.*": {enabled: false}
      dns.bind: {enabled: true, options: {timezone: UTC}}
"""
    everywhere = settings(tmp_path, text)
    on = {name for name, one in everywhere.items() if one.enabled}
    assert on == {"auth.sshd", *(name for name in everywhere if name.startswith("dns."))}
    assert everywhere["dns.bind"].enrich == {"community_id": False, "registered_domain": False}
    assert everywhere["dns.unbound"].enrich == {"community_id": False}
    assert everywhere["dns.bind"].options == {"timezone": "Europe/Berlin"}
    assert everywhere["dns.gcp"].options == {}, "it has no such option"

    prod = settings(tmp_path, text, "prod")
    assert {name for name, one in prod.items() if one.enabled} == {"auth.sshd", "dns.bind"}
    assert prod["dns.bind"].options == {"timezone": "UTC"}
    assert prod["dns.bind"].enrich == everywhere["dns.bind"].enrich


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("datasets: [auth.sshd]\n", ["1: datasets: expected a mapping, found a list"]),
        ("datasets:\n  auth.sshd: off\n", ["2: auth.sshd: expected a mapping, found true/false"]),
        ("datasets:\n  auth.sshd: {enable: true}\n", ["2: unknown key 'enable'"]),
        ("datasets:\n  auth.sshd:\n    enabled: 'no'\n", ["3: enabled: expected true or false, found a text"]),
        ("datasets:\n  auth.sshd:\n    enrich: {geo: true}\n", ["3: unknown key 'geo'"]),
        ("datasets:\n  auth.sshd:\n    options: {zone: x}\n", ["3: unknown key 'zone'"]),
        ("datasets:\n  auth.sshd:\n    options: {timezone: 1}\n", ["3: timezone: expected a text, found a number"]),
        ("datasets:\n  'Auth/sshd': {}\n", ["2: 'Auth/sshd' is no name of datasets"]),
        ("datasets:\n\n  auth.shd: {}\n", ["3: there is no dataset auth.shd"]),
        ("datasets:\n  'dsn.*': {}\n", ["2: there is no dataset dsn.*"]),
        ("datasets:\n  auth.sshd:\n    options:\n      format: a b\n", ["4: auth.sshd has no option 'format'"]),
        ("datasets:\n  auth.sshd:\n    options:\n      timezone: Mars/One\n", ["4: 'Mars/One' is no time zone"]),
        ("datasets:\n  '*':\n    options:\n      networks: [10.0.0.0/8, 10.0.0.1/8]\n", ["4: '10.0.0.1/8' is no network"]),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_lines(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert problems(tmp_path, text) == expected


def test_a_name_that_nothing_has_is_told_with_those_that_were_meant(tmp_path: Path) -> None:
    with pytest.raises(ContentError) as caught:
        settings(tmp_path, "datasets: {auth.shd: {}}\n")
    assert "auth.sshd" in caught.value.problems[0].hint


def test_options_and_switches_reach_the_pipeline(tmp_path: Path) -> None:
    text = "datasets:\n  flow.aws_vpc:\n    options: {networks: [198.51.100.0/24]}\n    enrich: {community_id: false}\n"
    plain, ours = pipeline({}, "flow.aws_vpc"), pipeline(settings(tmp_path, text), "flow.aws_vpc")
    assert plain["params"]["networks"] != ours["params"]["networks"]
    # What no router passes on is inside whatever a site says; the private networks of IPv6 no longer are.
    assert len(ours["params"]["networks"]["v6"]) < len(plain["params"]["networks"]["v6"])
    assert "communityId(" in plain["source"]
    assert "communityId(" not in ours["source"]


def test_rules_are_left_out_where_all_that_they_look_at_is_switched_off(tmp_path: Path) -> None:
    whole, _ = compile_pack(builtin_pack())
    found, _ = compile_pack(builtin_pack(), site=site(tmp_path, "datasets: {auth.sshd: {enabled: false}}\n"))
    gone = {plan.rule.title for plan in whole.plans} - {plan.rule.title for plan in found.plans}
    told = [one for one in found.problems if one.code == "dataset-off"]
    assert "SSH brute force" in gone
    assert "Port scan of one host" not in gone
    assert sorted(one.message.split("'")[1] for one in told) == sorted(gone)
    assert all(one.path is not None and one.line for one in told)
    assert all("auth.sshd, which is switched off" in one.message for one in told)


def test_of_many_datasets_that_are_switched_off_some_are_told(tmp_path: Path) -> None:
    off = site(tmp_path, 'datasets: {"*": {enabled: false}, "auth.*": {enabled: true}}\n')
    found, _ = compile_pack(builtin_pack(), site=off)
    (scan,) = [one.message for one in found.problems if "Port scan of one host" in one.message]
    assert scan.endswith("flow.aws_vpc, flow.azure_nsg, flow.azure_vnet and 4 more, which are switched off")


def test_a_rule_that_looks_at_no_dataset_in_particular_stays_when_all_are_switched_off(
    tmp_path: Path,
) -> None:
    rule = (
        "title: T\nname: t\nlevel: low\nlogsource: {product: acme}\ndetection: {s: {a.b: c}, condition: s}\n"
    )
    (tmp_path / "soc/rules").mkdir(parents=True)
    (tmp_path / "soc/rules/t.yml").write_text(rule)
    off = site(tmp_path, "datasets: {'*': {enabled: false}}\n")
    found, _ = compile_pack(Pack("soc", tmp_path / "soc"), site=off)
    assert [plan.rule.title for plan in found.plans] == ["T"]


def test_a_rule_that_has_another_dataset_left_stays(tmp_path: Path) -> None:
    whole, _ = compile_pack(builtin_pack())
    few = site(tmp_path, 'datasets: {"firewall.*": {enabled: false}, flow.aws_vpc: {enabled: false}}\n')
    found, _ = compile_pack(builtin_pack(), site=few)
    assert {plan.rule.title for plan in found.plans} == {plan.rule.title for plan in whole.plans}


def test_check_tells_both_mistakes_and_rules_that_miss_datasets(tmp_path: Path) -> None:
    rule = write(tmp_path / "rules/r.yml", rule_text(logsource="product: linux, service: sshd"))
    config = write(tmp_path / "sigmawatch.yml", "datasets:\n  auth.sshd: {enabled: false}\n")
    ran = sigmawatch("check", rule, "--config", config)
    assert ran.code == 0
    assert f"{rule}:1: warning: 'A rule' is not deployed: it only looks at auth.sshd" in ran.err
    config.write_text("datasets:\n  auth.shd: {enabled: false}\n")
    ran = sigmawatch("check", rule, "--config", config)
    assert ran.code == 2
    assert f"{config}:2: error: there is no dataset auth.shd (did you mean auth.sshd" in ran.err


def test_ingest_says_that_a_dataset_is_switched_off(tmp_path: Path) -> None:
    config = write(tmp_path / "sigmawatch.yml", "datasets: {web.nginx: {enabled: false}}\n")
    log = write(tmp_path / "a.log", "x\n")
    at: list[str | Path] = ["--url", "http://127.0.0.1:1", "--config", config]
    ran = sigmawatch("ingest", "--dataset", "web.nginx", *at, log)
    assert (ran.code, "the dataset web.nginx is switched off" in ran.err) == (2, True)


@pytest.mark.engine
def test_switching_a_dataset_off_takes_it_out_but_never_its_data(cluster_url: str, tmp_path: Path) -> None:
    def configured(*on: str) -> list[Any]:
        lines = "".join(f"  {name}: {{enabled: true}}\n" for name in on)
        return [
            "--url",
            cluster_url,
            "--config",
            write(tmp_path / "sigmawatch.yml", f'datasets:\n  "*": {{enabled: false}}\n{lines}'),
        ]

    both = configured("flow.aws_vpc", "web.nginx")
    done = sigmawatch("deploy", "--yes", *both)
    assert done.code == 0, done.err
    found = contents(cluster_url)
    assert [one for one in found["data_streams"] if one.startswith("logs-")] == [
        "logs-flow.aws_vpc-default",
        "logs-web.nginx-default",
    ]
    assert "SSH brute force" in done.err, "it misses auth.sshd, and that is told"
    with connect(ConnectionSettings(cluster_url)) as cluster:
        event = {"message": "not a line of nginx", "@timestamp": "2026-03-01T00:00:00Z"}
        cluster.request("POST", "/logs-web.nginx-default/_doc", event, params={"refresh": "true"})

    one = configured("flow.aws_vpc")
    kept = sigmawatch("deploy", "--yes", *one)
    assert kept.code == 0, kept.err
    after = contents(cluster_url)
    assert after["data_streams"] == found["data_streams"], "its data is there"
    assert "sigmawatch-web.nginx" in after["pipelines"], "and what the stream needs to go on"
    assert sigmawatch("plan", "--detailed-exitcode", *one).code == 0

    planned = sigmawatch("plan", "--delete-data", "--format", "json", *one)
    gone = {(each["kind"], each["id"]) for each in planned.json["changes"] if each["action"] == "delete"}
    assert {
        ("data_stream", "logs-web.nginx-default"),
        ("index_template", "logs-web.nginx"),
        ("ingest_pipeline", "sigmawatch-web.nginx"),
    } <= gone
    assert not any("aws_vpc" in name for _, name in gone)
    removed = sigmawatch("deploy", "--yes", "--delete-data", *one)
    assert removed.code == 0, removed.err
    left = json.dumps(contents(cluster_url))
    assert "logs-web.nginx" not in left
    assert '"sigmawatch-web.nginx"' not in left

    again = sigmawatch("deploy", "--yes", *configured("flow.aws_vpc", "web.nginx"))
    assert again.code == 0, again.err
    assert contents(cluster_url)["data_streams"] == found["data_streams"]
