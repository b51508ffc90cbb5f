"""The headers that daemons, kernels, firewalls and network gear put before a message."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from sigmawatch.datasets.script import Script

if TYPE_CHECKING:
    from datasets.dataset_server import Server

PARTS = (
    "priority", "version", "time", "host", "program", "pid", "msgid", "data", "sequence", "severity", "mnemonic",
)  # fmt: skip


def parts(server: Server, function: str, lines: list[str]) -> list[dict[str, str]]:
    main = (
        f"String[] h = new String[{len(PARTS)}]; String rest = {function}((String)ctx.get('in'), h);"
        "ctx.put('out', rest); List l = new ArrayList(); for (int i = 0; i < h.length; ++i) { l.add(h[i]); }"
        "ctx.put('h', l);"
    )
    return [
        {"message": document["out"]}
        | {name: text for name, text in zip(PARTS, document["h"], strict=True) if text is not None}
        for document in server.run(Script().text(main), [{"in": line} for line in lines])
    ]


ASA = "%ASA-6-302013: Built"
TAG = {"program": "ASA", "severity": "6", "mnemonic": "302013", "message": "Built"}
CISCO = {
    f"<166>Mar 01 2026 10:00:00 fw1 : {ASA}": {"priority": "166", "time": "Mar 01 2026 10:00:00", "host": "fw1"},
    f"<166>Mar 01 2026 10:00:00: {ASA}": {"priority": "166", "time": "Mar 01 2026 10:00:00"},
    f"<166>Mar  1 10:00:00 fw1 {ASA}": {"priority": "166", "time": "Mar  1 10:00:00", "host": "fw1"},
    f"<166>:Mar 01 10:00:00.123 UTC: {ASA}": {"priority": "166", "time": "Mar 01 10:00:00.123 UTC"},
    f"<166>:Mar 01 10:00:00 CEST: {ASA}": {"priority": "166", "time": "Mar 01 10:00:00 CEST"},
    f"<166>Mar 01 2026 10:00:00 CEST fw1 : {ASA}": {
        "priority": "166", "time": "Mar 01 2026 10:00:00 CEST", "host": "fw1",
    },
    # A name that is one of a zone, too.
    f"Mar  1 10:00:00 MSK : {ASA}": {"time": "Mar  1 10:00:00", "host": "MSK"},
    f"Mar  1 10:00:00 MSK {ASA}": {"time": "Mar  1 10:00:00", "host": "MSK"},
    f"<166>2026-03-01T10:00:00Z fw1 : {ASA}": {"priority": "166", "time": "2026-03-01T10:00:00Z", "host": "fw1"},
    f"<166>2026-03-01T10:00:00Z: {ASA}": {"priority": "166", "time": "2026-03-01T10:00:00Z"},
    f"<166>1 2026-03-01T10:00:00Z fw1 - - - - : {ASA}": {
        "priority": "166", "version": "1", "time": "2026-03-01T10:00:00Z", "host": "fw1",
    },
    f"<166>{ASA}": {"priority": "166"},
    f"<166>fw1 : {ASA}": {"priority": "166", "host": "fw1"},
    f"{ASA}": {},
    f"Mar  1 10:00:09 relay Mar 01 2026 10:00:00 fw1 : {ASA}": {"time": "Mar 01 2026 10:00:00", "host": "fw1"},
    f"Mar  1 10:00:09 192.0.2.1 {ASA}": {"time": "Mar  1 10:00:09", "host": "192.0.2.1"},
    f"Mar  1 10:00:09 2001:db8::1 {ASA}": {"time": "Mar  1 10:00:09", "host": "2001:db8::1"},
    f"<189>29: Mar  1 10:00:00.971: {ASA}": {"priority": "189", "sequence": "29", "time": "Mar  1 10:00:00.971"},
    f"<189>29: *Mar  1 00:00:29.971: {ASA}": {"priority": "189", "sequence": "29"},
    f"<189>29: .Mar  1 00:00:29: {ASA}": {"priority": "189", "sequence": "29", "time": "Mar  1 00:00:29"},
    f"<189>29: sw1: *Mar  1 2026 10:00:00.9 UTC: {ASA}": {"priority": "189", "sequence": "29", "host": "sw1"},
    f"<189>Mar  1 10:00:01 sw1 29: 000030: *Mar  1 00:00:29: {ASA}": {
        "priority": "189", "time": "Mar  1 10:00:01", "host": "sw1", "sequence": "000030",
    },
}  # fmt: skip


def test_headers_of_cisco_devices(server: Server) -> None:
    given = parts(server, "ciscoSyslog", list(CISCO))
    assert dict(zip(CISCO, given, strict=True)) == {line: {**TAG, **more} for line, more in CISCO.items()}


@pytest.mark.parametrize(
    ("stamp", "zone", "moment"),
    [
        ("Mar 01 2026 10:00:00", "UTC", "2026-03-01T10:00:00Z"),
        ("Mar 01 2026 10:00:00", "Europe/Berlin", "2026-03-01T09:00:00Z"),
        ("Mar 01 2026 10:00:00 UTC", "Europe/Berlin", "2026-03-01T10:00:00Z"),
        # What one zone only is called says all, wherever the collector is.
        ("Mar 01 2026 10:00:00 CET", "UTC", "2026-03-01T09:00:00Z"),
        ("Mar 01 2026 10:00:00.5 CEST", "America/New_York", "2026-03-01T08:00:00.5Z"),
        ("Mar 01 2026 10:00:00 AKST", "UTC", "2026-03-01T19:00:00Z"),
        # Several have the name: the declared zone tells, or else nothing does.
        ("Mar 01 2026 10:00:00 CST", "UTC", None),
        ("Mar 01 2026 10:00:00 CST", "America/Chicago", "2026-03-01T16:00:00Z"),
        ("Mar 01 2026 10:00:00 CST", "Asia/Shanghai", "2026-03-01T02:00:00Z"),
        ("Mar 01 2026 10:00:00 CST", "Europe/Berlin", None),
        ("Mar 01 2026 10:00:00 EST", "Australia/Brisbane", "2026-03-01T00:00:00Z"),
        ("Jul 01 2026 10:00:00 BST", "Europe/London", "2026-07-01T09:00:00Z"),
        ("Mar 01 2026 10:00:00 IST", "Asia/Kolkata", "2026-03-01T04:30:00Z"),
        # The hour that clocks show twice.
        ("Nov 01 2026 01:30:00 CDT", "America/Chicago", "2026-11-01T06:30:00Z"),
        ("Nov 01 2026 01:30:00 CST", "America/Chicago", "2026-11-01T07:30:00Z"),
        # A name that somebody made up.
        ("Mar 01 2026 10:00:00 HERE", "UTC", None),
        ("Mar 01 2026 10:00:00 HERE", "Europe/Berlin", "2026-03-01T09:00:00Z"),
        ("Mar 41 2026 10:00:00 CET", "UTC", None),
    ],
)  # fmt: skip
def test_names_of_time_zones(server: Server, stamp: str, zone: str, moment: str | None) -> None:
    main = "ctx.put('out', syslogMs((String)ctx.get('in'), (long)1800000000000L, (String)ctx.get('zone')));"
    (found,) = server.run(Script().text(main), [{"in": stamp, "zone": zone}])
    expected = -1 if moment is None else int(datetime.fromisoformat(moment).timestamp() * 1000)
    assert found["out"] == expected


def test_tags_of_cisco_devices(server: Server) -> None:
    cases = {
        "%SYS-5-CONFIG_I: Configured": ("SYS", "5", "CONFIG_I", "Configured"),
        "%ASA-session-6-302013: Built": ("ASA", "6", "302013", "Built"),
        "%SEC_LOGIN-SW1-4-LOGIN_FAILED: Login": ("SEC_LOGIN", "4", "LOGIN_FAILED", "Login"),
        "%FTD-1-430003: a: %b-1-c: d": ("FTD", "1", "430003", "a: %b-1-c: d"),
    }
    for given, expected in zip(parts(server, "ciscoSyslog", list(cases)), cases.values(), strict=True):
        assert tuple(given[name] for name in ("program", "severity", "mnemonic", "message")) == expected


def test_a_line_without_a_tag_is_read_as_any_other(server: Server) -> None:
    lines = [
        "<38>Mar  1 10:00:00 web1 sshd[4711]: 100% of %x",
        "50% - done",
        "x" * 300 + "%ASA-6-302013: Built",
        "%ASA-6-302013 Built",
        "",
        "%",
    ]
    assert parts(server, "ciscoSyslog", lines) == parts(server, "syslog", lines)


def test_structured_data_becomes_raw_values(server: Server) -> None:
    main = (
        "String[] g = new String[4]; Map rest = new HashMap();"
        "structuredData((String)ctx.get('in'), g, rest, (Map)params.get('slots'), (Map)params.get('nulls'));"
        "ctx.put('out', [g[1], g[2]]); ctx.put('rest', rest);"
    )
    cases = {
        '[junos@2636.1.1.1.2.129 a="1" b="2"]': (["1", "2"], {}),
        '[x a="0"][junos@2636 b="q\\"u\\]o\\te" c.d="5" a=""]': (
            [None, 'q"u]o\\te'],
            {"a": "0", "c_d": "5"},
        ),
        '[junos a="1" a="2"]': (["1", None], {}),
        '[junos a="cut': (["cut", None], {}),
        '[junos a="N/A" b="1" c="N/A"]': ([None, "1"], {}),
        "[junos]": ([None, None], {}),
        '[junos  a="1"  b="]["]': (["1", "]["], {}),
        '[junos a="ends in \\': (["ends in \\", None], {}),
    }
    found = server.run(
        Script().text(main),
        [{"in": text} for text in cases],
        slots={"junos.a": 1, "junos.b": 2},
        nulls={"N/A": True},
    )
    assert {
        text: (document["out"], document["rest"]) for text, document in zip(cases, found, strict=True)
    } == cases


@pytest.mark.parametrize(
    ("function", "cases"),
    [
        (
            "repeatedMessage",
            {
                "message repeated 3 times: [ Failed password]": ("Failed password", "3"),
                "message repeated 2 times: [ a ] b ]": ("a ] b", "2"),
                "message repeated x times: [ a]": ("message repeated x times: [ a]", None),
                "message repeated 2 times: [ a": ("message repeated 2 times: [ a", None),
                "message": ("message", None),
            },
        ),
        (
            "kernelMessage",
            {
                "[12345.678901] [UFW BLOCK] IN=": ("[UFW BLOCK] IN=", "12345.678901"),
                "[    5.1] x": ("x", "5.1"),
                "[UFW BLOCK] x": ("[UFW BLOCK] x", None),
                "[1": ("[1", None),
                "": ("", None),
            },
        ),
    ],
)
def test_what_stands_before_a_message(
    server: Server, function: str, cases: dict[str, tuple[str, str | None]]
) -> None:
    main = f"String[] h = new String[1]; ctx.put('out', {function}((String)ctx.get('in'), h)); ctx.put('h', h[0]);"
    found = server.run(Script().text(main), [{"in": text} for text in cases])
    assert {text: (d["out"], d["h"]) for text, d in zip(cases, found, strict=True)} == cases


def test_values_of_firewalls(server: Server) -> None:
    functions: dict[str, dict[str, Any]] = {
        "mac": {
            "00:00:5e:00:53:AF": "00-00-5E-00-53-AF", "0000.5e00.53af": "00-00-5E-00-53-AF",
            "00-00-5E-00-53-AF": "00-00-5E-00-53-AF", "00:00:5e:00:53": None, "00:00:5g:00:53:af": None, "": None,
        },
        "clockNs": {
            "0:00:30": 30_000_000_000, "1h:02m:03s": 3_723_000_000_000, "1d 0h:00m:01s": 86_401_000_000_000,
            "00:00:00": 0, "x": None, "1:2": None, "-1:00:00": None, "9999999999:00:00": None, "": None,
        },
        "secondsNs": {
            "1.5": 1_500_000_000, "0": 0, "33": 33_000_000_000, "0.0000000019": 1, "1.x": None, "": None, "-1": None,
            "99999999999": None,
        },
        "inBrackets": {"https(10.0.0.5)": "10.0.0.5", "jsconsole": None, "a()": None, "(a": None, "": None},
        "label": {"[UFW BLOCK] ": "UFW BLOCK", "IPTABLES-DROP:": "IPTABLES-DROP", "[]:": None, "": None},
    }  # fmt: skip
    for name, cases in functions.items():
        main = f"ctx.put('out', {name}((String)ctx.get('in')));"
        found = server.run(Script().text(main), [{"in": text} for text in cases])
        assert {text: d["out"] for text, d in zip(cases, found, strict=True)} == cases, name


def test_an_interface_is_told_from_an_address(server: Server) -> None:
    cases = {
        "outside:198.51.100.9/443": ["outside", "198.51.100.9", "443"],
        "v1:outside:198.51.100.9/443": ["v1:outside", "198.51.100.9", "443"],
        "outside:2001:db8::1/443": ["outside", "2001:db8::1", "443"],
        "v1:outside:2001:db8::1": ["v1:outside", "2001:db8::1", None],
        "2001:db8::1/53": [None, "2001:db8::1", "53"],
        "198.51.100.9": [None, "198.51.100.9", None],
        "inside:server1.example.com/80": ["inside", "server1.example.com", "80"],
        "inside:10.0.0.5/http": ["inside", "10.0.0.5/http", None],
        "inside:": ["inside", None, None],
        "inside:10.0.0.5/80(LOCAL\\alice)": ["inside", "10.0.0.5", "80", "LOCAL\\alice"],
        "10.0.0.5/80)(alice": [None, "10.0.0.5", "80", "alice"],
        "": [None, None, None],
    }
    main = (
        "List l = new ArrayList(); String[] p = interfaceEndpoint((String)ctx.get('in'));"
        "for (int i = 0; i < 3; ++i) { l.add(p[i]); } if (p[3] != null) { l.add(p[3]); } ctx.put('out', l);"
    )
    found = server.run(Script().text(main), [{"in": text} for text in cases])
    assert {text: d["out"] for text, d in zip(cases, found, strict=True)} == cases
