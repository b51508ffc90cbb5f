"""Both engines, spoken to directly: what a dataset builds must mean the same on each."""

from __future__ import annotations

import pytest

from datasets.dataset_server import ENGINES, ROOT, Server, server_of
from sigmawatch.datasets import Dataset, load_datasets


@pytest.fixture(params=ENGINES)
def server(request: pytest.FixtureRequest) -> Server:
    return server_of(request)


@pytest.fixture(scope="session")
def datasets() -> list[Dataset]:
    return load_datasets(ROOT)


@pytest.fixture(scope="session")
def vpc(datasets: list[Dataset]) -> Dataset:
    return next(dataset for dataset in datasets if dataset.name == "flow.aws_vpc")


@pytest.fixture(scope="session")
def sshd(datasets: list[Dataset]) -> Dataset:
    return next(dataset for dataset in datasets if dataset.name == "auth.sshd")
