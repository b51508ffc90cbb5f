"""Zeek's logs: the same record in all forms that writers and shippers give it is the same document."""

from __future__ import annotations

import copy
import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from datasets.dataset_server import ROOT, Server
from sigmawatch.datasets import build_pipeline, load_dataset
from sigmawatch.datasets.check import simulated
from sigmawatch.datasets.load import samples
from sigmawatch.datasets.pipeline import without_hook
from testing.bench import all_pass

if TYPE_CHECKING:
    from collections.abc import Callable

ZEEK = load_dataset(ROOT / "ids.zeek")
SAMPLES = {sample.name: sample for sample in samples(ZEEK)}
RECORDS = [json.loads(line) for line in SAMPLES["json"].lines]


def bare(document: dict[str, Any] | None) -> dict[str, Any]:
    """Return a document without what tells the form of its line."""
    assert document is not None
    found = copy.deepcopy(document)
    for name in ("original", "ingested"):
        found["event"].pop(name, None)
    return found


EXPECTED = [bare(document) for document in SAMPLES["json"].expected or ()]


def nested(record: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in record.items():
        *parents, last = name.split(".")
        place = made
        for key in parents:
            place = place.setdefault(key, {})
        place[last] = value
    return made


def with_iso_times(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "ts": datetime.fromtimestamp(record["ts"], UTC).isoformat()}


def with_milliseconds(record: dict[str, Any]) -> dict[str, Any]:
    return {**record, "ts": int(record["ts"] * 1000)}


def without_path(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "_path"}


@pytest.mark.parametrize(
    "form",
    [nested, with_iso_times, with_milliseconds, without_path, lambda record: nested(without_path(record))],
    ids=["nested", "iso", "milliseconds", "no path", "nested, no path"],
)
def test_all_forms_of_json_are_the_same_event(
    server: Server, form: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    lines = [json.dumps(form(record)) for record in RECORDS]
    assert [bare(document) for document in simulated(server.simulate, ZEEK, lines)] == EXPECTED


def test_columns_are_the_same_event_as_json() -> None:
    assert [bare(document) for document in SAMPLES["columns"].expected or () if document] == EXPECTED


def test_single_lines_of_columns_are_known_by_the_name_of_their_file(server: Server) -> None:
    documents = []
    path = ""
    for line in SAMPLES["columns"].lines:
        if line.startswith("#path"):
            path = line.split("\t")[1]
        if not line.startswith("#"):
            log = {"file": {"path": f"/opt/zeek/logs/2026-03-01/{path}.10:00:00-11:00:00.log.gz"}}
            documents.append({"_source": {"message": line, "log": log}})
    found = server.simulate(without_hook(build_pipeline(ZEEK)), documents)
    made = [bare(result["doc"]["_source"]) for result in found]
    for document in made:
        del document["log"]
    assert made == EXPECTED


def test_objects_that_shippers_parsed_are_the_same_event(server: Server) -> None:
    documents = [{"_source": {"json": nested(record)}} for record in RECORDS]
    found = server.simulate(without_hook(build_pipeline(ZEEK)), documents)
    assert [bare(result["doc"]["_source"]) for result in found] == EXPECTED


def test_the_only_log_with_so_many_columns_needs_no_name(server: Server) -> None:
    record = SAMPLES["columns"].lines[SAMPLES["columns"].lines.index("#path\tdns") + 4]
    assert not record.startswith("#")
    body = without_hook(build_pipeline(ZEEK))
    made = server.simulate(body, [{"_source": {"message": record}}])[0]["doc"]["_source"]
    assert made["zeek"]["log"] == "dns"
    assert made["dns"]["question"]["name"] == "www.example.com"


RULES: dict[str, tuple[str, dict[str, Any], str]] = {
    "reserved bits in a query": ("dns", {"s": {"query|endswith": ".example.org"}, "n": {"Z": 0}}, "s and not n"),
    "answered by a name": ("dns", {"s": {"answers|endswith": "edge.example.net", "rejected": "false"}}, "s"),
    "an executable by its type": ("http", {"s": {"resp_mime_types": "application/x-dosexec", "c-uri|contains": ".exe"}}, "s"),
    "a request without headers": ("http", {"s": {"status_code": 500, "uri": "/wsman", "method": "POST"}, "n": {"request_body_len": 0}}, "s and not n"),
    "uploads to outside": ("http", {"s": {"user_agent|contains": "Mozilla"}, "n": {"id.resp_h|cidr": "10.0.0.0/8"}}, "s and not n"),
    "a serial number": ("x509", {"s": {"certificate.serial": "8BB00EE"}}, "s"),
    "weak encryption of tickets": ("kerberos", {"s": {"request_type": "TGS", "cipher": "rc4-hmac"}, "n": {"service|startswith": "$"}}, "s and not n"),
    "from outside": ("rdp", {"n": {"id.orig_h|cidr": ["10.0.0.0/8", "fc00::/7"]}}, "not n"),
    "a share and a file": ("smb_files", {"s": {"path|contains|all": ["\\", "ADMIN$"], "name|contains": "SYSTEM32\\", "name|endswith": ".tmp"}}, "s"),
    "a pipe of a share": ("smb_files", {"s": {"path|endswith": "IPC$", "name": "atsvc"}}, "s"),
    "an operation": ("dce_rpc", {"s": {"endpoint": "spoolss", "operation": "RpcAddPrintProcessor"}}, "s"),
    "refused connections": ("conn", {"s": {"conn_state": "REJ", "id.resp_p": 22}}, "s"),
    "guessed passwords": ("notice", {"s": {"note": "SSH::Password_Guessing"}}, "s"),
}  # fmt: skip
"""Name -> service, detection, condition: as SigmaHQ's rules for Zeek name fields, each for one of the samples."""


def test_rules_for_each_log_find_their_event_and_those_of_no_other_log(
    server: Server, tmp_path: Path
) -> None:
    for number, (name, (service, detection, condition)) in enumerate(RULES.items()):
        rule = {
            "title": name,
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
            "logsource": {"product": "zeek", "service": service},
            "detection": {**detection, "condition": condition},
        }
        tests = [
            {
                "name": sample,
                "logs": {"dataset": "ids.zeek", "lines": list(SAMPLES[sample].lines)},
                "alerts": 1,
            }
            for sample in ("json", "columns")
        ]
        (tmp_path / f"{number}.yml").write_text(json.dumps(rule), encoding="utf-8")
        (tmp_path / f"{number}.test.yml").write_text(json.dumps({"tests": tests}), encoding="utf-8")
    assert all_pass(tmp_path, server.url) == 2 * len(RULES)
