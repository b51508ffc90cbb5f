"""What only whole rules show: keywords in a test's own events, scripts that a test needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sigmawatch.cluster import ConnectionSettings, connect
from sigmawatch.engine import Node
from sigmawatch.testing.ruletests import prepare_rule_tests, run_rule_tests

KEYWORDS = """\
title: Keywords
id: 00000000-0000-4000-8000-000000000011
logsource: {category: test}
detection:
  selection:
    '|all': [failed, ro?t]
  condition: selection
"""

KEYWORDS_TEST = """\
tests:
  - {name: message, events: [{message: Failed password for root}], alerts: 1}
  - {name: any field, events: [{app: {text: a login of root failed}}], alerts: 1}
  - {name: several fields, events: [{app.text: failed, user.name: root}, {app.text: failed}], alerts: 1}
  - {name: neither, events: [{app.text: fine, source.port: 1, message: root}], alerts: none}
"""

SCRIPTED = """\
title: Scripted
id: 00000000-0000-4000-8000-000000000012
logsource: {category: test}
detection:
  selection:
    user.name|fieldref: app.owner
    '@timestamp|hour|gte': 22
  condition: selection
"""

SCRIPTED_TEST = """\
tests:
  - {name: own, events: [{user.name: Root, app.owner: root, "@timestamp": "2026-03-01T22:10:00Z"}], alerts: 1}
  - {name: early, events: [{user.name: root, app.owner: root, "@timestamp": "2026-03-01T21:10:00Z"}], alerts: 0}
  - {name: other, events: [{user.name: root, app.owner: adm, "@timestamp": "2026-03-01T22:10:00Z"}], alerts: 0}
"""


@pytest.mark.parametrize("own", [True, False])
def test_rule_tests_find_what_rules_mean(tmp_path: Path, each_version: Node, own: bool) -> None:
    files = {"k.yml": KEYWORDS, "k.test.yml": KEYWORDS_TEST, "s.yml": SCRIPTED, "s.test.yml": SCRIPTED_TEST}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    prepared = prepare_rule_tests(sorted(tmp_path.glob("*.test.yml")), [])
    steps: list[Any] = []
    with connect(ConnectionSettings(each_version.url)) as client:
        results = run_rule_tests(client, prepared, [], own=own, on_step=steps.append)
    assert {result.name: result.error for result in results if not result.passed} == {}
    assert len(results) == 7
