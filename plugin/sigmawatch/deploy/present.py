"""Plans and releases for people: one line per change, the difference below it, the counts at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from sigmawatch.deploy.plan import Action
from sigmawatch.deploy.releases import ReleaseState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from sigmawatch.artifact import ArtifactKey
    from sigmawatch.deploy.journal import Account
    from sigmawatch.deploy.plan import Change, Plan
    from sigmawatch.deploy.releases import Release
    from sigmawatch.run.history import History

__all__ = [
    "difference_lines",
    "release_line",
    "render_cut_off",
    "render_history",
    "render_plan",
    "render_release",
    "render_releases",
]

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
_MAX_DIFF = 40


def render_plan(plan: Plan, *, full: bool = False) -> RenderableType:
    """Return a plan to print with rich. `full`: long differences and new bodies are not cut."""
    return Group(*_lines(plan, full))


def _lines(plan: Plan, full: bool) -> Iterator[Text]:
    yield Text(f"Pack {plan.pack} against {plan.cluster}")
    for change in plan.changes:
        if change.action is Action.UNCHANGED and change.artifact is not None:
            continue
        sign, word, style = _SIGNS[change.action]
        line = Text(f"{sign} {word} {change.key}", style=style)
        if change.artifact is not None and change.artifact.stage == "shadow":
            line.append(" [shadow]", style="cyan")
        if change.title:
            line.append(f"  {change.title}", style="bold")
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
    lines = difference_lines(change.diff)
    shown = lines if full else lines[:_MAX_DIFF]
    yield from shown
    if len(shown) < len(lines):
        yield Text(f"    … {len(lines) - len(shown):,} more lines (plan --format json has all)", style="dim")


def difference_lines(diff: str) -> list[Text]:
    """Return a unified diff to print, a line each."""
    return [_difference_line(line) for line in diff.splitlines()]


def _difference_line(line: str) -> Text:
    return Text(f"    {line}", style={"+": "green", "-": "red", "@": "cyan"}.get(line[:1], ""))


_NOISIEST = 20
"""Rules of a history that are shown; the others are in `--format json`."""


def render_history(history: History) -> RenderableType:
    """Return what rules would have raised as a table, the noisiest first."""
    if not history.rules:
        return Text("History: no rule is new or changed.")
    days = f"{history.days:.1f} days" if history.days else "no days"
    lines: list[RenderableType] = [
        Text(
            f"History: {history.total:,.1f} alerts a day, of {days} with events"
            + (f" ({history.asked:g} asked for)" if history.days < history.asked - 0.1 else ""),
            style="bold",
        )
    ]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("A day", justify="right")
    table.add_column("In all", justify="right")
    table.add_column("Rule", overflow="fold")
    table.add_column("", overflow="fold")
    shown = [one for one in history.rules if one.alerts or one.problem][:_NOISIEST]
    for one in shown:
        table.add_row(
            f"{history.per_day(one):,.1f}",
            f"{one.alerts:,}",
            Text(one.title or one.rule_id),
            Text(one.problem, style="yellow"),
        )
    left = len(history.rules) - len(shown)
    silent = all(not one.alerts and not one.problem for one in history.rules if one not in shown)
    lines += [table] if shown else []
    if left:
        lines.append(Text(f"{left:,} more with {'no alert' if silent else 'no more alerts than these'}"))
    return Group(*lines)


def release_line(release: Release) -> str:
    """Return a release in one line: number, when, by whom, from which revision."""
    origin = release.origin
    parts = [f"release {release.number}", _moment(release.created)]
    if not release.is_complete:
        parts.append(_STATES[release.state])
    if origin.by:
        parts.append(f"by {origin.by}")
    if origin.revision:
        parts.append(f"revision {_revision(release)}")
    if origin.target:
        parts.append(f"target {origin.target}")
    return ", ".join(parts)


def render_releases(releases: Sequence[Release]) -> RenderableType:
    """Return releases as a table. What people wrote is never read as markup."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("No.", justify="right")
    for name in ("Pack", "When", "State", "Revision", "What changed", "By", "Why"):
        table.add_column(name, overflow="fold")
    for one in releases:
        table.add_row(
            str(one.number),
            Text(one.pack),
            Text(_moment(one.created)),
            Text(_STATES[one.state], style="green" if one.is_complete else "yellow"),
            Text(_revision(one)),
            Text(_what(one)),
            Text(one.origin.by),
            Text(one.origin.message),
        )
    return table


_CUT_OFF = {"": "was cut off", "interrupted": "was interrupted", "incomplete": "is not complete"}


def render_cut_off(account: Account, most: int = 20) -> RenderableType:
    """Return what this machine's journal says of a deploy that did not come to its end, and what to do about it."""
    what = "A deploy" if account.release is None else f"Release {account.release}"
    head = f"{what} of pack {account.pack} from this machine {_CUT_OFF.get(account.ended, account.ended)}"
    lines = [
        Text(head, style="bold yellow"),
        Text(f"  begun {_moment(account.begun)}, last noted {_moment(account.last)}, by {account.by}"),
        Text(
            f"  {len(account.written)} written, {len(account.in_flight)} in flight (the cluster may have them or "
            f"not), {len(account.refused)} refused, {len(account.not_begun)} not begun"
        ),
    ]
    told = [
        *(("?", "in flight", key, "") for key in account.in_flight),
        *(("x", "refused", key, f"  ({why})") for key, why in account.refused),
        *(("-", "not begun", key, "") for key in account.not_begun),
    ]
    lines += [Text(f"  {sign} {word} {key}{why}") for sign, word, key, why in told[:most]]
    if len(told) > most:
        lines.append(Text(f"  … and {len(told) - most} more"))
    if account.damaged:
        lines.append(Text(f"  {account.damaged} lines of the journal cannot be read", style="yellow"))
    lines += [Text(f"  {account.next_step}"), Text(f"  Journal: {account.path}")]
    return Group(*lines)


def render_release(release: Release, differences: Mapping[ArtifactKey, str]) -> RenderableType:
    """Return one release with everything that it changed."""
    origin = release.origin
    lines = [Text(f"Release {release.number} of pack {release.pack}", style="bold")]
    told = {
        "when": _moment(release.created),
        "state": _STATES[release.state],
        "by": origin.by,
        "why": origin.message,
        "revision": f"{origin.revision}{' with changes not committed' if origin.modified else ''}",
        "environment": origin.environment,
        "target": origin.target,
        "namespace": origin.namespace,
        "restores": "" if release.restores is None else f"release {release.restores}",
        "sigmawatch": release.version,
        "engine": release.engine,
        "artifacts": str(len(release.artifacts)),
    }
    lines += [Text(f"  {name:<12}{value}") for name, value in told.items() if value]
    failures = dict(release.failures)
    for action, key in release.changes:
        sign, word, style = _SIGNS[Action(action)]
        lines.append(Text(f"{sign} {word} {key}", style=style))
        if key in failures:
            lines.append(Text(f"    failed: {failures[key]}", style="bold red"))
    shown = {key for _, key in release.changes}
    lines += [
        Text(f"x {key} failed: {why}", style="bold red") for key, why in failures.items() if key not in shown
    ]
    if not release.changes:
        lines.append(Text("Nothing in the cluster was changed."))
    for key, text in differences.items():
        lines.append(Text(f"{key}", style="bold"))
        lines += difference_lines(text)
    return Group(*lines)


_STATES = {
    ReleaseState.BEGUN: "not finished",
    ReleaseState.COMPLETE: "complete",
    ReleaseState.INCOMPLETE: "incomplete",
}


def _moment(text: str) -> str:
    return text[:19].replace("T", " ")


def _revision(release: Release) -> str:
    origin = release.origin
    return f"{origin.revision[:12]}{'+changes' if origin.modified else ''}"


def _what(release: Release) -> str:
    counts = ", ".join(f"{count} {action}" for action, count in release.counts.items()) or "nothing"
    if release.removal:
        return f"removed: {counts}"
    return counts if release.restores is None else f"back to {release.restores}: {counts}"
