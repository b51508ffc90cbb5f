"""Fixtures of the tests of archives: the two engines, cleaned before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from archive.archived_streams import Streams, streams_at
from sigmawatch.engine import Node

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def streams(opensearch: Node) -> Iterator[Streams]:
    """OpenSearch."""
    with streams_at(opensearch.url) as found:
        yield found


@pytest.fixture
def either(each_engine: Node) -> Iterator[Streams]:
    """Each of the two engines."""
    with streams_at(each_engine.url) as found:
        yield found
