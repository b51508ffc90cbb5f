"""Compiles units of rule files, in several processes where there are many."""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import replace
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any, NoReturn, Self

from sigma.correlations import SigmaCorrelationRule, SigmaExtendedCorrelationCondition, SigmaRuleReference
from sigma.filters import SigmaFilter

from sigmawatch.compile.compiler import RuleCompiler
from sigmawatch.compile.units import RuleFact, as_json
from sigmawatch.pack.rules import join_rules, read_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

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
) -> list[bytes | UnitResult]:
    """Return what comes of units, in their order: as JSON, or where JSON cannot say it, as it is.

    `processes`: as many as there are processors, where that pays, unless given.
    """
    compiler = _UnitCompiler(sources, context)
    number = _processes(len(units)) if processes is None else processes
    # Large ones first, so that none of them is begun when all others are done.
    turns = sorted(range(len(units)), key=lambda place: -compiler.size(units[place]))
    found: dict[int, bytes] = {}
    with _Turns(turns) as deck:
        children = [_Child(compiler, units, deck) for _ in range(number - 1)]
        try:
            for place in deck:
                found[place] = as_json(compiler.compile(units[place])) or b""
            for child in children:
                found.update(child.results())
        finally:
            for child in children:
                child.end()
    # Nothing was found of what JSON cannot say (numbers beyond 64 bits), nor by a child that did not live to its end.
    return [found.get(place) or compiler.compile(unit) for place, unit in enumerate(units)]


class _Turns:
    """Numbers of which each is drawn once, by whichever process comes first.

    They stand in a nameless file, in which forked processes share their place: what one has read, no other reads.
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        self._file = TemporaryFile(buffering=0)  # noqa: SIM115 - closed by __exit__
        self._file.write(b"".join(number.to_bytes(_WIDTH, "big") for number in numbers))
        self._file.seek(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[int]:
        """Draw until none are left."""
        while drawn := self._file.read(_WIDTH):
            yield int.from_bytes(drawn, "big")


_WIDTH = 4
"""Bytes of a number in a file or a pipe."""


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
    """A process that takes its turns and hands back all results at its end, so that nobody waits for a pipe."""

    def __init__(self, compiler: _UnitCompiler, units: Sequence[Unit], turns: _Turns) -> None:
        self._reader, writer = os.pipe()
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            # With nobody left to read from it, writing to the pipe fails instead of waiting for ever.
            os.close(self._reader)
            _work(compiler, units, turns, writer, parent)
        os.close(writer)

    def results(self) -> dict[int, bytes]:
        """Return the results by the numbers of their units; none where it failed before its end."""
        with os.fdopen(self._reader, "rb") as pipe:
            self._reader = -1
            told = pipe.read()
        found: dict[int, bytes] = {}
        start = 0
        while start < len(told):
            place, length = (int.from_bytes(told[at : at + _WIDTH], "big") for at in (start, start + _WIDTH))
            start += 2 * _WIDTH
            if start + length > len(told):
                break
            found[place] = told[start : start + length]
            start += length
        return found

    def end(self) -> None:
        """Wait for the process, which has ended if its results were read; else end it."""
        if self._reader >= 0:
            os.close(self._reader)
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def _work(
    compiler: _UnitCompiler, units: Sequence[Unit], turns: _Turns, writer: int, parent: int
) -> NoReturn:
    """Take turns in a forked process. Never returns: what else its parent was doing is the parent's."""
    code = 1
    try:
        found: dict[int, bytes] = {}
        for place in turns:
            if os.getppid() != parent:
                break  # Nobody waits for this any more.
            found[place] = as_json(compiler.compile(units[place])) or b""
        with os.fdopen(writer, "wb") as pipe:
            for place, text in found.items():
                pipe.write(place.to_bytes(_WIDTH, "big") + len(text).to_bytes(_WIDTH, "big") + text)
        code = 0
    finally:
        # Neither handlers nor buffers nor tracebacks of the parent's.
        os._exit(code)
