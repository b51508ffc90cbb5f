"""The limit on how many scripts a cluster compiles: each kind of script has a bucket that fills up again slowly.

The answer is 429 with a `circuit_breaking_exception` in OpenSearch (seen on 3.7.0); elsewhere the same reason may stand
inside another error. It names the rate: `max: [75/5m]` is 75 at once and then one each four seconds (`ScriptCache` and
`CompilationRateLimiter` of both products). `durability` is TRANSIENT where waiting helps.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sigmawatch.cluster import ResponseError
from sigmawatch.cluster.failures import TOO_MANY_COMPILATIONS

if TYPE_CHECKING:
    from sigmawatch.errors import ClusterError

__all__ = ["MOST_WAITING", "compilation_wait"]

MOST_WAITING = 600.0
"""Seconds that a deploy waits in a row, without any script being compiled meanwhile."""

_RATE = re.compile(r"max: \[(\d+)/(\d+)(ms|s|m|h|d)\]")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_UNTOLD = 10.0
"""Seconds to wait where the answer does not say how fast the limit passes."""


def compilation_wait(error: ClusterError) -> float | None:
    """Return after how many seconds the next script may be compiled, if that is what a write failed for.

    None for any other error, and where waiting does not help.
    """
    if not isinstance(error, ResponseError) or TOO_MANY_COMPILATIONS not in error.reason:
        return None
    if '"PERMANENT"' in str(error.body).replace("'", '"'):
        return None
    rate = _RATE.search(error.reason)
    if rate is None:
        return _UNTOLD
    count, period = int(rate[1]), int(rate[2]) * _SECONDS[rate[3]]
    return period / count if count else None
