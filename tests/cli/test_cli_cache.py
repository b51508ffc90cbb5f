"""`sigmawatch compile` on many rules: several processes, and what was compiled before, give the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cli.command_line import PROGRAM, Ran, environment, new_id, rule_text, sigmawatch, write

RULES = 300
"""Enough for more than one process."""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    for number in range(RULES):
        head = f"id: {new_id()}"
        write(tmp_path / "rules" / f"{number:03}.yml", rule_text(f"app.action: '*{number}*'", head=head))
    write(tmp_path / "rules" / "bad.yml", rule_text("app.action|nosuch: x", head="name: bad"))
    return tmp_path / "rules"


def _compile(rules: Path, output: Path, cache: Path, *options: str) -> Ran:
    command: list[str | Path] = [
        "compile",
        rules,
        "--format",
        "watch",
        "--output",
        output,
        "--keep-going",
        *options,
    ]
    return sigmawatch(*command, env={"SIGMAWATCH_CACHE": str(cache)})


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_output_is_the_same_byte_for_byte_with_and_without_the_cache(rules: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    without = _compile(rules, tmp_path / "without", cache, "--no-cache")
    assert not cache.exists()
    assert without.code == 2
    assert "Unknown modifier" in without.err
    expected = _contents(tmp_path / "without")
    assert len(expected) == RULES
    for number in range(2):
        ran = _compile(rules, tmp_path / f"with-{number}", cache)
        assert (ran.code, ran.err) == (without.code, without.err)
        assert _contents(tmp_path / f"with-{number}") == expected
    assert cache.is_dir()


def test_files_that_stay_the_same_are_not_written_again(rules: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    _compile(rules, output, tmp_path / "cache")
    before = {path.name: path.stat().st_mtime_ns for path in output.iterdir()}
    changed = rules / "000.yml"
    changed.write_text(changed.read_text(encoding="utf-8").replace("*0*", "*zero*"), encoding="utf-8")
    _compile(rules, output, tmp_path / "cache")
    after = {path.name: path.stat().st_mtime_ns for path in output.iterdir()}
    assert len([name for name in after if after[name] != before[name]]) == 1


def test_unchanged_rules_are_compiled_without_pysigma(rules: Path, tmp_path: Path) -> None:
    env = environment({"SIGMAWATCH_CACHE": str(tmp_path / "cache")})
    code = (
        "import sys\n"
        "from sigmawatch.cli.main import main\n"
        "try:\n"
        "    main(['compile', sys.argv[1], '--format', 'watch', '--output', sys.argv[2], '--keep-going'])\n"
        "finally:\n"
        "    print('pySigma' if 'sigma.rule' in sys.modules else 'cache', file=sys.__stdout__)\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code, rules, tmp_path / "out"],
            env=env,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        ).stdout.strip()
        for _ in range(2)
    ]
    assert said == ["pySigma", "cache"]


def test_commands_at_the_same_time_share_a_cache(rules: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with ThreadPoolExecutor(4) as pool:
        ran = list(pool.map(lambda number: _compile(rules, tmp_path / f"{number}", cache), range(4)))
    assert [each.code for each in ran] == [2] * 4
    assert _compile(rules, tmp_path / "last", cache).code == 2
    for number in range(4):
        assert _contents(tmp_path / f"{number}") == _contents(tmp_path / "last")


def test_a_home_that_does_not_exist_is_no_error(rules: Path, tmp_path: Path) -> None:
    write(tmp_path / "file", "in the way")
    env = {
        name: value for name, value in environment().items() if not name.startswith(("XDG_", "SIGMAWATCH_"))
    }
    ran = subprocess.run(
        [PROGRAM, "compile", rules / "000.yml"],
        env={**env, "HOME": os.fspath(tmp_path / "file" / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("{")
