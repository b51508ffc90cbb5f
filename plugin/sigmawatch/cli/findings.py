"""What our checks for `sigma check` find in rules, as warnings with their lines."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING

from sigma.validation import SigmaValidator
from sigma.validators.sigmawatch import (
    EmptySearchValidator,
    PrivateAddressPrefixValidator,
    ThresholdOfOneValidator,
)

from sigmawatch.errors import Problem, Severity
from sigmawatch.pack.keys import doubtful_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sigma.validators.base import SigmaValidationIssue

    from sigmawatch.pack.rules import LoadedRule
    from sigmawatch.yamlfile import YamlDocument

__all__ = ["findings_in"]

_CHECKS = (EmptySearchValidator, PrivateAddressPrefixValidator, ThresholdOfOneValidator)
"""Those that need no dataset: which fields and log sources are known depends on the pack that is checked, and the
validators for those know the built-in one only."""


def findings_in(rules: Iterable[LoadedRule]) -> list[Problem]:
    """Return a warning for each finding. The rules must be as they were written: compiling renames fields."""
    found: list[Problem] = []
    for item in rules:
        found += doubtful_names(item.document)
        for issue in SigmaValidator(_CHECKS).validate_rule(item.rule):  # type: ignore[arg-type]  # takes both
            told = {
                each.name: str(getattr(issue, each.name)) for each in fields(issue) if each.name != "rules"
            }
            spelled = ", ".join(f"{name} {value}" for name, value in told.items())
            code = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(issue).__name__.removesuffix("Issue")).lower()
            found.append(
                Problem(
                    f"{issue.description.rstrip('.')} ({spelled})",
                    item.document.path,
                    _line(issue, item.document),
                    severity=Severity.WARNING,
                    code=code,
                )
            )
    return found


def _line(issue: SigmaValidationIssue, document: YamlDocument) -> int:
    """Return the line that names the field, or the part of the rule that the finding is about."""
    name = getattr(issue, "field", None)
    if name is not None:
        lines = document.path.read_text(encoding="utf-8", errors="replace").splitlines()
        for number, line in enumerate(lines, 1):
            if number >= document.start_line and re.match(rf"[\s\-\"']*{re.escape(name)}[\"':|]", line):
                return number
    if hasattr(issue, "condition"):
        return document.line_of("correlation", "condition")
    return document.line_of("detection")
