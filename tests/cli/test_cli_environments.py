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

    named: list[str | Path] = ["--config", config, "--env", "stage"]
    assert "all as deployed" in sigmawatch("status", *named).out
    (release,) = sigmawatch("releases", "list", "--format", "json", *named).json["releases"]
    assert (release["environment"], release["namespace"]) == ("stage", "stage")
    # Options of the command line win over what the environment says.
    other = sigmawatch("plan", "--pack", pack, "--env", "stage", "--namespace", "x", "--format", "json")
    assert other.json["origin"]["namespace"] == "x"
    unknown = sigmawatch("status", "--config", config, "--env", "prod")
    assert (unknown.code, "It has: stage." in unknown.err) == (2, True)


@pytest.mark.engine
def test_what_an_upgrade_of_the_pack_changes_under_tunings_is_told(cluster_url: str, tmp_path: Path) -> None:
    pack = tmp_path / "upgraded"
    tuned = write(pack / "rules/tuned.yml", rule_text(head="name: tuned"))
    quiet = write(pack / "rules/quiet.yml", rule_text(head="name: quiet"))
    write(pack / "rules/plain.yml", rule_text(head="name: plain"))
    rules = "      tuned: {level: low}\n      quiet: {enabled: false}\n"
    text = f"environments:\n  prod:\n    url: {cluster_url}\n    target: runner\n    rules:\n{rules}"
    write(pack / "sigmawatch.yml", text)
    options: list[str | Path] = ["--pack", pack, "--env", "prod"]
    done = sigmawatch("deploy", *options, "--yes")
    assert done.code == 0, done.err
    assert "under its tuning" not in sigmawatch("plan", *options).out

    for path in (tuned, quiet):
        path.write_text(
            path.read_text().replace("level: high", "level: critical").replace("A rule", path.stem)
        )
    quiet.write_text(quiet.read_text().replace("delete", "purge"))
    planned = sigmawatch("plan", *options)
    assert (
        "Note: since release 1, 'tuned' changed under its tuning: level was high, is now critical, and here low"
        in planned.out
    )
    assert (
        "'quiet' changed under its tuning: level was high, is now critical; what it looks for is another"
        in (planned.out)
    )
    assert sigmawatch("deploy", *options, "--yes").code == 0
    assert "under its tuning" not in sigmawatch("plan", *options).out, "it was told, and deployed"
    (first, *_) = sigmawatch("releases", "list", "--format", "json", "--config", pack / "sigmawatch.yml",
                             "--env", "prod").json["releases"]  # fmt: skip
    assert "untuned" not in first


@pytest.mark.engine
def test_rules_are_compiled_for_the_types_that_fields_have_there(cluster_url: str, tmp_path: Path) -> None:
    write(tmp_path / "rules/r.yml", rule_text("app.path|endswith: .php", head="name: live_types_rule"))
    text = f"environments:\n  stage: {{url: {cluster_url}, target: runner, live_types: 'theirs-*'}}\n"
    write(tmp_path / "sigmawatch.yml", text)
    words = {"type": "text", "fields": {"keyword": {"type": "keyword"}}}
    with connect(ConnectionSettings(cluster_url)) as cluster:
        cluster.request("PUT", "/theirs-1", {"mappings": {"properties": {"app.path": words}}})
        done = sigmawatch("deploy", "--pack", tmp_path, "--env", "stage", "--yes")
        assert done.code == 0, done.err
        found = {hit["_id"]: hit["_source"] for hit in cluster.scan("sigmawatch-detections")}
        cluster.request("DELETE", "/theirs-1")
    assert "app.path.keyword" in str(found["live_types_rule"]["plan"]["query"])


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
