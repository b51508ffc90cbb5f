"""What Vector, Logstash and Fluent Bit make of a line that holds several events is what `sigmawatch ingest` makes of it.

Run by the languages that the shippers themselves use:
    Vector      VRL: cargo install vrl --version 0.38.0
    Logstash    JRuby and Apache Kafka: mvn -f scripts/shippers/tests/pom.xml dependency:copy-dependencies
                -DoutputDirectory=FOLDER, and SHIPPER_JARS=FOLDER; its configuration with lscl of requirements.txt
    Fluent Bit  LuaJIT: apt-get install luajit
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from datasets.shipper_lines import HUGE, TEXTS, WHOLE, split, value

HERE = Path(__file__).parent
SHIPPERS = HERE.parent
LINES = {**TEXTS, **{name: ("api.aws_cloudtrail", line) for name, line in WHOLE.items()}}


def run(program: str, *arguments: str | Path, given: str) -> str:
    """Return what a program makes of standard input."""
    found = shutil.which(program)
    assert found, f"no {program}: what the tests need stands at their beginning"
    done = subprocess.run([found, *arguments], input=given, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, ""), done.stderr
    return done.stdout


def vrl(program: str, *events: dict[str, Any]) -> list[Any]:
    given = "\n".join(map(json.dumps, events))
    made = run("vrl", "--print-object", "--print-warnings", program, given=given)
    # It prints control characters as they are.
    return [json.loads(line, strict=False) for line in made.rstrip("\n").split("\n")]


def jars() -> Path:
    folder = Path(os.environ.get("SHIPPER_JARS", "nowhere"))
    assert folder.is_dir(), "SHIPPER_JARS names no folder: what the tests need stands at their beginning"
    return folder


def vector(lines: list[tuple[str, str]]) -> list[list[str]]:
    program = (SHIPPERS / "vector" / "records.vrl").read_text(encoding="utf-8")
    events = vrl(program, *({"message": line, "dataset": dataset} for dataset, line in lines))
    for (dataset, _), made in zip(lines, events, strict=True):
        assert {event["data_stream"]["dataset"] for event in made} == {dataset}
    return [[event["message"] for event in made] for made in events]


def logstash(lines: list[tuple[str, str]]) -> list[list[str]]:
    jruby = next(jars().glob("jruby-complete-*.jar"))
    given = "\n".join(json.dumps([line]) for _, line in lines)
    script = SHIPPERS / "logstash" / "split_records.rb"
    made = run("java", "-jar", jruby, HERE / "parts.rb", script, given=given)
    return [json.loads(line) for line in made.rstrip("\n").split("\n")]


def fluent_bit(lines: list[tuple[str, str]]) -> list[list[str]]:
    given = "".join(f"{dataset} {line.encode().hex()}\n" for dataset, line in lines)
    made = run("luajit", HERE / "parts.lua", SHIPPERS / "fluent-bit" / "records.lua", given=given)
    found = []
    numbers = set()
    for (dataset, _), line in zip(lines, made.split("\n"), strict=False):
        records = [record.split(":") for record in line.split()]
        assert {record[0] for record in records} == {dataset}
        numbers |= {record[2] for record in records}
        found.append([bytes.fromhex(record[1]).decode() for record in records])
    assert len(numbers) == sum(map(len, found)), "ids are made of records: equal lines must differ"
    return found


SHIPPER = pytest.mark.parametrize(
    "shipper", [vector, logstash, fluent_bit], ids=lambda shipper: shipper.__name__
)


@SHIPPER
def test_events_are_parted_as_by_ingest(shipper: Any) -> None:
    made = shipper(list(TEXTS.values()))
    for (name, (dataset, line)), found in zip(TEXTS.items(), made, strict=True):
        assert list(map(value, found)) == list(map(value, split(dataset, line))), name


@SHIPPER
def test_damaged_lines_are_passed_on(shipper: Any) -> None:
    made = shipper([("web.nginx", line) for line in WHOLE.values()])
    for (name, line), found in zip(WHOLE.items(), made, strict=True):
        # Fluent Bit's filter reads no JSON: it also parts what is wrong within an event.
        if shipper is fluent_bit and name in {"control characters", "too deep"}:
            assert len(found) == 1
            assert found[0] in line
        else:
            assert found == [line], name


@pytest.mark.parametrize("shipper", [logstash, fluent_bit], ids=lambda shipper: shipper.__name__)
def test_numbers_of_any_size_stay_exact(shipper: Any) -> None:
    assert list(map(value, shipper([("api.aws_cloudtrail", HUGE)])[0])) == [
        {"a": 123456789012345678901234567890}
    ]


def test_vector_says_which_dataset() -> None:
    transforms = yaml.safe_load((SHIPPERS / "vector" / "vector.yaml").read_text(encoding="utf-8"))[
        "transforms"
    ]
    programs = {name: step["source"] for name, step in transforms.items() if "source" in step}
    message = {"message": "x"}
    assert {name: vrl(program, message)[0]["dataset"] for name, program in programs.items()} == {
        "web": "web.nginx", "logins": "auth.linux", "devices": "firewall.paloalto", "flows": "flow.aws_vpc",
        "trail": "api.aws_cloudtrail", "topics": None,
    }  # fmt: skip
    topics: list[dict[str, Any]] = [
        {"topic": "IDS", "headers": {}},
        {"topic": "IDS", "headers": {"dataset": ["dns.bind"]}},
        {"topic": "x"},
    ]
    found = [event["dataset"] for event in vrl(programs["topics"], *topics)]
    assert found == ["ids.suricata", "dns.bind", None]


def test_vector_files_only_under_names_of_datasets() -> None:
    program = (SHIPPERS / "vector" / "records.vrl").read_text(encoding="utf-8")
    names = ["web.nginx", "Web.Nginx", "web.nginx-x", "../x", "", None]
    made = vrl(program, *({"message": "x", "dataset": name} for name in names))
    assert [event[0]["data_stream"]["dataset"] for event in made] == ["web.nginx", *["unknown.log"] * 5]


def test_vector_makes_ids_of_the_place() -> None:
    program = (SHIPPERS / "vector" / "records.vrl").read_text(encoding="utf-8")
    line = {"message": '[{"a": 1}, {"a": 1}]', "dataset": "web.nginx"}
    file = {**line, "host": "web1", "file": "/var/log/x.log", "timestamp": "2026-03-01T10:00:00Z"}
    kafka = {**line, "topic": "IDS", "partition": 0}
    made = vrl(
        program,
        {**file, "offset": 0},
        {**file, "offset": 9},
        {**kafka, "offset": 0},
        {**kafka, "offset": 1},
        line,
    )
    ids = [event["id"] for events in made[:4] for event in events]
    assert len(set(ids)) == 8
    assert ids[:2] == [event["id"] for event in vrl(program, {**file, "offset": 0})[0]]
    assert made[0][0]["host"] == {"name": "web1"}
    assert made[0][0]["log"] == {"file": {"path": "/var/log/x.log"}}
    assert "id" not in made[4][0]


SSHD = [
    "Mar  1 10:00:00 web1 sshd[1]: x",
    "Mar 11 10:00:00 web1 sshd: x",
    "2026-03-01T10:00:00.123+01:00 web1 sshd-session[1]: x",
    "2026-03-01T10:00:00Z web1 sshd-auth[1]: x",
]
OTHERS = [
    "Mar  1 10:00:00 web1 sudo: alice : COMMAND=/bin/echo web1 sshd[1]: x",
    "Mar  1 10:00:00 web1 sshdx[1]: x",
    "2026-03-01T10:00:00Z web1 su[1]: sshd[1]: x",
    "sshd[1]: x",
]


def test_lines_of_sshd_are_told_by_their_header() -> None:
    transforms = yaml.safe_load((SHIPPERS / "vector" / "vector.yaml").read_text(encoding="utf-8"))[
        "transforms"
    ]
    inputs = yaml.safe_load((SHIPPERS / "filebeat" / "filebeat.yml").read_text(encoding="utf-8"))[
        "filebeat.inputs"
    ]
    patterns = {
        pattern
        for one in inputs
        for pattern in (*one.get("include_lines", ()), *one.get("exclude_lines", ()))
    }
    assert len(patterns) == 1
    wanted = ["auth.sshd"] * len(SSHD) + ["auth.linux"] * len(OTHERS)
    lines = SSHD + OTHERS
    events = vrl(transforms["logins"]["source"], *({"message": line} for line in lines))
    assert [event["dataset"] for event in events] == wanted
    assert [
        "auth.sshd" if re.search(next(iter(patterns)), line) else "auth.linux" for line in lines
    ] == wanted
    given = "".join(f"auth.linux {line.encode().hex()}\n" for line in lines)
    made = run("luajit", HERE / "parts.lua", SHIPPERS / "fluent-bit" / "records.lua", given=given)
    assert [line.split(":")[0] for line in made.splitlines()] == wanted


def test_logstash_configuration_is_of_its_language() -> None:
    from lscl.lang import LsclBlock
    from lscl.parser import parse_lscl

    sections = parse_lscl((SHIPPERS / "logstash" / "sigmawatch.conf").read_text(encoding="utf-8"))
    plugins = {section.name: [one.name for one in section.content] for section in sections}
    assert plugins == {
        "input": ["kafka"] * 5 + ["file", "udp", "s3"], "filter": ["ruby", "mutate"], "output": ["elasticsearch"],
    }  # fmt: skip
    assert all(isinstance(one, LsclBlock) for section in sections for one in section.content)
