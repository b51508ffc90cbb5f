"""Bytes on disk of an event: the line, our stream by codec and without the line, and its copy in the archive.

The lines are those of the samples that become events without any problem, many times over, each time with other
values: times go on by up to two seconds from one line to the next, fractions of seconds too; addresses, account
ids and ids of resources are drawn from 2,000 each, of which few are frequent and many are rare; ids of requests,
events and connections are new each time, and so are numbers of four to six digits (ports, sizes, process ids).
Names, paths, user agents and the words of messages stay those of the samples: of a large site they differ more,
which costs all forms alike. Every form has the same documents in the same order in one shard and one segment, and
all of it is of one run: the ratios matter.
"""

from __future__ import annotations

import argparse
import gzip
import random
import re
import string
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from rich.console import Console
from rich.table import Table

from sigmawatch import engine
from sigmawatch.archive.artifacts import archive_artifacts
from sigmawatch.archive.copying import copy_index
from sigmawatch.archive.holdings import read_archives
from sigmawatch.bundle import traits_of
from sigmawatch.cluster import Cluster, ConnectionSettings, connect, url_path
from sigmawatch.datasets import DatasetSettings, artifacts, base_artifacts, load_datasets, samples
from sigmawatch.datasets.privacy import Privacy
from sigmawatch.deploy.kind import Write
from sigmawatch.deploy.kinds import all_kinds
from sigmawatch.retention import Archive, Kept, Mechanism, Retention

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sigmawatch.datasets import Dataset

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "scripts" / "benches" / "results" / "sizes.json"
PAGE = ROOT / "docs" / "retention.md"
BEGIN, END = "<!-- sizes: made by scripts/bench sizes --save -->", "<!-- end of sizes -->"

DATASETS = (
    "api.aws_cloudtrail",
    "auth.sshd",
    "auth.windows_security",
    "dns.aws_route53_resolver",
    "firewall.fortinet_fortigate",
    "flow.aws_vpc",
    "ids.suricata",
    "lb.aws_alb",
    "waf.aws",
    "web.nginx",
)
"""One or two of each group, as text, key and value, JSON and XML."""

NAMESPACE = "sizes"
BATCH = 1000
_LONGEST = 4000
_COMMON = 2000
"""Different values of one kind in a line; the tenth of them that is most frequent is most of what there is."""


@dataclass(frozen=True)
class Measured:
    """Bytes of an event, on the average."""

    dataset: str
    events: int
    line: float
    """The line as it came, uncompressed."""
    line_gzip: float
    """In a file that was packed with gzip."""
    default: float
    """Our stream with the default codec."""
    best: float
    """With best_compression."""
    best_without_original: float
    """… and without event.original."""
    archive: float
    """The copy in the archive."""
    fields: int
    """Fields that the archive may have."""


def main() -> int:
    first, _, rest = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(prog="scripts/bench sizes", description=first, epilog=rest)
    parser.add_argument("--dataset", action="append", metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--documents", type=int, default=20_000, help="of each dataset [default: 20000]")
    parser.add_argument("--json", action="store_true", help="print figures for machines")
    parser.add_argument(
        "--save", action="store_true", help="as the committed results and the table of the docs"
    )
    options = parser.parse_args()
    known = {one.name: one for one in load_datasets(ROOT / "ingest_pipelines")}
    unknown = set(options.dataset or ()) - set(known)
    if unknown:
        parser.error(f"there is no dataset {', '.join(sorted(unknown))}")
    with engine.temporary(heap="1g", steady=True) as node:
        with connect(ConnectionSettings(node.url, timeout=120)) as cluster:
            found = [
                _measure(cluster, known[name], options.documents) for name in options.dataset or DATASETS
            ]
        result = {
            "date": datetime.now(UTC).date().isoformat(),
            "engine": f"{node.engine} {node.version}",
            "documents": options.documents,
            "datasets": {one.dataset: asdict(one) for one in found},
        }
    if options.save:
        RESULTS.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), result), encoding="utf-8")
    if options.json:
        sys.stdout.buffer.write(orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    else:
        _print(Console(), result)
    return 0


def _measure(cluster: Cluster, dataset: Dataset, count: int) -> Measured:
    archive = Archive(after=0, rate=1_000_000)
    kept = Kept(f"logs-{dataset.name}", dataset.index_pattern, Mechanism.NONE, Retention(archive=archive))
    traits = traits_of(cluster.features())
    settings = DatasetSettings(template={"settings": {"index": {"codec": "best_compression"}}})
    made = [
        *base_artifacts(traits),
        *artifacts(dataset, namespace=NAMESPACE, traits=traits, settings=settings),
        *archive_artifacts(dataset, kept, traits=traits, privacy=Privacy()),
    ]
    kinds = all_kinds()
    for artifact in made:
        kinds[artifact.kind].write(cluster, Write(artifact.id, dict(artifact.body)))
    stream = dataset.data_stream(NAMESPACE)
    plain = [f"sizes-default-{dataset.name}", f"sizes-bare-{dataset.name}"]
    copies: list[str] = []
    try:
        lines = list(_varied(dataset, count))
        for start in range(0, count, BATCH):
            _bulk(cluster, stream, lines[start : start + BATCH])
        cluster.request("POST", url_path(stream, "_rollover"), idempotent=False)
        (entry,) = read_archives(cluster, int(datetime.now(UTC).timestamp() * 1000)).entries
        assert entry.source is not None
        source = entry.index
        copies.append(entry.copy_index)
        copy_index(cluster, entry.source, entry.copy_index, read_archives(cluster, 0).policies[dataset.name])
        mappings = cluster.request("GET", url_path(source))[source]["mappings"]
        for index, codec, without in (
            (plain[0], "default", ()),
            (plain[1], "best_compression", ("event.original",)),
        ):
            _reindex(cluster, source, index, mappings, codec, without)
        failed = cluster.request(
            "POST", url_path(source, "_count"), {"query": {"term": {"event.kind": "pipeline_error"}}}
        )["count"]
        if failed * 20 > count:
            raise SystemExit(f"{dataset.name}: {failed} of the varied lines are no events")
        texts = [str(line["message"]).encode() for line in lines]
        sizes = {index: _bytes(cluster, index, count) for index in (source, *plain, entry.copy_index)}
    finally:
        for artifact in reversed(made):
            kinds[artifact.kind].delete(cluster, artifact.id)
        for index in (*plain, *copies):
            cluster.request("DELETE", url_path(index), ignore=(404,))

    def each(total: float) -> float:
        return round(total / count, 1)

    return Measured(
        dataset=dataset.name,
        events=count,
        line=each(sum(len(text) + 1 for text in texts)),
        line_gzip=each(len(gzip.compress(b"\n".join(texts)))),
        default=each(sizes[plain[0]]),
        best=each(sizes[source]),
        best_without_original=each(sizes[plain[1]]),
        archive=each(sizes[copies[0]]),
        fields=len(read_fields(made)),
    )


def read_fields(made: Sequence[Any]) -> list[str]:
    """Return the fields that an archive's template has."""
    return next(
        list(one.body["_meta"]["archive"]["fields"]) for one in made if "archive" in one.body.get("_meta", {})
    )


def _bulk(cluster: Cluster, target: str, documents: Sequence[Mapping[str, Any]]) -> None:
    body = b"".join(b'{"create":{}}\n' + orjson.dumps(document) + b"\n" for document in documents)
    answer = cluster.request("POST", url_path(target, "_bulk"), body)
    failed = [item["create"]["error"] for item in answer["items"] if "error" in item["create"]]
    if failed:
        raise SystemExit(f"{target}: {len(failed)} documents were refused: {failed[0]}")


def _reindex(
    cluster: Cluster,
    source: str,
    index: str,
    mappings: Mapping[str, Any],
    codec: str,
    without: Sequence[str],
) -> None:
    """Write the same documents into an index of another form."""
    properties = {name: body for name, body in mappings.items() if name in ("dynamic", "properties")}
    settings = {
        "number_of_shards": 1,
        "number_of_replicas": 0,
        "codec": codec,
        "mapping.ignore_malformed": True,
    }
    cluster.request("PUT", url_path(index), {"settings": {"index": settings}, "mappings": properties})
    body = {
        "source": {"index": source, "_source": {"excludes": list(without)}},
        "dest": {"index": index, "op_type": "create", "pipeline": "_none"},
    }
    answer = cluster.request(
        "POST", "/_reindex", body, params={"refresh": "true"}, idempotent=False, timeout=600
    )
    if answer["failures"]:
        raise SystemExit(f"{index}: {answer['failures'][0]}")


def _bytes(cluster: Cluster, index: str, count: int) -> int:
    """Return what the one segment of an index takes."""
    cluster.request(
        "POST", url_path(index, "_forcemerge"), params={"max_num_segments": "1"}, idempotent=True, timeout=600
    )
    cluster.request("POST", url_path(index, "_refresh"))
    (shards,) = cluster.request("GET", url_path(index, "_segments"))["indices"][index]["shards"].values()
    segments = [one for one in shards[0]["segments"].values() if one["search"]]
    if len(segments) != 1 or segments[0]["num_docs"] < count:
        raise SystemExit(f"{index} has {len(segments)} segments")
    return int(segments[0]["size_in_bytes"])


# Lines -------------------------------------------------------------------------------------------------------

_START = datetime(2026, 3, 1, tzinfo=UTC)
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_VARIED = re.compile(
    r"(?P<iso>\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?)"
    r"|(?P<slashed>\b20\d\d/\d\d/\d\d \d\d:\d\d:\d\d)"
    r"|(?P<day>(?<=date=)20\d\d-\d\d-\d\d)"
    r"|(?P<clock>(?<=time=)\d\d:\d\d:\d\d)"
    rf"|(?P<clf>\b\d\d/(?:{_MONTHS})/20\d\d:\d\d:\d\d:\d\d)"
    rf"|(?P<bsd>\b(?:{_MONTHS}) [ \d]\d \d\d:\d\d:\d\d)"
    r"|(?P<uuid>\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b)"
    r"|(?P<ip>\b(?:\d{1,3}\.){3}\d{1,3}\b)"
    r"|(?P<epoch>\b17\d{8}(?:\d{3})?(?:\d{6})?\b)"
    r"|(?P<account>(?<=[:\"= ])\d{12}\b)"
    r"|(?P<hex>(?<=[-:_/\" =])(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\b)"
    r"|(?P<big>(?<=\":)\d{15,18}\b)"
    r"|(?P<number>(?<![\w./+-])(?<!\d:)\d{4,6}(?![\w/-]|[.:]\d))"
)
_KEPT_NUMBERS = re.compile(
    r"(?:EventID|event_id|Version|Task|eventid|logid|gid|signature_id|Keywords|code)\W{0,12}$", re.IGNORECASE
)
_NEW_IDS = re.compile(
    r"(?:request|event|trace|root=|tid|activity|flow|correlation|session|logonguid).{0,24}$", re.IGNORECASE
)
_CLOCKS = {"slashed": "%Y/%m/%d %H:%M:%S", "day": "%Y-%m-%d", "clock": "%H:%M:%S", "clf": "%d/%b/%Y:%H:%M:%S"}
_PORT = 5
_LOOK_BACK = 40
"""Characters before a value that say what it is."""


def _usual(dataset: Dataset) -> list[Mapping[str, Any]]:
    """Return the documents of the sample lines that become events."""
    found: list[Mapping[str, Any]] = []
    for sample in samples(dataset):
        documents = list(dataset.documents(sample.lines))
        for document, expected in zip(documents, sample.expected or (), strict=True):
            usual = expected is not None and "error" not in expected
            # Lines of thousands of characters are in samples to show that they are kept.
            if usual and isinstance(document.get("message"), str) and len(document["message"]) < _LONGEST:
                found.append(document)
    return found


def _varied(dataset: Dataset, count: int) -> Iterator[dict[str, Any]]:
    """Yield so many lines with values of their own, in the order of their times."""
    pick = random.Random(dataset.name)  # noqa: S311  # the same lines every time
    given = _usual(dataset)
    moment = _START
    for _ in range(count):
        moment += timedelta(seconds=pick.uniform(0, 2))
        document = pick.choice(given)
        yield {**document, "message": _VARIED.sub(_replacing(pick, moment), document["message"])}


def _replacing(pick: random.Random, moment: datetime) -> Callable[[re.Match[str]], str]:
    """Return what stands in a line in the place of something that varies."""

    def replaced(found: re.Match[str]) -> str:
        kind, text = found.lastgroup, found[0]
        before = found.string[max(0, found.start() - _LOOK_BACK) : found.start()]
        if kind == "iso":
            return moment.strftime(f"%Y-%m-%d{text[10]}%H:%M:%S") + _fraction(pick, text[19:])
        if kind in _CLOCKS:
            return moment.strftime(_CLOCKS[kind])
        if kind == "bsd":
            return f"{moment:%b} {moment.day:2} {moment:%H:%M:%S}"
        if kind == "epoch":
            return f"{int(moment.timestamp())}{_fraction(pick, text[10:])}"
        if kind == "ip":
            return _address(text, _rank(pick))
        if kind == "number":
            if _KEPT_NUMBERS.search(before):
                return text
            least = 10 ** (len(text) - 1)
            return str(pick.randrange(least, 65_536 if len(text) == _PORT else 10 * least))
        if kind == "big":
            return str(pick.randrange(10 ** (len(text) - 1), 10 ** len(text)))
        if kind == "account":
            return f"1111222233{_rank(pick) % 20:02}"
        digits = pick if _NEW_IDS.search(before) else random.Random(f"{before}{_rank(pick)}")  # noqa: S311
        return "".join(sign if sign == "-" else digits.choice("0123456789abcdef") for sign in text)

    return replaced


def _fraction(pick: random.Random, text: str) -> str:
    return "".join(pick.choice(string.digits) if sign.isdigit() else sign for sign in text)


def _rank(pick: random.Random) -> int:
    """Return which of many values it is: the first tenth is most of them."""
    return min(int(pick.paretovariate(0.8)) - 1, _COMMON - 1)


def _address(text: str, rank: int) -> str:
    first, second, *_ = text.split(".")
    bits = random.Random(f"{first}.{second}.{rank}")  # noqa: S311  # the same address for the same rank
    if text.startswith(("10.", "172.", "192.168.")):
        return f"{first}.{second}.{bits.randrange(256)}.{bits.randrange(1, 255)}"
    if int(first) in range(1, 224) and first != "127":
        return f"{first}.{bits.randrange(256)}.{bits.randrange(256)}.{bits.randrange(1, 255)}"
    return text


# Tables ------------------------------------------------------------------------------------------------------


def with_table(page: str, result: Mapping[str, Any]) -> str:
    """Return a page with the table of a result between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(result)}{END}{after}"


def table(result: Mapping[str, Any]) -> str:
    """Return a result as Markdown."""
    lines = [
        f"{result['engine'].replace('opensearch', 'OpenSearch')}, {result['documents']:,} events of each dataset,"
        f" {result['date']}; bytes of an event.",
        "",
        "| dataset | line | packed with gzip | default codec | `best_compression` | without `event.original` "
        "| archive | archive to `best_compression` |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, one in result["datasets"].items():
        shown = [
            one[key] for key in ("line", "line_gzip", "default", "best", "best_without_original", "archive")
        ]
        numbers = " | ".join(f"{value:,.0f}" for value in shown)
        lines.append(f"| `{name}` | {numbers} | {one['archive'] / one['best']:.2f} |")
    return "\n".join(lines) + "\n"


def _print(console: Console, result: Mapping[str, Any]) -> None:
    console.print(
        f"{result['engine']}, {result['date']}, {result['documents']:,} events each", highlight=False
    )
    shown = Table("dataset", "line", "gzip", "default", "best", "no original", "archive", "archive/best")
    for name, one in result["datasets"].items():
        keys = ("line", "line_gzip", "default", "best", "best_without_original", "archive")
        shown.add_row(name, *(f"{one[key]:,.0f}" for key in keys), f"{one['archive'] / one['best']:.2f}")
    console.print(shown)


if __name__ == "__main__":
    sys.exit(main())
