"""Lines that hold several events, one, or none: what `sigmawatch ingest` makes of them is what a shipper has to make."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sigmawatch.datasets import load_dataset
from sigmawatch.datasets.envelopes import records

DATASETS = Path(__file__).parents[2] / "ingest_pipelines"

_EVENT = {
    "eventVersion": "1.08",
    "eventName": "x",
    "text": 'a "b" \\ ] } é \u2028',
    "none": None,
    "list": [1, [2.5]],
}
_RULE = {"rule": "deny", "flows": [{"mac": "000D3AF8", "flowTuples": ["1,a,b", "2,c,d"]}]}
_NSG = {
    "time": "2026-03-01T10:00:00Z",
    "category": "x",
    "properties": {"Version": 2, "flows": [_RULE, _RULE]},
}
_GROUP = {"rule": "deny", "flowTuples": ["1,a,b", "2,c,d"]}
_VNET = {
    "time": "x",
    "flowRecords": {"flows": [{"aclID": "1", "flowGroups": [_GROUP, _GROUP]}]},
    "flowLogVersion": 4,
}

TEXTS: dict[str, tuple[str, str]] = {
    "Records": ("api.aws_cloudtrail", json.dumps({"Records": [_EVENT, _EVENT]})),
    "Records, laid out": (
        "api.aws_cloudtrail",
        f"\n {json.dumps({'Records': [_EVENT, {'eventName': 'y'}]}, indent=1)} ",
    ),
    "records": (
        "api.azure_activity",
        json.dumps({"records": [{"time": "x", "operationName": "é"}, {"time": "y"}]}),
    ),
    "events": (
        "api.okta",
        json.dumps({"events": [{"uuid": "1", "eventType": "a"}]}, ensure_ascii=False),
    ),
    "list": ("api.okta", json.dumps([{"uuid": "1"}, {"uuid": "2", "x": "[],{}\\"}])),
    "Findings": ("findings.aws_securityhub", json.dumps({"Findings": [{"Id": "1"}, {"Id": "2"}]})),
    "findings of EventBridge": (
        "findings.aws_securityhub",
        json.dumps({"version": "0", "detail": {"findings": [{"Id": "1"}, {"Id": "2"}]}, "source": "x"}),
    ),
    "one": ("api.aws_cloudtrail", json.dumps(_EVENT)),
    "Records is no list": ("api.aws_cloudtrail", json.dumps({"Records": {"a": 1}})),
    "empty Records": ("api.aws_cloudtrail", '{"Records": []}'),
    "empty list": ("api.okta", "[]"),
    "list of no objects": ("api.okta", '[1, "a", null, true, [3]]'),
    "list of lists": ("api.okta", '[[{"uuid": "1"}]]'),
    "Records of no objects": ("api.aws_cloudtrail", '{"Records": [1, "a", {"b": 1}]}'),
    "text": (
        "web.nginx",
        '198.51.100.23 - - [10/Oct/2025:13:55:36 +0000] "GET /{a} HTTP/1.1" 404 612 "-" "[x]"',
    ),
    "text in brackets": (
        "web.apache",
        "[Fri Oct 10 13:55:36.123 2025] [core:error] [pid 1] [client 198.51.100.9:1] AH1: x",
    ),
    "a single bracket": ("web.nginx", "{"),
    "Azure NSG": ("flow.azure_nsg", json.dumps({"records": [_NSG, _NSG]})),
    "Azure NSG, laid out": ("flow.azure_nsg", json.dumps({"records": [_NSG]}, indent=2)),
    "Azure NSG, a list": ("flow.azure_nsg", json.dumps([_NSG])),
    "Azure NSG, no tuples": (
        "flow.azure_nsg",
        json.dumps({"records": [{"time": "x", "properties": {"flows": []}}]}),
    ),
    "Azure NSG, a rule without": (
        "flow.azure_nsg",
        json.dumps({"records": [{"properties": {"flows": [_RULE, {"rule": "x", "flows": []}]}}]}),
    ),
    "Azure VNet": ("flow.azure_vnet", json.dumps({"records": [_VNET]})),
    "large numbers": (
        "api.aws_cloudtrail",
        '{"Records": [{"a": 9223372036854775807, "b": -0.5, "c": 1e3}]}',
    ),
}
"""Dataset and line, by what is special in it."""

HUGE = '{"Records": [{"a": 123456789012345678901234567890}]}'
"""Beyond 64 bits, where not every shipper counts exactly."""

WHOLE = {
    "cut": json.dumps({"Records": [_EVENT, _EVENT]})[:-9],
    "more behind": json.dumps({"Records": [_EVENT]}) + " x",
    "blank": "  ",
    "empty": "",
    "control characters": '{"Records": [{"a": "\x01"}]}',
    "too deep": '{"Records": [{"a": ' + "[" * 5000 + "]" * 5000 + "}]}",
    "deep and cut": '{"Records": [{"a": ' + "[" * 5000,
}
"""Damaged lines, which shippers pass on as they are; `sigmawatch ingest` saves what is whole in them."""


def split(dataset: str, text: str) -> list[str]:
    """Return the raw texts that `sigmawatch ingest` indexes for a line."""
    found = load_dataset(DATASETS / dataset)
    body = found.body
    made = records([text], found.envelope, body.json_keys, structured=body.is_json)
    return [record.text for record in made]


def value(text: str) -> Any:
    """Return what a text says: members of objects have no order, blanks between them no meaning."""
    try:
        return json.loads(text)
    except ValueError:
        return text
