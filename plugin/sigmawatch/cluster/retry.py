"""When a request is sent again, and how long to wait before."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["RETRIED_STATUSES", "RetryPolicy", "is_idempotent", "retry_after_seconds"]

RETRIED_STATUSES = frozenset({429, 502, 503, 504})
"""Too many requests (also a tripped circuit breaker), and what proxies and starting clusters answer."""

_READING_POST = re.compile(
    r"/_(search|msearch|count|mget|field_caps|validate/query|simulate|refresh|query/watches|"
    r"index_template/_simulate(/[^/]+)?|has_privileges|analyze|explain/[^/]+|eql/search|terms_enum)$"
)


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with full jitter: many clients that failed together do not come back together."""

    attempts: int = 6
    """Requests at most, the first included."""
    base: float = 0.3
    """Seconds that the first wait may take; doubled for each one after."""
    cap: float = 10.0
    """Seconds that no wait exceeds, unless the server asks for more."""
    longest_retry_after: float = 60.0
    """Seconds up to which a server's Retry-After is honoured; beyond that the error is reported at once."""

    def wait(self, failures: int) -> float:
        """Return seconds to wait after so many failures in a row (from 1)."""
        limit = min(self.cap, self.base * 2.0 ** (failures - 1))
        # At least half of it: jitter is to spread clients, not to make one hurry.
        share: float = random.uniform(0.5, 1.0)  # noqa: S311  # spreading load, no secret
        return limit * share


def is_idempotent(method: str, path: str) -> bool:
    """Return whether sending the request twice does the same as once, as far as method and path tell.

    POST only where it reads. `_bulk` depends on its lines: its sender has to say.
    """
    if method == "POST":
        return _READING_POST.search(path) is not None
    return method in {"GET", "HEAD", "PUT", "DELETE"}


def retry_after_seconds(header: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, as number or date (RFC 9110, 10.2.3)."""
    if not header:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
