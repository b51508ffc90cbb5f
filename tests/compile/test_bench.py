"""The benches, as a maintainer runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from cli.command_line import rule_text, write

SCRIPTS = Path(__file__).parents[2] / "scripts"


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    # Programs of ours are those beside this interpreter.
    environment = {"PATH": os.defpath}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_the_compiler_is_measured_whole_stage_by_stage_and_beside_sigma_cli(tmp_path: Path) -> None:
    for number, item in enumerate(["a: b", "a: '*c'", "a|expand: '%x%'"]):
        write(tmp_path / f"{number}.yml", rule_text(item, "category: test", head=f"name: rule_{number}"))
    bench = SCRIPTS / "benches" / "compile.py"
    ran = _run(sys.executable, bench, tmp_path, "--runs", "1", "--against-sigma-cli", "--json")
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["files"] == 3
    assert [found[name]["rules"] for name in ("sigmawatch", "unchanged", "sigma_cli")] == [2, 2, 2]
    assert list(found["stages"]) == ["start", "load", "compile", "render", "write"]
    assert abs(sum(stage["share"] for stage in found["stages"].values()) - 1) < 0.01
    assert min(found["ratio"].values()) > 0


def test_a_command_that_fails_is_no_figure(tmp_path: Path) -> None:
    write(tmp_path / "0.yml", rule_text("a: b", "category: test", head="name: rule_0"))
    bench = SCRIPTS / "benches" / "compile.py"
    ran = _run(sys.executable, bench, tmp_path, "--runs", "1", "--against-sigma-cli", "--sigma", "/bin/false")
    assert ran.returncode == 1
    assert "ended with exit code 1" in ran.stderr


def test_benches_are_listed_with_what_they_measure() -> None:
    ran = _run(SCRIPTS / "bench")
    assert ran.returncode == 0, ran.stderr
    names = {path.stem for path in (SCRIPTS / "benches").glob("*.py")}
    listed = {line.split()[0]: line.split()[1:] for line in ran.stdout.splitlines() if line.startswith("  ")}
    assert set(listed) == names
    assert all(listed.values())
    assert _run(SCRIPTS / "bench", "nosuch").returncode == 2
