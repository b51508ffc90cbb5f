"""Fixtures of the ingest tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cli.command_line import emptied, sigmawatch

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def deployed(opensearch: Any) -> Iterator[str]:
    """The address of a cluster that the built-in pack is deployed in."""
    emptied(opensearch.url)
    ran = sigmawatch("deploy", "--yes", "--url", opensearch.url)
    assert ran.code == 0, ran.err
    yield opensearch.url
    emptied(opensearch.url)
