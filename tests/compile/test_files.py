"""Compiling files side by side and out of the cache: always what compiling them one by one gives."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from sigma.processing.pipeline import ProcessingPipeline

from sigmawatch.compile import files as files_module
from sigmawatch.compile import workers
from sigmawatch.compile.cache import PlanCache
from sigmawatch.compile.compiler import compile_rules
from sigmawatch.compile.context import Binding, CompileContext, Compiled
from sigmawatch.compile.files import compile_files
from sigmawatch.compile.fingerprint import code_files, context_digest
from sigmawatch.pack.rules import load_rules

PLAIN = """\
title: Plain
name: plain
logsource: {category: test}
detection:
  selection: {size: 5, user: '%admins%'}
  condition: selection
"""
BASE = """\
title: Base
id: 6b6b1b1e-0000-4000-8000-000000000001
logsource: {category: test, product: windows}
detection:
  selection: {user: eve}
  condition: selection
"""
CORRELATION = """\
title: Many
name: many
correlation:
  type: event_count
  rules: [6B6B1B1E-0000-4000-8000-000000000001]
  group-by: [user]
  timespan: 5m
  condition: {gte: 3}
"""
CHAIN = """\
title: Many, then plain
name: chain
correlation:
  type: temporal
  rules: [many, plain]
  group-by: [user]
  timespan: 1h
"""
FILTER = """\
title: Not the scanner
logsource: {category: test, product: windows}
filter:
  rules: any
  selection: {host: scanner}
  condition: not selection
"""
KEYWORDS = """\
title: Keywords
name: keywords
logsource: {category: test}
detection:
  keywords: [evil, bad]
  condition: keywords
"""
EXPANDED = """\
title: Expanded
name: expanded
logsource: {category: test}
detection:
  selection: {user|expand: '%admins%'}
  condition: selection
"""
PACK = {
    "a/plain.yml": PLAIN,
    "a/chain.yml": CHAIN,
    "b/base.yml": BASE,
    "b/correlation.yml": CORRELATION,
    "b/keywords.yml": KEYWORDS,
    "c/again.yml": PLAIN.replace("Plain", "Plain again"),
    "c/broken.yml": "title: [",
    "c/expanded.yml": EXPANDED,
    "c/refused.yml": PLAIN.replace("plain", "refused").replace("size: 5", "size|re: 'a+'"),
    "c/unknown.yml": CORRELATION.replace("many", "few").replace("6B6B1B1E", "7B6B1B1E"),
    "d/two.yml": f"{PLAIN.replace('plain', 'one')}---\n{PLAIN.replace('plain', 'two')}",
}
CONTEXT = CompileContext(
    bindings=(Binding("test.log", "logs-test.log-*", {"category": "test"}),),
    datasets={"test.log": {"size": "long", "user": "keyword", "message": "match_only_text"}},
    placeholders={"admins": ("root", "admin")},
    without_message={"test.log": ()},
)


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    for name, text in PACK.items():
        path = tmp_path / "pack" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "pack"


@pytest.fixture
def cache(tmp_path: Path) -> PlanCache:
    return PlanCache(tmp_path / "cache")


def _files(pack: Path) -> list[Path]:
    return sorted(pack.rglob("*.yml"))


def _said(compiled: Compiled) -> dict[str, Any]:
    """Return all that a compilation gave, in an order that does not matter."""
    return {
        "plans": {plan.rule.id: (plan.to_dict(), plan.warnings) for plan in compiled.plans},
        "problems": sorted(map(repr, compiled.problems)),
        "places": dict(compiled.places),
    }


def _one_by_one(pack: Path, context: CompileContext = CONTEXT) -> dict[str, Any]:
    return _said(compile_rules(load_rules(_files(pack)), context))


class _NothingCompiles:
    """Stands in for the step that compiles; whoever takes it has not found everything in the cache."""

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("compiled again")


def test_units_give_what_all_files_together_give(pack: Path) -> None:
    compiled = compile_files(_files(pack), CONTEXT)
    assert _said(compiled) == _one_by_one(pack)
    assert {plan.rule.id for plan in compiled.plans} >= {"chain", "keywords", "expanded", "two"}
    assert {problem.code for problem in compiled.errors} >= {
        "yaml",
        "duplicate-rule",
        "unknown-rule",
        "refused",
    }


@pytest.mark.parametrize("processes", [2, 5])
def test_several_processes_give_what_one_gives(pack: Path, processes: int) -> None:
    several = compile_files(_files(pack), CONTEXT, processes=processes)
    assert several == compile_files(_files(pack), CONTEXT, processes=1)


def test_plans_and_problems_are_in_the_order_of_files(pack: Path) -> None:
    compiled = compile_files(_files(pack), CONTEXT, processes=2)
    assert [plan.rule.id for plan in compiled.plans][-3:] == ["expanded", "one", "two"]
    # A chain stands together, where its first file is.
    assert [plan.rule.id for plan in compiled.plans][:1] == ["chain"]


def test_a_process_that_dies_costs_nothing_but_time(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = os.getpid()
    compile_unit = workers._UnitCompiler.compile

    def mortal(self: Any, unit: Any) -> Any:
        if os.getpid() != parent:
            os.kill(os.getpid(), 9)
        return compile_unit(self, unit)

    monkeypatch.setattr(workers._UnitCompiler, "compile", mortal)
    assert _said(compile_files(_files(pack), CONTEXT, processes=3)) == _one_by_one(pack)


def test_an_error_here_leaves_no_process_behind(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = os.getpid()
    failing = multiprocessing.Event()

    def unforeseen(self: Any, unit: Any) -> Any:
        if os.getpid() == parent:
            failing.set()
            raise ZeroDivisionError
        assert failing.wait(180)  # else the children may leave no unit for the parent
        return {"much": "x" * 1_000_000}  # more than a pipe holds

    monkeypatch.setattr(workers._UnitCompiler, "compile", unforeseen)
    before = set(psutil.Process().children())  # the engines of other tests
    with pytest.raises(ZeroDivisionError):
        compile_files(_files(pack), CONTEXT, processes=4)
    assert set(psutil.Process().children()) <= before


def test_processes_end_when_their_parent_is_killed(pack: Path, tmp_path: Path) -> None:
    code = (
        "import contextlib, os, sys\n"
        "from pathlib import Path\n"
        "from sigmawatch.compile import workers\n"
        "from sigmawatch.compile.context import CompileContext\n"
        "from sigmawatch.compile.files import compile_files\n"
        "parent = os.getpid()\n"
        "def compile_unit(self, unit):\n"
        "    print(os.getpid(), flush=True)\n"
        "    with contextlib.suppress(ProcessLookupError):\n"
        "        os.kill(parent, 9)\n"  # whoever comes first: a fast child may leave nothing for the parent
        "    return {'much': 'x' * 1_000_000}\n"
        "workers._UnitCompiler.compile = compile_unit\n"
        "compile_files(sorted(Path(sys.argv[1]).rglob('*.yml')), CompileContext(), processes=4)\n"
    )
    # Whoever is left holds the pipe open: reading it to its end takes until all are gone.
    ran = subprocess.run([sys.executable, "-c", code, pack], stdout=subprocess.PIPE, timeout=180, check=False)
    assert ran.returncode == -9


def test_what_json_cannot_say_is_compiled_here(pack: Path, cache: PlanCache) -> None:
    (pack / "d/large.yml").write_text(PLAIN.replace("plain", "large").replace("size: 5", f"score: {2**70}"))
    context = replace(CONTEXT, overrides={"score": "double"})
    for _ in range(2):
        compiled = compile_files(_files(pack), context, cache=cache, processes=2)
        assert _said(compiled) == _one_by_one(pack, context)


@pytest.mark.parametrize("filtered", [False, True])
def test_the_second_time_nothing_is_compiled(
    pack: Path, cache: PlanCache, filtered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Problems that name another file are told by compiling again.
    (pack / "c/again.yml").unlink()
    if filtered:
        (pack / "z.yml").write_text(FILTER, encoding="utf-8")
    expected = _one_by_one(pack)
    first = compile_files(_files(pack), CONTEXT, cache=cache)
    monkeypatch.setattr(workers, "compile_units", _NothingCompiles())
    monkeypatch.setattr("sigmawatch.pack.rules.read_rules", _NothingCompiles())
    second = compile_files(_files(pack), CONTEXT, cache=cache)
    assert second == first
    assert _said(second) == expected


def test_only_what_changed_is_compiled(pack: Path, cache: PlanCache, monkeypatch: pytest.MonkeyPatch) -> None:
    (pack / "c/again.yml").unlink()
    compile_files(_files(pack), CONTEXT, cache=cache)
    compiled: list[str] = []
    compile_units = workers.compile_units

    def watched(units: Any, sources: Any, *args: Any, **options: Any) -> Any:
        compiled.extend(sources[number].path.name for unit in units for number in unit.own)
        return compile_units(units, sources, *args, **options)

    monkeypatch.setattr(workers, "compile_units", watched)
    (pack / "b/keywords.yml").write_text(KEYWORDS.replace("bad", "worse"), encoding="utf-8")
    assert _said(compile_files(_files(pack), CONTEXT, cache=cache)) == _one_by_one(pack)
    assert compiled == ["keywords.yml"]


def _edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(pack: Path) -> None:
        path = pack / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return change


def _add(name: str, text: str) -> Callable[[Path], None]:
    def change(pack: Path) -> None:
        (pack / name).write_text(text, encoding="utf-8")

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_edit("a/plain.yml", "size: 5", "size: 6"), id="a rule"),
        pytest.param(_edit("b/base.yml", "eve", "mallory"), id="a base rule"),
        pytest.param(_edit("b/keywords.yml", "title:", "# moved down\ntitle:"), id="a line"),
        pytest.param(_edit("b/correlation.yml", "gte: 3", "gte: 4"), id="a correlation"),
        pytest.param(_edit("b/correlation.yml", "timespan", "generate: true\n  timespan"), id="what is emitted"),
        pytest.param(_edit("b/correlation.yml", "condition: {gte: 3}", "condition:"), id="a correlation breaks"),
        pytest.param(lambda pack: (pack / "b/correlation.yml").unlink(), id="a correlation goes"),
        pytest.param(lambda pack: (pack / "b/base.yml").unlink(), id="a base rule goes"),
        pytest.param(_add("z.yml", FILTER), id="a filter"),
        pytest.param(_add("a.yml", FILTER.replace("filter:", '"filter":')), id="a filter in quotes"),
        pytest.param(_add("a.yml", FILTER + "---\n" + PLAIN.replace("plain", "late")), id="a filter and a rule"),
        pytest.param(_add("a.yml", FILTER + "---\ntitle: [broken]\ndetection: {}\n"), id="a filter and no rule"),
        pytest.param(_add("a.yml", PLAIN), id="a rule of the same name before"),
        pytest.param(_add("z.yml", BASE.replace("6b6b", "7b6b")), id="a base rule comes"),
        pytest.param(
            _add("z.yml", '{"title": N, "name": n, "correlation": {"type": event_count, "rules": keywords,'
                 ' "timespan": 1m, "condition": {"gte": 2}}}'),
            id="a correlation in one line",
        ),
    ],
)  # fmt: skip
def test_a_changed_file_changes_what_depends_on_it(
    pack: Path, cache: PlanCache, change: Callable[[Path], None]
) -> None:
    before = compile_files(_files(pack), CONTEXT, cache=cache)
    assert compile_files(_files(pack), CONTEXT, cache=cache) == before
    change(pack)
    for processes in (1, 2):
        after = compile_files(_files(pack), CONTEXT, cache=cache, processes=processes)
        assert _said(after) == _one_by_one(pack)
    assert _said(after) != _said(before)


def test_a_changed_filter_changes_every_rule(pack: Path, cache: PlanCache) -> None:
    (pack / "z.yml").write_text(FILTER, encoding="utf-8")
    before = compile_files(_files(pack), CONTEXT, cache=cache)
    _edit("z.yml", "scanner", "monitor")(pack)
    after = compile_files(_files(pack), CONTEXT, cache=cache)
    assert _said(after) == _one_by_one(pack) != _said(before)


@pytest.mark.parametrize(
    "changed",
    [
        {"bindings": (Binding("other.log", "logs-other.log-*", {"category": "test"}),)},
        {"datasets": {"test.log": {"size": "keyword", "user": "keyword", "message": "match_only_text"}}},
        {"overrides": {"size": "keyword"}},
        {"default_indices": "everything-*", "bindings": ()},
        {"keyword_fields": ("message", "log.text")},
        {"without_message": {}},
        {"placeholders": {"admins": ("root", "operator")}},
        {"placeholders": {}},
    ],
    ids=lambda changed: " ".join(changed),
)
def test_another_context_compiles_anew(pack: Path, cache: PlanCache, changed: dict[str, Any]) -> None:
    before = compile_files(_files(pack), CONTEXT, cache=cache)
    context = replace(CONTEXT, **changed)
    after = compile_files(_files(pack), context, cache=cache)
    assert _said(after) == _one_by_one(pack, context) != _said(before)
    # And back again, all out of the cache.
    assert _said(compile_files(_files(pack), CONTEXT, cache=cache)) == _said(before)


def test_all_of_a_context_is_part_of_the_key() -> None:
    others: dict[str, Any] = {
        "bindings": (Binding("other.log", "logs-other.log-*", {}),),
        "datasets": {"other.log": {}},
        "overrides": {"size": "long"},
        "default_indices": "other",
        "keyword_fields": ("other",),
        "without_message": {"other.log": ("other",)},
        "placeholders": {"other": ("x",)},
    }
    # Pipelines have no digest at all, and the root is told anew each time.
    assert {field.name for field in fields(CompileContext)} == {*others, "pipelines", "root"}
    digests = [context_digest(CompileContext(**{name: value})) for name, value in others.items()]
    assert len({context_digest(CompileContext()), *digests}) == len(others) + 1
    assert context_digest(CompileContext(pipelines=(ProcessingPipeline(name="own"),))) is None


def test_other_code_compiles_anew(pack: Path, cache: PlanCache, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_files(_files(pack), CONTEXT, cache=cache)
    monkeypatch.setattr(files_module, "code_digest", lambda: b"other")
    monkeypatch.setattr(workers, "compile_units", _NothingCompiles())
    with pytest.raises(AssertionError, match="compiled again"):
        compile_files(_files(pack), CONTEXT, cache=cache)


def test_all_code_that_compiles_is_part_of_the_key() -> None:
    imported = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, sigmawatch.compile.workers\n"
            "for name, module in sys.modules.items():\n"
            "    if name.split('.')[0] in ('sigmawatch', 'sigma', 'yaml', 'pyparsing') and module.__file__:\n"
            "        print(module.__file__)",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert len(imported) > 50
    assert not {name for name in imported if name.endswith(".py")} - set(code_files())
    tables = {path for path in code_files() if path.endswith(".yml")}
    assert {Path(path).name for path in tables} >= {"ecs.yml", "integrations.yml"}
    assert any(Path(path).parent.name == "taxonomies" for path in tables)


def test_rules_that_moved_are_found_but_told_of_in_their_new_place(pack: Path, cache: PlanCache) -> None:
    compile_files(_files(pack), CONTEXT, cache=cache)
    moved = pack.with_name("moved")
    pack.rename(moved)
    (moved / "b" / "keywords.yml").rename(moved / "b" / "words.yml")
    context = replace(CONTEXT, root=moved)
    compiled = compile_files(_files(moved), context, cache=cache)
    assert _said(compiled) == _one_by_one(moved, context)
    assert {plan.rule.source for plan in compiled.plans} >= {"a/chain.yml", "b/words.yml"}


def test_pipelines_of_the_users_own_are_not_cached(pack: Path, cache: PlanCache, tmp_path: Path) -> None:
    context = replace(CONTEXT, pipelines=(ProcessingPipeline(name="own"),))
    compile_files(_files(pack), context, cache=cache)
    assert not (tmp_path / "cache").exists()


def _bytes_of(cache: PlanCache) -> Path:
    return cache._path


def _overwritten(path: Path) -> None:
    path.write_bytes(b"no database at all" * 1000)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _holed(path: Path) -> None:
    found = bytearray(path.read_bytes())
    middle = len(found) // 2
    found[middle : middle + 5000] = bytes(5000)
    path.write_bytes(found)


def _tampered(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("UPDATE plans SET body = replace(body, 'evil', 'good')")
    database.close()


def _of_another_form(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE plans (something TEXT)")
    database.close()


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _a_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    "damage", [_overwritten, _cut, _holed, _tampered, _of_another_form, _a_folder, _a_link, _gone]
)
def test_a_cache_that_is_none_is_no_error(
    pack: Path, cache: PlanCache, damage: Callable[[Path], None]
) -> None:
    compile_files(_files(pack), CONTEXT, cache=cache)
    damage(_bytes_of(cache))
    for _ in range(3):
        assert _said(compile_files(_files(pack), CONTEXT, cache=cache)) == _one_by_one(pack)


def test_a_damaged_cache_is_made_anew(pack: Path, cache: PlanCache, monkeypatch: pytest.MonkeyPatch) -> None:
    (pack / "c/again.yml").unlink()
    compile_files(_files(pack), CONTEXT, cache=cache)
    _overwritten(_bytes_of(cache))
    compile_files(_files(pack), CONTEXT, cache=cache)
    compile_files(_files(pack), CONTEXT, cache=cache)
    monkeypatch.setattr(workers, "compile_units", _NothingCompiles())
    assert _said(compile_files(_files(pack), CONTEXT, cache=cache)) == _one_by_one(pack)


def test_a_folder_that_cannot_be_is_no_error(pack: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    unwritable = PlanCache(tmp_path / "file" / "cache")
    assert _said(compile_files(_files(pack), CONTEXT, cache=unwritable)) == _one_by_one(pack)


def test_a_cache_that_another_process_holds_is_done_without(pack: Path, cache: PlanCache) -> None:
    compile_files(_files(pack), CONTEXT, cache=cache)
    other = sqlite3.connect(_bytes_of(cache), isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        assert _said(compile_files(_files(pack), CONTEXT, cache=cache)) == _one_by_one(pack)
    finally:
        other.close()


def test_what_was_not_used_for_longest_goes(tmp_path: Path) -> None:
    def key(number: int) -> bytes:
        return number.to_bytes(20, "big")

    small = PlanCache(tmp_path, max_bytes=1_000_000)
    for number in range(40):
        small.keep({key(number): bytes(50_000)})
    left = set(small.get([key(number) for number in range(40)]))
    assert key(39) in left
    assert key(0) not in left
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1_200_000
    # A day later the oldest of them is used, which lets it outlive the others.
    oldest = min(left)
    later = PlanCache(tmp_path, max_bytes=1_000_000)
    later._today += 1
    assert later.get([oldest])
    later.keep({})
    for number in range(100, 110):
        later.keep({key(number): bytes(50_000)})
    assert later.get([oldest])
    assert not later.get([min(left - {oldest})])


def test_the_cache_is_for_its_owner_only(cache: PlanCache) -> None:
    cache.keep({b"k" * 20: b"text"})
    assert _bytes_of(cache).stat().st_mode & 0o077 == 0
