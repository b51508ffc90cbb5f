"""Expressions and ranges for addresses, against what Python's ipaddress says of every spelling."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network, ip_address, ip_network

import pytest

from sigmawatch.compile.addresses import Undecidable, network_expression, prefix_ranges

NETWORKS = [
    "fe80::/10", "fc00::/7", "::1/128", "::/128", "2001:db8::/32", "fe80::1/128", "2000::/3", "1:2:3:4:5:6:7:8/128",
    "a0::/12", "2001:db8:a::/47", "2603:1006::/40", "2603:1006::/34", "2001:db8:0::/48", "2001::/23", "2001::/26", "ff00::/8", "1::/128", "abc::/16", "100::/8",
]  # fmt: skip


def addresses() -> list[IPv6Address]:
    dice = random.Random(1)
    starts = [
        0,
        0xFE80 << 112,
        0xFC00 << 112,
        0x20010DB8 << 96,
        0xA0 << 112,
        1 << 112,
        0xABC << 112,
        0xFF << 120,
    ]
    ends = [0, 1, dice.getrandbits(16), dice.getrandbits(64), dice.getrandbits(100)]
    listed = [
        "::1",
        "fe80::1",
        "1:2:3:4:5:6:7:8",
        "febf::",
        "fec0::",
        "fdff::1",
        "::1:0",
        "fe80::1:0",
        "0:1::1",
        "10::1",
    ]
    return [IPv6Address(start | end) for start in starts for end in ends] + [
        IPv6Address(text) for text in listed
    ]


def spellings(address: IPv6Address) -> Iterator[str]:
    groups = [f"{int(group, 16):x}" for group in address.exploded.split(":")]
    yield from (address.compressed, address.exploded, address.exploded.upper(), ":".join(groups))
    for begin in range(8):
        for end in range(begin + 1, 9):
            if set(groups[begin:end]) == {"0"}:
                yield f"{':'.join(groups[:begin])}::{':'.join(groups[end:]).upper()}"


def beside(network: IPv6Network) -> Iterator[IPv6Address]:
    """Yield addresses within a network, and some that differ from those by one bit of its prefix."""
    dice = random.Random(4)
    for _ in range(60):
        # Groups of zeros are what makes spellings differ.
        mask = sum(0xFFFF << (16 * at) for at in range(8) if dice.random() < 0.6)
        inside = int(network.network_address) | (dice.getrandbits(128) & mask & int(network.hostmask))
        yield IPv6Address(inside)
        yield IPv6Address(inside ^ (1 << (127 - dice.randrange(network.prefixlen))))


@pytest.mark.parametrize("text", NETWORKS)
def test_a_network_of_ipv6_is_told_from_every_spelling(text: str) -> None:
    network = IPv6Network(text)
    expression = re.compile(network_expression(network))
    wrong = [
        spelled
        for address in [*addresses(), *beside(network)]
        for spelled in spellings(address)
        if bool(expression.fullmatch(spelled)) != (address in network)
    ]
    assert wrong == []


def test_a_colon_is_no_address() -> None:
    assert not re.fullmatch(network_expression(ip_network("::/128")), ":")


@pytest.mark.parametrize("text", ["::/8", "64:ff9b::/96", "2001:0:1::/48", "1::2:0:0:3/128"])
def test_networks_in_which_zeros_may_be_abbreviated_anyhow_are_undecidable(text: str) -> None:
    with pytest.raises(Undecidable):
        network_expression(ip_network(text))


@pytest.mark.parametrize(
    "text", ["10.16.0.0/13", "0.0.0.0/0", "192.168.7.128/25", "203.0.113.9/32", "128.0.0.0/1"]
)
def test_a_network_of_ipv4_fits_into_what_engines_take(text: str) -> None:
    network = ip_network(text)
    expression = network_expression(network)
    assert len(expression) <= 1000
    dice = random.Random(2)
    found = [ip_address(dice.getrandbits(32)) for _ in range(300)] + [network[0], network[-1]]
    assert [a for a in found if bool(re.fullmatch(expression, str(a))) != (a in network)] == []


@pytest.mark.parametrize(
    "text", ["1", "10.", "10.1", "10.1.2.2", "255", "25", "fe8", "2001:db8:", "2001:db8:a", "f"]
)
def test_the_beginning_of_an_address_is_ranges(text: str) -> None:
    ranges = [tuple(map(ip_address, pair)) for pair in prefix_ranges(text)]
    dice = random.Random(3)
    v4 = [ip_address(dice.getrandbits(32)) for _ in range(500)] + [
        ip_address("10.1.2.2"),
        ip_address("10.1.2.25"),
    ]
    for address in [*v4, *addresses(), *(edge for pair in ranges for edge in pair)]:
        inside = any(a.version == address.version and int(a) <= int(address) <= int(b) for a, b in ranges)
        assert inside == str(address).startswith(text), address
