"""Placeholders of Sigma's `expand`, replaced by what the configuration says."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING

from sigma.types import Placeholder, SigmaString

from sigmawatch.compile.leaves import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["expanded"]

MAX_VALUES = 10_000
"""Values that one value of a rule may become."""


def expanded(
    value: SigmaString, placeholders: Mapping[str, Sequence[str]], *, raw: bool = False
) -> list[SigmaString]:
    """Return the values that a value with placeholders stands for; they are alternatives, also under `all`.

    A placeholder's values are read as a rule's are: `*` and `?` are wildcards (`raw`: parts of a regular expression,
    in which a backslash is left as it is). Raises Refused, with what to do,
    for a placeholder that is not defined.
    """
    names = [part.name for part in value.s if isinstance(part, Placeholder)]
    if not names:
        return [value]
    for name in names:
        if name not in placeholders:
            raise Refused(
                f"placeholder %{name}% is not defined; give its values under `placeholders: {name}:` in the "
                f"configuration, or replace it in a processing pipeline"
            )
    choices = [[SigmaString(str(each), escape=not raw).s for each in placeholders[name]] for name in names]
    if prod(map(len, choices)) > MAX_VALUES:
        raise Refused(f"placeholders {', '.join(names)} make more than {MAX_VALUES} values out of one")
    found = []
    for choice in product(*choices):
        chosen = iter(choice)
        made = type(value)()
        made.s = [
            piece for part in value.s for piece in (next(chosen) if isinstance(part, Placeholder) else [part])
        ]
        found.append(made)
    return found
