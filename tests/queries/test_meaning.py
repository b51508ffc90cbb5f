"""Compiled queries on real engines: the events that Sigma means are found, and no others."""

from __future__ import annotations

import base64
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from queries.indexed import indexed
from sigmawatch.bundle import traits_of
from sigmawatch.cluster import Cluster, ConnectionSettings, connect
from sigmawatch.compile.compiler import CompileContext, compile_rules
from sigmawatch.datasets import mapping_of
from sigmawatch.engine import Node
from sigmawatch.pack.rules import load_rules

INDEX = "test-meaning"

FIELDS = {
    "name": "keyword",
    "ip": "ip",
    "size": "long",
    "ratio": "double",
    "on": "boolean",
    "when": "date",
    "flat": "flattened",
    "other": "keyword",
    "ip2": "ip",
    "size2": "long",
    "on2": "boolean",
    "when2": "date_nanos",
}


@dataclass(frozen=True)
class Case:
    """A selection, events that it means and events that it does not."""

    selection: Any
    matches: list[dict[str, Any]]
    others: list[dict[str, Any]]
    condition: str = "selection"
    more: dict[str, Any] = field(default_factory=dict)


NAMES = [{"name": value} for value in ("root", "Root", "ROOT")]
MISSING: dict[str, Any] = {"size": 1}

CASES = {
    "strings match in any case": Case({"name": "rOOt"}, NAMES, [{"name": "roots"}, {"name": ""}, MISSING]),
    "cased strings do not": Case({"name|cased": "Root"}, [{"name": "Root"}], [{"name": "root"}, MISSING]),
    "letters beyond ASCII match in any case": Case(
        {"name": "ÄÖ*Ж"}, [{"name": "äöж"}, {"name": "ÄÖxЖ"}, {"name": "äÖ\nж"}], [{"name": "aoж"}, MISSING]
    ),
    "and what looks like an expression is text": Case(
        {"name": "é.*[x]"}, [{"name": "É.x[X]"}, {"name": "é.[x]"}], [{"name": "éab[x]"}, {"name": "é.x"}]
    ),
    "a star is any text, a question mark one character": Case(
        {"name": "a?c*"}, [{"name": "abc"}, {"name": "A.CDE"}], [{"name": "ac"}, {"name": "xabc"}]
    ),
    "escaped wildcards are text": Case(
        {"name": r"a\*b\?"}, [{"name": "a*b?"}], [{"name": "axb?"}, {"name": "a*bc"}]
    ),
    "backslashes are text": Case(
        {"name|endswith": "\\cmd.exe"}, [{"name": "C:\\Windows\\CMD.exe"}], [{"name": "C:cmd.exe"}]
    ),
    "a backslash before a wildcard": Case(
        {"name": "c:\\\\*"}, [{"name": "c:\\x"}, {"name": "C:\\"}], [{"name": "c:x"}, {"name": "c:*"}]
    ),
    "what templates and quotes are made of is text": Case(
        {"name|contains": "{{7*7}}\"'</"}, [{"name": "x{{7*7}}\"'</y"}], [{"name": "x49y"}]
    ),
    "contains": Case({"name|contains": "OO"}, NAMES, [{"name": "ro"}, MISSING]),
    "contains all": Case(
        {"name|contains|all": ["a", "b"]}, [{"name": "xbxa"}], [{"name": "a"}, {"name": "b"}, MISSING]
    ),
    "any of a list": Case({"name": ["a", "b*"]}, [{"name": "A"}, {"name": "bc"}], [{"name": "c"}, MISSING]),
    "a list of values in an event": Case(
        {"name": "b"}, [{"name": ["a", "B"]}], [{"name": ["a", "c"]}, {"name": []}]
    ),
    "null is a missing field": Case({"name": None}, [MISSING, {"name": None}, {"name": []}], [{"name": ""}]),
    "an empty string is there": Case({"name": ""}, [{"name": ""}], [MISSING, {"name": " "}]),
    "a lone star is any value": Case({"name": "*"}, [{"name": ""}, {"name": "x"}], [MISSING]),
    "exists": Case({"name|exists": True}, [{"name": "x"}], [MISSING]),
    "does not exist": Case({"name|exists": False}, [MISSING], [{"name": "x"}]),
    "not keeps events without the field": Case(
        {"name": "root"}, [{"name": "x"}, MISSING], NAMES, condition="not selection"
    ),
    "neq is any other value": Case({"name|neq": "root"}, [{"name": "x"}], NAMES),
    "numbers": Case({"size": 5}, [{"size": 5}], [{"size": 50}, {"size": -5}, {"name": "5"}]),
    "numbers as text in a rule": Case({"size": "5"}, [{"size": 5}], [{"size": 6}]),
    "numbers as text in an event": Case({"name": 5}, [{"name": "5"}, {"name": 5}], [{"name": "05"}]),
    "numbers that are too large match nothing": Case({"size": 2**64}, [], [{"size": 1}, {"size": 2**63 - 1}]),
    "digits of a number": Case(
        {"size": ["20*", "*7", "*44*"]},
        [{"size": 20}, {"size": 2001}, {"size": 17}, {"size": [1, 7]}, {"size": 1445}, {"size": -207}],
        [{"size": 120}, {"size": 71}, {"size": 4}, {"name": "20"}],
    ),
    "members of objects compared with fields": Case(
        {"flat.user|fieldref": "name", "name|fieldref|startswith": "flat.deep.id"},
        [{"flat": {"user": "anna1", "deep": {"id": "Anna"}}, "name": "ANNA1"}],
        [
            {"flat": {"user": "anna1", "deep": {"id": "Anna"}}, "name": "anna2"},
            {"flat": {"other": "anna1", "deep": {"id": "Anna"}}, "name": "anna1"},
            {"flat": {"user": "anna1"}, "name": "anna1"},
            MISSING,
        ],
    ),
    "words in a number match nothing": Case({"size": "five"}, [], [{"size": 5}, MISSING]),
    "comparisons": Case(
        {"size|gt": 5, "size|lte": 7}, [{"size": 6}, {"size": 7}], [{"size": 5}, {"size": 8}]
    ),
    "comparisons of fractions": Case({"ratio|gte": 0.5}, [{"ratio": 0.5}, {"ratio": 1}], [{"ratio": 0.49}]),
    "booleans": Case({"on": True}, [{"on": True}], [{"on": False}, MISSING]),
    "booleans as text": Case({"on": "False"}, [{"on": False}], [{"on": True}, MISSING]),
    "addresses": Case({"ip": "10.0.0.1"}, [{"ip": "10.0.0.1"}], [{"ip": "10.0.0.10"}, MISSING]),
    "addresses in another spelling": Case(
        {"ip": "2001:0DB8::0:1"}, [{"ip": "2001:db8::1"}], [{"ip": "2001:db8::2"}]
    ),
    "networks": Case(
        {"ip|cidr": ["10.1.0.0/16", "fe80::/10"]},
        [{"ip": "10.1.255.255"}, {"ip": "febf::1"}],
        [{"ip": "10.2.0.0"}, {"ip": "fec0::1"}, MISSING],
    ),
    "the beginning of an address": Case(
        {"ip|startswith": "10.1."}, [{"ip": "10.1.0.0"}], [{"ip": "10.10.0.0"}, {"ip": "110.1.0.0"}]
    ),
    "the beginning of an address within a number": Case(
        {"ip|startswith": "10.1"},
        [
            {"ip": "10.1.0.0"},
            {"ip": "10.1.255.255"},
            {"ip": "10.19.1.1"},
            {"ip": "10.100.0.0"},
            {"ip": "10.199.255.255"},
        ],
        [
            {"ip": "10.0.255.255"},
            {"ip": "10.2.0.0"},
            {"ip": "10.20.0.0"},
            {"ip": "10.99.1.1"},
            {"ip": "10.200.0.0"},
        ],
    ),
    "the beginning of an address of either version": Case(
        {"ip": "1*"},
        [{"ip": "1.0.0.0"}, {"ip": "199.1.1.1"}, {"ip": "1::"}, {"ip": "1a::1"}, {"ip": "1fff:ffff::"}],
        [{"ip": "2.0.0.0"}, {"ip": "200.1.1.1"}, {"ip": "::1"}, {"ip": "2001::1"}, {"ip": "a1::"}],
    ),
    "the beginning of an IPv6 address": Case(
        {"ip|startswith": ["fe8", "2001:db8:A"]},
        [
            {"ip": "fe80::1"},
            {"ip": "fe8f::1"},
            {"ip": "fe8::"},
            {"ip": "2001:db8:a::"},
            {"ip": "2001:db8:abcd::1"},
        ],
        [{"ip": "fe90::"}, {"ip": "2001:db8:b::"}, {"ip": "2001:db8::a"}],
    ),
    "networks in text": Case(
        {"name|cidr": ["10.16.0.0/13", "192.168.7.128/25", "203.0.113.9"]},
        [
            {"name": "10.16.0.0"},
            {"name": "10.23.255.255"},
            {"name": "192.168.7.200"},
            {"name": "203.0.113.9"},
        ],
        [
            {"name": "10.24.0.0"},
            {"name": "10.16.0.256"},
            {"name": "10.16.x"},
            {"name": "192.168.7.127"},
            {"name": "x10.16.0.0"},
            {"name": "203.0.113.90"},
            MISSING,
        ],
    ),
    "networks of IPv6 in text, however it is spelled": Case(
        {"name|cidr": ["fe80::/10", "::1/128", "2001:db8:a0::/44"]},
        [
            {"name": value}
            for value in (
                "fe80::1",
                "FEBF:0:0:0:1:2:3:4",
                "::1",
                "0:0:0:0:0:0:0:1",
                "2001:DB8:00a5::",
                "0::1",
            )
        ],
        [{"name": value} for value in ("fec0::1", "::", "::11", "1::1", "2001:db8:b0::", "xfe80::1", "fe80")],
    ),
    "every address": Case(
        {"name|cidr": "0.0.0.0/0"},
        [{"name": "0.0.0.0"}, {"name": "255.255.255.255"}],
        [{"name": "256.0.0.0"}],
    ),
    "members of an object that is not mapped": Case(
        {"flat.user": "rOOt", "flat.deep.id": 5},
        [{"flat": {"user": ["x", "ROOT"], "deep": {"id": 5}}}],
        [
            {"flat": {"user": "root"}},
            {"flat": {"user": "roots", "deep": {"id": 5}}},
            {"flat": {"deep": {"id": 5}}},
        ],
    ),
    "how such a member begins": Case(
        {"flat.user|startswith": "Ro"},
        [{"flat": {"user": "root"}}, {"flat": {"user": "RO"}}],
        [{"flat": {"user": "xroot"}}, {"flat": {"name": "root"}}, MISSING],
    ),
    "such a member with regard to case": Case(
        {"flat.user|cased": "Root"}, [{"flat": {"user": "Root"}}], [{"flat": {"user": "root"}}]
    ),
    "whether there is such a member": Case(
        {"flat.user|exists": True}, [{"flat": {"user": ""}}], [{"flat": {"name": "x"}}, MISSING]
    ),
    "another field's value": Case(
        {"name|fieldref": "other"},
        [
            {"name": "a", "other": "a"},
            {"name": "Ä", "other": "ä"},
            {"name": ["x", "y"], "other": ["z", "Y"]},
            {"name": "", "other": ""},
        ],
        [{"name": "a", "other": "ab"}, {"name": "a"}, {"other": "a"}, MISSING],
    ),
    "not another field's value": Case(
        {"name|fieldref|neq": "other"},
        [{"name": "a", "other": "b"}, {"name": "a"}, MISSING],
        [{"name": "a", "other": "A"}],
    ),
    "begins with another field's value": Case(
        {"name|fieldref|startswith": "other"},
        [{"name": "ABc", "other": "ab"}, {"name": "ab", "other": "AB"}, {"name": "10.0", "other": "1"}],
        [{"name": "xab", "other": "ab"}, {"name": "a", "other": "ab"}, {"name": "a"}],
    ),
    "ends with another field's value": Case(
        {"name|fieldref|endswith": "other"},
        [{"name": "xAB", "other": "ab"}],
        [{"name": "abx", "other": "ab"}],
    ),
    "contains another field's value": Case(
        {"name|fieldref|contains": "other"},
        [{"name": "xABx", "other": "ab"}, {"name": "ab", "other": "ab"}],
        [{"name": "axb", "other": "ab"}, {"name": "a", "other": "ab"}],
    ),
    "another number": Case(
        {"size|fieldref": "size2"},
        [{"size": 2**62 + 1, "size2": 2**62 + 1}, {"size": [1, 2], "size2": 2}],
        [{"size": 2**62 + 1, "size2": 2**62}, {"size": 1}],
    ),
    "another number of another type": Case(
        {"size|fieldref": "ratio"}, [{"size": 5, "ratio": 5.0}], [{"size": 5, "ratio": 5.5}]
    ),
    "a number beside text": Case(
        {"ratio|fieldref": "other"},
        [{"ratio": 5, "other": "5"}, {"ratio": 5.5, "other": "5.5"}],
        [{"ratio": 5, "other": "55"}],
    ),
    "another address": Case(
        {"ip|fieldref": "ip2"},
        # One address each: OpenSearch 3.7 fails where an event has several (see KNOWN in proof.py).
        [{"ip": "2001:DB8::0:1", "ip2": "2001:db8::1"}],
        [{"ip": "10.0.0.1", "ip2": "10.0.0.10"}, {"ip": "10.0.0.1"}],
    ),
    "an address beside text": Case(
        {"ip|fieldref": "other"},
        [{"ip": "10.0.0.1", "other": "10.0.0.1"}],
        [{"ip": "10.0.0.1", "other": "10.0.0.10"}],
    ),
    "another boolean": Case(
        {"on|fieldref": "on2"}, [{"on": True, "on2": True}], [{"on": True, "on2": False}, {"on": False}]
    ),
    "another moment": Case(
        {"when|fieldref": "when2"},
        [{"when": "2026-03-01T10:00:00.5Z", "when2": "2026-03-01T11:00:00.500000000+01:00"}],
        [{"when": "2026-03-01T10:00:00Z", "when2": "2026-03-01T10:00:00.000000001Z"}, {"when": "2026-03-01"}],
    ),
    "a field that no index has": Case({"name|fieldref": "nowhere"}, [], [{"name": "a"}, MISSING]),
    "an hour, in UTC": Case(
        {"when|hour": 23},
        [{"when": "2026-03-01T23:59:59.999Z"}, {"when": "2026-03-02T00:30:00+01:00"}],
        [{"when": "2026-03-02T00:00:00Z"}, {"when": "2026-03-01T23:00:00-02:00"}, MISSING],
    ),
    "hours at night": Case(
        [{"when|hour|gte": 22}, {"when|hour|lt": 6}],
        [{"when": "2026-03-01T22:00:00Z"}, {"when": "2026-03-01T05:59:00Z"}],
        [{"when": "2026-03-01T06:00:00Z"}, {"when": "2026-03-01T21:59:00Z"}, MISSING],
    ),
    "parts of a date": Case(
        {"when|minute": 7, "when|day|lte": 3, "when|month|gt": 11, "when|year": 2026, "when|week": 49},
        [{"when": "2026-12-01T00:07:30Z"}],
        [
            {"when": "2026-12-01T00:08:00Z"},
            {"when": "2026-12-04T00:07:00Z"},
            {"when": "2025-12-01T00:07:00Z"},
        ],
    ),
    "weeks as ISO 8601 counts them": Case(
        {"when2|week": 53},
        [{"when2": "2026-12-28"}, {"when2": "2027-01-03"}],
        [{"when2": "2027-01-04"}, {"when2": "2026-01-01"}],
    ),
    "any of several dates": Case(
        {"when|day": 2}, [{"when": ["2026-01-01", "2026-01-02"]}], [{"when": ["2026-01-01", "2026-01-03"]}]
    ),
    "a keyword, somewhere in the message": Case(
        ["Err?r", "b*d", 404],
        [{"message": "an ERROR\n occurred"}, {"message": "abcde"}, {"message": "x1404x"}],
        [{"message": "err"}, {"name": "error"}, {"message": "db"}, MISSING],
    ),
    "all keywords": Case(
        {"|all": ["failed", "root"]},
        [{"message": "root: FAILED"}],
        [{"message": "root"}, {"message": "failed"}],
    ),
    "keywords with regard to case": Case(
        {"|cased": ["Error"]}, [{"message": "an Error."}], [{"message": "an error."}]
    ),
    "keywords that are expressions": Case(
        {"|re": ["er+or$"]}, [{"message": "an errror"}], [{"message": "eor"}, {"message": "error."}]
    ),
    "not a keyword": Case(
        ["error"], [{"message": "fine"}, MISSING], [{"message": "error"}], condition="not selection"
    ),
    "keywords or a field": Case(
        ["error"],
        [{"message": "error"}, {"size": 1}],
        [{"size": 2}],
        condition="selection or b",
        more={"b": {"size": 1}},
    ),
    "many values of a list": Case(
        {"name|contains": ["a.c", "B[", "\\x", "{1}", "é", "中"]},
        [{"name": value} for value in ("xA.Cx", "b[", "\\X", "{1}", "É", "中文", "line\nA.C\nline")],
        [{"name": value} for value in ("abc", "b{", "x", "[1]", "11", "e", "")] + [MISSING],
    ),
    "many values with and without wildcards around": Case(
        {"name": ["*ab", "*cd", "*ef", "*gh*", "ij*", "kl*", "mn*", "op*", "q", "r", "s", "t", "u*v"]},
        [{"name": value} for value in ("xAB", "CD", "gh", "xGHx", "ij", "IJx", "opx", "q", "T", "uxv", "UV")],
        [{"name": value} for value in ("abx", "cdx", "xij", "xop", "qx", "xt", "uvx", "")] + [MISSING],
    ),
    "many cased values": Case(
        {"name|cased|contains": ["Ab", "cd", "1", "É", "x"]},
        [{"name": value} for value in ("xAbx", "cd", "1", "É", "x")],
        [{"name": value} for value in ("ab", "CD", "é", "X")],
    ),
    "many letters that look like one another": Case(
        {"name": ["kk", "ss", "ii", "[a", "z@"]},
        [{"name": value} for value in ("KK", "sS", "II", "[A", "Z@")],
        [{"name": value} for value in ("ßß", "ıı", "İİ", "{a", "z`")],
    ),
    "many numbers and addresses": Case(
        [
            {"size": [1, 2, 3, "4", "x"]},
            {"ip": ["10.0.0.1", "::1", "y"]},
            {"ip|cidr": ["10.1.0.0/16", "10.2.0.0/16"]},
        ],
        [{"size": 1}, {"size": 4}, {"ip": "10.0.0.1"}, {"ip": "::1"}, {"ip": "10.2.3.4"}],
        [{"size": 5}, {"ip": "10.0.0.2"}, {"ip": "10.3.0.0"}, {"name": "1"}],
    ),
    "text that is no address matches nothing": Case(
        {"ip": ["*-*", "host"]}, [], [{"ip": "10.0.0.1"}, MISSING]
    ),
    "comparisons with what no number is": Case(
        {"size|lt": 2**65}, [{"size": 2**63 - 1}, {"size": -5}], [MISSING | {"size": None}, {"name": "x"}]
    ),
    "comparisons with less than any number": Case(
        {"size|lte": -(2**65)}, [], [{"size": -(2**63)}, {"size": 0}]
    ),
    "comparisons of whole numbers with fractions": Case(
        {"size|gte": 5.5, "size|lt": 7.5}, [{"size": 6}, {"size": 7}], [{"size": 5}, {"size": 8}]
    ),
    "what only looks like a number is none": Case(
        {"size": ["1_0", " 5", "05", "5.", "٥"]}, [], [{"size": 10}, {"size": 5}]
    ),
    "what looks like a date in other notations is none": Case(
        {"when": ["20260301", "2026-W09-7", "2026-03-01 10:00:00", "2026-03-01T10:00:00+24:00"]},
        [],
        [{"when": "2026-03-01T10:00:00Z"}, {"when": 20260301}],
    ),
    "a date is the whole of what it names": Case(
        {"when": ["2026-03-01T10", "2026-04-02", "2026-05"]},
        [{"when": "2026-03-01T10:59:59.999Z"}, {"when": "2026-04-02T23:59:59.999Z"}, {"when": "2026-05-31"}],
        [{"when": "2026-03-01T11:00:00Z"}, {"when": "2026-04-03T00:00:00Z"}, {"when": "2026-06-01"}],
    ),
    "an hour of a date in nanoseconds": Case(
        {"when2": ["2026-03-01T10+02:00", "2026-03-02T10:07Z"]},
        [{"when2": "2026-03-01T08:59:59.999999999Z"}],
        [{"when2": "2026-03-01T10:00:00Z"}],
    ),
    "all addresses of IPv6 are none of IPv4": Case(
        {"ip|cidr": "::/0"},
        [{"ip": "::1"}, {"ip": "ffff::"}],
        [{"ip": "10.0.0.1"}, {"ip": "0.0.0.0"}],
    ),
    "an address in a zone": Case({"ip": ["fe80::1%eth0", "::2"]}, [{"ip": "::2"}], [{"ip": "fe80::1"}]),
    "addresses of IPv4 within IPv6": Case(
        {"ip|cidr": "::ffff:10.0.0.0/104"},
        [{"ip": "10.255.0.1"}, {"ip": "::ffff:10.1.1.1"}],
        [{"ip": "11.0.0.1"}],
    ),
    "letters of three cases": Case(
        {"name": "Σß"}, [{"name": value} for value in ("σß", "ςẞ", "Σß")], [{"name": "σss"}, {"name": "sß"}]
    ),
    "letters of three cases in expressions": Case(
        {"name|re|i": "^[σ]ß$"}, [{"name": "ςẞ"}, {"name": "ΣSS".replace("SS", "ß")}], [{"name": "sß"}]
    ),
    "a text that repeats itself": Case(
        {"name|contains": "A" * 300}, [{"name": "b" + "a" * 300}, {"name": "A" * 301}], [{"name": "a" * 299}]
    ),
    "a text that repeats itself, at the end": Case(
        {"name|endswith|cased": "ab" * 200},
        [{"name": "x" + "ab" * 200}],
        [{"name": "ab" * 199}, {"name": "aB" * 200}],
    ),
    "an expression at the beginning": Case(
        {"name|re|startswith": "a+b|c"},
        [{"name": "aabx"}, {"name": "cx"}],
        [{"name": "xaab"}, {"name": "xc"}],
    ),
    "an expression at the end, whatever its flags": Case(
        {"name|re|i|m|endswith": "(?s)^A.|c"},
        [{"name": "a\n"}, {"name": "xC"}, {"name": "x\nab"}],
        [{"name": "c\nx"}, {"name": "cx"}],
    ),
    "an expression anywhere": Case(
        {"name|re|contains": ["^ab", "c$"]},
        [{"name": "abx"}, {"name": "xc"}],
        [{"name": "xabx"}, {"name": "cx"}],
    ),
    "classes of POSIX in expressions": Case(
        {"name|re": "^[[:alpha:]_]+[^[:digit:][.]$"},
        [{"name": "a_x"}, {"name": "ab:"}],
        [{"name": "a1"}, {"name": "a["}, {"name": "ab."}, {"name": "1a:"}],
    ),
    "the end of an expression of PCRE, before a last newline": Case(
        {"name|re": r"ab\Z"}, [{"name": "ab"}, {"name": "ab\n"}], [{"name": "ab\n\n"}, {"name": "abc"}]
    ),
    "letters of several bytes in Base64, wherever it begins": Case(
        {"name|base64offset|contains": "Zoë"},
        [{"name": base64.b64encode(text.encode()).decode()} for text in ("Zoë", "xZoëxx", "xyZoë.")],
        [{"name": base64.b64encode(b"Zoo").decode()}],
    ),
    "the mark of UTF-16 in Base64": Case(
        {"name|utf16|base64": "cmd"},
        [{"name": base64.b64encode(b"\xff\xfec\0m\0d\0").decode()}],
        [{"name": base64.b64encode("\ufeffc\0m\0d\0".encode()).decode()}],
    ),
    "a part of a member of an object that is not mapped": Case(
        {"flat.user|contains": "Oo", "flat.deep.id|endswith": "9"},
        [{"flat": {"user": ["x", "rooT"], "deep": {"id": 29}}}],
        [
            {"flat": {"user": "ro", "other": "oo", "deep": {"id": 29}}},
            {"flat": {"user": "root", "deep": {"id": 92}}},
            {"flat": {"user": "root"}},
        ],
    ),
    "how such a member begins, at length": Case(
        {"flat.user|startswith": "ab" * 600},
        [{"flat": {"user": "AB" * 601}}],
        [{"flat": {"user": "ab" * 599}}],
    ),
    "a long text, in any case": Case(
        [{"name": "ab" * 600}, {"flat.user": "cd" * 600}, {"name|startswith": "ef" * 600}],
        [{"name": "AB" * 600}, {"flat": {"user": "Cd" * 600}}, {"name": "eF" * 601}],
        [{"name": "ab" * 601}, {"flat": {"user": "cd" * 599}}, {"name": "ef" * 599}],
    ),
    "a name of a member is no part of its value": Case(
        {"flat.user|contains": "user"},
        [{"flat": {"user": "a user="}}],
        [{"flat": {"user": "root", "x": "user"}}],
    ),
    "and binds stronger than or, not strongest": Case(
        {"size": 1},
        [{"size": 1}, {"size": 2}, {"size": 2, "name": "y"}],
        [{"size": 2, "name": "x"}, {"name": "z"}],
        condition="selection or b and not c",
        more={"b": {"size": 2}, "c": {"name": "x"}},
    ),
    "one of several selections": Case(
        {"size": 1},
        [{"size": 1}, {"size": 2}],
        [{"size": 3}],
        condition="1 of sel*",
        more={"selother": {"size": 2}},
    ),
    "all of several selections": Case(
        {"size": 1},
        [{"size": 1, "name": "x"}],
        [{"size": 1}, {"name": "x"}],
        condition="all of them",
        more={"b": {"name": "x"}},
    ),
    "a list of maps": Case(
        [{"size": 1, "name": "x"}, {"size": 2}],
        [{"size": 1, "name": "X"}, {"size": 2}],
        [{"size": 1, "name": "y"}, {"name": "x"}],
    ),
}


@pytest.fixture(scope="module")
def cluster(each_version: Node) -> Iterator[Cluster]:
    with connect(ConnectionSettings(each_version.url)) as asked:
        traits = traits_of(asked.features())
    properties = {name: mapping_of(name, kind, traits) for name, kind in FIELDS.items()}
    properties["message"] = mapping_of("message", "match_only_text", traits)
    properties["case"] = {"type": "keyword"}
    documents = {
        f"{name} {number}": event | {"case": name}
        for name, case in CASES.items()
        for number, event in enumerate(itertools.chain(case.matches, case.others))
    }
    body = {"mappings": {"dynamic": False, "properties": properties}}
    with indexed(each_version.url, INDEX, body, documents) as found:
        yield found


def query_of(case: Case, folder: Path) -> Any:
    rule = {
        "title": "Test",
        "id": "00000000-0000-4000-8000-000000000001",
        "logsource": {"category": "test"},
        "detection": {"selection": case.selection, **case.more, "condition": case.condition},
    }
    path = folder / "rule.yml"
    path.write_text(yaml.safe_dump(rule, allow_unicode=True), encoding="utf-8")
    (plan,) = compile_rules(load_rules([path]), CompileContext(overrides=FIELDS)).require()
    return plan.query


def test_thousands_of_values_find_what_each_of_them_finds(cluster: Cluster, tmp_path: Path) -> None:
    dice = random.Random(5)
    # Enough to be joined, and enough to be looked up.
    texts = ["".join(dice.choice("abAB.\\[é1") for _ in range(dice.randint(3, 9))) for _ in range(3000)]
    values = [text.replace("\\", "\\\\") for text in texts]
    shapes = {
        "": str.__eq__,
        "contains": str.__contains__,
        "startswith": str.startswith,
        "endswith": str.endswith,
    }
    events = ["".join(dice.choice("abAB.\\[éÉ1") for _ in range(dice.randint(3, 20))) for _ in range(500)]
    lines = []
    for number, event in enumerate([*events, *texts[:50]]):
        document = {"name": event, "case": "thousands"}
        lines += [orjson.dumps({"index": {"_id": f"thousands {number}"}}), orjson.dumps(document)]
    cluster.request("POST", f"/{INDEX}/_bulk", b"\n".join(lines) + b"\n", params={"refresh": "true"})
    for (shape, holds), most in itertools.product(shapes.items(), (1000, len(values))):
        selection = {f"name|{shape}".rstrip("|"): values[:most]}
        query = {
            "bool": {"filter": [{"term": {"case": "thousands"}}, query_of(Case(selection, [], []), tmp_path)]}
        }
        hits = cluster.request("POST", f"/{INDEX}/_search", {"size": 1000, "query": query})["hits"]["hits"]
        lowered = [text.lower() for text in texts[:most]]
        meant = {
            event for event in [*events, *texts[:50]] if any(holds(event.lower(), text) for text in lowered)
        }
        assert {hit["_source"]["name"] for hit in hits} == meant, (shape, most)


@pytest.mark.parametrize("name", CASES)
def test_the_engine_finds_what_the_rule_means(cluster: Cluster, tmp_path: Path, name: str) -> None:
    case = CASES[name]
    query = {"bool": {"filter": [{"term": {"case": name}}, query_of(case, tmp_path)]}}
    hits = cluster.request("POST", f"/{INDEX}/_search", {"size": 100, "query": query})["hits"]["hits"]
    found = sorted(int(hit["_id"].removeprefix(f"{name} ")) for hit in hits)
    events = [*case.matches, *case.others]
    assert [events[number] for number in found] == case.matches
