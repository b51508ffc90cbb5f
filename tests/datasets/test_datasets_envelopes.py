"""Envelopes: whatever events come in, each becomes one record with its own raw text, and nothing is lost."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from sigmawatch.datasets import jsontext
from sigmawatch.datasets.envelopes import Envelope, Record, identity, records

TRAIL = Envelope(records=(("Records",), ("detail", "findings")))
FLOWS = Envelope(each=((("properties", False), ("flows", True), ("flows", True), ("flowTuples", True)),))

ONE = {"eventVersion": "1.11", "eventID": "a", "n": 18446744073709551616, "x": [1, {"y": "} ] , {"}]}
TWO = {"eventVersion": "1.11", "eventID": "b", "text": 'quote " and \\ and \u00fc'}


def dumps(value: Any, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=False, **options)


def texts(
    text: str, envelope: Envelope = TRAIL, *, structured: bool = True, size: int = 1 << 20
) -> list[str]:
    return [record.text for record in split(text, envelope, structured=structured, size=size)]


def split(
    text: str, envelope: Envelope = TRAIL, *, structured: bool = True, size: int = 1 << 20
) -> list[Record]:
    chunks = (text[start : start + size] for start in range(0, len(text), size))
    return list(records(chunks, envelope, structured=structured))


BOTH = [dumps(ONE, separators=(",", ":")), dumps(TWO, separators=(",", ":"))]

LAYOUTS = {
    "a line each": "\n".join(BOTH),
    "carriage returns": "\r\n".join(BOTH) + "\r\n",
    "no line feed between them": "".join(BOTH),
    "commas at the ends of lines": ",\n".join(BOTH) + ",\n",
    "separators of RFC 7464": "".join(f"\x1e{one}\n" for one in BOTH),
    "a byte order mark": "\ufeff" + "\n".join(BOTH),
    "over many lines": "\n".join(dumps(each, indent=2) for each in (ONE, TWO)),
    "over many lines, tabs": "\n\n".join(dumps(each, indent="\t") for each in (ONE, TWO)),
    "a list on one line": dumps([ONE, TWO]),
    "a list over many lines": dumps([ONE, TWO], indent=4),
    "a list with an element a line": "[\n" + ",\n".join(BOTH) + "\n]\n",
    "Records": dumps({"Records": [ONE, TWO]}),
    "Records over many lines": dumps({"Records": [ONE, TWO]}, indent=1),
    "Records in two objects": dumps({"Records": [ONE]}) + "\n" + dumps({"Records": [TWO]}),
    "Records in two objects on one line": dumps({"Records": [ONE]}) + dumps({"Records": [TWO]}),
    "records, undeclared": dumps({"records": [ONE, TWO]}),
    "events, undeclared": dumps({"events": [ONE, TWO]}),
    "records of records": dumps([{"records": [ONE]}, {"records": [TWO]}]),
    "a listing": dumps({"Records": [ONE, TWO], "NextToken": "x"}),
    "declared, further in": dumps({"id": "1", "detail": {"kind": 3, "findings": [ONE, TWO], "z": {}}}),
    "texts in a list": dumps({"Records": [BOTH[0], BOTH[1]]}),
    "message of a shipper": "\n".join(
        dumps({"@timestamp": "2026-03-01T10:00:00Z", "message": one}) for one in BOTH
    ),
    "SNS": dumps(
        {"Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:x", "Message": "\n".join(BOTH)}
    ),
    "SQS": dumps({"Records": [{"messageId": "m", "body": one, "eventSource": "aws:sqs"} for one in BOTH]}),
}


def packed(text: str, *, zipped: bool = True) -> str:
    return base64.b64encode(gzip.compress(text.encode()) if zipped else text.encode()).decode()


CLOUDWATCH = {
    "messageType": "DATA_MESSAGE",
    "owner": "123456789012",
    "logGroup": "/trail",
    "logStream": "s1",
    "subscriptionFilters": ["f"],
    "logEvents": [
        {"id": "1", "timestamp": 1772359200000, "message": BOTH[0]},
        {"id": "2", "timestamp": 1772359201500, "message": BOTH[1]},
    ],
}
LAYOUTS |= {
    "CloudWatch Logs": dumps(CLOUDWATCH),
    "CloudWatch Logs for Lambda": dumps({"awslogs": {"data": packed(dumps(CLOUDWATCH))}}),
    "CloudWatch Logs in Firehose": dumps(
        {"requestId": "r", "timestamp": 1, "records": [{"data": packed(dumps(CLOUDWATCH))}]}
    ),
    "Firehose": dumps(
        {"requestId": "r", "timestamp": 1, "records": [{"data": packed("\n".join(BOTH), zipped=False)}]}
    ),
    "Kinesis": dumps(
        {
            "Records": [
                {"SequenceNumber": "1", "PartitionKey": "p", "Data": packed(one, zipped=False)}
                for one in BOTH
            ],
            "MillisBehindLatest": 0,
        }
    ),
    "Kinesis for Lambda": dumps(
        {"Records": [{"kinesis": {"data": packed(one)}, "eventSource": "aws:kinesis"} for one in BOTH]}
    ),
    "Pub/Sub pushed": "\n".join(
        dumps({"message": {"data": packed(one, zipped=False), "messageId": "1"}, "subscription": "s"})
        for one in BOTH
    ),
    "Pub/Sub pulled": dumps(
        {"receivedMessages": [{"ackId": "1", "message": {"data": packed(one)}} for one in BOTH]}
    ),
}


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_events_are_the_same_in_whatever_they_come(
    layout: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A window of a few characters cuts everywhere.
    monkeypatch.setattr(jsontext, "_WINDOW", size)
    monkeypatch.setattr(jsontext, "_HEAD", max(size, 20))
    assert texts(LAYOUTS[layout], size=size) == BOTH


@pytest.mark.parametrize(
    "text",
    [
        dumps({"messageType": "CONTROL_MESSAGE", "logGroup": "", "logEvents": [{"message": "CWL CONTROL"}]}),
        "\n\n  \n",
        "",
    ],
)
def test_what_holds_no_events_has_none(text: str) -> None:
    assert texts(text) == []


@pytest.mark.parametrize(
    "line",
    [
        "[Mon Dec 26 16:22:08.123456 2016] [core:error] [pid 1:tid 2] AH00126: Invalid URI",
        "[**] [1:2001:3] ET SCAN [**]",
        "{not json} at all",
        '{"a": 1} trailing text',
        '{"a": "cut off he',
        '{"a": {"b": [1, 2',
        '{"a": 1, "a": NaN, }',
        "[" * 100_000,
        '{"a":' * 100_000,
        "[]",
        "[1, 2]",
        '["a", "b"]',
        '{"Records": []}',
        '{"Records": [1]}',
        '{"Records": {"a": 1}}',
        '{"a":[{"Records":[' * 3_000,
        "{" + "9" * 5000,
        '{"n": ' + "9" * 5000 + "}",
    ],
)
def test_lines_that_only_look_like_json_stay_lines(line: str) -> None:
    around = f"before\n{line}\n{BOTH[0]}\n  after\n"
    assert texts(around, structured=False) == ["before", line, BOTH[0], "  after"]


def test_objects_with_a_list_among_other_things_are_events_themselves() -> None:
    report = dumps({"kind": "report", "actor": {"email": "anna@example.com"}, "events": [{"a": 1}, {"a": 2}]})
    assert texts(report) == [report]
    both = dumps({"records": [{"a": 1}], "events": [{"a": 1}]})
    assert texts(both) == [both]


def test_numbers_and_texts_are_kept_as_they_are_spelled() -> None:
    spelled = '{"a":1.10,"b":1e400,"c":18446744073709551616,"d":"\\u00fc \\/ :  ,","e":"\\ud800"}'
    pretty = spelled.replace(",", ",\n  ").replace('":', '" : ').replace(":  ,\n  ", ":  ,")
    assert texts("[\n" + pretty + "\n]") == [spelled]


def test_damaged_elements_are_passed_on_and_the_others_found() -> None:
    first, second = BOTH
    broken = first.replace('"eventID":"a"', '"eventID":"a')
    text = f'{{"Records":[{first},{broken},{second}]}}'
    assert texts(text) == [first, broken, second]
    cut = f'{{"Records":[{first},{second[:40]}'
    assert texts(cut) == [first, second[:40]]
    lines = f"{first}\n{second[:40]}\n{second}\n"
    assert texts(lines) == [first, second[:40], second]
    files = f'{second[:40]}\n{{"Records":[{first},{second[:40]}\n{second}\n{{"Records":[{first}]}}\n'
    assert texts(files) == [second[:40], first, second[:40], second, first]
    assert texts(f'{{"a":1,"Records":[{first}],oops\n{second}') == [first, "oops", second]


def test_a_flow_tuple_is_one_document_with_all_that_is_around_it() -> None:
    record = {
        "time": "2026-03-01T10:00:00Z",
        "category": "NetworkSecurityGroupFlowEvent",
        "properties": {
            "Version": 2,
            "flows": [
                {
                    "rule": "A",
                    "flows": [
                        {"mac": "M1", "flowTuples": ["1,a", "2,b"]},
                        {"mac": "M2", "flowTuples": ["3,c"]},
                    ],
                },
                {"rule": "B", "flows": [{"mac": "M1", "flowTuples": ["4,d"]}]},
                {"rule": "C", "flows": []},
                {"rule": "D", "flows": [{"mac": "M1", "flowTuples": []}, "odd"]},
            ],
        },
    }
    found = split(dumps({"records": [record, {"time": "x", "category": "Other"}]}), FLOWS)
    assert [one.part for one in found] == [0, 1, 2, 3, 4, 5, 6, 0]
    flows = [json.loads(one.text)["properties"]["flows"] for one in found[:7]]
    assert flows == [
        {"rule": "A", "flows": {"mac": "M1", "flowTuples": "1,a"}},
        {"rule": "A", "flows": {"mac": "M1", "flowTuples": "2,b"}},
        {"rule": "A", "flows": {"mac": "M2", "flowTuples": "3,c"}},
        {"rule": "B", "flows": {"mac": "M1", "flowTuples": "4,d"}},
        {"rule": "C", "flows": []},
        {"rule": "D", "flows": {"mac": "M1", "flowTuples": []}},
        {"rule": "D", "flows": "odd"},
    ]
    assert all(json.loads(one.text)["time"] == "2026-03-01T10:00:00Z" for one in found[:7])
    assert found[7].text == '{"time":"x","category":"Other"}'
    # What was split before, by Logstash or Vector, is left alone.
    again = [one.text for one in split("\n".join(one.text for one in found), FLOWS)]
    assert again == [one.text for one in found]


def test_lines_in_envelopes_keep_what_the_envelope_says() -> None:
    group = {**CLOUDWATCH, "logEvents": [{"timestamp": 1772359200000, "message": "2 a b\nsecond\n"}]}
    (event,) = split(dumps(group), Envelope(), structured=False)
    assert event.text == "2 a b\nsecond"
    assert event.context == {
        "cloud": {"provider": "aws", "account": {"id": "123456789012"}},
        "log": {"file": {"path": "/trail/s1"}},
        "@timestamp": "2026-03-01T10:00:00.000000Z",
    }
    beat = {
        "@timestamp": "2026-03-01T10:00:00Z",
        "@metadata": {"beat": "filebeat"},
        "host": {"name": "web1"},
        "message": "Failed password",
        "_drop": True,
        "_format": "a b",
    }
    (event,) = split(dumps(beat), Envelope(), structured=False)
    assert event.text == "Failed password"
    assert event.context == {"@timestamp": "2026-03-01T10:00:00Z", "host": {"name": "web1"}}
    docker = {"log": "a line\n", "stream": "stdout", "time": "2026-03-01T10:00:00.5Z"}
    (event,) = split(dumps(docker), Envelope(), structured=False)
    assert (event.text, event.context) == ("a line", {"@timestamp": "2026-03-01T10:00:00.5Z"})
    journal = {"MESSAGE": "a line", "__REALTIME_TIMESTAMP": "1772359200000000", "_HOSTNAME": "web1"}
    (event,) = split(dumps(journal), Envelope(), structured=False)
    assert event.context["host"] == {"hostname": "web1", "name": "web1"}


def test_halves_of_characters_become_text_that_can_be_sent() -> None:
    (event,) = split('{"message": "a \\ud800 b"}', Envelope(), structured=False)
    assert event.text == "a \ufffd b"


def test_envelopes_in_envelopes_end() -> None:
    text = BOTH[0]
    for _ in range(9):
        text = dumps({"message": text})
    (found,) = split(text, structured=True)
    assert found.text.startswith('{"message":')
    bomb = packed("x" * 10_000)
    assert len(split(dumps({"awslogs": {"data": bomb}}), structured=False)) == 1


def test_long_lines_are_noted_and_the_next_ones_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsontext, "MAX_PIECE", 5_000)
    monkeypatch.setattr(jsontext, "_WINDOW", 1_000)
    found = split("a\n" + "b" * 20_000 + "\nc\n" + "d" * 9_000, structured=False, size=700)
    assert [(one.text[0], len(one.text) + one.left_out) for one in found] == [
        ("a", 1), ("b", 20_000), ("c", 1), ("d", 9_000),
    ]  # fmt: skip
    assert all(len(one.text) <= 5_000 for one in found)


def test_a_long_list_is_read_piece_by_piece() -> None:
    taken = 0

    def chunks() -> Iterator[str]:
        nonlocal taken
        yield '{"Records":['
        for number in range(40):
            taken += 1
            yield ("," if number else "") + ",".join([BOTH[0]] * 5_000)
        yield "]}"

    found = records(chunks(), TRAIL, structured=True)
    assert next(found).text == BOTH[0]
    assert taken < 10
    assert sum(1 for _ in found) == 40 * 5_000 - 1


def test_what_makes_an_event_unique() -> None:
    ways = ((("eventID",), ("detail", "eventID")), (("region",),))
    assert identity({"eventID": "a", "region": 7}, ways) == b'["a","7"]'
    assert identity({"detail": {"eventID": "a"}, "region": "x"}, ways) == b'["a","x"]'
    without: list[Any] = [
        {"eventID": "a"},
        {"eventID": "", "region": "x"},
        {"eventID": ["a"], "region": "x"},
        [],
        "x",
    ]
    for odd in without:
        assert identity(odd, ways) is None
