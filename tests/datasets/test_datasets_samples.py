"""Every sample line of every dataset becomes its expected document, which is proper ECS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from datasets.dataset_server import ROOT, Server
from sigmawatch.datasets import samples
from sigmawatch.datasets.check import check_samples, update_samples
from sigmawatch.datasets.derive import related as related_fields
from sigmawatch.datasets.load import emitted_fields, load_dataset
from sigmawatch.datasets.parsers import steps_of
from sigmawatch.datasets.parsers.members import Members
from sigmawatch.datasets.templates import OPENSEARCH
from sigmawatch.ecs import allowed_values, ecs_type, types_of_category
from sigmawatch.engine import Node

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sigmawatch.datasets import Dataset
    from sigmawatch.datasets.model import Part

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


def leaves(
    document: Mapping[str, Any], flattened: frozenset[str] = frozenset(), prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yield fields with their values, those of the objects in a list one by one, a flattened object as a whole."""
    for key, value in document.items():
        name = f"{prefix}{key}"
        objects = [value] if isinstance(value, dict) else value
        if (
            name in flattened
            or not isinstance(objects, list)
            or not objects
            or not isinstance(objects[0], dict)
        ):
            yield name, value
        else:
            for element in objects:
                yield from leaves(element, flattened, f"{name}.")


def texts(value: Any) -> Iterator[Any]:
    """Yield the leaves of a flattened object."""
    if isinstance(value, dict | list):
        for element in value.values() if isinstance(value, dict) else value:
            yield from texts(element)
    else:
        yield value


def test_samples_become_the_expected_documents(server: Server, datasets: list[Dataset]) -> None:
    failed = [result for result in check_samples(server.simulate, datasets) if not result.passed]
    assert not failed, "\n".join(f"{result.path}\n{result.message}" for result in failed)


@pytest.mark.parametrize("name", NAMES)
def test_expected_documents_are_declared_fields_with_their_types(name: str) -> None:
    dataset = load_dataset(ROOT / name)
    flattened = frozenset(field for field, kind in dataset.fields.items() if kind == "flattened")
    lines = 0
    for sample in samples(dataset):
        assert sample.expected is not None, f"{sample.path} has no expected documents"
        lines += len(sample.lines)
        for document in sample.expected:
            for field, value in leaves(document or {}, flattened):
                if field in flattened:
                    assert isinstance(value, dict | list)
                    assert all(isinstance(text, str) and text for text in texts(value)), (
                        f"{sample.path}: {field}"
                    )
                    continue
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
    dataset = load_dataset(ROOT / name)
    flattened = frozenset(field for field, kind in dataset.fields.items() if kind == "flattened")
    rules = related_fields({field: dataset.fields[field] for field in emitted_fields(dataset.body)})
    for sample in samples(dataset):
        for document in filter(None, sample.expected or ()):
            event = document["event"]
            assert event["dataset"] == name
            assert event["original"]
            assert document["@timestamp"]
            assert document["ecs"]["version"] == "8.17.0"
            if event["kind"] == "pipeline_error":
                assert document["error"]["message"]
                assert event["type"] == ["info"]
                continue
            assert event["category"]
            assert event["type"]
            suitable = {kind for category in event["category"] for kind in types_of_category(category)}
            assert set(event["type"]) <= suitable, f"{sample.path}: {event['type']} in {event['category']}"
            related = document.get("related", {})
            for field, value in leaves(document, flattened):
                for target, members in rules.items():
                    if field in members:
                        for element in value if isinstance(value, list) else [value]:
                            assert element in related[target.removeprefix("related.")], (
                                f"{sample.path}: {field}"
                            )


def parts_of(dataset: Dataset) -> tuple[Part, ...]:
    return dataset.body.parts.of if dataset.body.parts else ()


@pytest.mark.parametrize("name", NAMES)
def test_every_declared_own_field_is_emitted(name: str) -> None:
    dataset = load_dataset(ROOT / name)
    emitted = set(emitted_fields(dataset.body))
    emitted.update(step.rest for step in steps_of(dataset.body.parsers) if isinstance(step, Members))
    columns = {
        (raw.rpartition(".")[2] if raw.startswith("sd.") else raw).replace("-", "_").replace(" ", "_")
        for parser in dataset.body.parsers
        for raw in parser.raw_values
    }
    objects = tuple(
        f"{target}."
        for mapping in dataset.body.mappings
        if mapping.type == "members"
        for target in mapping.to
    )
    objects += tuple(f"{target}." for body in parts_of(dataset) for target in body.rest.values())
    for field in dataset.field_info:
        if objects and f"{field}.".startswith(objects):
            continue
        assert field in emitted or field.rpartition(".")[2] in columns, f"nothing emits {field}"


def test_a_sample_that_differs_is_told_with_its_line(opensearch: Node, vpc: Dataset, tmp_path: Path) -> None:
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
