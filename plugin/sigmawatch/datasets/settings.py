"""What a site wants of a dataset: whether it is there at all, the options of its parsers, what is added to its events.

The values only; `config.datasets` reads them from `sigmawatch.yml` and says which dataset has which.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.derive import ENRICHMENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ENRICHMENTS", "DatasetSettings"]


@dataclass(frozen=True)
class DatasetSettings:
    """What a site wants of one dataset."""

    enabled: bool = True
    """Whether it is deployed."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of its parsers and derivations, as `build_pipeline` takes them."""
    enrich: Mapping[str, bool] = field(default_factory=dict)
    """Enrichments that are switched on or off; the others are as they are by default."""

    def build_options(self) -> Mapping[str, Any]:
        """Return what `build_pipeline` is to be given."""
        if not self.enrich:
            return self.options
        wanted = [name for name in ENRICHMENTS if self.enrich.get(name, True)]
        return {**self.options, "enrich": wanted}
