"""Which dataset a log is of: every deployed pipeline reads its first events, and the one that reads them best is it.

What counts is how much of the text a pipeline makes fields of. A pipeline that takes any syslog line reads the header;
the one whose line it is reads the rest, too. Nothing is guessed: where a second pipeline reads the lines (nearly) as
well, or none reads most of them, the answer is a list of candidates for the user to choose from. Only two things tell
such candidates apart: that one reads all that the other does of a line, and more; and a line at the beginning that only
one program writes (`marks` of a dataset, e.g. `#Software: Microsoft Internet Information Services`).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from sigmawatch.cluster import ResponseError, url_path
from sigmawatch.datasets import FORMAT_FIELD
from sigmawatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sigmawatch.cluster import Cluster
    from sigmawatch.datasets import Dataset

__all__ = ["Candidate", "Detector", "Reading", "Verdict"]

FITS = 0.8
"""Share of the lines that a pipeline has to read for the log to be of its dataset."""

RIVALS = 0.8
"""Share of what the best one reads of a line from which on the line may as well be another one's."""

SLIGHTLY = 0.9
"""The same where one reads all that the other does: a word more, such as a product's name, proves nothing."""

MOST = 0.6
"""Share of the lines that is enough where the other one reads much less of all of them together."""

_EVENTS = 100
_SPREAD = 12
"""Events that are looked at: some of them by all pipelines, all by those that could read any of these."""

_SHOWN = 5
_AT_ONCE = 4
_NO_EVIDENCE = (
    "event.", "related.", "ecs.", "data_stream.", "error.", "message", "tags", "@timestamp",
    "log.syslog.facility", "log.syslog.severity", "log.syslog.priority", "log.syslog.version",
)  # fmt: skip
"""Fields that are made of other fields, of numbers in a header, or of nothing in the line."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a pipeline made of one event."""

    values: frozenset[str]
    """The texts in it that became values of fields."""
    sound: bool
    """Whether all of them made sense."""

    @property
    def weight(self) -> float:
        """Characters that became values; those of an event with values that make no sense prove little."""
        return sum(map(len, self.values)) * (1 if self.sound else 0.5)

    def beats(self, other: Reading | None) -> bool:
        """Whether it is much more than what another pipeline made of the event, or all of that and more."""
        if other is None or other.weight < RIVALS * self.weight:
            return True
        more = other.values < self.values and other.weight < SLIGHTLY * self.weight
        return more and (self.sound or not other.sound)


@dataclass(frozen=True)
class Candidate:
    """How one dataset's pipeline reads the events."""

    dataset: Dataset
    read: tuple[Reading | None, ...]
    """What it made of each event; None: it could not read it."""

    @property
    def share(self) -> float:
        """Share of the events that it can read."""
        return sum(one is not None for one in self.read) / len(self.read) if self.read else 0.0

    @property
    def score(self) -> float:
        """Weight of all that it made of the events."""
        return sum(one.weight for one in self.read if one is not None)

    def beats(self, other: Candidate) -> bool:
        """Whether most lines say that they are of this dataset and not of the other one."""
        lines = [
            (ours, theirs) for ours, theirs in zip(self.read, other.read, strict=False) if ours is not None
        ]
        won = sum(ours.beats(theirs) for ours, theirs in lines)
        return won >= FITS * len(lines) or (won >= MOST * len(lines) and other.score < RIVALS * self.score)


@dataclass(frozen=True)
class Verdict:
    """What a log was found to be."""

    dataset: Dataset | None
    """Its dataset; None where there is no telling."""
    candidates: tuple[Candidate, ...] = ()
    """What it may be, the likeliest first."""
    empty: bool = False
    """Whether there is nothing in it to be loaded."""

    @property
    def reason(self) -> str:
        """Why there is no telling, in words."""
        names = ", ".join(one.dataset.name for one in self.candidates[:_SHOWN])
        if not self.candidates:
            return "no dataset's pipeline can read it"
        if self.candidates[0].share < FITS:
            shares = ", ".join(
                f"{one.dataset.name} {one.share:.0%}" for one in self.candidates[:_SHOWN] if one.share
            )
            return f"no dataset's pipeline can read most of its lines ({shares})"
        return f"it may be {' or '.join(names.rsplit(', ', 1))}"


class Detector:
    """Tells the datasets of logs, by the pipelines that are deployed in a cluster.

    Raises UsageError when one may not try pipelines there, or none of ours are.
    """

    def __init__(self, cluster: Cluster, datasets: Sequence[Dataset]) -> None:
        self._cluster = cluster
        try:
            found = cluster.request(
                "GET",
                "/_ingest/pipeline/sigmawatch-*",
                params={"filter_path": "*.description"},
                ignore=(404,),
            )
        except ResponseError as error:
            raise _cannot_try(error) from error
        deployed = found or {}
        self._datasets = [dataset for dataset in datasets if dataset.pipeline_id in deployed]
        if not self._datasets:
            raise UsageError(
                f"no dataset is deployed in {cluster.url}", hint="Run `sigmawatch deploy` first."
            )

    def detect(self, head: str) -> Verdict:
        """Return what a log is that begins with these lines. Raises ClusterError, UsageError."""
        if not head.strip("\ufeff \t\r\n\x00"):
            return Verdict(None, empty=True)
        # What is cut off within a line proves nothing; but all that there is may be one line behind a short one.
        whole = head[: head.rfind("\n") + 1]
        text = whole if len(whole) > len(head) / 2 else head
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            some = pool.map(lambda one: self._read(one, text, _SPREAD), self._datasets)
            left = [one.dataset for one in some if one.score]
            found = list(pool.map(lambda one: self._read(one, text, _EVENTS), left))
        return judge([one for one in found if one.score], text)

    def _read(self, dataset: Dataset, text: str, most: int) -> Candidate:
        documents = [event.document for event in islice(dataset.events([text]), _EVENTS)]
        documents = documents[:: max(1, len(documents) // most)]
        if not documents:
            return Candidate(dataset, ())
        # The index is for pipelines that look at it; nothing is written.
        body = {"docs": [{"_index": dataset.data_stream(), "_source": one} for one in documents]}
        path = url_path("_ingest", "pipeline", dataset.pipeline_id, "_simulate")
        try:
            results = self._cluster.request("POST", path, body)["docs"]
        except ResponseError as error:
            raise _cannot_try(error) from error
        read: list[Reading | None] = []
        for document, result in zip(documents, results, strict=True):
            if result is None:
                continue  # a header: no event
            made = result["doc"]["_source"] if "doc" in result else None
            read.append(None if made is None else _reading(dataset, document, made))
        return Candidate(dataset, tuple(read))


def _cannot_try(error: ResponseError) -> Exception:
    if error.status != 403:
        return error
    return UsageError(
        "our login may not try the cluster's pipelines, so that there is no telling which dataset it is",
        hint="Pass --dataset NAME.",
    )


def judge(found: Sequence[Candidate], head: str) -> Verdict:
    """Return which of the candidates a log is of that begins with this text."""
    marked = [one for one in found if one.share >= FITS and _is_marked(one.dataset, head)]
    ranked = sorted(marked or found, key=lambda one: (one.share >= FITS, one.score), reverse=True)
    if not ranked or ranked[0].share < FITS:
        return Verdict(None, tuple(sorted(found, key=lambda one: (-one.share, -one.score))))
    best = ranked[0]
    # Where both have marks and neither is there, what they read proves nothing: any W3C log can be read by both.
    unsure = bool(best.dataset.marks) and not marked
    rivals = [
        one
        for one in ranked[1:]
        if not best.beats(one) or (unsure and one.dataset.marks and one.share >= FITS)
    ]
    return Verdict(None if rivals else best.dataset, (best, *rivals))


def _is_marked(dataset: Dataset, head: str) -> bool:
    return any(f"\n{mark}" in f"\n{head}" for mark in dataset.marks)


def _reading(dataset: Dataset, document: Mapping[str, Any], made: Mapping[str, Any]) -> Reading | None:
    """Return what a pipeline made of an event; None where it could not read it."""
    if made.get("event", {}).get("kind") == "pipeline_error":
        return None
    text = str(document.get("message", ""))
    known = {str(value) for key, value in document.items() if key not in ("message", FORMAT_FIELD)}
    values = {value for value in _leaves(made, "", dataset.fields) if value and value in text}
    return Reading(frozenset(values - known), "error" not in made)


def _leaves(value: Any, path: str, types: Mapping[str, str]) -> Iterator[str]:
    if path.startswith(_NO_EVIDENCE) or types.get(path) == "flattened":
        return  # what is kept only because nothing else is done with it is not read
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else key, types)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, path, types)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
