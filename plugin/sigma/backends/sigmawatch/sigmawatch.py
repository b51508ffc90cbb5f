"""The backend as sigma-cli runs it: with the built-in datasets, in every form that plans have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError, SigmaFeatureNotSupportedByBackendError
from sigma.processing.pipeline import ProcessingPipeline
from sigma.rule import SigmaRule

from sigmawatch.bundle import bindings_of, compile_context
from sigmawatch.compile.backend import DEFAULT_INDICES, QueryBackend
from sigmawatch.compile.fieldtypes import FieldTypes
from sigmawatch.compile.taxonomy import ecs_pipeline
from sigmawatch.datasets import load_datasets
from sigmawatch.pack.layout import builtin_pack
from sigmawatch.render.formats import FORMATS, render
from sigmawatch.render.refusal import RenderRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sigma.collection import SigmaCollection

__all__ = ["SigmawatchBackend"]


class SigmawatchBackend(QueryBackend):
    """Sigma to structured Query DSL and what executes it. The fields of Sigma's taxonomy become ECS by themselves."""

    identifier: ClassVar[str] = "sigmawatch"
    name: ClassVar[str] = "sigmawatch: Query DSL and Watcher for Elasticsearch and OpenSearch"
    formats: ClassVar[dict[str, str]] = {
        "default": FORMATS["search"].description,
        **{name: form.description for name, form in FORMATS.items()},
    }

    def __init__(
        self,
        processing_pipeline: ProcessingPipeline | None = None,
        collect_errors: bool = False,
        *,
        default_indices: str = DEFAULT_INDICES,
        **backend_options: Any,
    ) -> None:
        datasets = load_datasets(builtin_pack().ingest_pipelines)
        pipeline = processing_pipeline or ProcessingPipeline()
        super().__init__(
            pipeline + ecs_pipeline(bindings_of(datasets)),
            collect_errors,
            types=FieldTypes(datasets=compile_context(datasets).dataset_types),
            default_indices=default_indices,
            **backend_options,
        )

    def convert(
        self,
        rule_collection: SigmaCollection,
        output_format: str | None = None,
        correlation_method: str | None = None,
        callback: Callable[..., Any] | None = None,
    ) -> Any:
        """Convert rules, base rules before their correlations, which pySigma 1 does not always get right."""
        self.init_processing_pipeline(output_format)
        rule_collection.resolve_rule_references()
        form = output_format or self.default_format
        found: list[Any] = []
        for rule in _bases_first(rule_collection.rules):
            try:
                if isinstance(rule, SigmaRule):
                    found += self.convert_rule(rule, form, callback)
                else:
                    bodies = self.convert_correlation_rule(rule, form, correlation_method, callback)
                    found += bodies if rule._output else []
            except SigmaError as error:
                if not self.collect_errors:
                    raise
                self.errors.append((rule, error))  # type: ignore[arg-type]  # pySigma forgot correlations
        return self.finalize(found, form)

    def finalize_query(self, rule: Any, query: Any, index: int, state: Any, output_format: str) -> Any:
        """Return the plan in the form asked for. Raises SigmaFeatureNotSupportedByBackendError."""
        try:
            return render(query, "search" if output_format == "default" else output_format)
        except RenderRefused as refused:
            hint = f" ({refused.hint})" if refused.hint else ""
            raise SigmaFeatureNotSupportedByBackendError(
                f"{refused.message}{hint}", source=rule.source
            ) from None

    def finalize(self, queries: list[Any], output_format: str) -> Any:
        """Return the bodies as a list, of which sigma-cli prints one a line."""
        return queries


def _bases_first(rules: Iterable[SigmaRule | SigmaCorrelationRule]) -> list[SigmaRule | SigmaCorrelationRule]:
    """Return rules so that each follows those it refers to. References must be resolved; circles are cut."""
    done: dict[int, SigmaRule | SigmaCorrelationRule] = {}
    trail: set[int] = set()

    def visit(rule: SigmaRule | SigmaCorrelationRule) -> None:
        if id(rule) in done or id(rule) in trail:
            return
        trail.add(id(rule))
        if isinstance(rule, SigmaCorrelationRule):
            for reference in rule.referenced_rules:
                visit(reference.rule)
        done[id(rule)] = rule

    for rule in rules:
        visit(rule)
    return list(done.values())
