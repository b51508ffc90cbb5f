"""Runs rule tests on an engine: all lines in a few bulk requests, all searches in a few more.

What is installed is what gets deployed: the datasets' pipelines and templates, the stored scripts, the plans'
searches. The tests of all files share indices; each search sees the documents of its own test only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from sigmawatch.alerts.document import alert_spec, get_path
from sigmawatch.bundle import compile_context
from sigmawatch.cluster import url_path
from sigmawatch.compile.asked import fields_of_plan
from sigmawatch.compile.compiler import compile_rules
from sigmawatch.compile.fieldtypes import FieldKind, FieldTypes
from sigmawatch.compile.scripted import is_scripted
from sigmawatch.errors import ContentError, Problem, Severity
from sigmawatch.pack.library import RuleLibrary
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

__all__ = ["PreparedTests", "TestResult", "prepare_rule_tests", "run_rule_tests"]

END_OF_TIME = 4_102_444_800_000
"""2100-01-01: an evaluation that looks at everything ends here."""

LATE = 300_000
"""Milliseconds that a schedule looks back beyond its interval."""

SHOWN = 3
"""Events of a failed test that are shown."""

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
    invalid: bool = False
    """Whether the content is at fault, so that it could not run at all."""
    seen: tuple[Mapping[str, Any], ...] = ()
    """Of a failed test: what the fields that the rule asks for were in its first events; None: not there."""

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
    seen: tuple[Mapping[str, Any], ...] = ()

    def reason(self) -> str:
        """Return what is wrong with the alerts, empty when nothing is."""
        return verdict(self.case.alerts, self.alerts())

    def alerts(self) -> list[dict[str, Any]]:
        return [alert.document for outcome in self.outcomes for alert in outcome.alerts]


@dataclass(frozen=True)
class PreparedTests:
    """Rule tests that are ready to run, and what became of those that cannot."""

    runs: tuple[_Run, ...]
    failed: tuple[TestResult, ...]
    """Tests whose file or rule is invalid."""
    warnings: tuple[Problem, ...]
    """About the tests and their rules."""
    order: Mapping[Path, int]

    def __len__(self) -> int:
        return len(self.runs) + len(self.failed)


def prepare_rule_tests(
    paths: Sequence[Path],
    datasets: Sequence[Dataset],
    *,
    roots: Sequence[Path] = (),
    keyword: str | None = None,
    placeholders: Mapping[str, Sequence[str]] | None = None,
) -> PreparedTests:
    """Load test files and compile their rules: all that can be found wrong without an engine.

    `roots`: folders in which rules are looked for that a correlation refers to and its test does not list.
    `keyword`: only tests whose file or name contains it. `placeholders`: the values of Sigma's placeholders.
    """
    failed: list[TestResult] = []
    warnings: list[Problem] = []
    runs: list[_Run] = []
    library = RuleLibrary(roots)
    for path in paths:
        found, invalid, noticed = _prepare(path, datasets, library, keyword, placeholders)
        runs += found
        failed += invalid
        warnings += noticed
    order = {path: number for number, path in enumerate(paths)}
    return PreparedTests(tuple(runs), tuple(failed), tuple(warnings), order)


def run_rule_tests(
    cluster: Cluster,
    prepared: PreparedTests,
    datasets: Sequence[Dataset],
    *,
    own: bool,
    on_step: Callable[[str], object],
) -> list[TestResult]:
    """Run tests and return the results of all, also of those that could not be prepared, in order.

    `own`: the cluster is an embedded engine of ours; otherwise everything made there gets a random prefix and
    is removed afterwards. `on_step` is told what is being done. Raises ClusterError when the cluster does not
    answer.
    """
    started = time.monotonic()
    runs = prepared.runs
    if runs:
        used = {logs.dataset for run in runs for logs in run.case.logs}
        scripts = any(plan.correlation or is_scripted(plan.query) for run in runs for plan in run.plans)
        with Workspace(cluster, datasets, used=used, scripts=scripts, own=own) as workspace:
            on_step("Loading the events of the tests")
            _load(workspace, runs, {dataset.name: dataset for dataset in datasets})
            on_step("Evaluating the rules")
            _evaluate(cluster, workspace, runs)
            on_step("Removing what the tests made")
    share = (time.monotonic() - started) / max(1, len(runs))
    results = [*prepared.failed, *(_result(run, share) for run in runs)]
    return sorted(results, key=lambda result: prepared.order.get(result.path or Path(), 0))


def _prepare(
    path: Path,
    datasets: Sequence[Dataset],
    library: RuleLibrary,
    keyword: str | None,
    placeholders: Mapping[str, Sequence[str]] | None,
) -> tuple[list[_Run], list[TestResult], list[Problem]]:
    """Return the tests of a file that can run, results of those that cannot, and warnings."""
    everything = keyword is None or keyword in path.as_posix()
    try:
        file = load_test_file(path, {dataset.name for dataset in datasets})
    except ContentError as error:
        line = error.problems[0].line
        result = TestResult(
            str(path), "(test file)", False, None, None, _listed(error), 0.0, path, line, invalid=True
        )
        return [], [result] if everything else [], []
    cases = [case for case in file.cases if everything or (keyword or "") in case.name]
    if not cases:
        return [], [], []
    rule = str(file.rules[0])
    try:
        plans, warnings = _compile(file, datasets, library, placeholders)
    except ContentError as error:
        message = _listed(error)
        return (
            [],
            [
                TestResult(
                    rule,
                    case.name,
                    False,
                    spell(case.alerts),
                    None,
                    message,
                    0.0,
                    path,
                    case.line,
                    invalid=True,
                )
                for case in cases
            ],
            [],
        )
    return [_Run(file, case, plans) for case in cases], [], [*file.warnings, *warnings]


def _listed(error: ContentError) -> str:
    return "\n".join(str(problem) for problem in error.problems)


def _compile(
    file: RuleTestFile,
    datasets: Sequence[Dataset],
    library: RuleLibrary,
    placeholders: Mapping[str, Sequence[str]] | None,
) -> tuple[tuple[DetectionPlan, ...], list[Problem]]:
    """Compile the rules of a test; only the plans of its own files count, not those of borrowed bases."""
    rules = library.load(file.rules)
    context = compile_context(
        datasets,
        overrides=file.mapping,
        pipelines=file.pipelines,
        keyword_fields=_text_fields(file, datasets),
        placeholders=placeholders,
    )
    compiled = compile_rules(rules, context)
    compiled.require()
    own = {path.as_posix() for path in file.rules}
    plans = tuple(plan for plan in compiled.plans if plan.rule.source in own)
    if not plans:
        raise ContentError([Problem("no rule in it raises alerts", file.rules[0], 1, code="rule-test")])
    found = [problem for problem in compiled.problems if problem.severity is Severity.WARNING]
    return plans, found


def _text_fields(file: RuleTestFile, datasets: Sequence[Dataset]) -> list[str]:
    """Return the fields of a test's own events in which a keyword may stand: events need not have a message."""
    declared: dict[str, str] = {}
    for dataset in datasets:
        declared |= dataset.fields
    types = FieldTypes(file.mapping, declared)
    names = {name for case in file.cases for event in case.events for name, _ in _flat(event)}
    return sorted(
        name for name in names if types.is_searchable(name) and types.kind(name) is FieldKind.KEYWORD
    )


def _load(workspace: Workspace, runs: Sequence[_Run], datasets: Mapping[str, Dataset]) -> None:
    """Index the documents of all cases, and note what the engine refused."""
    owners: dict[str, tuple[_Run, str]] = {}
    items: list[tuple[str, str, dict[str, Any]]] = []
    schemas = _Schemas(workspace)
    for number, run in enumerate(runs):
        for position, (where, document, target) in enumerate(_documents(run, workspace, datasets, schemas)):
            doc_id = f"{number}-{position}"
            run.ids.append(doc_id)
            owners[doc_id] = (run, where)
            run.indices.add(target)
            items.append((target, doc_id, document))
    schemas.create()
    for doc_id, reason in workspace.bulk(items):
        run, where = owners[doc_id]
        run.errors.append(f"{where} was refused: {reason}")


def _documents(
    run: _Run, workspace: Workspace, datasets: Mapping[str, Dataset], schemas: _Schemas
) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield where a document stands in the test, the document, and where it is indexed."""
    for logs in run.case.logs:
        target = workspace.data_stream(logs.dataset)
        for number, document in enumerate(datasets[logs.dataset].documents(logs.lines), 1):
            yield f"line {number}", document, target
    if run.case.events:
        served = sorted({name for plan in run.plans for name in _datasets_asked(plan.query)})
        events = [_complete(event, served) for event in run.case.events]
        try:
            index = schemas.place(run.file.mapping, run.case.events)
        except _ConflictError as conflict:
            run.errors.append(str(conflict))
            return
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
    """Yield dotted names and values; empty objects are nothing."""
    for key, inner in value.items():
        if isinstance(inner, Mapping):
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


class _ConflictError(Exception):
    """Events that no index can hold together."""


_WHOLE = frozenset({"flattened", "geo_point", "geo_shape"})
"""Types of fields whose values are objects that a mapping does not look into."""


class _Schemas:
    """Indices for events: as few as the types of their fields allow."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._schemas: list[dict[str, str]] = []

    def place(self, overrides: Mapping[str, str], events: Iterable[Mapping[str, Any]]) -> str:
        """Return the index for a case's events, all of whose fields get the types that rules assume."""
        names = {name for event in events for name in self._names(event, overrides)}
        names |= {"@timestamp", "event.dataset", *overrides}
        wanted = {name: self._workspace.field_type(name, overrides) for name in names}
        both = sorted(names & _objects(names))
        if both:
            inner = min(name for name in names if name.startswith(f"{both[0]}."))
            raise _ConflictError(f"{both[0]} cannot have values and inner fields ({inner}) in one index")
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

    def _names(
        self, value: Mapping[str, Any], overrides: Mapping[str, str], prefix: str = ""
    ) -> Iterator[str]:
        """Yield the names of the fields in an event, those of objects in arrays too."""
        for key, inner in value.items():
            name = f"{prefix}{key}"
            values = inner if isinstance(inner, list) else [inner]
            objects = [each for each in values if isinstance(each, Mapping)]
            if not objects or self._workspace.field_type(name, overrides) in _WHOLE:
                yield name
                continue
            for each in objects:
                yield from self._names(each, overrides, f"{name}.")


def _fit(schema: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether fields can live in one mapping: same types, and no field is also an object."""
    both = {*schema, *wanted}
    return not _objects(both) & both and all(schema.get(name, kind) == kind for name, kind in wanted.items())


def _objects(names: Collection[str]) -> set[str]:
    """Return the names that are above others."""
    return {name[:dot] for name in names for dot in _dots(name)}


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
    for run in runs:
        if run.ids and not run.errors and run.reason():
            run.seen = _seen(cluster, run)


def _seen(cluster: Cluster, run: _Run) -> tuple[Mapping[str, Any], ...]:
    """Return what the first events of a test have in the fields that its rules ask for."""
    asked = sorted(
        set().union(*(fields_of_plan(plan) for plan in run.plans)) - {"@timestamp", "event.dataset"}
    )
    query = {"ids": {"values": run.ids[:SHOWN]}}
    path = url_path(",".join(sorted(run.indices)), "_search")
    hits = cluster.request("POST", path, {"size": SHOWN, "query": query})["hits"]["hits"]
    by_id = {hit["_id"]: hit["_source"] for hit in hits}
    return tuple(
        {name: get_path(by_id[doc_id], name) for name in asked} for doc_id in run.ids if doc_id in by_id
    )


def _moments(plan: DetectionPlan, at: int | None) -> Moments:
    if at is None:
        # Bursts are told from events alone, so one look at everything finds what every tick would have found.
        return Moments(END_OF_TIME, END_OF_TIME, 0)
    if plan.correlation is None:
        return Moments(at, plan.interval * 1000 + LATE, 0)
    # Only events of the window that ends there decide, and before it those of inner correlations. One millisecond
    # more, so that the window includes the event at its very beginning.
    root = plan.correlation.root
    return Moments(at, root.timespan + 1, root.lookback() - root.timespan)


def _result(run: _Run, seconds: float) -> TestResult:
    alerts = run.alerts()
    error = "; ".join(dict.fromkeys(run.errors)) or None
    reason = "" if error else run.reason()
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
        seen=run.seen,
    )


def _got(case: Case, alerts: list[dict[str, Any]]) -> Any:
    if isinstance(case.alerts, tuple):
        # What was raised, as far as the expectations ask about it, so that the two can be read side by side.
        return [orjson.loads(orjson.dumps(alert)) for alert in alerts]
    return len(alerts)
