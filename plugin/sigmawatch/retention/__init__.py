"""How long events are kept, where, and how small.

values     what can be said about it
reading    from `sigmawatch.yml`, and from the presets in `presets.yml`
render     to a policy of ILM or ISM, or to a data stream's own lifecycle
artifacts  to what is deployed, for datasets, alerts and health notes
report     how long a cluster keeps what it holds
"""

from sigmawatch.retention.artifacts import Kept, choose_mechanism, kept, retention_artifacts
from sigmawatch.retention.reading import (
    PRESETS,
    merged_retention,
    merged_site_retention,
    read_retention,
    read_site_retention,
)
from sigmawatch.retention.values import (
    Archive,
    Mechanism,
    Retention,
    RetentionTuning,
    Rollover,
    SiteRetention,
)

__all__ = [
    "PRESETS",
    "Archive",
    "Kept",
    "Mechanism",
    "Retention",
    "RetentionTuning",
    "Rollover",
    "SiteRetention",
    "choose_mechanism",
    "kept",
    "merged_retention",
    "merged_site_retention",
    "read_retention",
    "read_site_retention",
    "retention_artifacts",
]
