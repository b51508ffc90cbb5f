"""Checks of rules that convert without an error and still do not do what they look like: `sigma check` runs them.

The docstring of a check is its documentation: the anti-pattern, what comes of it, and what is better.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar

from sigma.correlations import (
    SigmaCorrelationCondition,
    SigmaCorrelationConditionOperator,
    SigmaCorrelationRule,
    SigmaCorrelationType,
)
from sigma.exceptions import SigmaConfigurationError
from sigma.modifiers import SigmaContainsModifier, SigmaEndswithModifier, SigmaStartswithModifier
from sigma.rule import SigmaDetectionItem, SigmaRule
from sigma.types import SigmaString, SpecialChars
from sigma.validators.base import (
    SigmaDetectionItemValidator,
    SigmaRuleValidator,
    SigmaValidationIssue,
    SigmaValidationIssueSeverity,
)

from sigmawatch.bundle import bindings_of
from sigmawatch.compile.fieldnames import field_names, is_known_field
from sigmawatch.compile.taxonomy import base_rules, common_target, integration_bindings
from sigmawatch.datasets import load_datasets
from sigmawatch.pack.layout import builtin_pack

if TYPE_CHECKING:
    from sigmawatch.compile.taxonomy import Binding

__all__ = [
    "EmptySearchValidator",
    "IncompleteAlertValidator",
    "PrivateAddressPrefixValidator",
    "ThresholdOfOneValidator",
    "UnknownFieldValidator",
    "UnknownGroupFieldValidator",
    "UnservedLogsourceValidator",
]

AnyRule = SigmaRule | SigmaCorrelationRule

_LOW = SigmaValidationIssueSeverity.LOW
_MEDIUM = SigmaValidationIssueSeverity.MEDIUM
_HIGH = SigmaValidationIssueSeverity.HIGH


@cache
def _bindings() -> tuple[Binding, ...]:
    return (*bindings_of(load_datasets(builtin_pack().ingest_pipelines)), *integration_bindings())


@cache
def _dataset_fields() -> frozenset[str]:
    return frozenset(
        name for dataset in load_datasets(builtin_pack().ingest_pipelines) for name in dataset.fields
    )


def _is_found(name: str) -> bool:
    return is_known_field(name) or name in _dataset_fields()


def _is_served(rule: SigmaRule) -> bool:
    return any(binding.serves(rule) for binding in _bindings())


@dataclass
class UnknownFieldIssue(SigmaValidationIssue):
    """A field that no event has."""

    description: ClassVar[str] = (
        "The field is neither ECS nor a field of the log source, so that no event has it; is the name misspelt?"
    )
    severity: ClassVar[SigmaValidationIssueSeverity] = _MEDIUM
    field: str


class UnknownFieldValidator(SigmaDetectionItemValidator):
    """A field that is neither ECS, nor a dataset's, nor in the taxonomy of the rule's log source.

    Anti-pattern: `source_ip: 10.0.0.1` in a rule on `category: firewall`. No event has the field: a selection with
    it never matches, and a filter with it never excludes.

    Better: the name of Sigma's taxonomy (`src_ip`) or of ECS (`source.ip`).

    Log sources that nothing is known of are left alone: see the check of unserved log sources.
    """

    def validate_detection_item(self, detection_item: SigmaDetectionItem) -> list[SigmaValidationIssue]:
        """Look the field up."""
        rule, name = self.rule, detection_item.field
        if name is None or not isinstance(rule, SigmaRule):
            return []
        names = field_names(rule.logsource)
        if not names.listings and not _is_served(rule):
            return []
        return [] if _is_found(names.target(name) or name) else [UnknownFieldIssue([rule], name)]


@dataclass
class IncompleteAlertIssue(SigmaValidationIssue):
    """A rule without what its alerts need."""

    description: ClassVar[str] = (
        "The alerts of a rule need its id to be told apart, and its level to be ranked."
    )
    severity: ClassVar[SigmaValidationIssueSeverity] = _MEDIUM
    missing: str


class IncompleteAlertValidator(SigmaRuleValidator):
    """A rule without id or level.

    Anti-pattern: a rule with a title only. Its alerts cannot be told from those of a rule that is later called the
    same, get lost from view when it is renamed, and are ranked as medium whatever they mean.

    Better: `id:` with a random UUID that never changes, and `level:`.

    The base rules of a correlation alert only where it generates them, and need neither otherwise.
    """

    def validate(self, rule: AnyRule) -> list[SigmaValidationIssue]:
        """Look for both."""
        super().validate(rule)
        if not rule._output:
            return []
        missing = [name for name in ("id", "level") if getattr(rule, name) is None]
        return [IncompleteAlertIssue([rule], " and ".join(missing))] if missing else []


@dataclass
class UnservedLogsourceIssue(SigmaValidationIssue):
    """A log source that no dataset holds."""

    description: ClassVar[str] = (
        "Neither a dataset of ours nor one of Elastic's integrations holds this log source; the rule would search "
        "all logs."
    )
    severity: ClassVar[SigmaValidationIssueSeverity] = _LOW
    logsource: str


class UnservedLogsourceValidator(SigmaRuleValidator):
    """A rule on a log source that nothing serves.

    Anti-pattern: `product: linux, service: ssh`, where the service is called `sshd`. The rule is bound to no dataset,
    searches all logs for its field names and mostly finds nothing.

    Better: the log source as a dataset has it (`sigmawatch check` and the folder `ingest_pipelines` say which), or a
    dataset of one's own for it.
    """

    def validate(self, rule: AnyRule) -> list[SigmaValidationIssue]:
        """Look for a binding."""
        super().validate(rule)
        if not isinstance(rule, SigmaRule) or _is_served(rule):
            return []
        source = rule.logsource
        named = {"category": source.category, "product": source.product, "service": source.service}
        spelled = ", ".join(f"{key}: {value}" for key, value in named.items() if value is not None)
        return [UnservedLogsourceIssue([rule], spelled)]


@dataclass
class EmptySearchIssue(SigmaValidationIssue):
    """A search for nothing."""

    description: ClassVar[str] = (
        "Every value contains, starts and ends with nothing: only the presence of the field is asked for. Say "
        "`exists: true` if that is meant."
    )
    severity: ClassVar[SigmaValidationIssueSeverity] = _HIGH
    field: str


class EmptySearchValidator(SigmaDetectionItemValidator):
    """`contains`, `startswith` or `endswith` with an empty string or wildcards alone.

    Anti-pattern: `url.path|contains: ['/admin', '']`, mostly left over from a list that was edited. One empty value
    makes the whole list match every event that has the field.

    Better: leave the value out; `url.path|exists: true` where presence is what counts.
    """

    _modifiers = frozenset({SigmaContainsModifier, SigmaStartswithModifier, SigmaEndswithModifier})

    def validate_detection_item(self, detection_item: SigmaDetectionItem) -> list[SigmaValidationIssue]:
        """Look for values without any text."""
        if not self._modifiers & set(detection_item.modifiers):
            return []
        empty = any(
            isinstance(value, SigmaString)
            and all(part == "" or part == SpecialChars.WILDCARD_MULTI for part in value.s)
            for value in detection_item.value
        )
        return [EmptySearchIssue([self.rule], detection_item.field or "keyword")] if empty else []


@dataclass
class UnknownGroupFieldIssue(SigmaValidationIssue):
    """A field to group by that the base rules' events do not have."""

    description: ClassVar[str] = (
        "The events of the base rules do not have this field, or not in one place; events without it belong to no "
        "group, and the correlation never fires."
    )
    severity: ClassVar[SigmaValidationIssueSeverity] = _HIGH
    field: str


class UnknownGroupFieldValidator(SigmaRuleValidator):
    """A correlation that groups by a field which its base rules' log sources do not have.

    Anti-pattern: `group-by: [src_user]` over rules of `product: linux, service: sshd`, whose field is `user`; or one
    name over two log sources that have it in different places.

    Better: the name that the log source has, or an alias that says for each rule which field it is:
    `aliases: {who: {failed_login: user, okta_login: actor.alternateId}}`.
    """

    def validate(self, rule: AnyRule) -> list[SigmaValidationIssue]:
        """Look the fields up in the log sources of all base rules."""
        super().validate(rule)
        if not isinstance(rule, SigmaCorrelationRule) or not _is_resolved(rule):
            return []
        bases = base_rules(rule)
        known = [base for base in bases if field_names(base.logsource).listings or _is_served(base)]
        if len(known) < len(bases):
            return []
        aliases = {alias.alias for each in _correlations(rule) for alias in each.aliases}
        return [
            UnknownGroupFieldIssue([rule], name)
            for name in rule.group_by or []
            if name not in aliases and not self._is_grouped(name, bases)
        ]

    def _is_grouped(self, name: str, bases: list[SigmaRule]) -> bool:
        try:
            return _is_found(common_target(name, bases))
        except SigmaConfigurationError:
            return False


def _correlations(rule: SigmaCorrelationRule) -> list[SigmaCorrelationRule]:
    inner = [each.rule for each in rule.referenced_rules if isinstance(each.rule, SigmaCorrelationRule)]
    return [rule, *(found for each in inner for found in _correlations(each))]


def _is_resolved(rule: SigmaCorrelationRule) -> bool:
    """Whether the rules that it refers to are known: they may be in files that are not checked."""
    found = [getattr(reference, "rule", None) for reference in rule.referenced_rules]
    return bool(found) and all(
        isinstance(each, SigmaRule) or (isinstance(each, SigmaCorrelationRule) and _is_resolved(each))
        for each in found
    )


@dataclass
class ThresholdOfOneIssue(SigmaValidationIssue):
    """A correlation that every event fulfils."""

    description: ClassVar[str] = (
        "One event is enough, so that the correlation says no more than its base rule, only less often and later."
    )
    severity: ClassVar[SigmaValidationIssueSeverity] = _MEDIUM
    condition: str


class ThresholdOfOneValidator(SigmaRuleValidator):
    """An event_count or value_count that is reached by the first event.

    Anti-pattern: `type: event_count` with `gte: 1` (or `gt: 0`).

    Better: the base rule by itself, with `generate: true` or without a correlation; or the threshold that was meant.
    """

    _counts = frozenset({SigmaCorrelationType.EVENT_COUNT, SigmaCorrelationType.VALUE_COUNT})

    def validate(self, rule: AnyRule) -> list[SigmaValidationIssue]:
        """Look at the threshold."""
        super().validate(rule)
        if not isinstance(rule, SigmaCorrelationRule) or rule.type not in self._counts:
            return []
        condition = rule.condition
        if not isinstance(condition, SigmaCorrelationCondition):
            return []
        bound = {
            SigmaCorrelationConditionOperator.GTE: 1,
            SigmaCorrelationConditionOperator.GT: 0,
        }.get(condition.op)
        if bound is None or condition.count > bound:
            return []
        return [ThresholdOfOneIssue([rule], f"{condition.op.name.lower()}: {condition.count:g}")]


@dataclass
class PrivateAddressPrefixIssue(SigmaValidationIssue):
    """A network that is written as the beginning of a text."""

    description: ClassVar[str] = (
        "A network is not the beginning of a text: 10 also begins 100.64.0.1, and 172.16. leaves out most of "
        "172.16.0.0/12. Use the cidr modifier."
    )
    severity: ClassVar[SigmaValidationIssueSeverity] = _MEDIUM
    field: str
    value: str


class PrivateAddressPrefixValidator(SigmaDetectionItemValidator):
    """Private, loopback or link-local addresses that are told by their first characters.

    Anti-pattern: `src_ip|startswith: ['10.', '192.168.', '172.16.']`. The last covers a sixteenth of the private
    172.16.0.0/12, a forgotten dot in the first takes in 100.0.0.0/8 and others, and addresses of IPv6 are missing.

    Better: `src_ip|cidr: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7']`.
    """

    _prefix = re.compile(
        r"(10|127|192\.168|169\.254|172(\.(1[6-9]|2[0-9]|3[01])?)?)\.?|fe80:.*|f[cd][0-9a-f]{2}:.*",
        re.IGNORECASE,
    )

    def validate_detection_item(self, detection_item: SigmaDetectionItem) -> list[SigmaValidationIssue]:
        """Look for beginnings of addresses."""
        name = detection_item.field
        if name is None or not re.search(r"(?i)ip|addr|host|src|dst|source|destination", name):
            return []
        found = [
            value.s[0]
            for value in detection_item.value
            if isinstance(value, SigmaString)
            and len(value.s) == 2
            and isinstance(value.s[0], str)
            and value.s[1] == SpecialChars.WILDCARD_MULTI
            and self._prefix.fullmatch(value.s[0])
        ]
        return [PrivateAddressPrefixIssue([self.rule], name, ", ".join(map(str, found)))] if found else []
