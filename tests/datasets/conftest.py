"""Both engines, spoken to directly: what a dataset builds must mean the same on each."""

from __future__ import annotations

import pytest

from datasets.dataset_server import ROOT, Server
from sigmawatch.datasets import Dataset, load_datasets
from sigmawatch.datasets.templates import BARE_ELASTICSEARCH, OPENSEARCH
from sigmawatch.engine import Engine, Node


@pytest.fixture(scope="module")
def server(each_engine: Node) -> Server:
    is_opensearch = each_engine.engine is Engine.OPENSEARCH
    return Server(each_engine.url, OPENSEARCH if is_opensearch else BARE_ELASTICSEARCH)


@pytest.fixture(scope="session")
def datasets() -> list[Dataset]:
    return load_datasets(ROOT)


@pytest.fixture(scope="session")
def vpc(datasets: list[Dataset]) -> Dataset:
    return next(dataset for dataset in datasets if dataset.name == "flow.aws_vpc")


@pytest.fixture(scope="session")
def sshd(datasets: list[Dataset]) -> Dataset:
    return next(dataset for dataset in datasets if dataset.name == "auth.sshd")
