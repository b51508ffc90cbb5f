"""`releases`, `rollback`, `status` and `destroy` as a user meets them, on a real cluster."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli.command_line import Ran, contents, only, rule_text, sigmawatch, write
from sigmawatch.cluster import ConnectionSettings, connect

pytestmark = pytest.mark.engine


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack of one rule, in a git repository."""
    write(tmp_path / "soc/rules/r.yml", rule_text(head="name: first_rule"))
    git(tmp_path / "soc", "init", "-q")
    commit(tmp_path / "soc")
    return tmp_path / "soc"


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=Anna", "-c", "user.email=anna@example.com"]
    done = subprocess.run(["git", "-C", folder, *who, *arguments], capture_output=True, check=True)
    return done.stdout.decode().strip()


def commit(folder: Path) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "change")
    return git(folder, "rev-parse", "HEAD")


def deployed(url: str, pack: Path, *options: str) -> Ran:
    ran = sigmawatch("deploy", "--yes", "--url", url, "--pack", pack, *options)
    assert ran.code == 0, ran.err
    return ran


def detections(url: str) -> dict[str, Any]:
    with connect(ConnectionSettings(url)) as cluster:
        return {hit["_id"]: hit["_source"] for hit in cluster.scan("sigmawatch-detections")}


def test_a_bad_release_is_seen_and_taken_back(cluster_url: str, pack: Path) -> None:
    at = ["--url", cluster_url]
    assert sigmawatch("releases", "list", *at).out == "Nothing was deployed yet.\n"
    assert sigmawatch("status", *at).out.splitlines()[1] == "Nothing is deployed."
    nothing = sigmawatch("rollback", "--yes", *at)
    assert (nothing.code, "nothing is deployed in this cluster" in nothing.err) == (2, True)

    assert "Deployed as release 1." in deployed(cluster_url, pack).out
    before = detections(cluster_url)
    write(pack / "rules/r.yml", rule_text("app.action: '*'", head="name: first_rule"))
    write(pack / "rules/second.yml", rule_text(head="name: second_rule"))
    revision = commit(pack)
    deployed(cluster_url, pack, "--message", "CHG-42 [bold]wider[/bold]")

    listed = sigmawatch("releases", "list", *at)
    newest, oldest = listed.out.splitlines()[1:]
    assert newest.split()[:2] == ["2", "soc"]
    assert f"{revision[:12]}  1 create, 1 update" in newest
    assert newest.rstrip().endswith("CHG-42 [bold]wider[/bold]")
    assert oldest.split()[0] == "1"
    as_json = sigmawatch("releases", "list", *at, "--format", "json").json["releases"]
    assert [as_json[0][name] for name in ("number", "revision", "modified")] == [2, revision, False]

    shown = sigmawatch("releases", "show", "2", "--diff", *at)
    assert "+ create detection second_rule" in shown.out
    assert "~ update detection first_rule" in shown.out
    removed = [line for line in shown.out.splitlines() if line.startswith("    -")]
    assert any('"delete"' in line for line in removed)
    assert sigmawatch("releases", "show", "9", *at).code == 2

    unasked = sigmawatch("rollback", *at)
    assert unasked.code == 2
    assert "- delete detection second_rule" in unasked.out
    assert "Pass --yes" in unasked.err
    dry = sigmawatch("rollback", "--dry-run", "--format", "json", *at)
    assert (dry.code, dry.json["restores"], dry.json["counts"]["delete"]) == (0, 1, 1)
    assert set(detections(cluster_url)) == {"first_rule", "second_rule"}

    back = sigmawatch("rollback", "--yes", "-m", "too noisy", *at)
    assert back.code == 0, back.err
    assert "Release 1 is back, as release 3." in back.out
    after = detections(cluster_url)
    assert {name: one["plan"] for name, one in after.items()} == {
        name: one["plan"] for name, one in before.items()
    }
    newest = sigmawatch("releases", "list", *at).out.splitlines()[1]
    assert "back to 1: 1 delete, 1 update" in newest
    assert newest.rstrip().endswith("too noisy")

    forward = sigmawatch("rollback", "--to", "2", "--yes", "--format", "json", *at)
    assert (forward.code, forward.json["restores"], forward.json["release"]) == (0, 2, 4)
    assert set(detections(cluster_url)) == {"first_rule", "second_rule"}


def test_status_tells_what_is_deployed_and_what_somebody_changed(cluster_url: str, pack: Path) -> None:
    at = ["--url", cluster_url]
    deployed(cluster_url, pack)
    fine = sigmawatch("status", "--detailed-exitcode", *at)
    assert fine.code == 0
    assert "Pack soc\n  release 1, " in fine.out
    assert fine.out.count("all as deployed") == 2
    assert "1 detection for `sigmawatch run`: none was evaluated yet" in fine.out
    assert sigmawatch("run", "--once", *at).code == 4, "no index has its events"
    with connect(ConnectionSettings(cluster_url)) as cluster:
        cluster.request("POST", "/sigmawatch-health-*/_refresh")
    looked = sigmawatch("status", *at).out
    assert "A rule: 1 note that it could not see everything" in looked
    assert "1 detection for `sigmawatch run`: the oldest evaluation is " in looked

    with connect(ConnectionSettings(cluster_url)) as cluster:
        cluster.request("DELETE", "/sigmawatch-detections/_doc/first_rule", params={"refresh": "true"})
    drifted = sigmawatch("status", "--detailed-exitcode", *at, "--pack", pack)
    assert drifted.code == 3
    assert "! missing detection first_rule" in " ".join(drifted.out.split())
    told = sigmawatch("status", *at, "--format", "json").json
    assert told["in_place"] is False
    assert told["health"]["alerts"] == 0
    unknown = sigmawatch("status", *at, "--pack", "other")
    assert (unknown.code, "There are soc." in unknown.err) == (2, True)


def test_drift_shows_what_somebody_changed_line_by_line(cluster_url: str, pack: Path) -> None:
    at = ["--url", cluster_url]
    write(pack / "rules/second.yml", rule_text(head="name: second_rule"))
    deployed(cluster_url, pack)
    fine = sigmawatch("drift", "--detailed-exitcode", *at)
    assert (fine.code, fine.out) == (0, "All as deployed.\n")
    with connect(ConnectionSettings(cluster_url)) as cluster:
        refreshed = {"refresh": "true"}
        cluster.request("DELETE", "/sigmawatch-detections/_doc/second_rule", params=refreshed)
        document = cluster.request("GET", "/sigmawatch-detections/_doc/first_rule")["_source"]
        before = document["plan"]["interval"]
        document["plan"]["interval"] = 86_400
        cluster.request("PUT", "/sigmawatch-detections/_doc/first_rule", document, params=refreshed)
    drifted = sigmawatch("drift", "--detailed-exitcode", *at, "--pack", "soc")
    assert drifted.code == 3
    assert "! soc: detection first_rule changed outside (since " in drifted.out
    assert f'    -  "interval": {before},\n    +  "interval": 86400,\n' in drifted.out
    assert "! soc: detection second_rule missing" in drifted.out
    assert drifted.out.endswith("2 artifacts not as deployed.\n")
    first, second = sigmawatch("drift", "--format", "json", *at).json["drift"]
    assert (first["condition"], '+  "interval": 86400,' in first["diff"]) == ("changed outside", True)
    assert (second["condition"], second["diff"]) == ("missing", "")


def test_destroy_leaves_nothing_of_ours_but_the_data_and_its_history(
    cluster_url: str, pack: Path, tmp_path: Path
) -> None:
    at = ["--url", cluster_url]
    few: list[str | Path] = ["--config", only(tmp_path, "flow.aws_vpc", "auth.sshd")]
    untouched = contents(cluster_url)
    deployed(cluster_url, pack)
    built_in = sigmawatch("deploy", "--yes", *few, *at)
    assert built_in.code == 0
    which = sigmawatch("destroy", "--yes", *at)
    assert which.code == 2
    assert "--pack takes one of " in which.err

    assert sigmawatch("destroy", *at, "--pack", "soc").code == 2, "asked, and nobody there to answer"
    assert set(detections(cluster_url)) > {"first_rule"}
    gone = sigmawatch("destroy", "--yes", *at, "--pack", "soc")
    assert gone.code == 0, gone.err
    assert "- delete detection first_rule" in gone.out
    assert "Alerts stay in sigmawatch-alerts-*" in gone.err
    assert "first_rule" not in detections(cluster_url)
    assert sigmawatch("plan", "--detailed-exitcode", *few, *at).code == 0, "the other pack is as it was"

    listed = sigmawatch("releases", "list", *at, "--format", "json").json["releases"]
    name = next(one["pack"] for one in listed if one["pack"] != "soc")
    kept = sigmawatch("destroy", "--yes", *at, "--pack", name, "--format", "json")
    assert kept.code == 0, kept.err
    assert {one["ok"] for one in kept.json["results"]} == {True}
    assert len(contents(cluster_url)["data_streams"]) > len(untouched["data_streams"]), "data is kept"
    everything = sigmawatch("destroy", "--yes", "--delete-data", *at, "--pack", name)
    assert everything.code == 0, everything.err
    left = {
        what: [one for one in names if one not in untouched[what]]
        for what, names in contents(cluster_url).items()
    }
    custom = [one for names in left.values() for one in names if one.endswith("@custom")]
    ours = ["sigmawatch-detections", "sigmawatch-registry", "sigmawatch-releases"]
    assert sorted(one for names in left.values() for one in names) == sorted([*custom, *ours])

    back = sigmawatch("rollback", "--yes", *at, "--pack", name)
    assert back.code == 0, back.err
    assert sigmawatch("plan", "--detailed-exitcode", *few, *at).code == 0
