"""Fixtures of the deploy tests: clusters that are cleaned before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deploy.deploy_targets import Target, cleaned
from sigmawatch.engine import Node

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def target(opensearch: Node) -> Iterator[Target]:
    """A cleaned OpenSearch."""
    with cleaned(opensearch.url) as one:
        yield one


@pytest.fixture
def elastic(elasticsearch: Node) -> Iterator[Target]:
    """A cleaned Elasticsearch."""
    with cleaned(elasticsearch.url) as one:
        yield one


@pytest.fixture
def either(each_engine: Node) -> Iterator[Target]:
    """Each of the two engines, cleaned."""
    with cleaned(each_engine.url) as one:
        yield one
