"""A dataset of several scripts: the first takes a line apart, one of the others does the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from datasets.dataset_server import Server
from datasets.small_dataset import HEAD, write
from sigmawatch.datasets import build_pipeline, load_dataset
from sigmawatch.datasets.check import simulated
from sigmawatch.datasets.pipeline import without_hook
from sigmawatch.errors import ContentError

if TYPE_CHECKING:
    from pathlib import Path

DESCRIPTION = (
    HEAD
    + """\
message: text
parse:
  - syslog: {bare: true}
  - columns: {formats: [kind user port], null_values: ["-"]}
set: {event.category: [network]}
fields:
  user: user.name
parts:
  by: kind
  as: log
  otherwise: other
  of:
    open:
      values: [open, reopen]
      set: {event.type: [start]}
      fields: {port: {to: source.port, type: port}, log: event.action}
      cases: [{when: {user: root}, set: {event.outcome: success}}]
    strict:
      set: {event.type: [end]}
      fields: {port: {to: source.port, type: port, required: true}}
    other:
      set: {event.type: [info]}
"""
)
FIELDS = "ecs: [user.name, source.port]\nown: {}\n"


def found(document: dict[str, Any] | None, *names: str) -> list[Any]:
    values = []
    for name in names:
        value: Any = document
        for key in name.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        values.append(value)
    return values


def test_every_line_gets_what_is_said_for_all_and_for_its_part(server: Server, tmp_path: Path) -> None:
    dataset = load_dataset(write(tmp_path, DESCRIPTION, FIELDS))
    names = ("event.type", "user.name", "source.port", "event.action", "event.outcome", "event.category")
    lines = {
        "open root 7": [["start"], "root", 7, "open", "success", ["network"]],
        "reopen bob 8": [["start"], "bob", 8, "reopen", "unknown", ["network"]],
        "strict bob 9": [["end"], "bob", 9, "other", "unknown", ["network"]],
        "else bob 9": [["info"], "bob", None, "other", "unknown", ["network"]],
        "- bob 9": [["info"], "bob", None, "other", "unknown", ["network"]],
    }
    documents = simulated(server.simulate, dataset, list(lines))
    assert [found(document, *names) for document in documents] == list(lines.values())
    for document in documents:
        assert document is not None
        assert not {"_part", "_parsed"} & set(document)


def test_a_line_that_a_part_refuses_gets_nothing_of_it(server: Server, tmp_path: Path) -> None:
    dataset = load_dataset(write(tmp_path, DESCRIPTION, FIELDS))
    line = "<13>Mar  1 10:00:00 web1 app: strict bob x"
    refused, unfit = simulated(server.simulate, dataset, [line, "one word"])
    for document, why in (
        (refused, "port: no port"),
        (unfit, "columns: 2 columns, as no known format has; "),
    ):
        assert document is not None
        assert document["event"]["kind"] == "pipeline_error"
        assert document["error"]["message"][0].startswith(why)
        assert "user" not in document
        assert document["event"]["type"] == ["info"]
        assert document["event"]["action"] == "not-parsed"
    assert refused is not None
    assert refused["log"]["syslog"]["hostname"] == "web1"
    assert refused["event"]["original"] == line
    assert refused["@timestamp"].endswith("03-01T10:00:00.000Z")


def test_a_shipper_cannot_choose_a_part(server: Server, tmp_path: Path) -> None:
    body = without_hook(build_pipeline(load_dataset(write(tmp_path, DESCRIPTION, FIELDS))))
    document = {"message": "open bob 7", "_part": "strict", "_parsed": {"found": {}}}
    made, kept = (
        result["doc"]["_source"]
        for result in server.simulate(
            body, [{"_source": document}, {"_source": {**document, "message": "x"}}]
        )
    )
    assert made["event"]["type"] == ["start"]
    assert kept["event"]["kind"] == "pipeline_error"
    assert not {"_part", "_parsed"} & {*made, *kept}


def test_a_script_that_breaks_off_keeps_the_document(server: Server, tmp_path: Path) -> None:
    body = without_hook(build_pipeline(load_dataset(write(tmp_path, DESCRIPTION, FIELDS))))
    script = body["processors"][1]["script"]
    endless = "for (int i = 0; i < 2000000; ++i) { now = now + 1L; }\n"
    script["source"] = script["source"].replace("String step = ", f"{endless}String step = ", 1)
    made = server.simulate(body, [{"_source": {"message": "open bob 7"}}])[0]["doc"]["_source"]
    assert made["event"]["kind"] == "pipeline_error"
    assert made["event"]["original"] == "open bob 7"
    assert not {"_part", "_parsed"} & set(made)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("otherwise: other", "otherwise: none", "there is no part 'none'"),
        ("by: kind", "by: what", "no parser finds a raw value 'what'"),
        ("  by: kind\n", "", "'by' is missing"),
        ("values: [open, reopen]", "values: [open, strict]", "'strict' chooses the part 'open' already"),
        ("{user: root}", "{who: root}", "no parser finds a raw value 'who'"),
        ("log: event.action", "log: event.nothing", "'event.nothing' is emitted but not declared"),
        ("event.type: [end]", "event.type: [ending]", "ECS does not allow 'ending' in event.type"),
    ],
)
def test_mistakes_in_parts_are_told_with_their_lines(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in DESCRIPTION
    with pytest.raises(ContentError) as raised:
        load_dataset(write(tmp_path, DESCRIPTION.replace(old, new, 1), FIELDS))
    assert any(message in problem.message and problem.line for problem in raised.value.problems)
