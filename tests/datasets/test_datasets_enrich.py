"""What is added to events: where they come from, with which program, and what is known to be bad."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cli.command_line import sigmawatch, write
from datasets.dataset_server import Server
from sigmawatch.cluster import ConnectionSettings, connect
from sigmawatch.datasets import Dataset, build_pipeline, with_enrichments, without_hook
from sigmawatch.datasets.derive import ENRICHMENTS
from sigmawatch.datasets.privacy import Privacy
from sigmawatch.datasets.threat_intel import load_indicators, read_indicator, threat_intel_artifact
from sigmawatch.engine import Engine, Node
from sigmawatch.errors import ContentError

BROWSER = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"


@pytest.fixture(scope="module")
def nginx(datasets: list[Dataset]) -> Dataset:
    return next(dataset for dataset in datasets if dataset.name == "web.nginx")


@pytest.fixture
def geoip(opensearch: Node) -> Server:
    """OpenSearch, which brings databases along; the Elasticsearch that tests run on is built without the processor."""
    from sigmawatch.datasets.templates import OPENSEARCH

    return Server(opensearch.url, OPENSEARCH)


def enriched(
    server: Server, dataset: Dataset, documents: Iterable[Mapping[str, Any]], *names: str
) -> list[dict[str, Any]]:
    options = {"enrich": list(names)}
    pipeline = without_hook(build_pipeline(with_enrichments(dataset, options), options=options))
    found = server.simulate(pipeline, [{"_source": document} for document in documents])
    return [one["doc"]["_source"] for one in found]


def request_line(address: str, agent: str = BROWSER) -> dict[str, Any]:
    return {"message": f'{address} - - [01/Mar/2026:10:00:00 +0000] "GET /a HTTP/1.1" 200 1 "-" "{agent}"'}


@pytest.mark.engine
def test_an_address_from_outside_has_its_place_and_its_network(geoip: Server, nginx: Dataset) -> None:
    (found,) = enriched(geoip, nginx, [request_line("81.2.69.142")], "geoip", "asn")
    geo = found["source"]["geo"]
    assert (geo["country_iso_code"], geo["country_name"]) == ("GB", "United Kingdom")
    assert set(geo["location"]) == {"lat", "lon"}
    number = found["source"]["as"]["number"]
    assert isinstance(number, int)
    assert found["source"]["as"] == {"number": number, "organization": {"name": "Andrews & Arnold Ltd"}}
    assert not [name for name in found if name.startswith("_")]


@pytest.mark.engine
@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "fe80::1", "224.0.0.1", "192.0.2.1"])
def test_others_have_neither(geoip: Server, nginx: Dataset, address: str) -> None:
    plain = enriched(geoip, nginx, [request_line(address)])
    found = enriched(geoip, nginx, [request_line(address)], "geoip", "asn")
    for document in (*plain, *found):
        del document["event"]["ingested"]
    assert found == plain


@pytest.mark.engine
def test_what_the_log_says_of_a_place_stays(geoip: Server, nginx: Dataset) -> None:
    known = [
        {**request_line("81.2.69.142"), "source": {"geo": {"country_iso_code": code, "name": "ours"}}}
        for code in ("SE", "GB")
    ]
    other, same = enriched(geoip, nginx, known, "geoip")
    assert other["source"]["geo"] == {"country_iso_code": "SE", "name": "ours"}
    assert same["source"]["geo"]["name"] == "ours"
    assert same["source"]["geo"]["country_name"] == "United Kingdom"


@pytest.mark.engine
def test_both_ends_have_theirs_and_one_address_at_two_ends_is_looked_up_once(
    geoip: Server, datasets: list[Dataset]
) -> None:
    vpc = next(one for one in datasets if one.name == "flow.aws_vpc")
    line = "2 123456789010 eni-0a1b2c3d 81.2.69.142 {} 50123 22 6 1 44 1772359200 1772359200 REJECT OK"
    lines = [{"message": line.format(to)} for to in ("89.160.20.112", "81.2.69.142")]
    two, one = enriched(geoip, vpc, lines, "geoip", "asn")
    assert (two["source"]["geo"]["country_iso_code"], two["destination"]["geo"]["country_iso_code"]) == (
        "GB",
        "SE",
    )
    assert one["source"]["geo"] == one["destination"]["geo"]
    assert one["source"]["as"] == one["destination"]["as"]


def test_a_user_agent_is_taken_apart_unless_it_is_too_long(server: Server, nginx: Dataset) -> None:
    long = f"{BROWSER} {'x' * 500}"
    lines = [request_line("192.0.2.1"), request_line("192.0.2.1", long)]
    found, left = enriched(server, nginx, lines, "user_agent")
    assert found["user_agent"] == {
        "original": BROWSER,
        "name": "Chrome",
        "version": "120.0.0.0",
        "device": found["user_agent"]["device"],
        "os": {"name": "Windows", "version": "10", "full": "Windows 10"},
    }
    assert left["user_agent"] == {"original": long}


def test_nobody_can_have_something_looked_up_or_found_by_sending_it(server: Server, nginx: Dataset) -> None:
    sent = {"user_agent": "x", "agent": {"name": "forged"}, "source_geo": {"country_iso_code": "XX"}}
    broken = {"message": "not of nginx", "_lookup": sent, "user_agent": {"original": "y"}}
    for document in enriched(
        server, nginx, [{**request_line("10.0.0.1"), "_lookup": sent}, broken], "user_agent"
    ):
        assert "_lookup" not in document
        assert "forged" not in str(document)
        assert "XX" not in str(document)


def test_enrichments_that_are_off_leave_no_trace_in_a_pipeline(nginx: Dataset) -> None:
    text = json.dumps(build_pipeline(nginx, options={"enrich": []}))
    assert "_lookup'" not in text.replace("ctx.remove('_lookup')", "")
    assert "putAllFound" not in text
    assert with_enrichments(nginx, {"enrich": []}) == nginx


# Threat intelligence

LIST = """\
indicator,provider,confidence,description,valid_until
198.51.100[.]7,acme,High,scanner,
203.0.113.128/25,acme,Low,bad hosting,
203.0.113.130,acme,,one of them,
2001:db8:bad::/48,acme,,,
hxxps://evil.example.com/x,acme,,,
evil.example.org,acme,,c2,
d41d8cd98f00b204e9800998ecf8427e,acme,,,
old.example.net,acme,,,2020-01-01
"""


def matches(server: Server, folder: Path, *documents: Mapping[str, Any]) -> list[dict[str, Any]]:
    indicators, _ = load_indicators([write(folder / "list.csv", LIST)])
    pipeline = threat_intel_artifact(indicators).body
    found = server.simulate(pipeline, [{"_source": document} for document in documents])
    return [one["doc"]["_source"] for one in found]


@pytest.mark.parametrize(
    ("document", "name", "field"),
    [
        ({"source": {"ip": "198.51.100.7"}, "client": {"ip": "198.51.100.7"}}, "198.51.100.7", "source.ip"),
        ({"destination": {"ip": "203.0.113.200"}}, "203.0.113.128/25", "destination.ip"),
        ({"destination": {"ip": "203.0.113.130"}}, "203.0.113.130", "destination.ip"),
        ({"source": {"ip": "2001:DB8:bad:0:0:0:0:1"}}, "2001:db8:bad::/48", "source.ip"),
        ({"dns": {"resolved_ip": ["192.0.2.1", "198.51.100.7"]}}, "198.51.100.7", "dns.resolved_ip"),
        ({"url": {"domain": "198.51.100.7"}}, "198.51.100.7", "url.domain"),
        ({"url": {"domain": "A.evil.example.org"}}, "evil.example.org", "url.domain"),
        ({"dns": {"answers": [{"data": "x"}, {"data": "evil.example.org."}]}}, "evil.example.org", "dns.answers.data"),
        ({"url": {"original": "https://evil.example.com/x"}}, "https://evil.example.com/x", "url.original"),
        ({"file": {"hash": {"md5": "D41D8CD98F00B204E9800998ECF8427E"}}}, "d41d8cd98f00b204e9800998ecf8427e", "file.hash.md5"),
        ({"related": {"ip": ["198.51.100.7"]}}, "198.51.100.7", "related.ip"),
    ],
)  # fmt: skip
def test_an_indicator_is_found_in_the_field_that_has_it(
    server: Server, tmp_path: Path, document: dict[str, Any], name: str, field: str
) -> None:
    (found,) = matches(server, tmp_path, document)
    assert found["tags"] == ["threat_intel_match"]
    (enrichment,) = found["threat"]["enrichments"]
    assert enrichment["indicator"]["name"] == name
    assert enrichment["indicator"]["provider"] == "acme"
    assert enrichment["matched"]["field"] == field
    assert found["sigmawatch"]["threat_intel"] == {
        "indicator": [name],
        "field": [field],
        "provider": ["acme"],
    }


@pytest.mark.parametrize(
    "document",
    [
        {"source": {"ip": "198.51.100.70"}},
        {"destination": {"ip": "203.0.113.127"}},
        {"source": {"ip": "2001:db8:bae::1"}},
        {"url": {"domain": "notevil.example.org"}},
        {"url": {"domain": "example.org"}},
        {"url": {"domain": "old.example.net"}},
        {"url": {"full": "https://evil.example.com/xy"}},
        {"source": "198.51.100.7", "url": {"domain": 5}},
        {"message": "198.51.100.7"},
    ],
)
def test_what_is_none_is_left_as_it_is(server: Server, tmp_path: Path, document: dict[str, Any]) -> None:
    assert matches(server, tmp_path, document) == [document]


def test_several_are_all_told_and_documents_do_not_disturb_each_other(server: Server, tmp_path: Path) -> None:
    both = {"source": {"ip": "198.51.100.7"}, "url": {"domain": "evil.example.org"}, "tags": ["mine"]}
    first, second, third = matches(server, tmp_path, both, both, {"source": {"ip": "192.0.2.1"}})
    for found in (first, second):
        assert found["tags"] == ["mine", "threat_intel_match"]
        assert len(found["threat"]["enrichments"]) == 2
    assert third == {"source": {"ip": "192.0.2.1"}}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("198.51.100[.]7", ("network", "198.51.100.7/32")),
        ("2001:DB8::1", ("network", "2001:db8::1/128")),
        ("203.0.113.0/24", ("network", "203.0.113.0/24")),
        ("hxxp://a.example.com/b", ("url", "http://a.example.com/b")),
        ("Evil[.]Example.COM.", ("domain", "evil.example.com")),
        ("bücher.example.com", ("domain", "xn--bcher-kva.example.com")),
        ("A" * 64, ("hash", "a" * 64)),
    ],
)
def test_indicators_are_read_however_they_are_written(written: str, expected: tuple[str, str]) -> None:
    assert read_indicator(written) == expected


def test_what_would_mark_everything_is_left_out_and_told(tmp_path: Path) -> None:
    text = "# a feed\ncom\nco.uk\n0.0.0.0/0\n10.1.2.3\nnonsense\n203.0.113.1/24\n198.51.100.7 # fine\n"
    indicators, warnings = load_indicators([write(tmp_path / "list.txt", text)])
    assert [one.value for one in indicators] == ["198.51.100.7/32"]
    assert [(one.line, one.severity.value) for one in warnings] == [
        (line, "warning") for line in (2, 3, 4, 5, 6, 7)
    ]


def test_too_many_are_refused_with_the_first_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sigmawatch.datasets.threat_intel.MOST", 2)
    with pytest.raises(ContentError) as caught:
        load_indicators([write(tmp_path / "list.txt", "a.example.com\nb.example.com\nc.example.com\n")])
    assert "list.txt:3: error: 3 indicators, at most 2" in str(caught.value)


def test_the_same_lists_make_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    lines = ["a.example.com", "198.51.100.7", "203.0.113.0/24"]
    one, _ = load_indicators([write(tmp_path / "one.txt", "\n".join(lines))])
    other, _ = load_indicators([write(tmp_path / "other.txt", "\n".join(reversed(lines)))])
    assert threat_intel_artifact(one).body == threat_intel_artifact(other).body


# From the configuration to the alert

PACK_RULE = """\
title: {title}
name: {name}
level: high
logsource: {{category: webserver, product: nginx}}
detection:
  selection: {{{selection}}}
  condition: selection
"""


def test_rules_ask_for_places_and_indicators(
    each_engine: Node, each_cluster_url: str, tmp_path: Path
) -> None:
    url, has_geoip = each_cluster_url, each_engine.engine is Engine.OPENSEARCH
    for name, selection in (
        ("from_abroad", "source.geo.country_iso_code: SE"),
        ("known_bad", "tags: threat_intel_match"),
    ):
        write(
            tmp_path / f"pack/rules/{name}.yml", PACK_RULE.format(title=name, name=name, selection=selection)
        )
    write(tmp_path / "feeds/list.txt", "198.51.100.7\n")
    config = write(
        tmp_path / "sigmawatch.yml",
        'threat_intel: {indicators: [feeds]}\ndatasets:\n  "*": {enabled: false}\n'
        "  web.nginx: {enabled: true, enrich: {geoip: true, asn: true, threat_intel: true}}\n",
    )
    nginx = tmp_path / "pack/ingest_pipelines"
    nginx.mkdir()
    source = Path(__file__).parents[2] / "ingest_pipelines/web.nginx"
    (nginx / "web.nginx").symlink_to(source)
    at: list[str | Path] = ["--url", url, "--config", config]
    done = sigmawatch("deploy", "--yes", "--pack", tmp_path / "pack", *at)
    assert done.code == 0, done.err
    assert ("enrichment geoip is left out for web.nginx" in done.err) == (not has_geoip)
    assert "no event of web.nginx has the field" not in done.err
    lines = [request_line(address)["message"] for address in ("89.160.20.112", "81.2.69.142", "198.51.100.7")]
    log = write(tmp_path / "a.log", "\n".join(lines) + "\n")
    loaded = sigmawatch("ingest", "--dataset", "web.nginx", *at, log)
    assert loaded.code == 0, loaded.err
    with connect(ConnectionSettings(url)) as cluster:
        cluster.request("POST", "/_refresh")
    ran = sigmawatch("run", "--once", "--at", "2026-03-01T10:01:00Z", "--format", "json", "--url", url)
    created = sorted((one["rule"]["id"], one["source"]["ip"]) for one in ran.json["created"])
    abroad = [("from_abroad", "89.160.20.112")] if has_geoip else []
    assert created == [*abroad, ("known_bad", "198.51.100.7")]


def test_indicators_that_nobody_named_are_asked_for(tmp_path: Path) -> None:
    config = write(tmp_path / "sigmawatch.yml", "datasets: {web.nginx: {enrich: {threat_intel: true}}}\n")
    ran = sigmawatch("check", "--config", config)
    assert ran.code == 2
    assert "threat_intel is switched on, and no indicators are named" in ran.err


def test_every_dataset_can_have_all_of_them_and_pseudonyms(datasets: list[Dataset]) -> None:
    options = {"enrich": list(ENRICHMENTS)}
    for dataset in datasets:
        # Raises where the script becomes larger than engines accept.
        build_pipeline(
            with_enrichments(dataset, options),
            options=options,
            privacy=Privacy(users=True, addresses="all", key="x"),
        )
