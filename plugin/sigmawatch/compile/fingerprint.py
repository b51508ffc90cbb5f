"""What plans depend on besides the rules, as digests: the code that reads and compiles them, and the context."""

from __future__ import annotations

import hashlib
import os
import sys
import unicodedata
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sigmawatch.compile.context import CompileContext

__all__ = ["code_digest", "code_files", "context_digest", "digest"]

_LIBRARIES = ("sigma.types", "yaml", "pyparsing")
"""A module in each of the packages that rules are read with."""

_SUFFIXES = (".py", ".yml")


def digest(parts: Iterable[bytes]) -> bytes:
    """Return a digest of a sequence of texts, each told from the next."""
    found = hashlib.blake2b(digest_size=20)
    for part in parts:
        found.update(len(part).to_bytes(8, "big"))
        found.update(part)
    return found.digest()


def _below(folder: Path, *, deep: bool) -> Iterator[str]:
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        if entry.is_dir():
            if deep and entry.name != "__pycache__":
                yield from _below(Path(entry.path), deep=True)
        elif entry.name.endswith(_SUFFIXES):
            yield entry.path


def code_files() -> list[str]:
    """Return all files whose content decides about what a rule compiles to."""
    own = Path(__file__).parents[1]
    found = [*_below(own, deep=False), *_below(own / "compile", deep=True), *_below(own / "pack", deep=True)]
    for name in _LIBRARIES:
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            found += _below(Path(spec.origin).parent, deep=True)
    return found


@cache
def code_digest() -> bytes:
    """Return a digest of that code.

    Its content rather than versions and times: code under development changes without a new version, and a fresh
    installation of the same, as in CI, has new times. Reading it takes 3 ms.
    """
    parts = [sys.version.encode(), unicodedata.unidata_version.encode()]
    for name in code_files():
        parts += [os.fsencode(Path(name).name), Path(name).read_bytes()]
    return digest(parts)


def context_digest(context: CompileContext) -> bytes | None:
    """Return a digest of a context, None for one that has none (processing pipelines are code of the user's)."""
    if context.pipelines:
        return None
    # In the order in which they are given: of datasets that disagree about a field, the last one decides.
    said = [
        [
            [
                binding.dataset,
                binding.indices,
                dict(binding.logsource),
                {name: list(values) for name, values in binding.where.items()},
            ]
            for binding in context.bindings
        ],
        {name: dict(fields) for name, fields in context.datasets.items()},
        dict(context.overrides),
        context.default_indices,
        list(context.keyword_fields),
        {name: list(fields) for name, fields in sorted(context.without_message.items())},
        {name: list(values) for name, values in context.placeholders.items()},
    ]
    try:
        return digest([orjson.dumps(said)])
    except TypeError:
        # E.g. a placeholder with a number beyond 64 bits. Not worth a second way to spell it.
        return None
