"""What a target says to a plan that it cannot express: a refusal with the reason, never an approximation."""

from __future__ import annotations

from sigmawatch.errors import SigmawatchError

__all__ = ["RenderRefused"]


class RenderRefused(SigmawatchError):
    """A target cannot express a plan. The message names the target and the reason, the hint what can."""

    def __init__(self, target: str, reason: str, *, hint: str = "") -> None:
        super().__init__(f"{target}: {reason}", hint=hint)
        self.target = target
        self.reason = reason
