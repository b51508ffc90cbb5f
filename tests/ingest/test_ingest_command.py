"""`sigmawatch ingest`: files as they come, and what becomes of each of their lines."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from cli.command_line import Ran, contents, emptied, sigmawatch
from sigmawatch.cluster import ConnectionSettings, connect

pytestmark = pytest.mark.engine

FLOW = "2 123456789010 eni-0a1b2c3d 203.0.113.9 10.0.1.20 50123 {port} 6 1 44 1772359200 1772359260 REJECT OK"
HEADER = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"


def flows(number: int, first: int = 1000) -> list[str]:
    return [FLOW.format(port=first + each) for each in range(number)]


def ingest(url: str, *files: Path, namespace: str, dataset: str = "flow.aws_vpc") -> Ran:
    return sigmawatch(
        "ingest", "--dataset", dataset, "--namespace", namespace, "--format", "json", "--url", url, *files
    )


def loaded(url: str, namespace: str, dataset: str = "flow.aws_vpc") -> list[dict[str, Any]]:
    stream = f"logs-{dataset}-{namespace}"
    with connect(ConnectionSettings(url)) as cluster:
        cluster.request("POST", f"/{stream}/_refresh")
        return [hit["_source"] for hit in cluster.scan(stream)]


def counts(ran: Ran, path: Path) -> dict[str, int]:
    return {key: value for key, value in ran.json[str(path)].items() if isinstance(value, int) and value}


def test_a_file_becomes_parsed_events_and_a_second_time_nothing(deployed: str, tmp_path: Path) -> None:
    path = tmp_path / "flow.log"
    path.write_text("\n".join(flows(3)) + "\n")
    first = ingest(deployed, path, namespace="twice")
    assert (first.code, first.err, counts(first, path)) == (0, "", {"created": 3})
    again = ingest(deployed, path, namespace="twice")
    assert (again.code, counts(again, path)) == (0, {"existing": 3})
    found = loaded(deployed, "twice")
    assert sorted(event["destination"]["port"] for event in found) == [1000, 1001, 1002]
    assert {event["event"]["dataset"] for event in found} == {"flow.aws_vpc"}


BODY = "\n".join(flows(3)) + "\n"

FORMS = {
    "gzip": ("flow.log.gz", gzip.compress(BODY.encode()), {"created": 3}),
    "gzip by another name": ("flow.log.1", gzip.compress(BODY.encode()), {"created": 3}),
    "gzip in parts": (
        "parts.gz",
        b"".join(gzip.compress(f"{line}\n".encode()) for line in flows(3)),
        {"created": 3},
    ),
    "text by the name of gzip": ("text.gz", BODY.encode(), {"created": 3}),
    "bzip2": ("flow.bz2", bz2.compress(BODY.encode()), {"created": 3}),
    "xz": ("flow.xz", lzma.compress(BODY.encode()), {"created": 3}),
    "an envelope": (
        "cloudwatch.json",
        json.dumps(
            {
                "messageType": "DATA_MESSAGE",
                "owner": "123456789012",
                "logGroup": "flows",
                "logEvents": [{"message": line} for line in flows(3)],
            },
            indent=1,
        ).encode(),
        {"created": 3},
    ),
    "carriage returns": ("crlf.log", BODY.replace("\n", "\r\n").encode(), {"created": 3}),
    "no newline at the end": ("last.log", BODY.rstrip().encode(), {"created": 3}),
    "a byte order mark": ("bom.log", b"\xef\xbb\xbf" + BODY.encode(), {"created": 3}),
    "blank lines": ("blank.log", f"\n\n  \n{BODY}\r\n\n".encode(), {"created": 3}),
    "a header": ("header.log", f"{HEADER}\n{BODY}".encode(), {"created": 3, "dropped": 1}),
    "headers within": (
        "headers.log",
        f"{HEADER}\r\n{BODY}{HEADER}\r\n".encode(),
        {"created": 3, "dropped": 2},
    ),
    "equal lines": ("equal.log", (FLOW.format(port=1000) + "\n").encode() * 3, {"created": 3}),
    "nothing": ("empty.log", b"", {}),
    "nothing, packed": ("empty.gz", gzip.compress(b""), {}),
}


def test_files_come_in_many_forms(deployed: str, tmp_path: Path) -> None:
    wanted = {}
    for name, content, count in FORMS.values():
        path = tmp_path / name
        path.write_bytes(content)
        wanted[path] = count
    ran = ingest(deployed, *wanted, namespace="forms")
    assert ran.code == 0, ran.err
    assert {path.name: counts(ran, path) for path in wanted} == {
        path.name: count for path, count in wanted.items()
    }
    found = loaded(deployed, "forms")
    assert [event for event in found if event["event"]["kind"] != "event"] == []
    assert {event["source"]["ip"] for event in found} == {"203.0.113.9"}
    assert {event["destination"]["port"] for event in found} == {1000, 1001, 1002}


def test_lines_that_are_no_logs_are_kept_and_marked(deployed: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.log"
    path.write_bytes(b"hello world\n\xff\xfe caf\xe9\n\x00\x00\n" + FLOW.format(port=5).encode() + b"\n")
    ran = ingest(deployed, path, namespace="odd")
    assert (ran.code, counts(ran, path)) == (0, {"created": 4})
    odd = [event for event in loaded(deployed, "odd") if event["event"]["kind"] == "pipeline_error"]
    originals = {event["event"]["original"] for event in odd}
    assert originals == {"hello world", "\\xff\\xfe caf\\xe9", "\x00\x00"}


def test_a_file_that_is_cut_off_is_loaded_as_far_as_it_goes_and_said_so(
    deployed: str, tmp_path: Path
) -> None:
    # What does not compress stays in order: half of the file holds about half of the lines.
    lines = flows(4000)
    packed = gzip.compress("\n".join(lines).encode())
    cut = tmp_path / "cut.gz"
    cut.write_bytes(packed[: len(packed) // 2])
    damaged = tmp_path / "damaged.gz"
    damaged.write_bytes(packed[:-8] + b"\0\0\0\0" + packed[-4:])
    good = tmp_path / "good.log"
    good.write_text("\n".join(flows(1)))
    ran = ingest(deployed, cut, damaged, good, namespace="cut")
    assert ran.code == 4
    assert f"{cut} is cut off after line" in ran.err
    assert f"{damaged} is damaged after line" in ran.err
    assert 1000 < counts(ran, cut)["created"] < 3000
    assert counts(ran, good) == {"created": 1}
    assert "is cut off" in ran.json[str(cut)]["unread"]


def test_lines_that_the_cluster_refuses_are_counted_and_explained(deployed: str, tmp_path: Path) -> None:
    path = tmp_path / "flow.log"
    path.write_text("\n".join(flows(7)))
    with connect(ConnectionSettings(deployed)) as cluster:
        stream = "logs-flow.aws_vpc-closed"
        cluster.request("PUT", f"/_data_stream/{stream}")
        cluster.request("PUT", f"/{stream}/_settings", {"index.blocks.write": True})
    text = sigmawatch("ingest", "--dataset", "flow.aws_vpc", "--namespace", "closed", "--url", deployed, path)
    assert text.code == 4
    assert "0 lines loaded, 7 refused" in text.out
    assert text.err.count("index write (api)") == 5
    ran = ingest(deployed, path, namespace="closed")
    assert (ran.code, counts(ran, path)) == (4, {"failed": 7})
    assert len(ran.json[str(path)]["reasons"]) == 5


@pytest.mark.parametrize(
    ("dataset", "name", "said"),
    [
        ("flow.aws_vcp", "flow.log", ", auth.sshd, "),
        ("flow.aws_vpc", "missing.log", "does not exist"),
        ("flow.aws_vpc", ".", "is a directory"),
    ],
)
def test_wrong_datasets_and_files_are_told_before_anything_is_sent(
    dataset: str, name: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "flow.log").write_text(BODY)
    ran = ingest("http://127.0.0.1:1", tmp_path / name, namespace="x", dataset=dataset)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_an_event_that_lies_in_two_files_is_one(deployed: str, tmp_path: Path) -> None:
    def record(number: int) -> dict[str, str]:
        return {"eventVersion": "1.11", "eventSource": "s3.amazonaws.com", "eventID": f"e{number}", "n": "x"}

    first, second = tmp_path / "a.json", tmp_path / "b.json.gz"
    first.write_text(json.dumps({"Records": [record(1), record(2)]}))
    second.write_bytes(gzip.compress(json.dumps({"Records": [record(2), record(3)]}, indent=2).encode()))
    ran = ingest(deployed, first, second, namespace="twofiles", dataset="api.aws_cloudtrail")
    assert ran.code == 0, ran.err
    assert counts(ran, first) == {"created": 2}
    assert counts(ran, second) == {"created": 1, "existing": 1}
    found = loaded(deployed, "twofiles", "api.aws_cloudtrail")
    assert sorted(event["event"]["id"] for event in found) == ["e1", "e2", "e3"]


def test_a_line_longer_than_a_document_may_be_is_told_and_the_rest_loaded(
    deployed: str, tmp_path: Path
) -> None:
    path = tmp_path / "long.log"
    path.write_text("\n".join([*flows(1), "x" * 100_000_000, *flows(1, 2000)]))
    ran = ingest(deployed, path, namespace="long")
    assert (ran.code, counts(ran, path)) == (4, {"created": 2, "failed": 1})
    assert "event 2: 100,000,000 characters" in ran.err


@pytest.mark.parametrize("content", [b"PK\x03\x04zip", b"PAR1parquet", b"\x28\xb5\x2f\xfdzst"])
def test_files_that_hold_no_lines_are_refused(deployed: str, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.log"
    path.write_bytes(content)
    ran = ingest(deployed, path, namespace="refused")
    assert (ran.code, ran.out) == (2, "")
    assert "not a log of lines" in ran.err


def test_a_dataset_that_is_not_deployed_gets_no_index_of_guessed_types(
    opensearch: Any, tmp_path: Path
) -> None:
    emptied(opensearch.url)
    before = contents(opensearch.url)
    path = tmp_path / "flow.log"
    path.write_text(BODY)
    ran = ingest(opensearch.url, path, namespace="default")
    assert (ran.code, ran.out) == (2, "")
    assert "dataset flow.aws_vpc is not deployed" in ran.err
    assert contents(opensearch.url) == before
