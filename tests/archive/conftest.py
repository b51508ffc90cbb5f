"""Fixtures of the tests of archives: the two engines, cleaned before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from archive.archived_streams import Streams, streams_at

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def streams(opensearch: Any) -> Iterator[Streams]:
    """OpenSearch."""
    with streams_at(opensearch.url) as found:
        yield found


@pytest.fixture
def either(each_engine: Any) -> Iterator[Streams]:
    """Each of the two engines."""
    with streams_at(each_engine.url) as found:
        yield found
