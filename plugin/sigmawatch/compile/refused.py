"""What the compiler says of rules that it cannot compile exactly."""

from __future__ import annotations

from sigma.exceptions import SigmaFeatureNotSupportedByBackendError

__all__ = ["Refused"]


class Refused(SigmaFeatureNotSupportedByBackendError):
    """Something the rule asks for that has no exact counterpart; the message names it and the reason."""
