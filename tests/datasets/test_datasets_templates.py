"""What a cluster is given for a dataset."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sigmawatch.artifact import canonical_json
from sigmawatch.datasets import artifacts, base_artifacts, build_pipeline, load_dataset, mapping_of
from sigmawatch.datasets.parsers.templates import parse_template
from sigmawatch.datasets.templates import BARE_ELASTICSEARCH, ELASTICSEARCH, OPENSEARCH, EngineTraits

if TYPE_CHECKING:
    from sigmawatch.datasets import Dataset

ALL_TRAITS = [ELASTICSEARCH, OPENSEARCH, BARE_ELASTICSEARCH]


@pytest.mark.parametrize("traits", ALL_TRAITS)
def test_artifacts_are_the_same_bytes_every_time(datasets: list[Dataset], traits: EngineTraits) -> None:
    for dataset in datasets:
        once = artifacts(dataset, traits=traits)
        again = artifacts(load_dataset(dataset.folder), traits=traits)
        assert [canonical_json(artifact.body) for artifact in once] == [canonical_json(a.body) for a in again]


def test_artifacts_depend_on_nothing_that_is_missing(datasets: list[Dataset]) -> None:
    made = {artifact.key for artifact in base_artifacts(ELASTICSEARCH)}
    for dataset in datasets:
        for artifact in artifacts(dataset, namespace="prod"):
            assert set(artifact.depends_on) <= made, f"{artifact.key} comes before what it needs"
            made.add(artifact.key)
    names = {f"{key.kind} {key.id}" for key in made}
    assert "data_stream logs-flow.aws_vpc-prod" in names
    assert "index_template logs-flow.aws_vpc" in names
    assert "ingest_pipeline sigmawatch-flow.aws_vpc@custom" in names


def test_hooks_are_seeds_and_empty(vpc: Dataset) -> None:
    seeds = {artifact.id: artifact.body for artifact in artifacts(vpc) if artifact.seed}
    assert set(seeds) == {"sigmawatch-flow.aws_vpc@custom"}
    assert sum(artifact.seed for artifact in artifacts(vpc)) == 2


def test_what_engines_lack_is_replaced() -> None:
    assert mapping_of("url.path", "wildcard", ELASTICSEARCH) == {"type": "wildcard"}
    assert mapping_of("url.path", "wildcard", OPENSEARCH) == {"type": "keyword", "ignore_above": 8191}
    assert mapping_of("a.b", "flattened", ELASTICSEARCH)["type"] == "flattened"
    assert mapping_of("a.b", "flattened", OPENSEARCH) == {"type": "flat_object"}
    assert mapping_of("error.message", "match_only_text", BARE_ELASTICSEARCH) == {"type": "text"}
    assert mapping_of("a.b", "scaled_float", BARE_ELASTICSEARCH) == {"type": "float"}
    assert mapping_of("source.ip", "ip", OPENSEARCH) == {"type": "ip"}
    assert mapping_of("@timestamp", "date", OPENSEARCH) == {"type": "date", "ignore_malformed": False}


def test_an_engine_without_data_streams_gets_plain_indices(vpc: Dataset) -> None:
    made = artifacts(vpc, traits=replace(ELASTICSEARCH, has_data_streams=False))
    assert not [artifact for artifact in made if artifact.kind == "data_stream"]
    template = next(artifact for artifact in made if artifact.kind == "index_template")
    assert "data_stream" not in template.body


def test_pipelines_use_only_processors_and_options_that_all_engines_have(datasets: list[Dataset]) -> None:
    for dataset in datasets:
        text = canonical_json([artifact.body for artifact in artifacts(dataset)]).decode()
        for word in ("copy_from", "ignore_missing_pipeline"):
            assert f'"{word}"' not in text
        body = build_pipeline(dataset)
        kinds = {kind for processor in [*body["processors"], *body["on_failure"]] for kind in processor}
        assert kinds <= {"append", "drop", "pipeline", "rename", "script", "set"}
        # Comparing null with == costs a thrown exception in Painless; what may be null is asked by equals.
        source = next(
            a.body["processors"][0]["script"]["source"]
            for a in artifacts(dataset)
            if not a.seed and "processors" in a.body
        )
        assert not re.search(r"== *'|' *==", source)


def test_templates_are_taken_apart_into_literals_and_captures() -> None:
    template = parse_template("Failed {method} for {user*} from {address} port {port?}{{x}}")
    assert template.literals == ("Failed ", " for ", " from ", " port ", "{x}")
    assert [(capture.name, capture.kind) for capture in template.captures] == [
        ("method", ""),
        ("user", "*"),
        ("address", ""),
        ("port", "?"),
    ]
    assert template.first_word == "Failed"
    assert template.table()["rest"] == 1
    assert parse_template("{module}(sshd): x").first_word is None
    assert parse_template("pam_{module} x").first_word is None
    assert parse_template("whole").first_word == "whole"
