"""A plan for people: one line per change, the difference below it, the counts at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from sigmawatch.deploy.plan import Action

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from sigmawatch.deploy.plan import Change, Plan

__all__ = ["render_plan"]

_SIGNS = {
    Action.CREATE: ("+", "create", "green"),
    Action.UPDATE: ("~", "update", "yellow"),
    Action.DRIFTED: ("!", "restore", "magenta"),
    Action.ADOPT: ("&", "adopt", "cyan"),
    Action.RECORD: ("=", "record", "dim"),
    Action.DELETE: ("-", "delete", "red"),
    Action.CONFLICT: ("x", "refuse", "bold red"),
    Action.UNCHANGED: (" ", "keep", "dim"),
}
_WITH_DIFF = frozenset({Action.UPDATE, Action.DRIFTED, Action.ADOPT, Action.CONFLICT})
_MAX_DIFF = 80


def render_plan(plan: Plan, *, full: bool = False) -> RenderableType:
    """Return a plan to print with rich. `full`: long differences and new bodies are not cut."""
    return Group(*_lines(plan, full))


def _lines(plan: Plan, full: bool) -> Iterator[Text]:
    yield Text(f"Pack {plan.pack} against {plan.cluster}")
    for change in plan.changes:
        if change.action is Action.UNCHANGED and not change.reason.startswith("no longer"):
            continue
        sign, word, style = _SIGNS[change.action]
        line = Text(f"{sign} {word} {change.key}", style=style)
        if change.reason:
            line.append(f"  ({change.reason})")
        yield line
        yield from _difference(change, full)
    for note in plan.notes:
        yield Text(f"Note: {note}", style="yellow")
    for refusal in plan.refusals:
        yield Text(f"Refused: {refusal.message}", style="bold red")
        yield Text(f"  {refusal.hint}")
    yield Text(f"Plan: {plan.summary}.", style="bold")


def _difference(change: Change, full: bool) -> Iterator[Text]:
    if change.action not in _WITH_DIFF and not (full and change.action is Action.CREATE):
        return
    lines = change.diff.splitlines()
    shown = lines if full else lines[:_MAX_DIFF]
    for line in shown:
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
        yield Text(f"    {line}", style=style)
    if len(shown) < len(lines):
        yield Text(f"    … {len(lines) - len(shown)} more lines", style="dim")
