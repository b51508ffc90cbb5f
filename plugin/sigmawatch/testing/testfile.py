"""Reads rule tests (`NAME.test.yml`, design section 8) and spells out their repetitions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sigmawatch import yamlfile
from sigmawatch.errors import ContentError, Problem

if TYPE_CHECKING:
    from pathlib import Path

    from sigmawatch.yamlfile import YamlDocument

__all__ = ["Case", "Expectation", "Logs", "RuleTestFile", "load_test_file", "parse_moment"]

MAX_REPEAT = 100_000

_FILE_KEYS = {"rule", "mapping", "pipelines", "tests"}
_CASE_KEYS = {"name", "logs", "events", "alerts", "at"}

_COUNTER = re.compile(r"\{(-?[0-9]+)\+i(?:\*(-?[0-9]+))?\}")
_CLOCK = re.compile(
    r"\{([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|[+-][0-9]{2}:?[0-9]{2}))\+i\*([0-9]+(?:\.[0-9]+)?)s\}"
)

Expectation = int | str | tuple[Mapping[str, Any], ...]
"""A number of alerts, `some`, `none`, or what each alert must contain."""


@dataclass(frozen=True)
class Logs:
    """Raw lines of one dataset."""

    dataset: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """One test: what happens, and the alerts that must follow."""

    name: str
    line: int
    """Where it stands in the file."""
    logs: tuple[Logs, ...]
    events: tuple[Mapping[str, Any], ...]
    """ECS documents, with dotted or nested names."""
    alerts: Expectation
    at: int | None = None
    """Evaluate once, the window ending here (epoch milliseconds); else as the schedule would."""


@dataclass(frozen=True)
class RuleTestFile:
    """All tests of one file."""

    path: Path
    rules: tuple[Path, ...]
    mapping: Mapping[str, str]
    """Mapping types of fields that are not ECS."""
    pipelines: tuple[Path, ...]
    cases: tuple[Case, ...]


def parse_moment(value: Any) -> int:
    """Return epoch milliseconds of an ISO 8601 time (UTC where it names no zone) or of such a number.

    Raises ValueError for anything else.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, str):
        moment = datetime.fromisoformat(value)
    else:
        raise ValueError(f"{value!r} is no time")  # noqa: TRY004 (one error for whatever is no time)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))


class _Reader:
    """Reads one document, collecting every problem."""

    def __init__(self, document: YamlDocument) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def problem(self, message: str, *keys: str | int, hint: str = "") -> None:
        line = self.document.line_of(*keys)
        self.problems.append(Problem(message, self.document.path, line, hint, code="rule-test"))

    def unknown(self, data: Mapping[str, Any], known: set[str], *keys: str | int) -> None:
        for key in data:
            if key not in known:
                self.problem(f"unknown key {key}", *keys, str(key), hint=f"known: {', '.join(sorted(known))}")

    def paths(self, value: Any, key: str) -> tuple[Path, ...]:
        names = value if isinstance(value, list) else [value]
        found = []
        for name in names:
            path = self.document.path.parent / str(name)
            if not path.is_file():
                self.problem(f"{name} does not exist beside the test", key)
            found.append(path)
        return tuple(found)

    def case(self, data: Any, number: int) -> Case | None:
        where: tuple[str | int, ...] = ("tests", number)
        if not isinstance(data, dict):
            self.problem("a test is a mapping", *where)
            return None
        before = len(self.problems)
        self.unknown(data, _CASE_KEYS, *where)
        if ("logs" in data) == ("events" in data):
            self.problem("a test has either logs: or events:", *where)
        logs = tuple(self.logs(data["logs"], where)) if "logs" in data else ()
        events = tuple(self.events(data["events"], where)) if "events" in data else ()
        alerts = self.alerts(data.get("alerts"), where)
        at = None
        if data.get("at") is not None:
            try:
                at = parse_moment(data["at"])
            except ValueError:
                self.problem(f"at: {data['at']!r} is no ISO 8601 time", *where, "at")
        name = str(data.get("name") or f"test {number + 1}")
        if len(self.problems) > before:
            return None
        return Case(name, self.document.line_of(*where), logs, events, alerts, at)

    def logs(self, data: Any, where: tuple[str | int, ...]) -> Iterator[Logs]:
        for entry in data if isinstance(data, list) else [data]:
            if not isinstance(entry, dict) or set(entry) != {"dataset", "lines"}:
                self.problem("logs: has dataset: and lines:", *where, "logs")
                continue
            if not isinstance(entry["lines"], list):
                self.problem("lines: is a list", *where, "logs", "lines")
                continue
            lines: list[str] = []
            for item in entry["lines"]:
                lines += [str(line) for line in self.repeated(item, "line", *where, "logs")]
            yield Logs(str(entry["dataset"]), tuple(lines))

    def events(self, data: Any, where: tuple[str | int, ...]) -> Iterator[Mapping[str, Any]]:
        if not isinstance(data, list):
            self.problem("events: is a list", *where, "events")
            return
        for item in data:
            for event in self.repeated(item, "event", *where, "events"):
                if isinstance(event, dict):
                    yield event
                else:
                    self.problem("an event is a mapping", *where, "events")

    def repeated(self, item: Any, key: str, *where: str | int) -> Iterator[Any]:
        if not (isinstance(item, dict) and set(item) == {"repeat", key}):
            yield item
            return
        times = item["repeat"]
        if not isinstance(times, int) or isinstance(times, bool) or not 0 <= times <= MAX_REPEAT:
            self.problem(f"repeat: is a number up to {MAX_REPEAT:,}", *where)
            return
        for number in range(times):
            yield _spelled(item[key], number)

    def alerts(self, value: Any, where: tuple[str | int, ...]) -> Expectation:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        if value in ("some", "none"):
            return str(value)
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            return tuple(value)
        self.problem("alerts: is a number, some, none, or a list of what each contains", *where, "alerts")
        return "none"


def _spelled(value: Any, number: int) -> Any:
    """Return a value with `{100+i}`, `{100+i*2}` and `{2026-03-01T10:00:00Z+i*2s}` replaced."""
    if isinstance(value, dict):
        return {key: _spelled(inner, number) for key, inner in value.items()}
    if isinstance(value, list):
        return [_spelled(inner, number) for inner in value]
    if not isinstance(value, str):
        return value
    whole = _COUNTER.fullmatch(value)
    if whole is not None:
        return int(whole[1]) + number * int(whole[2] or 1)
    text = _COUNTER.sub(lambda found: str(int(found[1]) + number * int(found[2] or 1)), value)
    return _CLOCK.sub(lambda found: _clock(found[1], float(found[2]) * number), text)


def _clock(start: str, seconds: float) -> str:
    moment = datetime.fromisoformat(start) + timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def load_test_file(path: Path) -> RuleTestFile:
    """Load a test file. Raises ContentError with every problem found, each with its line."""
    document = yamlfile.load(path)
    reader = _Reader(document)
    data = document.data
    reader.unknown(data, _FILE_KEYS)
    beside = path.name.removesuffix(".test.yml") + ".yml"
    rules = reader.paths(data.get("rule") or beside, "rule")
    pipelines = reader.paths(data["pipelines"], "pipelines") if data.get("pipelines") else ()
    mapping = data.get("mapping") or {}
    if not isinstance(mapping, dict):
        reader.problem("mapping: gives each field its type", "mapping")
        mapping = {}
    tests = data.get("tests")
    cases: list[Case] = []
    if not isinstance(tests, list) or not tests:
        reader.problem("tests: is a list with at least one test", "tests")
    else:
        found = [reader.case(item, number) for number, item in enumerate(tests)]
        cases = [case for case in found if case is not None]
    if reader.problems:
        raise ContentError(reader.problems)
    types = {str(name): str(kind) for name, kind in mapping.items()}
    return RuleTestFile(path, rules, types, pipelines, tuple(cases))
