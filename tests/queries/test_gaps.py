"""Expressions that count the characters of gaps: a script follows them on real engines as Python's `re` does."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import pytest

from queries.indexed import indexed
from sigmawatch.cluster import Cluster
from sigmawatch.compile.leaves import Refused
from sigmawatch.compile.regex import Followed, lucene_expressions
from sigmawatch.compile.scripted import expressions
from sigmawatch.engine import Node

INDEX = "test-gaps"

PATTERNS = [
    r"ab.{2,64}cd.{2,64}ef",
    r"ab.{2,64}cd.{2,64}ef$",
    r"(?i)AB[^;]{0,40}cd\s?.{3,30}EF?",
    r"(ab|a;).{5,50}(c|cd) .{1,32}é",
    r"(?s)a.{10,40}b.{10,40}c.{3,12}d",
    r"a\S{12,30}b.{0,20}c[^a]{9,20}(d|😀)",
    r"(ab){3,20}.{9,30}c.{9,30}(e|f)",
]
LETTERS = "aabbccddeeff; \né😀AB"


def values() -> list[str]:
    dice = random.Random(3)

    def some(most: int) -> str:
        return "".join(dice.choice(LETTERS) for _ in range(dice.randint(0, most)))

    def gap() -> str:
        return dice.choice(["x", " ", some(1) or "y"]) * dice.choice([0, 1, 2, 3, 9, 12, 30, 40, 41, 64, 65])

    words = [
        "ab",
        "AB",
        "a",
        "a;",
        "abab",
        "ababab",
        "cd",
        "c",
        "c ",
        "CD ",
        "ef",
        "EF",
        "e",
        "é",
        "d",
        "😀",
        "b",
    ]
    shapes = [
        ["ab", "cd", "ef"],
        ["ab", "c ", "é"],
        ["a", "b", "c", "d"],
        ["ababab", "c", "f"],
        ["a", "b", "c", "😀"],
    ]
    made = [some(200) for _ in range(200)]
    made += [
        some(3) + "".join(dice.choice(words) + gap() for _ in range(dice.randint(2, 5))) for _ in range(400)
    ]
    made += [
        some(5) + "".join(word + gap() for word in dice.choice(shapes)) + dice.choice(["", some(5)])
        for _ in range(600)
    ]
    return list(dict.fromkeys(made))


@pytest.fixture(scope="module")
def cluster(each_engine: Node) -> Iterator[Cluster]:
    body = {"mappings": {"properties": {"value": {"type": "keyword"}}}}
    # Among several values of a field, any may match.
    documents = {
        str(number): {"value": ["-", value] if number % 5 == 0 else value}
        for number, value in enumerate(values())
    }
    with indexed(each_engine.url, INDEX, body, documents) as found:
        yield found


@pytest.mark.parametrize("pattern", PATTERNS)
def test_gaps_are_counted_as_they_are_written(cluster: Cluster, pattern: str) -> None:
    found = lucene_expressions(pattern)
    assert any(isinstance(each, Followed) for each in found), "it no longer needs the script: choose another"
    body = {"size": 5000, "_source": False, "query": expressions("value", found)}
    hits = cluster.request("POST", f"/{INDEX}/_search", body)["hits"]["hits"]
    meant = {str(number) for number, value in enumerate(values()) if re.search(pattern, value)}
    assert len(meant) > 2
    assert {hit["_id"] for hit in hits} == meant


@pytest.mark.parametrize("size", [100, 30_000])
def test_a_long_value_ends_no_search(cluster: Cluster, size: int) -> None:
    query = expressions("value", lucene_expressions(PATTERNS[0]))
    document = {"value": "ab" * (size // 2) + "xxcdxxef"}
    cluster.request("PUT", f"/{INDEX}/_doc/long", document, params={"refresh": "true"})
    found = cluster.request(
        "POST", f"/{INDEX}/_count", {"query": {"bool": {"filter": [query, {"ids": {"values": ["long"]}}]}}}
    )
    assert found["count"] == 1


def test_what_would_take_too_long_is_refused() -> None:
    with pytest.raises(Refused, match="too many states"):
        lucene_expressions("x(.{9,60}ab){9,60}.{9,60}c")
