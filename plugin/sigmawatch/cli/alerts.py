"""Alerts as a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from sigmawatch.alerts.document import get_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["alert_table"]

_STYLES = {"critical": "bold white on red", "high": "bold red", "medium": "yellow", "low": "cyan"}


def alert_table(alerts: Sequence[Mapping[str, Any]]) -> Table:
    """Return a table of alerts: rule, severity, who, when, why. Values are never read as markup."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Rule", "Severity", "Who", "When", "Why"):
        table.add_column(name, overflow="fold")
    for alert in sorted(alerts, key=lambda one: (-one["event"]["severity"], one["@timestamp"])):
        level = str(get_path(alert, "sigmawatch.level") or "")
        table.add_row(
            Text(str(get_path(alert, "rule.name") or "")),
            Text(f"{level} {alert['event']['severity']}", style=_STYLES.get(level, "")),
            Text(_who(alert)),
            Text(str(alert["@timestamp"])[:19].replace("T", " ")),
            Text(_why(alert)),
        )
    return table


def _who(alert: Mapping[str, Any]) -> str:
    source = get_path(alert, "source.ip") or get_path(alert, "source.address")
    destination = get_path(alert, "destination.ip")
    user = get_path(alert, "user.name")
    parts = [str(source)] if source else []
    if destination:
        parts.append(f"→ {destination}")
    if user:
        parts.append(f"as {user}")
    if not parts and get_path(alert, "sigmawatch.correlation") is not None:
        # Beside what every alert has, that of a correlation has the fields that it groups by.
        groups = [str(value) for key in alert if key not in _OF_ALERTS for value in _leaves(alert[key])]
        return ", ".join(groups) or "all events together"
    return " ".join(parts)


_OF_ALERTS = ("@timestamp", "ecs", "event", "related", "rule", "sigmawatch", "tags", "threat")


def _leaves(value: Any) -> Iterator[Any]:
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _leaves(inner)
    if not isinstance(value, dict | list):
        yield value


def _why(alert: Mapping[str, Any]) -> str:
    reason = get_path(alert, "event.reason")
    if reason:
        return str(reason)
    host = get_path(alert, "host.hostname") or get_path(alert, "host.name")
    return f"event on {host}" if host else "event"
