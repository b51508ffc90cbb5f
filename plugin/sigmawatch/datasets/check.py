"""Samples against an engine: raw lines in, expected documents out, and a diff where they differ.

What depends on when the check runs is left open in expected documents: `event.ingested` is only checked to be there,
a year-less stamp is written `<year>-03-01T…`, and the time of a line that has none is `<now>`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sigmawatch.datasets.load import samples
from sigmawatch.datasets.pipeline import build_pipeline, without_hook
from sigmawatch.errors import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

    from sigmawatch.datasets.model import Dataset, Sample

__all__ = ["SampleResult", "Simulate", "check_samples", "simulated", "update_samples"]

Simulate = Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]]], Sequence[Any]]
"""Runs a pipeline's body over documents: returns the `docs` of the answer of `POST _ingest/pipeline/_simulate`."""

_YEARLESS = re.compile(
    "\ufeff?(<[0-9]{1,3}>)? *((Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +[0-9]{1,2} [0-9]{2}:"
    "|[0-9]{2}/[0-9]{2}-[0-9]{2}:)"
)
_NOW = "<now>"
_YEAR = "<year>"


@dataclass(frozen=True)
class SampleResult:
    """What became of one sample."""

    dataset: str
    sample: str
    path: Path
    """The file with the lines."""
    message: str
    """What differs, line by line; empty when nothing does."""

    @property
    def passed(self) -> bool:
        """Whether every document is as expected."""
        return not self.message


def simulated(
    simulate: Simulate,
    dataset: Dataset,
    lines: Sequence[str],
    *,
    options: Mapping[str, Any] | None = None,
) -> list[dict[str, Any] | None]:
    """Return the documents that lines become, None for a line that is dropped.

    The user's hook is left out (see `without_hook`). Raises ClusterError when the engine refuses a document.
    """
    documents = [{"_source": document} for document in dataset.documents(lines)]
    found: list[dict[str, Any] | None] = []
    for result in simulate(without_hook(build_pipeline(dataset, options=options)), documents):
        if result is None:
            found.append(None)
        elif "doc" in result:
            found.append(dict(result["doc"]["_source"]))
        else:
            raise ClusterError(f"{dataset.name}: the engine refused a document: {result.get('error')}")
    return found


def check_samples(simulate: Simulate, datasets: Sequence[Dataset]) -> list[SampleResult]:
    """Compare all samples of datasets with their expected documents."""
    return [_check(simulate, dataset, sample) for dataset in datasets for sample in samples(dataset)]


def update_samples(simulate: Simulate, datasets: Sequence[Dataset]) -> list[Path]:
    """Write the documents that the samples become as the expected ones; return the files that changed.

    What is written is to be reviewed: it is what the pipeline does, not what it should do.
    """
    changed = []
    for dataset in datasets:
        for sample in samples(dataset):
            actual = [_settled(document) for document in simulated(simulate, dataset, sample.lines)]
            text = json.dumps(actual, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
            path = sample.expected_path
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")
                changed.append(path)
    return changed


def _check(simulate: Simulate, dataset: Dataset, sample: Sample) -> SampleResult:
    if sample.expected is None:
        return _result(dataset, sample, [f"{sample.expected_path.name} is missing"])
    actual = simulated(simulate, dataset, sample.lines)
    if len(actual) != len(sample.expected):
        return _result(dataset, sample, [f"{len(actual)} documents, {len(sample.expected)} expected"])
    differences = []
    # A line may hold several events.
    lines = [document["message"] for document in dataset.documents(sample.lines)]
    for number, (line, expected, found) in enumerate(zip(lines, sample.expected, actual, strict=True), 1):
        if found is not None and "ingested" not in found.get("event", {}):
            differences.append(f"line {number}: event.ingested is missing")
        settled = _settled(found)
        if settled != expected:
            diff = difflib.unified_diff(
                _text(expected), _text(settled), "expected", "actual", lineterm="", n=1
            )
            differences.append("\n".join([f"line {number}: {line}", *diff]))
    return _result(dataset, sample, differences)


def _result(dataset: Dataset, sample: Sample, differences: Sequence[str]) -> SampleResult:
    return SampleResult(dataset.name, sample.name, sample.path, "\n".join(differences))


def _text(document: Mapping[str, Any] | None) -> list[str]:
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False).splitlines()


def _settled(document: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a document with placeholders for what depends on the time of the check."""
    if document is None:
        return None
    settled: dict[str, Any] = deepcopy(dict(document))
    event = settled.get("event", {})
    event.pop("ingested", None)
    time = str(settled.get("@timestamp", ""))
    now = datetime.now(UTC)
    if abs(datetime.fromisoformat(time) - now) < timedelta(hours=1):
        settled["@timestamp"] = _NOW
    elif _YEARLESS.match(str(event.get("original", ""))) and datetime.fromisoformat(time) < now + timedelta(
        days=2
    ):
        settled["@timestamp"] = _YEAR + time[4:]
    return settled
