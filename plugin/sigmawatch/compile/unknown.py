"""Fields that no event of a rule's log source has: a selection with one never matches, a filter never excludes."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from sigma.correlations import SigmaCorrelationCondition, SigmaCorrelationRule
from sigma.rule import SigmaDetection, SigmaRule
from sigma.types import SigmaFieldReference

from sigmawatch.compile.fieldnames import field_names
from sigmawatch.compile.taxonomy import base_rules, bound_datasets
from sigmawatch.errors import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from sigmawatch.pack.rules import LoadedRule

__all__ = ["unknown_fields"]

_KEY = re.compile(r"""[\s-]*["']?([\w.@-]+)["']?[|:]""")
_WORD = re.compile(r"[\w.@-]+")


def unknown_fields(
    item: LoadedRule, fields: Mapping[str, Mapping[str, str]], others: Mapping[str, str]
) -> list[Problem]:
    """Return a warning for each field of a converted rule that none of the datasets that serve it has.

    `fields`: mapping types by field of each dataset; `others`: of what is known from elsewhere. Rules on log sources
    that nothing is known of are left alone.
    """
    rule = item.rule
    named = _correlated(rule) if isinstance(rule, SigmaCorrelationRule) else _searched(rule.detection)
    bases = base_rules(rule) if isinstance(rule, SigmaCorrelationRule) else [rule]
    served = [_datasets(base) for base in bases]
    datasets = sorted({name for names in served for name in names})
    if not all(served) or not set(datasets) <= set(fields):
        return []
    known: dict[str, str] = {name: kind for dataset in datasets for name, kind in fields[dataset].items()}
    known |= others
    return [
        Problem(
            f"no event of {', '.join(datasets)} has the field {name}",
            item.document.path,
            _line(item, name, bases),
            _suggestion(name, known, bases),
            Severity.WARNING,
            "unknown-field",
        )
        for name in dict.fromkeys(named)
        if not _has(known, name)
    ]


def _datasets(rule: SigmaRule) -> list[str]:
    states = rule.get_conversion_states() or []
    return [binding.dataset for state in states for binding in bound_datasets(state.processing_state)]


def _searched(part: Any) -> Iterator[str]:
    """Yield the fields of a rule's detections, and those that its values refer to."""
    if hasattr(part, "detections"):
        for detection in part.detections.values():
            yield from _searched(detection)
    elif isinstance(part, SigmaDetection):
        for each in part.detection_items:
            yield from _searched(each)
    else:
        if part.field is not None:
            yield part.field
        for value in part.value:
            if isinstance(value, SigmaFieldReference):
                yield value.field


def _correlated(rule: SigmaCorrelationRule) -> Iterator[str]:
    """Yield the fields that a correlation groups by or counts."""
    aliases = {alias.alias for alias in rule.aliases}
    yield from (name for name in rule.group_by or () if name not in aliases)
    yield from (name for alias in rule.aliases for name in alias.mapping.values())
    condition = rule.condition
    if isinstance(condition, SigmaCorrelationCondition) and condition.fieldref is not None:
        counted = condition.fieldref
        yield from counted if isinstance(counted, list) else [counted]


def _has(known: Mapping[str, str], name: str) -> bool:
    if name in known:
        return True
    parents = (name[:dot] for dot, char in enumerate(name) if char == ".")
    return any(known.get(parent) == "flattened" for parent in parents)


def _line(item: LoadedRule, name: str, bases: Collection[SigmaRule]) -> int:
    """Return the line that names a field, by this name or by one that is translated to it."""
    correlation = isinstance(item.rule, SigmaCorrelationRule)
    spoken = _WORD.findall if correlation else _KEY.match
    lines = item.document.path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines[item.document.start_line - 1 :], item.document.start_line):
        found = spoken(line)
        words = found if isinstance(found, list) else [found[1]] if found else []
        if any(word == name or _translated(word, bases) == name for word in words):
            return number
    return item.document.line_of("correlation" if correlation else "detection")


def _translated(word: str, bases: Collection[SigmaRule]) -> str | None:
    return next((found for base in bases if (found := field_names(base.logsource).target(word))), None)


def _suggestion(name: str, known: Collection[str], bases: Collection[SigmaRule]) -> str:
    """Return a question after a similar field, or nothing."""
    names = {
        spoken for base in bases for each in field_names(base.logsource).listings for spoken in each.fields
    }
    similar = get_close_matches(name, [*known, *names], n=1, cutoff=0.75)
    return f"did you mean {similar[0]}?" if similar else ""
