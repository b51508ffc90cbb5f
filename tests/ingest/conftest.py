"""Fixtures of the ingest tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cli.command_line import emptied, only, sigmawatch

if TYPE_CHECKING:
    from collections.abc import Iterator


DATASETS = ("flow.aws_vpc", "api.aws_cloudtrail", "auth.sshd", "web.apache", "web.nginx")


@pytest.fixture(scope="module")
def deployed(opensearch: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster that the datasets of these tests are deployed in."""
    emptied(opensearch.url)
    few = only(tmp_path_factory.mktemp("config"), *DATASETS)
    ran = sigmawatch("deploy", "--yes", "--config", few, "--url", opensearch.url)
    assert ran.code == 0, ran.err
    yield opensearch.url
    emptied(opensearch.url)
