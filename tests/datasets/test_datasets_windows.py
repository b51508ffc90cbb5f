"""Windows events: XML and what Winlogbeat makes of it are one event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from datasets.dataset_server import ROOT
from sigmawatch.datasets import build_pipeline, load_dataset, samples
from sigmawatch.datasets.pipeline import without_hook
from sigmawatch.datasets.script import Script

if TYPE_CHECKING:
    from collections.abc import Mapping

    from datasets.dataset_server import Server
    from sigmawatch.datasets import Dataset, Sample

EVENT = (
    "<Event xmlns='x'><System><Provider Name='P' Guid='{{1}}'/><EventID Qualifiers=''>4624</EventID>"
    '<TimeCreated SystemTime="2026-03-01T10:00:00.5Z"/><Computer>dc1</Computer></System>{}</Event>'
)


@pytest.fixture(scope="module")
def windows() -> Dataset:
    return load_dataset(ROOT / "auth.windows_security")


def sample(dataset: Dataset, name: str) -> Sample:
    return next(found for found in samples(dataset) if found.name == name)


def tree(server: Server, texts: list[str]) -> list[dict[str, Any]]:
    main = "Map[] root = new Map[1]; ctx.put('why', parseWindows((String)ctx.get('in'), root)); ctx.put('out', root[0]);"
    return server.run(Script().text(main), [{"in": text} for text in texts])


def test_xml_and_json_of_an_event_give_the_same_document(windows: Dataset) -> None:
    xml, json = sample(windows, "xml").expected, sample(windows, "winlogbeat").expected
    assert xml
    assert json
    assert len(xml) == len(json) > 25
    for one, other in zip(xml, json, strict=True):
        assert one
        assert other
        assert {**one, "event": {**one["event"], "original": ""}} == {
            **other,
            "event": {**other["event"], "original": ""},
        }


def test_a_document_of_winlogbeat_counts_with_its_rendered_message(server: Server, windows: Dataset) -> None:
    event = {
        "event_id": "4625",
        "computer_name": "dc1.example.com",
        "keywords": ["Audit Failure"],
        "event_data": {"TargetUserName": "alice", "IpAddress": "198.51.100.9", "LogonType": "3"},
    }
    given = {
        "@timestamp": "2026-03-01T10:00:00.123Z",
        "message": "An account failed to log on.\n\nSubject: …",
        "winlog": event,
        "host": {"name": "collector", "ip": ["10.0.0.9"]},
        "agent": {"type": "winlogbeat"},
        "event": {"code": "4625", "provider": "x"},
    }
    pipeline = without_hook(build_pipeline(windows))
    found: Mapping[str, Any] = server.simulate(pipeline, [{"_source": given}])[0]["doc"]["_source"]
    assert found["event"]["kind"] == "event"
    assert found["event"]["action"] == "logon-failed"
    assert found["event"]["outcome"] == "failure"
    assert '"event_id":"4625"' in found["event"]["original"]
    assert found["@timestamp"] == "2026-03-01T10:00:00.123Z"
    assert found["message"] == given["message"]
    assert found["user"]["name"] == "alice"
    assert found["source"]["ip"] == "198.51.100.9"
    assert found["host"]["name"] == "dc1.example.com"
    assert found["host"]["ip"] == ["10.0.0.9"]
    assert found["agent"] == {"type": "winlogbeat"}
    # A line that came along is the original, and counts.
    line = EVENT.format("<EventData><Data Name='TargetUserName'>bob</Data></EventData>")
    given["event"] = {"original": line}
    found = server.simulate(pipeline, [{"_source": given}])[0]["doc"]["_source"]
    assert found["event"]["original"] == line
    assert found["user"]["name"] == "bob"


def test_elements_of_an_event_become_what_winlogbeat_has(server: Server) -> None:
    cases = {
        "<EventData><Data Name='A'>1</Data><Data Name=\"B\"/><Data Name='C'></Data></EventData>": {
            "event_data": {"A": "1", "C": ""}
        },
        "<EventData><Data>x</Data><Data>y</Data></EventData>": {"event_data": {"param1": "x", "param2": "y"}},
        "<EventData>\n  <Data Name='A'>a&#10;&#x41;&lt;b&gt;&amp;&quot;&apos;&nope;&#0;&#x1F600;&</Data>\n</EventData>": {
            "event_data": {"A": "a\nA<b>&\"'&nope;&#0;😀&"}
        },
        "<EventData><Data Name='A'><![CDATA[<Data Name='B'>]]></Data></EventData>": {
            "event_data": {"A": "<Data Name='B'>"}
        },
        "<UserData><LogFileCleared xmlns='y'><SubjectUserName>a</SubjectUserName></LogFileCleared></UserData>": {
            "user_data": {"SubjectUserName": "a"}
        },
        "<EventData><Data Name='A'>1</Data><Data Name='A'>2</Data></EventData>": {"event_data": {"A": "1"}},
        "<!-- <Data Name='A'>1</Data> -->": {},
        "<RenderingInfo><Message>m</Message><Keywords><Keyword>Audit Success</Keyword></Keywords></RenderingInfo>": {
            "keywords": ["Audit Success"]
        },
    }
    for (inner, expected), document in zip(
        cases.items(), tree(server, [EVENT.format(inner) for inner in cases]), strict=True
    ):
        assert document["why"] is None, inner
        event = document["out"]["winlog"]
        given = {key: event[key] for key in ("event_data", "user_data", "keywords") if key in event}
        assert given == expected, inner
        assert event["event_id"] == "4624"
        assert event["provider_name"] == "P"
        assert event["time_created"] == "2026-03-01T10:00:00.5Z"
        assert event["computer_name"] == "dc1"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (EVENT.format("")[:-5], "xml: the event has no end"),
        (EVENT.format("") * 2, "xml: several events in one line"),
        ("<Event></Event>", "xml: the line is no Windows event"),
        ("<Event><System></System></System></Event>", "xml: the line is no Windows event"),
        ("<Event<<<</Event>", "xml: the line is no Windows event"),
        ("<html/>", "json: the line is no JSON object"),
        ("", "json: the line is no JSON object"),
    ],
)
def test_what_is_no_event_says_why(server: Server, text: str, why: str) -> None:
    assert tree(server, [text])[0]["why"].startswith(why)


def test_a_file_of_events_is_taken_apart(windows: Dataset) -> None:
    one, two = EVENT.format(""), EVENT.format("<EventData/>")
    found = list(windows.documents([f"<Events>{one}{two}</Events>", one]))
    assert [document["message"] for document in found] == [one, two, one]


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_an_export_is_its_events_in_whatever_lines_they_stand(windows: Dataset, size: int) -> None:
    script = EVENT.format("<EventData><Data Name='ScriptBlockText'>a\n\n{b}\r\nc</Data></EventData>")
    one = EVENT.format("")
    text = (
        '\ufeff<?xml version="1.0" encoding="utf-8" standalone="yes"?>\r\n'
        f"<Events xmlns='y'>{one}{script}\r\n{one}\n<!-- <a> -->\n</Events>\r\n"
    )
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    assert [event.document["message"] for event in windows.events(chunks)] == [one, script, one]


def test_what_is_no_whole_event_in_an_export_is_kept_by_lines(windows: Dataset) -> None:
    one = EVENT.format("")
    text = f"{one}\n{one[:90]}\n{one}\nNov 21 10:00:00 dc1 what\n</Event>\n{one}\n{one[:-9]}"
    assert [event.document["message"] for event in windows.events([text])] == [
        one, one[:90], one, "Nov 21 10:00:00 dc1 what", "</Event>", one, one[:-9],
    ]  # fmt: skip
