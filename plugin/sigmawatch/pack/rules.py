"""Loads Sigma rules, correlations and filters, and says of each problem in which line it is."""

from __future__ import annotations

import math
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError, SigmaRuleLocation
from sigma.filters import SigmaFilter
from sigma.modifiers import modifier_mapping
from sigma.rule import SigmaRule

from sigmawatch import yamlfile
from sigmawatch.errors import ContentError, Problem
from sigmawatch.pack.keys import PARTS, doubtful_names, unknown_in_correlation
from sigmawatch.pack.modifiers import encode_exactly, spelled_for_pysigma

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from sigmawatch.yamlfile import YamlDocument

__all__ = [
    "CONDITION",
    "LoadedRule",
    "RuleFile",
    "RuleSet",
    "join_rules",
    "load_rules",
    "problem_of",
    "read_rules",
]

AnyRule = SigmaRule | SigmaCorrelationRule


@dataclass(frozen=True)
class LoadedRule:
    """A parsed rule and the document it came from."""

    rule: AnyRule
    document: YamlDocument


@dataclass(frozen=True)
class RuleSet:
    """Rules that refer to each other only, base rules before their correlations."""

    rules: tuple[LoadedRule, ...]
    problems: tuple[Problem, ...]
    """What is wrong with the files; rules with an error are not among `rules`."""


def _key_lines(document: YamlDocument) -> int:
    keys: list[str] = list(document.data) if isinstance(document.data, dict) else []
    for key in PARTS:
        if key in keys:
            return document.line_of(key)
    return document.start_line


def problem_of(error: Exception, document: YamlDocument, code: str = "sigma") -> Problem:
    """Return the problem behind an exception of pySigma, on the line that it is about.

    pySigma tells no lines: they are found by what the error is about (its class), or by what its message quotes.
    """
    message = str(error.args[0]) if error.args else type(error).__name__
    message = re.sub(r"\s+", " ", message).strip() or type(error).__name__
    misused = _MISUSED.search(message)
    if misused is not None:
        modifier = _modifier(misused[1])
        line = _quoted_line(f"{message} '|{modifier}'", document) or _key_lines(document)
        value = "no value" if misused[2].startswith("<sigma.types.SigmaNull") else repr(misused[2])
        return Problem(f"the modifier {modifier} cannot be used with {value}", document.path, line, code=code)
    keys = _KEYS_OF_ERRORS.get(type(error).__name__)
    unparsed = _UNPARSED.search(message)
    if unparsed is not None:
        message = f"the condition cannot be understood: unexpected {unparsed[1]} at character {unparsed[2]}"
        keys = ("correlation", "condition") if "correlation" in document.data else ("detection", "condition")
    if keys is not None:
        return Problem(message, document.path, document.line_of(*keys), code=code)
    return Problem(message, document.path, _quoted_line(message, document) or _key_lines(document), code=code)


_KEYS_OF_ERRORS = {
    "SigmaAuthorError": ("author",),
    "SigmaCorrelationTypeError": ("correlation", "type"),
    "SigmaDateError": ("date",),
    "SigmaDescriptionError": ("description",),
    "SigmaFalsePositivesError": ("falsepositives",),
    "SigmaFieldsError": ("fields",),
    "SigmaIdentifierError": ("id",),
    "SigmaLevelError": ("level",),
    "SigmaLicenseError": ("license",),
    "SigmaLogsourceError": ("logsource",),
    "SigmaModifiedError": ("modified",),
    "SigmaNameError": ("name",),
    "SigmaReferencesError": ("references",),
    "SigmaRelatedError": ("related",),
    "SigmaStatusError": ("status",),
    "SigmaTimespanError": ("correlation", "timespan"),
    "SigmaTitleError": ("title",),
}

_MISUSED = re.compile(r"^Modifier (\w+) incompatible to value type of '(.*?)'")
"""How pySigma, by the name of its class, says that a modifier is none for a value."""


def _modifier(name: str) -> str:
    """Return the name by which rules know a modifier of pySigma."""
    return next((spoken for spoken, known in modifier_mapping.items() if known.__name__ == name), name)


_UNPARSED = re.compile(r"^Expected .*, found (.+?) \(at char ([0-9]+)\)")
"""How pyparsing, which reads conditions, says that it does not understand."""


def _quoted_line(message: str, document: YamlDocument) -> int | None:
    """Return the line of the rule that holds what a message quotes, or the value it ends in."""
    candidates = re.findall(r"'\s*([^']+?)\s*'", message)
    candidates += [word for word in message.split() if re.search(r"[0-9./|]", word)]
    lines = document.path.read_text(encoding="utf-8", errors="replace").splitlines()
    for text in candidates:
        for number, line in enumerate(lines, 1):
            if number >= document.start_line and text in line:
                return number
    return None


def _check_shape(document: YamlDocument) -> Problem | None:
    data = document.data
    if not isinstance(data, dict):
        message = f"a rule is a mapping, this is a {type(data).__name__}"
        return Problem(message, document.path, document.start_line, code="sigma")
    if data.get("action") in ("global", "reset", "repeat"):
        return None
    for key in PARTS:
        if key in data:
            if not isinstance(data[key], dict):
                return Problem(f"{key} must be a mapping", document.path, document.line_of(key), code="sigma")
            return next(unknown_in_correlation(document), None) if key == "correlation" else None
    meant = next(doubtful_names(document), None)
    line = meant.line if meant is not None else document.start_line
    hint = meant.hint if meant is not None else "a Sigma rule has detection:, correlation: or filter:"
    return Problem("not a Sigma rule", document.path, line, hint, code="sigma")


_WITH_MODIFIERS = ("detection", "filter")
"""The parts of a rule whose keys may have modifiers."""


def _parse(document: YamlDocument, merged: dict[str, Any]) -> SigmaCollection:
    source = SigmaRuleLocation(document.path, document.start_line)
    spelled = {key: spelled_for_pysigma(merged[key]) for key in _WITH_MODIFIERS if key in merged}
    with warnings.catch_warnings():
        # pySigma reads expressions with Python's `re`, which wonders about [[:alpha:]]. We know what it means.
        warnings.simplefilter("ignore", FutureWarning)
        parsed = SigmaCollection.from_dicts(
            [{**merged, **spelled}],
            collect_errors=True,
            source=source,
            collect_filters=True,
            resolve_references=False,
        )
        for rule in parsed.rules:
            if isinstance(rule, SigmaRule) and not rule.errors:
                encode_exactly(rule)
    return parsed


def _actions(documents: list[YamlDocument]) -> Iterable[tuple[YamlDocument, dict[str, Any]]]:
    """Yield documents with Sigma's collection actions (global, repeat, reset) carried out."""
    base: dict[str, Any] = {}
    previous: dict[str, Any] = {}
    for document in documents:
        data = dict(document.data)
        action = data.pop("action", None)
        if action == "global":
            base = previous = data
        elif action == "reset":
            base = {}
        elif action == "repeat":
            previous = _merge(previous, data)
            yield document, previous
        elif "correlation" in data:
            yield document, _for_pysigma(data)
        elif "filter" in data:
            yield document, data
        else:
            previous = _merge(base, data)
            yield document, previous


CONDITION = "sigmawatch_condition"
"""Attribute that keeps the condition of a correlation as it was written."""

_OPERATORS = ("gte", "gt", "lte", "lt", "eq", "neq")


def _for_pysigma(data: dict[str, Any]) -> dict[str, Any]:
    """Return a correlation as pySigma reads it, without losing what it does not read.

    It takes one operator in a condition, and before version 2 whole numbers only; the specification has two, and
    fractions. It reads `generate` inside the correlation; the specification has it beside.
    """
    correlation = dict(data["correlation"])
    found = {**data, "correlation": correlation}
    if "generate" in found:
        correlation.setdefault("generate", found.pop("generate"))
    condition = correlation.get("condition")
    if isinstance(condition, dict):
        bounds = {key: condition[key] for key in _OPERATORS if key in condition}
        numbers = all(
            isinstance(bound, (int, float)) and not isinstance(bound, bool) and math.isfinite(bound)
            for bound in bounds.values()
        )
        if bounds and numbers:
            found[CONDITION] = bounds
            rest = {key: value for key, value in condition.items() if key not in bounds}
            first = next(iter(bounds))
            correlation["condition"] = {first: int(bounds[first]), **rest}
    return found


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


@dataclass(frozen=True)
class RuleFile:
    """What one file says: rules, correlations and filters, not joined with those of other files yet."""

    path: Path
    items: tuple[tuple[YamlDocument, AnyRule | SigmaFilter], ...]
    problems: tuple[Problem, ...]


def read_rules(path: Path, source: bytes | None = None) -> RuleFile:
    """Read a file, or `source`, which was read from it before. Never raises for bad content."""
    found: list[tuple[YamlDocument, Any]] = []
    problems: list[Problem] = []
    try:
        documents = yamlfile.load_all(path) if source is None else yamlfile.parse_all(source, path)
    except ContentError as error:
        return RuleFile(path, (), error.problems)
    if not documents:
        problems.append(Problem("no rule in it: the file is empty", path, 1, code="sigma"))
    wrong = [problem for problem in map(_check_shape, documents) if problem is not None]
    if wrong:
        return RuleFile(path, (), tuple(wrong))
    for document, data in _actions(documents):
        try:
            parsed = _parse(document, data)
        except (SigmaError, TypeError, ValueError, AttributeError, KeyError) as error:
            # pySigma raises plain errors for shapes it does not expect, e.g. a list for a title.
            problems.append(problem_of(error, document))
            continue
        except NameError:
            # pySigma 1 and 2 stumble over `condition:` with nothing behind it.
            line = document.line_of("correlation", "condition")
            problems.append(Problem("the condition of the correlation is empty", path, line, code="sigma"))
            continue
        if parsed.errors:
            problems += [problem_of(error, document) for error in parsed.errors]
            continue
        found += [(document, rule) for rule in [*parsed.rules, *parsed.filters]]
    return RuleFile(path, tuple(found), tuple(problems))


def load_rules(paths: Iterable[Path]) -> RuleSet:
    """Load every rule of the files, apply filters, resolve references and order base rules first.

    Never raises for bad content: one bad rule does not hide the others, each problem is listed.
    """
    return join_rules([read_rules(path) for path in paths])


def join_rules(files: Sequence[RuleFile]) -> RuleSet:
    """Apply the filters of files to their rules, resolve references and order base rules first.

    The rules themselves are changed: files can be joined once.
    """
    problems = [problem for file in files for problem in file.problems]
    found = [item for file in files for item in file.items]
    filters = [rule for _, rule in found if isinstance(rule, SigmaFilter)]
    loaded = _unique(
        [
            _filtered((document, rule), filters)
            for document, rule in found
            if not isinstance(rule, SigmaFilter)
        ],
        problems,
    )
    collection = SigmaCollection([item.rule for item in loaded], resolve_references=False)
    ordered = _ordered({id(item.rule): item for item in loaded}, collection, problems)
    return RuleSet(tuple(ordered), tuple(problems))


def _filtered(item: tuple[YamlDocument, AnyRule], filters: Sequence[SigmaFilter]) -> LoadedRule:
    document, rule = item
    if isinstance(rule, SigmaRule):
        for each in filters:
            rule = each.apply_on_rule(rule)
    return LoadedRule(rule, document)


def _unique(loaded: Sequence[LoadedRule], problems: list[Problem]) -> list[LoadedRule]:
    """Return the rules whose id and name no rule before them has."""
    seen: dict[str, LoadedRule] = {}
    kept = []
    for item in loaded:
        rule, document = item.rule, item.document
        keys = {"id": str(rule.id) if rule.id is not None else "", "name": rule.name or ""}
        taken = [field for field, key in keys.items() if key and key in seen]
        if taken:
            other = seen[keys[taken[0]]].document
            message = f"{taken[0]} {keys[taken[0]]} is already used in {other.path}:{other.start_line}"
            line = document.line_of(taken[0])
            problems.append(Problem(message, document.path, line, code="duplicate-rule"))
            continue
        seen.update({key: item for key in keys.values() if key})
        kept.append(item)
    return kept


def _ordered(
    loaded: dict[int, LoadedRule], collection: SigmaCollection, problems: list[Problem]
) -> list[LoadedRule]:
    """Resolve references and return the rules so that a correlation follows what it refers to."""
    done: dict[int, LoadedRule] = {}
    failed: set[int] = set()
    trail: list[int] = []

    def visit(item: LoadedRule) -> bool:
        key = id(item)
        if key in done or key in failed:
            return key in done
        rule, document = item.rule, item.document
        if key in trail:
            message = f"correlation {rule.name or rule.id} refers to itself"
            problems.append(
                Problem(
                    message, document.path, document.line_of("correlation", "rules"), code="correlation-cycle"
                )
            )
            return False
        if isinstance(rule, SigmaCorrelationRule):
            trail.append(key)
            good = _resolve(rule, document)
            trail.pop()
            if not good:
                failed.add(key)
                return False
        done[key] = item
        return True

    def _resolve(rule: SigmaCorrelationRule, document: YamlDocument) -> bool:
        try:
            rule.resolve_rule_references(collection)
        except (SigmaError, ValueError, KeyError) as error:
            hint = "name a rule by its name: or id:, in one of the files given"
            found = problem_of(error, document, "unknown-rule")
            line = document.line_of("correlation", "rules")
            problems.append(Problem(found.message, document.path, line, hint, code="unknown-rule"))
            return False
        good = True
        for reference in rule.referenced_rules:
            good = visit(loaded[id(reference.rule)]) and good
        return good

    for item in loaded.values():
        visit(item)
    return list(done.values())
