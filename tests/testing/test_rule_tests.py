"""What rule tests mean: each case is a test file, all of them are run by one command on a real engine."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from cli.command_line import rule_text, sigmawatch, write
from testing.bench import correlation, outcomes, results, run, write_case

pytestmark = pytest.mark.engine

SERVED = "product: aws, service: vpcflow"
FLOW = "2 123456789010 eni-0a1b2c3d 203.0.113.9 10.0.1.20 50123 22 6 1 44 1772359200 1772359260 REJECT OK"
LOGIN = "Mar  1 10:00:30 web1 sshd[4711]: Failed password for root from 203.0.113.9 port 50123 ssh2"

PASSES: dict[str, tuple[str, dict[str, str]]] = {
    "names": (
        """
tests:
  - {name: dotted, events: [{app.action: delete}], alerts: 1}
  - {name: nested, events: [{app: {action: delete}}], alerts: 1}
  - {name: both at once, events: [{app: {action: delete}, app.size: 1}, {app.action: x}], alerts: 1}
  - {name: whatever case, events: [{app.action: DELETE}], alerts: 1}
  - {name: arrays, events: [{app.action: [create, delete]}, {app.action: [create]}], alerts: 1}
  - {name: objects in arrays, events: [{app: [{action: create}, {action: delete}]}], alerts: 1}
  - {name: another field of that name, events: [{other.app.action: delete}], alerts: none}
  - {name: empty values, events: [{app.action: null}, {app.action: []}, {app.action: {}}, {app: {}}, {}], alerts: none}
  - {name: odd values, events: [{app.action: delete, a: 1.5, b: true, c: "ü\\0\\n", d: .nan, e: [[1]]}], alerts: 1}
  - {name: "[bold]not markup[/]", events: [{app.action: delete}], alerts: some}
""",
        {},
    ),
    "expectations": (
        """
tests:
  - {name: a number, events: [{app.action: delete}, {app.action: delete}], alerts: 2}
  - {name: zero, events: [{app.action: x}], alerts: 0}
  - {name: none, events: [{app.action: x}], alerts: none}
  - {name: some, events: [{app.action: delete}, {app.action: delete}], alerts: some}
  - {name: an empty list, events: [{app.action: x}], alerts: []}
  - name: contents in any order, dotted and nested
    events: [{app.action: delete, source.ip: 10.0.0.1}, {app.action: delete, source.ip: 10.0.0.2}]
    alerts: [{source.ip: 10.0.0.2, event.severity: 73}, {source: {ip: 10.0.0.1}}]
  - {name: nothing in particular, events: [{app.action: delete}], alerts: [{}]}
""",
        {},
    ),
    "ecs": (
        """
tests:
  - {name: an address in a network, events: [{source.ip: 10.1.2.3}, {source.ip: 11.1.2.3}], alerts: 1}
  - {name: other spellings of IPv6, events: [{source.ip: "2001:0DB8::0001"}], alerts: 1}
""",
        {"r": rule_text("source.ip|cidr: [10.0.0.0/8, '2001:db8::/32']")},
    ),
    "keywords": (
        """
tests:
  - {name: texts have no order of numbers, events: [{app.size: "5"}], alerts: none}
  - {name: equal texts, events: [{app.size: 100}, {app.size: "100"}], alerts: 2}
""",
        {"r": rule_text("app.size: 100")},
    ),
    "numbers": (
        """
mapping: {app.size: long}
tests:
  - {name: in the order of numbers, events: [{app.size: 5}, {app.size: 101}, {app.size: "1000"}], alerts: 2}
""",
        {"r": rule_text("app.size|gt: 100")},
    ),
    "objects": (
        """
mapping: {app.where: geo_point, app.labels: flattened}
tests:
  - name: values that are objects
    events: [{app: {action: delete, where: {lat: 1, lon: 2}, labels: {a: b, c.d: e}}}]
    alerts: 1
""",
        {},
    ),
    "served": (
        """
tests:
  - {name: from the rule's log source, events: [{source.ip: 10.0.0.1}], alerts: 1}
  - {name: of that dataset, events: [{source.ip: 10.0.0.1, event.dataset: flow.aws_vpc}], alerts: 1}
  - {name: of another dataset, events: [{source.ip: 10.0.0.1, event: {dataset: auth.sshd}}], alerts: none}
""",
        {"r": rule_text("source.ip: 10.0.0.1", SERVED)},
    ),
    "raw": (
        f"""
tests:
  - {{name: a line, logs: {{dataset: flow.aws_vpc, lines: ["{FLOW}"]}}, alerts: [{{source.ip: 203.0.113.9}}]}}
  - {{name: no line, logs: {{dataset: flow.aws_vpc, lines: ["nonsense", ""]}}, alerts: none}}
  - {{name: a line of another, logs: {{dataset: auth.sshd, lines: ["{LOGIN}"]}}, alerts: none}}
""",
        {"r": rule_text("source.ip: 203.0.113.9", SERVED)},
    ),
    "correlation": (
        """
rule: [r.yml, base.yml]
tests:
  - name: three within a minute
    events: [{repeat: 3, event: {app.action: delete, source.ip: 10.0.0.1, "@timestamp": "{2026-03-01T10:00:00Z+i*20s}"}}]
    alerts: [{source.ip: 10.0.0.1, sigmawatch.correlation.value: 3}]
  - name: three in longer
    events: [{repeat: 3, event: {app.action: delete, source.ip: 10.0.0.1, "@timestamp": "{2026-03-01T10:00:00Z+i*40s}"}}]
    alerts: none
  - {name: fields that no event has, events: [{repeat: 5, event: {app.action: delete}}], alerts: none}
""",
        {"r": correlation(), "base": rule_text(head="name: base")},
    ),
    "found": (
        """
tests:
  - name: base rules that are beside, not listed
    events: [{repeat: 3, event: {app.action: delete, source.ip: 10.0.0.1}}]
    alerts: 1
""",
        {"r": correlation("[base2]"), "base": rule_text(head="name: base2")},
    ),
    "two datasets": (
        f"""
rule: [r.yml, flow.yml, login.yml]
tests:
  - name: lines of both
    logs:
      - {{dataset: flow.aws_vpc, lines: ["{FLOW}"]}}
      - {{dataset: auth.sshd, lines: ["{LOGIN.replace("Mar  1 10:00:30", "2026-03-01T10:00:30Z")}"]}}
    alerts: [{{source.ip: 203.0.113.9}}]
  - name: lines of one
    logs: {{dataset: flow.aws_vpc, lines: ["{FLOW}"]}}
    alerts: none
  - name: events of both
    events:
      - {{event.dataset: flow.aws_vpc, source.ip: 203.0.113.9, event.outcome: failure}}
      - {{event.dataset: auth.sshd, source.ip: 203.0.113.9, user.name: root}}
    alerts: 1
  - name: events of one
    events:
      - {{event.dataset: flow.aws_vpc, source.ip: 203.0.113.9, user.name: root}}
      - {{event.dataset: flow.aws_vpc, source.ip: 203.0.113.9, user.name: root}}
    alerts: none
""",
        {
            "r": correlation("[flow, login]", "temporal", "condition: {gte: 2}"),
            "flow": rule_text("source.ip: 203.0.113.9", SERVED, head="name: flow"),
            "login": rule_text("user.name: root", "product: linux, service: sshd", head="name: login"),
        },
    ),
    "pipeline": (
        """
pipelines: [p.yml]
tests:
  - {name: the field of the pipeline, events: [{app.action: delete}], alerts: 1}
  - {name: the field of the rule, events: [{Action: delete}], alerts: none}
""",
        {
            "r": rule_text("Action: delete"),
            "p": "name: p\npriority: 10\ntransformations:\n"
            "  - {id: f, type: field_name_mapping, mapping: {Action: app.action}}\n",
        },
    ),
    "at": (
        """
rule: [r.yml, base.yml]
tests:
  - name: the window that ends then
    at: 2026-03-01T10:01:00Z
    events: [{repeat: 3, event: {app.action: delete, source.ip: 10.0.0.1, "@timestamp": "{2026-03-01T10:00:00Z+i*20s}"}}]
    alerts: 1
  - name: before the last event
    at: 2026-03-01T10:00:30Z
    events: [{repeat: 3, event: {app.action: delete, source.ip: 10.0.0.1, "@timestamp": "{2026-03-01T10:00:00Z+i*20s}"}}]
    alerts: none
""",
        {"r": correlation("[base3]"), "base": rule_text(head="name: base3")},
    ),
    "type one": (
        "mapping: {x.y: long}\ntests:\n  - {name: a number, events: [{x.y: 7}], alerts: 1}\n",
        {"r": rule_text("x.y|gte: 7")},
    ),
    "type two": (
        "tests:\n  - {name: a text, events: [{x.y: seven}], alerts: 1}\n",
        {"r": rule_text("x.y: seven")},
    ),
    "type three": (
        "tests:\n  - {name: an object, events: [{x.y.z: seven}], alerts: 1}\n",
        {"r": rule_text("x.y.z: seven")},
    ),
    "type four": (
        "tests:\n  - {name: a value, events: [{x: seven}], alerts: 1}\n",
        {"r": rule_text("x: seven")},
    ),
}


def test_what_rule_tests_mean(cluster_url: str, tmp_path: Path) -> None:
    for name, (tests, files) in PASSES.items():
        write_case(tmp_path / name, tests, **files)
    ran = run(tmp_path, "--url", cluster_url)
    assert {key: error for key, error in outcomes(ran).items() if error} == {}
    assert (ran.code, ran.json["failed"], ran.json["passed"]) == (0, 0, len(ran.json["tests"]))
    assert {key[0] for key in outcomes(ran)} == set(PASSES)
    # A log source that no dataset serves is no reason not to match, and is said.
    assert f"{tmp_path}/names/r.yml:4: warning: no dataset serves the log source product: acme" in ran.err
    assert f"{tmp_path}/served/r.yml" not in ran.err


FAILS = {
    "too many": (
        "events: [{app.action: delete}, {app.action: delete}], alerts: 1",
        "expected 1 alert, got 2",
    ),
    "too few": ("events: [{app.action: x}], alerts: 1", "expected 1 alert, got 0"),
    "some": ("events: [{app.action: x}], alerts: some", "expected some alerts, got none"),
    "none": ("events: [{app.action: delete}], alerts: none", "expected 0 alerts, got 1"),
    "no events": ("events: [], alerts: 1", "expected 1 alert, got 0"),
    "others": (
        "events: [{app.action: delete}], alerts: [{event.severity: 1}]",
        "no alert contains {'event.severity': 1}",
    ),
    "numbers that are none": (
        "events: [{app.size: big}], alerts: 1",
        "event 1 was refused: failed to parse field [app.size]",
    ),
    "addresses that are none": (
        "events: [{a: b}, {source.ip: x}], alerts: 1",
        "event 2 was refused: failed to parse",
    ),
    "times that are none": ("events: [{'@timestamp': x}], alerts: 1", "event 1 was refused: failed to parse"),
    "value and object": (
        "events: [{x: 1}, {x.y: 1}], alerts: 1",
        "x cannot have values and inner fields (x.y)",
    ),
    "both in one event": (
        "events: [{x.y: 1, x: 1}], alerts: 1",
        "x cannot have values and inner fields (x.y)",
    ),
    "an object for a text": ("events: [{app: {action: [{a: b}, c]}}], alerts: 1", "event 1 was refused"),
}


def test_a_test_that_fails_says_what_was_expected_and_what_came(cluster_url: str, tmp_path: Path) -> None:
    cases = "".join(f"  - {{name: {name}, {case}}}\n" for name, (case, _) in FAILS.items())
    path = write_case(tmp_path / "f", f"mapping: {{app.size: long}}\ntests:\n{cases}")
    ran = run(tmp_path, "--url", cluster_url)
    assert ran.code == 1
    found = results(ran)
    for name, (_, said) in FAILS.items():
        assert said in (found["f", name]["error"] or "it passed"), name
        assert not found["f", name]["passed"]
    assert (found["f", "too many"]["expected"], found["f", "too many"]["got"]) == (1, 2)
    assert found["f", "others"]["got"][0]["event"]["severity"] == 73
    text = sigmawatch("test", path, "--url", cluster_url)
    too_few = f'{path}:4: expected 1 alert, got 0\n      event 1 had app.action: "x"\n'
    assert f"✗ too few\n      {too_few}" in text.out
    assert f"✗ too many\n      {path}:3: expected 1 alert, got 2\n" in text.out
    assert f"0 passed, {len(FAILS)} failed" in text.out


KEYS = {"rule", "name", "passed", "expected", "got", "error", "seconds"}


def test_json_is_what_was_agreed_and_alone_on_standard_output(cluster_url: str, tmp_path: Path) -> None:
    tests = "tests:\n  - {name: good, events: [{app.action: delete}], alerts: 1}\n  - {events: [{a: b}], alerts: [{a: 1}]}\n"
    write_case(tmp_path / "j", tests)
    ran = run(tmp_path, "--url", cluster_url)
    assert set(ran.json) == {"tests", "passed", "failed"}
    assert (ran.json["passed"], ran.json["failed"]) == (1, 1)
    good, bad = ran.json["tests"]
    assert set(good) == set(bad) == KEYS
    assert good["rule"] == str(tmp_path / "j" / "r.yml")
    assert (good["passed"], good["expected"], good["got"], good["error"]) == (True, 1, 1, None)
    assert (bad["name"], bad["passed"], bad["expected"], bad["got"]) == ("test 2", False, [{"a": 1}], [])
    assert bad["error"] == "expected 1 alert, got 0"
    assert isinstance(bad["seconds"], float)


def test_junit_is_xml_whatever_the_tests_are_called(cluster_url: str, tmp_path: Path) -> None:
    name = '"<&>]]> \\x01 \\uFFFE \\u0085 ü"'
    tests = f"tests:\n  - {{name: {name}, events: [{{app.action: x}}], alerts: 1}}\n"
    write_case(tmp_path / "x", tests)
    ran = sigmawatch("test", tmp_path, "--url", cluster_url, "--format", "junit")
    assert ran.code == 1
    suite = ET.fromstring(ran.out)
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    (case,) = suite
    assert (case.get("name") or "").startswith("<&>]]> ")
    assert case[0].get("message") == "expected 1 alert, got 0"


def invalid(tmp_path: Path) -> dict[str, str]:
    """Write folders with tests that cannot run; return what is to be said of each."""
    good = "tests:\n  - {name: a, events: [{app.action: delete}], alerts: 1}\n"
    write_case(tmp_path / "broken test", "tests: [\n")
    write_case(tmp_path / "broken rule", good, r="title: [\n")
    write_case(tmp_path / "wrong rule", good, r=rule_text("a|contians: x"))
    write_case(tmp_path / "empty rule", good, r="# later\n")
    write_case(tmp_path / "missing rule", "rule: gone.yml\n" + good)
    write_case(tmp_path / "missing base", good, r=correlation("[gone]"))
    write_case(tmp_path / "unknown dataset", "tests:\n  - {logs: {dataset: x.y, lines: [a]}, alerts: 1}\n")
    write_case(tmp_path / "only a base", good.replace("tests:", "rule: base.yml\ntests:"), base="a: 1\n")
    return {
        "broken test": "r.test.yml:2: error: not valid YAML",
        "broken rule": "r.yml:2: error: not valid YAML",
        "wrong rule": "r.yml:7: error: Unknown modifier 'contians'",
        "empty rule": "r.yml:1: error: no rule in it",
        "missing rule": "r.test.yml:1: error: gone.yml does not exist",
        "missing base": "r.yml:6: error: ",
        "unknown dataset": "r.test.yml:2: error: unknown dataset x.y",
        "only a base": "base.yml:1: error: not a Sigma rule",
    }


def test_invalid_content_exits_with_2_names_the_line_and_keeps_no_other_from_running(
    cluster_url: str, tmp_path: Path
) -> None:
    said = invalid(tmp_path)
    write_case(tmp_path / "good", "tests:\n  - {name: a, events: [{app.action: delete}], alerts: 1}\n")
    ran = run(tmp_path, "--url", cluster_url)
    assert ran.code == 2
    errors = {key[0]: error for key, error in outcomes(ran).items()}
    assert errors.pop("good") is None
    assert set(errors) == set(said)
    for name, text in said.items():
        assert f"{tmp_path / name}/{text}" in (errors[name] or ""), name


def test_where_nothing_can_run_no_engine_is_started(tmp_path: Path) -> None:
    invalid(tmp_path)
    ran = sigmawatch("test", tmp_path, "--url", "http://127.0.0.1:1")
    assert ran.code == 2  # and not 5: nobody was asked
    assert f"{tmp_path}/wrong rule/r.yml:7: error: Unknown modifier 'contians'" in ran.out


def test_tests_are_chosen_by_file_and_by_name(cluster_url: str, tmp_path: Path) -> None:
    tests = "tests:\n" + "".join(
        f"  - {{name: {name}, events: [{{app.action: delete}}], alerts: 1}}\n" for name in ("alpha", "beta")
    )
    write_case(tmp_path / "one", tests)
    write_case(tmp_path / "two", tests)
    for keyword, names in {
        "alph": {("one", "alpha"), ("two", "alpha")},
        "/one/": {("one", "alpha"), ("one", "beta")},
    }.items():
        ran = run(tmp_path, "-k", keyword, "--url", cluster_url)
        assert (ran.code, set(results(ran))) == (0, names)
    ran = run(tmp_path, "-k", "gamma", "--url", cluster_url)
    assert (ran.code, ran.out) == (2, "")
    assert "no tests found whose file or name contains 'gamma'" in ran.err


def test_a_rule_without_tests_is_said(tmp_path: Path) -> None:
    rule = write(tmp_path / "r.yml", rule_text())
    ran = sigmawatch("test", rule, "--url", "http://127.0.0.1:1")
    assert ran.code == 2
    assert f"{rule}:1: warning: no tests: r.test.yml is missing" in ran.err
    assert "no tests found" in ran.err


def test_datasets_are_tested_by_their_samples(cluster_url: str, tmp_path: Path) -> None:
    builtin = Path(__file__).parents[2] / "ingest_pipelines" / "flow.aws_vpc"
    ran = run(builtin, "--url", cluster_url)
    assert (ran.code, ran.json["failed"]) == (0, 0)
    assert {one["rule"] for one in ran.json["tests"]} == {str(builtin)}
    assert all(one["name"].startswith("sample ") for one in ran.json["tests"])
