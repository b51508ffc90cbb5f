"""Compiled rules on an engine against what the rules mean, many at a time; and a disagreement made small."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import yaml

from queries.meaning import UnknownMeaningError, meaning
from queries.pairs import FIELDS, Pair, made
from sigmawatch.bundle import traits_of
from sigmawatch.cluster import Cluster
from sigmawatch.compile.compiler import CompileContext, compile_rules
from sigmawatch.compile.plan import Query
from sigmawatch.datasets import mapping_of
from sigmawatch.pack.rules import load_rules
from sigmawatch.run.msearch import Search, failure_of, msearch

INDEX = "test-proof"
BATCH = 250
TYPES = {name: kind for name, kind in FIELDS.items() if name != "message"}
"""Types of the fields that ECS does not have: `message` is compiled as it is for every rule."""

KNOWN = ("java.io.EOFException",)
"""OpenSearch 3.7 reads on after the last of several addresses of an event, in every script that looks at the field
(IpScriptDocValues). The search fails, so that nothing is missed in silence; no plan can do without."""


@dataclass(frozen=True)
class Disagreement:
    """A rule and an event that compiler and meaning tell differently."""

    detection: dict[str, Any]
    event: dict[str, Any]
    meant: bool
    detail: str = ""
    """Why the search failed, where it did."""

    def as_case(self) -> str:
        """Return it as a case of test_meaning.py."""
        selections = {name: value for name, value in self.detection.items() if name != "condition"}
        first, *more = selections
        told = f"[{self.event!r}], []" if self.meant else f"[], [{self.event!r}]"
        text = f'"…": Case({selections[first]!r}, {told}'
        if (condition := self.detection["condition"]) != first or first != "selection":
            text += f", condition={str(condition).replace(first, 'selection')!r}"
        if more:
            text += f", more={ {name: selections[name] for name in more}!r}"
        return f"{text}),"


@dataclass
class Account:
    """What was compared."""

    rules: int = 0
    pairs: int = 0
    """Rules with each of the events that were made for them."""
    compared: int = 0
    """Rules with each of the events of their batch."""
    matched: int = 0
    known: int = 0
    """Searches that failed for a fault of the engine that is known."""
    refused: Counter[str] = field(default_factory=Counter)
    invalid: Counter[str] = field(default_factory=Counter)
    disagreements: list[Disagreement] = field(default_factory=list)


def proven(
    cluster: Cluster, number: int, seed: int, on_batch: Callable[[Account], None] = lambda _: None
) -> Account:
    """Compare until about `number` pairs are compared; a disagreement comes back as small as it can be made."""
    account = Account()
    batch = 0
    while account.pairs < number:
        pairs = made(min(BATCH, -(-(number - account.pairs) // 4)), seed + batch)
        batch += 1
        found = compare(cluster, pairs, account)
        account.disagreements += [smallest(cluster, each) for each in found[:2]]
        on_batch(account)
    return account


def compare(
    cluster: Cluster, pairs: Sequence[Pair], account: Account, *, crossed: bool = True
) -> list[Disagreement]:
    """Compare every rule on every event (or, without `crossed`, its own); return one disagreement of each rule."""
    queries = compiled([pair.detection for pair in pairs], account)
    events = [event for pair in pairs for event in pair.events]
    found: list[Disagreement] = []
    with _indexed(cluster, events) as hits_of:
        numbers = list(queries)
        answers = hits_of([queries[number] for number in numbers])
    begins = [0]
    for pair in pairs:
        begins.append(begins[-1] + len(pair.events))
    for number, answer in zip(numbers, answers, strict=True):
        pair = pairs[number]
        own = range(begins[number], begins[number + 1])
        account.rules += 1
        account.pairs += len(own)
        try:
            test = meaning(pair.detection, FIELDS)
            judged = {at: test(events[at]) for at in (range(len(events)) if crossed else own)}
        except UnknownMeaningError as error:
            found.append(Disagreement(pair.detection, pair.events[0], False, f"compiled, though: {error}"))
            continue
        account.compared += len(judged)
        account.matched += sum(judged[at] for at in own)
        if isinstance(answer, str) and any(known in answer for known in KNOWN):
            account.known += 1
            continue
        if isinstance(answer, str):
            found.append(Disagreement(pair.detection, pair.events[0], judged[own[0]], answer))
            continue
        wrong = [at for at, meant in judged.items() if meant != (at in answer)]
        if wrong:
            found.append(Disagreement(pair.detection, events[wrong[0]], judged[wrong[0]]))
    return found


def compiled(detections: Sequence[dict[str, Any]], account: Account) -> dict[int, Query]:
    """Return the queries of the rules that compile, by their number."""
    with TemporaryDirectory() as folder:
        paths = []
        for number, detection in enumerate(detections):
            rule = {
                "title": f"Rule {number}",
                "id": str(uuid.UUID(int=(4 << 76) | (8 << 60) | number)),
                "logsource": {"category": "test"},
                "detection": detection,
            }
            path = Path(folder) / f"{number}.yml"
            path.write_text(yaml.dump(rule, Dumper=yaml.CSafeDumper, sort_keys=False), encoding="ascii")
            paths.append(path)
        result = compile_rules(load_rules(paths), CompileContext(overrides=TYPES))
    for problem in result.errors:
        counter = account.refused if problem.code == "refused" else account.invalid
        counter[problem.message] += 1
    return {int(plan.rule.title.removeprefix("Rule ")): plan.query for plan in result.plans}


class _indexed:  # noqa: N801 (used as a function)
    """An index of events, for as long as it is entered; gives the hits of queries, or why one failed."""

    def __init__(self, cluster: Cluster, events: Sequence[dict[str, Any]]) -> None:
        self.cluster = cluster
        self.events = events

    def __enter__(self) -> Callable[[Sequence[Query]], list[set[int] | str]]:
        traits = traits_of(self.cluster.features())
        properties = {name: mapping_of(name, kind, traits) for name, kind in FIELDS.items()}
        settings = {"number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": -1}
        mappings = {"dynamic": False, "properties": properties}
        self.cluster.request("PUT", f"/{INDEX}", {"settings": {"index": settings}, "mappings": mappings})
        lines = []
        for number, event in enumerate(self.events):
            lines += [orjson.dumps({"index": {"_id": str(number)}}), orjson.dumps(event)]
        path = f"/{INDEX}/_bulk"
        try:
            answer = self.cluster.request("POST", path, b"\n".join(lines) + b"\n", params={"refresh": "true"})
            failed = [item for item in answer["items"] if "error" in item["index"]]
            assert not failed, (failed[0], self.events[int(failed[0]["index"]["_id"])])
        except BaseException:
            self.__exit__()
            raise
        return self.hits

    def __exit__(self, *_: object) -> None:
        self.cluster.request("DELETE", f"/{INDEX}")

    def hits(self, queries: Sequence[Query]) -> list[set[int] | str]:
        found: list[set[int] | str] = []
        for query, answer in zip(queries, self.answers(queries), strict=True):
            # Searches of one request compete for the memory of the node.
            (answer,) = self.answers([query]) if failure_of(answer) else (answer,)
            found.append(failure_of(answer) or {int(hit["_id"]) for hit in answer["hits"]["hits"]})
        return found

    def answers(self, queries: Sequence[Query]) -> list[dict[str, Any]]:
        body: dict[str, Any] = {"size": 10_000, "_source": False, "sort": ["_doc"]}
        searches = [Search((INDEX,), body | {"query": {"bool": {"filter": [query]}}}) for query in queries]
        return [
            answer
            for at in range(0, len(searches), 100)
            for answer in msearch(self.cluster, searches[at : at + 100])
        ]


# Smaller ------------------------------------------------------------------------------------------------


def smallest(cluster: Cluster, found: Disagreement, seconds: float = 20) -> Disagreement:
    """Return a disagreement of which no part can be left out, or what there is after so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        smaller = sorted(_smaller(found), key=_size)[:240]
        still: list[Disagreement] = []
        # The smallest are tried first: mostly one of them will do.
        for at in range(0, len(smaller), 60):
            trial = [Pair(each.detection, [each.event]) for each in smaller[at : at + 60]]
            try:
                still = compare(cluster, trial, Account(), crossed=False)
            except Exception:
                still = [each for pair in trial for each in _alone(cluster, pair)]
            still = [each for each in still if bool(each.detail) == bool(found.detail)]
            if still:
                break
        if not still:
            return found
        found = min(still, key=_size)
    return found


def _alone(cluster: Cluster, pair: Pair) -> list[Disagreement]:
    try:
        return compare(cluster, [pair], Account(), crossed=False)
    except Exception:
        return []


def _size(found: Disagreement) -> int:
    return len(json.dumps([found.detection, found.event]))


def _smaller(found: Disagreement) -> Iterator[Disagreement]:
    for detection in _parts(found.detection):
        if isinstance(detection, dict) and len(detection) > 1 and "condition" in detection:
            yield Disagreement(detection, found.event, found.meant, found.detail)
    for name, selection in found.detection.items():
        if name != "condition":
            small = {name: selection, "condition": name}
            if small != found.detection:
                yield Disagreement(small, found.event, found.meant, found.detail)
                yield Disagreement(
                    {**small, "condition": f"not {name}"}, found.event, found.meant, found.detail
                )
    for event in _parts(found.event):
        if isinstance(event, dict):
            yield Disagreement(found.detection, event, found.meant, found.detail)


def _parts(value: Any) -> Iterator[Any]:
    """Yield what is left of a value without one part of it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {name: each for name, each in value.items() if name != key}
            for less in _parts(inner):
                yield {name: less if name == key else each for name, each in value.items()}
            fieldless = key.split("|")
            for at in range(1, len(fieldless)):
                renamed = "|".join([*fieldless[:at], *fieldless[at + 1 :]])
                yield {renamed if name == key else name: each for name, each in value.items()}
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield [*value[:at], *value[at + 1 :]]
            yield inner
            for less in _parts(inner):
                yield [*value[:at], less, *value[at + 1 :]]
    elif isinstance(value, str):
        half = len(value) // 2
        if half > 4:
            yield value[:half]
            yield value[half:]
        for at in range(min(len(value), 40)):
            yield value[:at] + value[at + 1 :]
            if value[at] not in "ab*?\\":
                yield value[:at] + "a" + value[at + 1 :]
    elif isinstance(value, int) and not isinstance(value, bool) and value not in (0, 1):
        yield 1
