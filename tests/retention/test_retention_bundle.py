"""What a configuration says about retention, up to the artifacts of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from retention.configured import configured
from sigmawatch.errors import ContentError


def bodies(text: str, folder: Path, environment: str = "") -> dict[tuple[str, str], Any]:
    bundle, _ = configured(text, folder, environment=environment)
    made = [artifact.key for artifact in bundle.artifacts]
    for artifact in bundle.artifacts:
        if artifact.kind == "ilm_attachment":
            assert all(key in made for key in artifact.depends_on)
    return {(one.kind, one.id): one.body for one in bundle.artifacts}


def age_of(found: dict[tuple[str, str], Any], what: str) -> str:
    phases = found["ilm_policy", f"sigmawatch-{what}"]["policy"]["phases"]
    return str(phases["delete"]["min_age"]) if "delete" in phases else "never"


TEXT = """
retention: pci_dss
datasets:
  web.*: {retention: gdpr}
environments:
  stage: {retention: {delete: 5d, alerts: 9d}, datasets: {web.nginx: {retention: {by: none}}}}
"""


def test_each_dataset_has_a_policy_and_its_indices_know_it(tmp_path: Path) -> None:
    found = bodies(TEXT, tmp_path)
    assert age_of(found, "logs-auth.sshd") == "366d"
    assert age_of(found, "logs-web.nginx") == "13d"
    assert (age_of(found, "alerts"), age_of(found, "health")) == ("431d", "397d")
    index = found["component_template", "sigmawatch-auth.sshd"]["template"]["settings"]["index"]
    assert index == {"codec": "best_compression", "lifecycle": {"name": "sigmawatch-logs-auth.sshd"}}
    alerts = found["index_template", "sigmawatch-alerts"]["template"]["settings"]["index"]
    assert alerts["lifecycle"] == {"name": "sigmawatch-alerts"}
    assert found["ilm_attachment", "logs-auth.sshd-*"] == {"policy": "sigmawatch-logs-auth.sshd"}
    assert found["ilm_attachment", "sigmawatch-alerts-*"] == {"policy": "sigmawatch-alerts"}


def test_an_environment_keeps_otherwise(tmp_path: Path) -> None:
    found = bodies(TEXT, tmp_path, "stage")
    assert (age_of(found, "logs-auth.sshd"), age_of(found, "alerts")) == ("5d", "40d")
    assert ("ilm_policy", "sigmawatch-logs-web.nginx") not in found
    own = found["component_template", "sigmawatch-web.nginx"]["template"]
    assert own["settings"] == {"index": {"codec": "best_compression"}}


def test_without_a_word_nothing_of_logs_is_deleted(tmp_path: Path) -> None:
    found = bodies("", tmp_path)
    assert [age_of(found, what) for what in ("logs-auth.sshd", "logs-web.nginx")] == ["never", "never"]
    assert age_of(found, "alerts") == "761d"


def test_mistakes_are_told_where_they_stand(tmp_path: Path) -> None:
    text = "retention: soc2\ndatasets:\n  auth.*: {retention: {delete: soon}}\n"
    with pytest.raises(ContentError) as caught:
        bodies(text, tmp_path)
    assert [(one.line, one.message.split(": ")[0]) for one in caught.value.problems] == [
        (3, "delete"),
        (1, "retention"),
    ]
