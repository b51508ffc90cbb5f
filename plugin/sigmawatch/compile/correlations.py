"""Sigma correlation rules as the correlation part of a detection plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sigma.correlations import SigmaCorrelationRule, SigmaCorrelationType

from sigmawatch.compile.fieldtypes import FieldKind, FieldTypes
from sigmawatch.compile.leaves import Refused, any_of
from sigmawatch.compile.plan import (
    Correlation,
    CorrelationNode,
    DetectionPlan,
    Query,
    ValueField,
)
from sigmawatch.compile.ruleinfo import DEFAULT_INTERVAL, interval_of, rule_info

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sigma.rule import SigmaRule

__all__ = ["MAX_QUERIES", "build_correlation"]

MAX_QUERIES = 20
"""Base rules one chain may have. Which of them an event matches travels as bits of its score, and a score is
a 32-bit float: exact up to 24 bits."""

_MEASURES = {
    SigmaCorrelationType.VALUE_COUNT: False,
    SigmaCorrelationType.VALUE_SUM: True,
    SigmaCorrelationType.VALUE_AVG: True,
}
"""Types that look at a field, and whether its values are numbers to them."""

_MONOTONE = frozenset({"gt", "gte"})


@dataclass
class _Chain:
    """What is collected while walking down a chain of correlations."""

    types: FieldTypes
    group_by: tuple[str, ...]
    queries: list[Query] = field(default_factory=list)
    rules: list[SigmaRule] = field(default_factory=list)
    indices: list[str] = field(default_factory=list)
    values: list[ValueField] = field(default_factory=list)

    def query(self, rule: SigmaRule) -> int:
        """Return the index of a base rule's query, adding it at its first mention."""
        for index, known in enumerate(self.rules):
            if known is rule:
                return index
        if len(self.rules) == MAX_QUERIES:
            raise Refused(f"more than {MAX_QUERIES} base rules in one chain of correlations")
        (plan,) = _plans(rule)
        self.rules.append(rule)
        self.queries.append(plan.query)
        self.indices += [name for name in plan.indices if name not in self.indices]
        return len(self.rules) - 1

    def value(self, name: str, *, numeric: bool) -> int:
        """Return the index of a field whose values are collected, adding it at its first mention."""
        kind = self.types.kind(name)
        if numeric and kind not in (FieldKind.INTEGER, FieldKind.FLOAT):
            raise Refused(f"the condition's field {name} is no numeric field; map it as a number")
        _refuse_ungroupable(name, kind, "the condition's field")
        found = ValueField(name, numeric)
        if found not in self.values:
            self.values.append(found)
        return self.values.index(found)


def _plans(rule: SigmaRule) -> list[DetectionPlan]:
    plans: list[DetectionPlan] = rule.get_conversion_result()
    return plans


def _refuse_ungroupable(name: str, kind: FieldKind, role: str) -> None:
    if kind in (FieldKind.TEXT, FieldKind.OTHER):
        raise Refused(f"{role} {name} is analysed text or has no sortable values; map it as keyword")


def build_correlation(rule: SigmaCorrelationRule, types: FieldTypes) -> DetectionPlan:
    """Return the plan of a correlation rule whose base rules were converted before.

    Raises Refused for what has no exact construction, SigmaError for rules that make no sense.
    """
    group_by = tuple(_group_by(rule))
    for name in group_by:
        _refuse_ungroupable(name, types.kind(name), "group-by field")
    chain = _Chain(types, group_by)
    root = _node(rule, chain, outer=group_by)
    lookback = root.timespan + root.lookback()
    default = min(DEFAULT_INTERVAL, max(60, root.timespan // 1000))
    return DetectionPlan(
        rule=rule_info(rule),
        indices=tuple(chain.indices),
        query=any_of(list(chain.queries)),
        interval=min(interval_of(rule, default), max(60, lookback // 1000)),
        correlation=Correlation(root, group_by, tuple(chain.queries), tuple(chain.values)),
    )


def _group_by(rule: SigmaCorrelationRule) -> Iterable[str]:
    """Yield the group-by fields, aliases replaced by the field that all rules map them to."""
    aliases = rule.aliases.aliases if rule.aliases is not None else {}
    for name in rule.group_by or ():
        if name not in aliases:
            yield name
            continue
        fields = sorted(set(aliases[name].mapping.values()))
        if len(fields) != 1:
            raise Refused(
                f"alias {name} stands for different fields ({', '.join(fields)}): not implemented yet; "
                f"map both to one ECS field"
            )
        yield fields[0]


def _condition(rule: SigmaCorrelationRule) -> dict[str, float]:
    condition = rule.condition
    operator = condition.op.name.lower()  # type: ignore[union-attr]  # extended conditions were refused
    if operator not in _MONOTONE:
        raise Refused(f"correlation condition {operator}: not implemented yet")
    count = condition.count  # type: ignore[union-attr]
    return {operator: count}


def _node(rule: SigmaCorrelationRule, chain: _Chain, outer: tuple[str, ...]) -> CorrelationNode:
    kind = rule.type.name.lower()
    inputs: list[int | CorrelationNode] = []
    for reference in rule.referenced_rules:
        base = reference.rule
        if isinstance(base, SigmaCorrelationRule):
            inputs.append(_inner(base, chain, outer))
        else:
            inputs.append(chain.query(base))
    condition = _condition(rule)
    if rule.type is SigmaCorrelationType.TEMPORAL_ORDERED and condition != {"gte": len(inputs)}:
        raise Refused("temporal_ordered with a condition on the number of rules: not implemented yet")
    value = None
    if rule.type in _MEASURES:
        value = _measured(rule, chain, inputs)
    return CorrelationNode(kind, rule.timespan.seconds * 1000, condition, tuple(inputs), value)


def _measured(rule: SigmaCorrelationRule, chain: _Chain, inputs: list[int | CorrelationNode]) -> int:
    fields = rule.condition.fieldref  # type: ignore[union-attr]
    names = [fields] if isinstance(fields, str) else list(fields or ())
    if len(names) != 1:
        raise Refused("a condition over several fields: not implemented yet")
    if any(isinstance(item, CorrelationNode) for item in inputs):
        raise Refused(
            f"{rule.type.name.lower()} over the alerts of another correlation: they have no such field"
        )
    return chain.value(names[0], numeric=_MEASURES[rule.type])


def _inner(rule: SigmaCorrelationRule, chain: _Chain, outer: tuple[str, ...]) -> CorrelationNode:
    """Return the node of a correlation within another, grouped at least as finely as the outer one."""
    group_by = tuple(_group_by(rule))
    missing = [name for name in outer if name not in group_by]
    if missing:
        raise Refused(
            f"inner correlation {rule.name or rule.id} is not grouped by {missing[0]}, which the outer one is"
        )
    extra = [name for name in group_by if name not in outer]
    node = _node(rule, chain, outer=group_by)
    by = tuple(chain.value(name, numeric=False) for name in extra)
    return CorrelationNode(node.type, node.timespan, node.condition, node.inputs, node.value, by)
