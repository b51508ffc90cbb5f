"""Finds the rules that correlations refer to in files other than their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmawatch.pack.layout import rule_files
from sigmawatch.pack.rules import RuleSet, load_rules

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["RuleLibrary"]


class RuleLibrary:
    """Rules below some folders, by the names and ids that correlations refer to them by."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = roots
        self._files: dict[str, Path] | None = None

    def load(self, files: Sequence[Path]) -> RuleSet:
        """Load rule files, and those that define what they refer to and lack."""
        rules = load_rules(files)
        borrowed: list[Path] = []
        while more := [path for path in self._missing_bases(rules) if path not in borrowed]:
            borrowed += more
            rules = load_rules([*files, *borrowed])
        return rules

    def _missing_bases(self, rules: RuleSet) -> list[Path]:
        wanted = {
            problem.message.split("'")[1]
            for problem in rules.problems
            if problem.code == "unknown-rule" and "'" in problem.message
        }
        if not wanted:
            return []
        if self._files is None:
            self._files = {}
            loaded = load_rules(rule_files([root for root in self._roots if root.is_dir()]))
            for item in loaded.rules:
                for key in (item.rule.name, str(item.rule.id or "")):
                    if key:
                        self._files.setdefault(key, item.document.path)
        return sorted({self._files[name] for name in wanted if name in self._files})
