"""What a test file may say, and what is told of one that says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.command_line import rule_text, sigmawatch, write
from sigmawatch.errors import ContentError
from sigmawatch.testing.testfile import load_test_file

DATASETS = {"flow.aws_vpc", "auth.sshd"}


def cases_of(*cases: str, head: str = "") -> str:
    return head + "tests:\n" + "".join(f"  - {case}\n" for case in cases)


EVENT = "events: [{a: b}]"

WRONG = {
    "nothing": ("", 1, "is empty"),
    "a list": ("- a\n", 1, "expected a mapping"),
    "two documents": (
        cases_of("{name: x, events: [{a: b}], alerts: 1}") + "---\na: 1\n",
        1,
        "holds 2 documents",
    ),
    "broken YAML": ("tests:\n  - name: x\n   events: []\n", 3, "not valid YAML"),
    "a key twice": ("tests: []\ntests: []\n", 2, "duplicate key 'tests'"),
    "no tests": ("rule: r.yml\n", 1, "tests: is a list with at least one test"),
    "an empty list": ("tests: []\n", 1, "tests: is a list with at least one test"),
    "tests by name": ("tests: {a: {}}\n", 1, "tests: is a list with at least one test"),
    "an unknown key": (cases_of(f"{{{EVENT}, alerts: 1}}", head="rules: r.yml\n"), 1, "unknown key rules"),
    "an unknown key of a test": (cases_of("{name: x, event: [], alerts: 1}"), 2, "unknown key event"),
    "a test that is a text": (cases_of("x"), 2, "a test is a mapping"),
    "neither logs nor events": (cases_of("{name: x, alerts: 1}"), 2, "either logs: or events:"),
    "logs and events": (
        cases_of(f"{{{EVENT}, logs: {{dataset: auth.sshd, lines: [a]}}, alerts: 1}}"),
        2,
        "either logs: or events:",
    ),
    "no alerts": (cases_of(f"{{{EVENT}}}"), 2, "alerts: is missing"),
    "many alerts": (cases_of(f"{{{EVENT}, alerts: many}}"), 2, "alerts: is a number, some, none"),
    "fewer than no alerts": (cases_of(f"{{{EVENT}, alerts: -1}}"), 2, "alerts: is a number, some, none"),
    "alerts, yes": (cases_of(f"{{{EVENT}, alerts: yes}}"), 2, "alerts: is a number, some, none"),
    "a time that is none": (cases_of(f"{{{EVENT}, alerts: 1, at: noon}}"), 2, "'noon' is no ISO 8601 time"),
    "events that are one": (cases_of("{events: {a: b}, alerts: 1}"), 2, "events: is a list"),
    "an event that is a text": (cases_of("{events: [x], alerts: 1}"), 2, "an event is a mapping"),
    "logs without lines": (cases_of("{logs: {dataset: auth.sshd}, alerts: 1}"), 2, "has dataset: and lines:"),
    "lines that are one": (
        cases_of("{logs: {dataset: auth.sshd, lines: x}, alerts: 1}"),
        2,
        "lines: is a list",
    ),
    "an unknown dataset": (
        cases_of("{logs: {dataset: auth.ssh, lines: [x]}, alerts: 1}"),
        2,
        "unknown dataset auth.ssh (did you mean auth.sshd?)",
    ),
    "a dataset like no other": (
        cases_of("{logs: {dataset: syslog, lines: [x]}, alerts: 1}"),
        2,
        "unknown dataset syslog (known: auth.sshd, ",
    ),
    "a line that YAML takes for a mapping": (
        cases_of("{logs: {dataset: auth.sshd, lines: [Nov 21 10:00:00 web1 sshd: Failed]}, alerts: 1}"),
        2,
        "lines: each is a text (put the line in single quotes)",
    ),
    "too many repetitions": (
        cases_of("{events: [{repeat: 9999999, event: {a: b}}], alerts: 1}"),
        2,
        "repeat: is",
    ),
    "an unknown type": (
        cases_of(f"{{{EVENT}, alerts: 1}}", head="mapping:\n  a: lonng\n"),
        2,
        "'lonng' is no mapping",
    ),
    "a type that is none": (
        cases_of(f"{{{EVENT}, alerts: 1}}", head="mapping:\n  a: {b: long}\n"),
        2,
        "is no mapping",
    ),
    "types as a list": (
        cases_of(f"{{{EVENT}, alerts: 1}}", head="mapping: [a]\n"),
        1,
        "mapping: gives each field",
    ),
    "a field without name": (cases_of("{events: [{'': 1}], alerts: 1}"), 2, "'' is no name of a field"),
    "a field of dots": (cases_of("{events: [{'a..b': 1}], alerts: 1}"), 2, "'a..b' is no name of a field"),
    "a field that is a number": (cases_of("{events: [{5: 1}], alerts: 1}"), 2, "must be in quotes"),
    "a field that YAML takes for true": (cases_of("{events: [{on: 1}], alerts: 1}"), 2, "must be in quotes"),
    "a field of the engine's": (cases_of("{events: [{_id: x}], alerts: 1}"), 2, "keep for themselves"),
    "a number beyond 64 bits": (
        cases_of("{events: [{a: 99999999999999999999}], alerts: 1}"),
        2,
        "cannot be JSON",
    ),
    "bytes": (cases_of("{events: [{a: !!binary aGk=}], alerts: 1}"), 2, "cannot be JSON"),
    "a rule that is missing": (
        cases_of(f"{{{EVENT}, alerts: 1}}", head="rule: gone.yml\n"),
        1,
        "gone.yml does not exist",
    ),
    "no rule": (cases_of(f"{{{EVENT}, alerts: 1}}", head="rule: []\n"), 1, "rule: is the name of a file"),
    "a rule that is a number": (
        cases_of(f"{{{EVENT}, alerts: 1}}", head="rule: 5\n"),
        1,
        "rule: is the name of a file",
    ),
    "a pipeline that is missing": (
        cases_of(f"{{{EVENT}, alerts: 1}}", head="pipelines: [p.yml]\n"),
        1,
        "p.yml does not exist",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_test_file_that_makes_no_sense_is_told_with_its_line(what: str, tmp_path: Path) -> None:
    text, line, said = WRONG[what]
    write(tmp_path / "r.yml", rule_text())
    path = write(tmp_path / "r.test.yml", text)
    with pytest.raises(ContentError) as caught:
        load_test_file(path, DATASETS)
    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == (path, line)
    assert said in str(problem)


PIPELINES = {
    "broken YAML": ("name: [x\n", 2, "not valid YAML"),
    "a list": ("- a\n", 1, "expected a mapping"),
    "unknown keys": ("nam: x\n", 1, "no processing pipeline"),
    "an unknown transformation": (
        "name: x\ntransformations:\n  - id: y\n    type: z\n",
        1,
        "no processing pipeline",
    ),
    "transformations that are none": ("name: x\ntransformations: 5\n", 1, "no processing pipeline"),
}


@pytest.mark.parametrize("what", PIPELINES)
def test_a_pipeline_that_is_none_is_told_with_its_own_place(what: str, tmp_path: Path) -> None:
    text, line, said = PIPELINES[what]
    write(tmp_path / "r.yml", rule_text())
    pipeline = write(tmp_path / "p.yml", text)
    path = write(tmp_path / "r.test.yml", cases_of(f"{{{EVENT}, alerts: 1}}", head="pipelines: p.yml\n"))
    with pytest.raises(ContentError) as caught:
        load_test_file(path, DATASETS)
    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == (pipeline, line)
    assert said in str(problem)


def test_every_mistake_of_a_file_is_told_at_once(tmp_path: Path) -> None:
    text = cases_of(
        f"{{{EVENT}, alerts: many}}", "x", f"{{{EVENT}, alerts: 1, at: noon}}", head="mapping: {a: b}\n"
    )
    path = write(tmp_path / "r.test.yml", text)
    with pytest.raises(ContentError) as caught:
        load_test_file(path, DATASETS)
    assert [problem.line for problem in caught.value.problems] == [1, 1, 3, 4, 5]


def test_one_mistake_in_a_repeated_event_is_told_once(tmp_path: Path) -> None:
    write(tmp_path / "r.yml", rule_text())
    path = write(
        tmp_path / "r.test.yml", cases_of("{events: [{repeat: 50, event: {'': '{1+i}'}}], alerts: 1}")
    )
    with pytest.raises(ContentError) as caught:
        load_test_file(path, DATASETS)
    assert len(caught.value.problems) == 1


def test_what_is_odd_but_runs_is_a_warning(tmp_path: Path) -> None:
    write(tmp_path / "r.yml", rule_text())
    cases = [
        f"{{name: x, {EVENT}, alerts: 0}}",
        f"{{name: x, {EVENT}, alerts: 0}}",
        "{name: y, events: [], alerts: 0}",
    ]
    file = load_test_file(write(tmp_path / "r.test.yml", cases_of(*cases)), DATASETS)
    assert [(warning.line, warning.message) for warning in file.warnings] == [
        (4, "y: nothing happens in this test"),
        (3, "the name 'x' is already used on line 2"),
    ]


def test_repetitions_count_up_numbers_texts_and_times(tmp_path: Path) -> None:
    write(tmp_path / "r.yml", rule_text())
    event = (
        '{"@timestamp": "{2026-03-01T10:00:00Z+i*1.5s}", port: "{20+i*2}", user: "u{7+i}", "list": ["{1+i}"], '
        'in: {deep: "{5+i*-1}"}}'
    )
    path = write(tmp_path / "r.test.yml", cases_of(f"{{events: [{{repeat: 2, event: {event}}}], alerts: 1}}"))
    (case,) = load_test_file(path, DATASETS).cases
    assert [dict(one) for one in case.events] == [
        {"@timestamp": "2026-03-01T10:00:00.000Z", "port": 20, "user": "u7", "list": [1], "in": {"deep": 5}},
        {"@timestamp": "2026-03-01T10:00:01.500Z", "port": 22, "user": "u8", "list": [2], "in": {"deep": 4}},
    ]


def test_what_happens_once_may_be_written_as_what_is_repeated_is(tmp_path: Path) -> None:
    write(tmp_path / "r.yml", rule_text())
    events = (
        '{event: {"@timestamp": 2026-03-01T10:00:00Z, user.name: anna}}, {event: {user.name: bert}}, '
        "{event: {action: ssh_login}}, {event: ssh_login}"
    )
    lines = "[{line: one}, two]"
    path = write(
        tmp_path / "r.test.yml",
        cases_of(
            f"{{name: a, events: [{events}], alerts: 1}}",
            f"{{name: b, logs: {{dataset: auth.sshd, lines: {lines}}}, alerts: 1}}",
        ),
    )
    documents, logs = load_test_file(path, DATASETS).cases
    assert [dict(one) for one in documents.events] == [
        {"@timestamp": "2026-03-01T10:00:00Z", "user.name": "anna"},
        {"user.name": "bert"},
        {"event": {"action": "ssh_login"}},
        {"event": "ssh_login"},
    ]
    assert logs.logs[0].lines == ("one", "two")


def test_what_can_be_found_without_an_engine_is_found_by_check_too(tmp_path: Path) -> None:
    write(tmp_path / "r.yml", rule_text())
    text, line, said = WRONG["an unknown dataset"]
    path = write(tmp_path / "r.test.yml", text)
    ran = sigmawatch("check", tmp_path)
    assert ran.code == 2
    # The datasets that it names are those of the built-in pack here.
    assert f"{path}:{line}: error: {said.partition(' (')[0]}" in ran.err
