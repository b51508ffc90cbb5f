"""Neither length nor shape of a value hides it: a compiled rule finds the event, on both engines."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets.dataset_server import ROOT
from sigmawatch.datasets import load_dataset
from testing.bench import all_pass

if TYPE_CHECKING:
    from datasets.dataset_server import Server

PAD = 25_000
"""Characters of padding: more than an index takes as one term."""


def nginx(path: str = "/", agent: str = "curl/8.5.0") -> str:
    return f'198.51.100.23 - - [10/Oct/2025:13:55:36 +0000] "GET {path} HTTP/1.1" 200 153 "-" "{agent}"'


def sshd(user: str) -> str:
    return f"<38>1 2026-03-01T10:00:00Z web1 sshd 2000 - - Failed password for invalid user {user} from 198.51.100.7 port 40000 ssh2"


def dns(name: Any) -> str:
    return json.dumps(
        {
            "version": "1.100000", "account_id": "111122223333", "region": "eu-central-1", "vpc_id": "vpc-1",
            "query_timestamp": "2026-03-01T10:00:00Z", "query_name": name, "query_type": "A", "query_class": "IN",
            "rcode": "NOERROR", "answers": [], "srcaddr": "10.0.1.5", "srcport": "56067", "transport": "UDP",
            "srcids": {"instance": "i-1"},
        }
    )  # fmt: skip


def cloudtrail(**changes: Any) -> str:
    event: dict[str, Any] = {
        "eventVersion": "1.08", "userIdentity": {"type": "IAMUser", "userName": "alice", "accountId": "111122223333"},
        "eventTime": "2026-03-01T10:01:00Z", "eventSource": "cloudtrail.amazonaws.com", "eventName": "StopLogging",
        "awsRegion": "eu-central-1", "sourceIPAddress": "203.0.113.17", "userAgent": "aws-cli/2.15.30",
        "requestParameters": {"name": "trail"}, "responseElements": None, "eventID": "e-1", "eventType": "AwsApiCall",
    }  # fmt: skip
    return json.dumps({**event, **changes})


def windows(command: Any) -> str:
    data = {
        "SubjectUserSid": "S-1-5-21-1-2-3-500", "SubjectUserName": "admin", "SubjectDomainName": "EXAMPLE",
        "SubjectLogonId": "0x5a1b2", "NewProcessId": "0x1a4", "NewProcessName": "C:\\Windows\\System32\\cmd.exe",
        "ProcessId": "0x2bc", "CommandLine": command,
    }  # fmt: skip
    return json.dumps(
        {
            "@timestamp": "2026-03-01T10:00:00.123Z",
            "winlog": {
                "channel": "Security", "computer_name": "dc1.example.com", "event_data": data, "event_id": "4688",
                "provider_name": "Microsoft-Windows-Security-Auditing", "record_id": 1006,
            },
        }
    )  # fmt: skip


CASES: dict[str, tuple[str, str, str, str]] = {
    # Longer than any term of an index.
    "long URL, in front": ("web.nginx", "url.original|contains", "/etc/passwd", nginx("/?a=../etc/passwd&b=" + "x" * PAD)),
    "long URL, behind": ("web.nginx", "url.original|endswith", "/etc/passwd", nginx(f"/?b={'x' * PAD}&a=../etc/passwd")),
    "long query": ("web.nginx", "url.query|contains", "union select", nginx(f"/?b={'x' * PAD}union select{'y' * PAD}")),
    "long user agent": ("web.nginx", "user_agent.original|contains", "sqlmap", nginx(agent=f"{'a ' * PAD}sqlmap{' b' * PAD}")),
    "long command line": ("auth.windows_security", "process.command_line|contains", "mimikatz", windows(f"cmd /c {' ' * PAD}mimikatz{'^' * PAD}")),
    "long DNS name": ("dns.aws_route53_resolver", "dns.question.name|endswith", ".evil.example", dns(f"{'a' * 63}." * 400 + "evil.example.")),
    "long user name": ("auth.sshd", "user.name|contains", "backdoor", sshd("x" * PAD + "backdoor" + "y" * PAD)),
    # A list where there is usually one value.
    "list of actions": ("api.aws_cloudtrail", "event.action", "StopLogging", cloudtrail(eventName=["Describe", "StopLogging"])),
    "list of user agents": ("api.aws_cloudtrail", "user_agent.original|contains", "kali", cloudtrail(userAgent=["aws-cli", "x kali y"])),
    "list of command lines": ("auth.windows_security", "process.command_line|contains", "mimikatz", windows(["cmd", "mimikatz.exe"])),
    "list of DNS names": ("dns.aws_route53_resolver", "dns.question.name|endswith", ".evil.example", dns(["a.example.", "b.evil.example."])),
    # Texts that look like others: who names them in a rule finds them, and their surroundings do not matter.
    "combining": ("auth.sshd", "user.name|contains", "dmi\u0301n", sshd("admi\u0301n")),
    "full width": ("auth.sshd", "user.name", "ａｄｍｉｎ", sshd("ａｄｍｉｎ")),
    "right to left": ("web.nginx", "url.original|contains", "gnp.exe", nginx("/a\u202egnp.exe")),
    "zero width": ("auth.sshd", "user.name|startswith", "ad", sshd("ad\u200bmin")),
    "zero width, named": ("auth.sshd", "user.name", "ad\u200bmin", sshd("ad\u200bmin")),
    "beyond the first plane": ("auth.sshd", "user.name|contains", "🦊", sshd("x🦊y")),
    "beyond it, and long": ("auth.sshd", "user.name|endswith", "🦊root", sshd("🦊" * PAD + "root")),
    # Windows, DNS, and Sigma do not tell small letters from capitals.
    "mixed case in a URL": ("web.nginx", "url.original|contains", "/etc/passwd", nginx("/EtC/PaSsWd")),
    "mixed case in a user agent": ("web.nginx", "user_agent.original|contains", "SqlMap", nginx(agent="x SQLmAP y")),
    "mixed case in a command line": ("auth.windows_security", "process.command_line|contains", "mimikatz", windows("MiMiKaTz.exe")),
    "mixed case in a DNS name": ("dns.aws_route53_resolver", "dns.question.name|endswith", ".Evil.example", dns("a.eViL.eXample.")),
    "mixed case in a user name": ("auth.sshd", "user.name", "root", sshd("RoOt")),
    "mixed case beyond ASCII": ("auth.sshd", "user.name", "öde", sshd("ÖDE")),
}  # fmt: skip
"""What is hidden how -> dataset, field with its modifier, what the rule looks for, line."""


def test_rules_find_what_somebody_tried_to_hide(server: Server, tmp_path: Path) -> None:
    for name, (dataset, item, wanted, line) in CASES.items():
        rule = {
            "title": name,
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
            "logsource": dict(load_dataset(ROOT / dataset).logsources[0]),
            "detection": {"selection": {item: wanted}, "condition": "selection"},
        }
        file = name.replace(" ", "-")
        # JSON is YAML. The neighbour of the line has none of it, so that a rule that finds everything fails.
        (tmp_path / f"{file}.yml").write_text(json.dumps(rule, ensure_ascii=False), encoding="utf-8")
        tests = [{"name": name, "logs": {"dataset": dataset, "lines": [line]}, "alerts": 1}]
        absent = {**tests[0], "name": f"not {name}", "alerts": "none"}
        absent["logs"] = {"dataset": dataset, "lines": [PLAIN[dataset]]}
        (tmp_path / f"{file}.test.yml").write_text(
            json.dumps({"tests": [*tests, absent]}, ensure_ascii=False), encoding="utf-8"
        )
    assert all_pass(tmp_path, server.url) == 2 * len(CASES)


PLAIN = {
    "web.nginx": nginx(),
    "auth.sshd": sshd("alice"),
    "dns.aws_route53_resolver": dns("www.example.com."),
    "api.aws_cloudtrail": cloudtrail(eventName="ListBuckets"),
    "auth.windows_security": windows("whoami"),
}
