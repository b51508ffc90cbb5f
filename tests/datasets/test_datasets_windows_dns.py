"""Windows DNS Server: names that lie about themselves, dates of other locales, and SigmaHQ's rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from datasets.dataset_server import ROOT, Server
from sigmawatch.datasets import build_pipeline, load_dataset
from sigmawatch.datasets.check import simulated
from sigmawatch.datasets.load import samples
from sigmawatch.datasets.script import Script
from sigmawatch.errors import UsageError
from testing.bench import all_pass

DNS = load_dataset(ROOT / "dns.windows")
PACKET = "0C2C PACKET  000001D5D3C0F0A0 UDP Rcv 10.0.0.5        6f13   Q [0001   D   NOERROR] A      "


def test_names_are_read_by_the_lengths_of_their_labels(server: Server) -> None:
    cases = {
        "(3)www(7)Example(3)com(0)": "www.example.com",
        "(0)": ".",
        # A label may hold brackets, digits and points.
        "(6)a(3)bc(3)com(0)": "a(3)bc.com",
        "(3)a.b(3)com(0)": "a.b.com",
        # Lengths that are wrong, or of which there is no end.
        "(3)www(9)example(3)com(0)": "www.example.com",
        "(3)www(7)example": "www.example",
        "(63)x(0)": "x",
        "no labels": "no labels",
        "(": "(",
        "(3)": "",
    }
    script = Script().text("ctx.put('out', dnsLabels(ctx.get('in')));")
    found = server.run(script, [{"in": text} for text in cases])
    assert {text: document["out"] for text, document in zip(cases, found, strict=True)} == cases


def test_no_name_can_pass_for_a_part_of_the_line(server: Server) -> None:
    label = "x] A (3)foo(0) 0C2C PACKET 1 TCP Snd 192.0.2.9 1 R Q [8081 DR NOERROR] TXT"
    line = f"3/1/2026 10:00:00 AM {PACKET}({len(label)}){label}(3)com(0)"
    document = simulated(server.simulate, DNS, [line])[0]
    assert document is not None
    assert document["source"]["ip"] == "10.0.0.5"
    assert document["dns"]["type"] == "query"
    assert document["dns"]["question"]["type"] == "A"
    assert document["dns"]["question"]["name"] == f"{label.lower()}.com"
    assert document["network"]["transport"] == "udp"


def test_the_option_dates_is_tried_first(server: Server) -> None:
    line = f"3/1/2026 10:00:00 AM {PACKET}(3)www(7)example(3)com(0)"

    def time(**options: Any) -> str:
        document = simulated(server.simulate, DNS, [line], options=options)[0]
        assert document is not None
        return str(document["@timestamp"])

    assert time() == "2026-03-01T10:00:00.000Z"
    assert time(dates=["d/M/yyyy h:mm:ss a"]) == "2026-01-03T10:00:00.000Z"
    assert time(dates="d.M.yyyy H:mm:ss", timezone="Europe/Berlin") == "2026-03-01T09:00:00.000Z"
    with pytest.raises(UsageError, match="no format of a time"):
        build_pipeline(DNS, options={"dates": ["when"]})


def test_xml_and_winlogbeat_are_the_same_event() -> None:
    found = {sample.name: sample.expected or () for sample in samples(DNS)}
    for xml, beat in zip(found["xml"], found["winlogbeat"], strict=False):
        assert xml is not None
        assert beat is not None
        for name in ("dns", "source", "destination", "network", "user", "host", "windows", "@timestamp"):
            assert xml.get(name) == beat.get(name), name
        assert xml["winlog"]["event_data"] == beat["winlog"]["event_data"]


def test_rules_of_its_log_sources_find_their_events(server: Server, tmp_path: Path) -> None:
    rules: dict[str, tuple[str, dict[str, Any]]] = {
        "a name that was answered": ("dns-server-analytic", {"EventID": 257, "QNAME": "asyspy.example.net"}),
        "a plug-in": ("dns-server", {"EventID": [150, 770, 771]}),
        "a refused transfer": ("dns-server", {"EventID": 6004}),
        "a setting": ("dns-server-audit", {"EventID": 541, "NAME": "serverlevelplugindll"}),
    }
    lines = next(list(sample.lines) for sample in samples(DNS) if sample.name == "winlogbeat")
    for number, (title, (service, selection)) in enumerate(rules.items()):
        rule = {
            "title": title,
            "id": f"00000000-0000-4000-8000-{number:012}",
            "logsource": {"product": "windows", "service": service},
            "detection": {"selection": selection, "condition": "selection"},
        }
        test = {"name": title, "logs": {"dataset": "dns.windows", "lines": lines}, "alerts": 1}
        (tmp_path / f"{number}.yml").write_text(json.dumps(rule), encoding="utf-8")
        (tmp_path / f"{number}.test.yml").write_text(json.dumps({"tests": [test]}), encoding="utf-8")
    assert all_pass(tmp_path, server.url) == len(rules)
