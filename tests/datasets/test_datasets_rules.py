"""Rules find in raw lines what their log source says: the way from the line through the pipeline to the alert."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cli.command_line import rule_text
from testing.bench import outcomes, run, write_case

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.engine

MODSECURITY = (
    '2026/03/03 10:15:30 [error] 1#1: *17 [client 198.51.100.23] ModSecurity: {what} [file "x.conf"] [line "1"] '
    '[id "{id}"] [msg "SQL Injection"] [tag "attack-sqli"] [hostname "10.0.0.5"] [uri "/"] [unique_id "1"], '
    'client: 198.51.100.23, server: _, request: "GET / HTTP/1.1", host: "www.example.com"'
)
DENIED = "Access denied with code 403 (phase 2). Operator GE matched 5 at TX:anomaly_score."

CLOUDFLARE: dict[str, Any] = {
    "Action": "block", "ClientIP": "198.51.100.23", "ClientRequestHost": "shop.example.com", "ClientRequestMethod": "GET",
    "ClientRequestPath": "/login.php", "ClientRequestQuery": "?id=1 union select 1", "Datetime": 1772532930, "RayID": "1",
    "RuleID": "6179ae15", "Source": "firewallmanaged", "EdgeResponseStatus": 403,
}  # fmt: skip

CLOUD_ARMOR: dict[str, Any] = {
    "insertId": "1", "resource": {"type": "http_load_balancer", "labels": {}}, "timestamp": "2026-03-03T10:15:30Z",
    "httpRequest": {
        "requestMethod": "GET", "requestUrl": "https://shop.example.com/?id=1%20union%20select%201", "status": 403,
        "remoteIp": "198.51.100.23",
    },
    "jsonPayload": {
        "statusDetails": "denied_by_security_policy",
        "enforcedSecurityPolicy": {"name": "shop", "priority": 1000, "configuredAction": "DENY", "outcome": "DENY"},
    },
}  # fmt: skip

AWS_FIREWALL: dict[str, Any] = {
    "firewall_name": "egress", "availability_zone": "eu-central-1a", "event_timestamp": "1772532930",
    "event": {
        "timestamp": "2026-03-03T10:15:30.123456+0000", "event_type": "alert", "src_ip": "10.0.1.5", "src_port": 51234,
        "dest_ip": "203.0.113.80", "dest_port": 445, "proto": "TCP",
        "alert": {"action": "blocked", "signature_id": 1, "rev": 1, "signature": "SMB to the internet", "severity": 1},
    },
}  # fmt: skip

CASES: dict[str, tuple[str, str, str, str, str]] = {
    "a word of the message": (
        "waf.modsecurity", "product: modsecurity", "'*ModSecurity: Access denied*'",
        "ModSecurity: " + DENIED + ' [id "949110"]',
        "ModSecurity: Warning. Pattern match.",
    ),
    "what was denied": (
        "waf.modsecurity", "category: waf, product: modsecurity",
        "{event.action: denied, rule.id: '949110', source.ip|cidr: 198.51.100.0/24}",
        MODSECURITY.format(what=DENIED, id="949110"),
        MODSECURITY.format(what="Warning. Pattern match.", id="949110"),
    ),
    "what Cloudflare blocked": (
        "waf.cloudflare", "category: waf, product: cloudflare",
        "{event.type: denied, rule.id: 6179ae15, http.response.status_code: 403}",
        json.dumps(CLOUDFLARE), json.dumps({**CLOUDFLARE, "Action": "log"}),
    ),
    "an injection in a request to Cloudflare": (
        "waf.cloudflare", "category: webserver", "{cs-method: GET, cs-uri-query|contains: ' union select ', sc-status: 403}",
        json.dumps(CLOUDFLARE), json.dumps({**CLOUDFLARE, "ClientRequestQuery": "?id=1"}),
    ),
    "what Cloud Armor denied": (
        "lb.gcp", "category: waf, product: gcp", "{event.category: intrusion_detection, event.type: denied, rule.ruleset: shop}",
        json.dumps(CLOUD_ARMOR), json.dumps({**CLOUD_ARMOR, "jsonPayload": {"statusDetails": "response_sent_by_backend"}}),
    ),
    "an injection in a request to Google's load balancer": (
        "lb.gcp", "category: webserver", "{cs-method: GET, cs-uri-query|contains: '%20union%20select%20', sc-status: 403}",
        json.dumps(CLOUD_ARMOR), json.dumps({**CLOUD_ARMOR, "httpRequest": {"requestMethod": "GET", "status": 403}}),
    ),
    "what AWS Network Firewall denied": (
        "firewall.aws_network", "category: firewall", "{dst_port: 445, event.type: denied}",
        json.dumps(AWS_FIREWALL),
        json.dumps({**AWS_FIREWALL, "event": {**AWS_FIREWALL["event"], "alert": {"action": "allowed"}}}),
    ),
    "a member of Suricata's event in another envelope": (
        "firewall.aws_network", "product: suricata", "{suricata.eve.alert.signature|startswith: 'SMB to'}",
        json.dumps(AWS_FIREWALL), json.dumps({**AWS_FIREWALL, "event": {"event_type": "alert"}}),
    ),
    "a failed login to Connect Secure": (
        "auth.ivanti_connect_secure", "product: ivanti", "{event.action: vpn_login, event.outcome: failure, user.name: bob}",
        "2026-03-03 10:15:33 - ive - [203.0.113.66] bob(Users)[] - Login failed using auth server AD (LDAP Server).  Reason: Failed",
        "2026-03-03 10:15:32 - ive - [203.0.113.66] bob(Users)[] - Primary authentication failed for bob/AD from 203.0.113.66",
    ),
    "a crash of Apache's": (
        "web.apache", "service: apache", "'*exit signal Segmentation Fault*'",
        "[Fri Oct 10 13:55:48.123456 2025] [core:notice] [pid 1:tid 1] AH00052: child pid 4711 exit signal Segmentation fault (11)",
        "[Fri Oct 10 13:55:42.123456 2025] [core:notice] [pid 1:tid 1] AH00094: Command line: '/usr/sbin/apache2'",
    ),
    "a crash of nginx's": (
        "web.nginx", "service: nginx", "'*exited on signal 6 (core dumped)*'",
        "2025/10/10 13:55:45 [alert] 1#1: worker process 4711 exited on signal 6 (core dumped)",
        "2025/10/10 13:55:42 [notice] 1#1: signal process started",
    ),
}  # fmt: skip
"""What is found -> dataset, log source and selection of the rule, a line with a match, a line with none."""


def test_rules_find_what_lines_say(tmp_path: Path) -> None:
    for name, (dataset, logsource, selection, line, other) in CASES.items():
        tests = [
            {"name": "matches", "logs": {"dataset": dataset, "lines": [line]}, "alerts": 1},
            {"name": "does not", "logs": {"dataset": dataset, "lines": [other]}, "alerts": "none"},
        ]
        folder = tmp_path / name.replace(" ", "_")
        write_case(folder, json.dumps({"tests": tests}), r=rule_text(selection, logsource))
    found = outcomes(run(tmp_path))
    assert len(found) == 2 * len(CASES)
    assert {key: error for key, error in found.items() if error} == {}
