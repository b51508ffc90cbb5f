"""Sends damaged lines through the deployed pipelines and looks whether anything got lost on the way.

As many documents must come out as lines went in, less those that a dataset declares to drop (headers), each with what
all documents have, whole in `event.original`, and searchable. A case that fails is made as small as it fails with, and
printed as an entry for `FOUND` in test_datasets_fuzz.py.

Bytes that are no UTF-8 are in the lines as the readers of files pass them on, since no engine reads a document that
has them: whoever builds the request has to replace them.

Run by scripts/fuzz.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
from rich.console import Console

from datasets.dataset_server import ROOT, Server
from datasets.mutation import damaged
from sigmawatch import engine
from sigmawatch.cluster.bulk import in_order
from sigmawatch.datasets import artifacts, base_artifacts, load_datasets, samples
from sigmawatch.datasets.templates import BARE_ELASTICSEARCH, OPENSEARCH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sigmawatch.datasets import Dataset

__all__ = ["Complaint", "Target", "as_source", "declares_drop", "fuzz", "installed", "smallest"]

NAMESPACE = "fuzz"
KINDS = frozenset({"event", "alert", "metric", "state", "asset", "enrichment", "signal", "pipeline_error"})
_BATCH = 400
_BATCH_BYTES = 3_000_000
_PATHS = {
    "component_template": "_component_template",
    "index_template": "_index_template",
    "ingest_pipeline": "_ingest/pipeline",
}
"""In the order in which they are made. Pipelines last: an engine writes all of them down with any change."""


@dataclass(frozen=True)
class Complaint:
    """What is wrong with what became of a document."""

    kind: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


@contextmanager
def installed(server: Server, datasets: Sequence[Dataset]) -> Iterator[None]:
    """Put pipelines, templates and data streams of datasets onto an engine, and take away all that has such names."""
    made = [*base_artifacts(server.traits)]
    for dataset in datasets:
        made += artifacts(dataset, namespace=NAMESPACE, traits=server.traits)
    by_kind = {kind: [artifact for artifact in made if artifact.kind == kind] for kind in _PATHS}
    streams = [dataset.data_stream(NAMESPACE) for dataset in datasets]
    stream_path = "_data_stream/{}" if server.traits.has_data_streams else "{}"
    try:
        for kind, path in _PATHS.items():
            for artifact in by_kind[kind]:
                server.call("PUT", f"{path}/{artifact.id}", artifact.body)
            if kind == "index_template":
                for stream in streams:
                    server.call("PUT", stream_path.format(stream))
        yield
    finally:
        server.call("DELETE", stream_path.format(",".join(streams)))
        for pattern in (
            "_ingest/pipeline/sigmawatch-*",
            "_index_template/logs-*",
            "_component_template/sigmawatch-*",
        ):
            server.call("DELETE", pattern)


@dataclass
class Target:
    """A dataset on an engine, and how many documents it was sent."""

    server: Server
    dataset: Dataset
    pipeline: str = ""
    """Another pipeline than the one its template names."""
    sent: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    """How many documents came out, by event.kind; `dropped` for those that did not."""

    def complaints(self, documents: Sequence[Mapping[str, Any]]) -> list[Complaint | None]:
        """Index documents and return what is wrong with what became of each."""
        found: list[Complaint | None] = []
        batch: list[tuple[Mapping[str, Any], bytes]] = []
        size = 0
        for document in documents:
            text = json.dumps(document).encode()
            if batch and (len(batch) >= _BATCH or size + len(text) > _BATCH_BYTES):
                found += self._send(batch)
                batch, size = [], 0
            batch.append((document, text))
            size += len(text)
        return found + (self._send(batch) if batch else [])

    def _send(self, batch: Sequence[tuple[Mapping[str, Any], bytes]]) -> list[Complaint | None]:
        stream = self.dataset.data_stream(NAMESPACE)
        first = self.sent
        self.sent += len(batch)
        body = b"".join(
            orjson.dumps({"create": {"_id": str(first + n)}}) + b"\n" + text + b"\n"
            for n, (_, text) in enumerate(batch)
        )
        answer = self.server.call(
            "POST",
            f"{stream}/_bulk?refresh=true{f'&pipeline={self.pipeline}' if self.pipeline else ''}",
            body,
        )
        ids = [str(first + number) for number in range(len(batch))]
        # The core is searched for, not only looked at: what a rule could not find is lost too.
        query = {
            "bool": {
                "filter": [
                    {"ids": {"values": ids}},
                    {"term": {"event.dataset": self.dataset.name}},
                    {"term": {"event.module": self.dataset.body.module}},
                    {"terms": {"event.kind": sorted(KINDS)}},
                    {"terms": {"event.outcome": ["success", "failure", "unknown"]}},
                    *({"exists": {"field": f"event.{name}"}} for name in ("category", "type", "action")),
                    {"range": {"@timestamp": {"gte": "1970-01-01T00:00:00Z"}}},
                    {"range": {"event.ingested": {"gte": "now-1h"}}},
                ]
            }
        }
        search = {"size": len(batch), "query": query, "_source": True}
        hits = {
            hit["_id"]: hit
            for hit in self.server.call("POST", f"{stream}/_search?ignore_unavailable=true", search)["hits"][
                "hits"
            ]
        }
        found = []
        entries = in_order(ids, answer["items"])
        for number, ((document, _), entry) in enumerate(zip(batch, entries, strict=True)):
            hit = hits.get(ids[number])
            found.append(self._judge(document, entry, hit))
            kind = "dropped" if hit is None else hit["_source"].get("event", {}).get("kind")
            self.kinds[str(kind)] += 1
        return found

    def _judge(
        self, document: Mapping[str, Any], item: Mapping[str, Any], hit: Mapping[str, Any] | None
    ) -> Complaint | None:
        if "error" in item:
            reason = item["error"]
            cause = reason.get("caused_by", {})
            return Complaint(
                f"refused ({reason['type']})", f"{reason['reason']} {cause.get('reason', '')}"[:400]
            )
        declared = declares_drop(self.dataset, document)
        if item.get("result") == "noop":
            return None if declared else Complaint("dropped")
        if hit is None:
            return Complaint(
                "not found",
                "by its core fields: event.{dataset,module,kind,category,type,action,outcome,ingested}, @timestamp",
            )
        return _complaint(self.dataset, document, hit)


def declares_drop(dataset: Dataset, document: Mapping[str, Any]) -> bool:
    """Return whether a dataset says that a document is no event."""
    event = document.get("event")
    line = event.get("original") if isinstance(event, dict) else None
    line = document.get("message") if line is None else line
    return isinstance(line, str) and any(
        parser.drops and parser.declared_format(line) is not None for parser in dataset.body.parsers
    )


def _complaint(dataset: Dataset, document: Mapping[str, Any], hit: Mapping[str, Any]) -> Complaint | None:
    source = hit["_source"]
    event = source["event"]
    original = event.get("original")
    line = document.get("message")
    if (
        isinstance(line, str)
        and not _brings_original(document)
        and line not in (original, _message_of(original))
    ):
        return Complaint("event.original is not the line", f"{str(original)[:80]!r}")
    if original is None and (line is not None or _brings_original(document)):
        return Complaint("event.original is missing")
    if not 1970 <= datetime.fromisoformat(source["@timestamp"]).year <= 9999:
        return Complaint("@timestamp is no time", source["@timestamp"])
    if _is_unicode(json.dumps(document, ensure_ascii=False)) and not _is_unicode(
        json.dumps(source, ensure_ascii=False)
    ):
        return Complaint("half a character", "which strict readers of JSON refuse")
    messages = source.get("error", {}).get("message")
    if event["kind"] == "pipeline_error" and not messages:
        return Complaint("a pipeline_error without error.message")
    if any(len(str(text)) > 1000 for text in messages or () if text not in _shipped_errors(document)):
        return Complaint("error.message is endless")
    # What a mapping ignores, no rule finds. Only what the shipper sent along may be of any type.
    if set(document) <= {"message", "_format"} and isinstance(line, str) and hit.get("_ignored"):
        return Complaint("ignored by the mapping", ", ".join(sorted(hit["_ignored"])))
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shipped_errors(document: Mapping[str, Any]) -> Sequence[Any]:
    error = document.get("error")
    given = error.get("message") if isinstance(error, dict) else None
    return given if isinstance(given, list) else [given]


def _message_of(original: Any) -> Any:
    """Return the line inside what became of an object that a shipper parsed, as Winlogbeat does."""
    try:
        found = json.loads(original)
    except (TypeError, ValueError, RecursionError):
        return None
    return found.get("message") if isinstance(found, dict) else None


def _brings_original(document: Mapping[str, Any]) -> bool:
    event = document.get("event")
    return "event.original" in document or (isinstance(event, dict) and event.get("original") is not None)


def fuzz(
    target: Target, lines: int, seed: str, foreign: Sequence[str]
) -> list[tuple[dict[str, Any], Complaint]]:
    """Send damaged lines of a dataset's samples; return the documents that something is wrong with."""
    pick = random.Random(f"{seed} {target.dataset.name}")
    given = [
        document for sample in samples(target.dataset) for document in target.dataset.documents(sample.lines)
    ]
    documents = [damaged(pick, given, foreign) for _ in range(lines)]
    found = target.complaints(documents)
    return [
        (document, complaint)
        for document, complaint in zip(documents, found, strict=True)
        if complaint is not None
    ]


def smallest(target: Target, document: Mapping[str, Any], complaint: Complaint) -> dict[str, Any]:
    """Return the smallest document that has the same wrong with it, found by leaving out more and more."""
    best = dict(document)
    for _ in range(80):
        tries = sorted(_smaller(best), key=lambda document: len(json.dumps(document)))[:150]
        found = target.complaints(tries)
        same = [
            made for made, other in zip(tries, found, strict=True) if other and other.kind == complaint.kind
        ]
        if not same:
            break
        best = same[0]
    return best


def _smaller(value: Any) -> Iterator[Any]:
    """Yield values of the same type with something left out."""
    if isinstance(value, dict):
        for key in value:
            yield {name: inner for name, inner in value.items() if name != key}
        for key, inner in value.items():
            yield from ({**value, key: less} for less in _smaller(inner))
    elif isinstance(value, list):
        for at in range(min(len(value), 20)):
            yield value[:at] + value[at + 1 :]
        yield value[: len(value) // 2]
        for at, inner in enumerate(value[:5]):
            yield from ([*value[:at], less, *value[at + 1 :]] for less in _smaller(inner))
    elif isinstance(value, str) and value:
        if value.startswith("{"):
            try:
                inside = json.loads(value)
            except (ValueError, RecursionError):
                inside = None
            yield from (json.dumps(less) for less in _smaller(inside))
        step = len(value)
        while step and len(value) // step <= 16:
            for at in range(0, len(value), step):
                yield value[:at] + value[at + step :]
            step //= 2
        if len(value) <= 120:
            yield from (value[:at] + value[at + 1 :] for at in range(len(value)))


def as_source(dataset: str, document: Mapping[str, Any], complaint: Complaint) -> str:
    """Return a case as an entry of FOUND, long repetitions written as such."""
    text = re.sub(
        r"(?P<unit>[^\\']{1,8}?)(?P=unit){40,}",
        lambda match: f"' + {match['unit']!r} * {len(match[0]) // len(match['unit'])} + '",
        ascii(dict(document)),
    )
    return f"    ({dataset!r}, {text}),  # {complaint}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lines", type=int, default=50_000, help="over all datasets [default: 50000]")
    parser.add_argument("--seed", default=time.strftime("%Y%m%d"), help="repeats a run [default: the date]")
    parser.add_argument("--dataset", action="append", metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--engine", choices=["opensearch", "elasticsearch"], default="opensearch")
    options = parser.parse_args()
    datasets = load_datasets(ROOT)
    foreign = [line for dataset in datasets for sample in samples(dataset) for line in sample.lines]
    unknown = set(options.dataset or ()) - {dataset.name for dataset in datasets}
    if unknown:
        parser.error(f"there is no dataset {', '.join(sorted(unknown))}")
    chosen = [dataset for dataset in datasets if not options.dataset or dataset.name in options.dataset]
    traits = OPENSEARCH if options.engine == "opensearch" else BARE_ELASTICSEARCH
    console = Console(soft_wrap=True, markup=False, highlight=False)
    share = max(1, options.lines // len(chosen))
    failures: dict[tuple[str, str], str] = {}
    number = 0
    started = time.monotonic()
    with engine.temporary(engine.Engine(options.engine), heap="1g") as node:
        server = Server(node.url, traits)
        with installed(server, chosen):
            for dataset in chosen:
                target = Target(server, dataset)
                wrong: list[tuple[dict[str, Any], Complaint]] = []
                while target.sent < share:
                    part = min(2000, share - target.sent)
                    wrong += fuzz(target, part, f"{options.seed} {target.sent}", foreign)
                number += target.sent
                kinds = ", ".join(f"{count:,} {kind}" for kind, count in target.kinds.most_common())
                console.print(f"{dataset.name}: {target.sent:,} lines: {kinds}; {len(wrong):,} failures")
                for document, complaint in wrong:
                    key = (dataset.name, complaint.kind)
                    if key not in failures:
                        case = smallest(target, document, complaint)
                        # As the smallest fails, which may be in more detail than the first.
                        again = target.complaints([case])[0] or complaint
                        failures[key] = as_source(dataset.name, case, again)
                        console.print(failures[key])
    console.print(
        f"{node.version}: {number:,} lines, {len(failures)} kinds of failure, seed {options.seed}, "
        f"{time.monotonic() - started:.0f} s"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
