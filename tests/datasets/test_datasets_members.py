"""JSON objects in the place of columns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from datasets.test_datasets_load import write
from sigmawatch.datasets import build_pipeline, load_dataset
from sigmawatch.datasets.check import simulated
from sigmawatch.datasets.pipeline import without_hook

if TYPE_CHECKING:
    from datasets.dataset_server import Server

VPC = Path(__file__).parents[2] / "ingest_pipelines" / "flow.aws_vpc"
DESCRIPTION = """\
name: test.small
title: Small
description: A small one
module: test
logsources: [{product: test}]
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
        ('{"user": "-", "port": ""}', ["members: an object of another format"]),
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
