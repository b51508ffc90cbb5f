"""Loads Sigma rules, correlations and filters, and says of each problem in which line it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule
from sigma.exceptions import SigmaError, SigmaRuleLocation
from sigma.filters import SigmaFilter
from sigma.rule import SigmaRule

from sigmawatch import yamlfile
from sigmawatch.errors import ContentError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sigmawatch.yamlfile import YamlDocument

__all__ = ["LoadedRule", "RuleSet", "load_rules", "problem_of"]

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
    for key in ("detection", "correlation", "filter"):
        if key in keys:
            return document.line_of(key)
    return document.start_line


def problem_of(error: Exception, document: YamlDocument, code: str = "sigma") -> Problem:
    """Return the problem behind an exception of pySigma: the line is where the text it quotes stands."""
    message = str(error.args[0]) if error.args else type(error).__name__
    message = re.sub(r"\s+", " ", message).strip() or type(error).__name__
    line = _key_lines(document)
    quoted = re.findall(r"'\s*([^']+?)\s*'", message)
    lines = document.path.read_text(encoding="utf-8", errors="replace").splitlines()
    for text in quoted:
        hits = [number for number, found in enumerate(lines, 1) if text in found]
        hits = [number for number in hits if number >= document.start_line]
        if hits:
            line = hits[0]
            break
    return Problem(message, document.path, line, code=code)


def _check_shape(document: YamlDocument) -> Problem | None:
    data = document.data
    if not isinstance(data, dict):
        message = f"a rule is a mapping, this is a {type(data).__name__}"
        return Problem(message, document.path, document.start_line, code="sigma")
    if data.get("action") in ("global", "reset", "repeat"):
        return None
    for key in ("detection", "correlation", "filter"):
        if key in data:
            if not isinstance(data[key], dict):
                return Problem(f"{key} must be a mapping", document.path, document.line_of(key), code="sigma")
            return None
    hint = "a Sigma rule has detection:, correlation: or filter:"
    return Problem("not a Sigma rule", document.path, document.start_line, hint, code="sigma")


def _parse(document: YamlDocument, merged: dict[str, Any]) -> SigmaCollection:
    source = SigmaRuleLocation(document.path, document.start_line)
    return SigmaCollection.from_dicts(
        [merged], collect_errors=True, source=source, collect_filters=True, resolve_references=False
    )


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
        elif "correlation" in data or "filter" in data:
            yield document, data
        else:
            previous = _merge(base, data)
            yield document, previous


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _load_file(path: Path, problems: list[Problem]) -> list[tuple[YamlDocument, Any]]:
    found: list[tuple[YamlDocument, Any]] = []
    try:
        documents = yamlfile.load_all(path)
    except ContentError as error:
        problems += error.problems
        return []
    wrong = [problem for problem in map(_check_shape, documents) if problem is not None]
    if wrong:
        problems += wrong
        return []
    for document, data in _actions(documents):
        try:
            parsed = _parse(document, data)
        except (SigmaError, TypeError, ValueError, AttributeError, KeyError) as error:
            # pySigma raises plain errors for shapes it does not expect, e.g. a list for a title.
            problems.append(problem_of(error, document))
            continue
        if parsed.errors:
            problems += [problem_of(error, document) for error in parsed.errors]
            continue
        found += [(document, rule) for rule in [*parsed.rules, *parsed.filters]]
    return found


def load_rules(paths: Iterable[Path]) -> RuleSet:
    """Load every rule of the files, apply filters, resolve references and order base rules first.

    Never raises for bad content: one bad rule does not hide the others, each problem is listed.
    """
    problems: list[Problem] = []
    found = [item for path in paths for item in _load_file(path, problems)]
    documents = {id(rule): document for document, rule in found}
    rules = [rule for _, rule in found if not isinstance(rule, SigmaFilter)]
    filters = [rule for _, rule in found if isinstance(rule, SigmaFilter)]
    rules = _unique(rules, documents, problems)
    collection = SigmaCollection([*rules], resolve_references=False)
    loaded: dict[int, LoadedRule] = {}
    for rule in rules:
        if isinstance(rule, SigmaRule):
            filtered: AnyRule = rule
            for each in filters:
                filtered = each.apply_on_rule(filtered)
            loaded[id(rule)] = LoadedRule(filtered, documents[id(rule)])
        else:
            loaded[id(rule)] = LoadedRule(rule, documents[id(rule)])
    ordered = _ordered(loaded, collection, problems)
    return RuleSet(tuple(ordered), tuple(problems))


def _unique(
    rules: list[AnyRule], documents: dict[int, YamlDocument], problems: list[Problem]
) -> list[AnyRule]:
    seen: dict[str, AnyRule] = {}
    kept = []
    for rule in rules:
        document = documents[id(rule)]
        keys = [str(rule.id)] if rule.id is not None else []
        keys += [rule.name] if rule.name else []
        taken = [key for key in keys if key in seen]
        if taken:
            other = documents[id(seen[taken[0]])]
            field = "id" if taken[0] == str(rule.id) else "name"
            message = f"{field} {taken[0]} is already used in {other.path}:{other.start_line}"
            problems.append(Problem(message, document.path, document.line_of(field), code="duplicate-rule"))
            continue
        seen.update(dict.fromkeys(keys, rule))
        kept.append(rule)
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
            base = loaded[id(reference.rule)]
            reference.rule = base.rule
            good = visit(base) and good
        return good

    for item in loaded.values():
        visit(item)
    return list(done.values())
