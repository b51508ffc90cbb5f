"""`--env`: which cluster, which namespace, which rules; on two namespaces of a real cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.command_line import rule_text, sigmawatch, write
from cluster.http_stand_in import INFO, Answer, HttpStandIn
from sigmawatch.cluster import ConnectionSettings, connect


@pytest.mark.engine
def test_an_environment_says_where_and_how_a_pack_is_deployed(cluster_url: str, tmp_path: Path) -> None:
    pack = tmp_path / "soc"
    write(pack / "rules/r.yml", rule_text(head="name: my_rule"))
    write(pack / "rules/noisy.yml", rule_text(head="name: noisy"))
    text = (
        f"environments:\n  stage:\n    url: {cluster_url}\n    namespace: stage\n    target: runner\n"
        "    rules:\n      noisy: {enabled: false}\n      my_rule: {level: critical}\n      gone: {}\n"
    )
    config = write(pack / "sigmawatch.yml", text)
    planned = sigmawatch("plan", "--pack", pack, "--env", "stage")
    assert planned.code == 0, planned.err
    assert f"{config}:9: warning: there is no rule gone in this pack" in planned.err
    done = sigmawatch("deploy", "--pack", pack, "--env", "stage", "--yes")
    assert done.code == 0, done.err
    with connect(ConnectionSettings(cluster_url)) as cluster:
        (hit,) = cluster.scan("sigmawatch-detections")
    assert (hit["_id"], hit["_source"]["plan"]["namespace"]) == ("my_rule", "stage")
    assert hit["_source"]["plan"]["rule"]["severity"] == 99

    named = ["--config", config, "--env", "stage"]
    assert "all as deployed" in sigmawatch("status", *named).out
    (release,) = sigmawatch("releases", "list", "--format", "json", *named).json["releases"]
    assert (release["environment"], release["namespace"]) == ("stage", "stage")
    # Options of the command line win over what the environment says.
    other = sigmawatch("plan", "--pack", pack, "--env", "stage", "--namespace", "x", "--format", "json")
    assert other.json["origin"]["namespace"] == "x"
    unknown = sigmawatch("status", "--config", config, "--env", "prod")
    assert (unknown.code, "It has: stage." in unknown.err) == (2, True)


def test_credentials_of_an_environment_go_to_its_cluster_and_nowhere_else(tmp_path: Path) -> None:
    key = write(tmp_path / "key", "id:secret-of-prod\n")
    with HttpStandIn(Answer(200, INFO)) as ours, HttpStandIn(Answer(200, INFO)) as other:
        text = f"environments:\n  prod:\n    url: {ours.url}\n    auth: {{api_key: {{file: key}}}}\n"
        config = write(tmp_path / "sigmawatch.yml", text)
        refused = sigmawatch("status", "--config", config, "--env", "prod", "--url", other.url)
        assert refused.code == 2
        assert "exclude each other" in refused.err
        assert other.seen == []
        around = {"SIGMAWATCH_API_KEY": "id:of-somebody-else", "SIGMAWATCH_URL": other.url}
        sigmawatch("status", "--env", "prod", cwd=tmp_path, env=around)
        assert other.seen == []
        sent = ours.seen[0].headers["authorization"]
        key.unlink()
        missing = sigmawatch("status", "--env", "prod", cwd=tmp_path, env=around)
    assert sent == "ApiKey aWQ6c2VjcmV0LW9mLXByb2Q="
    assert (missing.code, "key cannot be read" in missing.err) == (2, True)
    assert "secret-of-prod" not in refused.err + missing.err
