"""Engines for tests: real nodes, one for the whole run, ended with it whatever happens to it."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from cli.command_line import emptied
from sigmawatch import engine

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_configure() -> None:
    """Let the commands that tests start be interrupted, also where a shell runs the tests in the background.

    A shell without job control has those ignore SIGINT, and so does what they start.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _journals_of_tests(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the journals of deploys that tests make away from those of whoever runs them."""
    os.environ["SIGMAWATCH_JOURNAL"] = str(tmp_path_factory.mktemp("journals"))


@pytest.fixture(scope="session")
def opensearch() -> Iterator[engine.Node]:
    """A real OpenSearch node. Tests share it: use index names of your own and delete what you made."""
    with engine.temporary() as node:
        yield node


@pytest.fixture(scope="session")
def elasticsearch() -> Iterator[engine.Node]:
    """A real Elasticsearch 9 node, shared in the same way. Skips only where no full JDK can run it."""
    yield from _elasticsearch(engine.Engine.ELASTICSEARCH)


@pytest.fixture(scope="session")
def elasticsearch8() -> Iterator[engine.Node]:
    """A real Elasticsearch 8 node, in the same way."""
    yield from _elasticsearch(engine.Engine.ELASTICSEARCH8)


ENGINES = (
    pytest.param("opensearch", marks=pytest.mark.engine),
    pytest.param("elasticsearch", marks=pytest.mark.elasticsearch),
)


@pytest.fixture(scope="module", params=ENGINES)
def each_engine(request: pytest.FixtureRequest) -> engine.Node:
    """The shared node of each of the two engines in turn."""
    node: engine.Node = request.getfixturevalue(request.param)
    return node


@pytest.fixture(
    scope="module", params=[*ENGINES, pytest.param("elasticsearch8", marks=pytest.mark.elasticsearch)]
)
def each_version(request: pytest.FixtureRequest) -> engine.Node:
    """The same, and Elasticsearch 8."""
    node: engine.Node = request.getfixturevalue(request.param)
    return node


@pytest.fixture
def cluster_url(opensearch: engine.Node) -> Iterator[str]:
    """The address of an OpenSearch that nothing of ours is in, nor afterwards."""
    emptied(opensearch.url)
    yield opensearch.url
    emptied(opensearch.url)


@pytest.fixture
def each_cluster_url(each_engine: engine.Node) -> Iterator[str]:
    """The same of each of the two engines in turn."""
    emptied(each_engine.url)
    yield each_engine.url
    emptied(each_engine.url)


def _elasticsearch(kind: engine.Engine) -> Iterator[engine.Node]:
    with ExitStack() as running:
        try:
            node = running.enter_context(engine.temporary(kind))
        except engine.MissingJavaError as error:
            pytest.skip(f"Elasticsearch is not tested here: {error.message}")
        yield node
