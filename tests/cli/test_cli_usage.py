"""What holds for every command: help, wrong usage, and outputs that are pipes, full, closed or terminals."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from cli.command_line import PROGRAM, environment, rule_text, sigmawatch, write
from sigmawatch import __version__
from sigmawatch.cli.main import _sigmawatch

COMMANDS = [
    *([name] for name in _sigmawatch.list_commands(None)),  # type: ignore[arg-type]
    ["engine", "start"],
    ["engine", "stop"],
    ["engine", "status"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_with_an_example(command: list[str]) -> None:
    ran = sigmawatch(*command, "--help")
    assert (ran.code, ran.err) == (0, "")
    example = ran.out.partition("Example")[2]
    assert f"sigmawatch {command[0]}" in example


def test_the_list_of_commands_says_in_a_whole_sentence_what_each_does() -> None:
    ran = sigmawatch("--help", env={"COLUMNS": "80"})
    listed = ran.out.partition("Commands:")[2].splitlines()[1:]
    assert len(listed) >= 9
    assert [line for line in listed if line.endswith("...")] in (
        [],
        [line for line in listed if " run " in line],
    )


def test_the_version_is_told() -> None:
    assert sigmawatch("--version").out == f"sigmawatch, version {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Usage:"),
        (["chek"], "No such command 'chek'"),
        (["check", "--sctrict"], "No such option"),
        (["check", "missing.yml"], "'missing.yml' does not exist"),
        (["check", "--format", "xml"], "'xml' is not one of"),
        (["compile", "--format"], "requires an argument"),
        (["engine", "start", "--port", "99999"], "not in the range"),
        (["engine", "start", "--port", "22"], "not in the range"),
        (["engine", "start", "--heap", "much"], "'much' is no heap size"),
        (["engine", "start", "--name", "../x"], "is no name for a node"),
        (["plan"], "no cluster address"),
        (["plan", "--url", "es.example.com:9200"], "not an http or https address"),
        (
            ["plan", "--url", "http://127.0.0.1:1", "--namespace", "Not/A/Name"],
            "must begin with a lower-case",
        ),
        (["plan", "--url", "http://127.0.0.1:1", "--timeout", "soon"], "not a valid float"),
        (["plan", "--url", "http://127.0.0.1:1", "--timeout", "-1"], "more than 0 seconds"),
        (["ingest", "--url", "http://127.0.0.1:1", "missing"], "does not exist"),
        (["test", "--url", ""], "no cluster address"),
    ],
)
def test_wrong_usage_is_explained_and_exits_with_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    ran = sigmawatch(*arguments, cwd=tmp_path)
    assert ran.code == 2
    assert said in ran.err
    assert ran.out == ""


def test_credentials_in_an_address_are_not_repeated() -> None:
    ran = sigmawatch("plan", "--url", "htp://user:geheim@host")
    assert ran.code == 2
    assert "geheim" not in ran.err


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    "arguments", [["--help"], ["check"], ["check", "--format", "json"], ["compile"]], ids=" ".join
)
def test_a_full_disk_under_standard_output_is_an_error_and_no_success(arguments: list[str]) -> None:
    with FULL.open("wb") as full:
        ran = sigmawatch(*arguments, stdout=full)
    assert ran.code == 2
    assert "standard output cannot be written: No space left on device" in ran.err


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
def test_messages_that_nobody_can_read_change_no_result(tmp_path: Path) -> None:
    write(tmp_path / "r.yml", "title: [")
    with FULL.open("wb") as full:
        done = subprocess.run(
            [PROGRAM, "check", tmp_path], env=environment(), stdout=-1, stderr=full, check=False
        )
    assert (done.returncode, done.stdout) == (2, b"0 rules: 1 error, 0 warnings\n")


@pytest.mark.parametrize("arguments", [["compile"], ["check", "--format", "json"], ["--help"]], ids=" ".join)
def test_a_reader_that_goes_away_ends_a_command_quietly(arguments: list[str]) -> None:
    # The pipe has no reader from the beginning: what `head` does, without the luck of who is first.
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ran = sigmawatch(*arguments, stdout=writing)
    finally:
        os.close(writing)
    assert (ran.code, ran.err) == (141, "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&- <&-"])
def test_closed_streams_stop_nothing(closed: str, tmp_path: Path) -> None:
    write(tmp_path / "r.yml", rule_text())
    line = f'"{PROGRAM}" compile r.yml --output out {closed}'
    done = subprocess.run(line, shell=True, cwd=tmp_path, env=environment(), capture_output=True, check=False)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_text_that_the_encoding_of_the_output_lacks_stops_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "régle.yml", "title: [\n")
    ran = sigmawatch("check", path, env={"PYTHONIOENCODING": "ascii"})
    assert ran.code == 2
    assert "r\\xe9gle.yml:2: error: not valid YAML" in ran.err


def test_names_that_are_no_text_are_still_json(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.yml")
    Path(path).write_text("title: [")
    ran = sigmawatch("check", path, "--format", "json")
    assert ran.code == 2
    assert ran.json["problems"][0]["path"].endswith(".yml")


def on_a_terminal(arguments: list[str], **env: str) -> str:
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [PROGRAM, *arguments],
        env=environment({"TERM": "xterm", **env}),
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
    )
    os.close(secondary)
    said = b""
    try:
        while chunk := os.read(primary, 65536):
            said += chunk
    except OSError:  # Linux: the other side is closed
        pass
    os.close(primary)
    process.wait(timeout=180)
    return said.decode()


def test_colours_are_for_terminals_that_want_them() -> None:
    assert "\x1b[32m" in on_a_terminal(["check"])
    assert "\x1b" not in on_a_terminal(["check"], NO_COLOR="1")
    assert "\x1b" not in on_a_terminal(["check"], TERM="dumb")


def test_a_mistake_of_ours_is_told_in_a_line_and_not_as_findings(tmp_path: Path) -> None:
    # A module that shadows one of ours: any exception that nobody foresaw.
    write(
        tmp_path / "sitecustomize.py",
        "import sigmawatch.pack.layout as l\ndef f(*a): raise KeyError('oh\\nno')\nl.rule_files = f\n",
    )
    ran = sigmawatch("check", env={"PYTHONPATH": str(tmp_path)})
    assert ran.code == 70
    assert ran.err.startswith("error: a mistake in sigmawatch: KeyError: 'oh")
    assert len(ran.err.splitlines()) == 2
