"""Rule tests as files, run by the command in one process for many of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cli.command_line import Ran, new_id, rule_text, sigmawatch, write

__all__ = ["all_pass", "correlation", "outcomes", "results", "run", "write_case"]


def correlation(rules: str = "[base]", kind: str = "event_count", more: str = "condition: {gte: 3}") -> str:
    return (
        f"title: A correlation\nid: {new_id()}\nlevel: high\ncorrelation:\n  type: {kind}\n  rules: {rules}\n"
        f"  group-by: [source.ip]\n  timespan: 1m\n  {more}\n"
    )


def write_case(folder: Path, tests: str, **files: str) -> Path:
    """Write a rule with its tests, and other files (`base="…"` is base.yml), into a folder."""
    files.setdefault("r", rule_text())
    for name, text in files.items():
        write(folder / f"{name}.yml", text)
    return write(folder / "r.test.yml", tests)


def run(*arguments: str | Path, **options: Any) -> Ran:
    return sigmawatch("test", "--format", "json", *arguments, **options)


def results(ran: Ran) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the results by folder and name of the test."""
    return {(Path(one["rule"]).parent.name, one["name"]): one for one in ran.json["tests"]}


def all_pass(folder: Path, url: str) -> int:
    """Run all rule tests of a folder on an engine; return how many passed, since none may fail."""
    answer = run(folder, "--url", url).json
    failed = [
        f"{one['rule']} {one['name']}: {one['got']} {one['error']}"
        for one in answer["tests"]
        if not one["passed"]
    ]
    assert not failed, "\n".join(text[:600] for text in failed)
    return len(answer["tests"])


def outcomes(ran: Ran) -> dict[tuple[str, str], str]:
    """Return what is wrong with each test, by folder and name; None where nothing is."""
    return {key: one["error"] for key, one in results(ran).items()}
