"""The public suffixes of the Internet: below which names anybody may register one.

The table is `public_suffixes.txt`, made from the Public Suffix List (https://publicsuffix.org, Mozilla Public License
2.0) by `scripts/public_suffixes`, both its parts: `co.uk` of registries, and `github.io` of companies.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["compact", "is_public_suffix", "suffix_table"]


def compact(rules: Iterable[str]) -> Mapping[str, str]:
    """Return the rules of the list by what stands right of their first label: `co.uk` is in `uk: |co|`.

    Rules of one label are left out, since every last label is a public suffix anyway. Names that are not ASCII are
    there in both ways in which logs write them.
    """
    labels: dict[str, set[str]] = {}
    for rule in rules:
        for form in {rule, rule.encode("idna").decode() if not rule.isascii() else rule}:
            label, _, rest = form.partition(".")
            if rest:
                labels.setdefault(rest, set()).add(label)
    return {rest: f"|{'|'.join(sorted(found))}|" for rest, found in sorted(labels.items())}


_MANY = 30
"""With more labels than this, searching all of them costs more than a second look-up."""


def _by_letter(rest: str, labels: str) -> Mapping[str, str]:
    """Return the entries for a name: one, or for many labels one for each letter that they begin with."""
    listed = labels.strip("|").split("|")
    if len(listed) <= _MANY:
        return {rest: labels}
    found: dict[str, str] = {}
    for label in listed:
        key = rest if label[0] in "*!" else f"{rest}/{label[0]}"
        found[key] = found.get(key, "|") + f"{label}|"
    return {**found, rest: "/" + found.get(rest, "")}


@cache
def suffix_table() -> Mapping[str, str]:
    """Return the table that the Painless function `putRegisteredDomain` reads."""
    text = Path(__file__).with_name("public_suffixes.txt").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    table: dict[str, str] = {}
    for line in lines:
        rest, _, labels = line.partition(" ")
        table.update(_by_letter(rest, labels))
    return table


@cache
def _suffixes() -> Mapping[str, str]:
    text = Path(__file__).with_name("public_suffixes.txt").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {rest: labels for rest, _, labels in (line.partition(" ") for line in lines)}


def is_public_suffix(name: str) -> bool:
    """Return whether anybody may register a name right below this one (in small letters)."""
    label, _, rest = name.partition(".")
    if not rest:
        return True
    labels = _suffixes().get(rest, "")
    return f"|{label}|" in labels or ("|*|" in labels and f"|!{label}|" not in labels)
