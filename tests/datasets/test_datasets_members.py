"""JSON objects in the place of columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from datasets.small_dataset import HEAD, write
from sigmawatch.datasets import build_pipeline, load_dataset
from sigmawatch.datasets.check import simulated
from sigmawatch.datasets.pipeline import without_hook
from sigmawatch.errors import UsageError

if TYPE_CHECKING:
    from datasets.dataset_server import Server

VPC = Path(__file__).parents[2] / "ingest_pipelines" / "flow.aws_vpc"
DESCRIPTION = (
    HEAD
    + """\
parse:
  - members: {required: [user|port], names: {who: user}, null_values: ["-"], rest: test.more, escapes: true}
  - when: {form: false}
    columns: {formats: [user port reason], null_values: ["-"], quotes: backslash, rest: test.more}
set: {event.category: [network], event.type: [connection]}
fields:
  user: {to: user.name, decode: escapes}
  port: {to: source.port, type: port, required: if_there}
  reason: event.reason
"""
)
FIELDS = "ecs: [user.name, source.port]\nown: {test.more.next: {description: next}}\n"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("alice 1 x", ["alice", 1, "x"]),
        ('{"user": "alice", "port": 1, "reason": "x"}', ["alice", 1, "x"]),
        ('{"USER": "alice", "Port": 1.0, "reason": null}', ["alice", 1, None]),
        ('{"who": "alice"}', ["alice", None, None]),
        ('{"who": "bob", "user": "alice"}', ["alice", None, None, "members: more than one value of user"]),
        ('{"user": "alice", "who": "bob"}', ["alice", None, None, "members: more than one value of user"]),
        ('{"user": "alice", "who": "alice"}', ["alice", None, None]),
        # Escaped for columns, then put into quotes: no JSON, but plain what it was.
        ('{"user": "a\\x22b\\x5C\\x22"}', ['a"b\\"', None, None]),
        # JSON's own escapes: nothing else is undone.
        ('{"user": "a\\"b\\\\x22"}', ['a"b\\x22', None, None]),
        ('"a\\x22\\"\\\\x22" 1 x', ['a""\\x22', 1, "x"]),
        ('{"user": "alice", "port": "x"}', ["port: no port"]),
        ('{"reason": "x"}', ["members: an object of another format"]),
        ('{"user": "-", "port": null}', [None, None, None]),
        ('{"user": "alice", "user": "bob"}', ["json: a key stands twice in one object"]),
        ('{"user": "alice"', ["json: the line is no valid JSON"]),
    ],
)  # fmt: skip
def test_an_object_says_what_columns_say(server: Server, tmp_path: Path, line: str, found: list[Any]) -> None:
    dataset = load_dataset(write(tmp_path, DESCRIPTION, FIELDS))
    (document,) = simulated(server.simulate, dataset, [line])
    assert document is not None
    said = document.get("error", {}).get("message", ())
    if document["event"]["kind"] == "pipeline_error":
        assert [*said] == found
        return
    values = [document.get("user", {}).get("name"), document.get("source", {}).get("port")]
    assert [*values, document["event"].get("reason"), *said] == found


def test_what_nothing_maps_is_kept_under_a_name_that_every_mapping_takes(
    server: Server, tmp_path: Path
) -> None:
    dataset = load_dataset(write(tmp_path, DESCRIPTION, FIELDS))
    line = '{"user": "alice", "next": {"a": [1]}, "x.y": 2, "": 3, " ": true}'
    (document,) = simulated(server.simulate, dataset, [line])
    assert document is not None
    assert document["test"] == {"more": {"next": '{"a":[1]}', "x_y": "2", "__": "3", "_ _": "true"}}


def test_records_that_a_shipper_parsed_are_those_of_the_lines(server: Server) -> None:
    dataset = load_dataset(VPC)
    line = "2 123456789010 eni-1 198.51.100.7 10.0.1.5 41000 22 6 1 40 1767225600 1767225655 REJECT OK"
    names = (
        "version account_id interface_id srcaddr dstaddr srcport dstport protocol packets bytes start end "
    )
    names += "action log_status"
    record = dict(zip(names.split(), line.split(), strict=True))
    given = [{"message": line}, {"json": record}, {**record, "_format": names}]
    pipeline = without_hook(build_pipeline(dataset))
    results = server.simulate(pipeline, [{"_source": document} for document in given])
    expected, *others = [result["doc"]["_source"] for result in results]
    for found in others:
        assert "_format" not in found
        assert found["event"].pop("original").startswith("{")
        found["event"]["original"] = line
        found["event"]["ingested"] = expected["event"]["ingested"]
        assert found == expected


NGINX = VPC.parent / "web.nginx"
LOG_FORMAT = """{"t": "$time_iso8601", "who": "$remote_addr", "what":"$request",
  "code": $status, "n": "${body_bytes_sent}", "both": "$host:$server_port", "x": "$unknown"}"""


def test_a_declared_format_says_what_members_are_called(server: Server) -> None:
    nginx = load_dataset(NGINX)
    line = {
        "t": "2026-03-01T10:00:00Z",
        "who": "198.51.100.23",
        "what": "GET /a HTTP/1.1",
        "code": 404,
        "n": "7",
    }
    (found,) = simulated(server.simulate, nginx, [json.dumps(line)], options={"format": LOG_FORMAT})
    assert found is not None
    assert found["@timestamp"] == "2026-03-01T10:00:00.000Z"
    assert found["source"]["ip"] == "198.51.100.23"
    assert found["url"]["path"] == "/a"
    assert found["http"]["response"] == {"status_code": 404, "body": {"bytes": 7}}
    with pytest.raises(UsageError, match="no member"):
        build_pipeline(nginx, options={"format": '{"t": "$unknown"}'})


def test_more_columns_than_declared_are_told(server: Server) -> None:
    nginx = load_dataset(NGINX)
    declared = (
        '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_user_agent"'
    )
    line = '198.51.100.23 - - [01/Mar/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 612 "x"'
    good, more = simulated(server.simulate, nginx, [line, f'{line} "y"'], options={"format": declared})
    assert good is not None
    assert more is not None
    assert "error" not in good
    assert more["error"]["message"] == ["access_log: more columns than the declared format has"]
    assert more["user_agent"]["original"] == "x"
