"""Compiles units of rule files, in several processes where there are many."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import orjson
from sigma.correlations import SigmaCorrelationRule, SigmaExtendedCorrelationCondition, SigmaRuleReference
from sigma.filters import SigmaFilter

from sigmawatch.compile.compiler import RuleCompiler
from sigmawatch.compile.units import RuleFact, as_json
from sigmawatch.pack.rules import join_rules, read_rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmawatch.compile.context import CompileContext
    from sigmawatch.compile.plan import DetectionPlan
    from sigmawatch.compile.units import Source, Unit
    from sigmawatch.pack.rules import RuleFile

__all__ = ["FEWEST", "UnitResult", "compile_units", "facts_of"]

FEWEST = 200
"""Units from which on a second process pays: making one takes as long as compiling about twenty."""

UnitResult = dict[str, Any]
"""What came of a unit, as JSON data, which travels between processes and is kept for later runs:

    facts       of each own file a list of facts, each with kind, keys and refers
    sound       of each own file whether nothing was wrong with reading it
    plans       plan (`DetectionPlan.to_dict`, without the source), warnings, and the place: number of the own file,
                line of the document, line of the detection
    problems    number of the own file (null: none of them), message, line, hint, severity, code
"""


def facts_of(file: RuleFile) -> list[RuleFact]:
    """Return what has to be known of the rules of a file, which must not have been joined yet."""
    found = []
    for _, rule in file.items:
        kind = "filter" if isinstance(rule, SigmaFilter) else "rule"
        refers: tuple[str, ...] = ()
        if isinstance(rule, SigmaCorrelationRule):
            kind = "correlation"
            refers = tuple(each.reference for each in _references(rule))
        keys = tuple(key for key in (str(rule.id) if rule.id is not None else "", rule.name or "") if key)
        found.append(RuleFact(kind, keys, refers))
    return found


def _references(rule: SigmaCorrelationRule) -> list[SigmaRuleReference]:
    """Return what a correlation refers to: by its list, or where it has none by its extended condition."""
    if rule.rules is not None:
        return rule.rules
    condition = rule.condition
    names = (
        condition.get_referenced_rules() if isinstance(condition, SigmaExtendedCorrelationCondition) else []
    )
    return [SigmaRuleReference(name) for name in names]


def compile_units(
    units: Sequence[Unit], sources: Sequence[Source], context: CompileContext, *, processes: int | None = None
) -> list[UnitResult]:
    """Return what comes of units, in their order. `processes`: as many as there are processors unless given."""
    compiler = _UnitCompiler(sources, context)
    number = _processes(len(units)) if processes is None else processes
    # Large ones first, dealt out in turn, so that all have about as much to do.
    turns = sorted(range(len(units)), key=lambda place: -compiler.size(units[place]))
    shares = [turns[start::number] for start in range(number)]
    found: dict[int, UnitResult] = {}
    children = [_Child(compiler, [units[place] for place in share]) for share in shares[1:]]
    try:
        for place in shares[0]:
            found[place] = compiler.compile(units[place])
        for child, share in zip(children, shares[1:], strict=True):
            results = child.results()
            found.update((place, result) for place, result in zip(share, results, strict=False) if result)
    finally:
        for child in children:
            child.end()
    # What a child could not tell (numbers beyond 64 bits are no JSON of orjson's), or did not live to.
    for place in range(len(units)):
        if place not in found:
            found[place] = compiler.compile(units[place])
    return [found[place] for place in range(len(units))]


def _processes(units: int) -> int:
    # Elsewhere than on Linux, forking a process is not safe once system libraries are loaded; with other threads
    # anywhere it is not, since their locks would never be released in the child.
    if units < FEWEST or sys.platform != "linux" or threading.active_count() > 1:
        return 1
    return min(len(os.sched_getaffinity(0)), units // (FEWEST // 2))


class _UnitCompiler:
    """Compiles units of the same sources in the same context."""

    def __init__(self, sources: Sequence[Source], context: CompileContext) -> None:
        self._sources = sources
        self._compiler = RuleCompiler(context)

    def size(self, unit: Unit) -> int:
        """Return the bytes of a unit's own files."""
        return sum(len(self._sources[number].content or b"") for number in unit.own)

    def compile(self, unit: Unit) -> UnitResult:
        """Return what comes of a unit."""
        facts: list[list[RuleFact]] = []
        sound: list[bool] = []
        files: list[RuleFile] = []
        for number in sorted((*unit.own, *unit.filters)):
            source = self._sources[number]
            file = read_rules(source.path, source.content)
            if number in unit.own:
                facts.append(facts_of(file))
                sound.append(not file.problems)
            else:
                # Its own rules, and what is wrong with them, are told by its own unit.
                filters = tuple(item for item in file.items if isinstance(item[1], SigmaFilter))
                file = replace(file, items=filters, problems=())
            files.append(file)
        compiled = self._compiler.compile(join_rules(files))
        numbers = {self._sources[number].path: place for place, number in enumerate(unit.own)}
        return {
            "facts": [
                [{"kind": fact.kind, "keys": list(fact.keys), "refers": list(fact.refers)} for fact in known]
                for known in facts
            ],
            "sound": sound,
            "plans": [
                {
                    "plan": _without_source(plan),
                    "warnings": list(plan.warnings),
                    "place": [numbers[place.path], place.line, place.detection],
                }
                for plan, place in ((plan, compiled.places[plan.rule.id]) for plan in compiled.plans)
            ],
            "problems": [
                {
                    "file": numbers[problem.path] if problem.path is not None else None,
                    "message": problem.message,
                    "line": problem.line,
                    "hint": problem.hint,
                    "severity": str(problem.severity),
                    "code": problem.code,
                }
                for problem in compiled.problems
                if problem.path is None or problem.path in numbers
            ],
        }


def _without_source(plan: DetectionPlan) -> dict[str, Any]:
    data = plan.to_dict()
    data["rule"]["source"] = ""
    return data


class _Child:
    """A process that compiles its share and hands back all results at its end, so that nobody waits for a pipe."""

    def __init__(self, compiler: _UnitCompiler, share: Sequence[Unit]) -> None:
        self._reader, writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            _work(compiler, share, writer)
        os.close(writer)
        self._ended = False

    def results(self) -> list[UnitResult | None]:
        """Return the results, of which those that could not be told are None; none at all where it failed."""
        with os.fdopen(self._reader, "rb") as pipe:
            self._reader = -1
            told = pipe.read()
        try:
            found: list[UnitResult | None] = orjson.loads(told)
        except orjson.JSONDecodeError:
            # It did not get to its end. What it was about is done again here, where errors are reported.
            return []
        return found

    def end(self) -> None:
        """Close the pipe, on which the process ends if it has not yet, and wait for that."""
        if self._reader >= 0:
            os.close(self._reader)
        os.waitpid(self._pid, 0)


def _work(compiler: _UnitCompiler, share: Sequence[Unit], writer: int) -> NoReturn:
    """Compile a share in a forked process. Never returns: what else its parent was doing is the parent's."""
    code = 1
    try:
        found = [as_json(compiler.compile(unit)) or b"null" for unit in share]
        with os.fdopen(writer, "wb") as pipe:
            pipe.write(b"[" + b",".join(found) + b"]")
        code = 0
    finally:
        # Neither handlers nor buffers nor tracebacks of the parent's.
        os._exit(code)
