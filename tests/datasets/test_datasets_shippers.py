"""Configurations of shippers: they can be read, name data streams that exist, and what they send becomes the right event.

The shippers themselves are not here: their documents are made by stand-ins below, as their documentation has them. What
can be run of them is tried by `scripts/shippers/tests`, which takes programs that CI has no time to install.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from datasets.dataset_server import ROOT
from sigmawatch.datasets import build_pipeline, load_dataset
from sigmawatch.datasets.pipeline import without_hook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from datasets.dataset_server import Server

SHIPPERS = ROOT.parent / "scripts" / "shippers"
DATASETS = {path.parent.name for path in ROOT.glob("*/dataset.yml")}
TOPICS = {
    "Logins": "auth.sshd",
    "Firewall": "firewall.paloalto",
    "IDS": "ids.suricata",
    "WebLog": "web.nginx",
}


def files() -> Iterator[Path]:
    return (path for path in sorted(SHIPPERS.glob("*/*")) if path.is_file() and path.parent.name != "tests")


def text(name: str) -> str:
    return (SHIPPERS / name).read_text(encoding="utf-8")


def connectors() -> dict[str, dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in sorted(SHIPPERS.glob("kafka-connect/*.json"))]
    return {one["config"]["topics"]: one["config"] for one in found}


def test_every_dataset_that_is_named_exists() -> None:
    named: dict[str, set[str]] = {
        "filebeat": set(re.findall(r"index: logs-([\w.]+)-default", text("filebeat/filebeat.yml"))),
        "vector": set(re.findall(r'(?:\.dataset = |: )"(\w+\.\w+)"', text("vector/vector.yaml"))),
        "logstash": set(
            re.findall(r'"\[data_stream\]\[dataset\]" => "([^"]+)"', text("logstash/sigmawatch.conf"))
        ),
        "kafka-connect": {config["data.stream.dataset"] for config in connectors().values()},
        "fluent-bit": {
            *re.findall(r"tag: (\w+\.\w+)", text("fluent-bit/fluent-bit.yaml")),
            *re.findall(r'= "(\w+\.\w+)",', text("fluent-bit/records.lua")),
        },
        "rsyslog": set(re.findall(r'dataset = "([^"]+)";', text("rsyslog/sigmawatch.conf"))),
    }
    for shipper, datasets in named.items():
        assert datasets >= {"web.nginx", "firewall.paloalto"}, shipper
        assert datasets - DATASETS - {"filebeat.dead_letter"} == set(), shipper


def test_every_shipper_files_the_topics_alike() -> None:
    assert {topic: config["data.stream.dataset"] for topic, config in connectors().items()} == TOPICS
    filebeat = yaml.safe_load(text("filebeat/filebeat.yml"))
    assert {
        topic: one["index"].split("-")[1]
        for one in filebeat["filebeat.inputs"]
        if one["type"] == "kafka"
        for topic in one["topics"]
    } == TOPICS
    logstash = re.findall(
        r'topics => \["(\w+)"\].*?\[dataset\]" => "([^"]+)"', text("logstash/sigmawatch.conf"), re.DOTALL
    )
    assert TOPICS.items() <= dict(logstash).items()
    assert TOPICS.items() <= dict(re.findall(r'"(\w+)": "([\w.]+)"', text("vector/vector.yaml"))).items()
    assert TOPICS.items() <= dict(re.findall(r'(\w+) = "([\w.]+)",', text("fluent-bit/records.lua"))).items()
    rsyslog = re.findall(r'imkafka" topic="(\w+)" .* ruleset="([\w.]+)"', text("rsyslog/sigmawatch.conf"))
    assert dict(rsyslog) == TOPICS


def test_writing_is_create_and_waits_for_the_cluster() -> None:
    filebeat = yaml.safe_load(text("filebeat/filebeat.yml"))
    assert filebeat["queue.disk"]["max_size"]
    assert filebeat["setup.template.enabled"] is filebeat["setup.ilm.enabled"] is False
    sink = yaml.safe_load(text("vector/vector.yaml"))["sinks"]["cluster"]
    assert (sink["mode"], sink["bulk"]["action"]) == ("data_stream", "create")
    assert (sink["buffer"]["type"], sink["buffer"]["when_full"]) == ("disk", "block")
    assert sink["acknowledgements"]["enabled"]
    output = yaml.safe_load(text("fluent-bit/fluent-bit.yaml"))["pipeline"]["outputs"][0]
    assert (output["write_operation"], output["retry_limit"]) == ("create", "no_limits")
    rsyslog = text("rsyslog/sigmawatch.conf")
    assert 'writeoperation="create"' in rsyslog
    assert 'action.resumeRetryCount="-1"' in rsyslog
    for config in connectors().values():
        assert config["data.stream.type"] == "logs"
        assert config["errors.deadletterqueue.topic.name"].endswith("-dead")


def test_vector_wires_every_source_to_the_sink() -> None:
    config = yaml.safe_load(text("vector/vector.yaml"))
    steps = {**config["transforms"], **config["sinks"]}
    known = {*config["sources"], *config["transforms"]}
    used = {name for step in steps.values() for name in step["inputs"]}
    assert used == known


def test_secrets_come_from_the_environment() -> None:
    found = 0
    secret = re.compile(
        r"(?i)(api_?key|passw(?:or)?d|pwd|authorization|access_keys?)[\"']?\s*(?:=>|[:=])\s*(.+)"
    )
    for path in files():
        for line in path.read_text(encoding="utf-8").splitlines():
            match = secret.search(line)
            if match and not line.lstrip().startswith("#"):
                assert "${" in line or "`echo $" in line, f"{path}: {line}"
                found += 1
    assert found >= 8


LINE = '198.51.100.23 - - [10/Oct/2025:13:55:36 +0000] "GET /x?a=1 HTTP/1.1" 404 612 "-" "curl/8.5.0"'
AT = "2025-10-10T13:55:40.000Z"
SENT: dict[str, dict[str, Any]] = {
    "sigmawatch ingest": {"message": LINE},
    "filebeat": {
        "@timestamp": AT, "message": LINE, "ecs": {"version": "8.0.0"}, "input": {"type": "filestream"},
        "log": {"file": {"path": "/var/log/nginx/access.log", "inode": "1", "device_id": "2"}, "offset": 0},
        "agent": {"type": "filebeat", "version": "9.0.0", "id": "x", "name": "web1", "ephemeral_id": "y"},
        "host": {"name": "web1"},
    },
    "filebeat, kafka": {
        "@timestamp": AT, "message": LINE, "input": {"type": "kafka"}, "ecs": {"version": "8.0.0"},
        "kafka": {"topic": "WebLog", "partition": 0, "offset": 7, "key": "", "headers": []},
    },
    "vector": {
        "@timestamp": AT, "message": LINE, "data_stream": {"type": "logs", "dataset": "web.nginx", "namespace": "default"},
        "host": {"name": "web1"}, "log": {"file": {"path": "/var/log/nginx/access.log"}},
    },
    "logstash": {
        "@timestamp": AT, "message": LINE, "data_stream": {"type": "logs", "dataset": "web.nginx", "namespace": "default"},
        "event": {}, "host": {"name": "web1"}, "log": {"file": {"path": "/var/log/nginx/access.log"}},
    },
    "logstash, its copy of the line left in": {"@timestamp": AT, "message": LINE, "event": {"original": LINE}, "@version": "1"},
    "fluent bit": {
        "message": LINE, "dataset": "web.nginx", "log": {"file": {"path": "/var/log/nginx/access.log"}},
        "fluent_bit": {"sequence": "1772359200-1"},
    },
    "rsyslog": {"message": LINE, "log": {"file": {"path": "/var/log/nginx/access.log"}}},
    "kafka connect": {"message": LINE, "@timestamp": 1760104540000},
}  # fmt: skip
"""Shipper -> what it sends for a line of nginx."""

BESIDE = {
    "agent",
    "data_stream",
    "dataset",
    "fluent_bit",
    "host",
    "input",
    "kafka",
    "log",
    "related",
    "tags",
    "@version",
}
"""What shippers add."""


@pytest.mark.parametrize("shipper", SENT)
def test_what_a_shipper_sends_becomes_the_same_event(server: Server, shipper: str) -> None:
    body = without_hook(build_pipeline(load_dataset(ROOT / "web.nginx")))
    documents = [{"_source": SENT["sigmawatch ingest"]}, {"_source": SENT[shipper]}]
    wanted, found = (result["doc"]["_source"] for result in server.simulate(body, documents))
    for document in (wanted, found):
        document["event"].pop("ingested")
    assert wanted["event"]["outcome"] == "failure"
    assert {key: value for key, value in found.items() if key not in BESIDE} == {
        key: value for key, value in wanted.items() if key not in BESIDE
    }
