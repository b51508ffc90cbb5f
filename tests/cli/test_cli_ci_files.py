"""The CI files of scripts/ci: valid for whom they are, and every command in them does what it is there for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.command_line import environment, new_id, write

ROOT = Path(__file__).resolve().parents[2]
GITHUB = sorted((ROOT / "scripts" / "ci" / "github").glob("*.yml"))
GITLAB = ROOT / "scripts" / "ci" / "gitlab" / "gitlab-ci.yml"
BIN = Path(sys.executable).parent

RULE = """title: Something was deleted
id: {id}
level: {level}
logsource: {{product: linux, service: auth}}
detection:
  selection:
    event.action: ssh_login
    user.name: deleter
  condition: selection
"""
TEST = "tests:\n  - {name: one, events: [{event.action: ssh_login, user.name: deleter}], alerts: 1}\n"


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def bash(script: str, cwd: Path, variables: Mapping[str, str]) -> str:
    """Run a step as a CI system does, the tools of this environment first; return what it printed."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=cwd,
        env={**environment(variables), "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("path", GITHUB, ids=lambda path: path.name)
def test_workflows_are_as_github_has_them_and_have_no_known_weakness(path: Path) -> None:
    commands: list[list[str | Path]] = [
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", path],
        [BIN / "zizmor", "--offline", "--no-progress", "--persona", "regular", path],
    ]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_jobs_are_as_gitlab_has_them() -> None:
    options = ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"]
    command: list[str | Path] = [BIN / "check-jsonschema", *options, GITLAB]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def pack(tmp_path: Path, cluster_url: str) -> Path:
    """A repository with a pack of one rule, and an environment for it."""
    root = tmp_path / "acme"
    rule_id = new_id()
    write(root / "rules" / "deleted.yml", RULE.format(id=rule_id, level="high"))
    write(root / "rules" / "deleted.test.yml", TEST)
    write(
        root / "sigmawatch.yml",
        f'datasets: {{"*": {{enabled: false}}, auth.sshd: {{enabled: true}}}}\n'
        f"environments:\n  ci:\n    url: {cluster_url}\n    target: runner\n",
    )
    # What a pack's rules look at is there, from the built-in pack.
    bash("sigmawatch deploy --env ci --yes", root, {})
    return root


def github_steps(name: str, job: str) -> list[str]:
    """Return the steps of a job that are ours to try: not those of actions, of pip and of GitHub itself."""
    (path,) = (one for one in GITHUB if one.name == name)
    steps = [step.get("run", "") for step in load(path)["jobs"][job]["steps"]]
    return [step for step in steps if "sigmawatch " in step and "gh pr" not in step]


def change_the_level(pack: Path) -> None:
    path = pack / "rules" / "deleted.yml"
    path.write_text(path.read_text().replace("level: high", "level: critical"), encoding="utf-8")


def releases(pack: Path) -> list[dict[str, Any]]:
    found = json.loads(bash("sigmawatch releases list --env ci --pack acme --format json", pack, {}))
    listed: list[dict[str, Any]] = found["releases"]
    return listed


def test_the_steps_at_github_check_test_plan_deploy_and_roll_back(pack: Path) -> None:
    variables = {"ENVIRONMENT": "ci", "GITHUB_SHA": "c0ffee", "GITHUB_RUN_ID": "7"}
    steps = [github_steps("pull-request.yml", job) for job in ("check", "test", "plan")]
    assert [len(each) for each in steps] == [1, 1, 1]
    for (step,) in steps:
        bash(step, pack, variables)
    found = json.loads((pack / "check.sarif").read_text())
    assert (found["version"], found["runs"][0]["results"]) == ("2.1.0", [])
    assert 'tests="1" failures="0"' in (pack / "junit.xml").read_text()
    assert "Plan: 1 to create" in (pack / "plan.txt").read_text()

    for step in github_steps("deploy.yml", "deploy"):
        bash(step, pack, variables)
    change_the_level(pack)
    for step in github_steps("deploy.yml", "deploy"):
        bash(step, pack, variables)
    assert [one["message"] for one in releases(pack)] == ["c0ffee, run 7"] * 2

    asked = {"PACK": "acme", "RELEASE": "", "WHY": 'too "loud"; $(id)'}
    (step,) = github_steps("rollback.yml", "rollback")
    bash(step, pack, {**variables, **asked})
    assert releases(pack)[0]["message"] == 'too "loud"; $(id)'


def test_the_jobs_at_gitlab_do_the_same(pack: Path) -> None:
    jobs = load(GITLAB)
    variables = {
        "SIGMAWATCH_ENV": "ci",
        "CI_COMMIT_SHA": "c0ffee",
        "CI_PIPELINE_ID": "7",
        "GITLAB_USER_LOGIN": "anna",
        "CI_JOB_ID": "9",
        "PACK": "acme",
    }

    def run(job: str) -> None:
        steps = [step for step in jobs[job]["script"] if "PRIVATE-TOKEN" not in step]
        bash("\n".join(steps), pack, variables)

    run("check")
    assert json.loads((pack / "code-quality.json").read_text()) == []
    run("test")
    run("plan")
    assert "Plan: 1 to create" in (pack / "comment.md").read_text()
    run("deploy")
    change_the_level(pack)
    run("deploy")
    run("rollback")
    assert [one["message"] for one in releases(pack)] == [
        "by anna, job 9",
        "c0ffee, pipeline 7",
        "c0ffee, pipeline 7",
    ]


def test_findings_are_in_the_forms_that_code_hosts_show(tmp_path: Path) -> None:
    rule = RULE.format(id=new_id(), level="high").replace("user.name:", "user.name|contians:")
    write(tmp_path / "with blank" / "deleted.yml", rule)
    found = {}
    for name in ("sarif", "codequality"):
        ran = subprocess.run(
            [BIN / "sigmawatch", "check", "--format", name, "."],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert ran.returncode == 2
        assert "with blank/deleted.yml:8: error: Unknown modifier" in ran.stderr
        found[name] = json.loads(ran.stdout)
    (result,) = (one for one in found["sarif"]["runs"][0]["results"] if one["level"] == "error")
    checks = found["sarif"]["runs"][0]["tool"]["driver"]["rules"]
    assert checks[result["ruleIndex"]]["id"] == result["ruleId"]
    assert result["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "with%20blank/deleted.yml"},
                "region": {"startLine": 8},
            }
        }
    ]
    (issue,) = (one for one in found["codequality"] if one["severity"] == "critical")
    assert issue["location"] == {"path": "with blank/deleted.yml", "lines": {"begin": 8}}
    assert issue["description"] == result["message"]["text"]
