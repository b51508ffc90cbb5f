"""Tests datasets: their sample lines through their pipelines, simulated on an engine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.check import check_samples, update_samples
from sigmawatch.errors import ClusterError
from sigmawatch.testing.ruletests import TestResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigmawatch.cluster import Cluster
    from sigmawatch.datasets import Dataset

__all__ = ["run_sample_tests"]


def run_sample_tests(
    cluster: Cluster, datasets: Sequence[Dataset], *, update: bool = False
) -> list[TestResult]:
    """Compare what the samples of datasets become with their expected documents.

    With `update` the expected documents are written anew first, for somebody to review.
    """

    def simulate(pipeline: Mapping[str, Any], documents: Sequence[Mapping[str, Any]]) -> Sequence[Any]:
        body = {"pipeline": pipeline, "docs": list(documents)}
        answer: dict[str, Any] = cluster.request("POST", "/_ingest/pipeline/_simulate", body)
        docs: list[Any] = answer["docs"]
        return docs

    found: list[TestResult] = []
    for dataset in datasets:
        started = time.monotonic()
        try:
            if update:
                update_samples(simulate, [dataset])
            results = check_samples(simulate, [dataset])
        except ClusterError as error:
            name = str(dataset.folder)
            found.append(TestResult(name, "samples", False, None, None, error.message, 0.0, dataset.folder))
            continue
        share = (time.monotonic() - started) / max(1, len(results))
        found += [
            TestResult(
                rule=str(dataset.folder),
                name=f"sample {result.sample}",
                passed=result.passed,
                expected="the expected documents",
                got="the expected documents" if result.passed else "other documents",
                error=result.message or None,
                seconds=share,
                path=result.path,
            )
            for result in results
        ]
    return found
