"""Fixtures of the runner's tests: a prepared cluster of one engine, or of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from run_bench import Bench, bench_at

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def bench(opensearch: Any) -> Iterator[Bench]:
    """An OpenSearch prepared for the runner."""
    with bench_at(opensearch.url) as one:
        yield one


@pytest.fixture(
    params=[
        pytest.param("opensearch", marks=pytest.mark.engine),
        pytest.param("elasticsearch", marks=pytest.mark.elasticsearch),
    ]
)
def either(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Each of the two engines, prepared for the runner."""
    with bench_at(request.getfixturevalue(request.param).url) as one:
        yield one
