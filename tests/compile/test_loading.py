"""Loading rules: every problem with its file and line, one never hiding another."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from sigmawatch.compile.compiler import CompileContext, Compiled, compile_rules
from sigmawatch.compile.plan import DetectionPlan
from sigmawatch.pack.rules import load_rules

RULE = """\
title: Base
id: 00000000-0000-4000-8000-000000000001
name: base
logsource:
  category: test
detection:
  selection:
    user.name: root
  condition: selection
"""

CORRELATION = """\
title: Many
id: 00000000-0000-4000-8000-000000000002
name: many
correlation:
  type: event_count
  rules:
    - base
  group-by: [source.ip]
  timespan: 5m
  condition:
    gte: 3
"""


def compiled(tmp_path: Path, **files: str) -> Compiled:
    paths = []
    for name, text in files.items():
        path = tmp_path / f"{name}.yml"
        path.write_text(dedent(text), encoding="utf-8")
        paths.append(path)
    return compile_rules(load_rules(paths), CompileContext(root=tmp_path))


def only_error(tmp_path: Path, text: str, **more: str) -> str:
    found = compiled(tmp_path, rule=text, **more)
    (error,) = found.errors
    assert error.path == tmp_path / "rule.yml"
    return f"{error.line}: {error.message}"


def test_a_rule_becomes_a_plan(tmp_path: Path) -> None:
    (plan,) = compiled(tmp_path, rule=RULE).plans
    assert plan.rule.title == "Base"
    assert plan.rule.source == "rule.yml"
    assert plan.query == {"term": {"user.name": {"value": "root", "case_insensitive": True}}}


def test_base_rules_of_a_correlation_raise_no_alerts_of_their_own(tmp_path: Path) -> None:
    (plan,) = compiled(tmp_path, rule=RULE, more=CORRELATION).plans
    assert plan.rule.title == "Many"


def test_base_rules_raise_alerts_when_the_correlation_says_generate(tmp_path: Path) -> None:
    text = CORRELATION.replace("  timespan", "  generate: true\n  timespan")
    assert {plan.rule.title for plan in compiled(tmp_path, rule=RULE, more=text).plans} == {"Base", "Many"}


def test_a_correlation_without_what_it_seems_to_say_is_refused(tmp_path: Path) -> None:
    text = CORRELATION.replace("group-by", "group_by")
    (error,) = compiled(tmp_path, rule=text, base=RULE).errors
    assert (error.line, error.message) == (8, "correlation: unknown key group_by")
    assert error.hint == "did you mean group-by?"


def test_a_correlation_may_stand_before_its_base_rules(tmp_path: Path) -> None:
    (plan,) = compiled(tmp_path, a=CORRELATION, b=RULE).plans
    assert plan.rule.title == "Many"


def test_a_correlation_may_refer_to_its_base_rule_by_id(tmp_path: Path) -> None:
    text = CORRELATION.replace("- base", "- 00000000-0000-4000-8000-000000000001")
    (plan,) = compiled(tmp_path, a=text, b=RULE).plans
    assert plan.rule.title == "Many"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("user.name: root", "user.name: [", "10: not valid YAML: did not find expected ',' or ']'"),
        ("title: Base", "title: Base\ntitle: Twice", "2: duplicate key 'title' (first on line 1)"),
        ("user.name: root", "user.name|nosuch: root", "8: Unknown modifier 'nosuch'"),
        ("condition: selection", "condition: selection and", "9: "),
        ("condition: selection", "condition: nosuch", "9: "),
        ("user.name: root", "user.name|re: '('", "8: "),
        ("user.name: root", "source.ip|cidr: 10.0.0.1/8", "8: "),
        ("user.name: root", "source.bytes|gt: many", "8: "),
        ("category: test", "nothing: test", "4: "),
        ("detection:", "detections:", "6: not a Sigma rule"),
        ("detection:", "search:", "1: not a Sigma rule"),
        ("user.name: root", "user.name|contains:", "8: the modifier contains cannot be used with no value"),
        ("id: 0", "id: x", "2: "),
        ("level", "level", None),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, old: str, new: str, expected: str | None) -> None:
    if expected is None:
        expected, text = "10: ", RULE + "level: terrible\n"
    else:
        text = RULE.replace(old, new)
    assert text != RULE
    assert only_error(tmp_path, text).startswith(expected)


def test_one_bad_rule_hides_neither_the_good_nor_the_other_bad_ones(tmp_path: Path) -> None:
    broken = RULE.replace("user.name:", "user.name|nosuch:")
    found = compiled(
        tmp_path,
        a=broken.replace("0001", "0003").replace("name: base", "name: a"),
        b=RULE,
        c="title: [\n",
        d=broken.replace("0001", "0004").replace("name: base", "name: d"),
    )
    assert [plan.rule.title for plan in found.plans] == ["Base"]
    assert [error.path and error.path.name for error in found.errors] == ["a.yml", "c.yml", "d.yml"]


def test_an_unknown_base_rule_is_told_where_it_is_named(tmp_path: Path) -> None:
    assert only_error(tmp_path, CORRELATION).startswith("6: Rule 'base' not found")


def test_a_base_rule_that_does_not_compile_is_named_by_its_correlation(tmp_path: Path) -> None:
    found = compiled(tmp_path, base=RULE.replace("user.name:", "event.original:"), rule=CORRELATION)
    assert not found.plans
    assert "rule 'base', which it refers to, does not compile" in found.errors[1].message


def test_correlations_that_refer_to_each_other_are_refused(tmp_path: Path) -> None:
    first = CORRELATION.replace("- base", "- other")
    second = (
        CORRELATION.replace("0002", "0003").replace("name: many", "name: other").replace("- base", "- many")
    )
    found = compiled(tmp_path, a=first, b=second)
    assert not found.plans
    assert any("refers to itself" in error.message for error in found.errors)


def test_an_id_or_name_used_twice_is_refused(tmp_path: Path) -> None:
    found = compiled(tmp_path, a=RULE, b=RULE.replace("name: base", "name: other"))
    assert [plan.rule.title for plan in found.plans] == ["Base"]
    assert "is already used in" in found.errors[0].message


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("timespan: 5m", "timespan: 0m", "timespan"),
        ("timespan: 5m", "timespan: soon", "timespan"),
        ("type: event_count", "type: nosuch", "type"),
        ("gte: 3", "gte: many", "count"),
        ("gte: 3", "gte: 3\n    lt: 3", "no value meets the condition"),
        ("gte: 3", "gte: .nan", "count"),
        ("gte: 3", "nosuch: 3", "condition"),
        ("type: event_count", "type: value_sum", "field"),
        ("type: event_count", "type: temporal_ordered", "which of them"),
    ],
)
def test_a_correlation_that_makes_no_sense_or_is_not_built_yet_is_refused(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    text = CORRELATION.replace(old, new)
    found = compiled(tmp_path, base=RULE, rule=text)
    (error,) = found.errors
    assert error.path == tmp_path / "rule.yml"
    assert expected.lower() in error.message.lower()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("gt: 3", {"gt": 3}),
        ("lte: 0", {"lte": 0}),
        ("eq: 7", {"eq": 7}),
        ("neq: 7", {"neq": 7}),
        ("gte: 2.5", {"gte": 2.5}),
        ("gt: 100\n    lte: 200", {"gt": 100, "lte": 200}),
    ],
)
def test_a_correlation_keeps_its_bounds_as_they_were_written(
    tmp_path: Path, written: str, expected: dict[str, float]
) -> None:
    (plan,) = compiled(tmp_path, base=RULE, rule=CORRELATION.replace("gte: 3", written)).require()
    assert plan.correlation is not None
    assert plan.correlation.root.condition == expected


def test_generate_may_stand_where_the_specification_has_it(tmp_path: Path) -> None:
    found = compiled(tmp_path, rule=RULE, more=CORRELATION + "generate: true\n")
    assert {plan.rule.title for plan in found.plans} == {"Base", "Many"}


def test_an_extended_condition_becomes_an_expression_over_the_rules_it_names(tmp_path: Path) -> None:
    other = RULE.replace("0001", "0005").replace("name: base", "name: other")
    text = """\
        title: One without the other
        id: 00000000-0000-4000-8000-000000000009
        correlation:
          type: temporal
          group-by: [source.ip]
          timespan: 1m
          condition: base and not other
    """
    (plan,) = compiled(tmp_path, a=RULE, b=other, c=text).require()
    assert plan.correlation is not None
    assert plan.correlation.root.expression == {"and": [{"input": 0}, {"not": {"input": 1}}]}
    assert DetectionPlan.from_dict(plan.to_dict()) == plan
    ordered = text.replace("temporal", "temporal_ordered")
    for condition in ("base and not other", "base or other", "other and base"):
        rules = ordered.replace("base and not other", f"{condition}\n          rules: [base, other]")
        assert "no order" in compiled(tmp_path, a=RULE, b=other, c=rules).errors[0].message
    (plan,) = compiled(tmp_path, a=RULE, b=other, c=ordered.replace("not ", "")).require()
    assert plan.correlation is not None
    root = plan.correlation.root
    assert (root.type, root.inputs, root.expression) == ("temporal_ordered", (0, 1), None)


@pytest.mark.parametrize(
    ("correlation", "values", "percentile"),
    [
        ("value_count", "[user.name, source.port]", 50),
        ("value_median", "source.bytes", 50),
        ("value_percentile", "source.bytes\n    percentile: 95", 95),
    ],
)
def test_a_correlation_over_values_names_their_fields(
    tmp_path: Path, correlation: str, values: str, percentile: float
) -> None:
    text = CORRELATION.replace("event_count", correlation).replace("gte: 3", f"gte: 3\n    field: {values}")
    (plan,) = compiled(tmp_path, base=RULE, rule=text).require()
    assert plan.correlation is not None
    fields = [plan.correlation.values[slot].field for slot in plan.correlation.root.values]
    assert fields == (["user.name", "source.port"] if correlation == "value_count" else ["source.bytes"])
    assert plan.correlation.root.percentile == percentile


def test_a_filter_narrows_the_rules_it_names(tmp_path: Path) -> None:
    text = """\
        title: Not the scanner
        logsource:
          category: test
        filter:
          rules: [base]
          selection:
            source.ip: 10.0.0.9
          condition: not selection
    """
    (plan,) = compiled(tmp_path, rule=RULE, narrowing=text).plans
    assert {"bool": {"must_not": [{"term": {"source.ip": "10.0.0.9"}}]}} in plan.query["bool"]["filter"]


def test_a_rule_says_how_often_it_runs_and_what_it_weighs(tmp_path: Path) -> None:
    text = RULE + "level: low\nsigmawatch: {interval: 90s, risk_score: 5, runbook: Call Anna}\n"
    (plan,) = compiled(tmp_path, rule=text).plans
    assert (plan.interval, plan.rule.severity, plan.rule.risk_score) == (90, 21, 5)
    assert plan.rule.runbook == "Call Anna"


@pytest.mark.parametrize("options", ["{interval: soon}", "{risk_score: 101}", "{nosuch: 1}", "[1]"])
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: str) -> None:
    assert "sigmawatch:" in only_error(tmp_path, RULE + f"sigmawatch: {options}\n")


def test_a_file_built_to_explode_is_refused(tmp_path: Path) -> None:
    bomb = "a: &a [1, 1]\n" + "".join(f"b{number}: &b{number} [*a, *a]\n" for number in range(200))
    assert "YAML aliases" in only_error(tmp_path, bomb)


def test_a_file_of_ten_megabytes_is_refused(tmp_path: Path) -> None:
    assert "the limit is" in only_error(tmp_path, RULE + "#" * 10_000_001)


ALIASED = """\
title: Both
id: 00000000-0000-4000-8000-000000000010
correlation:
  type: temporal
  rules: [base, other]
  aliases:
    who:
      base: source.ip
      other: destination.ip
  group-by: [who]
  timespan: 1m
"""


def test_an_alias_stands_for_a_field_of_each_rule(tmp_path: Path) -> None:
    other = RULE.replace("0001", "0005").replace("name: base", "name: other")
    (plan,) = compiled(tmp_path, a=RULE, b=other, c=ALIASED).require()
    assert plan.correlation is not None
    assert plan.correlation.group_by == ("who",)
    assert plan.correlation.aliased == (("source.ip", "destination.ip"),)
    assert DetectionPlan.from_dict(plan.to_dict()) == plan


def test_an_alias_for_one_field_is_that_field(tmp_path: Path) -> None:
    other = RULE.replace("0001", "0005").replace("name: base", "name: other")
    text = ALIASED.replace("destination.ip", "source.ip")
    (plan,) = compiled(tmp_path, a=RULE, b=other, c=text).require()
    assert plan.correlation is not None
    assert (plan.correlation.group_by, plan.correlation.aliased) == (("source.ip",), ())


def test_an_alias_that_leaves_a_rule_out_is_refused(tmp_path: Path) -> None:
    other = RULE.replace("0001", "0005").replace("name: base", "name: other")
    third = RULE.replace("0001", "0006").replace("name: base", "name: third")
    found = compiled(tmp_path, a=RULE, b=other, c=third, d=ALIASED.replace("other]", "other, third]"))
    assert "alias who says nothing of base rule third" in found.errors[0].message
