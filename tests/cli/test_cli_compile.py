"""`sigmawatch compile` with good rules, bad rules and places that cannot be written."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest

from cli.command_line import new_id, rule_text, sigmawatch, write


def lines(text: str) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in text.splitlines()]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write(tmp_path / "rules" / "good.yml", rule_text())


@pytest.fixture
def bad(good: Path) -> Path:
    return write(good.with_name("bad.yml"), rule_text("app.action|contians: x"))


@pytest.mark.parametrize(("form", "key"), [("plan", "query"), ("search", "query"), ("watch", "trigger")])
def test_each_rule_is_one_line_of_json_on_standard_output(form: str, key: str, good: Path) -> None:
    ran = sigmawatch("compile", good, "--format", form)
    assert ran.code == 0
    (document,) = lines(ran.out)
    assert key in document


def test_each_rule_is_one_file_named_by_its_id(tmp_path: Path) -> None:
    ids = [new_id(), new_id()]
    text = "---\n".join(rule_text(head=f"id: {each}") for each in ids)
    rules = write(tmp_path / "rules.yml", text)
    ran = sigmawatch("compile", rules, "--output", tmp_path / "a" / "b")
    assert (ran.code, ran.out) == (0, "")
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == {f"{each}.json" for each in ids}


def test_a_rule_without_id_is_named_by_its_name(tmp_path: Path) -> None:
    rule = write(tmp_path / "r.yml", rule_text(head="name: my_rule"))
    assert sigmawatch("compile", rule, "--output", tmp_path / "out").code == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["my_rule.json"]


def test_hostile_names_stay_inside_the_folder_and_never_meet(tmp_path: Path) -> None:
    names = [
        "../../x",
        "/etc/x",
        "..",
        ".",
        "a/b",
        "a b",
        "a_b",
        ".hidden",
        "a\\b",
        "con:x",
        "-",
        "x" * 5000,
        "y\0",
    ]
    rules = [rule_text(head=f"name: {orjson.dumps(name).decode()}") for name in names]
    path = write(tmp_path / "rules" / "r.yml", "---\n".join(rules))
    before = set(tmp_path.rglob("*"))
    out = tmp_path / "deep" / "out"
    ran = sigmawatch("compile", path, "--output", out)
    assert ran.code == 0, ran.err
    made = set(tmp_path.rglob("*")) - before - {tmp_path / "deep", out}
    assert {file.parent for file in made} == {out}
    assert not [file for file in made if file.name.startswith(".")]
    assert sorted(orjson.loads(file.read_bytes())["rule"]["id"] for file in made) == sorted(names)


INVALID = {
    "broken YAML": ("title: [x\n", ":2: error: not valid YAML"),
    "a duplicate key": (rule_text() + "level: low\n", ":9: error: duplicate key 'level' (first on line 3)"),
    "an unknown modifier": (rule_text("a|contians: x"), ":7: error: Unknown modifier 'contians'"),
    "an id that is none": (rule_text(head="id: ../../x"), ":2: error: "),
    "an unknown level": (rule_text().replace("high", "hihg"), ":3: error: "),
    "a condition without meaning": (
        rule_text().replace("condition: sel", "condition: 1 fo sel"),
        ":8: error: ",
    ),
    "a condition about nothing": (
        rule_text().replace("condition: sel", "condition: filter or sel"),
        ":8: error: ",
    ),
    "a list": ("- a\n- b\n", ":1: error: a rule is a mapping"),
    "other YAML": ("a: 1\n", ":1: error: not a Sigma rule"),
    "nothing": ("# nothing\n", ":1: error: no rule in it"),
    "an unknown base rule": (
        f"title: c\nid: {new_id()}\ncorrelation:\n  type: event_count\n  rules: [gone]\n  group-by: [a]\n"
        "  timespan: 1m\n  condition: {gte: 2}\n",
        ":5: error: ",
    ),
    "neither id nor name": (rule_text(head="status: test"), ":5: error: a rule needs an id"),
}


def test_every_invalid_rule_is_named_with_its_line_and_hides_no_other(good: Path) -> None:
    said = {}
    for what, (text, message) in INVALID.items():
        bad = write(good.with_name(f"{what}.yml"), text)
        said[what] = f"{bad}{message}"
    out = good.parent.parent / "out"
    ran = sigmawatch("compile", good.parent, "--output", out)
    assert (ran.code, ran.out) == (2, "")
    assert [what for what, message in said.items() if message not in ran.err] == []
    assert f"{len(INVALID)} errors: nothing was written" in ran.err
    assert not out.exists()


def test_bytes_that_are_no_text_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "r.yml"
    path.write_bytes(b"title: \xff\xfe\n")
    ran = sigmawatch("compile", path)
    assert (ran.code, ran.out) == (2, "")
    assert f"{path}:1: error: not valid YAML" in ran.err


def test_nothing_is_printed_when_any_rule_is_invalid(good: Path, bad: Path) -> None:
    ran = sigmawatch("compile", good, bad)
    assert (ran.code, ran.out) == (2, "")


def test_keep_going_writes_the_good_ones_and_still_exits_with_2(good: Path, bad: Path) -> None:
    ran = sigmawatch("compile", good.parent, "--keep-going", "--output", good.parent.parent / "out")
    assert ran.code == 2
    assert f"{bad}:7: error: Unknown modifier" in ran.err
    assert "1 error: 1 rule written" in ran.err
    assert len(list((good.parent.parent / "out").iterdir())) == 1
    assert len(lines(sigmawatch("compile", good, bad, "--keep-going").out)) == 1


def test_a_folder_without_rules_is_an_error(tmp_path: Path) -> None:
    ran = sigmawatch("compile", tmp_path)
    assert ran.code == 2
    assert "no rules found" in ran.err


def test_a_folder_that_is_no_pack_is_an_error(tmp_path: Path, good: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    ran = sigmawatch("compile", good, "--pack", other)
    assert ran.code == 2
    assert "is no pack" in ran.err


def test_an_output_that_cannot_be_a_folder_is_an_error(good: Path) -> None:
    ran = sigmawatch("compile", good, "--output", good / "x")
    assert ran.code == 2
    assert "cannot be written" in ran.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_an_output_folder_without_rights_is_an_error(good: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o500)
    ran = sigmawatch("compile", good, "--output", tmp_path / "out")
    assert ran.code == 2
    assert "Permission denied" in ran.err


def test_a_file_that_cannot_be_written_leaves_all_as_they_were(tmp_path: Path) -> None:
    names = ["first", "second"]
    rules = write(tmp_path / "r.yml", "---\n".join(rule_text(head=f"name: {name}") for name in names))
    out = tmp_path / "out"
    (out / "second.json").mkdir(parents=True)  # a folder in the way of the second
    ran = sigmawatch("compile", rules, "--output", out)
    assert ran.code == 2
    assert [path.name for path in out.rglob("*")] == ["second.json"]
    assert "second.json is a folder" in ran.err


def test_rules_of_a_pack_know_its_datasets_and_those_that_come_with_us(tmp_path: Path) -> None:
    text = rule_text("source.ip: 10.0.0.1", "product: aws, service: vpcflow")
    rule = write(tmp_path / "rules" / "r.yml", text)
    (document,) = lines(sigmawatch("compile", rule).out)
    assert document["indices"] == ["logs-flow.aws_vpc-*"]


def test_of_many_warnings_of_one_kind_the_first_are_told_and_how_many_there_are(tmp_path: Path) -> None:
    rules = [rule_text(head=f"id: {new_id()}") for _ in range(30)]
    ran = sigmawatch("compile", write(tmp_path / "rules.yml", "---\n".join(rules)), "--format", "search")
    assert ran.code == 0
    told = ran.err.splitlines()
    assert sum("no dataset serves the log source" in line for line in told) == 3
    assert [line for line in told if "more warnings" in line] == [
        "… and 27 more warnings of this kind (logsource); `sigmawatch check --all` lists them"
    ]
    checked = sigmawatch("check", "--all", tmp_path)
    assert checked.err.count("no dataset serves the log source") == 30
