"""The pySigma processing pipeline that leads from Sigma's taxonomy to ECS and to the datasets."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

from sigma.processing.conditions import LogsourceCondition
from sigma.processing.conditions.base import RuleProcessingCondition
from sigma.processing.pipeline import ProcessingItem, ProcessingPipeline
from sigma.processing.transformations import FieldMappingTransformation, SetStateTransformation
from sigma.rule import SigmaRule

from sigmawatch import yamlfile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sigma.correlations import SigmaCorrelationRule

__all__ = ["Binding", "bound_datasets", "ecs_pipeline"]

_STATE_PREFIX = "sigmawatch_dataset:"


@dataclass(frozen=True)
class Binding:
    """Says that a dataset holds the events of a log source."""

    dataset: str
    """Value of `event.dataset`, e.g. `auth.sshd`."""
    indices: str
    """Index pattern that holds its documents, e.g. `logs-auth.sshd-*`."""
    logsource: Mapping[str, str]
    """Category, product and service that the dataset's events have, as far as they have any."""

    def serves(self, rule: SigmaRule) -> bool:
        """Whether everything that the rule asks of its log source is true of this one."""
        asked = {
            "category": rule.logsource.category,
            "product": rule.logsource.product,
            "service": rule.logsource.service,
        }
        return all(value is None or self.logsource.get(key) == value for key, value in asked.items())


@dataclass
class ServedBy(RuleProcessingCondition):
    """Matches rules whose log source a binding serves."""

    binding: Binding

    def match(self, rule: SigmaRule | SigmaCorrelationRule) -> bool:
        """Whether it does; a correlation has no log source of its own."""
        return isinstance(rule, SigmaRule) and self.binding.serves(rule)


def bound_datasets(state: Mapping[str, Any]) -> tuple[Binding, ...]:
    """Return the bindings that the pipeline found for the rule it was last applied to, each dataset once."""
    found = {key: value for key, value in state.items() if key.startswith(_STATE_PREFIX)}
    return tuple(found[key] for key in sorted(found))


def ecs_pipeline(bindings: Iterable[Binding]) -> ProcessingPipeline:
    """Return the pipeline: taxonomy fields to ECS, then the datasets that serve the rule into its state."""
    items = [
        ProcessingItem(
            identifier=f"sigmawatch_fields_{index}",
            transformation=FieldMappingTransformation(dict(entry["fields"])),
            rule_conditions=[LogsourceCondition(**entry["logsource"])],
        )
        for index, entry in enumerate(_taxonomy())
    ]
    items += [
        ProcessingItem(
            identifier=f"sigmawatch_{index}_{binding.dataset}",
            transformation=SetStateTransformation(_STATE_PREFIX + binding.dataset, binding),
            rule_conditions=[ServedBy(binding)],
        )
        for index, binding in enumerate(bindings)
    ]
    return ProcessingPipeline(name="sigmawatch: Sigma taxonomy to ECS", priority=50, items=items)


def _taxonomy() -> list[dict[str, Any]]:
    with as_file(files("sigmawatch.compile") / "taxonomy.yml") as path:
        (document,) = yamlfile.load_all(path)
    entries: list[dict[str, Any]] = document.data
    return entries
