"""The detection plan: what a rule means, independent of who executes it. Every target is rendered from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from sigmawatch.compile.literals import Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sigmawatch.compile.literals import Clause

__all__ = [
    "CORRELATION_TYPES",
    "SEVERITIES",
    "STAGES",
    "Correlation",
    "CorrelationNode",
    "DetectionPlan",
    "Expression",
    "Query",
    "RuleInfo",
    "ValueField",
    "spell_bounds",
]

Query = dict[str, Any]
"""One Query DSL clause, e.g. `{"term": {"source.ip": "10.0.0.1"}}`."""

CORRELATION_TYPES = (
    "event_count",
    "value_count",
    "value_sum",
    "value_avg",
    "value_percentile",
    "value_median",
    "temporal",
    "temporal_ordered",
)
"""The correlation types that the window script evaluates (`render/painless/window.painless`)."""


SEVERITIES = {"informational": 10, "low": 21, "medium": 47, "high": 73, "critical": 99}
"""A Sigma level as a number from 0 to 100; the values of Kibana's detection engine, so that both sort alike."""

STAGES = ("test", "shadow", "live")
"""test: only tests evaluate the rule, it is not deployed. shadow: evaluated like any other, but its alerts are kept
apart and notify nobody. live: its alerts are alerts."""

Expression = dict[str, Any]
"""A condition over inputs: `{"input": 0}`, `{"not": e}`, `{"and": [e, …]}` or `{"or": [e, …]}`."""


@dataclass(frozen=True)
class RuleInfo:
    """What an alert says about its rule."""

    id: str
    """The rule's UUID, or its name where it has none."""
    title: str
    level: str = "medium"
    """Sigma level: informational, low, medium, high, critical."""
    severity: int = 47
    """The level as a number from 0 to 100."""
    risk_score: int = 47
    """How much this alert weighs, 0 to 100; the severity unless the rule says otherwise."""
    status: str = ""
    version: str = ""
    """The date of the last change, as the rule gives it."""
    description: str = ""
    author: str = ""
    license: str = ""
    references: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    falsepositives: tuple[str, ...] = ()
    runbook: str = ""
    """What the analyst does first: text or an address."""
    source: str = ""
    """The file it comes from, relative to its pack."""
    stage: str = "live"
    """How far it is trusted, one of `STAGES`."""


@dataclass(frozen=True)
class ValueField:
    """A field whose values the correlation collects from every event."""

    field: str
    numeric: bool
    """Whether its values are summed or averaged (True) or told apart (False)."""


@dataclass(frozen=True)
class CorrelationNode:
    """One correlation of a chain. Inputs that are numbers are base queries, the others correlations."""

    type: str
    timespan: int
    """Length of the sliding window in milliseconds; two events this far apart share no window."""
    condition: Mapping[str, float]
    """Operators and their bounds, all of which must hold: `{"gte": 10}`. Empty where `expression` decides."""
    inputs: tuple[int | CorrelationNode, ...]
    """Index of a base query in `Correlation.queries`, or a correlation whose firings are the events."""
    values: tuple[int, ...] = ()
    """Indices in `Correlation.values` of the fields that a value_* type looks at: one, or for value_count
    several, whose combinations are counted."""
    percentile: float = 50
    """Which percentile a value_percentile looks at."""
    expression: Expression | None = None
    """Extended condition of a temporal type: which inputs must and must not be in the window."""
    by: tuple[int, ...] = ()
    """Indices in `Correlation.values` of fields that this inner correlation groups by, beyond the
    fields that the whole chain is grouped by."""

    def lookback(self) -> int:
        """Return how far back events decide whether this node fires at a moment, in milliseconds."""
        inner = [item.lookback() for item in self.inputs if isinstance(item, CorrelationNode)]
        return self.timespan + max(inner, default=0)

    def spell_condition(self) -> str:
        """Return the condition in words, e.g. `at least 10 and less than 20`; empty for an extended one."""
        return spell_bounds(self.condition)

    def nodes(self) -> Iterator[CorrelationNode]:
        """Yield this node and all nodes below it."""
        yield self
        for item in self.inputs:
            if isinstance(item, CorrelationNode):
                yield from item.nodes()

    def to_dict(self) -> dict[str, Any]:
        """Return the node as JSON data, the form that the window script reads as parameters.

        Nothing in it is null: engines copy the parameters of scripted metrics, and cannot copy null.
        """
        inputs = [item.to_dict() if isinstance(item, CorrelationNode) else item for item in self.inputs]
        data = {
            "type": self.type,
            "timespan": self.timespan,
            "condition": dict(self.condition),
            "inputs": inputs,
            "values": list(self.values),
            "percentile": self.percentile,
            "by": list(self.by),
        }
        return data if self.expression is None else data | {"expression": self.expression}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CorrelationNode:
        """Read what `to_dict` wrote."""
        inputs = tuple(item if isinstance(item, int) else cls.from_dict(item) for item in data["inputs"])
        return cls(
            type=data["type"],
            timespan=data["timespan"],
            condition=dict(data["condition"]),
            inputs=inputs,
            values=tuple(data["values"]),
            percentile=data["percentile"],
            expression=data.get("expression"),
            by=tuple(data["by"]),
        )


_WORDS = {
    "gt": "more than",
    "gte": "at least",
    "lt": "less than",
    "lte": "at most",
    "eq": "exactly",
    "neq": "not",
}


def spell_bounds(bounds: Mapping[str, float]) -> str:
    """Return operators and bounds in words."""
    return " and ".join(
        f"{_WORDS[operator]} {int(bound) if float(bound).is_integer() else bound}"
        for operator, bound in bounds.items()
    )


@dataclass(frozen=True)
class Correlation:
    """How events are grouped and what must hold within a window of one group."""

    root: CorrelationNode
    group_by: tuple[str, ...]
    """Fields that make a group; events that lack one belong to no group. Empty: all events are one group."""
    queries: tuple[Query, ...]
    """One query for each base rule, in the order in which nodes refer to them."""
    values: tuple[ValueField, ...] = ()
    aliased: tuple[tuple[str, ...], ...] = ()
    """Where base rules keep what they are grouped by in different fields (Sigma's aliases): for each member of
    `group_by`, which is then a name rather than a field, the field of each base query. Else empty."""

    def lookback(self) -> int:
        """Return how many milliseconds before a firing events can decide about the alert.

        A firing is told by the windows that end at it; whether it is the first of its burst, by the firings
        in the timespan before. So the events of two timespans (and those of inner correlations) count.
        """
        return self.root.timespan + self.root.lookback()


@dataclass(frozen=True)
class DetectionPlan:
    """What a rule compiles to."""

    rule: RuleInfo
    indices: tuple[str, ...]
    query: Query
    """Selects the rule's events: without time range, scoped to the rule's log source."""
    interval: int
    """How often it is evaluated, in seconds."""
    correlation: Correlation | None = None
    """None for a rule that alerts on each matching event."""
    literals: tuple[Clause, ...] | None = None
    """Texts without which no event is selected (`compile.literals`): of each clause, an event has at least one.
    None where nothing is known to be required."""
    warnings: tuple[str, ...] = field(default=(), compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON data; `from_dict` reads it back."""
        correlation = None
        if self.correlation is not None:
            correlation = {
                "root": self.correlation.root.to_dict(),
                "group_by": list(self.correlation.group_by),
                "queries": list(self.correlation.queries),
                "values": [asdict(value) for value in self.correlation.values],
                "aliased": [list(fields) for fields in self.correlation.aliased],
            }
        return {
            "rule": {key: list(v) if isinstance(v, tuple) else v for key, v in vars(self.rule).items()},
            "indices": list(self.indices),
            "query": self.query,
            "interval": self.interval,
            "correlation": correlation,
            "literals": self._literals_to_dict(),
        }

    def _literals_to_dict(self) -> list[list[list[str]]] | None:
        """Return each literal as its field, how a value has it, and its text."""
        if self.literals is None:
            return None
        return [[[each.field, each.how, each.text] for each in clause] for clause in self.literals]

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DetectionPlan:
        """Read what `to_dict` wrote, e.g. from the cluster. Raises KeyError or TypeError on anything else."""
        rule: dict[str, Any] = {
            key: tuple(v) if isinstance(v, list) else v for key, v in data["rule"].items()
        }
        correlation = None
        if data["correlation"] is not None:
            found = data["correlation"]
            correlation = Correlation(
                root=CorrelationNode.from_dict(found["root"]),
                group_by=tuple(found["group_by"]),
                queries=tuple(found["queries"]),
                values=tuple(ValueField(**value) for value in found["values"]),
                aliased=tuple(tuple(fields) for fields in found["aliased"]),
            )
        return cls(
            rule=RuleInfo(**rule),
            indices=tuple(data["indices"]),
            query=data["query"],
            interval=data["interval"],
            correlation=correlation,
            # Plans that were deployed before have none.
            literals=_read_literals(data.get("literals")),
        )


def _read_literals(data: Sequence[Sequence[Sequence[str]]] | None) -> tuple[Clause, ...] | None:
    if data is None:
        return None
    return tuple(tuple(Literal(*literal) for literal in clause) for clause in data)
