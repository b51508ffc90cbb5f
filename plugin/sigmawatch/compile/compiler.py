"""Compiles loaded rules to detection plans, keeping the problems of each apart."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError
from sigma.processing.pipeline import ProcessingPipeline
from sigma.rule import SigmaRule

from sigmawatch.compile.backend import QueryBackend
from sigmawatch.compile.context import CompileContext, Compiled, Place, relative
from sigmawatch.compile.fieldtypes import FieldTypes
from sigmawatch.compile.leaves import Refused
from sigmawatch.compile.taxonomy import ecs_pipeline
from sigmawatch.compile.unknown import unknown_fields
from sigmawatch.errors import Problem, Severity
from sigmawatch.pack.rules import LoadedRule, RuleSet, problem_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sigmawatch.compile.plan import DetectionPlan

__all__ = ["CompileContext", "Compiled", "RuleCompiler", "compile_rules"]


def compile_rules(rules: RuleSet, context: CompileContext) -> Compiled:
    """Compile every rule; a rule that fails never keeps another from being compiled."""
    return RuleCompiler(context).compile(rules)


class RuleCompiler:
    """Compiles rule sets, one after the other, in the same context."""

    def __init__(self, context: CompileContext) -> None:
        self._context = context
        self._backend = _backend(context)

    def compile(self, rules: RuleSet) -> Compiled:
        """Compile every rule of a set, as `compile_rules` does."""
        problems = list(rules.problems)
        plans: list[DetectionPlan] = []
        places: dict[str, Place] = {}
        failed: set[int] = set()
        for item in rules.rules:
            document = item.document
            try:
                _require_bases(item, failed)
                emitted = _convert(self._backend, item)
            except (SigmaError, NotImplementedError, RecursionError) as error:
                failed.add(id(item.rule))
                code = "refused" if isinstance(error, Refused) else "sigma"
                problems.append(problem_of(error, document, code))
                continue
            for plan in emitted:
                source = relative(document.path, self._context.root)
                plans.append(replace(plan, rule=replace(plan.rule, source=source)))
                key = "detection" if plan.correlation is None else "correlation"
                places[plan.rule.id] = Place(document.path, document.start_line, document.line_of(key))
            problems += [
                Problem(
                    text,
                    document.path,
                    document.line_of("logsource"),
                    severity=Severity.WARNING,
                    code="logsource",
                )
                for plan in emitted or _of_base(item)
                for text in plan.warnings
            ]
            problems += unknown_fields(item, self._context.datasets, self._context.overrides)
        return Compiled(tuple(plans), tuple(problems), places)


def _backend(context: CompileContext) -> QueryBackend:
    pipeline = ProcessingPipeline()
    for each in _by_priority(context.pipelines):
        pipeline += each
    pipeline += ecs_pipeline(context.bindings)
    return QueryBackend(
        pipeline,
        types=FieldTypes(context.overrides, context.dataset_types),
        default_indices=context.default_indices,
        keyword_fields=context.keyword_fields,
        without_message=context.without_message,
        placeholders=context.placeholders,
    )


def _by_priority(pipelines: Sequence[ProcessingPipeline]) -> Iterable[ProcessingPipeline]:
    return sorted(pipelines, key=lambda pipeline: pipeline.priority)


def _require_bases(item: LoadedRule, failed: set[int]) -> None:
    if isinstance(item.rule, SigmaCorrelationRule):
        for reference in item.rule.referenced_rules:
            if id(reference.rule) in failed:
                raise SigmaError(f"rule '{reference.reference}', which it refers to, does not compile")


def _of_base(item: LoadedRule) -> Sequence[DetectionPlan]:
    """Return the plan of a rule that only serves correlations, which take its query and nothing else."""
    return item.rule.get_conversion_result() if isinstance(item.rule, SigmaRule) else ()


def _convert(backend: QueryBackend, item: LoadedRule) -> list[DetectionPlan]:
    rule = item.rule
    if isinstance(rule, SigmaCorrelationRule):
        plans: list[DetectionPlan] = backend.convert_correlation_rule(rule)
        return plans if rule._output else []  # noqa: SLF001 (pySigma's own flag for "only a base rule")
    return list(backend.convert_rule(rule))
