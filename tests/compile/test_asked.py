"""Which fields a plan looks at."""

from __future__ import annotations

from sigmawatch.compile.asked import fields_of


def test_the_fields_of_a_query_are_found_wherever_they_stand() -> None:
    query = {
        "bool": {
            "filter": [{"term": {"a": {"value": "x"}}}, {"terms": {"b": ["x"], "boost": 1}}],
            "must_not": {"exists": {"field": "c"}},
            "should": [
                {"wildcard": {"d": {"value": "*", "case_insensitive": True}}},
                {"constant_score": {"filter": {"term": {"a": "y"}}}},
                {"multi_match": {"query": "x", "fields": ["e^2", "f"]}},
                {"script": {"script": {"id": "s", "params": {"term": {"no": 1}}}}},
            ],
        }
    }
    assert fields_of(query) == ["a", "b", "c", "d", "e", "f"]
