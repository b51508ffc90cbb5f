"""The account of a folder of rules, as a maintainer asks for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cli.command_line import rule_text, write

SCRIPT = Path(__file__).parents[2] / "scripts" / "account"


def test_an_account_counts_rules_and_groups_refusals_by_their_reason(tmp_path: Path) -> None:
    items = ["a: b", "a|expand: '%x%'", "b|expand: '%y%'", "a|nosuch: b"]
    for number, item in enumerate(items):
        write(tmp_path / f"{number}.yml", rule_text(item, "category: test", head=f"name: rule_{number}"))
    page = tmp_path / "page.md"
    ran = subprocess.run(
        [sys.executable, SCRIPT, tmp_path, "--markdown", page],
        capture_output=True,
        text=True,
        check=False,
        env={"COLUMNS": "200"},
    )
    assert ran.returncode == 0, ran.stderr
    words = [line.replace("│", " ").split() for line in ran.stdout.splitlines()]
    assert [row for row in words if row[:1] in (["files"], ["rules"], ["compiled"])] == [
        ["files", "4"],
        ["rules", "3"],
        ["compiled", "1"],
    ]
    assert [row[-1] for row in words if row[:3] == ["placeholder", "…", "is"]] == ["2"]
    lines = page.read_text(encoding="utf-8").splitlines()
    assert "| category: test | 3 | 2 |  |  |  |" in lines
    assert [line.split("|")[1].strip() for line in lines[lines.index("| rule | reason |") + 2 :]] == [
        f"`{tmp_path.name}/{name}.yml`" for name in (3, 1, 2)
    ]
