"""Reading YAML in the short way: what comes of a document is what the loader makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sigmawatch import yamlfile
from sigmawatch.errors import ContentError

PATH = Path("document.yml")

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=20,
)


def _read(text: str, *, aliases: bool) -> Any:
    try:
        return [repr(each.data) for each in yamlfile._documents(text.encode("utf-8"), PATH, aliases=aliases)]
    except (yaml.YAMLError, ValueError) as error:
        return str(error)


@given(VALUES, st.booleans())
def test_any_value_is_read_as_the_loader_reads_it(value: Any, flow: bool) -> None:
    text = yaml.safe_dump(value, default_flow_style=flow, allow_unicode=True)
    assert _read(text, aliases=False) == _read(text, aliases=True)


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\na: 2",
        "a: {b: 1, b: 2}",
        "1: a\n1.0: b",
        "? [a]\n: b",
        "<<: {a: 1}\nb: 2",
        "a: !!str 5\nb: !!int '7'\nc: !!set {x, y}",
        "a: !unknown b",
        "!!seq {a: b}",
        "a: 2026-03-01\nb: 0x1F\nc: 1_000\nd: ~\ne: yes\nf: .inf",
        "a: b\n---\n- c\n---\n",
        "=: x\na: =",
    ],
)
def test_odd_documents_are_read_as_the_loader_reads_them(text: str) -> None:
    assert _read(text, aliases=False) == _read(text, aliases=True)


def test_aliases_are_read_and_keys_told_apart() -> None:
    (document,) = yamlfile.parse_all(b"a: &one [x]\nb: *one", PATH)
    assert document.data == {"a": ["x"], "b": ["x"]}
    with pytest.raises(ContentError, match=r"duplicate key 'a' \(first on line 1\)"):
        yamlfile.parse_all(b"a: 1\nb: 2\na: 3", PATH)
