"""Fixtures of the command-line tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cli.command_line import emptied

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def cluster_url(opensearch: Any) -> Iterator[str]:
    """The address of a cluster that nothing of ours is in, nor afterwards."""
    emptied(opensearch.url)
    yield opensearch.url
    emptied(opensearch.url)
