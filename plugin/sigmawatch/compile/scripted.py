"""Conditions that no query expresses, as `script` queries: stored scripts over doc values, rules as parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sigma.types import SpecialChars

from sigmawatch.compile.fieldtypes import FieldKind
from sigmawatch.compile.leaves import Part, all_of, any_of, regular
from sigmawatch.compile.lookups import any_text, stored_script
from sigmawatch.compile.refused import Refused
from sigmawatch.compile.regex import Followed

if TYPE_CHECKING:
    from sigmawatch.compile.plan import Query

__all__ = ["any_text", "date_part", "digits", "expressions", "field_reference", "is_scripted"]

_TEXTUAL = frozenset({FieldKind.KEYWORD, FieldKind.FLATTENED, FieldKind.IP, FieldKind.INTEGER})
"""Kinds whose values have one spelling, which can be looked into."""

_COMPARABLE = _TEXTUAL | {FieldKind.FLOAT, FieldKind.DATE, FieldKind.BOOLEAN}


def is_scripted(query: Any) -> bool:
    """Whether a query needs stored scripts."""
    if isinstance(query, dict):
        return "script" in query or any(is_scripted(inner) for inner in query.values())
    return isinstance(query, list) and any(is_scripted(inner) for inner in query)


def field_reference(
    left: tuple[str, FieldKind], right: tuple[str, FieldKind], how: str, objects: tuple[str, str]
) -> Query:
    """Return the query for events in which a value of one field relates to a value of another.

    `how`: equals, startswith, endswith or contains. Letters match in either case; numbers, dates and addresses
    are compared as values. An event that lacks one of the fields does not match. `objects`: the flattened objects of
    which the fields are members, empty for others. Raises Refused.
    """
    kinds = {left[1], right[1]}
    for name, kind in (left, right):
        allowed = _COMPARABLE if how == "equals" else _TEXTUAL
        if kind not in allowed:
            raise Refused(f"fieldref with {name}, of type {kind}: no values can be read to be compared")
    if FieldKind.DATE in kinds and len(kinds) > 1:
        raise Refused(f"fieldref between {left[0]} and {right[0]}: only one of them is a date")
    params = {"field": left[0], "other": right[0], "how": how, "objects": list(objects)}
    return stored_script("field-reference", params)


def expressions(field: str, found: list[str | Followed]) -> Query:
    """Return the query for values that one of the expressions matches as a whole."""
    texts = [each for each in found if isinstance(each, str)]
    queries = [regular(field, texts)] if texts else []
    for each in found:
        if isinstance(each, Followed):
            classes = list(dict.fromkeys(each.automaton.ranges))
            params = {
                "field": field,
                "classes": [[bound for low_high in ranges for bound in low_high] for ranges in classes],
                "kinds": [classes.index(ranges) for ranges in each.automaton.ranges],
                "follow": [list(places) for places in each.automaton.follow],
                "first": list(each.automaton.first),
                "last": [place in each.automaton.last for place in range(len(each.automaton.ranges))],
                "ends": each.is_last,
            }
            # The engine finds what may match; the script looks at no other value.
            queries.append(all_of([regular(field, [each.wider]), stored_script("any-expression", params)]))
    return any_of(queries)


def digits(field: str, parts: list[Part]) -> Query:
    """Return the query for whole numbers whose digits hold, begin or end with some. Raises Refused for others."""
    anything = SpecialChars.WILDCARD_MULTI
    before, after = parts[0] == anything, parts[-1] == anything
    text = [part for part in parts if part != anything]
    how = {(True, True): "contains", (False, True): "startswith", (True, False): "endswith"}.get(
        (before, after)
    )
    if how is None or len(text) != 1 or not isinstance(text[0], str):
        raise Refused(
            f"wildcards in a value of {field}, which holds whole numbers: a * at its ends can be searched"
        )
    return any_text(field, [text[0]], how, cased=True)


def date_part(field: str, kind: FieldKind, part: str, operator: str, value: float) -> Query:
    """Return the query for events of whose date a part compares to a number, in UTC.

    `part`: minute, hour, day (of the month), week (ISO 8601), month or year; `operator`: eq, lt, lte, gt or
    gte. Raises Refused on fields that hold no dates.
    """
    if kind is not FieldKind.DATE:
        raise Refused(f"{part} of {field}, of type {kind}; map it as date")
    return stored_script("date-part", {"field": field, "part": part, "operator": operator, "value": value})
