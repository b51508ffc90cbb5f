"""JSON lines: paths, lists and objects, envelopes, objects that shippers parsed, and what is broken."""

from __future__ import annotations

import base64
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from datasets.small_dataset import HEAD, write
from sigmawatch.datasets import artifacts, base_artifacts, build_pipeline, load_dataset
from sigmawatch.datasets.check import simulated
from sigmawatch.datasets.parsers.paths import Element, Key, PathError, Select, alternatives, parse_path
from sigmawatch.datasets.pipeline import without_hook
from sigmawatch.datasets.script import Script, compact
from sigmawatch.errors import ContentError

if TYPE_CHECKING:
    from pathlib import Path

    from datasets.dataset_server import Server
    from sigmawatch.datasets import Dataset

DESCRIPTION = (
    HEAD
    + """\
parse:
  - json:
      required: [kind|type, time]
      error: not a small event
      unwrap: [detail, message.data, payload]
      split: [Records]
      prefixes: ["@cee:"]
      parsed: [json]
      null_values: ["-", none]
      rest: test.small.rest
set:
  event.category: [network]
  event.type: [info]
fields:
  time: {to: "@timestamp", type: epoch}
  kind: event.action
  who.name: user.name
  who.mail: {to: user, type: identity}
  client: {to: source, type: endpoint_port}
  peer: {to: destination, type: endpoint_with_or_without_port}
  id.orig_h: {to: test.small.orig, type: ip}
  headers[name~=user-agent].value: user_agent.original
  headers[name=Host].value: url.domain
  hops[0]: test.small.first
  hops[]: {to: test.small.hops, type: ip}
  names[].text: test.small.names
  '"a.b".c': test.small.quoted
  number: {to: test.small.number, type: long}
  digits|"other.digits"|inner.digits: test.small.digits
  share: {to: test.small.share, type: float}
  flag: {to: test.small.flag, type: boolean}
  took: {to: event.duration, type: seconds}
  took_ms: {to: event.duration, type: milliseconds}
  took_us: {to: event.duration, type: microseconds}
  answers:
    to: dns.answers
    type: objects
    fields:
      rdata: data
      rrname: {to: name, type: domain}
      ttl: {to: ttl, type: long}
  settings: {to: test.small.settings, type: flattened}
  pairs: {to: test.small.pairs, type: flattened, pairs: [Name, Value]}
  request: [{to: test.small.request, type: json_text}, {to: test.small.flat, type: flattened}]
  notes[]:
    - {to: test.small.ids, type: enclosed, begin: '[id "', end: '"]'}
    - {to: test.small.score, type: enclosed_number, begin: "score "}
cases:
  - when: {kind: ["Get*", "*List"]}
    set: {event.type: [start]}
  - when: {"hops[]": ["192.0.2.9", "198.51.*"]}
    set: {event.outcome: failure}
"""
)
FIELDS = """\
ecs: [user.name, user.domain, user.email, source.address, source.ip, source.domain, source.port, destination.address,
  destination.ip, destination.domain, destination.port, user_agent.original, url.domain, dns.answers.data,
  dns.answers.name, dns.answers.ttl]
own:
  test.small.orig: {type: ip, description: x}
  test.small.first: {description: x}
  test.small.hops: {type: ip, description: x}
  test.small.names: {description: x}
  test.small.quoted: {description: x}
  test.small.number: {type: long, description: x}
  test.small.digits: {description: x}
  test.small.ids: {description: x}
  test.small.score: {type: long, description: x}
  test.small.share: {type: float, description: x}
  test.small.flag: {type: boolean, description: x}
  test.small.settings: {type: flattened, description: x}
  test.small.pairs: {type: flattened, description: x}
  test.small.request: {type: wildcard, description: x}
  test.small.flat: {type: flattened, description: x}
  test.small.rest: {type: flattened, description: x}
"""
TIME = 1772359200
GATHERED = """\
      required: [kind|type, time|When]
      gather:
        unless: time
        into: request
        beside: [kind, client, settings]
        names: {When: time, level.value: digits, Claims: id.claims}
"""


@pytest.fixture
def small(tmp_path: Path) -> Dataset:
    return load_dataset(write(tmp_path, DESCRIPTION, FIELDS))


def lines_become(server: Server, dataset: Dataset, lines: list[str]) -> list[dict[str, Any]]:
    """What the pipeline makes of lines that nobody took out of their envelopes."""
    documents = [{"_source": {"message": line}} for line in lines]
    found = server.simulate(without_hook(build_pipeline(dataset)), documents)
    return [result["doc"]["_source"] for result in found]


def becomes(server: Server, dataset: Dataset, **members: Any) -> dict[str, Any]:
    line = json.dumps({"kind": "x", "time": TIME, **members})
    return lines_become(server, dataset, [line])[0]


def own(document: dict[str, Any]) -> dict[str, Any]:
    return dict(document.get("test", {}).get("small", {}))


def test_members_that_stand_at_the_top_are_gathered(server: Server, tmp_path: Path) -> None:
    description = DESCRIPTION.replace("      required: [kind|type, time]\n", GATHERED)
    small = load_dataset(write(tmp_path, description, FIELDS))
    usual, table, empty = lines_become(
        server,
        small,
        [
            json.dumps(event)
            for event in (
                {"kind": "x", "time": TIME, "request": {"size": 3, "Name": "n"}, "digits": "4"},
                {
                    "Kind": "x",
                    "kind": "x",
                    "When": TIME,
                    "time": None,
                    "Size": 3,
                    "Parts": '[{"a": 1}]',
                    "Request": {"size": 4, "more": "m"},
                    "level": {"value": "4", "shown": "four"},
                    "Settings": '{"b": 2}',
                },
                {"kind": "x", "When": TIME, "": 1},
            )
        ],
    )
    assert usual["test"]["small"]["flat"] == {"size": "3", "Name": "n"}
    assert own(usual)["digits"] == "4"
    assert table["test"]["small"]["flat"] == {"size": "4", "more": "m", "parts": [{"a": "1"}]}
    assert table["test"]["small"]["settings"] == {"b": "2"}
    assert own(table)["digits"] == "4"
    assert table["@timestamp"] == usual["@timestamp"] == empty["@timestamp"]


PAIRED = """\
      required: [kind|type, time]
      pairs: {settings: [Name, Value], request: [Name]}
"""


def test_lists_of_names_and_values_become_objects(server: Server, tmp_path: Path) -> None:
    description = DESCRIPTION.replace("      required: [kind|type, time]\n", PAIRED)
    small = load_dataset(write(tmp_path, description, FIELDS))
    pairs = [{"Name": "a", "Value": "1"}, {"Name": "b.c", "Value": ["2", "3"]}, {"Name": "a", "Value": "4"}]
    named = [{"Name": "a", "New": 1, "Old": 2}, {"Name": "a", "New": 3}, {"Name": "b", "New": None}]
    for form in (lambda x: x, json.dumps):
        document = becomes(server, small, settings=form(pairs), request=form(named))
        assert own(document)["settings"] == {"a": ["1", "4"], "b.c": ["2", "3"]}
        assert own(document)["flat"] == {"a": {"New": "1", "Old": "2"}}
    document = becomes(server, small, settings={"a": 1}, request=["x", {"Name": "a"}])
    assert own(document)["settings"] == {"a": "1"}
    assert own(document)["flat"] == [{"value": "x"}, {"Name": "a"}]
    assert "flat" not in own(becomes(server, small, settings="x", request=[]))


def test_paths_are_taken_apart() -> None:
    assert parse_path("a.b_c-d.@e") == (Key("a"), Key("b_c-d"), Key("@e"))
    assert parse_path('a[].b[0]."c.d/e"') == (Key("a"), Element(), Key("b"), Element(0), Key("c.d/e"))
    assert parse_path("a[k=v w].c[K~=x]") == (
        Key("a"),
        Select("k", "v w", cased=True),
        Key("c"),
        Select("K", "x", cased=False),
    )


def test_paths_of_one_meaning_are_parted() -> None:
    assert alternatives("a.b") == ("a.b",)
    assert alternatives('a.b|c[]|"d|e".f') == ("a.b", "c[]", '"d|e".f')


@pytest.mark.parametrize(
    "path", ["", ".a", "a.", "a..b", "a[", "a]", "a[b]", "a[0][1]", 'a."b', "a b", "a[=x]"]
)
def test_a_path_that_makes_no_sense_is_refused(path: str) -> None:
    with pytest.raises(PathError):
        parse_path(path)


def test_values_are_found_whatever_their_shape(server: Server, small: Dataset) -> None:
    found = becomes(server, small, who={"name": "alice"}, id={"orig_h": "10.0.0.1"}, **{"a.b": {"c": "q"}})
    assert found["user"]["name"] == "alice"
    assert own(found) == {"orig": "10.0.0.1", "quoted": "q"}
    # keys with points are objects in objects; one that is there both ways is not lost
    dotted = becomes(server, small, **{"who.name": "alice", "id.orig_h": "10.0.0.1", "id.other": 1})
    assert dotted["user"]["name"] == "alice"
    assert own(dotted) == {"orig": "10.0.0.1", "rest": {"id": {"other": "1"}}}
    clash = becomes(server, small, **{"id": "text", "id.orig_h": "10.0.0.1"})
    assert own(clash) == {"rest": {"id": "text", "id.orig_h": "10.0.0.1"}}
    # the JSON text of an object, and a list of objects, where an object was expected
    assert becomes(server, small, who='{"name": "alice"}')["user"]["name"] == "alice"
    assert becomes(server, small, who=[{"name": "alice"}, {"name": "bob"}])["user"]["name"] == [
        "alice",
        "bob",
    ]
    assert own(becomes(server, small, who="alice")) == {"rest": {"who": "alice"}}


def test_a_value_may_stand_in_several_places(server: Server, small: Dataset) -> None:
    assert own(becomes(server, small, digits="1")) == {"digits": "1"}
    assert own(becomes(server, small, inner={"digits": 2})) == {"digits": "2"}
    assert own(becomes(server, small, **{"other.digits": "3"})) == {"digits": "3"}
    assert own(becomes(server, small, digits="1", inner={"digits": "2", "x": "y"})) == {
        "digits": ["1", "2"],
        "rest": {"inner": {"x": "y"}},
    }


def test_what_stands_between_two_texts_is_found_each_time(server: Server, small: Dataset) -> None:
    notes = [
        r'x [id "1"] [id "2"] [data "\"] [id \"9\"]"] [id "a\"]b"] [id ""] score 7',
        '[id "2"] [id "3',
        "score x",
    ]
    assert own(becomes(server, small, notes=notes)) == {"ids": ["1", "2", r"a\"]b"], "score": [7]}
    assert own(becomes(server, small, notes=r'[id "1\\"] [id "')) == {"ids": ["1" + 2 * "\\"]}
    assert own(becomes(server, small, notes="nothing")) == {}


def test_scalars_become_texts_without_loss(server: Server, small: Dataset) -> None:
    for value, text in [
        (1, "1"), (-0.0, "0"), (1.0, "1"), (1.5, "1.5"), (1e20, "100000000000000000000"), (2**64 - 1, "18446744073709551615"),
        (10**40, str(10**40)), (1e-7, "0.00000010"), (1764000000.123456, "1764000000.123456"), (True, "true"),
        (False, "false"), ("x", "x"), ({"a": [1, None]}, '{"a":[1,null]}'), (["a", "b", "a", 3], ["a", "b", "3"]),
        (["a"], "a"),
    ]:  # fmt: skip
        digits = own(becomes(server, small, digits=value))["digits"]
        if value == 1e-7:
            assert float(digits) == value
            assert "E" not in digits
        else:
            assert digits == text, value
    none: list[Any] = [None, "", "-", "none", [], [None, "-"], {}]
    for nothing in none:
        assert "digits" not in own(becomes(server, small, digits=nothing)) or nothing == {}


def test_numbers_flags_and_durations(server: Server, small: Dataset) -> None:
    found = becomes(server, small, number="7", share="0.25", flag="True", took="0.006s")
    assert own(found) == {"number": 7, "share": 0.25, "flag": True}
    assert found["event"]["duration"] == 6_000_000
    assert becomes(server, small, took_ms=1.5)["event"]["duration"] == 1_500_000
    assert becomes(server, small, took_us=7)["event"]["duration"] == 7_000
    bad = becomes(server, small, number=2**70, share="1e999", flag=5, took=-1)
    assert own(bad) == {}
    assert "duration" not in bad["event"]
    assert bad["event"]["kind"] == "event"
    assert sorted(bad["error"]["message"]) == [
        "flag: neither true nor false",
        "number: no whole number that fits",
        "share: no number",
        "took: no duration",
    ]


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (1772359200, "2026-03-01T10:00:00.000Z"),
        ("1772359200", "2026-03-01T10:00:00.000Z"),
        (1772359200123, "2026-03-01T10:00:00.123Z"),
        (1772359200.25, "2026-03-01T10:00:00.250Z"),
        ("1772359200.123456", "2026-03-01T10:00:00.123Z"),
        (1772359200123456, "2026-03-01T10:00:00.123Z"),
        (1772359200123456789, "2026-03-01T10:00:00.123Z"),
    ],
)
def test_epochs_are_numbers_or_texts_of_any_unit(
    server: Server, small: Dataset, time: Any, expected: str
) -> None:
    assert becomes(server, small, time=time)["@timestamp"] == expected


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ("192.0.2.1:443", {"address": "192.0.2.1", "ip": "192.0.2.1", "port": 443}),
        ("192.0.2.1", {"address": "192.0.2.1", "ip": "192.0.2.1"}),
        ("[2001:db8::1]:443", {"address": "2001:db8::1", "ip": "2001:db8::1", "port": 443}),
        ("[2001:db8::1]", {"address": "2001:db8::1", "ip": "2001:db8::1"}),
        ("2001:db8::1:443", {"address": "2001:db8::1", "ip": "2001:db8::1", "port": 443}),
        ("2001:db8::a", {"address": "2001:db8::a", "ip": "2001:db8::a"}),
        ("web.example.com:80", {"address": "web.example.com", "domain": "web.example.com", "port": 80}),
        ("192.0.2.1:99999", {"address": "192.0.2.1", "ip": "192.0.2.1"}),
    ],
)
def test_ends_with_a_port(server: Server, small: Dataset, client: str, expected: dict[str, Any]) -> None:
    assert becomes(server, small, client=client)["source"] == expected


def test_an_address_without_a_port_keeps_its_last_group(server: Server, small: Dataset) -> None:
    assert becomes(server, small, peer="2001:db8::1:443")["destination"] == {
        "address": "2001:db8::1:443",
        "ip": "2001:db8::1:443",
    }
    assert becomes(server, small, peer="192.0.2.1:443")["destination"]["port"] == 443


@pytest.mark.parametrize(
    ("mail", "expected"),
    [
        ("alice@Example.com", {"name": "alice", "domain": "example.com", "email": "alice@Example.com"}),
        ("EXAMPLE\\alice", {"name": "alice", "domain": "EXAMPLE"}),
        ("alice", {"name": "alice"}),
        ("a@b@c", {"name": "a@b@c"}),
        ("@x", {"name": "@x"}),
    ],
)
def test_users_are_parted(server: Server, small: Dataset, mail: str, expected: dict[str, str]) -> None:
    found = becomes(server, small, who={"mail": mail})
    assert found["user"] == expected
    assert expected["name"] in found["related"]["user"]
    assert expected.get("email", expected["name"]) in found["related"]["user"]


def test_lists_and_selectors(server: Server, small: Dataset) -> None:
    found = becomes(
        server,
        small,
        headers=[{"name": "HOST", "value": "no"}, {"name": "Host", "value": "a.example.com"},
                 {"name": "User-Agent", "value": "curl"}, {"name": 7}, "odd"],
        hops=["10.0.0.1", "10.0.0.2", "10.0.0.1", "x"],
        names=[{"text": "a"}, {"text": ["b", "c"]}, {}],
    )  # fmt: skip
    assert found["url"]["domain"] == "a.example.com"
    assert found["user_agent"]["original"] == "curl"
    assert own(found)["first"] == "10.0.0.1"
    assert own(found)["hops"] == ["10.0.0.1", "10.0.0.2"]
    assert own(found)["names"] == ["a", "b", "c"]
    assert found["error"]["message"] == ["hops[]: no IP address"]
    assert sorted(found["related"]["ip"]) == ["10.0.0.1", "10.0.0.2"]
    one = becomes(
        server, small, headers={"name": "user-agent", "value": "x"}, hops="10.0.0.1", names={"text": "a"}
    )
    assert one["user_agent"]["original"] == "x"
    assert own(one)["hops"] == ["10.0.0.1"]
    assert own(one)["names"] == ["a"]


def test_lists_of_objects(server: Server, small: Dataset) -> None:
    answers = [
        {"rdata": "192.0.2.1", "ttl": 5, "rrname": "A.example.com."},
        {"rdata": ["x", "y"]},
        "192.0.2.9",
        {},
        None,
        {"other": 1},
        {"ttl": "long"},
    ]
    found = becomes(server, small, answers=answers)
    assert found["dns"]["answers"] == [
        {"data": "192.0.2.1", "ttl": 5, "name": "a.example.com"},
        {"data": ["x", "y"]},
        {"data": "192.0.2.9"},
    ]
    assert found["error"]["message"] == ["answers > ttl: no whole number that fits"]
    assert becomes(server, small, answers={"rdata": "x"})["dns"]["answers"] == [{"data": "x"}]
    assert "dns" not in becomes(server, small, answers=[])


def test_the_json_text_of_a_list_is_as_good_as_the_list(server: Server, small: Dataset) -> None:
    answers = [{"rdata": "192.0.2.1", "ttl": 5}, {"rdata": "192.0.2.2"}]
    names = [{"text": "a"}, {"text": "b"}]
    whole = becomes(server, small, answers=answers, names=names)
    texts = becomes(server, small, answers=json.dumps(answers), names=f" {json.dumps(names)} ")
    assert (
        texts["dns"] == whole["dns"] == {"answers": [{"data": "192.0.2.1", "ttl": 5}, {"data": "192.0.2.2"}]}
    )
    assert own(texts)["names"] == own(whole)["names"] == ["a", "b"]
    for broken in ("[", "[]]", "[{]", '[1],"x":[2]', "[not JSON]"):
        assert becomes(server, small, answers=broken)["dns"] == {"answers": [{"data": broken}]}


def test_objects_of_a_list_may_add_to_a_field_of_the_document(server: Server, tmp_path: Path) -> None:
    mapping = (
        "rrname: [{to: name, type: domain}, {to: ^related.hosts, type: domain, when: {kind: [A, CNAME]}}]"
    )
    description = DESCRIPTION.replace("rrname: {to: name, type: domain}", mapping)
    dataset = load_dataset(write(tmp_path, description, FIELDS))
    answers = [{"rrname": f"{kind}.example.com", "kind": kind} for kind in ("A", "TXT", "CNAME", "A")]
    found = becomes(server, dataset, answers=answers)
    assert found["related"]["hosts"] == ["a.example.com", "cname.example.com"]
    assert len(found["dns"]["answers"]) == 4


def test_flattened_objects_hold_texts(server: Server, small: Dataset) -> None:
    found = own(
        becomes(
            server,
            small,
            settings={"a": {"b": 1, "c": [True, None, {"d": 2.0}], "e": ""}, "": "x", "f": [[1, 2], [3]]},
            pairs=[{"Name": "A", "Value": 1}, {"Name": "A", "Value": 2}, {"Name": "B", "Value": {"x": 1}}, 5],
        )
    )
    assert found["settings"] == {"a": {"b": "1", "c": ["true", {"d": "2"}]}, "__": "x", "f": ["[1,2]", "[3]"]}
    assert found["pairs"] == {"A": ["1", "2"], "B": {"x": "1"}}
    assert own(becomes(server, small, settings="plain")) == {"settings": {"value": "plain"}}
    assert own(becomes(server, small, settings='{"a": 1}')) == {"settings": {"a": "1"}}
    deep: Any = 1
    for _ in range(30):
        deep = {"a": deep}
    kept = own(becomes(server, small, settings=deep))["settings"]
    depth = 0
    while isinstance(kept, dict):
        kept = kept["a"]
        depth += 1
    assert depth == 11
    assert json.loads(kept)
    wide = own(becomes(server, small, settings={f"k{n}": "x" for n in range(3000)}))["settings"]
    assert len(wide) == 1000


def test_json_texts(server: Server, small: Dataset) -> None:
    request = {"b": [1, None, True, 1.5, 'q"\\\n\x01é☃'], "a": {"d": {}, "c": []}}
    found = own(becomes(server, small, request=request))
    assert json.loads(found["request"]) == request
    assert found["request"].startswith('{"a":{"c":[],"d":{}},"b":')
    # a policy inside a text is written as what it is
    policy = own(becomes(server, small, request={"p": '{"Effect": "Allow"}', "q": "{x}"}))["request"]
    assert policy == '{"p":{"Effect":"Allow"},"q":"{x}"}'
    long = own(becomes(server, small, request={"a": "x" * 9000 + "needle"}))["request"]
    assert all(len(part) <= 8191 for part in long)
    assert any("needle" in part for part in long)


def test_the_whole_object_is_kept_where_that_is_wanted(server: Server, tmp_path: Path) -> None:
    description = DESCRIPTION.replace("rest: test.small.rest", "whole: test.small.rest")
    found = becomes(server, load_dataset(write(tmp_path, description, FIELDS)), who={"name": "a"}, number=1.0)
    assert own(found)["rest"] == {"kind": "x", "time": str(TIME), "who": {"name": "a"}, "number": "1"}
    assert own(found)["number"] == 1


def test_what_no_mapping_names_is_kept(server: Server, small: Dataset) -> None:
    found = becomes(
        server, small, who={"name": "a", "age": 3}, names=[{"text": "t", "lang": "de"}], new={"x": [1]}
    )
    assert own(found)["rest"] == {"who": {"age": "3"}, "names": [{"lang": "de"}], "new": {"x": ["1"]}}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda line: line,
        lambda line: f"@cee: {line}",
        lambda line: f"\ufeff {line} ",
        lambda line: f"[{line}]",
        lambda line: json.dumps({"detail": json.loads(line), "time": "2026"}),
        lambda line: json.dumps({"payload": line}),
        lambda line: json.dumps({"message": {"data": base64.b64encode(line.encode()).decode()}}),
        lambda line: json.dumps({"Records": [json.loads(line)]}),
        lambda line: json.dumps({"detail": {"detail": {"payload": line}}}),
    ],
)
def test_envelopes_are_taken_off(server: Server, small: Dataset, wrap: Any) -> None:
    line = json.dumps({"type": "x", "time": TIME, "who": {"name": "alice"}})
    found = lines_become(server, small, [wrap(line)])[0]
    assert found["user"]["name"] == "alice", found.get("error")
    assert found["@timestamp"] == "2026-03-01T10:00:00.000Z"


def test_envelopes_of_many_events_are_taken_apart(server: Server, small: Dataset) -> None:
    events = [{"kind": f"k{n}", "time": TIME, "n": 2**70, "f": 0.1} for n in range(3)]
    envelope = json.dumps({"Records": events})
    found = simulated(server.simulate, small, [envelope, json.dumps(events[0])])
    assert [document["event"]["action"] for document in found if document] == ["k0", "k1", "k2", "k0"]
    assert all(own(document or {})["rest"] == {"n": str(2**70), "f": "0.1"} for document in found)
    # … but not by a pipeline, which cannot make several documents of one
    pipeline = without_hook(build_pipeline(small))
    kept = server.simulate(pipeline, [{"_source": {"message": envelope}}])[0]["doc"]["_source"]
    assert kept["event"]["kind"] == "pipeline_error"
    assert kept["error"]["message"] == [
        "json: 3 events in one line, which are to be parted before they are indexed"
    ]
    assert kept["event"]["original"] == envelope


LOOSE = DESCRIPTION.replace(
    "      rest:", "      lift: [properties]\n      any_case: true\n      suffixes: [_s, _d]\n      rest:"
)


def test_members_of_an_object_count_as_those_of_the_event(server: Server, tmp_path: Path) -> None:
    dataset = load_dataset(write(tmp_path, LOOSE, FIELDS))
    inner = {"client": "192.0.2.1:80", "kind": "other", "extra": 1, "properties": 2}
    for properties in (inner, json.dumps(inner)):
        document = becomes(server, dataset, properties=properties)
        assert document["source"]["ip"] == "192.0.2.1"
        # What the event has itself is not covered up, and nothing is lost.
        assert document["event"]["action"] == "x"
        assert own(document)["rest"] == {"extra": "1", "properties": {"kind": "other", "properties": "2"}}
    for odd in ("text", ["1"]):
        document = becomes(server, dataset, properties=odd)
        assert own(document)["rest"] == {"properties": odd}
        assert document["error"]["message"] == ["json: properties is no object"]
    assert "error" not in becomes(server, dataset, properties="")


def test_keys_are_known_in_any_case_and_with_endings(server: Server, tmp_path: Path) -> None:
    dataset = load_dataset(write(tmp_path, LOOSE, FIELDS))
    for key in ("Client", "CLIENT_S", "client_s", "client_d"):
        document = becomes(server, dataset, properties={key: "192.0.2.1:80"})
        assert document["source"]["ip"] == "192.0.2.1", key
        assert "rest" not in own(document), key
    document = becomes(server, dataset, client="192.0.2.1:80", CLIENT="192.0.2.2:80", client_x="y")
    assert document["source"]["ip"] == "192.0.2.1"
    assert own(document)["rest"] == {"CLIENT": "192.0.2.2:80", "client_x": "y"}
    assert becomes(server, dataset, client=None, CLIENT="192.0.2.2:80")["source"]["ip"] == "192.0.2.2"


@pytest.mark.parametrize("place", ["json", "message", "top"])
def test_what_a_shipper_parsed_is_taken(server: Server, small: Dataset, place: str) -> None:
    event = {"kind": "x", "time": TIME, "who": {"name": "alice"}, "more": {"a": [1, 2.5]}}
    shipper = {"@timestamp": "2026-03-02T00:00:00Z", "agent": {"type": "filebeat"}, "tags": ["t"]}
    document = {**shipper, **(event if place == "top" else {place: event})}
    result = server.simulate(without_hook(build_pipeline(small)), [{"_source": document}])[0]
    found = result["doc"]["_source"]
    assert found["@timestamp"] == "2026-03-01T10:00:00.000Z"
    assert found["user"]["name"] == "alice"
    assert json.loads(found["event"]["original"])["who"] == event["who"]
    assert found["agent"] == shipper["agent"]
    assert found["tags"] == shipper["tags"]
    assert not {"json", "message", "kind", "who", "more"} & set(found)
    assert own(found)["rest"]["more"] == {"a": ["1", "2.5"]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no JSON", "json: the line is no JSON object"),
        ('{"kind": "x", "time": 1', "json: the line is no valid JSON"),
        ('{"kind": "x", "time": 1} more', "json: the line is no valid JSON"),
        ('{"kind": "x", "time": 1}{"kind": "y", "time": 1}', "json: the line is no valid JSON"),
        ('{"kind": "x", "kind": "y"}', "json: a key stands twice in one object"),
        ('{"kind": "x", "time": ' + "[" * 1100 + "]" * 1100 + "}", "json: it is nested too deeply"),
        ('{"kind": "x", "time": ' + "9" * 2000 + "}", "json: a number or a key is too long"),
        ('{"kind": null, "time": 1}', "json: not a small event"),
        ('{"kind": "x", "time": "\\u12"}', "json: the line is no valid JSON"),
        ("{}", "json: not a small event"),
        ("[]", "json: 0 events in one line, which are to be parted before they are indexed"),
        ("[[]]", "json: the line is no JSON object"),
    ],
)
def test_what_is_no_such_event_is_kept_and_says_why(
    server: Server, small: Dataset, line: str, message: str
) -> None:
    found = lines_become(server, small, [line])[0]
    assert found["event"]["kind"] == "pipeline_error"
    assert found["error"]["message"] == [message]
    assert found["event"]["original"] == line


def test_raw_control_characters_and_halves_of_pairs_are_repaired(server: Server, small: Dataset) -> None:
    line = '{"kind": "a\tb\x00c\x1b\\ud800", "time": 1772359200, "who": {"name": "\\ud83d\\ude00\\udc00"}}'
    found = lines_become(server, small, [line])[0]
    assert found["event"]["kind"] == "event"
    assert found["event"]["action"] == "a\tb\x00c\x1b�"
    assert found["user"]["name"] == "😀�"
    assert found["event"]["original"] == line


def test_conditions_on_beginnings_and_ends(server: Server, small: Dataset) -> None:
    kinds = [("GetIt", "start"), ("ShortList", "start"), ("Get", "start"), ("get", "info"), ("Lists", "info")]
    for kind, expected in kinds:
        assert becomes(server, small, kind=kind)["event"]["type"] == [expected]


def test_conditions_on_lists_hold_for_any_element(server: Server, small: Dataset) -> None:
    def outcome(hops: Any) -> Any:
        return becomes(server, small, hops=hops)["event"].get("outcome")

    for hops in ("192.0.2.9", ["10.0.0.1", "192.0.2.9"], ["10.0.0.1", "198.51.100.1", "10.0.0.2"]):
        assert outcome(hops) == "failure"
    for other in (["10.0.0.1", "192.0.2.90"], [], None):
        assert outcome(other) == "unknown"


def test_odd_values_are_indexed(server: Server, small: Dataset) -> None:
    """Whatever stands in an object: no mapping refuses the document."""
    pick = random.Random(7)
    names = ["kind", "who", "client", "peer", "id", "headers", "hops", "names", "a.b", "number", "digits", "share",
             "flag", "took", "answers", "settings", "pairs", "request", "time", "other", "x\x00y", "..", "é", " "]  # fmt: skip
    scalars = [
        None,
        "",
        "x",
        "-",
        1,
        -1.5,
        2**70,
        1e300,
        True,
        "192.0.2.1",
        "☃" * 9000,
        "\x00",
        "{",
        '{"a":1}',
        "[1]",
    ]

    def value(depth: int) -> Any:
        kind = pick.randrange(5) if depth < 5 else 0
        if kind == 1:
            return {pick.choice(names): value(depth + 1) for _ in range(pick.randrange(4))}
        if kind == 2:
            return [value(depth + 1) for _ in range(pick.randrange(4))]
        return pick.choice(scalars)

    lines = []
    for _ in range(600):
        chosen = pick.sample(names, 6)
        lines.append(json.dumps({"kind": "x", "time": TIME, **{name: value(0) for name in chosen}}))
    made = [*base_artifacts(server.traits), *artifacts(small, traits=server.traits)]
    paths = {"ingest_pipeline": "_ingest/pipeline", "component_template": "_component_template"}
    index = "logs-test.small-odd"
    paths["index_template"] = "_index_template"
    kept = [artifact for artifact in made if artifact.kind in paths]
    try:
        for artifact in kept:
            server.call("PUT", f"{paths[artifact.kind]}/{artifact.id}", artifact.body)
        body = "".join('{"create":{}}\n' + json.dumps({"message": line}) + "\n" for line in lines).encode()
        answer = server.call("POST", f"{index}/_bulk?refresh=true", body)
        failed = [item["create"] for item in answer["items"] if item["create"]["status"] >= 300]
        assert not failed, failed[:2]
        query = {"track_total_hits": True, "size": 1000, "query": {"match_all": {}}}
        hits = server.call("POST", f"{index}/_search", query)["hits"]["hits"]
        assert len(hits) == len(lines)
        kinds = [hit["_source"]["event"]["kind"] for hit in hits]
        assert kinds.count("event") > 500
    finally:
        server.call("DELETE", f"_data_stream/{index}" if server.traits.has_data_streams else index)
        for artifact in reversed(kept):
            server.call("DELETE", f"{paths[artifact.kind]}/{artifact.id}")


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("required: [kind|type, time]", "requierd: [a]", 8, "unknown key 'requierd'"),
        ("required: [kind|type, time]", "null_values: [x]", 14, "duplicate key"),
        ("rest: test.small.rest", "suffixes: [_s]", 15, "suffixes go with any_case"),
        ("unwrap: [detail,", "unwrap: ['a[0]',", 10, "unwrap: expected keys only"),
        ("unwrap: [detail,", "unwrap: ['a..b',", 10, "'a..b' is no path"),
        ("rest: test.small.rest", "rest: test.small.digits", 15, "is no declared field of the type flattened"),
        ("who.name: user.name", "who..name: user.name", 22, "'who..name' is no path"),
        ("when: {kind:", "when: {'ki nd':", 54, "'ki nd' is no path"),
        ("rdata: data", "rdata: dat", 44, "'dns.answers.dat' is emitted but not declared"),
        ("ttl: {to: ttl, type: long}", "ttl: {to: ttl, type: lng}", 46, "unknown type of value 'lng'"),
        ("ttl: {to: ttl, type: long}", "'t tl': {to: ttl, type: long}", 46, "'t tl' is no path"),
        ("    type: objects\n", "", 40, "belongs to the type objects"),
        ("pairs: [Name, Value]", "pairs: [Name]", 48, "pairs: expected the keys of name and value"),
        ("settings: {to: test.small.settings, type: flattened}", "settings: {to: test.small.digits, type: flattened}", 47,
         "a value of type 'flattened' does not fit"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    assert old in DESCRIPTION
    folder = write(tmp_path, DESCRIPTION.replace(old, new, 1), FIELDS)
    with pytest.raises(ContentError) as caught:
        load_dataset(folder)
    told = [(problem.line, problem.message) for problem in caught.value.problems]
    assert any(at == line and message in text for at, text in told), told


def test_what_follows_from_a_field_with_several_values_follows_from_the_first(
    server: Server, tmp_path: Path
) -> None:
    description = DESCRIPTION + "derive: [network_type, network_direction, url.registered_domain]\n"
    fields = FIELDS.replace("url.domain,", "url.domain, url.registered_domain, url.subdomain, url.top_level_domain,\n  "
                            "network.type, network.direction,")  # fmt: skip
    dataset = load_dataset(write(tmp_path, description, fields))
    hosts = [{"name": "Host", "value": "a.example.com"}, {"name": "Host", "value": "b.example.org"}]
    found = becomes(
        server,
        dataset,
        client=["10.0.0.1:1", "192.0.2.1:2"],
        peer=["198.51.100.1", "10.0.0.2"],
        headers=hosts,
    )
    assert "error" not in found
    assert found["network"] == {"type": "ipv4", "direction": "outbound"}
    assert found["url"]["registered_domain"] == "example.com"
    assert found["source"]["ip"] == ["10.0.0.1", "192.0.2.1"]
    assert found["source"]["port"] == [1, 2]
    assert set(found["related"]["ip"]) == {"10.0.0.1", "192.0.2.1", "198.51.100.1", "10.0.0.2"}


def test_hostile_texts_in_paths_stay_texts(server: Server, tmp_path: Path) -> None:
    hostile = "x'); ctx.put('owned', 1); // \\' ${a} {{b}}"
    path = json.dumps(f'"{hostile}".b')
    description = DESCRIPTION.replace("headers[name=Host].value:", f"{path}:")
    dataset = load_dataset(write(tmp_path, description, FIELDS))
    found = becomes(server, dataset, **{hostile: {"b": "found"}})
    assert found["url"]["domain"] == "found"
    assert "owned" not in found


def test_a_script_without_white_space_means_the_same(server: Server, small: Dataset) -> None:
    body = without_hook(build_pipeline(small))
    members = {
        "who": {"mail": "a@example.com"},
        "answers": [{"rdata": "x  =  y", "ttl": 1}],
        "settings": {"a": [1]},
    }
    document = {"_source": {"message": json.dumps({"kind": "Get it", "time": TIME, **members})}}
    expected = server.simulate(body, [document])[0]["doc"]["_source"]
    source = body["processors"][0]["script"]["source"]
    body["processors"][0]["script"]["source"] = compact(source)
    found = server.simulate(body, [document])[0]["doc"]["_source"]
    for each in (expected, found):
        each["event"].pop("ingested")
    assert found == expected
    assert len(compact(source)) < len(source) * 0.85


def test_texts_in_a_script_keep_their_white_space() -> None:
    source = (
        "String go(int a) {\n  return 'it\\'s  a = b; go( // c' + (a - -1) + 'x'; // why\n}\ngo(1); m.go(2);"
    )
    assert (
        compact(source) == "String go(int a){return 'it\\'s  a = b; go( // c' +(a - -1)+ 'x';}go(1);m.go(2);"
    )
    assert compact("void lengthy(int a) {\n  lengthy(a + 1);\n}\n") == "void _0(int a){_0(a + 1);}"


def test_only_the_functions_that_are_called_are_sent(small: Dataset) -> None:
    assert "parseJson" in str(build_pipeline(small))
    assert "parseJson" not in Script().text("int x = 1;")
