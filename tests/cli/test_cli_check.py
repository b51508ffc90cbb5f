"""`sigmawatch check`: every problem with its place, for people and for machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.command_line import Ran, new_id, rule_text, sigmawatch, write

TEST = "tests:\n  - {name: a, events: [{app.action: delete}], alerts: 1}\n"
SERVED = "product: aws, service: vpcflow"


def check(*arguments: str | Path) -> Ran:
    return sigmawatch("check", *arguments)


def test_the_built_in_pack_has_no_problem() -> None:
    ran = check("--strict", "--format", "json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json == {"problems": [], "errors": 0, "warnings": 0}


def test_all_problems_of_all_files_are_told_at_once_with_their_places(tmp_path: Path) -> None:
    broken = write(tmp_path / "broken.yml", "title: [x\n")
    twice = write(tmp_path / "twice.yml", rule_text() + "level: low\n")
    modifier = write(tmp_path / "modifier.yml", rule_text("a|contians: x"))
    untested = write(tmp_path / "untested.yml", rule_text())
    tests = write(tmp_path / "tested.test.yml", "tests:\n  - {name: a, events: [{a: b}], alerts: many}\n")
    write(tmp_path / "tested.yml", rule_text())
    ran = check(tmp_path)
    assert ran.code == 2
    for place in (
        f"{broken}:2: error: not valid YAML",
        f"{twice}:9: error: duplicate key 'level'",
        f"{modifier}:7: error: Unknown modifier 'contians'",
        f"{untested}:4: warning: no dataset serves the log source",
        f"{untested}:1: warning: no tests: untested.test.yml is missing",
        f"{tests}:2: error: alerts: is a number, some, none",
    ):
        assert place in ran.err
    assert ran.out == "2 rules: 4 errors, 3 warnings\n"


def test_many_warnings_of_one_kind_are_told_in_brief_unless_all_are_wanted(tmp_path: Path) -> None:
    for number in range(21):
        write(tmp_path / f"r{number:02}.yml", rule_text("event.action: delete", SERVED))
    brief, full, machine = check(tmp_path), check(tmp_path, "--all"), check(tmp_path, "--format", "json")
    assert brief.err.count("warning: no tests") == 3
    assert "… and 18 more warnings of this kind (untested); `sigmawatch check --all` lists them" in brief.err
    assert full.err.count("warning: no tests") == len(full.err.splitlines()) == 21
    assert len(machine.json["problems"]) == 21
    assert brief.out == full.out == "21 rules: 0 errors, 21 warnings\n"


def test_names_that_change_nothing_are_told(tmp_path: Path) -> None:
    rule = write(
        tmp_path / "r.yml",
        rule_text().replace("condition: selection", "condition: 1 of sel_*") + "staus: test\n",
    )
    ran = check(tmp_path)
    assert f"{rule}:8: warning: no search of this rule is called sel_* (there are selection)" in ran.err
    assert (
        f"{rule}:9: warning: staus: is no key of Sigma and changes nothing (did you mean status?)" in ran.err
    )


def test_rules_that_only_serve_correlations_are_counted(tmp_path: Path) -> None:
    base = rule_text(head=f"name: base\nid: {new_id()}")
    correlation = (
        f"title: Many\nid: {new_id()}\ncorrelation:\n  type: event_count\n  rules: [base]\n"
        "  group-by: [source.ip]\n  timespan: 5m\n  condition: {gte: 3}\n"
    )
    rule = write(tmp_path / "r.yml", f"{base}---\n{correlation}")
    ran = check(tmp_path)
    assert ran.out == "2 rules (1 only part of correlations): 0 errors, 2 warnings\n"
    assert f"{rule}:5: warning: no dataset serves the log source product: acme" in ran.err


def test_json_is_alone_on_standard_output_and_has_all_of_each_problem(tmp_path: Path) -> None:
    rule = write(tmp_path / "r.yml", rule_text("a|contians: x"))
    ran = check(tmp_path, "--format", "json")
    assert (ran.code, ran.err) == (2, "")
    (problem,) = ran.json["problems"]
    assert problem["message"] == "Unknown modifier 'contians'"
    assert (problem["path"], problem["line"], problem["severity"]) == (str(rule), 7, "error")
    assert (ran.json["errors"], ran.json["warnings"]) == (1, 0)


def test_warnings_fail_only_when_that_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "r.yml", rule_text("event.action: delete", SERVED))
    assert check(tmp_path).code == 0
    assert check(tmp_path, "--strict").code == 1
    write(tmp_path / "r.test.yml", TEST)
    assert check(tmp_path, "--strict").code == 0


def test_a_base_rule_that_the_test_of_its_correlation_names_is_tested(tmp_path: Path) -> None:
    write(tmp_path / "base.yml", rule_text("event.action: delete", SERVED, head="name: base"))
    write(
        tmp_path / "many.yml",
        f"title: c\nid: {new_id()}\ncorrelation:\n  type: event_count\n  rules: [base]\n  group-by: [source.ip]\n"
        "  timespan: 1m\n  condition: {gte: 2}\n",
    )
    write(tmp_path / "many.test.yml", "rule: [many.yml, base.yml]\n" + TEST)
    ran = check(tmp_path, "--strict")
    assert (ran.code, ran.err) == (0, "")


@pytest.mark.parametrize(("name", "text"), [("x.txt", "hello"), (None, "")], ids=["other files", "nothing"])
def test_a_folder_without_rules_is_an_error_and_no_success(
    name: str | None, text: str, tmp_path: Path
) -> None:
    if name:
        write(tmp_path / name, text)
    ran = check(tmp_path)
    assert ran.code == 2
    assert "no rules found" in ran.err


def test_a_pack_is_checked_with_its_datasets_and_not_taken_for_rules(tmp_path: Path) -> None:
    write(tmp_path / "pack/rules/r.yml", rule_text())
    dataset = write(tmp_path / "pack/ingest_pipelines/x.y/dataset.yml", "name: x.y\nlogsources: 5\n")
    ran = check(tmp_path / "pack")
    assert ran.code == 2
    assert "not a Sigma rule" not in ran.err
    assert f"{dataset}:" in ran.err
    ran = check(tmp_path / "pack" / "ingest_pipelines")
    assert ran.code == 2
    assert f"{dataset}:" in ran.err
