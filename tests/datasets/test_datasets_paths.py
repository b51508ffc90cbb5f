"""A path that a description names stands in some sample: nobody would miss a field whose path is misspelt."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from datasets.dataset_server import ROOT
from sigmawatch.datasets import load_dataset, samples
from sigmawatch.datasets.parsers import NamesItsValues, steps_of
from sigmawatch.datasets.parsers.json import Json
from sigmawatch.datasets.parsers.paths import Key, alternatives, parse_path
from sigmawatch.datasets.script import IN_ELEMENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sigmawatch.datasets import Dataset

NAMES = [
    path.parent.name
    for path in sorted(ROOT.glob("*/dataset.yml"))
    if any(
        # The XML of Windows names its values otherwise.
        isinstance(step, NamesItsValues) and not getattr(step, "windows_xml", False)
        for step in steps_of(load_dataset(path.parent).body.parsers)
    )
]


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a value, those in JSON texts and in base64 as well."""
    if isinstance(value, dict):
        yield value
        for member in value.values():
            yield from objects(member)
    elif isinstance(value, list):
        for element in value:
            yield from objects(element)
    elif isinstance(value, str) and value.startswith(("{", "eyJ")):
        try:
            text = base64.b64decode(value).decode() if value.startswith("eyJ") else value
            yield from objects(json.loads(text))
        except ValueError:
            pass


def has(value: Any, keys: Sequence[str]) -> bool:
    if not keys:
        return value is not None
    if isinstance(value, list):
        return any(has(element, keys) for element in value)
    if not isinstance(value, dict):
        return False
    return has(value.get(keys[0]), keys[1:]) or value.get(".".join(keys)) is not None


def lines_as_objects(dataset: Dataset) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for sample in samples(dataset):
        for line in sample.lines:
            start = line.find("{")
            try:
                found += objects(json.loads(line if line.startswith("[") else line[start:]))
            except (ValueError, RecursionError):
                continue  # a sample of what is broken
    return found


def named_paths(dataset: Dataset) -> set[str]:
    listed = set(dataset.body.raw_values)
    found = {name for case in dataset.body.cases for name in case.when}
    for mapping in dataset.body.own:
        found.update(mapping.takes)
        # An element that is no object is taken for the first of the values, which then has no name in the line.
        for member in mapping.fields:
            if member.raw != mapping.fields[0].raw:
                found.add(f"{mapping.raw}.{member.raw.rpartition(IN_ELEMENT)[2]}")
    return {path for name in found if name not in listed for path in alternatives(name)}


def named(dataset: Dataset, line: dict[str, Any], keys: Sequence[str]) -> bool:
    """Whether a line has a value of a list of names and values that the dataset reads as an object."""
    for step in steps_of(dataset.body.parsers):
        names = step.pairs.get(keys[0]) if isinstance(step, Json) else None
        found = line.get(keys[0])
        if names and len(keys) > 1 and isinstance(found, list):
            wanted = names[1] if len(names) > 1 else keys[-1]
            return any(
                isinstance(one, dict) and one.get(names[0]) == keys[1] and has(one, [wanted]) for one in found
            )
    return False


def gathered(dataset: Dataset, keys: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield what stands for a path in the other forms of an event that the dataset gathers."""
    for step in steps_of(dataset.body.parsers):
        if isinstance(step, Json) and step.gather is not None:
            for name, target in step.gather.names.items():
                wanted = target.split(".")
                if list(keys[: len(wanted)]) == wanted:
                    yield [*name.split("."), *keys[len(wanted) :]]
            inner = keys[1:] if keys[0] == step.gather.into and len(keys) > 1 else keys
            yield [inner[0][0].upper() + inner[0][1:], *inner[1:]]
            yield inner


def spelled(dataset: Dataset, line: dict[str, Any]) -> dict[str, Any]:
    """Return an object with its keys in every way that the dataset takes them for."""
    found = dict(line)
    for step in steps_of(dataset.body.parsers):
        if isinstance(step, Json) and step.any_case:
            for key, value in line.items():
                endings = ("", *(one for one in step.suffixes if key.lower().endswith(one)))
                found.update({key.lower().removesuffix(ending): value for ending in endings})
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_path_stands_in_a_sample(name: str) -> None:
    dataset = load_dataset(ROOT / name)
    lines = [spelled(dataset, line) for line in lines_as_objects(dataset)]
    missing = []
    # What another dataset's description names stands in that one's samples.
    inherited = named_paths(dataset.extends) if dataset.extends else set()
    for path in sorted(named_paths(dataset) - inherited):
        keys = [step.name for step in parse_path(path) if isinstance(step, Key)]
        # In small letters there are only keys of which the dataset takes any case.
        ways = [keys, [keys[0].lower(), *keys[1:]], *gathered(dataset, keys)]
        if not any(has(line, way) or named(dataset, line, keys) for line in lines for way in ways):
            missing.append(path)
    assert not missing
