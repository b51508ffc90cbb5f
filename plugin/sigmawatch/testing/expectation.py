"""Compares the alerts of a test with what was expected of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sigmawatch.alerts.document import get_path

if TYPE_CHECKING:
    from sigmawatch.testing.testfile import Expectation

__all__ = ["contains", "spell", "verdict"]


def spell(expected: Expectation) -> Any:
    """Return an expectation as JSON data."""
    return [dict(item) for item in expected] if isinstance(expected, tuple) else expected


def verdict(expected: Expectation, alerts: Sequence[Mapping[str, Any]]) -> str:
    """Return what is wrong with the alerts, empty when nothing is."""
    count = len(alerts)
    if expected == "some":
        return "" if count else "expected some alerts, got none"
    wanted = 0 if expected == "none" else expected
    if isinstance(wanted, int):
        return "" if count == wanted else f"expected {_plural(wanted)}, got {count}"
    assert isinstance(wanted, tuple)
    if count != len(wanted):
        return f"expected {_plural(len(wanted))}, got {count}"
    unmatched = _unmatched(wanted, alerts)
    return f"no alert contains {dict(unmatched)}" if unmatched is not None else ""


def _plural(count: int) -> str:
    return f"{count} alert{'s' if count != 1 else ''}"


def _unmatched(
    wanted: Sequence[Mapping[str, Any]], alerts: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """Give each expectation an alert of its own; return one that is left without."""
    taken: dict[int, int] = {}

    def place(number: int, tried: set[int]) -> bool:
        for index, alert in enumerate(alerts):
            if index not in tried and contains(alert, wanted[number]):
                tried.add(index)
                if index not in taken or place(taken[index], tried):
                    taken[index] = number
                    return True
        return False

    for number in range(len(wanted)):
        if not place(number, set()):
            return wanted[number]
    return None


def contains(alert: Mapping[str, Any], expected: Mapping[str, Any], prefix: str = "") -> bool:
    """Whether an alert has every field of `expected`, which may be dotted or nested, with its value."""
    for key, value in expected.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            if not contains(alert, value, f"{path}."):
                return False
            continue
        actual = get_path(alert, path)
        if actual is None:
            actual = get_path(alert, f"sigmawatch.fields.{path}")
        if not _equal(actual, value):
            return False
    return True


def _equal(actual: Any, expected: Any) -> bool:
    if isinstance(expected, list):
        if not isinstance(actual, list):
            return len(expected) == 1 and _equal(actual, expected[0])
        return sorted(map(str, actual)) == sorted(map(str, expected))
    if isinstance(actual, list):
        return any(_equal(one, expected) for one in actual)
    return bool(actual == expected) or (actual is not None and str(actual) == str(expected))
