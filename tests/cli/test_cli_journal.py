"""A cluster that dies in the middle of a deploy: what the operator can see on the own machine, and what completes it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from cli.command_line import Ran, only, rule_text, sigmawatch, started, write
from cluster.fault_proxy import Fault, FaultProxy
from sigmawatch.cluster import ConnectionSettings, connect
from sigmawatch.deploy.registry import REGISTRY_INDEX

pytestmark = pytest.mark.engine


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack of forty rules; the datasets are another matter."""
    for number in range(40):
        write(tmp_path / f"soc/rules/r{number}.yml", rule_text(head=f"name: rule_{number}"))
    only(tmp_path)
    return tmp_path / "soc"


def options(pack: Path, proxy: FaultProxy) -> list[str | Path]:
    return [
        "--yes",
        "--url",
        proxy.url,
        "--timeout",
        "2",
        "--pack",
        pack,
        "--config",
        pack.parent / "few.yml",
    ]


def status(proxy: FaultProxy, state: dict[str, str], *more: str) -> Ran:
    return sigmawatch("status", "--url", proxy.url, *more, env=state)


def expire_lock(url: str) -> None:
    """Let the lock of a deployer that could not give it back expire now, instead of in a minute."""
    past = {"document": "lock", "holder": "gone", "token": "t", "expires": "2000-01-01T00:00:00+00:00"}
    with connect(ConnectionSettings(url)) as cluster:
        cluster.request("PUT", f"/{REGISTRY_INDEX}/_doc/lock", past)


def test_a_cluster_that_dies_half_way_is_accounted_for_on_this_machine(
    cluster_url: str, pack: Path, tmp_path: Path
) -> None:
    state = {"SIGMAWATCH_STATE": str(tmp_path / "state"), "SIGMAWATCH_JOURNAL": ""}
    with FaultProxy(cluster_url) as proxy:
        dead: list[int] = []

        def dies(number: int) -> Fault | None:
            if not dead and proxy.seen[-1].startswith("PUT /_component_template/"):
                dead.append(number)
            # A page from before the dead cluster: nobody asks again for that, so the test need not wait for it.
            return Fault.PAGE if dead else None

        proxy.reset(dies)
        broken = sigmawatch("deploy", *options(pack, proxy), env=state, timeout=300)
        assert broken.code == 4, broken.err
        (journal,) = (tmp_path / "state" / "deploys").iterdir()

        blind = status(proxy, state)
        assert blind.code == 5
        assert "Release 1 of pack soc from this machine is not complete" in blind.out
        assert "not begun detection rule_7" in blind.out or "more" in blind.out
        assert "Deploying soc again completes it; `sigmawatch rollback` takes it back." in blind.out
        assert str(journal) in blind.out
        (told,) = status(proxy, state, "--format", "json").json["cut_off"]
        assert len([one for one in told["not_begun"] if one["kind"] == "detection"]) == 40
        assert told["in_flight"]

        proxy.reset()
        seen = status(proxy, state)
        assert "Release 1 of pack soc from this machine is not complete" in seen.out
        listed = sigmawatch("releases", "list", "--url", proxy.url, env=state)
        assert "`sigmawatch status` tells how far it came" in listed.err
        expire_lock(cluster_url)
        again = sigmawatch("deploy", *options(pack, proxy), env=state, timeout=300)
        assert again.code == 0, again.err
        assert "Completed release 1, begun 20" in again.err
        assert "which was cut off." in again.err
        after = status(proxy, state, "--format", "json").json
        assert after["cut_off"] == []
        assert after["in_place"]


def test_a_deployer_that_is_killed_leaves_what_it_was_doing(
    cluster_url: str, pack: Path, tmp_path: Path
) -> None:
    state = {"SIGMAWATCH_JOURNAL": str(tmp_path / "journals")}
    with FaultProxy(cluster_url) as proxy:
        deployer = started("deploy", *options(pack, proxy), env=state)

        def kill(number: int) -> None:
            if proxy.seen[-1].startswith("PUT /_component_template/") and deployer.poll() is None:
                deployer.send_signal(signal.SIGKILL)
                deployer.wait(timeout=180)

        proxy.on_request = kill
        deployer.communicate(timeout=300)
        assert deployer.returncode == -signal.SIGKILL
        proxy.on_request = lambda number: None
        seen = status(proxy, state)
        assert "Release 1 of pack soc from this machine was cut off" in seen.out
        assert "? in flight component_template " in seen.out


def test_a_folder_that_cannot_be_written_warns_and_one_that_was_named_refuses(
    cluster_url: str, pack: Path, tmp_path: Path
) -> None:
    write(tmp_path / "state", "a file")
    broken = {"SIGMAWATCH_STATE": str(tmp_path / "state"), "SIGMAWATCH_JOURNAL": ""}
    given: list[str | Path] = [
        "--url",
        cluster_url,
        "--pack",
        pack,
        "--config",
        pack.parent / "few.yml",
        "--yes",
    ]
    refused = sigmawatch("deploy", *given, "--journal", tmp_path / "state" / "x", env=broken)
    assert (refused.code, "no journal of this deploy can be kept" in refused.err) == (2, True), refused.err
    warned = sigmawatch("deploy", *given, env=broken, timeout=300)
    assert warned.code == 0, warned.err
    assert "warning: no journal of this deploy can be kept on this machine" in warned.err
    assert "SIGMAWATCH_STATE names another folder." in warned.err
