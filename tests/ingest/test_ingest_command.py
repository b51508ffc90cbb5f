"""`sigmawatch ingest`: files as they come, and what becomes of each of their lines."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.command_line import PROGRAM, Ran, contents, emptied, environment, sigmawatch
from ingest.conftest import FLOW, flows
from sigmawatch.cluster import ConnectionSettings, connect
from sigmawatch.engine import Node

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = pytest.mark.engine

HEADER = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"


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
    found = ran.json["files"][str(path)]
    return {key: value for key, value in found.items() if isinstance(value, int) and value}


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


TAR = b"flow.log".ljust(257, b"\0") + b"ustar\x0000".ljust(255, b"\0") + b"a line\n"
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
    "zstd": ("flow.zst", zstd.compress(BODY.encode()), {"created": 3}),
    "zstd in parts": (
        "parts.zst",
        b"".join(zstd.compress(f"{line}\n".encode()) for line in flows(3)),
        {"created": 3},
    ),
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
    "UTF-16, as PowerShell writes it": ("utf16.log", BODY.encode("utf-16"), {"created": 3}),
    "UTF-16 of the other order": (
        "be.log.gz",
        gzip.compress(b"\xfe\xff" + BODY.replace("\n", "\r\n").encode("utf-16-be")),
        {"created": 3},
    ),
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


def test_what_a_dataset_can_read_nothing_of_is_a_finding(deployed: str, tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    path.write_text('{"event_type": "flow"}\n{"event_type": "dns"}\n')
    ran = sigmawatch(
        "ingest", "--dataset", "flow.aws_vpc", "--namespace", "mistaken", "--url", deployed, path
    )
    assert ran.code == 1
    assert "2 of them cannot be parsed" in ran.out
    assert "flow.aws_vpc can read none of these events: is this another dataset's log?" in ran.err


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
    assert "is cut off" in ran.json["files"][str(cut)]["unread"]


def test_lines_that_the_cluster_refuses_are_counted_and_explained(deployed: str, tmp_path: Path) -> None:
    path = tmp_path / "flow.log"
    path.write_text("\n".join(flows(7)))
    with connect(ConnectionSettings(deployed)) as cluster:
        stream = "logs-flow.aws_vpc-closed"
        cluster.request("PUT", f"/_data_stream/{stream}")
        cluster.request("PUT", f"/{stream}/_settings", {"index.blocks.write": True})
    text = sigmawatch("ingest", "--dataset", "flow.aws_vpc", "--namespace", "closed", "--url", deployed, path)
    assert text.code == 4
    assert "0 events loaded, 7 refused" in text.out
    assert text.err.count("index write (api)") == 5
    ran = ingest(deployed, path, namespace="closed")
    assert (ran.code, counts(ran, path)) == (4, {"failed": 7})
    assert len(ran.json["files"][str(path)]["reasons"]) == 5


@pytest.mark.parametrize(
    ("dataset", "name", "said"),
    [
        ("flow.aws_vcp", "flow.log", "Did you mean flow.aws_vpc?"),
        ("syslog", "flow.log", ", auth.sshd, "),
        ("flow.aws_vpc", "missing.log", "does not exist"),
        ("flow.aws_vpc", "empty", "holds no files"),
        ("flow.aws_vpc", "*.gz", "no file matches"),
    ],
)
def test_wrong_datasets_and_files_are_told_before_anything_is_sent(
    dataset: str, name: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "flow.log").write_text(BODY)
    (tmp_path / "empty").mkdir()
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


@pytest.mark.parametrize(
    "content",
    [b"PK\x03\x04zip", b"PAR1parquet", TAR, gzip.compress(TAR)],
    # A packed file has its time in it, and names of tests have to be the same always.
    ids=["zip", "Parquet", "tar", "packed tar"],
)
def test_files_that_hold_no_lines_are_refused(deployed: str, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.log"
    path.write_bytes(content)
    ran = ingest(deployed, path, namespace="refused")
    assert (ran.code, ran.out) == (2, "")
    assert "not a log of lines" in ran.err


def test_what_the_cluster_refused_is_loaded_later_from_the_file_of_it(deployed: str, tmp_path: Path) -> None:
    path, refused = tmp_path / "flow.log", tmp_path / "refused.ndjson"
    path.write_text("\n".join([HEADER, *flows(7)]))
    stream = "logs-flow.aws_vpc-later"
    arguments = ["--namespace", "later", "--format", "json", "--url", deployed]
    with connect(ConnectionSettings(deployed)) as cluster:
        cluster.request("PUT", f"/_data_stream/{stream}")
        cluster.request("PUT", f"/{stream}/_settings", {"index.blocks.write": True})
        first = sigmawatch("ingest", "--failed", refused, *arguments, path)
        assert first.code == 4
        assert f"The refused lines are in {refused}" in first.err
        lines = [json.loads(line) for line in refused.read_text().splitlines()]
        assert sorted(line["message"] for line in lines) == flows(7)
        assert {line["sigmawatch"]["dataset"] for line in lines} == {"flow.aws_vpc"}
        assert all("index write (api)" in line["sigmawatch"]["reason"] for line in lines)
        taken = sigmawatch("ingest", "--failed", refused, *arguments, path)
        assert (taken.code, "exists already" in taken.err) == (2, True)
        cluster.request("PUT", f"/{stream}/_settings", {"index.blocks.write": None})
    second = sigmawatch("ingest", *arguments, refused)
    assert (second.code, second.json["datasets"]["flow.aws_vpc"]["created"]) == (0, 7), second.err
    again = sigmawatch("ingest", *arguments, refused, path)
    assert again.json["datasets"]["flow.aws_vpc"]["existing"] == 14
    assert len(loaded(deployed, "later")) == 7


def test_standard_input_is_read_as_any_file(deployed: str) -> None:
    done = subprocess.run(
        [PROGRAM, "ingest", "--namespace", "stdin", "--format", "json", "--url", deployed, "-"],
        input=gzip.compress(BODY.encode()),
        capture_output=True,
        env=environment(),
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"]["standard input"]["created"] == 3
    assert len(loaded(deployed, "stdin")) == 3


def test_a_folder_may_hold_logs_of_several_datasets_and_files_that_are_none(
    deployed: str, tmp_path: Path
) -> None:
    sshd = "<38>1 2026-03-01T10:00:0{n}Z web1 sshd 2000 - - Failed password for anna from 198.51.100.7 port 400{n} ssh2"
    for host in ("a", "b"):
        (tmp_path / host).mkdir()
        (tmp_path / host / "flow.log").write_text(BODY)
        (tmp_path / host / "auth.log").write_text("\n".join(sshd.format(n=n) for n in range(5)))
    (tmp_path / "a" / "notes.txt").write_text("remember the milk\n")
    (tmp_path / "a" / "old.zip").write_bytes(b"PK\x03\x04zip")
    (tmp_path / "a" / ".hidden").write_text(BODY)
    (tmp_path / "a" / "empty.log").write_text("")
    arguments: list[str | Path] = ["--namespace", "folder", "--url", deployed, "--format", "json", tmp_path]
    ran = sigmawatch("ingest", *arguments)
    assert ran.code == 1, ran.err
    # Two hosts that log the same lines lose none.
    assert {name: found["created"] for name, found in ran.json["datasets"].items()} == {
        "auth.sshd": 10,
        "flow.aws_vpc": 6,
    }
    assert [Path(name).name for name in ran.json["unknown"]] == ["notes.txt", "old.zip"]
    assert "notes.txt: no dataset's pipeline can read it" in ran.err
    again = sigmawatch("ingest", "--skip-unknown", *arguments)
    assert again.code == 0
    assert {
        name: (found["created"], found["existing"]) for name, found in again.json["datasets"].items()
    } == {
        "auth.sshd": (0, 10),
        "flow.aws_vpc": (0, 6),
    }
    assert len(loaded(deployed, "folder")) == 6


def test_a_renamed_and_packed_file_that_grew_is_loaded_only_where_it_is_new(
    deployed: str, tmp_path: Path
) -> None:
    path = tmp_path / "flow.log"
    path.write_text("\n".join(flows(100)) + "\n")
    assert counts(ingest(deployed, path, namespace="grown"), path) == {"created": 100}
    packed = tmp_path / "flow.log.1.gz"
    packed.write_bytes(gzip.compress(("\n".join(flows(150)) + "\n").encode()))
    assert counts(ingest(deployed, packed, namespace="grown"), packed) == {"created": 50, "existing": 100}


def test_patterns_name_files_and_one_named_twice_is_read_once(deployed: str, tmp_path: Path) -> None:
    for name in ("a.log", "b.log", "c.txt"):
        (tmp_path / name).write_text("\n".join(flows(3, ord(name[0]))))
    ran = sigmawatch(
        "ingest",
        "--namespace",
        "glob",
        "--url",
        deployed,
        "--format",
        "json",
        tmp_path / "*.log",
        tmp_path / "a.log",
    )
    assert (ran.code, ran.json["datasets"]["flow.aws_vpc"]["created"]) == (0, 6)


def test_documents_that_cannot_be_parsed_are_counted_with_the_commonest_reasons(
    deployed: str, tmp_path: Path
) -> None:
    path = tmp_path / "flow.log"
    path.write_text("\n".join([*flows(20), "hello world", "2 3 4", "hello"]))
    ran = sigmawatch("ingest", "--namespace", "marked", "--url", deployed, "--format", "json", path)
    found = ran.json["datasets"]["flow.aws_vpc"]
    assert (ran.code, found["created"], found["pipeline_error"]) == (0, 23, 3), ran.err
    assert sum(found["pipeline_error_reasons"].values()) == 3
    text = sigmawatch("ingest", "--namespace", "marked2", "--url", deployed, path)
    assert "3 of them cannot be parsed (event.kind: pipeline_error)" in text.out
    again = sigmawatch("ingest", "--namespace", "marked", "--url", deployed, "--format", "json", path)
    assert again.json["datasets"]["flow.aws_vpc"]["pipeline_error"] == 0


COMBINED = '203.0.113.9 - - [01/Mar/2026:10:00:00 +0000] "GET /a HTTP/1.1" 200 {n} "-" "curl/8.5.0"'


def test_a_log_that_several_datasets_read_alike_is_refused_with_their_names(
    deployed: str, tmp_path: Path
) -> None:
    path = tmp_path / "access.log"
    path.write_text("\n".join(COMBINED.format(n=n) for n in range(30)))
    ran = sigmawatch("ingest", "--namespace", "tie", "--url", deployed, path)
    assert (ran.code, ran.out) == (2, "")
    for name in ("web.apache", "web.nginx", "--dataset NAME"):
        assert name in ran.err


def test_a_dataset_that_is_not_deployed_gets_no_index_of_guessed_types(
    opensearch: Node, tmp_path: Path
) -> None:
    emptied(opensearch.url)
    before = contents(opensearch.url)
    path = tmp_path / "flow.log"
    path.write_text(BODY)
    ran = ingest(opensearch.url, path, namespace="default")
    assert (ran.code, ran.out) == (2, "")
    assert "dataset flow.aws_vpc is not deployed" in ran.err
    assert contents(opensearch.url) == before
