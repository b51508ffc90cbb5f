"""What most kinds of parser have in common: nothing beyond raw values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.datasets.mapping import FieldMapping

__all__ = ["Plain"]


class Plain:
    """Base of parsers. Each overrides what it does have of `Parser`."""

    @property
    def options(self) -> Sequence[str]:
        """None."""
        return ()

    @property
    def mappings(self) -> Sequence[FieldMapping]:
        """None."""
        return ()

    @property
    def emits(self) -> Mapping[str, Any]:
        """No field by itself."""
        return {}

    @property
    def drops(self) -> bool:
        """Every line is an event."""
        return False

    def declared_format(self, line: str) -> str | None:  # noqa: ARG002  # the protocol's signature
        """No line declares a format."""
        return None
