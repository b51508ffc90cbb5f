"""The topics Logins, Firewall, IDS and WebLog of a real Kafka, through Kafka Connect and through rsyslog.

Confluent's sink is not on Maven Central: Kafka's own file sink takes its place, so its own options are not tried here, but
the worker, the secrets from the environment, the converters and the transformation are.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.command_line import until
from shippers.tests.test_parts import jars
from shippers.tests.test_rsyslog import Daemon, free_port, originals, stored

CONNECT = Path(__file__).parents[1] / "kafka-connect"
SAMPLES = Path(__file__).parents[3] / "ingest_pipelines"
TOPICS = {
    "Logins": "auth.sshd/samples/logins.log",
    "Firewall": "firewall.paloalto/samples/traffic.log",
    "IDS": "ids.suricata/samples/alerts.log",
    "WebLog": "web.nginx/samples/access.log",
}


def java(main: str, *arguments: str | Path) -> list[str | Path]:
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
    return ["java", "-Xmx384m", "-XX:+UseSerialGC", quiet, "-cp", f"{jars()}/*", main, *arguments]


def lines(topic: str) -> list[str]:
    return (SAMPLES / TOPICS[topic]).read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a broker that has a sample of each topic."""
    folder = tmp_path_factory.mktemp("kafka")
    broker, controller = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    settings = folder / "server.properties"
    settings.write_text(
        f"process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@{controller}\n"
        f"listeners=PLAINTEXT://{broker},CONTROLLER://{controller}\nadvertised.listeners=PLAINTEXT://{broker}\n"
        f"controller.listener.names=CONTROLLER\nlog.dirs={folder}/data\noffsets.topic.replication.factor=1\n"
        "group.initial.rebalance.delay.ms=0\nnum.partitions=1\n"
    )
    identity = "MkU3OEVBNTcwNTJENDM2Qk"
    subprocess.run(java("kafka.tools.StorageTool", "format", "-t", identity, "-c", settings), check=True)
    process = subprocess.Popen(java("kafka.Kafka", settings))
    try:
        for topic in TOPICS:
            create = java(
                "org.apache.kafka.tools.TopicCommand",
                "--bootstrap-server",
                broker,
                "--create",
                "--topic",
                topic,
            )
            subprocess.run(create, check=True)
            producer = java(
                "org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", broker, "--topic", topic
            )
            subprocess.run(producer, input="\n".join(lines(topic)), text=True, check=True)
        yield broker
    finally:
        process.terminate()
        process.wait(60)


def has_lines(path: Path, number: int) -> Callable[[], bool]:
    return lambda: path.exists() and path.read_text().count("\n") == number


def test_connect_hands_the_sink_each_line_as_message(kafka: str, tmp_path: Path) -> None:
    worker = tmp_path / "worker.properties"
    worker.write_text(
        f"bootstrap.servers={kafka}\noffset.storage.file.filename={tmp_path}/offsets\nlisteners=http://127.0.0.1:{free_port()}\n"
        "key.converter=org.apache.kafka.connect.json.JsonConverter\n"
        "value.converter=org.apache.kafka.connect.json.JsonConverter\noffset.flush.interval.ms=1000\n"
        "config.providers=env\n"
        "config.providers.env.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider\n"
    )
    connectors: list[Path] = []
    for path in sorted(CONNECT.glob("*.json")):
        connector: dict[str, Any] = json.loads(path.read_text())
        connector["config"] |= {
            "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
            "file": f"{tmp_path}/${{env:SIGMAWATCH_USERNAME}}-{connector['config']['topics']}",
            "errors.deadletterqueue.topic.replication.factor": "1",
        }
        connectors.append(tmp_path / path.name)
        connectors[-1].write_text(json.dumps(connector))
    secrets = {
        "SIGMAWATCH_URL": "http://localhost",
        "SIGMAWATCH_USERNAME": "somebody",
        "SIGMAWATCH_PASSWORD": "x",
    }
    command = java("org.apache.kafka.connect.cli.ConnectStandalone", worker, *connectors)
    process = subprocess.Popen(command, env={"PATH": "/usr/bin:/bin", **secrets})
    try:
        for topic in TOPICS:
            made = tmp_path / f"somebody-{topic}"
            until(has_lines(made, len(lines(topic))))
            assert made.read_text().splitlines() == [f"Struct{{message={line}}}" for line in lines(topic)]
    finally:
        process.terminate()
        process.wait(60)


def test_rsyslog_files_the_topics(kafka: str, cluster: str, tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, cluster, kafka=kafka)
    daemon.start()
    try:
        found = stored(cluster, sum(len(lines(topic)) for topic in TOPICS))
    finally:
        daemon.stop()
    for topic, sample in TOPICS.items():
        assert originals(found[sample.split("/")[0]]) == sorted(lines(topic))
