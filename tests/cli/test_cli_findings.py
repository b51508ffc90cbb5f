"""`sigmawatch check` warns of rules that convert and still do not do what they look like."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.command_line import rule_text, sigmawatch, write


@pytest.mark.parametrize(
    ("selection", "code", "line"),
    [
        ("source.ip|startswith: '192.168.'", "private-address-prefix", 7),
        ("user.name|contains: ''", "empty-search", 7),
    ],
)
def test_a_finding_is_a_warning_on_its_line(tmp_path: Path, selection: str, code: str, line: int) -> None:
    path = write(tmp_path / "r.yml", rule_text(selection))
    ran = sigmawatch("check", tmp_path, "--format", "json")
    found = [problem for problem in ran.json["problems"] if problem["code"] == code]
    assert [(problem["path"], problem["line"], problem["severity"]) for problem in found] == [
        (str(path), line, "warning")
    ]
    assert ran.code == 0
