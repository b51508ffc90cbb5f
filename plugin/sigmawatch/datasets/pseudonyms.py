"""Pseudonyms of users and addresses: the same for the same input wherever it is found, and nobody's without the key.

A pseudonym is HMAC-SHA-256 (RFC 2104, FIPS 180-4) of the value. The ingest script must be able to make them, so what
makes them is in the cluster; but not the key. A cluster gets the two states of SHA-256 that follow from a key derived
from it, which is what HMAC begins with: enough for these pseudonyms, and for nothing else that the key may be used for.

Pseudonyms of addresses are addresses, in networks that tell them from real ones: unique local ones (RFC 4193) for those
from inside, so that rules go on to tell inside from outside, and documentation ones (RFC 3849) for all others.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass, field
from functools import cache
from math import isqrt

from sigmawatch.datasets.derive import PRIVATE_NETWORKS
from sigmawatch.errors import UsageError

__all__ = ["EXEMPT", "INSIDE", "OUTSIDE", "SHORTEST_KEY", "Pseudonyms"]

SHORTEST_KEY = 32
"""Characters. Who knows a pseudonym and the value tries keys out: 32 random hexadecimal digits are 128 bits."""

INSIDE = 0xFD73_6967_6D61
"""fd73:6967:6d61::/48: pseudonyms of private addresses."""

OUTSIDE = 0x2001_0DB8
"""2001:db8::/32: pseudonyms of all others."""

EXEMPT = (
    "127.0.0.0/8", "::1/128", "0.0.0.0/32", "::/128",
    "224.0.0.0/4", "255.255.255.255/32", "ff00::/8",
    "169.254.169.254/32", "fd00:ec2::254/128",   # metadata services of clouds: not a person's, and in many rules
    "fd73:6967:6d61::/48",                       # ours
)  # fmt: skip
"""Addresses that are nobody's, and stay as they are."""

_BLOCK = 64
_WORD = 0xFFFF_FFFF


@dataclass(frozen=True)
class Pseudonyms:
    """Makes pseudonyms with one key."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse a key that can be guessed."""
        if len(self.key.decode(errors="replace")) < SHORTEST_KEY:
            raise UsageError(
                f"the key of pseudonyms has fewer than {SHORTEST_KEY} characters",
                hint="`openssl rand -hex 32` makes a good one.",
            )

    @property
    def id(self) -> str:
        """Tells keys apart, and nothing about them."""
        return hmac.new(self.key, b"sigmawatch: id of the key", hashlib.sha256).hexdigest()[:12]

    @property
    def _derived(self) -> bytes:
        return hmac.new(self.key, b"sigmawatch: pseudonyms", hashlib.sha256).digest()

    def states(self) -> list[int]:
        """Return what a script needs: the inner and the outer state after the block of the key, as signed words."""
        block = self._derived.ljust(_BLOCK, b"\0")
        inner, outer = (bytes(byte ^ pad for byte in block) for pad in (0x36, 0x5C))
        return [_signed(word) for part in (inner, outer) for word in _compress(part)]

    def _digest(self, text: str) -> bytes:
        return hmac.new(self._derived, text.encode(errors="surrogatepass"), hashlib.sha256).digest()

    def user(self, name: str) -> str:
        """Return the pseudonym of a user's name, id or address of mail, in whatever case it is written."""
        return f"u-{self._digest(f'user:{name.lower()}')[:10].hex()}"

    def address(self, text: str) -> str:
        """Return the pseudonym of an address, itself an address. Raises ValueError for a text that is none."""
        address = ipaddress.ip_address(text.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped or address
        if any(address in network for network in _networks(EXEMPT)):
            return text
        number = int(address)
        spelled = str(number) if address.version == 4 else f"{_signed64(number >> 64)}:{_signed64(number)}"
        digest = int.from_bytes(self._digest(f"address:{spelled}")[:12], "big")
        if any(address in network for network in _networks(PRIVATE_NETWORKS)):
            return str(ipaddress.IPv6Address((INSIDE << 80) | (digest >> 16)))
        return str(ipaddress.IPv6Address((OUTSIDE << 96) | digest))


@cache
def _networks(texts: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


def _signed(word: int) -> int:
    return word - (1 << 32) if word >> 31 else word


def _signed64(number: int) -> int:
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


@cache
def _constants() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the round constants and the first state: fractions of roots of the first primes (FIPS 180-4, 4.2.2)."""
    primes: list[int] = []
    number = 2
    while len(primes) < _BLOCK:
        if all(number % prime for prime in primes):
            primes.append(number)
        number += 1
    return tuple(_cube_root(prime << 96) & _WORD for prime in primes), tuple(
        isqrt(prime << 64) & _WORD for prime in primes[:8]
    )


def _cube_root(number: int) -> int:
    low, high = 0, 1 << 40
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= number else (low, middle - 1)
    return low


def _turned(word: int, bits: int) -> int:
    return ((word >> bits) | (word << (32 - bits))) & _WORD


def _compress(block: bytes) -> list[int]:
    """Return the state of SHA-256 after a first block (FIPS 180-4, 6.2.2): hashlib does not tell it."""
    rounds, first = _constants()
    words = [int.from_bytes(block[at : at + 4], "big") for at in range(0, _BLOCK, 4)]
    for t in range(16, 64):
        x, y = words[t - 15], words[t - 2]
        small0 = _turned(x, 7) ^ _turned(x, 18) ^ (x >> 3)
        small1 = _turned(y, 17) ^ _turned(y, 19) ^ (y >> 10)
        words.append((words[t - 16] + small0 + words[t - 7] + small1) & _WORD)
    a, b, c, d, e, f, g, h = first
    for t in range(64):
        big1 = _turned(e, 6) ^ _turned(e, 11) ^ _turned(e, 25)
        one = (h + big1 + ((e & f) ^ (~e & g)) + rounds[t] + words[t]) & _WORD
        big0 = _turned(a, 2) ^ _turned(a, 13) ^ _turned(a, 22)
        two = (big0 + ((a & b) ^ (a & c) ^ (b & c))) & _WORD
        a, b, c, d, e, f, g, h = (one + two) & _WORD, a, b, c, (d + one) & _WORD, e, f, g
    return [(old + new) & _WORD for old, new in zip(first, (a, b, c, d, e, f, g, h), strict=True)]
