"""What a site wants of a dataset: whether it is there at all, the options of its parsers, what is added to its events.

The values only; `config.datasets` reads them from `sigmawatch.yml` and says which dataset has which.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.derive import ENRICHMENTS
from sigmawatch.datasets.privacy import Privacy

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sigmawatch.retention.values import RetentionTuning

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
    privacy: Privacy = Privacy()  # noqa: RUF009  # immutable
    """What is hidden in its events."""

    retention: RetentionTuning | None = None
    """How long its events are kept, where that is not as the whole site has it."""
    template: Mapping[str, Any] = field(default_factory=dict)
    """What its indices get besides mappings and pipeline, as the `template` of a component template."""

    def makes(self, enrichment: str) -> bool:
        """Return whether an enrichment is wanted."""
        return self.enrich.get(enrichment, ENRICHMENTS[enrichment])

    def build_options(self, *, without: Collection[str] = ()) -> Mapping[str, Any]:
        """Return what `build_pipeline` is to be given. `without`: enrichments that an engine cannot make."""
        if self.privacy.addresses != "none":
            # A hash of addresses that nobody has a key of: four billion of them are soon tried out.
            without = {*without, "community_id"}
        if not self.enrich and not without:
            return self.options
        made = [name for name in ENRICHMENTS if self.makes(name) and name not in without]
        return {**self.options, "enrich": made}
