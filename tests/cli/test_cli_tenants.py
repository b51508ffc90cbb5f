"""Tenants side by side in one cluster: the same packs, each with its own logs, alerts, tuning and releases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cli.command_line import Ran, rule_text, sigmawatch, write
from sigmawatch.cluster import Cluster, ConnectionSettings, connect
from sigmawatch.roles import ROLES, role

RULE = "a4d0c1b7-1e7e-4c3f-b0a5-7f1f6c2d9e32"
"""Of rules/auth/ssh_brute_force.yml."""
ACME, BETA = ["--env", "acme"], ["--env", "beta"]

LINES = "".join(
    f"<38>1 2026-03-01T10:00:{n:02}Z web1 sshd 2000 - - Failed password for anna from 198.51.100.7 port {n} ssh2\n"
    for n in range(20)
)


@pytest.fixture
def site(cluster_url: str, tmp_path: Path) -> Path:
    """A configuration with two tenants of one cluster, and two environments that only have namespaces."""
    write(tmp_path / "sshd.log", LINES)
    write(tmp_path / "soc/rules/r.yml", rule_text())
    text = (
        'datasets:\n  "*": {enabled: false}\n  auth.sshd: {enabled: true}\n'
        f"environments:\n  acme: {{url: '{cluster_url}', tenant: acme}}\n"
        f"  beta: {{url: '{cluster_url}', tenant: beta, rules: {{{RULE}: {{level: critical}}}}}}\n"
        f"  stage: {{url: '{cluster_url}', namespace: stage}}\n"
        f"  prod: {{url: '{cluster_url}', namespace: prod}}\n"
    )
    write(tmp_path / "sigmawatch.yml", text)
    return tmp_path


def done(site: Path, *arguments: str) -> Ran:
    ran = sigmawatch(*arguments, cwd=site)
    assert ran.code == 0, ran.err
    return ran


def names(cluster: Cluster, tenant: str) -> dict[str, set[str]]:
    """Return what of a tenant is in a cluster."""
    found = {
        "pipelines": set(cluster.request("GET", "/_ingest/pipeline")),
        "templates": {one["name"] for one in cluster.request("GET", "/_index_template")["index_templates"]},
        "detections": {hit["_id"] for hit in cluster.scan("sigmawatch-detections")},
    }
    return {what: {name for name in all_ if tenant in name} for what, all_ in found.items()}


def alerts(cluster: Cluster, indices: str = "sigmawatch-alerts") -> list[dict[str, Any]]:
    return [hit["_source"] | {"index": hit["_index"]} for hit in cluster.scan(indices)]


@pytest.mark.engine
def test_tenants_in_one_cluster_do_not_touch_each_other(cluster_url: str, site: Path) -> None:
    done(site, "deploy", "--yes", *ACME)
    with connect(ConnectionSettings(cluster_url)) as cluster:
        before = names(cluster, "acme")
        assert f"acme.{RULE}" in before["detections"]
        done(site, "deploy", "--yes", *BETA)
        assert names(cluster, "acme") == before
        mirrored = {name.replace("beta", "acme") for name in names(cluster, "beta")["pipelines"]}
        assert mirrored == before["pipelines"]

        # Each has its own tuning, and neither plan has anything to say about the other.
        for which in (ACME, BETA):
            plan = done(site, "plan", "--detailed-exitcode", "--format", "json", *which).json
            assert set(plan["counts"]) == {"unchanged"}

        # The same log of both: an alert for each, once each, with its own weight.
        at = ["--once", "--at", "2026-03-01T10:02:00Z"]
        done(site, "ingest", "--dataset", "auth.sshd", *ACME, "sshd.log")
        done(site, "run", *at, *BETA)
        assert alerts(cluster) == []
        done(site, "ingest", "--dataset", "auth.sshd", *BETA, "sshd.log")
        done(site, "run", *at, *ACME)
        (alert,) = alerts(cluster)
        assert alert["index"] == "sigmawatch-alerts-acme-2026.03"
        assert (alert["rule"]["id"], alert["rule"]["uuid"]) == (f"acme.{RULE}", RULE)
        done(site, "run", *at, "--rule", RULE, *BETA)
        found = {one["index"]: one["event"]["severity"] for one in alerts(cluster)}
        assert found == {"sigmawatch-alerts-acme-2026.03": 47, "sigmawatch-alerts-beta-2026.03": 99}
        assert len(alerts(cluster, "sigmawatch-alerts-beta")) == 1

        # One goes back and goes away: the other sees nothing of it.
        config = (site / "sigmawatch.yml").read_text()
        write(site / "sigmawatch.yml", config.replace("level: critical", "level: low"))
        done(site, "deploy", "--yes", *BETA)
        releases = done(site, "releases", "list", "--format", "json", *ACME).json["releases"]
        assert [one["pack"] for one in releases] == ["builtin@acme"]
        number = str(releases[0]["number"])
        foreign = sigmawatch("rollback", "--yes", "--to", number, *BETA, cwd=site)
        assert (foreign.code, "that of the tenant beta" in foreign.err) == (2, True)
        done(site, "rollback", "--yes", *BETA)
        done(site, "destroy", "--yes", "--delete-data", *BETA)
        assert names(cluster, "acme") == before
        assert names(cluster, "beta")["detections"] == set()
        status = done(site, "status", "--detailed-exitcode", "--format", "json", *ACME).json
        assert [one["pack"] for one in status["packs"]] == ["builtin@acme", "sigmawatch"]
        assert len(alerts(cluster)) == 2, "alerts are evidence"


@pytest.mark.engine
def test_two_namespaces_that_are_no_tenants_do_not_replace_each_other_in_silence(site: Path) -> None:
    done(site, "deploy", "--yes", "--pack", "soc", "--env", "stage")
    for command in (["plan"], ["deploy", "--yes"]):
        refused = sigmawatch(*command, "--pack", "soc", "--env", "prod", cwd=site)
        assert refused.code == 2
        told = refused.out + refused.err
        assert "release 1 deployed soc for the namespace stage (stage)" in told
        assert "tenant: prod" in told
    done(site, "deploy", "--yes", "--pack", "soc", "--env", "prod", "--adopt")
    again = done(site, "plan", "--detailed-exitcode", "--pack", "soc", "--env", "prod")
    assert again.code == 0


def test_the_namespace_of_a_tenant_is_its_name(tmp_path: Path) -> None:
    config = write(tmp_path / "sigmawatch.yml", "environments:\n  a: {tenant: acme, namespace: other}\n")
    write(tmp_path / "rules/r.yml", rule_text())
    both = sigmawatch("plan", "--pack", tmp_path, "--env", "a")
    assert (both.code, f"{config}:2: error: namespace: beside tenant" in both.err) == (2, True)
    write(config, "environments:\n  a: {tenant: acme-corp}\n")
    hyphen = sigmawatch("plan", "--pack", tmp_path, "--env", "a")
    assert (hyphen.code, "tenant: " in hyphen.err) == (2, True)
    write(config, "environments:\n  a: {tenant: acme, url: 'http://127.0.0.1:1'}\n")
    option = sigmawatch("plan", "--pack", tmp_path, "--env", "a", "--namespace", "x")
    assert (option.code, "that of the tenant acme" in option.err) == (2, True)


@pytest.mark.parametrize("name", ROLES)
def test_the_roles_of_a_tenant_name_only_its_logs_and_alerts(name: str) -> None:
    own = {"sigmawatch-registry", "sigmawatch-releases", "sigmawatch-detections", "sigmawatch-checkpoints"}
    for access in role(name, tenant="acme")["indices"]:
        for index in set(access["names"]) - own:
            assert index in {"logs-*-acme", "sigmawatch-archive-logs-*-acme@*"} or index.startswith(
                ("sigmawatch-alerts-acme", "sigmawatch-shadow-acme", "sigmawatch-health-acme")
            )
