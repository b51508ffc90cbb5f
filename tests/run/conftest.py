"""Fixtures of the runner's tests: a prepared cluster of one engine, or of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from run.run_bench import Bench, bench_at
from sigmawatch.engine import Node

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def bench(opensearch: Node) -> Iterator[Bench]:
    """An OpenSearch prepared for the runner."""
    with bench_at(opensearch.url) as one:
        yield one


@pytest.fixture
def either(each_engine: Node) -> Iterator[Bench]:
    """Each of the two engines, prepared for the runner."""
    with bench_at(each_engine.url) as one:
        yield one
