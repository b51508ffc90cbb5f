"""Runs rule tests on an engine: all lines in a few bulk requests, all searches in a few more.

What is installed is what gets deployed: the datasets' pipelines and templates, the stored scripts, the plans'
searches. The tests of all files share indices; each search sees the documents of its own test only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from sigma.exceptions import SigmaError
from sigma.processing.pipeline import ProcessingPipeline

from sigmawatch.alerts.document import alert_spec
from sigmawatch.bundle import compile_context
from sigmawatch.compile.compiler import compile_rules
from sigmawatch.errors import ContentError, Problem, Severity
from sigmawatch.pack.layout import rule_files
from sigmawatch.pack.rules import RuleSet, load_rules
from sigmawatch.render.search import Moments
from sigmawatch.render.target import Target
from sigmawatch.run.evaluate import Job, Outcome, evaluate
from sigmawatch.testing.expectation import spell, verdict
from sigmawatch.testing.testfile import Case, RuleTestFile, load_test_file
from sigmawatch.testing.workspace import Workspace

if TYPE_CHECKING:
    from sigmawatch.cluster import Cluster
    from sigmawatch.compile.plan import DetectionPlan
    from sigmawatch.datasets import Dataset

__all__ = ["TestResult", "run_rule_tests"]

END_OF_TIME = 4_102_444_800_000
"""2100-01-01: an evaluation that looks at everything ends here."""

LATE = 300_000
"""Milliseconds that a schedule looks back beyond its interval."""

DEFAULT_TIME = "2026-01-01T00:00:00.000Z"
"""`@timestamp` of events in a test that give none."""


@dataclass(frozen=True)
class TestResult:
    """What became of one test."""

    __test__ = False

    rule: str
    name: str
    passed: bool
    expected: Any
    got: Any
    error: str | None
    seconds: float
    path: Path | None = None
    line: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the contract's JSON object (design, section 8)."""
        return {
            "rule": self.rule,
            "name": self.name,
            "passed": self.passed,
            "expected": self.expected,
            "got": self.got,
            "error": self.error,
            "seconds": round(self.seconds, 3),
        }


@dataclass
class _Run:
    """One case on its way: its plans, the ids of its documents, what went wrong."""

    file: RuleTestFile
    case: Case
    plans: tuple[DetectionPlan, ...]
    ids: list[str] = field(default_factory=list)
    indices: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)


def run_rule_tests(
    cluster: Cluster,
    paths: Sequence[Path],
    datasets: Sequence[Dataset],
    *,
    roots: Sequence[Path] = (),
    own: bool,
) -> tuple[list[TestResult], list[Problem]]:
    """Run the test files and return their results in order, and warnings about their rules.

    `roots`: folders in which rules are looked for that a correlation refers to and its test does not list.
    `own`: the cluster is an embedded engine of ours; otherwise everything made there gets a random prefix and
    is removed afterwards. Raises ClusterError when the cluster does not answer.
    """
    started = time.monotonic()
    results: list[TestResult] = []
    warnings: list[Problem] = []
    runs: list[_Run] = []
    library = _Library(roots)
    for path in paths:
        found, failed = _prepare(path, datasets, library, warnings)
        runs += found
        results += failed
    if runs:
        with Workspace(cluster, datasets, own=own) as workspace:
            _load(workspace, runs, {dataset.name: dataset for dataset in datasets})
            _evaluate(cluster, workspace, runs)
    share = (time.monotonic() - started) / max(1, len(runs))
    results += [_result(run, share) for run in runs]
    order = {path: number for number, path in enumerate(paths)}
    return sorted(results, key=lambda result: order.get(result.path or Path(), 0)), warnings


class _Library:
    """Rules below some folders, by the names and ids that correlations refer to them by."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = roots
        self._files: dict[str, Path] | None = None

    def missing_bases(self, rules: RuleSet) -> list[Path]:
        """Return files that define what the rule set refers to and lacks."""
        wanted = {
            problem.message.split("'")[1]
            for problem in rules.problems
            if problem.code == "unknown-rule" and "'" in problem.message
        }
        if not wanted:
            return []
        if self._files is None:
            self._files = {}
            loaded = load_rules(rule_files([root for root in self._roots if root.is_dir()]))
            for item in loaded.rules:
                for key in (item.rule.name, str(item.rule.id or "")):
                    if key:
                        self._files.setdefault(key, item.document.path)
        return sorted({self._files[name] for name in wanted if name in self._files})


def _prepare(
    path: Path, datasets: Sequence[Dataset], library: _Library, warnings: list[Problem]
) -> tuple[list[_Run], list[TestResult]]:
    try:
        file = load_test_file(path)
    except ContentError as error:
        return [], [_broken(path, str(path), problem) for problem in error.problems]
    try:
        pipelines = [_pipeline(each) for each in file.pipelines]
        plans, found = _compile(file, pipelines, datasets, library)
    except ContentError as error:
        message = "; ".join(str(problem) for problem in error.problems)
        rule = str(file.rules[0])
        return [], [
            TestResult(rule, case.name, False, spell(case.alerts), None, message, 0.0, path, case.line)
            for case in file.cases
        ]
    warnings += found
    return [_Run(file, case, plans) for case in file.cases], []


def _broken(path: Path, rule: str, problem: Problem) -> TestResult:
    return TestResult(rule, "(test file)", False, None, None, str(problem), 0.0, path, problem.line)


def _pipeline(path: Path) -> ProcessingPipeline:
    try:
        return ProcessingPipeline.from_yaml(path.read_text(encoding="utf-8"))
    except (SigmaError, OSError, ValueError, TypeError, KeyError) as error:
        raise ContentError([Problem(f"not a processing pipeline: {error}", path, code="pipeline")]) from error


def _compile(
    file: RuleTestFile,
    pipelines: Sequence[ProcessingPipeline],
    datasets: Sequence[Dataset],
    library: _Library,
) -> tuple[tuple[DetectionPlan, ...], list[Problem]]:
    """Compile the rules of a test; only the plans of its own files count, not those of borrowed bases."""
    rules = load_rules(file.rules)
    borrowed = library.missing_bases(rules)
    while borrowed:
        rules = load_rules([*file.rules, *borrowed])
        more = [path for path in library.missing_bases(rules) if path not in borrowed]
        borrowed = [*borrowed, *more] if more else []
    context = compile_context(datasets, overrides=file.mapping, pipelines=tuple(pipelines))
    compiled = compile_rules(rules, context)
    compiled.require()
    own = {path.as_posix() for path in file.rules}
    plans = tuple(plan for plan in compiled.plans if plan.rule.source in own)
    if not plans:
        raise ContentError([Problem("no rule in it raises alerts", file.rules[0], 1, code="rule-test")])
    found = [problem for problem in compiled.problems if problem.severity is Severity.WARNING]
    return plans, found


def _load(workspace: Workspace, runs: Sequence[_Run], datasets: Mapping[str, Dataset]) -> None:
    """Index the documents of all cases, and note what the engine refused."""
    owners: dict[str, tuple[_Run, str]] = {}
    lines: list[tuple[str, str, dict[str, Any]]] = []
    schemas = _Schemas(workspace)
    for number, run in enumerate(runs):
        for position, (where, document, index) in enumerate(_documents(run, datasets, schemas)):
            doc_id = f"{number}-{position}"
            run.ids.append(doc_id)
            owners[doc_id] = (run, where)
            target = workspace.data_stream(index) if where.startswith("line") else index
            run.indices.add(target)
            lines.append((target, doc_id, document))
    schemas.create()
    for doc_id, reason in workspace.bulk(lines):
        run, where = owners[doc_id]
        run.errors.append(f"{where} was refused: {reason}")


def _documents(
    run: _Run, datasets: Mapping[str, Dataset], schemas: _Schemas
) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield where a document stands in the test, the document, and its dataset or index."""
    for logs in run.case.logs:
        if logs.dataset not in datasets:
            run.errors.append(f"unknown dataset {logs.dataset} (known: {', '.join(sorted(datasets))})")
            continue
        for number, document in enumerate(datasets[logs.dataset].documents(logs.lines), 1):
            yield f"line {number}", document, logs.dataset
    if run.case.events:
        served = sorted({name for plan in run.plans for name in _datasets_asked(plan.query)})
        events = [_complete(event, served) for event in run.case.events]
        index = schemas.place(run.file.mapping, events)
        for number, event in enumerate(events, 1):
            yield f"event {number}", event, index


def _datasets_asked(query: Any) -> Iterator[str]:
    if isinstance(query, list):
        for each in query:
            yield from _datasets_asked(each)
    elif isinstance(query, dict):
        for key, value in query.items():
            if key == "terms" and set(value) == {"event.dataset"}:
                yield from value["event.dataset"]
            else:
                yield from _datasets_asked(value)


def _complete(event: Mapping[str, Any], datasets: list[str]) -> dict[str, Any]:
    """Return an event as flat names, from the rule's own log source unless it says otherwise."""
    flat = dict(_flat(event))
    flat.setdefault("@timestamp", DEFAULT_TIME)
    if datasets:
        flat.setdefault("event.dataset", datasets[0] if len(datasets) == 1 else datasets)
    return _nested(flat)


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping) and inner:
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with nested names; names that cannot be nested beside others stay dotted."""
    root: dict[str, Any] = {}
    for name, value in flat.items():
        level = root
        *parents, last = name.split(".")
        path: list[str] = []
        for parent in parents:
            inner = level.get(parent, {})
            if not isinstance(inner, dict):
                break
            level[parent] = inner
            level = inner
            path.append(parent)
        level[".".join([*parents[len(path) :], last])] = value
    return root


class _Schemas:
    """Indices for events: as few as the types of their fields allow."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._schemas: list[dict[str, str]] = []

    def place(self, overrides: Mapping[str, str], events: Iterable[Mapping[str, Any]]) -> str:
        """Return the index for a case's events, all of whose fields get the types that rules assume."""
        names = {name for event in events for name, _ in _flat(event)} | set(overrides)
        wanted = {name: self._workspace.field_type(name, overrides) for name in names}
        for number, schema in enumerate(self._schemas):
            if _fit(schema, wanted):
                schema.update(wanted)
                return self._workspace.event_index(number)
        self._schemas.append(wanted)
        return self._workspace.event_index(len(self._schemas) - 1)

    def create(self) -> None:
        """Create the indices."""
        for number, schema in enumerate(self._schemas):
            self._workspace.create_index(self._workspace.event_index(number), schema)


def _fit(schema: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether fields can live in one mapping: same types, and no field is also an object."""
    objects = {name[:dot] for one in (schema, wanted) for name in one for dot in _dots(name)}
    both = {*schema, *wanted}
    return not objects & both and all(schema.get(name, kind) == kind for name, kind in wanted.items())


def _dots(name: str) -> list[int]:
    return [position for position, char in enumerate(name) if char == "."]


def _evaluate(cluster: Cluster, workspace: Workspace, runs: Sequence[_Run]) -> None:
    jobs: list[Job] = []
    owners: list[_Run] = []
    for run in runs:
        if run.errors or not run.ids:
            continue
        for plan in run.plans:
            jobs.append(
                Job(
                    plan=plan,
                    spec=alert_spec(plan, target=Target.RUNNER),
                    moments=_moments(plan, run.case.at),
                    filters=({"ids": {"values": run.ids}},),
                    indices=tuple(sorted(run.indices)),
                )
            )
            owners.append(run)
    outcomes = evaluate(workspace.searching(cluster), jobs, created=END_OF_TIME)
    for run, outcome in zip(owners, outcomes, strict=True):
        run.outcomes.append(outcome)
        run.errors += outcome.problems


def _moments(plan: DetectionPlan, at: int | None) -> Moments:
    if at is None:
        # Bursts are told from events alone, so one look at everything finds what every tick would have found.
        return Moments(END_OF_TIME, END_OF_TIME, 0)
    if plan.correlation is None:
        return Moments(at, plan.interval * 1000 + LATE, 0)
    # One millisecond more, so that the window includes the event at its very beginning.
    return Moments(at, plan.correlation.root.lookback() + 1, 0)


def _result(run: _Run, seconds: float) -> TestResult:
    alerts = [alert.document for outcome in run.outcomes for alert in outcome.alerts]
    error = "; ".join(dict.fromkeys(run.errors)) or None
    reason = "" if error else verdict(run.case.alerts, alerts)
    return TestResult(
        rule=str(run.file.rules[0]),
        name=run.case.name,
        passed=not error and not reason,
        expected=spell(run.case.alerts),
        got=_got(run.case, alerts),
        error=error or reason or None,
        seconds=seconds,
        path=run.file.path,
        line=run.case.line,
    )


def _got(case: Case, alerts: list[dict[str, Any]]) -> Any:
    if isinstance(case.alerts, tuple):
        # What was raised, as far as the expectations ask about it, so that the two can be read side by side.
        return [orjson.loads(orjson.dumps(alert)) for alert in alerts]
    return len(alerts)
