"""The pySigma backend: a rule's condition tree as structured Query DSL, a correlation as a plan.

The abstract methods of `sigma.conversion.base.Backend` are the same in pySigma 1.5 and 2.0; only those
are implemented, so one text serves both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.conversion.base import Backend
from sigma.conversion.state import ConversionState
from sigma.types import (
    SigmaBool,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaFieldReference,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaString,
    SigmaTimestampPart,
)

from sigmawatch.compile import leaves, scripted
from sigmawatch.compile.correlations import build_correlation
from sigmawatch.compile.fieldtypes import FieldKind, FieldTypes
from sigmawatch.compile.leaves import Refused
from sigmawatch.compile.plan import DetectionPlan, Query
from sigmawatch.compile.regex import lucene_expressions
from sigmawatch.compile.ruleinfo import DEFAULT_INTERVAL, interval_of, rule_info
from sigmawatch.compile.taxonomy import bound_datasets

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigma.correlations import SigmaCorrelationRule
    from sigma.processing.pipeline import ProcessingPipeline
    from sigma.rule import SigmaRule

__all__ = ["DEFAULT_INDICES", "QueryBackend"]

DEFAULT_INDICES = "logs-*"
"""Searched where no dataset is known to hold a rule's log source."""

Condition = ConditionFieldEqualsValueExpression


class QueryBackend(Backend):
    """Converts rules to detection plans. `convert_rule(rule)` gives a list of one `DetectionPlan`."""

    name: ClassVar[str] = "sigmawatch"
    formats: ClassVar[dict[str, str]] = {"default": "Detection plans as JSON"}
    correlation_methods: ClassVar[dict[str, str] | None] = {
        "default": "Sliding windows over all groups, evaluated on the engine"
    }
    explicit_not_exists_expression = True

    def __init__(
        self,
        processing_pipeline: ProcessingPipeline | None = None,
        collect_errors: bool = False,
        *,
        types: FieldTypes | None = None,
        default_indices: str = DEFAULT_INDICES,
        **backend_options: Any,
    ) -> None:
        super().__init__(processing_pipeline, collect_errors, **backend_options)
        self.types = types or FieldTypes()
        self.default_indices = default_indices

    # Rules ----------------------------------------------------------------------------------------------

    def convert_rule(
        self,
        rule: SigmaRule,
        output_format: str | None = None,
        callback: Callable[..., Any] | None = None,
    ) -> list[Any]:
        """Convert a rule to one detection plan; several conditions are alternatives (Sigma 2.1, condition)."""
        if getattr(self, "last_processing_pipeline", None) is None:
            self.init_processing_pipeline(output_format)
        pipeline = self.last_processing_pipeline
        pipeline.apply(rule)
        state = ConversionState(processing_state=dict(pipeline.state))
        queries = [self.convert_condition(cond.parsed, state) for cond in rule.detection.parsed_condition]
        query = leaves.any_of([found for found in queries if found is not None])
        bindings = bound_datasets(state.processing_state)
        warnings: tuple[str, ...] = ()
        if bindings:
            scope: Query = {"terms": {"event.dataset": [binding.dataset for binding in bindings]}}
            query = leaves.all_of([scope, query])
        else:
            warnings = (f"no dataset serves the log source {_spell(rule)}; searching {self.default_indices}",)
        plan = DetectionPlan(
            rule=rule_info(rule),
            indices=tuple(binding.indices for binding in bindings) or (self.default_indices,),
            query=query,
            interval=interval_of(rule, DEFAULT_INTERVAL),
            warnings=warnings,
        )
        if callback is not None:
            plan = callback(rule, output_format, 0, rule.detection.parsed_condition[0], plan)
        rule.set_conversion_result([plan])
        rule.set_conversion_states([state])
        if not rule._output or plan is None:  # noqa: SLF001 (pySigma's own flag for "only a base rule")
            return []
        return [self.finalize_query(rule, plan, 0, state, output_format or self.default_format)]

    def finalize_query_default(self, rule: Any, query: Any, index: int, state: ConversionState) -> Any:
        """Leave the plan as it is."""
        return query

    def finalize_output_default(self, queries: list[Any]) -> Any:
        """Return the plans as JSON data, which the command line of pySigma can print."""
        return [plan.to_dict() for plan in queries]

    # Conditions -----------------------------------------------------------------------------------------

    def convert_condition_as_in_expression(
        self, cond: ConditionOR | ConditionAND, state: ConversionState
    ) -> Query:
        """Never called: `convert_or_as_in` is off, because merging values is the compiler's own step."""
        return self.convert_condition_or(cast("ConditionOR", cond), state)

    def convert_condition_or(self, cond: ConditionOR, state: ConversionState) -> Query:
        """Convert alternatives."""
        return leaves.any_of(self._arguments(cond.args, state))

    def convert_condition_and(self, cond: ConditionAND, state: ConversionState) -> Query:
        """Convert conjunctions."""
        return leaves.all_of(self._arguments(cond.args, state))

    def convert_condition_not(self, cond: ConditionNOT, state: ConversionState) -> Query:
        """Convert negations; events that lack the field match, as Sigma has it."""
        return leaves.none_of(self._arguments(cond.args, state))

    def _arguments(self, args: Any, state: ConversionState) -> list[Query]:
        return [query for query in (self.convert_condition(arg, state) for arg in args) if query is not None]

    def _field(self, cond: Condition) -> tuple[str, FieldKind]:
        return self._searched(cond.field)

    def _searched(self, field: str) -> tuple[str, FieldKind]:
        if not self.types.is_searchable(field):
            raise Refused(f"field {field} is kept, but not indexed: no search finds anything in it")
        return self.types.searched(field), self.types.kind(field)

    # Field values ---------------------------------------------------------------------------------------

    def convert_condition_field_eq_val_str(self, cond: Condition, state: ConversionState) -> Query:
        """Convert a string, case-insensitively."""
        value = cast("SigmaString", cond.value)
        return leaves.string(*self._field(cond), value, cased=False)

    def convert_condition_field_eq_val_str_case_sensitive(
        self,
        cond: Condition,
        state: ConversionState,
    ) -> Query:
        """Convert a string of the `cased` modifier."""
        value = cast("SigmaString", cond.value)
        return leaves.string(*self._field(cond), value, cased=True)

    def convert_condition_field_eq_val_num(self, cond: Condition, state: ConversionState) -> Query:
        """Convert a number."""
        value = cast("SigmaNumber", cond.value)
        return leaves.number(*self._field(cond), value.number)

    def convert_condition_field_eq_val_bool(self, cond: Condition, state: ConversionState) -> Query:
        """Convert a boolean."""
        value = cast("SigmaBool", cond.value)
        return leaves.truth(*self._field(cond), value.boolean)

    def convert_condition_field_eq_val_cidr(self, cond: Condition, state: ConversionState) -> Query:
        """Convert a network."""
        value = cast("SigmaCIDRExpression", cond.value)
        return leaves.cidr(*self._field(cond), value.network)

    def convert_condition_field_compare_op_val(self, cond: Condition, state: ConversionState) -> Query:
        """Convert lt, lte, gt, gte."""
        value = cast("SigmaCompareExpression", cond.value)
        operator = value.op.name.lower()
        if isinstance(value.number, SigmaTimestampPart):
            return self._date_part(cond, value.number, operator)
        return leaves.comparison(*self._field(cond), operator, value.number.number)

    def _exists(self, cond: Condition) -> Query:
        self._field(cond)
        return leaves.exists(cond.field)

    def convert_condition_field_eq_val_null(self, cond: Condition, state: ConversionState) -> Query:
        """Convert null: the field is missing."""
        return leaves.none_of([self._exists(cond)])

    def convert_condition_field_exists(self, cond: Condition, state: ConversionState) -> Query:
        """Convert `exists: true`."""
        return self._exists(cond)

    def convert_condition_field_not_exists(self, cond: Condition, state: ConversionState) -> Query:
        """Convert `exists: false`."""
        return leaves.none_of([self._exists(cond)])

    def convert_condition_field_eq_val_re(self, cond: Condition, state: ConversionState) -> Query:
        """Convert a regular expression, which is searched for in the value."""
        value = cast("SigmaRegularExpression", cond.value)
        name, kind = self._field(cond)
        if kind is not FieldKind.KEYWORD:
            raise Refused(f"regular expression on {cond.field}, which is a {kind} field, not keyword")
        flags = sorted(flag.name[0].lower() for flag in value.flags)
        flags = ["s" if flag == "d" else flag for flag in flags]
        expressions = lucene_expressions(str(value.regexp), flags)
        return leaves.regular(name, expressions)

    def convert_condition_field_eq_val_timestamp_part(self, cond: Condition, state: ConversionState) -> Query:
        """Convert minute, hour, day, week, month, year."""
        return self._date_part(cond, cast("SigmaTimestampPart", cond.value), "eq")

    def _date_part(self, cond: Condition, value: SigmaTimestampPart, operator: str) -> Query:
        part = value.timestamp_part.name.lower()
        return scripted.date_part(*self._field(cond), part, operator, value.number)

    def convert_condition_field_eq_field(self, cond: Condition, state: ConversionState) -> Query:
        """Convert a reference to another field."""
        value = cast("SigmaFieldReference", cond.value)
        how = {
            (False, False): "equals",
            (True, False): "startswith",
            (False, True): "endswith",
            (True, True): "contains",
        }[value.starts_with, value.ends_with]
        return scripted.field_reference(self._field(cond), self._searched(value.field), how)

    def convert_condition_field_eq_query_expr(self, cond: Condition, state: ConversionState) -> Query:
        """Refuse query fragments: they would have to be in another query language."""
        raise Refused(f"query expression on {cond.field}: plans are structured queries")

    # Keywords -------------------------------------------------------------------------------------------

    def _refuse_keyword(self, cond: ConditionValueExpression, state: ConversionState) -> Query:
        raise Refused(
            f"keyword {cond.value}: no field yet holds the whole event and can be searched; name a field"
        )

    convert_condition_val_str = _refuse_keyword
    convert_condition_val_num = _refuse_keyword
    convert_condition_val_re = _refuse_keyword

    def convert_condition_query_expr(self, cond: ConditionValueExpression, state: ConversionState) -> Query:
        """Refuse query fragments."""
        raise Refused("query expression: plans are structured queries")

    # Correlations ---------------------------------------------------------------------------------------

    def _correlation(
        self,
        rule: SigmaCorrelationRule,
        output_format: str | None = None,
        method: str = "default",
    ) -> list[Any]:
        return [build_correlation(rule, self.types)]

    convert_correlation_event_count_rule = _correlation
    convert_correlation_value_count_rule = _correlation
    convert_correlation_value_sum_rule = _correlation
    convert_correlation_value_avg_rule = _correlation
    convert_correlation_temporal_rule = _correlation
    convert_correlation_temporal_ordered_rule = _correlation
    convert_correlation_value_percentile_rule = _correlation
    convert_correlation_value_median_rule = _correlation
    convert_correlation_extended_temporal_rule = _correlation
    convert_correlation_extended_temporal_ordered_rule = _correlation


def _spell(rule: SigmaRule) -> str:
    source = rule.logsource
    named = {"category": source.category, "product": source.product, "service": source.service}
    return ", ".join(f"{key}: {value}" for key, value in named.items() if value is not None)
