"""Rules of Kibana's detection engine: the exact query, nothing lost between runs, refusals by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from sigma.backends.sigmawatch import SigmawatchBackend
from sigma.collection import SigmaCollection
from sigma.exceptions import SigmaFeatureNotSupportedByBackendError

from cli.command_line import rule_text, sigmawatch, write
from sigmawatch.compile.plan import Correlation, CorrelationNode, DetectionPlan, Query, RuleInfo
from sigmawatch.render.kibana import OWNER_TAG, RuleAction, kibana_artifact, kibana_caveats, kibana_rule
from sigmawatch.render.refusal import RenderRefused

RULE = RuleInfo(
    id="5f1f7ac2-0d0b-4a53-9a42-000000000002",
    title="A rule",
    level="high",
    severity=73,
    risk_score=80,
    description="What it is about.",
    author="somebody",
    license="MIT",
    references=("https://example.org/",),
    tags=("attack.credential-access", "attack.t1110.001", "attack.t1110", "detection.emerging-threats"),
    falsepositives=("Nobody knows",),
    runbook="Look.",
)
QUERY: Query = {
    "bool": {"filter": [{"term": {"event.outcome": "failure"}}, {"exists": {"field": "user.name"}}]}
}
PLAN = DetectionPlan(RULE, ("logs-auth.sshd-*", "logs-other-*"), QUERY, 300)

REQUIRED = {"name", "description", "risk_score", "severity", "type", "language", "query", "rule_id"}
"""What the API wants of a rule of type `query`, and what later deploys find it by."""

CORRELATION = """title: Burst
id: 0b7d1f5e-4f27-4d2f-8b54-000000000003
correlation:
  type: event_count
  rules: [base]
  group-by: [source.ip]
  timespan: 1m
  condition: {gte: 3}
"""


def test_the_query_of_the_plan_is_the_only_thing_that_is_searched_for() -> None:
    body = kibana_rule(PLAN)
    (custom,) = body["filters"]
    assert custom["query"] == QUERY
    assert (custom["meta"]["type"], custom["meta"]["disabled"], custom["meta"]["negate"]) == (
        "custom",
        False,
        False,
    )
    assert json.loads(custom["meta"]["value"]) == QUERY
    assert (body["type"], body["language"], body["query"]) == ("query", "kuery", "")
    assert body["index"] == ["logs-auth.sshd-*", "logs-other-*"]


@pytest.mark.parametrize("text", ['"quoted"', "{{ctx.id}}", "a\\b*", "ü\u2028😀", "user.name: * or true"])
def test_rule_text_stays_a_value(text: str) -> None:
    query: Query = {"term": {"user.name": text}}
    body = json.loads(json.dumps(kibana_rule(replace(PLAN, query=query))))
    assert body["filters"][0]["query"] == query
    assert json.loads(body["filters"][0]["meta"]["value"]) == query
    assert body["query"] == ""


@pytest.mark.parametrize(
    ("interval", "spelled", "back"),
    [
        (300, "5m", "now-10m"),
        (3600, "1h", "now-65m"),
        (86_400, "24h", "now-1445m"),
        (90, "90s", "now-390s"),
        (5, "1m", "now-6m"),
    ],
)
def test_a_run_looks_back_over_its_interval_and_the_lateness_of_events(
    interval: int, spelled: str, back: str
) -> None:
    body = kibana_rule(replace(PLAN, interval=interval))
    assert (body["interval"], body["from"], body["to"]) == (spelled, back, "now")
    assert body["timestamp_override"] == "event.ingested"


def test_an_interval_that_kibana_does_not_have_is_said() -> None:
    assert kibana_caveats(replace(PLAN, interval=5)) == ["evaluated every 60 seconds, not every 5"]
    assert kibana_caveats(PLAN) == []


def test_what_the_rule_says_of_itself_goes_along() -> None:
    body = kibana_rule(PLAN)
    assert body["rule_id"] == RULE.id
    assert (body["severity"], body["risk_score"]) == ("high", 80)
    assert (body["references"], body["false_positives"]) == (["https://example.org/"], ["Nobody knows"])
    assert (body["author"], body["license"], body["note"]) == (["somebody"], "MIT", "Look.")
    assert body["tags"] == [*RULE.tags, OWNER_TAG]
    assert body["enabled"] is False


def test_a_rule_that_says_nothing_of_itself_still_has_all_that_kibana_wants() -> None:
    body = kibana_rule(DetectionPlan(RuleInfo("my_rule", "", level="informational"), ("logs-*",), QUERY, 60))
    assert set(body) >= REQUIRED
    assert all(body[key] for key in REQUIRED - {"query"})
    assert body["severity"] == "low"
    assert "note" not in body


def test_techniques_stand_below_each_tactic_with_all_that_kibana_wants() -> None:
    tags = ("attack.t1110.001", "attack.t1078", "attack.credential-access", "attack.initial-access")
    threat = kibana_rule(replace(PLAN, rule=replace(RULE, tags=tags)))["threat"]
    assert [each["tactic"]["id"] for each in threat] == ["TA0006", "TA0001"]
    assert threat[0]["tactic"] == {
        "id": "TA0006",
        "name": "Credential Access",
        "reference": "https://attack.mitre.org/tactics/TA0006/",
    }
    for each in threat:
        assert each["framework"] == "MITRE ATT&CK"
        guessing, accounts = each["technique"]
        assert guessing["reference"] == "https://attack.mitre.org/techniques/T1110/"
        (sub,) = guessing["subtechnique"]
        assert sub == {
            "id": "T1110.001",
            "name": "T1110.001",
            "reference": "https://attack.mitre.org/techniques/T1110/001/",
        }
        assert accounts == {
            "id": "T1078",
            "name": "T1078",
            "reference": "https://attack.mitre.org/techniques/T1078/",
        }


def test_techniques_without_a_tactic_are_only_tags_and_that_is_said() -> None:
    plan = replace(PLAN, rule=replace(RULE, tags=("attack.t1110",)))
    assert kibana_rule(plan)["threat"] == []
    assert "attack.t1110" in kibana_rule(plan)["tags"]
    (caveat,) = kibana_caveats(plan)
    assert caveat.startswith("T1110 only as a tag")


@pytest.mark.parametrize("kind", ["event_count", "temporal_ordered"])
def test_correlations_are_refused_with_the_reason_and_what_to_use_instead(kind: str) -> None:
    node = CorrelationNode(kind, 60_000, {"gte": 3}, (0,))
    plan = replace(PLAN, correlation=Correlation(node, ("source.ip",), (QUERY,)))
    with pytest.raises(RenderRefused, match=f"kibana: correlation type {kind}") as caught:
        kibana_rule(plan)
    assert "sliding window" in caught.value.reason
    assert "runner" in caught.value.hint


def test_a_rule_tells_those_whom_the_site_names_for_its_level() -> None:
    slack = RuleAction("soc-slack", ".slack", ("high", "critical"), {"message": "{{context.rule.name}}"})
    mail = RuleAction("night", ".email", ("critical",), {"to": ["soc@example.com"]})
    case = RuleAction("all", ".webhook")
    told = kibana_artifact(PLAN, [slack, mail, case]).body["actions"]
    assert [one["id"] for one in told] == ["soc-slack", "all"]
    assert told[0]["params"] == {"message": "{{context.rule.name}}"}
    again = kibana_artifact(PLAN, [replace(slack, params={"message": "New"})]).body["actions"]
    assert again[0]["uuid"] == told[0]["uuid"], "the same action with another text"
    assert told[0]["uuid"] != told[1]["uuid"]
    assert "actions" not in kibana_artifact(PLAN, [mail]).body


def test_the_same_plan_is_the_same_body() -> None:
    assert json.dumps(kibana_rule(PLAN)) == json.dumps(kibana_rule(PLAN))


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A rule, and a correlation of it which emits it too."""
    base = rule_text(head="name: base\nid: 0b7d1f5e-4f27-4d2f-8b54-000000000004")
    write(tmp_path / "rules" / "base.yml", base)
    return write(
        tmp_path / "rules" / "burst.yml", CORRELATION.replace("  group-by", "  generate: true\n  group-by")
    )


def test_compile_names_the_file_and_line_that_a_format_refuses_and_writes_nothing(rules: Path) -> None:
    ran = sigmawatch("compile", rules.parent, "--format", "kibana")
    assert (ran.code, ran.out) == (2, "")
    assert f"{rules}:3: error: kibana: correlation type event_count cannot be expressed" in ran.err
    assert "1 error: nothing was written" in ran.err


def test_compile_keep_going_writes_what_the_format_can_express_and_says_what_is_different(
    rules: Path,
) -> None:
    out = rules.parent.parent / "out"
    ran = sigmawatch("compile", rules.parent, "--format", "kibana", "--keep-going", "--output", out)
    assert ran.code == 2
    assert "1 error: 1 rule written" in ran.err
    assert ran.err.count("note: kibana: alerts are Kibana's own") == 1
    (file,) = out.iterdir()
    assert json.loads(file.read_text(encoding="utf-8"))["rule_id"] == file.stem


def test_the_backend_of_sigma_cli_refuses_in_its_own_words(rules: Path) -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted(rules.parent.iterdir())]
    collection = SigmaCollection.from_yaml("---\n".join(texts))
    with pytest.raises(SigmaFeatureNotSupportedByBackendError, match="kibana: correlation type event_count"):
        SigmawatchBackend().convert(collection, "kibana")


def test_the_backend_of_sigma_cli_collects_refusals_where_it_is_asked_to(rules: Path) -> None:
    texts = [path.read_text(encoding="utf-8") for path in sorted(rules.parent.iterdir())]
    backend = SigmawatchBackend(collect_errors=True)
    (body,) = backend.convert(SigmaCollection.from_yaml("---\n".join(texts)), "kibana")
    assert body["name"] == "A rule"
    ((_, error),) = backend.errors
    assert "kibana: correlation type event_count" in str(error)
