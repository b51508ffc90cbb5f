"""Every modifier that pySigma knows is compiled, or refused with the reason: none is forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from sigma.modifiers import modifier_mapping

from sigmawatch.compile.compiler import CompileContext, compile_rules
from sigmawatch.compile.plan import Query
from sigmawatch.pack.rules import load_rules

TYPES = {"size": "long", "when": "date", "ip": "ip"}

EXAMPLES: dict[str, tuple[str, Any]] = {
    "all": ("name|contains|all", ["a", "b"]),
    "base64": ("name|base64", "abc"),
    "base64offset": ("name|base64offset|contains", "abc"),
    "cased": ("name|cased", "A"),
    "cidr": ("ip|cidr", "192.0.2.0/24"),
    "contains": ("name|contains", "a"),
    "day": ("when|day", 1),
    "dotall": ("name|re|dotall", "a.b"),
    "endswith": ("name|endswith", "a"),
    "exists": ("name|exists", True),
    "expand": ("name|expand", "%admins%"),
    "fieldref": ("name|fieldref", "other"),
    "gt": ("size|gt", 1),
    "gte": ("size|gte", 1),
    "hour": ("when|hour", 1),
    "i": ("name|re|i", "a"),
    "ignorecase": ("name|re|ignorecase", "a"),
    "lt": ("size|lt", 1),
    "lte": ("size|lte", 1),
    "m": ("name|re|m", "^a"),
    "minute": ("when|minute", 1),
    "month": ("when|month", 1),
    "multiline": ("name|re|multiline", "^a"),
    "neq": ("name|neq", "a"),
    "re": ("name|re", "a+"),
    "s": ("name|re|s", "a.b"),
    "startswith": ("name|startswith", "a"),
    "utf16": ("name|utf16|base64", "a"),
    "utf16be": ("name|utf16be|base64", "a"),
    "utf16le": ("name|utf16le|base64", "a"),
    "week": ("when|week", 1),
    "wide": ("name|wide|base64", "a"),
    "windash": ("name|windash|contains", "-a"),
    "year": ("when|year", 2026),
}
"""A use of each modifier; `utf16le` is the specification's, which pySigma does not know."""


def query(folder: Path, selection: dict[str, Any]) -> Query:
    rule = {
        "title": "Test",
        "id": "00000000-0000-4000-8000-000000000001",
        "logsource": {"category": "test"},
        "detection": {"selection": selection, "condition": "selection"},
    }
    path = folder / "rule.yml"
    path.write_text(yaml.safe_dump(rule), encoding="utf-8")
    context = CompileContext(overrides=TYPES, placeholders={"admins": ["root"]})
    (plan,) = compile_rules(load_rules([path]), context).require()
    return plan.query


def test_each_modifier_has_an_example_here() -> None:
    assert set(EXAMPLES) == set(modifier_mapping) | {"utf16le"}


@pytest.mark.parametrize("modifier", EXAMPLES)
def test_each_modifier_makes_a_difference(tmp_path: Path, modifier: str) -> None:
    key, value = EXAMPLES[modifier]
    assert modifier in key.split("|")
    with_it = query(tmp_path, {key: value})
    field, *modifiers = key.split("|")
    rest = [each for each in modifiers if each != modifier]
    # What is left without it means something else, or nothing.
    try:
        without = query(tmp_path, {"|".join([field, *rest]): value})
    except Exception:
        return
    assert with_it != without


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("name|wide", "é", "ascii"),
        ("name|base64", "a*", "wildcards"),
        ("name|expand", "%nobody%", "not defined"),
    ],
)
def test_what_a_modifier_cannot_do_is_said(tmp_path: Path, key: str, value: str, reason: str) -> None:
    with pytest.raises(Exception, match=reason):
        query(tmp_path, {key: value})
