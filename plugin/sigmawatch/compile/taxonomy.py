"""The pySigma processing pipeline that leads from the names in rules to ECS and to the datasets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sigma.correlations import SigmaCorrelationCondition, SigmaCorrelationRule
from sigma.exceptions import SigmaConfigurationError
from sigma.processing.pipeline import ProcessingItem, ProcessingPipeline
from sigma.processing.transformations.base import FieldMappingTransformationBase, PreprocessingTransformation
from sigma.rule import SigmaDetection, SigmaDetectionItem, SigmaRule
from sigma.types import SigmaBool, SigmaCIDRExpression, SigmaNull, SigmaString, SigmaType

from sigmawatch import yamlfile
from sigmawatch.compile.context import Binding
from sigmawatch.compile.fieldnames import FieldNames, Translation, field_names
from sigmawatch.ecs import ecs_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "Binding",
    "base_rules",
    "bound_datasets",
    "common_target",
    "ecs_pipeline",
    "integration_bindings",
]

_STATE_PREFIX = "sigmawatch_dataset:"

_NOTHING = frozenset({"", "-", "*-*"})
"""How rules, like logs, write that there is no value. An address or a number can be none of these."""


@cache
def integration_bindings() -> tuple[Binding, ...]:
    """Return the bindings for logs that Elastic's integrations collect (`integrations.yml`)."""
    entries = yamlfile.load(Path(__file__).with_name("integrations.yml")).data["datasets"]
    return tuple(
        Binding(name, entry.get("indices", f"logs-{name}-*"), logsource)
        for name, entry in entries.items()
        for logsource in entry["logsources"]
    )


@dataclass
class BindingTransformation(PreprocessingTransformation):
    """Notes in the pipeline's state which datasets serve a rule.

    One step for all of them, since an item of its own for each costs every rule as many steps as there are datasets.
    """

    bindings: tuple[Binding, ...]
    _serving: dict[tuple[str | None, ...], list[Binding]] = field(
        init=False, default_factory=dict, compare=False, repr=False
    )
    """By category, product and service: a rule set has few different ones."""

    def apply(self, rule: SigmaRule | SigmaCorrelationRule) -> None:
        """Note them; a correlation has no log source of its own."""
        if self._pipeline is None or not isinstance(rule, SigmaRule):
            return
        source = rule.logsource
        asked = (source.category, source.product, source.service)
        serving = self._serving.get(asked)
        if serving is None:
            serving = _joined(binding for binding in self.bindings if binding.serves(rule))
            self._serving[asked] = serving
        if serving:
            super().apply(rule)
        for binding in serving:
            self._pipeline.state[_STATE_PREFIX + binding.dataset] = binding


@dataclass
class TaxonomyTransformation(FieldMappingTransformationBase):
    """Renames a rule's fields to where they are found. What is there already stays, so twice is as good as once."""

    names: FieldNames = field(init=False, default_factory=lambda: FieldNames(()), compare=False)
    """Those of the rule that is being worked on."""

    def apply_field_name(self, field: str | None) -> str | None:
        """Return where a field is found; keywords have none."""
        return None if field is None else self.names.target(field)

    def apply(self, rule: SigmaRule | SigmaCorrelationRule) -> None:
        """Rename the fields of a rule; those of a correlation by the log sources of its base rules."""
        if isinstance(rule, SigmaRule):
            self.names = field_names(rule.logsource)
            super().apply(rule)
            return
        bases = base_rules(rule)
        aliases = {alias.alias for alias in rule.aliases}
        for alias in rule.aliases:
            for reference, name in alias.mapping.items():
                # An alias names its rules anew; only the correlation's own references were resolved.
                named = [each.rule for each in rule.referenced_rules if each.reference == reference.reference]
                alias.mapping[reference] = common_target(
                    name, [base for each in named for base in base_rules_of(each)]
                )
        rule.group_by = [
            name if name in aliases else common_target(name, bases) for name in rule.group_by or []
        ]
        rule.fields = [common_target(name, bases) for name in rule.fields]
        condition = rule.condition
        if isinstance(condition, SigmaCorrelationCondition) and condition.fieldref is not None:
            if isinstance(condition.fieldref, list):
                condition.fieldref = [common_target(name, bases) for name in condition.fieldref]
            else:
                condition.fieldref = common_target(condition.fieldref, bases)
        self.processing_item_applied(rule)

    def apply_detection_item(
        self, detection_item: SigmaDetectionItem
    ) -> SigmaDetection | SigmaDetectionItem | None:
        """Rename the field, and write its values as they are where it is found."""
        name = detection_item.field
        translation = None if name is None else self.names.translation(name)
        replaced = super().apply_detection_item(detection_item)
        if name is None or replaced is None or not isinstance(replaced, SigmaDetectionItem):
            return replaced
        if translation is not None:
            _translate(replaced, translation)
        target = replaced.field or ""
        values = list(replaced.value)
        if (
            values
            and target.endswith(".address")
            and all(isinstance(each, SigmaCIDRExpression) for each in values)
        ):
            # Networks are only known of what parsed as an address.
            replaced.field = f"{target.removesuffix('address')}ip"
        if ecs_type(target) in ("ip", "long"):
            written = [SigmaNull() if _is_nothing(each) else each for each in values]
            if written != values:
                replaced.value = written
        return replaced


def base_rules_of(rule: SigmaRule | SigmaCorrelationRule) -> list[SigmaRule]:
    return [rule] if isinstance(rule, SigmaRule) else base_rules(rule)


def base_rules(rule: SigmaCorrelationRule) -> list[SigmaRule]:
    """Return the rules at the ends of a correlation's references. They must be resolved and have no circle."""
    return [base for reference in rule.referenced_rules for base in base_rules_of(reference.rule)]


def common_target(name: str, bases: Sequence[SigmaRule]) -> str:
    """Return where a field of a correlation is found in the events of all its base rules.

    Raises SigmaConfigurationError where it is found in different places: grouping by one of them would leave out
    the events of the other rules without a word.
    """
    found: dict[str, SigmaRule] = {}
    for base in bases:
        target = field_names(base.logsource).target(name)
        if target is not None:
            found.setdefault(target, base)
    if len(found) > 1:
        places = ", ".join(f"{target} in rule {_spell(base)}" for target, base in found.items())
        raise SigmaConfigurationError(
            f"field {name} is found in different places: {places}; name them with aliases"
        )
    return next(iter(found), name)


def _spell(rule: SigmaRule) -> str:
    return str(rule.name or rule.id or rule.title)


def _is_nothing(value: SigmaType) -> bool:
    return isinstance(value, SigmaString) and str(value) in _NOTHING


def _translate(item: SigmaDetectionItem, translation: Translation) -> None:
    """Write the values as the target has them."""

    def written(value: SigmaType) -> SigmaType | None:
        plain = str(value).lower() if isinstance(value, SigmaString | SigmaBool) else None
        if plain is None or plain not in translation.values:
            return None
        text = translation.values[plain]
        return SigmaNull() if text is None else SigmaString(text)

    translated = [written(value) for value in item.value]
    if translation.otherwise is not None and any(found is None for found in translated):
        item.field = translation.otherwise
        return
    item.value = [
        value if found is None else found for value, found in zip(item.value, translated, strict=True)
    ]


def _joined(bindings: Iterable[Binding]) -> list[Binding]:
    """Return one binding a dataset, for events of any of the log sources that it serves."""
    found: dict[str, Binding] = {}
    for binding in bindings:
        known = found.get(binding.dataset)
        where: dict[str, tuple[str, ...]] = dict(binding.where)
        if known is not None:
            # All events of the dataset where one of them asks for nothing.
            where = {
                name: tuple(dict.fromkeys([*values, *where[name]]))
                for name, values in known.where.items()
                if name in where
            }
        found[binding.dataset] = replace(binding, where=where)
    return list(found.values())


def bound_datasets(state: Mapping[str, Any]) -> tuple[Binding, ...]:
    """Return the bindings that the pipeline found for the rule it was last applied to, each dataset once."""
    found = {key: value for key, value in state.items() if key.startswith(_STATE_PREFIX)}
    return tuple(found[key] for key in sorted(found))


def ecs_pipeline(bindings: Iterable[Binding]) -> ProcessingPipeline:
    """Return the pipeline: fields to where they are found, then the datasets that serve the rule into its state."""
    items = [
        ProcessingItem(identifier="sigmawatch_fields", transformation=TaxonomyTransformation()),
        ProcessingItem(
            identifier="sigmawatch_datasets", transformation=BindingTransformation(tuple(bindings))
        ),
    ]
    return ProcessingPipeline(name="sigmawatch: Sigma taxonomy to ECS", priority=50, items=items)
