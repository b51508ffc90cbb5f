"""Compiles rule files: only those that changed, the others as they were compiled before."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from sigmawatch.compile.context import Compiled, Place, relative
from sigmawatch.compile.fingerprint import code_digest, context_digest, digest
from sigmawatch.compile.plan import DetectionPlan
from sigmawatch.compile.units import RuleFact, Source, Unit, filters_of, units_of
from sigmawatch.errors import Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from sigmawatch.compile.cache import PlanCache
    from sigmawatch.compile.context import CompileContext
    from sigmawatch.compile.workers import UnitResult

__all__ = ["compile_files"]

_NOT_ALONE = re.compile(rb"^[\"']?(?:correlation|filter)\b", re.MULTILINE)
"""How a file begins a line that probably has to do with other files. Only a guess, which saves work: what is read from
the files decides."""


_OF_THE_MOMENT = ("recursion", "nested too deeply")
"""In problems that depend on how deep the stack was already."""


def compile_files(
    paths: Sequence[Path],
    context: CompileContext,
    *,
    cache: PlanCache | None = None,
    processes: int | None = None,
) -> Compiled:
    """Load and compile rule files; a rule that fails never keeps another from being compiled.

    Plans and problems are in the order of the files. With a cache, files are compiled only if they, or anything else
    that their plans depend on, have changed since. `processes`: how many compile side by side; unless given, as many
    as there are processors where there is work for them. Never raises for bad content.
    """
    return _Compilation(paths, context, cache, processes).run()


class _Compilation:
    """One run over a list of files."""

    def __init__(
        self,
        paths: Sequence[Path],
        context: CompileContext,
        cache: PlanCache | None,
        processes: int | None,
    ) -> None:
        self._sources = [Source(path, _content(path)) for path in paths]
        self._context = context
        self._processes = processes
        in_context = context_digest(context)
        self._cache = cache if in_context is not None else None
        self._base = digest([code_digest(), in_context or b""]) if self._cache is not None else b""
        self._digests = (
            [b"" if source.content is None else digest([source.content]) for source in self._sources]
            if self._cache is not None
            else []
        )
        self._facts: list[list[RuleFact] | None] = [None] * len(self._sources)
        self._results: dict[Unit, UnitResult] = {}
        self._new: dict[bytes, bytes] = {}
        """What the cache does not have yet."""

    def run(self) -> Compiled:
        self._recall_facts()
        self._read_facts()
        while True:
            units = units_of(self._facts)
            # As long as nothing is known of a file, what refers to it cannot be told; so these first, each alone.
            pending = [unit for unit in units if any(self._facts[number] is None for number in unit.own)]
            pending = [unit for unit in pending or units if unit not in self._results]
            if not pending:
                break
            self._recall(pending)
            self._compile([unit for unit in pending if unit not in self._results])
        if self._cache is not None:
            self._cache.keep(self._new)
        return self._joined(units)

    def _recall_facts(self) -> None:
        """Take from the cache what is known of the files themselves."""
        if self._cache is None:
            return
        keys = [_facts_key(self._base, each) for each in self._digests]
        found = self._cache.get(keys)
        for number, key in enumerate(keys):
            if key in found and self._sources[number].content is not None:
                self._facts[number] = _read_json_facts(orjson.loads(found[key]))

    def _read_facts(self) -> None:
        """Read the files that probably have to do with others."""
        unknown = [
            number
            for number, source in enumerate(self._sources)
            if self._facts[number] is None
            and source.content is not None
            and _NOT_ALONE.search(source.content)
        ]
        if unknown:
            from sigmawatch.compile.workers import facts_of
            from sigmawatch.pack.rules import read_rules

            for number in unknown:
                source = self._sources[number]
                self._facts[number] = facts_of(read_rules(source.path, source.content))

    def _recall(self, units: Iterable[Unit]) -> None:
        """Take from the cache what came of units before."""
        if self._cache is None:
            return
        keys = {unit: self._key(unit) for unit in units if self._is_readable(unit)}
        found = self._cache.get(keys.values())
        for unit, key in keys.items():
            if key in found:
                self._learn(unit, orjson.loads(found[key]))

    def _compile(self, units: Sequence[Unit]) -> None:
        if not units:
            return
        # Only now: it imports pySigma.
        from sigmawatch.compile.workers import compile_units

        results = compile_units(units, self._sources, self._context, processes=self._processes)
        for unit, told in zip(units, results, strict=True):
            result = orjson.loads(told) if isinstance(told, bytes) else told
            self._learn(unit, result)
            if self._cache is not None and isinstance(told, bytes) and self._is_readable(unit):
                self._remember(unit, result, told)

    def _learn(self, unit: Unit, result: UnitResult) -> None:
        self._results[unit] = result
        for number, told in zip(unit.own, result["facts"], strict=True):
            self._facts[number] = _read_json_facts(told)

    def _remember(self, unit: Unit, result: UnitResult, text: bytes) -> None:
        """Set aside what the cache is to keep: nothing that names a file, which may move, or ran out of stack."""
        for number, told, sound in zip(unit.own, result["facts"], result["sound"], strict=True):
            if sound:
                self._new[_facts_key(self._base, self._digests[number])] = orjson.dumps(told)
        names = [self._sources[number].path.name for number in (*unit.own, *unit.filters)]
        for problem in result["problems"]:
            said = f"{problem['message']} {problem['hint']}"
            if any(name in said for name in (*names, *_OF_THE_MOMENT)):
                return
        self._new[self._key(unit)] = text

    def _is_readable(self, unit: Unit) -> bool:
        return all(self._sources[number].content is not None for number in (*unit.own, *unit.filters))

    def _key(self, unit: Unit) -> bytes:
        """Return what a unit is kept under: all that its plans depend on."""
        filters = set(filters_of(self._facts)) if unit.filters else set()
        marked = [
            (b"filter " if number in filters and number not in unit.own else b"own ") + self._digests[number]
            for number in sorted((*unit.own, *unit.filters))
        ]
        return digest([b"unit", self._base, *marked])

    def _joined(self, units: Iterable[Unit]) -> Compiled:
        """Return what came of all units as one."""
        plans: list[DetectionPlan] = []
        problems: list[Problem] = []
        places: dict[str, Place] = {}
        for unit in units:
            result = self._results[unit]
            paths = [self._sources[number].path for number in unit.own]
            sources = [relative(path, self._context.root) for path in paths]
            for told in result["plans"]:
                file, line, detection = told["place"]
                plan = _read_plan(told, sources[file])
                plans.append(plan)
                places[plan.rule.id] = Place(paths[file], line, detection)
            problems += [_read_problem(told, paths) for told in result["problems"]]
        return Compiled(tuple(plans), tuple(problems), places)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _facts_key(base: bytes, content: bytes) -> bytes:
    return digest([b"facts", base, content])


def _read_json_facts(told: Sequence[dict[str, Any]]) -> list[RuleFact]:
    return [RuleFact(each["kind"], tuple(each["keys"]), tuple(each["refers"])) for each in told]


def _read_plan(told: dict[str, Any], source: str) -> DetectionPlan:
    data = told["plan"]
    plan = DetectionPlan.from_dict({**data, "rule": {**data["rule"], "source": source}})
    return replace(plan, warnings=tuple(told["warnings"])) if told["warnings"] else plan


def _read_problem(told: dict[str, Any], paths: Sequence[Path]) -> Problem:
    return Problem(
        told["message"],
        paths[told["file"]] if told["file"] is not None else None,
        told["line"],
        told["hint"],
        Severity(told["severity"]),
        told["code"],
    )
