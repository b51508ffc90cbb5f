"""A cluster with the datasets that the shippers' files name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli.command_line import only, sigmawatch
from sigmawatch import engine
from sigmawatch.cluster import ConnectionSettings, connect

DATASETS = (
    "auth.linux",
    "auth.sshd",
    "firewall.cisco_asa",
    "firewall.paloalto",
    "ids.suricata",
    "web.nginx",
)


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real engine with our pipelines and templates."""
    with engine.temporary() as node:
        few = only(tmp_path_factory.mktemp("config"), *DATASETS)
        ran = sigmawatch("deploy", "--yes", "--config", few, "--url", node.url)
        assert ran.code == 0, ran.err
        yield node.url


@pytest.fixture
def cluster(deployed: str) -> str:
    """The same without any logs."""
    with connect(ConnectionSettings(deployed)) as connected:
        connected.request("DELETE", "/_data_stream/logs-*", ignore=(404,))
    return deployed
