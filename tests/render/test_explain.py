"""`sigmawatch explain`: what a rule looks for in words that match its query, and what a change of it changes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli.command_line import rule_text, sigmawatch, write
from sigmawatch.compile.plan import Correlation, CorrelationNode, Query, ValueField
from sigmawatch.pack.layout import builtin_pack, rule_files
from sigmawatch.render.words import datasets_of, spell_correlation, spell_query

SCOPE: Query = {"terms": {"event.dataset": ["auth.sshd"]}}


def cased(value: str, kind: str = "term") -> Query:
    return {kind: {"a": {"value": value, "case_insensitive": True}}}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (cased("x"), 'a is "x"'),
        ({"term": {"a": "x"}}, 'a is exactly "x"'),
        ({"term": {"a": "1"}}, 'a is "1"'),
        ({"term": {"a": 22}}, "a is 22"),
        ({"term": {"a": True}}, "a is true"),
        ({"term": {"a": "10.0.0.0/8"}}, "a is in 10.0.0.0/8"),
        ({"term": {"a": 'say "x"\n'}}, 'a is exactly "say \\"x\\"\\n"'),
        (cased("*x*", "wildcard"), 'a contains "x"'),
        (cased("*\\*x", "wildcard"), 'a ends with "*x"'),
        (cased("x\\\\*", "wildcard"), 'a starts with "x\\\\"'),
        (cased("x?y*", "wildcard"), 'a is like "x?y*"'),
        ({"wildcard": {"a": {"value": "*X"}}}, 'a ends with exactly "X"'),
        ({"regexp": {"a": {"value": "x.*", "flags": "NONE"}}}, "a matches /x.*/"),
        ({"range": {"a": {"gte": 5, "lt": 9}}}, "a is at least 5 and less than 9"),
        ({"exists": {"field": "a"}}, "a is there"),
        ({"bool": {"must_not": [{"exists": {"field": "a"}}]}}, "a is missing"),
        ({"bool": {"must_not": [cased("x")]}}, 'not a is "x"'),
        ({"bool": {"filter": [SCOPE, cased("x")]}}, 'a is "x"'),
        ({"bool": {"filter": [SCOPE]}}, "every event"),
        ({"match_none": {}}, "never (the type of a field holds no such value)"),
        ({"script": {"script": {"id": "s", "params": {"field": "a"}}}}, 'the script s holds for {"field": "a"}'),
        ({"unheard_of": {"a": 1}}, '{"unheard_of": {"a": 1}}'),
        (
            {"bool": {"filter": [cased("x"), {"bool": {"should": [cased("y"), cased("z")], "minimum_should_match": 1}}]}},
            'a is "x" and (a is "y" or a is "z")',
        ),
        (
            {"bool": {"must_not": [{"bool": {"should": [cased("y"), cased("z")]}}]}},
            'not (a is "y" or a is "z")',
        ),
    ],
)  # fmt: skip
def test_a_query_is_said_in_one_sentence(query: Query, words: str) -> None:
    assert spell_query(query) == [words]


def test_what_is_long_becomes_a_tree() -> None:
    values = [cased("x" * 30 + str(number)) for number in range(4)]
    query: Query = {"bool": {"filter": [SCOPE, {"exists": {"field": "b"}}, {"bool": {"should": values}}]}}
    lines = spell_query(query)
    assert lines[:4] == ["all of:", "  b is there", "  any of:", f'    a is "{"x" * 30}0"']
    assert len(lines) == 7


def test_datasets_are_found_wherever_they_are() -> None:
    query: Query = {
        "bool": {"filter": [SCOPE, {"bool": {"must_not": [cased("x"), {"exists": {"field": "b"}}]}}]}
    }
    assert datasets_of({"bool": {"should": [query, query]}}) == ["auth.sshd"]
    assert datasets_of(cased("x")) == []


def correlation(node: CorrelationNode, *by: str) -> Correlation:
    values = (ValueField("port", numeric=False), ValueField("bytes", numeric=True))
    return Correlation(node, by, ({"match_all": {}},) * 3, values)


BURST = CorrelationNode("event_count", 60_000, {"gte": 3}, (0,), by=(0,))
EXPRESSION = {"and": [{"input": 0}, {"not": {"input": 1}}]}


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (
            CorrelationNode("event_count", 300_000, {"gt": 5}, (0, 1)),
            "more than 5 events of A or B within 5m",
        ),
        (
            CorrelationNode("value_count", 60_000, {"gte": 3}, (0,), values=(0,)),
            "at least 3 different port in events of A within 1m",
        ),
        (
            CorrelationNode("value_sum", 3_600_000, {"gt": 9}, (0,), values=(1,)),
            "a sum of bytes of more than 9 in events of A within 1h",
        ),
        (CorrelationNode("temporal", 60_000, {"gte": 2}, (0, 1)), "all of A, B, in any order within 1m"),
        (
            CorrelationNode("temporal", 60_000, {"gte": 2}, (0, 1, 2)),
            "at least 2 of A, B, C, in any order within 1m",
        ),
        (CorrelationNode("temporal", 60_000, {}, (0, 1), expression=EXPRESSION), "(A and no B) within 1m"),
        (
            CorrelationNode("temporal_ordered", 120_000, {"gte": 2}, (BURST, 1)),
            "(at least 3 events of A within 1m, for each port), then B within 2m",
        ),
    ],
)
def test_a_correlation_is_said_in_one_sentence(node: CorrelationNode, words: str) -> None:
    names = ["A", "B", "C"]
    assert spell_correlation(correlation(node, "x", "y"), names) == f"{words}, for each x and y"
    assert spell_correlation(correlation(node), names) == f"{words}, over all events together"


BASE = rule_text(head="name: base\nid: 0b7d1f5e-4f27-4d2f-8b54-000000000014")
BURSTS = """title: Burst
id: 0b7d1f5e-4f27-4d2f-8b54-000000000013
correlation:
  type: event_count
  rules: [base]
  group-by: [source.ip]
  timespan: 1m
  condition: {gte: 3}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    write(tmp_path / "rules" / "base.yml", BASE)
    return write(tmp_path / "rules" / "burst.yml", BURSTS)


def test_every_rule_of_the_built_in_pack_can_be_explained() -> None:
    for path in rule_files([builtin_pack().rules]):
        ran = sigmawatch("explain", path)
        assert ran.code == 0, ran.err
        assert "  selects " in ran.out
        assert "  alerts when " in ran.out


def test_a_correlation_is_explained_with_base_rules_from_other_files(rules: Path) -> None:
    ran = sigmawatch("explain", rules)
    assert ran.code == 0, ran.err
    said = {" ".join(line.split()) for line in ran.out.splitlines()}
    assert said >= {
        "Burst",
        f"file {rules}",
        "log source product: acme",
        "datasets none serves this log source",
        "selects base:",
        'app.action is "delete"',
        'requires app.action is "delete"',
        "alerts when at least 3 events of base within 1m, for each source.ip",
        "window 1m, ending at every event; 2m of events decide",
        "evaluated every 1m, looking 5m further back for late events",
        "alert fields source.ip",
        "on watcher yes",
        "on opensearch yes",
    }
    assert any(line.startswith("on kibana no: correlation type event_count") for line in said)
    assert any(
        line.startswith("watch sigmawatch-0b7d1f5e-4f27-4d2f-8b54-000000000013, cron ") for line in said
    )


def test_json_has_the_same_facts_and_what_is_executed(rules: Path) -> None:
    (found,) = sigmawatch("explain", rules, "--format", "json").json["rules"]
    assert found["rule"]["id"] == "0b7d1f5e-4f27-4d2f-8b54-000000000013"
    assert found["log_sources"] == ["product: acme"]
    assert found["alerts_when"] == "at least 3 events of base within 1m, for each source.ip"
    assert found["correlation"]["lookback"] == "2m"
    assert found["selections"][0]["selects"] == ['app.action is "delete"']
    assert found["selections"][0]["query"] == found["query"]
    assert found["requires"] == [[["app.action", "equals", "delete"]]]
    assert found["watch"]["body"]["trigger"]["schedule"] == found["schedule"]["watch"]
    assert found["targets"]["kibana"]["refused"]
    assert found["targets"]["runner"]["refused"] is None


def test_a_plain_rule_names_the_fields_it_asks_for_first(rules: Path) -> None:
    (found,) = sigmawatch("explain", rules.with_name("base.yml"), "--format", "json").json["rules"]
    assert found["alerts_when"] == "an event is selected"
    assert "app.action" in found["alert_fields"]
    ran = sigmawatch("explain", rules.with_name("base.yml"))
    (line,) = [line for line in ran.out.splitlines() if line.strip().startswith("alert fields")]
    assert line.split()[2] == "app.action,"


def test_the_whole_watch_is_shown_where_it_is_asked_for(rules: Path) -> None:
    assert '"trigger"' not in sigmawatch("explain", rules).out
    assert '"trigger"' in sigmawatch("explain", rules, "--full").out


def test_an_invalid_rule_is_not_explained(rules: Path) -> None:
    bad = write(rules.with_name("bad.yml"), rule_text("app.action|contians: x"))
    ran = sigmawatch("explain", bad)
    assert (ran.code, ran.out) == (2, "")
    assert f"{bad}:7: error: Unknown modifier" in ran.err


def test_a_missing_base_rule_is_an_error(tmp_path: Path) -> None:
    rule = write(tmp_path / "alone" / "burst.yml", BURSTS)
    ran = sigmawatch("explain", rule)
    assert ran.code == 2
    assert f"{rule}:5: error: " in ran.err


def test_a_copy_of_a_rule_does_not_differ(rules: Path) -> None:
    copy = write(rules.parent.parent / "copy.yml", rules.read_text(encoding="utf-8"))
    ran = sigmawatch("explain", rules, "--diff", copy)
    assert (ran.code, ran.out) == (0, "No difference: plan, search and watch are the same.\n")
    assert sigmawatch("explain", rules, "--diff", copy, "--format", "json").json == {
        "differs": False,
        "diff": [],
    }


def test_what_differs_is_shown_as_a_diff_of_plan_search_and_watch(rules: Path) -> None:
    old = (
        rules.read_text(encoding="utf-8")
        .replace("gte: 3", "gte: 2")
        .replace("title: Burst", "title: Old burst")
    )
    copy = write(rules.parent.parent / "old.yml", old)
    ran = sigmawatch("explain", rules, "--diff", copy)
    assert ran.code == 1
    lines = [line.replace(" ", "") for line in ran.out.splitlines()]
    assert ran.out.startswith(f"--- {copy} (0b7d1f5e")
    assert lines.count('-"gte":2') >= 3  # plan, search, watch
    assert lines.count('-"gte":2') == lines.count('+"gte":3')
    assert '-"title":"Oldburst"' in lines
    found = sigmawatch("explain", rules, "--diff", copy, "--format", "json")
    assert (found.code, found.json["differs"]) == (1, True)


def test_comments_and_order_make_no_difference(rules: Path) -> None:
    base = rules.with_name("base.yml")
    head, rest = BASE.split("level: high\n")
    copy = write(rules.parent.parent / "base.yml", f"# A comment\nlevel: high\n{head}{rest}")
    assert sigmawatch("explain", base, "--diff", copy).code == 0


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(rules: Path) -> Path:
    """The rules in a repository, committed once."""
    top = rules.parent.parent
    git(top, "init", "-q")
    git(top, "add", ".")
    git(top, "commit", "-qm", "first")
    return rules


def test_a_rule_is_compared_with_a_revision(repository: Path) -> None:
    assert sigmawatch("explain", repository, "--git", "HEAD").code == 0
    write(repository, BURSTS.replace("gte: 3", "gte: 4"))
    ran = sigmawatch("explain", repository, "--git", "HEAD")
    assert ran.code == 1
    assert ran.out.startswith(f"--- HEAD:{repository} (0b7d1f5e")
    relative: Any = repository.name
    assert sigmawatch("explain", relative, "--git", "HEAD", cwd=repository.parent).code == 1


def test_a_revision_brings_its_own_base_rules(repository: Path) -> None:
    write(repository.with_name("base.yml"), BASE.replace("delete", "remove"))
    ran = sigmawatch("explain", repository, "--git", "HEAD")
    assert ran.code == 1
    assert "-" in ran.out
    assert '"value": "delete"' in ran.out
    assert '"value": "remove"' in ran.out


@pytest.mark.parametrize(
    ("revision", "said"),
    [("gone", "git: "), ("--output=x", "git: "), ("HEAD:rules", "git: ")],
)
def test_a_revision_that_is_none_is_an_error(repository: Path, revision: str, said: str) -> None:
    ran = sigmawatch("explain", repository, f"--git={revision}")
    assert (ran.code, ran.out) == (2, "")
    assert f"error: {said}" in ran.err
    assert {path.name for path in repository.parent.iterdir()} == {"base.yml", "burst.yml"}


def test_a_rule_that_is_new_since_a_revision_is_said_to_be(repository: Path) -> None:
    new = write(repository.with_name("new.yml"), rule_text())
    ran = sigmawatch("explain", new, "--git", "HEAD")
    assert ran.code == 2
    assert f"{new} was not there in HEAD" in ran.err


def test_outside_of_a_repository_there_is_no_revision(rules: Path) -> None:
    ran = sigmawatch(
        "explain", rules, "--git", "HEAD", env={"GIT_CEILING_DIRECTORIES": str(rules.parent.parent.parent)}
    )
    assert ran.code == 2
    assert "error: git: " in ran.err


def test_two_versions_at_once_are_refused(rules: Path) -> None:
    ran = sigmawatch("explain", rules, "--git", "HEAD", "--diff", rules)
    assert ran.code == 2
    assert "exclude each other" in ran.err
