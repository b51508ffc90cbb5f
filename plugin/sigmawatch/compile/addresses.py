"""Addresses by how they are spelled: ranges for the beginning of an address, expressions for a network.

Engines and logs spell addresses canonically: IPv4 without leading zeros, IPv6 as RFC 5952 has it.
"""

from __future__ import annotations

import ipaddress
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Undecidable", "network_expression", "prefix_ranges"]

_ANY_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_HEX = frozenset("0123456789abcdef")


class Undecidable(ValueError):
    """The beginning of an address that belongs to no few ranges, because zeros are abbreviated."""


def prefix_ranges(text: str) -> list[tuple[str, str]]:
    """Return the first and last addresses of the ranges whose spelling begins with `text`; none where no does.

    `10.1` is 10.1.*, 10.10.* to 10.19.* and 10.100.* to 10.199.*. Raises Undecidable.
    """
    text = text.lower()
    return [*_version_4(text), *_version_6(text)]


def _version_4(text: str) -> list[tuple[str, str]]:
    *whole, partial = text.split(".")
    if len(whole) > 3 or not all(_is_octet(octet) for octet in whole):
        return []
    fitting = [value for value in range(256) if str(value).startswith(partial)]
    rest = 3 - len(whole)
    return [
        (".".join([*whole, str(low), *["0"] * rest]), ".".join([*whole, str(high), *["255"] * rest]))
        for low, high in _runs(fitting)
    ]


def _is_octet(text: str) -> bool:
    return text.isascii() and text.isdigit() and str(int(text)) == text and int(text) < 256


def _runs(values: Iterable[int]) -> list[tuple[int, int]]:
    """Return consecutive numbers as first and last of each run."""
    ordered = sorted(values)
    if not ordered:
        return []
    breaks = [(left, right) for left, right in pairwise(ordered) if right != left + 1]
    return list(
        zip([ordered[0], *(b for _, b in breaks)], [*(a for a, _ in breaks), ordered[-1]], strict=True)
    )


def _version_6(text: str) -> list[tuple[str, str]]:
    if not set(text) <= _HEX | {":"}:
        return []
    *whole, partial = text.split(":")
    groups = [*whole, partial] if partial else whole
    if len(whole) > 7 or any(len(group) > 4 for group in groups):
        return []
    if any(group.startswith("0") for group in groups if group != "0"):
        return []
    if "" in groups or "0" in groups:
        raise Undecidable(text)
    head = "".join(f"{int(group, 16):04x}" for group in whole)
    # The last group may go on for as many digits as there is room for.
    tails = (
        [partial.rjust(len(partial) + zeros, "0") for zeros in range(5 - len(partial))] if partial else [""]
    )
    return [(_address(head + tail, "0"), _address(head + tail, "f")) for tail in tails]


def _address(digits: str, filler: str) -> str:
    return str(ipaddress.IPv6Address(int(digits.ljust(32, filler), 16)))


def network_expression(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    """Return a Lucene regular expression for how the addresses of a network are spelled.

    IPv4 canonically; IPv6 in every spelling, as far as one expression tells: of the fixed groups only the last may be
    zero, since a run of zeros is abbreviated, or it is one address with one such run. Raises Undecidable for others.
    """
    first, last = network.network_address.packed, network.broadcast_address.packed
    if isinstance(network, ipaddress.IPv4Network):
        return "\\.".join(_octets(low, high) for low, high in zip(first, last, strict=True))
    groups = [
        (int.from_bytes(first[at : at + 2], "big"), int.from_bytes(last[at : at + 2], "big"))
        for at in range(0, 16, 2)
    ]
    if network.prefixlen == 128:
        return _host([low for low, _ in groups])
    fixed = [pair for pair in groups if pair != (0, 0xFFFF)]
    if not fixed or any(low == 0 for low, _ in fixed[:-1]) or fixed[0][0] == 0:
        raise Undecidable(str(network))
    head = "".join(f"{_group(low, high)}:" for low, high in fixed[:-1])
    low, high = fixed[-1]
    # Where the last one can be zero, `::` may stand for it and for zeros after it.
    final = f"({_from_zero(high)})?" if low == 0 else _group(low, high)
    return f"{head}{final}:[0-9a-fA-F:.]*"


def _octets(low: int, high: int) -> str:
    if (low, high) == (0, 255):
        return _ANY_OCTET
    return str(low) if low == high else f"({'|'.join(map(str, range(low, high + 1)))})"


def _group(low: int, high: int) -> str:
    """Return the spellings of a group of IPv6; a range is all groups that begin with the same bits."""
    pairs = zip(f"{low:04x}", f"{high:04x}", strict=True)
    digits = [_digit(int(one, 16), int(other, 16)) for one, other in pairs]
    # Zeros in front may be left out.
    zeros = next(at for at, digit in enumerate([*digits, ""]) if digit != "0")
    return (f"0{{0,{zeros}}}" if zeros else "") + "".join(digits[zeros:])


def _from_zero(high: int) -> str:
    """Return the spellings of the groups of IPv6 from zero to a number of which all lower bits are set."""
    any_digits, rest = divmod(high.bit_length(), 4)
    zeros = 4 - any_digits - bool(rest)
    front = f"0{{0,{zeros}}}" if zeros else ""
    if not any_digits:
        return front + (_digit(0, high) if rest else "")
    return (
        front + (f"{_digit(0, high >> (4 * any_digits))}?" if rest else "") + f"[0-9a-fA-F]{{1,{any_digits}}}"
    )


def _digit(low: int, high: int) -> str:
    """Return an expression for one hexadecimal digit in a range."""
    if (low, high) == (0, 15):
        return "[0-9a-fA-F]"
    spelled = sorted({form for n in range(low, high + 1) for form in (f"{n:x}", f"{n:X}")})
    return spelled[0] if len(spelled) == 1 else f"[{''.join(spelled)}]"


def _host(groups: list[int]) -> str:
    """Return the spellings of one IPv6 address that has at most one run of zeros."""
    runs = _runs(at for at, group in enumerate(groups) if group == 0)
    if len(runs) > 1:
        raise Undecidable(str(groups))
    if not runs:
        return ":".join(_group(group, group) for group in groups)
    ((begin, end),) = runs
    before, after = groups[:begin], groups[end + 1 :]
    if not before and not after:
        return "([0:]*::[0:]*|(0{1,4}:){7}0{1,4})"
    spelled = "[0:]*" if before and after else "[0:]+"
    head = "".join(f"{_group(group, group)}:" for group in before)
    return head + spelled + "".join(f":{_group(group, group)}" for group in after)
