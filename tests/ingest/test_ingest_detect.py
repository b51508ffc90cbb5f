"""Which dataset a log is of: every sample of every dataset is taken for its own, or for none, and never for another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.command_line import emptied
from sigmawatch.bundle import traits_of
from sigmawatch.cluster import Cluster, ConnectionSettings, connect
from sigmawatch.datasets import artifacts, load_datasets, samples
from sigmawatch.deploy.kind import Write
from sigmawatch.deploy.kinds import all_kinds
from sigmawatch.engine import Node
from sigmawatch.ingest.detect import Detector, Verdict
from sigmawatch.pack.layout import builtin_pack

pytestmark = pytest.mark.engine

DATASETS = {dataset.name: dataset for dataset in load_datasets(builtin_pack().ingest_pipelines)}
SAMPLES = {f"{name}/{sample.name}": sample.path for name, one in DATASETS.items() for sample in samples(one)}

ALIKE = {
    # The combined format is written by all of them, and squid's has it, too.
    "web.apache/access": {"web.apache", "web.nginx", "web.traefik", "proxy.squid"},
    "web.nginx/not_escaped": {"web.nginx", "web.apache", "web.traefik", "proxy.squid"},
    "web.nginx/access": {"web.nginx", "web.apache", "web.traefik", "proxy.squid"},
    # No program that is known says that it wrote it.
    "proxy.w3c/others": {"proxy.w3c", "web.iis"},
    # Half of the lines are damaged, and all of Azure's records have the same frame.
    "auth.azure_signin/sign_ins": {"auth.azure_signin", "api.azure_audit"},
    # As many lines as there are forms of it.
    "web.traefik/own": {"web.traefik", "firewall.juniper_srx", "firewall.pfsense"},
    # Azure's firewall logs what it resolves, and both read all of it.
    "dns.azure/firewall": {"dns.azure", "firewall.azure"},
    "firewall.azure/dns": {"dns.azure", "firewall.azure"},
    "api.azure_activity/rare": {"api.azure_activity", "api.azure_platform"},
    # All events of Windows have the same frame.
    "dns.windows/winlogbeat": {"dns.windows", "auth.windows_security"},
    "auth.windows_security/no_keywords": {"dns.windows", "auth.windows_security"},
    "dns.windows/xml": {"dns.windows", "auth.windows_security"},
    # pam's lines are in the logs of all daemons.
    "auth.sshd/pam": {"auth.sshd", "auth.linux"},
    # Few lines, of which most tell nothing but their header.
    "web.nginx/syslog": {"auth.linux", "firewall.juniper_srx", "firewall.pfsense", "web.nginx"},
    "firewall.iptables/nftables": {
        "auth.linux",
        "firewall.juniper_srx",
        "firewall.pfsense",
        "firewall.iptables",
    },
}
"""Samples that may be of several datasets, as far as their lines tell."""

UNREADABLE = {
    "dns.unbound/syslog",
    "flow.aws_vpc/custom_order",
    "flow.netflow/others",
    "ids.zeek/others",
    "proxy.w3c/undeclared",
    "web.traefik/json",
}
"""Samples beside those named errors or hostile of whose few lines too many are damaged on purpose."""


@pytest.fixture(scope="module")
def cluster(opensearch: Node) -> Iterator[Cluster]:
    """A cluster with all pipelines, and nothing else: detection writes no document."""
    emptied(opensearch.url)
    with connect(ConnectionSettings(opensearch.url)) as found:
        traits = traits_of(found.features())
        for dataset in DATASETS.values():
            for artifact in artifacts(dataset, traits=traits):
                if artifact.kind == "ingest_pipeline":
                    all_kinds()[artifact.kind].write(found, Write(artifact.id, dict(artifact.body)))
        yield found
    emptied(opensearch.url)


@pytest.fixture(scope="module")
def detector(cluster: Cluster) -> Detector:
    return Detector(cluster, list(DATASETS.values()))


def names(verdict: Verdict) -> set[str]:
    return {one.dataset.name for one in verdict.candidates}


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_is_taken_for_its_own_dataset_or_for_none(detector: Detector, sample: str) -> None:
    verdict = detector.detect(SAMPLES[sample].read_text(encoding="utf-8"))
    own, _, name = sample.partition("/")
    if sample in ALIKE:
        assert (verdict.dataset, names(verdict)) == (None, ALIKE[sample])
    elif sample in UNREADABLE or name in ("errors", "hostile"):
        # Most of these lines are damaged: what is known of them may be too little, but must not be wrong.
        assert verdict.dataset is None or verdict.dataset.name == own
    else:
        assert verdict.dataset is not None, verdict.reason
        assert verdict.dataset.name == own


ADDRESS = "198.51.100.{n}"
COMBINED = (
    f'{ADDRESS} - - [01/Mar/2026:10:00:{{n:02}} +0000] "GET /p/{{n}} HTTP/1.1" 200 7{{n}} "-" "curl/8.5.0"'
)
SSHD = f"Mar  1 10:00:{{n:02}} web1 sshd[2{{n}}]: Failed password for anna from {ADDRESS} port 40{{n}} ssh2"
CRON = "Mar  1 10:00:{n:02} web1 NetworkManager[7{n}]: <info> device (eth{n}): carrier is on"


def lines(pattern: str, number: int = 40) -> list[str]:
    return [pattern.format(n=n) for n in range(number)]


@pytest.mark.parametrize(
    ("text", "candidates"),
    [
        (lines(COMBINED), {"web.apache", "web.nginx", "web.traefik"}),
        (lines(CRON), {"auth.linux", "firewall.juniper_srx", "firewall.pfsense"}),
        ([*lines(SSHD, 20), *lines(CRON, 20)], {"auth.linux", "firewall.pfsense"}),
    ],
    ids=["the combined format", "a program that nobody reads", "sshd and others, half and half"],
)
def test_what_several_pipelines_read_alike_is_left_to_the_user(
    detector: Detector, text: list[str], candidates: set[str]
) -> None:
    verdict = detector.detect("\n".join(text))
    assert verdict.dataset is None
    assert candidates <= names(verdict)
    assert "it may be" in verdict.reason


@pytest.mark.parametrize(
    "text", [lines("remember the milk {n}"), lines('{{"a": {n}, "b": "x"}}'), lines("a,b,{n}"), ["%PDF-1.7"]]
)
def test_what_no_pipeline_reads_is_said_so(detector: Detector, text: list[str]) -> None:
    verdict = detector.detect("\n".join(text))
    assert (verdict.dataset, verdict.empty) == (None, False)
    assert "can read" in verdict.reason


@pytest.mark.parametrize("text", ["", "\n \r\n", "\ufeff"])
def test_nothing_is_of_no_dataset(detector: Detector, text: str) -> None:
    assert detector.detect(text).empty


def test_a_few_damaged_lines_change_nothing(detector: Detector) -> None:
    found = detector.detect("\n".join(["-- truncated --", *lines(SSHD), "\x00\x00"]))
    assert found.dataset is not None
    assert found.dataset.name == "auth.sshd"


def test_the_first_line_of_a_file_that_is_one_long_record_is_enough(detector: Detector) -> None:
    record = '{"eventVersion":"1.11","eventSource":"s3.amazonaws.com","eventName":"GetObject","eventID":"e%d","awsRegion":"eu-west-1"}'
    text = '{"Records":[' + ",".join(record % n for n in range(5000)) + "]}"
    found = detector.detect(text[: 1 << 18])
    assert found.dataset is not None
    assert found.dataset.name == "api.aws_cloudtrail"


def test_only_deployed_datasets_are_candidates(cluster: Cluster, tmp_path: Path) -> None:
    few = Detector(cluster, [DATASETS["flow.aws_vpc"]])
    assert few.detect("\n".join(lines(SSHD))).dataset is None
