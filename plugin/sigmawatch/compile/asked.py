"""Which fields of events a plan looks at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmawatch.compile.plan import DetectionPlan

__all__ = ["fields_of", "fields_of_plan"]

_BY_FIELD = frozenset(
    {"term", "terms", "wildcard", "prefix", "regexp", "range", "match", "match_phrase", "fuzzy", "intervals"}
)
"""Clauses whose one key is a field."""


def fields_of(query: Any) -> list[str]:
    """Return the fields that a clause of Query DSL names, each once, in order; what scripts read is not among them."""
    return list(dict.fromkeys(_named(query)))


def fields_of_plan(plan: DetectionPlan) -> set[str]:
    """Return every field that an evaluation of a rule looks at."""
    found = {"@timestamp", *_named(plan.query)}
    if plan.correlation is not None:
        found |= {name for query in plan.correlation.queries for name in _named(query)}
        found |= {value.field for value in plan.correlation.values}
        if plan.correlation.aliased:
            found |= {name for names in plan.correlation.aliased for name in names}
        else:
            found |= set(plan.correlation.group_by)
    return found


def _named(query: Any) -> Iterator[str]:
    if isinstance(query, list | tuple):
        for one in query:
            yield from _named(one)
        return
    if not isinstance(query, Mapping):
        return
    for name, inner in query.items():
        if name in _BY_FIELD and isinstance(inner, Mapping):
            yield from (field for field in inner if field not in {"boost", "_name"})
        elif name == "exists" and isinstance(inner, Mapping):
            yield str(inner.get("field"))
        elif name == "fields" and isinstance(inner, list):
            yield from (str(field).partition("^")[0] for field in inner)
        elif name != "script":
            yield from _named(inner)
