"""Columns in all their shapes, access logs in the formats that servers are configured with, and times as they are written."""

from __future__ import annotations

import csv
import io
import random
from typing import TYPE_CHECKING, Any

import pytest

from datasets.dataset_server import ROOT, Server
from datasets.small_dataset import HEAD, write
from sigmawatch.datasets import build_pipeline, load_dataset
from sigmawatch.datasets.check import simulated
from sigmawatch.datasets.parsers.access_log import parse_format
from sigmawatch.datasets.script import Script
from sigmawatch.datasets.times import format_fault
from sigmawatch.errors import ContentError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from sigmawatch.datasets import Dataset

COLUMNS = (
    HEAD
    + """\
set: {event.category: [network], event.type: [connection]}
fields:
  user: user.name
  port: {to: source.port, type: port}
  reason: event.reason
parse:
  - columns:
      null_values: ["-"]
"""
)
FIELDS = "ecs: [user.name, source.port]\nown: {}\n"


def dataset_of(tmp_path: Path, settings: str) -> Dataset:
    """Return a dataset with the columns user, port and reason, read as the settings say."""
    lines = "".join(f"      {line}\n" for line in settings.splitlines())
    return load_dataset(write(tmp_path, COLUMNS + lines, FIELDS))


def values(document: dict[str, Any] | None) -> list[Any]:
    assert document is not None
    if document["event"]["kind"] == "pipeline_error":
        return [document["error"]["message"][0]]
    found = [document.get("user", {}).get("name"), document.get("source", {}).get("port")]
    return [*found, document["event"].get("reason"), *document.get("error", {}).get("message", ())]


def read(server: Server, dataset: Dataset, lines: list[str], **options: Any) -> list[list[Any]]:
    return [values(document) for document in simulated(server.simulate, dataset, lines, options=options)]


TABLE = (
    "columns: 2 columns, as no known format has; declare theirs with the option format or the field _format"
)


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        (
            "quotes: backslash\nbrackets: true",
            {
                'a 1 "b c"': ["a", 1, "b c"],
                'a  1\t"b \\"c\\" d"': ["a", 1, 'b \\"c\\" d'],
                'a 1 "b \\\\"': ["a", 1, "b \\\\"],
                'a 1 "b"c d"': ["a", 1, 'b"c d'],
                '[a b] 1 ""': ["a b", 1, None],
                "[a b 1 c": ["columns: 4 columns, as no known format has; declare theirs with the option format or the "
                             "field _format"],
                'a 1 "cut of': ["a", 1, "cut of"],
                'a "cut of': ["a", None, None, "port: no port"],
            },
        ),
        (
            "separator: comma\nquotes: doubled",
            {
                'a,1,"b,""c"""': ["a", 1, 'b,"c"'],
                '"",1,': [None, 1, None],
                '"C:\\",1,x': ["C:\\", 1, "x"],
                "a,1": [TABLE],
                "a b,1,c\td": ["a b", 1, "c\td"],
            },
        ),
        ("separator: tab", {"a b\t1\t": [TABLE], "a b\t1\tc d": ["a b", 1, "c d"], "\u00e4\t-\t-": ["\u00e4", None, None]}),
        ("separator: pipe", {"a|1|b c": ["a", 1, "b c"], "|1|": [None, 1, None]}),
        ("tail: true", {"a 1 b": ["a", 1, "b"], "a 1 b c d": ["a", 1, "b"], "a 1": [TABLE]}),
    ],
)  # fmt: skip
def test_shapes_of_columns(
    server: Server, tmp_path: Path, settings: str, lines: dict[str, list[Any]]
) -> None:
    dataset = dataset_of(tmp_path, f"formats: [user port reason]\n{settings}")
    assert dict(zip(lines, read(server, dataset, list(lines)), strict=True)) == lines


def test_comma_separated_values_are_those_that_python_reads(server: Server) -> None:
    pick = random.Random(9)
    script = Script().text("ctx.put('out', splitColumns(ctx.get('in'), ',', '\"', false));")
    rows = [
        [
            "".join(pick.choice('a,b" é') for _ in range(pick.randrange(6)))
            for _ in range(pick.randrange(2, 9))
        ]
        for _ in range(800)
    ]
    texts = []
    for row in rows:
        out = io.StringIO()
        csv.writer(out, lineterminator="").writerow(row)
        texts.append(out.getvalue())
    found = server.run(script, [{"in": text} for text in texts])
    assert [document["out"] for document in found] == rows


def test_columns_by_the_value_of_a_column(server: Server, tmp_path: Path) -> None:
    dataset = dataset_of(
        tmp_path,
        "formats: [kind user]\n"
        "by:\n"
        "  - {column: kind, then: {a: port how, b: reason port how}}\n"
        "  - {column: how, then: {x: reason}, otherwise: none}",
    )
    lines = {
        "a me 1 x why": ["me", 1, "why"],
        "a me 1 y why": ["me", 1, None],
        "b me why 1 y z": ["me", 1, "why"],
        "c me 1 x why": ["columns: no columns are known for kind c"],
        "a me": ["columns: 2 columns, but the declared format has 5"],
        "a me 1 y why more": ["columns: 6 columns, but the declared format has 5"],
    }
    assert dict(zip(lines, read(server, dataset, list(lines)), strict=True)) == lines


def test_a_directive_declares_the_columns_of_the_lines_after_it(server: Server, tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path, 'formats: [user port reason]\ndirective: "#Fields:"')
    lines = [
        "a 1 b",
        "#Version: 1.0",
        "#Fields: port other user",
        "2 x c",
        "#Date: today",
        "3 y d",
        "# Fields: a b",
    ]
    found = simulated(server.simulate, dataset, lines)
    assert [document and values(document) for document in found] == [
        ["a", 1, "b"], None, None, ["c", 2, None], None, ["d", 3, None], None,
    ]  # fmt: skip
    zeek = dataset_of(
        tmp_path / "zeek", 'separator: tab\ndirective: "#fields"\nformats: []\nknown: [user, port, reason]'
    )
    lines = [
        "#separator \\x09",
        "#fields\tport\tid.orig_h\tuser",
        "#types\tport\taddr\tstring",
        "7\t10.0.0.1\ta b",
    ]
    found = simulated(server.simulate, zeek, lines)
    assert [document and values(document) for document in found] == [None, None, None, ["a b", 7, None]]


@pytest.mark.parametrize(
    ("settings", "line", "message"),
    [
        ("separator: dots", 14, "separator: 'dots' is unknown"),
        ("quotes: single", 14, "quotes: 'single' is unknown"),
        ('directive: "Fields:"', 14, "a directive begins with #"),
        ("tail: maybe", 14, "tail: expected true or false"),
        ("by: [{column: nobody, then: {a: b}}]", 14, "there is no column 'nobody'"),
        ("by: [{column: user}]", 14, "'then' is missing"),
    ],
)
def test_a_broken_setting_is_told_with_its_line(
    tmp_path: Path, settings: str, line: int, message: str
) -> None:
    with pytest.raises(ContentError) as caught:
        dataset_of(tmp_path, f"{settings}\nformats: [user port reason]")
    told = [(problem.line, problem.message) for problem in caught.value.problems]
    assert any(at == line and message in text for at, text in told), told


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ("{to: user.name, type: time, formats: [yyyy-MM]}", "'d' is missing"),
        ("{to: user.name, type: time}", "needs 'formats'"),
        ("{to: user.name, decode: base64}", "decode: 'base64' is unknown"),
        ("{to: user.name, join: nobody}", "no parser finds a raw value 'nobody'"),
        ("{to: user.name, unless_in: {nobody: x}}", "no parser finds a raw value 'nobody'"),
    ],
)
def test_a_broken_mapping_is_told_with_its_line(tmp_path: Path, mapping: str, message: str) -> None:
    description = (
        COLUMNS.replace("user: user.name", f"user: {mapping}") + "      formats: [user port reason]\n"
    )
    with pytest.raises(ContentError) as caught:
        load_dataset(write(tmp_path, description, FIELDS))
    told = [(problem.line, problem.message) for problem in caught.value.problems]
    assert any(at == 8 and message in text for at, text in told), told


def test_formats_of_access_logs() -> None:
    combined = parse_format('address ident user* [time] "request" status "referrer"')
    assert (combined.left, combined.loose, combined.right, combined.quoted) == (2, True, (True,), True)
    for broken in ("one", 'a* b* "c"', 'a "b" c*', "a a", "a ÄÖ", '[a] b* "c"'):
        with pytest.raises(ValueError):
            parse_format(broken)


def test_the_format_of_an_access_log_can_be_that_of_the_configuration(server: Server) -> None:
    nginx = load_dataset(ROOT / "web.nginx")
    line = (
        '[2026-03-01T10:00:00+01:00] https www.example.com 198.51.100.23:4711 "GET" "/a b?c" HTTP/2.0 alice 200 0.25 x '
        '"agent"'
    )
    declared = (
        '[$time_iso8601] $scheme $host $remote_addr "$request_method" "$request_uri" $server_protocol $remote_user '
        '$status $request_time $unknown "$http_user_agent"'
    ).replace("$remote_addr ", "$remote_addr:$remote_port ")
    with pytest.raises(UsageError):
        build_pipeline(nginx, options={"format": "$remote_addr"})
    declared = declared.replace("$remote_addr:$remote_port", "$remote_addr").replace(
        "$remote_user", "$upstream_addr"
    )
    line = line.replace("198.51.100.23:4711", "198.51.100.23")
    found = simulated(server.simulate, nginx, [line], options={"format": declared})[0]
    assert found is not None
    assert found["event"]["kind"] == "event", found
    assert found["@timestamp"] == "2026-03-01T09:00:00.000Z"
    assert found["url"]["full"] == "https://www.example.com/a b?c"
    assert found["http"] == {
        "request": {"method": "GET"}, "version": "2", "response": {"status_code": 200},
    }  # fmt: skip
    assert found["event"]["duration"] == 250_000_000
    assert found["source"]["ip"] == "198.51.100.23"
    assert found["user_agent"]["original"] == "agent"


def test_times_as_they_are_written(server: Server) -> None:
    now = "2026-06-01T00:00:00Z"
    cases = {
        ("2026/03/01 10:00:00", "yyyy/MM/dd HH:mm:ss", "UTC"): "2026-03-01T10:00:00.000Z",
        ("2026/03/01 10:00:00", "yyyy/MM/dd HH:mm:ss", "Europe/Berlin"): "2026-03-01T09:00:00.000Z",
        ("3/1/2026 1:05:09 PM", "M/d/yyyy h:mm:ss a", "UTC"): "2026-03-01T13:05:09.000Z",
        ("12/31/2025 12:00:00 am", "M/d/yyyy h:mm:ss a", "UTC"): "2025-12-31T00:00:00.000Z",
        ("3/1/2026 13:05:09 PM", "M/d/yyyy h:mm:ss a", "UTC"): None,
        ("3/1/2026 1:05:09", "M/d/yyyy h:mm:ss a", "UTC"): None,
        (
            "Sun Mar 01 10:00:00.123456 2026",
            "EEE MMM dd HH:mm:ss.SSSSSS yyyy",
            "UTC",
        ): "2026-03-01T10:00:00.123Z",
        ("01/Mar/2026:10:00:00 -0730", "dd/MMM/yyyy:HH:mm:ss Z", "Europe/Berlin"): "2026-03-01T17:30:00.000Z",
        ("2026-03-01T10:00:00.5+01", "yyyy-MM-dd'T'HH:mm:ss.SX", "UTC"): "2026-03-01T09:00:00.500Z",
        ("20260301100000", "yyyyMMddHHmmss", "UTC"): None,
        ("01.03.26 10:00", "dd.MM.yy HH:mm", "UTC"): "2026-03-01T10:00:00.000Z",
        ("Jul 2 10:00:00", "MMM d HH:mm:ss", "UTC"): "2025-07-02T10:00:00.000Z",
        ("1 Mar 2026 10:00:00 GMT", "d MMM yyyy HH:mm:ss z", "Europe/Berlin"): "2026-03-01T10:00:00.000Z",
        ("2026/03/01 10:00:00 ", "yyyy/MM/dd HH:mm:ss", "UTC"): None,
        ("2026/02/30 10:00:00", "yyyy/MM/dd HH:mm:ss", "UTC"): None,
        ("2026/03", "yyyy/MM/dd HH:mm:ss", "UTC"): None,
        ("", "yyyy/MM/dd HH:mm:ss", "UTC"): None,
    }
    cases["20260301100000", "yyyyMMddHHmmss", "UTC"] = "2026-03-01T10:00:00.000Z"
    script = (
        "long ms = timeOf(ctx.get('in'), ctx.get('format'), isoMs(ctx.get('now')), ctx.get('zone'));"
        "ctx.put('out', ms < 0L ? null : iso(ms));"
    )
    documents = [{"in": text, "format": pattern, "zone": zone, "now": now} for text, pattern, zone in cases]
    found = server.run(Script().text(script), documents)
    assert {key: document["out"] for key, document in zip(cases, found, strict=True)} == cases


def test_times_of_access_logs(server: Server) -> None:
    cases = {
        "10/Oct/2000:13:55:36 -0700": "2000-10-10T20:55:36.000Z",
        "01/Mar/2026:10:00:00.250 +0530": "2026-03-01T04:30:00.250Z",
        "32/Mar/2026:10:00:00 +0000": None,
        "01/Mrz/2026:10:00:00 +0000": None,
        "01/Mar/2026:10:00:00": None,
        "01/Mar/2026:10:00:00 0000": None,
        "01/Mar/2026:10:00:00 +00000": None,
        "xx/Mar/2026:10:00:00 +0000": None,
        "": None,
    }
    script = "long ms = clfMs(ctx.get('in')); ctx.put('out', ms < 0L ? null : iso(ms));"
    found = server.run(Script().text(script), [{"in": text} for text in cases])
    assert {text: document["out"] for text, document in zip(cases, found, strict=True)} == cases


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("yyyy/MM/dd HH:mm:ss", ""),
        ("MMM d HH:mm:ss", ""),
        ("yyyy-DD", "'DD' is unknown"),
        ("yyyy-MM-dd'T", "a quote is not closed"),
        ("yyyy-MM-dd hh:mm", "'h' and 'a' belong together"),
        ("HH:mm", "'M' is missing"),
    ],
)
def test_formats_of_times_are_checked(pattern: str, fault: str) -> None:
    assert format_fault(pattern) == fault


def test_raw_values_are_parted_into_two(server: Server, tmp_path: Path) -> None:
    dataset = load_dataset(
        write(
            tmp_path,
            COLUMNS
            + "      formats: [both more]\n"
            + '  - split: {both: {at: "/", into: [user, port]}, more: {at: "::", into: [rest, reason], last: true}}\n',
            FIELDS,
        )
    )
    lines = {
        "a/1 x::y::z": ["a", 1, "z"],
        "a/ ::": ["a", None, None],
        "/7 y": [None, 7, None],
        "a/b/c -": ["a", None, None, "port: no port"],
    }
    assert dict(zip(lines, read(server, dataset, list(lines)), strict=True)) == lines


def test_a_step_of_patterns_leaves_what_it_captured_to_the_next(server: Server, tmp_path: Path) -> None:
    steps = (
        "  - patterns: {list: [{match: 'a: {rest*}'}, {match: 'b: {rest*}'}], next: rest}\n"
        "  - patterns: {list: [{match: '{user} {port} {reason*}'}], unmatched: {error: none of ours}}\n"
    )
    dataset = load_dataset(write(tmp_path, COLUMNS[: COLUMNS.index("  - columns:")] + steps, FIELDS))
    lines = {
        "a: me 1 why": ["me", 1, "why"],
        "me 1 b: why": ["me", 1, "b: why"],
        "a: x": ["patterns: none of ours"],
    }
    assert dict(zip(lines, read(server, dataset, list(lines)), strict=True)) == lines
    broken = COLUMNS[: COLUMNS.index("  - columns:")] + steps.replace("next: rest", "next: nobody")
    with pytest.raises(ContentError) as caught:
        load_dataset(write(tmp_path / "broken", broken, FIELDS))
    assert any("next: no template captures 'nobody'" in problem.message for problem in caught.value.problems)
