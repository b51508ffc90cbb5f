"""Fixtures of the ingest tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cli.command_line import emptied, only, sigmawatch
from sigmawatch.engine import Node

if TYPE_CHECKING:
    from collections.abc import Iterator


DATASETS = ("flow.aws_vpc", "api.aws_cloudtrail", "auth.sshd", "web.apache", "web.nginx")


@pytest.fixture(scope="module")
def deployed(opensearch: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster that the datasets of these tests are deployed in."""
    emptied(opensearch.url)
    few = only(tmp_path_factory.mktemp("config"), *DATASETS)
    ran = sigmawatch("deploy", "--yes", "--config", few, "--url", opensearch.url)
    assert ran.code == 0, ran.err
    yield opensearch.url
    emptied(opensearch.url)


FLOW = "2 123456789010 eni-0a1b2c3d 203.0.113.9 10.0.1.20 50123 {port} 6 1 44 1772359200 1772359260 REJECT OK"


def flows(number: int, first: int = 1000) -> list[str]:
    """Return so many flow records, each to another port."""
    return [FLOW.format(port=first + each) for each in range(number)]
