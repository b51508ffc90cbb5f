"""Sigma correlation rules as the correlation part of a detection plan."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sigma.correlations import (
    CorrelationConditionAND,
    CorrelationConditionItem,
    CorrelationConditionNOT,
    SigmaCorrelationCondition,
    SigmaCorrelationRule,
    SigmaCorrelationType,
    SigmaExtendedCorrelationCondition,
    SigmaRuleReference,
)
from sigma.exceptions import SigmaError

from sigmawatch.compile.fieldtypes import FieldKind, FieldTypes
from sigmawatch.compile.leaves import Refused, any_of
from sigmawatch.compile.literals import required_literals
from sigmawatch.compile.plan import (
    Correlation,
    CorrelationNode,
    DetectionPlan,
    Expression,
    Query,
    ValueField,
    spell_bounds,
)
from sigmawatch.compile.ruleinfo import DEFAULT_INTERVAL, interval_of, rule_info
from sigmawatch.pack.rules import CONDITION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigma.rule import SigmaRule

__all__ = ["MAX_QUERIES", "build_correlation"]

MAX_QUERIES = 20
"""Base rules one chain may have. Which of them an event matches travels as bits of its score, and a score is
a 32-bit float: exact up to 24 bits."""

_MEASURES = {
    SigmaCorrelationType.VALUE_COUNT: False,
    SigmaCorrelationType.VALUE_SUM: True,
    SigmaCorrelationType.VALUE_AVG: True,
    SigmaCorrelationType.VALUE_PERCENTILE: True,
    SigmaCorrelationType.VALUE_MEDIAN: True,
}
"""Types that look at a field, and whether its values are numbers to them."""


@dataclass
class _Chain:
    """What is collected while walking down a chain of correlations."""

    types: FieldTypes
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
    keys = _group_by(rule)
    chain = _Chain(types)
    root = _node(rule, chain, outer=keys)
    aliased = tuple(tuple(_field_of(key, base) for base in chain.rules) for key in keys)
    for name in {name for names in aliased for name in names}:
        _refuse_ungroupable(name, types.kind(name), "group-by field")
    same = all(len(set(fields)) == 1 for fields in aliased)
    lookback = root.timespan + root.lookback()
    default = min(DEFAULT_INTERVAL, max(60, root.timespan // 1000))
    query = any_of(list(chain.queries))
    return DetectionPlan(
        rule=rule_info(rule),
        indices=tuple(chain.indices),
        query=query,
        literals=required_literals(query, types),
        interval=min(interval_of(rule, default), max(60, lookback // 1000)),
        correlation=Correlation(
            root=root,
            group_by=tuple(fields[0] for fields in aliased) if same else tuple(key.name for key in keys),
            queries=tuple(chain.queries),
            values=tuple(chain.values),
            aliased=() if same else aliased,
        ),
    )


@dataclass(frozen=True)
class _Key:
    """A member of group-by: a field, or an alias for fields of different rules."""

    name: str
    fields: Mapping[str, str] | None = None
    """Of an alias: the field of each rule, by the name that refers to it."""


def _group_by(rule: SigmaCorrelationRule) -> tuple[_Key, ...]:
    aliases = rule.aliases.aliases if rule.aliases is not None else {}
    return tuple(
        _Key(name, {reference.reference: field for reference, field in aliases[name].mapping.items()})
        if name in aliases
        else _Key(name)
        for name in rule.group_by or ()
    )


def _field_of(key: _Key, rule: SigmaRule) -> str:
    """Return where a base rule keeps a member of group-by. Raises Refused for an alias that leaves it out."""
    if key.fields is None:
        return key.name
    for reference in (rule.name, str(rule.id) if rule.id is not None else None):
        if reference is not None and reference in key.fields:
            return key.fields[reference]
    if len(set(key.fields.values())) == 1:
        # Within a chain an alias may name the inner correlation only.
        return next(iter(key.fields.values()))
    raise Refused(f"alias {key.name} says nothing of base rule {rule.name or rule.id}")


def _condition(rule: SigmaCorrelationRule) -> dict[str, float]:
    """Return the operators and bounds as the rule wrote them.

    pySigma takes one operator only, and before version 2 whole numbers only; our loader therefore keeps what
    was written (`pack.rules.CONDITION`). Raises SigmaError for bounds that nothing can meet.
    """
    written = rule.custom_attributes.get(CONDITION)
    condition = rule.condition
    if isinstance(written, dict):
        found = {str(operator): float(bound) for operator, bound in written.items()}
    elif isinstance(condition, SigmaCorrelationCondition):
        found = {condition.op.name.lower(): float(condition.count)}
    else:
        return {}
    lows = [bound for operator, bound in found.items() if operator in ("gt", "gte", "eq")]
    highs = [bound for operator, bound in found.items() if operator in ("lt", "lte", "eq")]
    strict = {"gt", "lt"} & set(found)
    if lows and highs and (max(lows) > min(highs) or (max(lows) == min(highs) and strict)):
        raise SigmaError(f"no value meets the condition {spell_bounds(found)}", source=rule.source)
    return {
        operator: int(bound) if bound.is_integer() else bound for operator, bound in sorted(found.items())
    }


def _expression(rule: SigmaCorrelationRule) -> Expression | None:
    """Return an extended condition as data, None where the rule has none. Raises Refused."""
    condition = rule.condition
    if not isinstance(condition, SigmaExtendedCorrelationCondition):
        return None
    names = [reference.reference for reference in rule.referenced_rules]

    def convert(node: object) -> Expression:
        if isinstance(node, SigmaRuleReference):
            return {"input": names.index(node.reference)}
        if isinstance(node, CorrelationConditionNOT):
            return {"not": convert(node.args[0])}
        if isinstance(node, CorrelationConditionItem):
            key = "and" if isinstance(node, CorrelationConditionAND) else "or"
            return {key: [convert(each) for each in node.args]}
        raise Refused(f"extended condition with {type(node).__name__}")

    if rule.type is SigmaCorrelationType.TEMPORAL_ORDERED:
        # `a and b and c` is one after the other; of anything else nobody could say what comes when.
        if _sequence(condition.parsed) != names:
            raise Refused(
                "temporal_ordered with an extended condition that is not its rules in their order, joined by and: "
                "alternatives and negations have no order"
            )
        return None
    return convert(condition.parsed)


def _sequence(node: object) -> list[str] | None:
    """Return the rules of a condition that only joins them by `and`, None for any other."""
    if isinstance(node, SigmaRuleReference):
        return [node.reference]
    if not isinstance(node, CorrelationConditionAND):
        return None
    found: list[str] = []
    for each in node.args:
        inner = _sequence(each)
        if inner is None:
            return None
        found += inner
    return found


def _node(rule: SigmaCorrelationRule, chain: _Chain, outer: tuple[_Key, ...]) -> CorrelationNode:
    kind = rule.type.name.lower()
    inputs: list[int | CorrelationNode] = []
    for reference in rule.referenced_rules:
        base = reference.rule
        if isinstance(base, SigmaCorrelationRule):
            inputs.append(_inner(base, chain, outer))
        else:
            inputs.append(chain.query(base))
    condition = _condition(rule)
    if rule.type is SigmaCorrelationType.TEMPORAL_ORDERED and condition not in ({}, {"gte": len(inputs)}):
        raise Refused(
            "temporal_ordered with a condition on the number of rules: which of them, in which order?"
        )
    return CorrelationNode(
        type=kind,
        timespan=rule.timespan.seconds * 1000,
        condition=condition,
        inputs=tuple(inputs),
        values=_measured(rule, chain, inputs) if rule.type in _MEASURES else (),
        percentile=_percentile(rule),
        expression=_expression(rule),
    )


def _percentile(rule: SigmaCorrelationRule) -> float:
    if rule.type is not SigmaCorrelationType.VALUE_PERCENTILE:
        return 50
    found = rule.condition.percentile if isinstance(rule.condition, SigmaCorrelationCondition) else None
    if found is None or not 0 <= found <= 100:
        raise SigmaError("value_percentile needs a percentile from 0 to 100", source=rule.source)
    return float(found)


def _measured(
    rule: SigmaCorrelationRule, chain: _Chain, inputs: list[int | CorrelationNode]
) -> tuple[int, ...]:
    condition = rule.condition
    fields = condition.fieldref if isinstance(condition, SigmaCorrelationCondition) else None
    names = [fields] if isinstance(fields, str) else list(fields or ())
    kind = rule.type.name.lower()
    if not names or (len(names) > 1 and rule.type is not SigmaCorrelationType.VALUE_COUNT):
        raise Refused(f"{kind} over {len(names)} fields: it looks at one")
    if any(isinstance(item, CorrelationNode) for item in inputs):
        raise Refused(f"{kind} over the alerts of another correlation: they have no such field")
    return tuple(chain.value(name, numeric=_MEASURES[rule.type]) for name in names)


def _inner(rule: SigmaCorrelationRule, chain: _Chain, outer: tuple[_Key, ...]) -> CorrelationNode:
    """Return the node of a correlation within another, grouped at least as finely as the outer one."""
    keys = _group_by(rule)
    missing = [key.name for key in outer if key not in keys and key.fields is None]
    if missing:
        raise Refused(
            f"inner correlation {rule.name or rule.id} is not grouped by {missing[0]}, which the outer one is"
        )
    extra = [key for key in keys if key not in outer]
    if any(key.fields is not None for key in (*extra, *outer)):
        # Whether an alias of the outer means the same as a field of the inner cannot be told in general.
        raise Refused(f"inner correlation {rule.name or rule.id}: aliases within a chain")
    node = _node(rule, chain, outer=keys)
    by = tuple(chain.value(key.name, numeric=False) for key in extra)
    return replace(node, by=by)
