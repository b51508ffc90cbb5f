"""Every sample line of every dataset becomes its expected document, which is proper ECS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from dataset_server import ROOT, Server

from sigmawatch.datasets import samples
from sigmawatch.datasets.check import check_samples, update_samples
from sigmawatch.datasets.load import emitted_fields, load_dataset
from sigmawatch.datasets.templates import OPENSEARCH
from sigmawatch.ecs import allowed_values, ecs_type, types_of_category

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sigmawatch.datasets import Dataset

NAMES = sorted(path.parent.name for path in ROOT.glob("*/dataset.yml"))
PYTHON_TYPES: dict[str, type | tuple[type, ...]] = {
    "keyword": str,
    "wildcard": str,
    "match_only_text": str,
    "constant_keyword": str,
    "ip": str,
    "date": str,
    "long": int,
    "float": (int, float),
    "boolean": bool,
}


def leaves(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def test_samples_become_the_expected_documents(server: Server, datasets: list[Dataset]) -> None:
    failed = [result for result in check_samples(server.simulate, datasets) if not result.passed]
    assert not failed, "\n".join(f"{result.path}\n{result.message}" for result in failed)


@pytest.mark.parametrize("name", NAMES)
def test_expected_documents_are_declared_fields_with_their_types(name: str) -> None:
    dataset = load_dataset(ROOT / name)
    lines = 0
    for sample in samples(dataset):
        assert sample.expected is not None, f"{sample.path} has no expected documents"
        lines += len(sample.lines)
        for document in sample.expected:
            for field, value in leaves(document or {}):
                # A column that this version does not know is kept, and not indexed.
                if field.rpartition(".")[2] == "next_years_field":
                    continue
                assert field in dataset.fields, f"{sample.path}: {field} is not declared"
                assert dataset.fields[field] == (ecs_type(field) or dataset.fields[field])
                for element in value if isinstance(value, list) else [value]:
                    assert element not in ("", "-", None), f"{sample.path}: {field} holds a placeholder"
                    assert isinstance(element, PYTHON_TYPES[dataset.fields[field]]), f"{sample.path}: {field}"
                    allowed = allowed_values(field)
                    assert allowed is None or element in allowed, f"{sample.path}: {field}: {element}"
    assert lines >= 8


@pytest.mark.parametrize("name", NAMES)
def test_every_expected_document_has_the_core_of_ecs(name: str) -> None:
    for sample in samples(load_dataset(ROOT / name)):
        for document in filter(None, sample.expected or ()):
            event = document["event"]
            assert event["dataset"] == name
            assert event["original"]
            assert document["@timestamp"]
            assert document["ecs"]["version"] == "8.17.0"
            if event["kind"] == "pipeline_error":
                assert document["error"]["message"]
                assert "type" not in event
                continue
            assert event["category"]
            assert event["type"]
            suitable = {kind for category in event["category"] for kind in types_of_category(category)}
            assert set(event["type"]) <= suitable, f"{sample.path}: {event['type']} in {event['category']}"
            related = document.get("related", {})
            for field, value in leaves(document):
                if field in ("source.ip", "destination.ip", "source.nat.ip", "destination.nat.ip"):
                    assert value in related["ip"]
                if field == "user.name":
                    assert value in related["user"]


@pytest.mark.parametrize("name", NAMES)
def test_every_declared_own_field_is_emitted(name: str) -> None:
    dataset = load_dataset(ROOT / name)
    emitted = set(emitted_fields(dataset.body))
    columns = {raw.replace("-", "_") for parser in dataset.body.parsers for raw in parser.raw_values}
    for field in dataset.field_info:
        assert field in emitted or field.rpartition(".")[2] in columns, f"nothing emits {field}"


def test_a_sample_that_differs_is_told_with_its_line(opensearch: Any, vpc: Dataset, tmp_path: Path) -> None:
    server = Server(opensearch.url, OPENSEARCH)
    folder = tmp_path / "flow.aws_vpc"
    (folder / "samples").mkdir(parents=True)
    for file in ("dataset.yml", "fields.yml", "README.md"):
        (folder / file).write_bytes((vpc.folder / file).read_bytes())
    line = "2 123456789010 eni-1 10.0.0.1 10.0.0.2 1 2 6 1 40 1767225600 1767225660 ACCEPT OK"
    (folder / "samples" / "one.log").write_text(f"{line}\n")
    dataset = load_dataset(folder)
    assert "is missing" in check_samples(server.simulate, [dataset])[0].message
    assert update_samples(server.simulate, [dataset]) == [folder / "samples" / "one.expected.json"]
    assert update_samples(server.simulate, [dataset]) == []
    assert check_samples(server.simulate, [dataset])[0].passed
    path = folder / "samples" / "one.expected.json"
    path.write_text(path.read_text().replace("10.0.0.2", "10.0.0.3"))
    message = check_samples(server.simulate, [dataset])[0].message
    assert message.startswith(f"line 1: {line}")
    assert '-  "ip": "10.0.0.3"' in message
