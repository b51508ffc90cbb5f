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
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNumber,
    SigmaQueryExpression,
    SigmaRegularExpression,
    SigmaString,
    SigmaTimestampPart,
    SpecialChars,
)

from sigmawatch.compile import leaves, scripted
from sigmawatch.compile.context import DEFAULT_INDICES, KEYWORD_FIELDS
from sigmawatch.compile.correlations import build_correlation
from sigmawatch.compile.fieldtypes import FieldKind, FieldTypes
from sigmawatch.compile.leaves import Refused
from sigmawatch.compile.literals import required_literals
from sigmawatch.compile.merge import MAX_CLAUSES, MAX_PATTERNS, clauses, pattern_size, shortened
from sigmawatch.compile.placeholders import expanded
from sigmawatch.compile.plan import DetectionPlan, Query
from sigmawatch.compile.regex import lucene_expressions
from sigmawatch.compile.ruleinfo import DEFAULT_INTERVAL, interval_of, rule_info
from sigmawatch.compile.taxonomy import bound_datasets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sigma.correlations import SigmaCorrelationRule
    from sigma.processing.pipeline import ProcessingPipeline
    from sigma.rule import SigmaRule

    from sigmawatch.compile.context import Binding

__all__ = ["DEFAULT_INDICES", "KEYWORD_FIELDS", "QueryBackend"]

_USES_KEYWORDS = "sigmawatch_keywords"
"""Set in the state of a conversion that met a keyword."""

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
        keyword_fields: Sequence[str] = KEYWORD_FIELDS,
        without_message: Mapping[str, Sequence[str]] | None = None,
        placeholders: Mapping[str, Sequence[str]] | None = None,
        **backend_options: Any,
    ) -> None:
        super().__init__(processing_pipeline, collect_errors, **backend_options)
        self.types = types or FieldTypes()
        self.default_indices = default_indices
        self.keyword_fields = tuple(keyword_fields)
        self.without_message = without_message or {}
        self.placeholders = placeholders or {}

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
        query = shortened(leaves.any_of([found for found in queries if found is not None]), self.types)
        if clauses(query) > MAX_CLAUSES:
            raise Refused(
                f"{clauses(query)} clauses that cannot be joined; engines take {MAX_CLAUSES} in a search"
            )
        size = pattern_size(query)
        if size > MAX_PATTERNS:
            raise Refused(
                f"patterns of {size:,} characters in one search, of which a node would have to hold the automata all "
                f"at once; at most {MAX_PATTERNS:,} are compiled, so divide the rule"
            )
        bindings = bound_datasets(state.processing_state)
        warnings: tuple[str, ...] = ()
        if bindings:
            scope: Query = {"terms": {"event.dataset": [binding.dataset for binding in bindings]}}
            query = leaves.all_of([scope, *_where(bindings), query])
            deaf = sorted({binding.dataset for binding in bindings} & self.without_message.keys())
            if deaf and state.processing_state.get(_USES_KEYWORDS):
                warnings = tuple(_deafness(name, self.without_message[name]) for name in deaf)
        else:
            warnings = (f"no dataset serves the log source {_spell(rule)}; searching {self.default_indices}",)
        plan = DetectionPlan(
            rule=rule_info(rule),
            indices=tuple(binding.indices for binding in bindings) or (self.default_indices,),
            query=query,
            interval=interval_of(rule, DEFAULT_INTERVAL),
            literals=required_literals(query, self.types),
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
        return self._string(self._field(cond), cast("SigmaString", cond.value))

    def convert_condition_field_eq_val_str_case_sensitive(
        self, cond: Condition, state: ConversionState
    ) -> Query:
        """Convert a string of the `cased` modifier."""
        return self._string(self._field(cond), cast("SigmaString", cond.value))

    def _string(self, field: tuple[str, FieldKind], value: SigmaString) -> Query:
        cased = isinstance(value, SigmaCasedString)
        values = expanded(value, self.placeholders)
        return leaves.any_of([self._text(*field, each, cased=cased) for each in values])

    def _text(self, name: str, kind: FieldKind, value: SigmaString, *, cased: bool) -> Query:
        parts = leaves.parts_of(value)
        if kind is FieldKind.INTEGER and SpecialChars.WILDCARD_MULTI in parts and len(parts) > 1:
            return scripted.digits(name, parts)
        return leaves.string(name, kind, value, cased=cased, parent=self.types.flattened_parent(name))

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
        return self._regular(self._field(cond), cast("SigmaRegularExpression", cond.value))

    def _regular(self, field: tuple[str, FieldKind], value: SigmaRegularExpression) -> Query:
        name, kind = field
        if kind is not FieldKind.KEYWORD:
            raise Refused(f"regular expression on {name}, of type {kind}, not keyword")
        flags = sorted(flag.name[0].lower() for flag in value.flags)
        flags = ["s" if flag == "d" else flag for flag in flags]
        texts = [str(each) for each in expanded(value.regexp, self.placeholders, raw=True)]
        return leaves.any_of([scripted.expressions(name, lucene_expressions(text, flags)) for text in texts])

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
        left, right = self._field(cond), self._searched(value.field)
        objects = (self.types.flattened_parent(left[0]), self.types.flattened_parent(right[0]))
        return scripted.field_reference(left, right, how, objects)

    def convert_condition_field_eq_query_expr(self, cond: Condition, state: ConversionState) -> Query:
        """Refuse query fragments: they would have to be in another query language."""
        raise Refused(f"query expression on {cond.field}: plans are structured queries")

    # Keywords -------------------------------------------------------------------------------------------

    def convert_condition_val(self, cond: ConditionValueExpression, state: ConversionState) -> Query:
        """Convert a keyword: a text somewhere in the event, whatever its field.

        The event as text is what `keyword_fields` hold, by default `message`, in which our datasets keep the
        line that they got, and of datasets that keep none those in which others wrote. A keyword is contained
        in one of them, in either case unless `cased`, with `*` and `?` as wildcards; a regular expression is
        searched for; of several with `all` each is in some field.
        """
        state.processing_state = {**state.processing_state, _USES_KEYWORDS: True}
        match cond.value:
            case SigmaExpansion(values=values):
                each = [
                    self.convert_condition_val(ConditionValueExpression(value), state) for value in values
                ]
                return leaves.any_of(each)
            case SigmaTimestampPart():
                raise Refused("keyword that is a part of a date: name the field of the date")
            case SigmaString() | SigmaNumber() | SigmaRegularExpression() | SigmaQueryExpression():
                found: Query = super().convert_condition_val(cond, state)
                return found
        raise Refused(f"keyword of type {type(cond.value).__name__}: it needs a field")

    def convert_condition_val_str(self, cond: ConditionValueExpression, state: ConversionState) -> Query:
        """Convert a text that some field contains."""
        anything = SpecialChars.WILDCARD_MULTI
        value = anything + cast("SigmaString", cond.value) + anything
        return leaves.any_of(
            [self._string(self._searched(name), value) for name in self._keyword_fields(state)]
        )

    def convert_condition_val_num(self, cond: ConditionValueExpression, state: ConversionState) -> Query:
        """Convert a number, which is a text like any other."""
        text = ConditionValueExpression(SigmaString(str(cond.value)))
        return self.convert_condition_val_str(text, state)

    def convert_condition_val_re(self, cond: ConditionValueExpression, state: ConversionState) -> Query:
        """Convert a regular expression that is searched for in every field."""
        value = cast("SigmaRegularExpression", cond.value)
        return leaves.any_of(
            [self._regular(self._searched(name), value) for name in self._keyword_fields(state)]
        )

    def _keyword_fields(self, state: ConversionState) -> Iterable[str]:
        """Return where the keywords of a rule are searched."""
        bound = {binding.dataset for binding in bound_datasets(state.processing_state)}
        more = (name for each in sorted(bound) for name in self.without_message.get(each, ()))
        return dict.fromkeys((*self.keyword_fields, *more))

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


def _deafness(dataset: str, fields: Sequence[str]) -> str:
    """Return what is to be said of keywords for a dataset that keeps no message."""
    if fields:
        return f"keywords are searched in {', '.join(fields)} of {dataset} only, which keeps no message"
    return f"keywords find nothing in {dataset}, which keeps no message"


def _where(bindings: Sequence[Binding]) -> list[Query]:
    """Return what documents must have where a dataset holds events of other log sources, too."""
    if not any(binding.where for binding in bindings):
        return []
    whole = [binding.dataset for binding in bindings if not binding.where]
    alternatives: list[Query] = [{"terms": {"event.dataset": whole}}] if whole else []
    alternatives += [
        {"terms": {name: list(values)}} for binding in bindings for name, values in binding.where.items()
    ]
    return [leaves.any_of(alternatives)]


def _spell(rule: SigmaRule) -> str:
    source = rule.logsource
    named = {"category": source.category, "product": source.product, "service": source.service}
    return ", ".join(f"{key}: {value}" for key, value in named.items() if value is not None)
