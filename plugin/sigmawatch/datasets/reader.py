"""Reading a description file piece by piece, so that every problem in it is found and told with its line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sigmawatch.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from sigmawatch.yamlfile import YamlDocument

__all__ = ["Reader"]


@dataclass(frozen=True)
class Reader:
    """One value in a YAML file: knows where it stands, and notes what is wrong with it instead of raising."""

    document: YamlDocument
    """The file."""
    data: Any
    """The value."""
    problems: list[Problem]
    """Where problems go; shared by all readers of a file."""
    keys: tuple[str | int, ...] = field(default=())
    """The way from the top of the file to the value."""
    code: str = "dataset"
    """Code of problems that have none of their own."""

    def problem(self, message: str, *, hint: str = "", code: str = "") -> None:
        """Note that something is wrong with this value."""
        line = self.document.line_of(*self.keys) if self.keys else self.document.start_line
        self.problems.append(Problem(message, self.document.path, line, hint, code=code or self.code))

    @property
    def name(self) -> str:
        """The key of this value, for messages."""
        return str(self.keys[-1]) if self.keys else "the file"

    def at(self, key: str | int) -> Reader:
        """Return the reader of a member, which must exist."""
        return Reader(self.document, self.data[key], self.problems, (*self.keys, key), self.code)

    def get(self, key: str) -> Reader | None:
        """Return the reader of a member, or None where there is none."""
        return self.at(key) if isinstance(self.data, dict) and key in self.data else None

    def is_mapping(self, known: Collection[str] | None = None) -> bool:
        """Check that this is a mapping with text keys, and (if given) with no other than the known ones."""
        if not isinstance(self.data, dict):
            self.problem(f"{self.name}: expected a mapping, found {_kind(self.data)}")
            return False
        for key in self.data:
            if not isinstance(key, str):
                self.problem(f"{self.name}: the key {key!r} must be a text", hint="put it in quotes")
                return False
            if known is not None and key not in known:
                self.at(key).problem(
                    f"unknown key {key!r}", hint=f"known here: {', '.join(sorted(known))}", code="unknown-key"
                )
        return True

    def items(self) -> Iterator[tuple[str, Reader]]:
        """Yield key and reader of every member of a mapping."""
        if self.is_mapping():
            for key in self.data:
                yield key, self.at(key)

    def elements(self) -> Iterator[Reader]:
        """Yield the reader of every element of a list; a single value counts as a list of one."""
        if isinstance(self.data, list):
            for index in range(len(self.data)):
                yield self.at(index)
        else:
            yield self

    def text(self, key: str, *, default: str | None = None) -> str:
        """Return a text member; without `default` it must be there."""
        member = self.get(key)
        if member is None:
            if default is None:
                self.problem(f"{key!r} is missing", code="missing-key")
            return default or ""
        return member.as_text()

    def as_text(self) -> str:
        """Return this value, which must be a text."""
        if not isinstance(self.data, str) or not self.data:
            self.problem(f"{self.name}: expected a text, found {_kind(self.data)}", hint="put it in quotes")
            return ""
        return self.data

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a member that is a text or a list of texts; empty where there is none."""
        member = self.get(key)
        return () if member is None else tuple(element.as_text() for element in member.elements())

    def flag(self, key: str) -> bool:
        """Return a boolean member, false where there is none."""
        member = self.get(key)
        if member is None:
            return False
        if not isinstance(member.data, bool):
            member.problem(f"{key}: expected true or false, found {_kind(member.data)}")
            return False
        return member.data

    def mapping(self, key: str) -> Mapping[str, Any]:
        """Return a mapping member with text keys, empty where there is none or it is none."""
        member = self.get(key)
        if member is None or not member.is_mapping():
            return {}
        data: Mapping[str, Any] = member.data
        return data


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return "a text" if value else "an empty text"
    return {dict: "a mapping", list: "a list", bool: "true/false", int: "a number"}.get(
        type(value), type(value).__name__
    )
