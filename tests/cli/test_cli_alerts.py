"""Alerts as people see them."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from sigmawatch.cli.alerts import alert_table

ALERT: dict[str, Any] = {
    "@timestamp": "2026-03-01T10:00:00.000Z",
    "ecs": {"version": "8.17.0"},
    "event": {"kind": "alert", "severity": 47},
    "rule": {"name": "A rule"},
    "related": {"hosts": ["dc1"]},
}
CORRELATION = {"sigmawatch": {"level": "medium", "correlation": {"type": "temporal"}}}


@pytest.mark.parametrize(
    ("fields", "who"),
    [
        ({"source": {"ip": "203.0.113.9"}, "user": {"name": "anna"}}, "203.0.113.9 as anna"),
        ({**CORRELATION, "winlog": {"computer_name": "dc1.example.com"}}, "dc1.example.com"),
        ({**CORRELATION, "a": {"b": ["x", "y"]}, "host": {"name": "dc1"}}, "x, y, dc1"),
        (CORRELATION, "all events together"),
        ({"dns": {"question": {"name": "example.com"}}}, ""),
    ],
    ids=["an address", "a group", "groups", "no groups", "an event"],
)
def test_an_alert_says_who_it_is_about(fields: dict[str, Any], who: str) -> None:
    console = Console(width=200)
    with console.capture() as shown:
        console.print(alert_table([{**ALERT, **fields}]))
    header, row = shown.get().splitlines()
    assert row[header.index("Who") : header.index("When")].strip() == who
