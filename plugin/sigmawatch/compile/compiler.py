"""Compiles loaded rules to detection plans, keeping the problems of each apart."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError
from sigma.processing.pipeline import ProcessingPipeline

from sigmawatch.compile.backend import DEFAULT_INDICES, KEYWORD_FIELDS, QueryBackend
from sigmawatch.compile.fieldtypes import FieldTypes
from sigmawatch.compile.leaves import Refused
from sigmawatch.compile.taxonomy import Binding, ecs_pipeline
from sigmawatch.compile.unknown import unknown_fields
from sigmawatch.errors import ContentError, Problem, Severity
from sigmawatch.pack.rules import LoadedRule, RuleSet, problem_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from sigmawatch.compile.plan import DetectionPlan

__all__ = ["CompileContext", "Compiled", "compile_rules"]


@dataclass(frozen=True)
class CompileContext:
    """What the compiler has to know besides the rules."""

    bindings: tuple[Binding, ...] = ()
    """Which datasets hold which log sources."""
    datasets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The fields of each dataset with their mapping types."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    """Mapping types that win over all others."""
    pipelines: tuple[ProcessingPipeline, ...] = ()
    """Processing pipelines of the user's, applied before ours."""
    default_indices: str = DEFAULT_INDICES
    keyword_fields: tuple[str, ...] = KEYWORD_FIELDS
    """Fields that hold the whole event as text, in which keywords are searched."""
    without_message: frozenset[str] = frozenset()
    """Datasets whose documents keep no message, so that keywords find nothing there."""
    placeholders: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Values of the placeholders that rules use with `expand`, e.g. names of administrators."""
    root: Path | None = None
    """Sources are named relative to this folder."""

    @property
    def dataset_types(self) -> Mapping[str, str]:
        """Mapping types of all datasets' fields."""
        return {name: kind for fields in self.datasets.values() for name, kind in fields.items()}


@dataclass(frozen=True)
class Compiled:
    """The plans of the rules that are to be emitted, and what was found wrong with others."""

    plans: tuple[DetectionPlan, ...]
    problems: tuple[Problem, ...]
    """Errors (the rule has no plan) and warnings (it has)."""

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Only the problems that cost a rule its plan."""
        return tuple(problem for problem in self.problems if problem.severity is Severity.ERROR)

    def require(self) -> tuple[DetectionPlan, ...]:
        """Return the plans. Raises ContentError when any rule has none."""
        if self.errors:
            raise ContentError(self.errors)
        return self.plans


def compile_rules(rules: RuleSet, context: CompileContext) -> Compiled:
    """Compile every rule; a rule that fails never keeps another from being compiled."""
    backend = _backend(context)
    problems = list(rules.problems)
    plans: list[DetectionPlan] = []
    failed: set[int] = set()
    for item in rules.rules:
        try:
            _require_bases(item, failed)
            emitted = _convert(backend, item)
        except (SigmaError, NotImplementedError, RecursionError) as error:
            failed.add(id(item.rule))
            code = "refused" if isinstance(error, Refused) else "sigma"
            problems.append(problem_of(error, item.document, code))
            continue
        for plan in emitted:
            source = _source(item.document.path, context.root)
            plans.append(replace(plan, rule=replace(plan.rule, source=source)))
            problems += [
                Problem(
                    text,
                    item.document.path,
                    item.document.line_of("logsource"),
                    severity=Severity.WARNING,
                    code="logsource",
                )
                for text in plan.warnings
            ]
        problems += unknown_fields(item, context.datasets)
    return Compiled(tuple(plans), tuple(problems))


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


def _convert(backend: QueryBackend, item: LoadedRule) -> list[DetectionPlan]:
    rule = item.rule
    if isinstance(rule, SigmaCorrelationRule):
        plans: list[DetectionPlan] = backend.convert_correlation_rule(rule)
        return plans if rule._output else []  # noqa: SLF001 (pySigma's own flag for "only a base rule")
    return list(backend.convert_rule(rule))


def _source(path: Path, root: Path | None) -> str:
    try:
        return path.resolve().relative_to(root.resolve()).as_posix() if root is not None else path.as_posix()
    except ValueError:
        return path.name
