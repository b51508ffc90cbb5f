"""Reads rule tests (`NAME.test.yml`, design section 8) and spells out their repetitions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
from sigma.exceptions import SigmaError
from sigma.processing.pipeline import ProcessingPipeline

from sigmawatch import yamlfile
from sigmawatch.compile.fieldtypes import FieldKind, FieldTypes
from sigmawatch.errors import ContentError, Problem, Severity, similar_names

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from sigmawatch.yamlfile import YamlDocument

__all__ = ["Case", "Expectation", "Logs", "RuleTestFile", "load_test_file", "parse_moment"]

MAX_REPEAT = 100_000

_FILE_KEYS = {"rule", "mapping", "pipelines", "tests"}
_CASE_KEYS = {"name", "logs", "events", "alerts", "at"}

_OTHER_TYPES = {"binary", "flattened", "geo_point", "geo_shape", "nested", "object"}
"""Mapping types that an event's field may have although rules ask nothing of them."""

_METADATA = {"_id", "_ignored", "_index", "_routing", "_seq_no", "_source", "_type", "_version"}
"""Names that engines keep for themselves."""

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
    pipelines: tuple[ProcessingPipeline, ...]
    cases: tuple[Case, ...]
    warnings: tuple[Problem, ...] = ()
    """What is odd about it, and no reason not to run it."""


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

    def __init__(self, document: YamlDocument, datasets: Collection[str]) -> None:
        self.document = document
        self.datasets = datasets
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def problem(self, message: str, *keys: str | int, hint: str = "") -> None:
        line = self.document.line_of(*keys)
        self.problems.append(Problem(message, self.document.path, line, hint, code="rule-test"))

    def warning(self, message: str, *keys: str | int) -> None:
        line = self.document.line_of(*keys)
        found = Problem(message, self.document.path, line, severity=Severity.WARNING, code="rule-test")
        self.warnings.append(found)

    def unknown(self, data: Mapping[str, Any], known: set[str], *keys: str | int) -> None:
        for key in data:
            if key not in known:
                self.problem(f"unknown key {key}", *keys, str(key), hint=f"known: {', '.join(sorted(known))}")

    def paths(self, value: Any, key: str) -> tuple[Path, ...]:
        names = value if isinstance(value, list) else [value]
        if not names or not all(isinstance(name, str) and name for name in names):
            self.problem(f"{key}: is the name of a file, or a list of such names", key)
            return ()
        found = []
        for name in dict.fromkeys(names):
            path = self.document.path.parent / name
            if not path.is_file():
                self.problem(f"{name} does not exist beside the test", key)
            found.append(path)
        return tuple(found)

    def pipelines(self, value: Any) -> Iterator[ProcessingPipeline]:
        for path in self.paths(value, "pipelines"):
            if not path.is_file():
                continue
            try:
                yield ProcessingPipeline.from_dict(yamlfile.load(path).data)
            except ContentError as error:
                self.problems += error.problems
            except (SigmaError, ValueError, TypeError, KeyError, AttributeError) as error:
                # pySigma raises plain errors for shapes it does not expect.
                what = " ".join(str(error).split())
                self.problems.append(Problem(f"no processing pipeline: {what}", path, 1, code="pipeline"))

    def mapping(self, value: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            self.problem("mapping: gives each field its type, such as app.size: long", "mapping")
            return {}
        for name, kind in value.items():
            self.name(name, "mapping", str(name))
            if not _is_type(kind):
                hint = "for example keyword, long, ip, date, boolean, text"
                self.problem(f"{kind!r} is no mapping type", "mapping", str(name), hint=hint)
        return {str(name): str(kind) for name, kind in value.items()}

    def name(self, name: Any, *where: str | int) -> None:
        """Check the name of a field."""
        if not isinstance(name, str):
            self.problem(f"{name!r} as the name of a field must be in quotes", *where)
        elif not all(part.strip() for part in name.split(".")):
            self.problem(f"{name!r} is no name of a field", *where)
        elif name in _METADATA:
            self.problem(f"{name} is a name that engines keep for themselves", *where)

    def names(self, value: Any, *where: str | int, top: bool = True) -> None:
        """Check the names of all fields in an event."""
        for name, inner in value.items():
            # Only at the top do metadata names mean anything.
            self.name(name if top or name not in _METADATA else "inner", *where)
            for each in inner if isinstance(inner, list) else [inner]:
                if isinstance(each, dict):
                    self.names(each, *where, top=False)

    def case(self, data: Any, number: int) -> Case | None:
        where: tuple[str | int, ...] = ("tests", number)
        if not isinstance(data, dict):
            self.problem("a test is a mapping", *where)
            return None
        before = len(self.problems)
        self.unknown(data, _CASE_KEYS, *where)
        if ("logs" in data) == ("events" in data) and before == len(self.problems):
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
        if before == len(self.problems) and not events and not any(entry.lines for entry in logs):
            self.warning(f"{name}: nothing happens in this test", *where)
        if len(self.problems) > before:
            return None
        return Case(name, self.document.line_of(*where), logs, events, alerts, at)

    def logs(self, data: Any, where: tuple[str | int, ...]) -> Iterator[Logs]:
        for entry in data if isinstance(data, list) else [data]:
            if not isinstance(entry, dict) or set(entry) != {"dataset", "lines"}:
                self.problem("logs: has dataset: and lines:", *where, "logs")
                continue
            if entry["dataset"] not in self.datasets:
                hint = similar_names(str(entry["dataset"]), self.datasets)
                self.problem(f"unknown dataset {entry['dataset']}", *where, "logs", "dataset", hint=hint)
            if not isinstance(entry["lines"], list):
                self.problem("lines: is a list", *where, "logs", "lines")
                continue
            lines: list[str] = []
            for item in entry["lines"]:
                found = list(self.repeated(item, "line", *where, "logs"))
                if any(isinstance(line, dict | list) for line in found):
                    # A line of log with a colon, or of JSON, is a mapping to YAML.
                    self.problem(
                        "lines: each is a text", *where, "logs", hint="put the line in single quotes"
                    )
                lines += [str(line) for line in found]
            yield Logs(str(entry["dataset"]), tuple(lines))

    def events(self, data: Any, where: tuple[str | int, ...]) -> Iterator[Mapping[str, Any]]:
        if not isinstance(data, list):
            self.problem("events: is a list", *where, "events")
            return
        for item in data:
            before = len(self.problems)
            for event in self.repeated(item, "event", *where, "events"):
                if not isinstance(event, dict):
                    self.problem("an event is a mapping", *where, "events")
                elif before == len(self.problems):
                    self.event(event, *where, "events")
                    yield event
                if len(self.problems) > before:
                    break

    def event(self, event: dict[Any, Any], *where: str | int) -> None:
        self.names(event, *where)
        try:
            orjson.dumps(event, option=orjson.OPT_NON_STR_KEYS)
        except TypeError as error:  # numbers beyond 64 bits, !!binary
            self.problem(f"an event that cannot be JSON: {error}", *where)

    def repeated(self, item: Any, key: str, *where: str | int) -> Iterator[Any]:
        if _is_once(item, key):
            item = {**item, "repeat": 1}
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
        shape = "a number, some, none, or a list of what each contains"
        if value is None:
            self.problem(f"alerts: is missing: {shape}", *where)
        else:
            self.problem(f"alerts: is {shape}", *where, "alerts")
        return "none"


def _is_once(item: Any, key: str) -> bool:
    """Whether something is written as what is repeated is, but without `repeat`.

    `event: {action: …}` is a field of a document, `event: {"@timestamp": …}` and `event: {source.ip: …}` are documents.
    """
    if not (isinstance(item, dict) and set(item) == {key}):
        return False
    inner = item[key]
    return key != "event" or (
        isinstance(inner, dict) and any("@" in str(one) or "." in str(one) for one in inner)
    )


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


def _is_type(kind: Any) -> bool:
    if not isinstance(kind, str):
        return False
    return kind in _OTHER_TYPES or FieldTypes({"field": kind}).kind("field") is not FieldKind.OTHER


def load_test_file(path: Path, datasets: Collection[str]) -> RuleTestFile:
    """Load a test file, which may use these datasets.

    Raises ContentError with every problem found, each with its line.
    """
    document = yamlfile.load(path)
    reader = _Reader(document, datasets)
    data = document.data
    reader.unknown(data, _FILE_KEYS)
    beside = path.name.removesuffix(".test.yml") + ".yml"
    rule = data.get("rule")
    rules = reader.paths(beside if rule is None else rule, "rule")
    pipelines = tuple(reader.pipelines(data["pipelines"])) if data.get("pipelines") else ()
    types = reader.mapping(data["mapping"]) if data.get("mapping") is not None else {}
    tests = data.get("tests")
    cases: list[Case] = []
    if not isinstance(tests, list) or not tests:
        reader.problem("tests: is a list with at least one test", "tests")
    else:
        found = [reader.case(item, number) for number, item in enumerate(tests)]
        cases = [case for case in found if case is not None]
    if reader.problems:
        raise ContentError(reader.problems)
    first: dict[str, Case] = {}
    for number, case in enumerate(cases):
        if first.setdefault(case.name, case) is not case:
            other = first[case.name].line
            reader.warning(f"the name {case.name!r} is already used on line {other}", "tests", number)
    return RuleTestFile(path, rules, types, pipelines, tuple(cases), tuple(reader.warnings))
