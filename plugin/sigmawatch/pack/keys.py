"""Names in a rule that say nothing to Sigma: misspelt ones, which pySigma passes over in silence.

A rule may have keys of its own at its top and in its log source (Sigma specification 2.1), so that only those that look
like one of Sigma's are suspicious there. A correlation has no others.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from sigmawatch.errors import Problem, Severity, similar_names

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from sigmawatch.yamlfile import YamlDocument

__all__ = ["PARTS", "doubtful_names", "unknown_in_correlation"]

PARTS = ("detection", "correlation", "filter")
"""What makes a document a rule, correlation or filter."""

_RULE = (
    *PARTS, "action", "author", "date", "description", "falsepositives", "fields", "generate", "id", "level", "license",
    "logsource", "modified", "name", "references", "related", "scope", "sigmawatch", "status", "tags", "taxonomy",
    "title",
)  # fmt: skip
_LOG_SOURCE = ("category", "definition", "product", "service")
_CORRELATION = ("aliases", "condition", "generate", "group-by", "rules", "timespan", "type")

_SIMILAR = 0.8
_OF = re.compile(r"\b(?:[0-9]+|any|all)\s+of\s+([\w*?-]+)", re.IGNORECASE)


def unknown_in_correlation(document: YamlDocument) -> Iterator[Problem]:
    """Yield an error for each key of a correlation that is none: without it the correlation means something else."""
    for key in map(str, document.data["correlation"]):
        if key not in _CORRELATION:
            hint = similar_names(key, _CORRELATION)
            line = document.line_of("correlation", key)
            yield Problem(f"correlation: unknown key {key}", document.path, line, hint, code="unknown-key")


def doubtful_names(document: YamlDocument) -> Iterator[Problem]:
    """Yield a warning for each key that looks like one of Sigma's, and for each search that there is none of."""
    data = document.data
    for keys, known in (((), _RULE), (("logsource",), _LOG_SOURCE)):
        inner: Any = data.get(keys[0]) if keys else data
        for key in inner if isinstance(inner, dict) else ():
            similar = _like(str(key), known, inner)
            if similar:
                message = f"{key}: is no key of Sigma and changes nothing"
                yield _warning(document, message, *keys, str(key), hint=f"did you mean {similar}?")
    detection = data.get("detection")
    if isinstance(detection, dict):
        yield from _searches(document, detection)


def _like(key: str, known: Collection[str], beside: Collection[str]) -> str:
    """Return the key that another one was meant to be, empty where it is none of those that are missing."""
    if key in known:
        return ""
    missing = [one for one in known if one not in beside]
    return next(iter(get_close_matches(key.lower(), missing, n=1, cutoff=_SIMILAR)), "")


def _searches(document: YamlDocument, detection: dict[str, Any]) -> Iterator[Problem]:
    names = [str(name) for name in detection if name not in ("condition", "timeframe")]
    given = detection.get("condition")
    for condition in given if isinstance(given, list) else [given]:
        for pattern in dict.fromkeys(_OF.findall(condition)) if isinstance(condition, str) else ():
            if pattern.lower() != "them" and not any(fnmatchcase(name, pattern) for name in names):
                message = f"no search of this rule is called {pattern}"
                hint = f"there are {', '.join(names)}" if names else ""
                yield _warning(document, message, "detection", "condition", hint=hint)


def _warning(document: YamlDocument, message: str, *keys: str, hint: str) -> Problem:
    line = document.line_of(*keys)
    return Problem(message, document.path, line, hint, severity=Severity.WARNING, code="doubtful-name")
