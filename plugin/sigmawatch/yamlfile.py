"""YAML files with line numbers: fast to load, strict about duplicate keys, exact about where an error is."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from sigmawatch.errors import ContentError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["MAX_BYTES", "YamlDocument", "load", "load_all"]

MAX_BYTES = 10_000_000
"""Files beyond this are refused before parsing: no rule or dataset is near it, and YAML is easy to inflate."""

MAX_ALIASES = 100
"""Aliases allowed in one file; more is how a "billion laughs" document starts."""

_BASE: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _DuplicateKeyError(yaml.YAMLError):
    def __init__(self, key: object, line: int, first: int) -> None:
        super().__init__(f"duplicate key {key!r} (first on line {first})")
        self.line = line


class _Loader(_BASE):  # type: ignore[misc]  # the base is chosen at run time
    """The C loader where there is one (ten times the pure Python speed), refusing duplicate keys."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Build a mapping, refusing a key that stands twice."""
        seen: dict[object, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            try:
                if key in seen:
                    raise _DuplicateKeyError(key, line, seen[key])
                seen[key] = line
            except TypeError:
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a plain value", key_node.start_mark
                ) from None
        return super().construct_mapping(node, deep=deep)


# Sigma dates (`date: 2026-03-01`) stay the text that the author wrote; pySigma parses them itself.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _BASE.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class YamlDocument:
    """One YAML document of a file."""

    data: Any
    """What it says: mappings, lists, strings, numbers, booleans, None."""
    path: Path
    start_line: int = 1
    """The line its content begins on, from 1."""
    _source: bytes = field(default=b"", repr=False)
    _index: int = 0

    def line_of(self, *keys: str | int) -> int:
        """Return the line of the innermost of `keys` that exists (e.g. `"detection", "selection"`).

        Parses the file again unless a search for one key at the beginning of a line tells: only used when there
        is something to report.
        """
        if len(keys) == 1 and isinstance(keys[0], str):
            start = sum(map(len, self._source.splitlines(keepends=True)[: self.start_line - 1]))
            found = re.compile(rb"^%s[ \t]*:" % re.escape(keys[0].encode()), re.MULTILINE).search(
                self._source, start
            )
            if found is not None:
                return self._source.count(b"\n", 0, found.start()) + 1
        try:
            nodes = list(yaml.compose_all(self._source, Loader=_BASE))
        except yaml.YAMLError:
            return self.start_line
        node = nodes[self._index] if self._index < len(nodes) else None
        line = self.start_line
        for key in keys:
            if isinstance(node, yaml.MappingNode):
                for key_node, value_node in node.value:
                    if key_node.value == str(key):
                        line, node = key_node.start_mark.line + 1, value_node
                        break
                else:
                    return line
            elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
                node = node.value[key]
                line = node.start_mark.line + 1
            else:
                return line
        return line


def _guard(source: bytes, path: Path) -> None:
    aliases = 0
    for event in yaml.parse(source, Loader=_BASE):
        if isinstance(event, yaml.AliasEvent):
            aliases += 1
            if aliases > MAX_ALIASES:
                mark = event.start_mark
                line = mark.line + 1 if mark is not None else None
                raise ContentError(
                    [Problem(f"more than {MAX_ALIASES} YAML aliases", path, line, code="yaml-bomb")]
                )


def load_all(path: Path) -> list[YamlDocument]:
    """Load every document of a YAML file.

    Empty documents are left out. Raises ContentError with file and line when the file cannot be read,
    is not UTF-8, is not YAML, has a duplicate key, or is built to explode.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ContentError([Problem(f"cannot be read: {error.strerror}", path, code="unreadable")]) from error
    return parse_all(source, path)


def parse_all(source: bytes, path: Path) -> list[YamlDocument]:
    """As `load_all`, for a source that is already in memory; `path` is only used in messages."""
    if len(source) > MAX_BYTES:
        raise ContentError(
            [Problem(f"{len(source):,} bytes; the limit is {MAX_BYTES:,}", path, 1, code="too-large")]
        )
    try:
        aliases = b"&" in source and b"*" in source
        if aliases:
            _guard(source, path)
        return list(_documents(source, path, aliases=aliases))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        what = error.problem or error.context or "cannot be parsed"
        raise ContentError([Problem(f"not valid YAML: {what}", path, line, code="yaml")]) from error
    except _DuplicateKeyError as error:
        raise ContentError(
            [
                Problem(
                    str(error),
                    path,
                    error.line,
                    "YAML keeps only the last; rename or merge them",
                    code="duplicate-key",
                )
            ]
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        # Bytes that are no text; the messages of both say so on two lines, and in which byte.
        raise ContentError(
            [Problem(f"not valid YAML: {' '.join(str(error).split())}", path, 1, code="yaml")]
        ) from error
    except RecursionError as error:
        raise ContentError([Problem("nested too deeply", path, code="yaml-bomb")]) from error
    except ValueError as error:
        raise ContentError([Problem(f"not valid YAML: {error}", path, code="yaml")]) from error


class _NotPlainError(Exception):
    """A document has more in it than texts, lists, and mappings whose keys are texts, each of them once."""


def _plain(loader: Any, node: yaml.Node) -> Any:
    """Return what a node says, as the loader would, for documents without aliases. Raises _NotPlainError.

    The loader builds every value twice, to be ready for aliases; that is a third of the time that rules take to load.
    """
    if node.tag == "tag:yaml.org,2002:str" and isinstance(node, yaml.ScalarNode):
        return node.value
    if node.tag == "tag:yaml.org,2002:map" and isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag != "tag:yaml.org,2002:str" or not isinstance(key, yaml.ScalarNode):
                raise _NotPlainError
            found[key.value] = _plain(loader, value)
        if len(found) != len(node.value):
            raise _NotPlainError
        return found
    if node.tag == "tag:yaml.org,2002:seq" and isinstance(node, yaml.SequenceNode):
        return [_plain(loader, each) for each in node.value]
    return loader.construct_object(node, deep=True)


def _documents(source: bytes, path: Path, *, aliases: bool) -> Iterator[YamlDocument]:
    loader = _Loader(source)
    try:
        index = 0
        while loader.check_node():
            node = loader.get_node()
            try:
                if aliases:
                    raise _NotPlainError  # noqa: TRY301 - the other way to read a document is the same
                data = _plain(loader, node)
            except _NotPlainError:
                data = loader.construct_document(node)
            if data is not None:
                yield YamlDocument(data, path, node.start_mark.line + 1, source, index)
            index += 1
    finally:
        loader.dispose()


def load(path: Path) -> YamlDocument:
    """Load a file that must hold exactly one YAML mapping. Raises ContentError as `load_all` does."""
    documents = load_all(path)
    if len(documents) != 1:
        found = "is empty" if not documents else f"holds {len(documents)} documents"
        raise ContentError([Problem(f"{found}, expected one", path, 1, code="yaml")])
    document = documents[0]
    if not isinstance(document.data, dict):
        kind = type(document.data).__name__
        raise ContentError(
            [Problem(f"expected a mapping, found {kind}", path, document.start_line, code="yaml")]
        )
    return document
