"""Derivations against other people's idea of the same: the Community ID's test vectors, Python's hashes, the suffix list."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import random
import struct
from typing import TYPE_CHECKING, Any

import pytest

from datasets.dataset_server import Server
from datasets.small_dataset import DESCRIPTION, FIELDS, write
from sigmawatch.datasets import build_pipeline, load_dataset
from sigmawatch.datasets.check import simulated
from sigmawatch.datasets.public_suffixes import compact, suffix_table
from sigmawatch.datasets.script import Script
from sigmawatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Flow = tuple[str, int, str, int, int]

# Source, port or type of ICMP, destination, port or code of ICMP, protocol.
PUBLISHED: dict[Flow, str] = {
    ("128.232.110.120", 34855, "66.35.250.204", 80, 6): "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
    ("66.35.250.204", 80, "128.232.110.120", 34855, 6): "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
    ("192.168.1.52", 54585, "8.8.8.8", 53, 17): "1:d/FP5EW3wiY1vCndhwleRRKHowQ=",
    ("8.8.8.8", 53, "192.168.1.52", 54585, 17): "1:d/FP5EW3wiY1vCndhwleRRKHowQ=",
    ("192.168.170.8", 7, "192.168.170.56", 7, 132): "1:MP2EtRCAUIZvTw6MxJHLV7N7JDs=",
    ("192.168.0.89", 8, "192.168.0.1", 0, 1): "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=",
    ("192.168.0.1", 0, "192.168.0.89", 0, 1): "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=",
    ("fe80::260:97ff:fe07:69ea", 134, "ff02::1", 0, 58): "1:pkvHqCL88/tg1k4cPigmZXUtL00=",
    ("2001:470:e5bf:dead:4957:2174:e82c:4887", 63943, "2607:f8b0:400c:c03::1a", 25, 6):
        "1:/qFaeAR+gFe1KYjMzVDsMv+wgU4=",
}  # fmt: skip


def community_ids(server: Server, flows: Sequence[Flow]) -> list[Any]:
    script = Script().text(
        "ctx.put('out', communityId(ctx.get('a'), (int)ctx.get('b'), ctx.get('c'), (int)ctx.get('d'), (int)ctx.get('e')));"
    )
    documents = [dict(zip("abcde", flow, strict=True)) for flow in flows]
    return [document["out"] for document in server.run(script, documents)]


def test_community_ids_are_the_published_ones(server: Server) -> None:
    assert dict(zip(PUBLISHED, community_ids(server, list(PUBLISHED)), strict=True)) == PUBLISHED


def expected_id(flow: Flow) -> str | None:
    """Return the Community ID by the specification, with Python's hashes."""
    ends = [(ipaddress.ip_address(flow[index]), flow[index + 1]) for index in (0, 2)]
    if ends[0][0].version != ends[1][0].version:
        return None
    packed = [(address.packed, port) for address, port in ends]
    if flow[4] in (6, 17, 132):
        packed.sort()
        ports = struct.pack("!HH", packed[0][1], packed[1][1])
    else:
        packed.sort(key=lambda end: end[0])
        ports = b""
    body = b"\0\0" + packed[0][0] + packed[1][0] + bytes([flow[4], 0]) + ports
    return "1:" + base64.b64encode(hashlib.sha1(body).digest()).decode()


def test_community_ids_of_any_flow(server: Server) -> None:
    pick = random.Random(12)
    flows: list[Flow] = []
    for _ in range(600):
        addresses = [
            str(ipaddress.IPv6Address(pick.getrandbits(128) | 1 << 127))
            if pick.random() < 0.5
            else str(ipaddress.IPv4Address(pick.getrandbits(32)))
            for _ in range(2)
        ]
        if pick.random() < 0.1:
            addresses[1] = addresses[0]
        protocol = pick.choice([6, 17, 132, 47, 50, 0, 255])
        flows.append((addresses[0], pick.randrange(65536), addresses[1], pick.randrange(65536), protocol))
    assert community_ids(server, flows) == [expected_id(flow) for flow in flows]


def test_a_flow_that_lacks_something_has_no_community_id(server: Server) -> None:
    flows = [
        ("10.0.0.1", -1, "10.0.0.2", 80, 6),
        ("10.0.0.1", -1, "10.0.0.2", -1, 1),
        ("10.0.0.1", 1, "::1", 1, 6),
    ]
    assert community_ids(server, flows) == [None, None, None]


def parts(server: Server, names: Sequence[str], table: Any = None) -> list[Any]:
    script = Script().text(
        "Map found = new HashMap(); putRegisteredDomain(found, ctx.get('in'), params.get('table'));"
        "ctx.put('out', [found.get('subdomain'), found.get('registered_domain'), found.get('top_level_domain')]);"
    )
    documents = [{"in": name} for name in names]
    return [document["out"] for document in server.run(script, documents, table=table or suffix_table())]


# What https://publicsuffix.org/list/ says about its own rules.
DOMAINS = {
    "com": None, "example.com": "example.com", "b.example.com": "example.com", "a.b.example.com": "example.com",
    "example.example": "example.example", "b.example.example": "example.example",
    "biz": None, "domain.biz": "domain.biz", "uk.com": None, "example.uk.com": "example.uk.com",
    "a.b.example.uk.com": "example.uk.com", "test.ac": "test.ac", "mm": None, "c.mm": None, "b.c.mm": "b.c.mm",
    "a.b.c.mm": "b.c.mm", "jp": None, "test.jp": "test.jp", "ac.jp": None, "test.ac.jp": "test.ac.jp", "kyoto.jp": None,
    "test.kyoto.jp": "test.kyoto.jp", "ide.kyoto.jp": None, "b.ide.kyoto.jp": "b.ide.kyoto.jp",
    "a.b.ide.kyoto.jp": "b.ide.kyoto.jp", "c.kobe.jp": None, "b.c.kobe.jp": "b.c.kobe.jp",
    "a.b.c.kobe.jp": "b.c.kobe.jp", "city.kobe.jp": "city.kobe.jp", "www.city.kobe.jp": "city.kobe.jp", "ck": None,
    "test.ck": None, "b.test.ck": "b.test.ck", "www.ck": "www.ck", "www.www.ck": "www.ck",
    "test.k12.ak.us": "test.k12.ak.us", "www.test.k12.ak.us": "test.k12.ak.us", "k12.ak.us": None,
    "xn--85x722f.com.cn": "xn--85x722f.com.cn", "xn--85x722f.xn--55qx5d.cn": "xn--85x722f.xn--55qx5d.cn",
    "食狮.公司.cn": "食狮.公司.cn", "www.食狮.中国": "食狮.中国", "someone.github.io": "someone.github.io",
    "a.someone.github.io": "someone.github.io", "bucket.s3.amazonaws.com": "bucket.s3.amazonaws.com",
}  # fmt: skip


def test_registered_domains_are_those_of_the_suffix_list(server: Server) -> None:
    found = {name: part[1] for name, part in zip(DOMAINS, parts(server, list(DOMAINS)), strict=True)}
    # A name of one label is no domain of anybody, whatever is in the list.
    assert found == DOMAINS


def test_names_are_told_apart_into_three(server: Server) -> None:
    cases = {
        "www.example.co.uk": ["www", "example.co.uk", "co.uk"],
        "a.b.example.com": ["a.b", "example.com", "com"],
        "example.com": [None, "example.com", "com"],
        "co.uk": [None, None, "co.uk"],
        "localhost": [None, None, None],
        "198.51.100.7": [None, None, None],
        "[2001:db8::1]": [None, None, None],
        "..": [None, None, None],
        "a..com": [None, None, None],
        ".com": [None, None, None],
        "_dmarc.example.com": ["_dmarc", "example.com", "com"],
        ".".join("a" * 120): [".".join("a" * 118), "a.a", "a"],
        "": [None, None, None],
    }
    assert dict(zip(cases, parts(server, list(cases)), strict=True)) == cases


def test_the_table_holds_every_rule() -> None:
    assert compact(["uk", "co.uk", "*.ck", "!www.ck", "公司.cn"]) == {
        "ck": "|!www|*|", "cn": "|xn--55qx5d|公司|", "uk": "|co|",
    }  # fmt: skip
    assert len(suffix_table()) > 1000
    assert "|co|" in suffix_table()["uk"]
    assert suffix_table()["com"] == "/"
    assert "|uk|" in suffix_table()["com/u"]


def test_enrichments_can_be_chosen(server: Server, tmp_path: Path) -> None:
    description = DESCRIPTION.replace("  who: user.name\n", "  who: {to: url.domain, type: domain}\n")
    description += "derive: [url.registered_domain]\n"
    fields = FIELDS.replace(
        "user.name", "url.domain, url.registered_domain, url.subdomain, url.top_level_domain"
    )
    dataset = load_dataset(write(tmp_path, description, fields))
    line = "2026-03-01T10:00:00Z www.example.co.uk 10.0.0.1 1"
    expected: dict[str, Any]
    for options, expected in (
        ({}, {"registered_domain": "example.co.uk", "subdomain": "www", "top_level_domain": "co.uk"}),
        ({"enrich": []}, {}),
        ({"enrich": ["community_id"]}, {}),
    ):
        found = simulated(server.simulate, dataset, [line], options=options)[0]
        assert found is not None
        assert found["url"] == {"domain": "www.example.co.uk", **expected}
    assert "public_suffixes" not in str(build_pipeline(dataset, options={"enrich": []}))
    with pytest.raises(UsageError):
        build_pipeline(dataset, options={"enrich": ["geo"]})
