"""Detection plans in words, for people who want to know what a rule looks for without reading Query DSL."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sigmawatch.alerts.document import spell_span

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sigmawatch.compile.plan import Correlation, CorrelationNode, Expression, Query

__all__ = ["datasets_of", "spell_correlation", "spell_query", "spell_seconds"]

WIDTH = 100
"""Characters that a condition may have on one line."""

_ALL, _ANY, _NONE = "all of", "any of", "none of"

_BOUNDS = {"gt": "more than", "gte": "at least", "lt": "less than", "lte": "at most"}


def spell_seconds(seconds: int) -> str:
    """Return a span of time in the largest unit that divides it."""
    return spell_span(seconds * 1000)


def datasets_of(query: Query) -> list[str]:
    """Return the datasets that a query is scoped to, in order."""
    found: list[str] = []
    for clause in query.get("bool", {}).get("filter", [query]):
        found += clause.get("terms", {}).get("event.dataset", [])
    for inner in query.get("bool", {}).get("should", []):
        found += datasets_of(inner)
    return list(dict.fromkeys(found))


def spell_query(query: Query) -> list[str]:
    """Return what a query selects as lines: one sentence, or an indented tree where that would be long."""
    return _lines(_tree(query))


# A condition is a text, or how its parts are joined and the parts.
_Tree = str | tuple[str, list["_Tree"]]


def _tree(query: Query) -> _Tree:
    ((kind, body),) = query.items()
    if kind == "bool" and isinstance(body, Mapping):
        return _boolean(body)
    if kind == "constant_score":
        return _tree(body["filter"])
    if kind in _LEAVES and isinstance(body, Mapping) and len(body) == 1:
        ((field, options),) = body.items()
        return f"{field} {_LEAVES[kind](options)}"
    if kind == "exists":
        return f"{body['field']} is there"
    if kind == "match_none":
        return "never (the type of a field holds no such value)"
    if kind == "match_all":
        return "every event"
    if kind == "script":
        script = body.get("script", {})
        return f"the script {script.get('id', '')} holds for {_json(script.get('params', {}))}"
    return _json(query)


def _boolean(body: Mapping[str, Any]) -> _Tree:
    # Which datasets it is scoped to is said apart.
    wanted = [*_listed(body.get("must")), *_listed(body.get("filter"))]
    parts = [_tree(clause) for clause in wanted if set(clause.get("terms", {})) != {"event.dataset"}]
    should = [_tree(clause) for clause in _listed(body.get("should"))]
    if should:
        parts.append(should[0] if len(should) == 1 else (_ANY, should))
    excluded = _listed(body.get("must_not"))
    if len(excluded) == 1 and "exists" in excluded[0]:
        parts.append(f"{excluded[0]['exists']['field']} is missing")
    elif excluded:
        unwanted = [_tree(clause) for clause in excluded]
        if len(unwanted) == 1 and not isinstance(unwanted[0], str) and unwanted[0][0] == _ANY:
            unwanted = unwanted[0][1]
        parts.append((_NONE, unwanted))
    if not parts:
        return "every event"
    return parts[0] if len(parts) == 1 else (_ALL, parts)


def _listed(clauses: Any) -> list[Query]:
    return clauses if isinstance(clauses, list) else [] if clauses is None else [clauses]


def _lines(tree: _Tree, depth: int = 0) -> list[str]:
    indent = "  " * depth
    line = _line(tree)
    if isinstance(tree, str) or len(line) <= WIDTH - len(indent):
        return [indent + line]
    how, parts = tree
    return [f"{indent}{how}:", *(line for part in parts for line in _lines(part, depth + 1))]


def _line(tree: _Tree, *, inner: bool = False) -> str:
    if isinstance(tree, str):
        return tree
    how, parts = tree
    if how == _NONE:
        return "not " + (_line(parts[0], inner=True) if len(parts) == 1 else f"({_joined(' or ', parts)})")
    text = _joined(" and " if how == _ALL else " or ", parts)
    return f"({text})" if inner else text


def _joined(word: str, parts: Sequence[_Tree]) -> str:
    return word.join(_line(part, inner=True) for part in parts)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _options(options: Any) -> tuple[Any, bool]:
    """Return the value of a leaf, and whether letters match in either case."""
    if isinstance(options, Mapping):
        return options.get("value"), bool(options.get("case_insensitive"))
    return options, False


def _is_cased(value: Any, insensitive: bool) -> bool:
    return isinstance(value, str) and not insensitive and value.lower() != value.upper()


def _term(options: Any) -> str:
    value, insensitive = _options(options)
    if isinstance(value, str) and re.fullmatch(r"[0-9a-fA-F.:]+/[0-9]+", value):
        return f"is in {value}"
    return f"is {'exactly ' if _is_cased(value, insensitive) else ''}{_json(value)}"


_SIMPLE = re.compile(r"(\*?)((?:[^*?\\]|\\.)*)(\*?)", re.DOTALL)


def _wildcard(options: Any) -> str:
    value, insensitive = _options(options)
    exactly = "exactly " if _is_cased(value, insensitive) else ""
    simple = _SIMPLE.fullmatch(str(value))
    if simple is None or not (simple[1] or simple[3]):
        return f"is {exactly}like {_json(value)}"
    verb = "contains" if simple[1] and simple[3] else "ends with" if simple[1] else "starts with"
    text = re.sub(r"\\(.)", r"\1", simple[2], flags=re.DOTALL)
    return f"{verb} {exactly}{_json(text)}"


def _regexp(options: Any) -> str:
    value, insensitive = _options(options)
    return f"matches /{value}/{'i' if insensitive else ''}"


def _range(options: Any) -> str:
    return "is " + " and ".join(f"{_BOUNDS.get(key, key)} {value}" for key, value in options.items())


def _terms(options: Any) -> str:
    return f"is one of {', '.join(map(_json, options))}"


def _prefix(options: Any) -> str:
    return f"starts with {_json(_options(options)[0])}"


_LEAVES: dict[str, Callable[[Any], str]] = {
    "term": _term,
    "terms": _terms,
    "wildcard": _wildcard,
    "regexp": _regexp,
    "range": _range,
    "prefix": _prefix,
}


def spell_correlation(correlation: Correlation, names: Sequence[str]) -> str:
    """Return when a correlation alerts, in one sentence. `names`: of the base rules, as its queries stand."""
    groups = correlation.group_by
    where = f"for each {' and '.join(groups)}" if groups else "over all events together"
    return f"{_node(correlation.root, correlation, names)}, {where}"


def _node(node: CorrelationNode, correlation: Correlation, names: Sequence[str]) -> str:
    inputs = [
        names[item] if isinstance(item, int) else f"({_node(item, correlation, names)})"
        for item in node.inputs
    ]
    fields = " and ".join(correlation.values[slot].field for slot in node.values)
    bound = node.spell_condition()
    events = f"events of {' or '.join(inputs)}"
    if node.expression is not None:
        what = _expression(node.expression, inputs)
    elif node.type == "temporal_ordered":
        what = ", then ".join(inputs)
    elif node.type == "temporal":
        number = len(inputs)
        every = node.condition == {"gte": number}
        what = f"{'all' if every else bound} of {', '.join(inputs)}, in any order"
    else:
        measure = {
            "event_count": f"{bound} {events}",
            "value_count": f"{bound} different {fields} in {events}",
            "value_sum": f"a sum of {fields} of {bound} in {events}",
            "value_avg": f"an average {fields} of {bound} in {events}",
            "value_median": f"a median {fields} of {bound} in {events}",
            "value_percentile": f"a percentile {node.percentile:g} of {fields} of {bound} in {events}",
        }
        what = measure.get(node.type, f"{node.type} {bound} of {events}")
    by = " and ".join(correlation.values[slot].field for slot in node.by)
    return f"{what} within {spell_span(node.timespan)}" + (f", for each {by}" if by else "")


def _expression(expression: Expression, inputs: Sequence[str]) -> str:
    ((kind, body),) = expression.items()
    if kind == "input":
        return inputs[body]
    if kind == "not":
        return f"no {_expression(body, inputs)}"
    parts = [_expression(each, inputs) for each in body]
    return f"({f' {kind} '.join(parts)})"
