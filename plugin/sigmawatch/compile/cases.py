"""Letters that are the same but for their case, as Unicode's simple case folding has it."""

from __future__ import annotations

from functools import cache

__all__ = ["cases_of"]


_LAST_CASED = 0x20000
"""Letters with cases come before this code point, in the planes of living and of ancient scripts."""


def cases_of(char: str) -> tuple[str, ...]:
    """Return a character in all its cases, itself among them; a letter of ASCII has no others than those of ASCII."""
    if char.isascii():
        return tuple(sorted({char, char.lower(), char.upper()}))
    found = {char, *_families().get(_folded(char), ())}
    return tuple(sorted(each for each in found if not each.isascii()))


def _folded(char: str) -> str:
    """Return what is common to the cases of a letter: that of its capital, for the Greek have two small sigmas."""
    upper = char.upper() if len(char.upper()) == 1 else char
    return upper.lower() if len(upper.lower()) == 1 else upper


@cache
def _families() -> dict[str, tuple[str, ...]]:
    """Return the letters beyond ASCII that are the same but for their case, by what they have in common."""
    found: dict[str, list[str]] = {}
    for code in range(0x80, _LAST_CASED):
        char = chr(code)
        if char.lower() != char or char.upper() != char:
            found.setdefault(_folded(char), []).append(char)
    return {key: tuple(family) for key, family in found.items() if len(family) > 1}
