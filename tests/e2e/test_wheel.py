"""The wheel, away from the checkout: it brings the built-in pack and the sigma-cli plug-in along."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel unpacked as pip installs it, for PYTHONPATH."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True, timeout=300)
    return site


def run(installed: Path, *command: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    away = installed.parent
    done = subprocess.run(
        command, cwd=away, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def sigmawatch(installed: Path, *arguments: str) -> str:
    start = "import sys; from sigmawatch.cli.main import main; main(sys.argv[1:])"
    return run(installed, sys.executable, "-c", start, *arguments)


def test_it_is_the_wheel_that_runs(installed: Path) -> None:
    found = run(installed, sys.executable, "-c", "import sigmawatch; print(sigmawatch.__file__)")
    assert Path(found.strip()).is_relative_to(installed)


def test_it_compiles_its_own_rules(installed: Path) -> None:
    plans = [json.loads(line) for line in sigmawatch(installed, "compile").splitlines()]
    assert len(plans) == 6
    searched = {index for plan in plans for index in plan["indices"]}
    assert {"logs-auth.sshd-*", "logs-flow.aws_vpc-*"} <= searched


def test_its_rules_check_without_a_finding(installed: Path) -> None:
    assert json.loads(sigmawatch(installed, "check", "--strict", "--format", "json"))["problems"] == []


def test_sigma_cli_finds_the_backend_and_its_formats(installed: Path) -> None:
    sigma = [str(Path(sys.executable).with_name("sigma"))]
    assert "sigmawatch" in run(installed, *sigma, "list", "targets")
    assert "sigmawatch_ecs" in run(installed, *sigma, "list", "pipelines")
    rule = str(installed / "sigmawatch/builtin/rules/auth/ssh_brute_force.yml")
    for name in ("default", "plan", "search", "watch"):
        (line,) = run(installed, *sigma, "convert", "-t", "sigmawatch", "-f", name, rule).splitlines()[-1:]
        assert isinstance(json.loads(line), dict)


def test_sigma_cli_and_we_make_the_same_watch(installed: Path) -> None:
    sigma = str(Path(sys.executable).with_name("sigma"))
    rule = str(installed / "sigmawatch/builtin/rules/auth/ssh_brute_force.yml")
    theirs = run(installed, sigma, "convert", "-t", "sigmawatch", "-f", "watch", rule).splitlines()[-1]
    ours = sigmawatch(installed, "compile", "--format", "watch", rule)
    assert json.loads(theirs) == json.loads(ours)
