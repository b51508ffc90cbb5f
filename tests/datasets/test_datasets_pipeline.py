"""What a built pipeline does with documents, beyond what samples show."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from datasets.dataset_server import ROOT
from datasets.small_dataset import DESCRIPTION, FIELDS, write
from sigmawatch.datasets import build_pipeline, load_dataset
from sigmawatch.datasets.check import simulated
from sigmawatch.datasets.parsers import steps_of
from sigmawatch.datasets.parsers.columns import Columns
from sigmawatch.datasets.pipeline import without_hook

if TYPE_CHECKING:
    from pathlib import Path

    from datasets.dataset_server import Server
    from sigmawatch.datasets import Dataset

V3 = next(
    step.formats[1]
    for step in steps_of(load_dataset(ROOT / "flow.aws_vpc").body.parsers)
    if isinstance(step, Columns)
)
LINE = (
    "3 123456789010 eni-1 10.0.1.5 203.0.113.12 49152 443 6 20 4249 1767225600 1767225660 ACCEPT OK vpc-1 subnet-1 i-1 "
    "19 IPv4 10.0.1.5 203.0.113.12"
)
VALUES = LINE.split(" ")
PATHS = {
    "ingest_pipeline": "_ingest/pipeline",
    "component_template": "_component_template",
    "index_template": "_index_template",
    "data_stream": "_data_stream",
}


def settled(document: dict[str, Any] | None) -> dict[str, Any]:
    assert document is not None
    document["event"].pop("ingested")
    document["event"].pop("original")
    return document


def documents_of(
    server: Server, dataset: Dataset, documents: list[dict[str, Any]], **options: Any
) -> list[dict[str, Any]]:
    pipeline = without_hook(build_pipeline(dataset, options=options))
    results = server.simulate(pipeline, [{"_source": document} for document in documents])
    return [result["doc"]["_source"] for result in results]


def test_any_declared_order_of_columns_gives_the_same_document(server: Server, vpc: Dataset) -> None:
    pick = random.Random(11)
    expected = settled(simulated(server.simulate, vpc, [" ".join(VALUES)])[0])
    documents = []
    for _ in range(60):
        order = pick.sample(range(len(V3)), len(V3))
        line = " ".join(VALUES[index] for index in order)
        names = [V3[index] for index in order]
        joined = pick.choice(
            [
                " ".join(names),
                ",".join(names),
                " ".join(f"${{{name}}}" for name in names),
                " ".join(names).upper(),
            ]
        )
        documents.append({"message": line, "_format": joined.replace("-", pick.choice("-_"))})
    for document in documents_of(server, vpc, documents):
        assert settled(document) == expected


def test_the_order_can_be_declared_for_the_pipeline(server: Server, vpc: Dataset) -> None:
    order = list(reversed(V3))
    line = " ".join(reversed(VALUES))
    found = documents_of(server, vpc, [{"message": line}], format=order)
    assert settled(found[0]) == settled(simulated(server.simulate, vpc, [" ".join(VALUES)])[0])
    # the other known order stays known
    known = documents_of(server, vpc, [{"message": " ".join(VALUES[:14])}], format=" ".join(order))
    assert known[0]["event"]["kind"] == "event"


def test_networks_that_are_inside_can_be_declared(server: Server, vpc: Dataset) -> None:
    line = "2 1 eni-1 198.51.100.7 2001:db8:5::1 1 2 6 1 40 1767225600 1767225660 ACCEPT OK"
    options = [{}, {"networks": ["198.51.100.0/24"]}, {"networks": ["2001:db8::/32"]}]
    options.append({"networks": ["198.51.100.7/32", "2001:db8:5::1/128"]})
    found = [
        documents_of(server, vpc, [{"message": line}], **choice)[0]["network"]["direction"]
        for choice in options
    ]
    assert found == ["external", "outbound", "inbound", "internal"]


def test_what_no_router_passes_on_is_not_outbound(server: Server, vpc: Dataset) -> None:
    ends = [
        ("10.0.1.5", "239.255.255.250"), ("10.0.1.5", "224.0.0.251"), ("0.0.0.0", "255.255.255.255"),
        ("2001:db8::5", "ff02::1:2"), ("10.0.1.5", "224.0.1.1"), ("10.0.1.5", "ff0e::1"),
    ]  # fmt: skip
    lines = [f"2 1 eni-1 {a} {b} 1 2 17 1 40 1767225600 1767225660 ACCEPT OK" for a, b in ends]
    documents = [{"message": line} for line in lines]
    for options in ({}, {"networks": ["10.0.0.0/8", "2001:db8::/32"]}):
        found = [one["network"]["direction"] for one in documents_of(server, vpc, documents, **options)]
        inside = "internal" if options else "inbound"
        assert found == ["internal", "internal", "internal", inside, "outbound", "outbound"]


def test_what_a_shipper_sends_along_survives(server: Server, vpc: Dataset, sshd: Dataset) -> None:
    shipper = {
        "host": {"name": "collector", "ip": ["10.0.0.9"]},
        "agent": {"type": "filebeat", "version": "8.17.0"},
        "log": {"file": {"path": "/var/log/x"}, "offset": 5},
        "tags": ["a"],
        "event": {"id": "42", "created": "2026-01-01T00:00:00Z"},
        "related": {"ip": ["192.0.2.1"]},
        "custom": {"deep": {"er": 1}},
    }
    line = "Mar  1 10:00:00 web1 sshd[1]: Failed password for root from 198.51.100.9 port 1 ssh2"
    good, bad, flow = (
        *documents_of(
            server, sshd, [{**shipper, "message": line}, {**shipper, "message": "nothing of the kind"}]
        ),
        *documents_of(server, vpc, [{**shipper, "message": "x y"}]),
    )
    for document in (good, bad, flow):
        assert document["agent"] == shipper["agent"]
        assert document["log"]["file"] == {"path": "/var/log/x"}
        assert document["tags"] == ["a"]
        assert document["event"]["id"] == "42"
        assert document["custom"] == {"deep": {"er": 1}}
        assert document["host"]["ip"] == ["10.0.0.9"]
        assert document["host"]["name"] == "collector"
    assert good["host"]["hostname"] == "web1"
    assert good["related"]["ip"] == ["192.0.2.1", "198.51.100.9"]
    assert good["log"]["syslog"]["hostname"] == "web1"


@pytest.mark.parametrize(
    ("document", "time"),
    [
        ({"@timestamp": "2026-01-01T00:00:00Z"}, "2026-01-01T00:00:00.000Z"),
        ({"@timestamp": "2026-01-01T02:00:00+02:00"}, "2026-01-01T00:00:00.000Z"),
        ({"@timestamp": 1767225600000}, "2026-01-01T00:00:00.000Z"),
        ({"@timestamp": "yesterday"}, None),
        ({"@timestamp": {"a": 1}}, None),
        ({}, None),
    ],
)
def test_a_line_without_a_time_has_the_shippers_or_now(
    server: Server, sshd: Dataset, document: dict[str, Any], time: str | None
) -> None:
    for message in ("Failed password for root from 198.51.100.9 port 1 ssh2", "nothing of the kind"):
        found = documents_of(server, sshd, [{**document, "message": message}])[0]["@timestamp"]
        if time is None:
            assert abs(datetime.fromisoformat(found) - datetime.now(UTC)) < timedelta(minutes=5)
        else:
            assert found == time


@pytest.mark.parametrize(
    "document",
    [
        {}, {"message": None}, {"message": 5}, {"message": ["a", "b"]}, {"message": {"a": 1}}, {"message": ""},
        {"message": "x", "host": "web1", "log": 5, "agent": ["a"], "source": "10.0.0.1"}, {"message": "\x00"},
        {"message": "x", "event": "text"},
        {"message": "x", "error": "text", "related": 7, "ecs": "1"}, {"message": "x", "related": {"ip": "10.0.0.1"}},
        {"event.original": "x"}, {"message": "x", "_format": {"a": 1}}, {"message": "x", "_format": ""},
        {"message": "x", "tags": {"a": 1}}, {"message": "[" * 70000}, {"message": "Failed " + "x from " * 20000},
        {"message": "<" * 50 + "1 " * 5000}, {"message": "2 " + "9" * 5000 + " x" * 12},
        {"message": "Mar  1 10:00:00 a sshd[1]: " + "x" * 40000},
    ],
)  # fmt: skip
def test_odd_documents_are_kept(server: Server, datasets: list[Dataset], document: dict[str, Any]) -> None:
    for dataset in datasets:
        found = documents_of(server, dataset, [document])[0]
        assert found["event"]["dataset"] == dataset.name
        assert found["event"]["ingested"]
        assert found["@timestamp"]
        if document.get("message") is not None:
            assert "original" in found["event"]
        if dataset.name == "flow.aws_vpc":
            assert "message" not in found
            assert found["event"]["kind"] == "pipeline_error"
            assert found["error"]["message"]
        for text in found.get("error", {}).get("message", ()):
            assert len(text) < 300
            assert "\n" not in text


def test_hostile_texts_in_a_description_stay_texts(server: Server, tmp_path: Path) -> None:
    hostile = "x'); ctx.put('owned', 1); // \\' \" ${a} {{b}}"
    quoted = orjson.dumps(hostile).decode()
    description = (
        DESCRIPTION.replace('null_values: ["-"]', f"null_values: [{quoted}]")
        .replace("module: test", f"module: {quoted}")
        .replace("when: {who: root}", f"when: {{who: {quoted}}}")
        .replace("event.outcome: success", f"event.reason: {quoted}")
        .replace("title: Small", f"title: {quoted}")
        .replace("time who where port", "time who where it's")
        .replace("port: {to: source.port, type: port}", '"it\'s": {to: source.port, type: port}')
    )
    dataset = load_dataset(write(tmp_path, description, FIELDS))
    found = simulated(server.simulate, dataset, ["2026-03-01T10:00:00Z a 10.0.0.1 abc"])[0]
    assert found is not None
    assert "owned" not in found
    assert found["event"]["module"] == hostile
    assert found["error"]["message"] == ["it's: no port"]


def test_the_users_hook_is_called_for_good_and_bad_lines(server: Server, vpc: Dataset) -> None:
    name = "hooked-flow.aws_vpc"
    # A name of this test's own: other tests use the same node.
    text = (
        orjson.dumps(build_pipeline(vpc)).decode().replace("sigmawatch-flow.aws_vpc@custom", f"{name}@custom")
    )
    body = orjson.loads(text)
    good = "2 1 eni-1 10.0.0.1 10.0.0.2 1 2 6 1 40 1767225600 1767225660 ACCEPT OK"
    server.call(
        "PUT",
        f"_ingest/pipeline/{name}@custom",
        {"processors": [{"set": {"field": "hooked", "value": True}}]},
    )
    try:
        for line in (good, "bad"):
            result = server.simulate(body, [{"_source": {"message": line}}])[0]
            assert result["doc"]["_source"]["hooked"] is True
        server.call("PUT", f"_ingest/pipeline/{name}@custom", {"processors": [{"fail": {"message": "no"}}]})
        found = server.simulate(body, [{"_source": {"message": good}}])[0]["doc"]["_source"]
        assert found["error"]["message"] == [f"pipeline {name}@custom failed"]
        assert found["source"]["ip"] == "10.0.0.1"
    finally:
        server.call("DELETE", f"_ingest/pipeline/{name}@custom")


def test_what_a_script_cannot_catch_keeps_the_document_too(server: Server, sshd: Dataset) -> None:
    body = without_hook(build_pipeline(sshd))
    script = body["processors"][0]["script"]
    endless = "for (int i = 0; i < 2000000; ++i) { now = now + 1L; }\n"
    script["source"] = script["source"].replace("step = 'parse';\n", f"step = 'parse';\n{endless}", 1)
    found = server.simulate(body, [{"_source": {"message": "a line"}}])[0]["doc"]["_source"]
    assert found["event"]["kind"] == "pipeline_error"
    assert found["event"]["dataset"] == "auth.sshd"
    assert found["event"]["original"] == "a line"
    assert found["@timestamp"]
    assert found["error"]["message"] == ["the script reached a limit of the engine"]
