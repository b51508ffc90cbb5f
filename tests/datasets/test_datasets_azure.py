"""Azure: rules find what the logs say in each of the forms that they come in, and records of many events lose none."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from datasets.dataset_server import ROOT
from sigmawatch.datasets import build_pipeline, load_dataset
from sigmawatch.datasets.pipeline import without_hook
from testing.bench import all_pass

if TYPE_CHECKING:
    from datasets.dataset_server import Server

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-1/providers/Microsoft.Network"
TIME = "2026-03-01T10:00:00.1234567Z"


def nsg(*tuples: str) -> str:
    record = {
        "time": TIME, "category": "NetworkSecurityGroupFlowEvent",
        "resourceId": f"{GROUP}/networkSecurityGroups/nsg-1".upper(),
        "properties": {
            "Version": 2,
            "flows": [{"rule": "UserRule_1", "flows": [{"mac": "000D3AF8801A", "flowTuples": tuples}]}],
        },
    }  # fmt: skip
    return json.dumps({"records": [record]})


def vnet(*tuples: str) -> str:
    flows = [{"aclID": "a", "flowGroups": [{"rule": "UserRule_1", "flowTuples": tuples}]}]
    record = {
        "time": TIME, "flowLogVersion": 4, "macAddress": "000D3AF8801A", "category": "FlowLogFlowEvent",
        "targetResourceID": f"{GROUP}/virtualNetworks/vnet-1", "flowRecords": {"flows": flows},
    }  # fmt: skip
    return json.dumps({"records": [record]})


def record(category: str, resource: str = "azureFirewalls/fw-1", **properties: Any) -> str:
    head = {"time": TIME, "category": category, "resourceId": f"{GROUP}/{resource}".upper()}
    return json.dumps({**head, "properties": properties})


def row(table: str, resource: str = "azureFirewalls/fw-1", **columns: Any) -> str:
    """The same as Log Analytics exports it."""
    head = {"TimeGenerated": TIME, "Type": table, "_ResourceId": f"{GROUP}/{resource}".lower()}
    return json.dumps({**head, **columns})


def firewall_text(text: str) -> str:
    return record("AzureFirewallApplicationRule", msg=text)


SSH: dict[str, Any] = {
    "Protocol": "TCP",
    "SourceIp": "198.51.100.7",
    "SourcePort": 4001,
    "DestinationIp": "10.0.0.4",
    "DestinationPort": 22,
}
QUERY: dict[str, Any] = {
    "SourceIp": "10.0.0.4",
    "SourcePort": 5353,
    "QueryType": "TXT",
    "QueryName": "x.C2.example.",
    "Protocol": "udp",
}
LOUD = {"query|endswith": ".c2.example", "record_type": "TXT"}
GATEWAY = "applicationGateways/gw-1"
TRAVERSAL = {"cs-uri-query|contains": "../../etc/passwd", "sc-status": 200}
FIREWALL = {"category": "firewall"}
DENIED_SSH = {"dst_port": 22, "action": "deny", "src_ip|cidr": "198.51.100.0/24"}

CASES: dict[str, tuple[str, dict[str, str], dict[str, Any], str, str]] = {
    "denied by a group": (
        "flow.azure_nsg", FIREWALL, DENIED_SSH,
        nsg("1772359200,198.51.100.7,10.0.0.4,4000,443,T,I,A,B,,,,", "1772359200,198.51.100.7,10.0.0.4,4001,22,T,I,D,B,,,,"),
        nsg("1772359200,198.51.100.7,10.0.0.4,4001,22,T,I,A,B,,,,", "1772359200,198.51.100.7,10.0.0.4,4001,23,T,I,D,B,,,,"),
    ),
    "denied by a group, version 1": (
        "flow.azure_nsg", FIREWALL, DENIED_SSH,
        nsg("1772359200,198.51.100.7,10.0.0.4,4001,22,T,I,D"), nsg("1772359200,10.0.0.4,198.51.100.7,22,4001,T,O,A"),
    ),
    "denied in a virtual network": (
        "flow.azure_vnet", FIREWALL, DENIED_SSH,
        vnet("1772359200000,198.51.100.7,10.0.0.4,4001,22,6,I,D,NX,,,,"),
        vnet("1772359200000,198.51.100.7,10.0.0.4,4001,22,6,I,B,NX,,,,"),
    ),
    "much traffic out": (
        "flow.azure_vnet", {"category": "network", "service": "connection"},
        {"network.bytes|gt": 1000000, "network.direction": "outbound"},
        vnet("1772359200000,10.0.0.4,198.51.100.7,4001,443,6,O,E,NX,900,900000,100,100001"),
        vnet("1772359200000,10.0.0.4,198.51.100.7,4001,443,6,O,E,NX,900,900000,100,100000"),
    ),
    "denied by a firewall": (
        "firewall.azure", FIREWALL, DENIED_SSH,
        record("AZFWNetworkRule", **SSH, Action="Deny"), record("AZFWNetworkRule", **SSH, Action="Allow"),
    ),
    "denied by a firewall, exported": (
        "firewall.azure", FIREWALL, DENIED_SSH,
        row("AZFWNetworkRule", **SSH, Action="Deny"), row("AZFWNetworkRule", **SSH, Action="Allow"),
    ),
    "denied by a firewall, text": (
        "firewall.azure", FIREWALL, DENIED_SSH,
        firewall_text("TCP request from 198.51.100.7:4001 to 10.0.0.4:22. Action: Deny.. Rule Collection: a. Rule: b"),
        firewall_text("TCP request from 198.51.100.7:4001 to 10.0.0.4:22. Action: Allow.. Rule Collection: a. Rule: Deny"),
    ),
    "denied, whatever the URL says": (
        "firewall.azure", FIREWALL, {"action": "deny", "rule": "block"},
        firewall_text("HTTP request from 10.0.0.4:1 to a.example:80. Url: a.example/. Action: Allow. Rule: ok. Action: Deny. Rule: block"),
        firewall_text("HTTP request from 10.0.0.4:1 to a.example:80. Url: a.example/. Action: Deny. Rule: block. Action: Allow. Rule: ok"),
    ),
    "translated to the inside": (
        "firewall.azure", FIREWALL, {"action": "dnat", "network.direction": "inbound"},
        record("AZFWNatRule", **{**SSH, "DestinationIp": "203.0.113.10"}, TranslatedIp="10.0.0.4", TranslatedPort=22),
        record("AZFWNatRule", **{**SSH, "DestinationIp": "203.0.113.10"}, TranslatedIp="203.0.113.11", TranslatedPort=22),
    ),
    "resolved by a firewall": (
        "firewall.azure", {"category": "dns"}, LOUD,
        record("AZFWDnsQuery", **QUERY), record("AZFWDnsQuery", **{**QUERY, "QueryType": "A"}),
    ),
    "resolved by a firewall, text": (
        "firewall.azure", {"category": "dns"}, LOUD,
        record("AzureFirewallDnsProxy", msg="DNS Request: 10.0.0.4:5 - 6 TXT IN a.c2.example. udp 43 false 512 NOERROR qr,rd 145 0.002s"),
        record("AzureFirewallDnsProxy", msg="DNS Request: 10.0.0.4:5 - 6 TXT IN c2.example.org. udp 43 false 512 NOERROR qr,rd 145 0.002s"),
    ),
    "resolved in a virtual network": (
        "dns.azure", {"category": "dns"}, {**LOUD, "src_ip": "10.0.0.4"},
        record("DnsResponse", query_name="x.C2.example.", query_type="TXT", srcipaddr="10.0.0.4", response_code=0),
        record("DnsResponse", query_name="C2.example.", query_type="TXT", srcipaddr="10.0.0.4", response_code=0),
    ),
    "resolved in a virtual network, exported": (
        "dns.azure", {"category": "dns"}, {"answer": "192.0.2.66", "response_code": "NOERROR"},
        row("DNSQueryLogs", QueryName="x.", ResponseCode=0, Answer='[{"Type":"A","RData":"192.0.2.66"}]'),
        row("DNSQueryLogs", QueryName="x.", ResponseCode=3, Answer='[{"Type":"A","RData":"192.0.2.66"}]'),
    ),
    "traversal through a gateway": (
        "lb.azure_appgw", {"category": "webserver"}, TRAVERSAL,
        record("ApplicationGatewayAccessLog", GATEWAY, requestUri="/x", originalRequestUriWithArgs="/../../etc/passwd", httpStatus=200),
        record("ApplicationGatewayAccessLog", GATEWAY, requestUri="/../../etc/passwd", httpStatus=404),
    ),
    "traversal through a gateway, exported": (
        "lb.azure_appgw", {"category": "webserver"}, TRAVERSAL,
        row("AGWAccessLogs", GATEWAY, OriginalRequestUriWithArgs="/a?b=../../etc/passwd", HttpStatus=200),
        row("AGWAccessLogs", GATEWAY, OriginalRequestUriWithArgs="/a?b=/etc/hosts", HttpStatus=200),
    ),
    "traversal through a gateway of version 1": (
        "lb.azure_appgw", {"category": "webserver"}, TRAVERSAL,
        record("ApplicationGatewayAccessLog", GATEWAY, requestUri="/a", requestQuery="b=../../etc/passwd", httpStatus=200),
        record("ApplicationGatewayAccessLog", GATEWAY, requestUri="/a", requestQuery="b=1", httpStatus=200),
    ),
    "traversal through Front Door": (
        "lb.azure_frontdoor", {"category": "webserver"}, TRAVERSAL,
        record("FrontDoorAccessLog", "frontDoors/f", requestUri="https://a.example:443/?b=../../etc/passwd", httpStatusCode="200"),
        record("FrontDoorAccessLog", "frontDoors/f", requestUri="https://a.example:443/?b=1", httpStatusCode="200"),
    ),
    "who connected, whatever the header says": (
        "lb.azure_frontdoor", {"category": "webserver"}, {"c-ip": "198.51.100.66"},
        record("FrontDoorAccessLog", "frontDoors/f", clientIp="192.0.2.1", socketIp="198.51.100.66", requestUri="https://a.example/"),
        record("FrontDoorAccessLog", "frontDoors/f", clientIp="198.51.100.66", socketIp="192.0.2.1", requestUri="https://a.example/"),
    ),
    "blocked by a gateway's WAF": (
        "waf.azure", {"category": "waf"}, {"rule_id": "942100", "action": "block"},
        record("ApplicationGatewayFirewallLog", GATEWAY, ruleId="942100", action="Blocked", requestUri="/"),
        record("ApplicationGatewayFirewallLog", GATEWAY, ruleId="942100", action="Detected", requestUri="/"),
    ),
    "blocked by a gateway's WAF, exported": (
        "waf.azure", {"category": "waf"}, {"rule_id": "942100", "action": "block"},
        row("AGWFirewallLogs", GATEWAY, RuleId="942100", Action="Blocked", RequestUri="/"),
        row("AGWFirewallLogs", GATEWAY, RuleId="942100", Action="Matched", RequestUri="/"),
    ),
    "blocked at Front Door": (
        "waf.azure", {"category": "waf"}, {"rule_id": "942100", "action": "block"},
        record("FrontDoorWebApplicationFirewallLog", "f/f", ruleName="Microsoft_DefaultRuleSet-1.1-SQLI-942100", action="Block"),
        # in a mode that stops nothing
        record(
            "FrontDoorWebApplicationFirewallLog", "f/f", ruleName="Microsoft_DefaultRuleSet-1.1-SQLI-942100", action="Block",
            policyMode="detection",
        ),
    ),
}  # fmt: skip
"""What is found -> dataset, logsource and selection of the rule, an event with exactly one match, one with none."""


def test_rules_find_events_in_every_form(server: Server, tmp_path: Path) -> None:
    for name, (dataset, logsource, selection, line, other) in CASES.items():
        rule = {
            "title": name,
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
            "logsource": logsource,
            "detection": {"selection": selection, "condition": "selection"},
        }
        file = name.replace(" ", "-").replace(",", "").replace("'", "")
        (tmp_path / f"{file}.yml").write_text(json.dumps(rule), encoding="utf-8")
        tests = [
            {"name": name, "logs": {"dataset": dataset, "lines": [line]}, "alerts": 1},
            {"name": f"not {name}", "logs": {"dataset": dataset, "lines": [other]}, "alerts": "none"},
        ]
        (tmp_path / f"{file}.test.yml").write_text(json.dumps({"tests": tests}), encoding="utf-8")
    assert all_pass(tmp_path, server.url) == 2 * len(CASES)


@pytest.mark.parametrize(
    ("name", "blob"),
    [
        ("flow.azure_nsg", nsg("1772359200,192.0.2.1,10.0.0.4,1,22,T,I,D", "1772359200,192.0.2.1,10.0.0.4,2,22,T,I,D")),
        (
            "flow.azure_vnet",
            vnet("1772359200000,192.0.2.1,10.0.0.4,1,2,6,I,D,NX,,,,", "1772359200000,192.0.2.1,10.0.0.4,2,2,6,I,D,NX,,,,"),
        ),
    ],
)  # fmt: skip
def test_flow_tuples_that_nobody_parted_are_not_taken_for_one(server: Server, name: str, blob: str) -> None:
    dataset = load_dataset(ROOT / name)
    line = json.dumps(json.loads(blob)["records"][0])
    (result,) = server.simulate(without_hook(build_pipeline(dataset)), [{"_source": {"message": line}}])
    document = result["doc"]["_source"]
    assert document["event"]["kind"] == "pipeline_error"
    assert document["event"]["original"] == line
    assert "2 events in one line" in document["error"]["message"][0]
    assert len(list(dataset.documents([blob]))) == 2
