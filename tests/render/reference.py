"""What correlations mean, told as plainly as possible: the judge of the window script, and independent of it.

Everything is looked at anew for every event; nothing is remembered between windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

from sigmawatch.compile.plan import Correlation, CorrelationNode

Firing = tuple[int, int, float]
"""Time, start of the window, value."""


@dataclass(frozen=True)
class Event:
    """An event as a correlation sees it."""

    time: int
    rules: frozenset[int]
    """Base queries that it matches."""
    values: tuple[tuple[Any, ...], ...]
    """Its values of each collected field."""


@dataclass(frozen=True)
class _Occurrence:
    time: int
    start: int
    inputs: frozenset[int]
    event: Event | None


def firings(node: CorrelationNode, events: Sequence[Event]) -> list[Firing]:
    """Return each moment at which the window that ends there meets the node's condition."""
    occurrences = _occurrences(node, events)
    found = []
    for time in sorted({one.time for one in occurrences}):
        window = [one for one in occurrences if time - node.timespan < one.time <= time]
        firing = (
            _ordered(node, window, time) if node.type == "temporal_ordered" else _measured(node, window, time)
        )
        if firing is not None:
            found.append(firing)
    return found


def _occurrences(node: CorrelationNode, events: Sequence[Event]) -> list[_Occurrence]:
    found = []
    for event in events:
        inputs = {
            position
            for position, item in enumerate(node.inputs)
            if not isinstance(item, CorrelationNode) and item in event.rules
        }
        if inputs:
            found.append(_Occurrence(event.time, event.time, frozenset(inputs), event))
    for position, item in enumerate(node.inputs):
        if isinstance(item, CorrelationNode):
            for group in _groups(item, events).values():
                found += [
                    _Occurrence(time, start, frozenset({position}), None)
                    for time, start, _ in firings(item, group)
                ]
    return found


def _groups(node: CorrelationNode, events: Sequence[Event]) -> Mapping[tuple[Any, ...], list[Event]]:
    groups: dict[tuple[Any, ...], list[Event]] = {}
    for event in events:
        for key in product(*(event.values[slot] for slot in node.by)):
            groups.setdefault(key, []).append(event)
    return groups


def _measured(node: CorrelationNode, window: Sequence[_Occurrence], time: int) -> Firing | None:
    values = [
        value
        for one in window
        if one.event is not None and node.values
        for value in one.event.values[node.values[0]]
    ]
    present: frozenset[int] = frozenset().union(*(one.inputs for one in window))
    if node.expression is not None:
        return (time, -1, float(len(present))) if _expressed(node.expression, present) else None
    match node.type:
        case "event_count":
            value = float(len(window))
        case "value_count":
            combinations = (
                product(*(one.event.values[slot] for slot in node.values)) for one in window if one.event
            )
            value = float(len({combination for event in combinations for combination in event}))
        case "value_sum":
            value = float(sum(values))
        case "value_avg":
            if not values:
                return None
            value = sum(values) / len(values)
        case "value_median" | "value_percentile":
            if not values:
                return None
            value = _percentile(sorted(values), node.percentile)
        case "temporal":
            value = float(len(present))
        case other:
            raise AssertionError(other)
    compare = {
        "gte": value.__ge__,
        "gt": value.__gt__,
        "lte": value.__le__,
        "lt": value.__lt__,
        "eq": value.__eq__,
        "neq": value.__ne__,
    }
    if not all(compare[operator](bound) for operator, bound in node.condition.items()):
        return None
    first = min(window, key=lambda one: one.time)
    return time, min(one.start for one in window if one.time == first.time), value


def _percentile(values: Sequence[float], percent: float) -> float:
    """Linear interpolation between the closest ranks (method 7 of Hyndman and Fan)."""
    position = Fraction(percent) / 100 * (len(values) - 1)
    low = int(position)
    high = min(low + 1, len(values) - 1)
    return float(values[low] + (position - low) * (values[high] - values[low]))


def _expressed(expression: Mapping[str, Any], present: frozenset[int]) -> bool:
    ((key, value),) = expression.items()
    if key == "input":
        return value in present
    if key == "not":
        return not _expressed(value, present)
    parts = [_expressed(each, present) for each in value]
    return all(parts) if key == "and" else any(parts)


def _ordered(node: CorrelationNode, window: Sequence[_Occurrence], time: int) -> Firing | None:
    """Whether each input has an occurrence of its own, none before its predecessor's, the last one at `time`."""

    def search(position: int, until: int, used: frozenset[int]) -> bool:
        if position < 0:
            return True
        return any(
            position in one.inputs
            and one.time <= until
            and id(one) not in used
            and (position < len(node.inputs) - 1 or one.time == time)
            and search(position - 1, one.time, used | {id(one)})
            for one in window
        )

    return (time, -1, float(len(node.inputs))) if search(len(node.inputs) - 1, time, frozenset()) else None


def bursts(correlation: Correlation, events: Sequence[Event]) -> list[tuple[int, int, int, float]]:
    """Return runs of firings less than a timespan apart: first firing, start, last firing, largest value."""
    found: list[list[Any]] = []
    for time, start, value in firings(correlation.root, events):
        if found and time - found[-1][2] < correlation.root.timespan:
            found[-1][2] = time
            found[-1][3] = max(found[-1][3], value)
        else:
            found.append([time, start, time, value])
    return [tuple(burst) for burst in found]
