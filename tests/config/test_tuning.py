"""What a site says differently about rules: applied to what they compile to, with the pack left as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sigmawatch.bundle import compile_pack
from sigmawatch.compile.plan import DetectionPlan
from sigmawatch.config import Environment, changed_under, load_configuration
from sigmawatch.errors import ContentError, Severity
from sigmawatch.pack.layout import Pack

RULES = """\
title: Failed login
id: 11111111-1111-4111-8111-111111111111
name: failed
level: low
logsource: {product: acme}
detection:
  selection: {event.outcome: failure}
  condition: selection
---
title: Many failed logins
id: 22222222-2222-4222-8222-222222222222
level: medium
correlation:
  type: event_count
  rules: [failed]
  group-by: [source.ip]
  timespan: 10m
  condition: {gte: 10}
  generate: true
"""
PLAIN, MANY = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules/login.yml").write_text(RULES)
    return Pack("p", tmp_path)


def site(pack: Pack, text: str, environment: str = "") -> Environment:
    path = pack.root / "sigmawatch.yml"
    path.write_text(text)
    found = load_configuration(path)
    return found.environment(environment) if environment else found.everywhere


def compiled(pack: Pack, site: Environment | None = None) -> tuple[dict[str, DetectionPlan], list[str]]:
    found, _ = compile_pack(pack, site=site)
    return {plan.rule.id: plan for plan in found.require()}, [
        f"{one.line}: {one.message}" for one in found.problems if one.code == "tuning"
    ]


def threshold(plan: DetectionPlan) -> dict[str, float]:
    assert plan.correlation is not None
    return dict(plan.correlation.root.condition)


def test_a_threshold_a_schedule_and_a_severity_are_the_sites(pack: Pack) -> None:
    text = f"rules:\n  {MANY}: {{condition: {{gte: 50}}, interval: 2m, level: high}}\n"
    before, _ = compiled(pack)
    plans, problems = compiled(pack, site(pack, text))
    many = plans[MANY]
    assert (threshold(many), many.interval) == ({"gte": 50}, 120)
    assert (many.rule.level, many.rule.severity, many.rule.risk_score) == ("high", 73, 73)
    assert plans[PLAIN] == before[PLAIN]
    assert (threshold(before[MANY]), problems) == ({"gte": 10}, [])


def test_a_rule_that_is_switched_off_is_not_deployed_but_still_a_base(pack: Pack) -> None:
    plans, _ = compiled(pack, site(pack, f"rules: {{{PLAIN}: {{enabled: false}}}}\n"))
    assert set(plans) == {MANY}
    assert plans[MANY].query is not None


def test_an_environment_wins_key_by_key_over_the_site(pack: Pack) -> None:
    text = (
        f"rules:\n  {MANY}: {{condition: {{gte: 50}}, risk_score: 12}}\n  {PLAIN}: {{enabled: false}}\n"
        f"environments:\n  prod:\n    rules:\n      {MANY}: {{condition: {{gte: 99}}}}\n"
        f"      {PLAIN}: {{enabled: true}}\n"
    )
    here, _ = compiled(pack, site(pack, text))
    prod, _ = compiled(pack, site(pack, text, "prod"))
    assert (set(here), set(prod)) == ({MANY}, {PLAIN, MANY})
    assert (threshold(here[MANY]), threshold(prod[MANY])) == ({"gte": 50}, {"gte": 99})
    assert prod[MANY].rule.risk_score == 12


def test_a_rule_may_be_named_by_its_file(pack: Pack) -> None:
    (pack.root / "rules/one.yml").write_text(
        RULES.split("---")[0].replace("1111-4111", "3333-4111").replace("name: failed", "name: other")
    )
    plans, _ = compiled(pack, site(pack, "rules: {rules/one.yml: {level: critical}}\n"))
    assert plans[PLAIN.replace("1111-4111", "3333-4111")].rule.severity == 99
    assert plans[PLAIN].rule.level == "low"


def test_what_changed_under_a_tuning_is_told(pack: Pack) -> None:
    text = (
        f"rules:\n  {MANY}:\n    condition: {{gte: 50}}\n    was: {{condition: {{gte: 10}}, level: medium}}\n"
    )
    assert compiled(pack, site(pack, text))[1] == []
    rules = pack.root / "rules/login.yml"
    rules.write_text(RULES.replace("gte: 10", "gte: 20"))
    plans, problems = compiled(pack, site(pack, text))
    assert threshold(plans[MANY]) == {"gte": 50}, "the tuning survives"
    assert problems == [
        "2: 'Many failed logins' changed under its tuning: condition was at least 10, is now at least 20, "
        "and here at least 50"
    ]


def test_what_changed_under_a_tuning_is_told_from_what_a_release_remembers(pack: Pack) -> None:
    text = f"rules:\n  {MANY}: {{condition: {{gte: 50}}}}\n  {PLAIN}: {{enabled: false}}\n"
    config = site(pack, text)

    def remembered() -> dict[str, Any]:
        said = compile_pack(pack, site=config)[0].untuned
        return dict(json.loads(json.dumps(said)))

    before = remembered()
    assert changed_under(before, remembered(), config.rules) == []
    rules = pack.root / "rules/login.yml"
    rules.write_text(RULES.replace("gte: 10", "gte: 20").replace("level: medium", "level: high"))
    assert changed_under(before, remembered(), config.rules) == [
        "'Many failed logins' changed under its tuning: "
        "condition was at least 10, is now at least 20, and here at least 50"
    ], "the level is not tuned, and simply comes along"
    rules.write_text(RULES.replace("level: low", "level: critical").replace("failure", "denied"))
    assert changed_under(before, remembered(), config.rules) == [
        "'Failed login' changed under its tuning: level was low, is now critical; "
        "interval was 300 s, is now 60 s; what it looks for is another; "
        "it is switched off here",
        "'Many failed logins' changed under its tuning: what it looks for is another",
    ]
    known = site(pack, f"rules:\n  {MANY}: {{condition: {{gte: 50}}, was: {{condition: {{gte: 10}}}}}}\n")
    rules.write_text(RULES.replace("gte: 10", "gte: 20"))
    now = compile_pack(pack, site=known)[0]
    assert "tuning" in [one.code for one in now.problems], "its `was:` tells it"
    assert changed_under(before, now.untuned, known.rules) == []


def test_a_rule_that_is_not_there_is_a_warning(pack: Pack) -> None:
    found, _ = compile_pack(pack, site=site(pack, "rules:\n  gone: {level: high}\n"))
    (problem,) = [one for one in found.problems if one.code == "tuning"]
    assert (problem.line, problem.severity) == (2, Severity.WARNING)
    assert problem.message == "there is no rule gone in this pack"


@pytest.mark.parametrize(
    ("tuning", "said"),
    [
        (f"{PLAIN}: {{condition: {{gte: 5}}}}", "2: condition: 'Failed login' has no threshold"),
        (f"{MANY}: {{interval: 1h}}", "2: interval: 'Many failed logins' looks back 1200 s, so it is the longest"),
        (f"{MANY}: {{interval: 5}}", "2: interval: '5' is not like 90s, 5m or 1h, of at least 10s"),
        (f"{MANY}: {{interval: 5s}}", "2: interval: '5s' is not like 90s, 5m or 1h, of at least 10s"),
        (f"{MANY}: {{level: urgent}}", "2: level: 'urgent' is none"),
        (f"{MANY}: {{risk_score: 101}}", "2: risk_score: 101 is not from 0 to 100"),
        (f"{MANY}: {{condition: {{gte: many}}}}", "2: gte: expected a number"),
        (f"{MANY}: {{condition: {{}}}}", "2: condition: names no threshold"),
        (f"{MANY}: {{condition: {{more: 1}}}}", "2: unknown key 'more'"),
        (f"{MANY}: {{threshold: 1}}", "2: unknown key 'threshold'"),
        (f"{MANY}: {{was: {{enabled: true}}}}", "2: unknown key 'enabled'"),
    ],
)  # fmt: skip
def test_a_tuning_that_cannot_be_is_told_with_its_line(pack: Pack, tuning: str, said: str) -> None:
    with pytest.raises(ContentError) as caught:
        compiled(pack, site(pack, f"rules:\n  {tuning}\n".replace("interval: 5}", "interval: '5'}")))
    (problem,) = caught.value.problems
    assert f"{problem.line}: {problem.message}" == said
    assert problem.path == pack.root / "sigmawatch.yml"


FILTER = """\
title: Not the scanner
logsource: {product: acme}
filter:
  rules: [failed]
  selection: {source.ip: 192.0.2.10}
  condition: not selection
"""


def test_exclusions_are_sigma_filters_of_the_site(pack: Pack) -> None:
    (pack.root / "exclusions").mkdir()
    (pack.root / "exclusions/scanner.yml").write_text(FILTER)
    text = "environments:\n  prod: {exclusions: [exclusions/]}\n  dev:\n"
    prod, _ = compiled(pack, site(pack, text, "prod"))
    dev, _ = compiled(pack, site(pack, text, "dev"))
    assert "192.0.2.10" in str(prod[PLAIN].query)
    assert "192.0.2.10" in str(prod[MANY].correlation), "its correlations have it, too"
    assert "192.0.2.10" not in str(dev)
    (pack.root / "exclusions/scanner.yml").write_text("title: [")
    with pytest.raises(ContentError, match=r"scanner.yml:\d+"):
        compile_pack(pack, site=site(pack, text, "prod"))[0].require()
    with pytest.raises(ContentError, match=r"sigmawatch.yml:1: error: exclusions: none does not exist"):
        site(pack, "exclusions: [none]\n")
