"""Findings in the forms in which code hosts show them beside the lines of a change."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sigmawatch import __version__
from sigmawatch.errors import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmawatch.errors import Problem

__all__ = ["code_quality", "sarif"]

_UNNAMED = "content"
"""The check of problems that name none."""


def sarif(problems: Sequence[Problem]) -> dict[str, Any]:
    """Return problems as a log of the Static Analysis Results Interchange Format 2.1.0 (OASIS).

    Paths below the current folder are relative to it, as GitHub's code scanning wants those of a checkout.
    """
    checks = sorted({problem.code or _UNNAMED for problem in problems})
    return {
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "sigmawatch",
                        "semanticVersion": __version__,
                        "rules": [
                            {"id": check, "shortDescription": {"text": check.replace("-", " ")}}
                            for check in checks
                        ],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_sarif_result(problem, checks) for problem in problems],
            }
        ],
    }


def _sarif_result(problem: Problem, checks: Sequence[str]) -> dict[str, Any]:
    check = problem.code or _UNNAMED
    found: dict[str, Any] = {
        "ruleId": check,
        "ruleIndex": checks.index(check),
        "level": "error" if problem.severity is Severity.ERROR else "warning",
        "message": {"text": _said(problem)},
        "partialFingerprints": {"problem/v1": _fingerprint(problem)},
    }
    if problem.path is not None:
        place: dict[str, Any] = {"artifactLocation": {"uri": quote(_relative(problem.path))}}
        if problem.line:
            place["region"] = {"startLine": problem.line}
        found["locations"] = [{"physicalLocation": place}]
    return found


def code_quality(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Return problems as GitLab's code quality report: those that are about a file, since it knows no others."""
    return [
        {
            "check_name": problem.code or _UNNAMED,
            "description": _said(problem),
            "fingerprint": _fingerprint(problem),
            "severity": "critical" if problem.severity is Severity.ERROR else "minor",
            "location": {"path": _relative(problem.path), "lines": {"begin": problem.line or 1}},
        }
        for problem in problems
        if problem.path is not None
    ]


def _said(problem: Problem) -> str:
    return f"{problem.message} ({problem.hint})" if problem.hint else problem.message


def _relative(path: Path) -> str:
    found = path.resolve()
    return found.relative_to(Path.cwd()).as_posix() if found.is_relative_to(Path.cwd()) else found.as_posix()


def _fingerprint(problem: Problem) -> str:
    """Return what stays the same when lines move: a finding that was seen before is not shown as new."""
    place = _relative(problem.path) if problem.path is not None else ""
    return hashlib.sha256("\0".join((problem.code, place, problem.message)).encode()).hexdigest()
