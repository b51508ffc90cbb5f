"""Both engines, spoken to directly: what a dataset builds must mean the same on each."""

from __future__ import annotations

import pytest
from dataset_server import ROOT, Server

from sigmawatch.datasets import Dataset, load_datasets
from sigmawatch.datasets.templates import BARE_ELASTICSEARCH, OPENSEARCH


@pytest.fixture(
    params=[
        pytest.param("opensearch", marks=pytest.mark.engine),
        pytest.param("elasticsearch", marks=pytest.mark.elasticsearch),
    ]
)
def server(request: pytest.FixtureRequest) -> Server:
    node = request.getfixturevalue(request.param)
    return Server(node.url, OPENSEARCH if request.param == "opensearch" else BARE_ELASTICSEARCH)


@pytest.fixture(scope="session")
def datasets() -> list[Dataset]:
    return load_datasets(ROOT)


@pytest.fixture(scope="session")
def vpc(datasets: list[Dataset]) -> Dataset:
    return next(dataset for dataset in datasets if dataset.name == "flow.aws_vpc")


@pytest.fixture(scope="session")
def sshd(datasets: list[Dataset]) -> Dataset:
    return next(dataset for dataset in datasets if dataset.name == "auth.sshd")
