"""A broken description is told with file and line, all its problems at once."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from datasets.small_dataset import DESCRIPTION, FIELDS, write
from sigmawatch.datasets import build_pipeline, load_dataset, load_datasets
from sigmawatch.errors import ContentError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from sigmawatch.datasets import Dataset


def test_a_small_description_loads_and_builds(tmp_path: Path) -> None:
    dataset = load_dataset(write(tmp_path))
    assert dataset.pipeline_id == "sigmawatch-test.small"
    assert dataset.index_pattern == "logs-test.small-*"
    assert dataset.data_stream("prod") == "logs-test.small-prod"
    assert dataset.logsources == ({"product": "test"},)
    assert dataset.fields["source.ip"] == "ip"
    assert dataset.fields["test.small.more"] == "keyword"
    assert dataset.fields["event.kind"] == "keyword"
    assert build_pipeline(dataset) == build_pipeline(load_dataset(dataset.folder))


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("title: Small", "titel: Small", 2, "unknown key 'titel'"),
        ("title: Small", "name: x", 2, "duplicate key 'name'"),
        ("name: test.small", "name: test.other", 1, "must be that of its folder"),
        ("who: user.name", "who: user.nmae", 16, "'user.nmae' is emitted but not declared"),
        ("type: port}", "type: prot}", 18, "unknown type of value 'prot'"),
        (
            "type: port}",
            "type: keyword}",
            18,
            "'source.port' is long, which a value of type 'keyword' does not fit",
        ),
        ("type: port}", "type: port, tpye: x}", 18, "unknown key 'tpye'"),
        ("who: user.name", "whom: user.name", 16, "no parser finds a raw value 'whom'"),
        ("when: {who: root}", "when: {whom: root}", 20, "no parser finds a raw value 'whom'"),
        ("event.outcome: success", "event.outcome: great", 21, "ECS does not allow 'great' in event.outcome"),
        (
            "event.category: [network]",
            "event.category: [net]",
            12,
            "ECS does not allow 'net' in event.category",
        ),
        ("event.type: [connection]", "event.reason2: x", 13, "'event.reason2' is emitted but not declared"),
        ("- columns:", "- colums:", 7, "unknown parser 'colums'"),
        (
            "formats: [time who where port]",
            "formats: [a b, c d]",
            8,
            "formats must differ in their number of columns",
        ),
        ("logsources: [{product: test}]", "logsources: [{produkt: test}]", 5, "unknown key 'produkt'"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    folder = write(tmp_path, DESCRIPTION.replace(old, new, 1))
    with pytest.raises(ContentError) as caught:
        load_dataset(folder)
    told = [(problem.path, problem.line, problem.message) for problem in caught.value.problems]
    assert any(
        path == folder / "dataset.yml" and at == line and message in text for path, at, text in told
    ), told


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("Failed {user", "a lone '{'"),
        ("Failed }", "a lone '}'"),
        ("Failed {user}{port}", "two captures without a text between them"),
        ("Failed {user} for {user}", "a capture stands twice"),
        ("{user*} and {port*}", "more than one greedy capture"),
        ("Failed {User Name}", "{User Name} is no capture"),
        ("Failed {user+}", "{user+} is no capture"),
    ],
)
def test_a_broken_pattern_is_told_with_its_line(tmp_path: Path, pattern: str, message: str) -> None:
    start, _, rest = DESCRIPTION.partition("  - columns:")
    parse = (
        f'  - patterns:\n      list:\n        - set: {{event.action: x}}\n          match: ["{pattern}"]\n'
    )
    folder = write(tmp_path, start + parse + "set:" + rest.partition("set:")[2])
    with pytest.raises(ContentError) as caught:
        load_dataset(folder)
    assert any(problem.line == 10 and message in problem.message for problem in caught.value.problems)


def test_fields_that_ecs_does_not_have_or_has_are_told(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        fields=FIELDS.replace("ecs: [", "ecs: [user.nmae, ")
        + "  source.mac: {description: x}\n"
        + "  test.small.a: {type: intt, description: x}\n"
        + "  test.small.b: {type: long}\n",
    )
    with pytest.raises(ContentError) as caught:
        load_dataset(folder)
    told = {(problem.line, problem.message) for problem in caught.value.problems}
    assert told == {
        (1, "'user.nmae' is not an ECS field"),
        (4, "'source.mac' is an ECS field"),
        (5, "'intt' is no mapping type"),
        (6, "'description' is missing"),
    }


def test_missing_samples_and_files_are_told(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "samples" / "one.log").unlink()
    (folder / "README.md").unlink()
    (folder / "fields.yml").unlink()
    with pytest.raises(ContentError) as caught:
        load_dataset(folder)
    codes = {problem.code for problem in caught.value.problems}
    assert {"no-samples", "no-readme", "unreadable"} <= codes


def test_problems_of_all_datasets_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, DESCRIPTION.replace("title:", "titel:"))
    other = tmp_path / "test.other"
    other.mkdir()
    (other / "dataset.yml").write_text("- not a mapping\n")
    with pytest.raises(ContentError) as caught:
        load_datasets(tmp_path)
    assert {problem.path for problem in caught.value.problems} >= {
        tmp_path / "test.small" / "dataset.yml",
        other / "dataset.yml",
    }


def test_options_that_make_no_sense_are_refused(vpc: Dataset, sshd: Dataset) -> None:
    for dataset, options in (
        (vpc, {"formt": "a b"}),
        (vpc, {"format": "srcaddr srcaddr"}),
        (vpc, {"format": "srcaddr"}),
        (vpc, {"networks": ["10.0.0.0/33"]}),
        (vpc, {"timezone": "UTC"}),
        (sshd, {"timezone": "Mars/Olympus"}),
        (sshd, {"format": "a b"}),
    ):
        with pytest.raises(UsageError):
            build_pipeline(dataset, options=options)


def test_a_header_is_told_with_the_lines_after_it(vpc: Dataset) -> None:
    header = "\ufeffversion srcaddr some-new-one"
    lines = ["2 a b", header, "", "2 10.0.0.1 x\r\n", "srcaddr dstaddr", "10.0.0.1 10.0.0.2"]
    assert list(vpc.documents(lines)) == [
        {"message": "2 a b"},
        {"message": header},
        {"message": "2 10.0.0.1 x", "_format": "version srcaddr some-new-one"},
        {"message": "srcaddr dstaddr"},
        {"message": "10.0.0.1 10.0.0.2", "_format": "srcaddr dstaddr"},
    ]


def test_envelopes_and_unique_values_are_described(tmp_path: Path, vpc: Dataset) -> None:
    folder = tmp_path / vpc.name
    shutil.copytree(vpc.folder, folder)
    path = folder / "dataset.yml"
    source = path.read_text(encoding="utf-8")
    path.write_text(
        source
        + "envelope: {records: [Records, detail.findings], each: 'a.b[].c[]'}\nid: [eventID|id, region]\n",
        encoding="utf-8",
    )
    dataset = load_dataset(folder)
    text = json.dumps({"Records": [{"id": 1, "region": "x", "a": {"b": [{"c": [1, 2]}, {"c": [3]}]}}]})
    events = list(dataset.events([text]))
    assert [json.loads(event.document["message"])["a"] for event in events] == [
        {"b": {"c": 1}},
        {"b": {"c": 2}},
        {"b": {"c": 3}},
    ]
    assert [event.unique for event in events] == [b'["1","x"]', b'["1","x"] 1', b'["1","x"] 2']
    path.write_text(
        source + "envelope: {records: ['a[]', b..c], each: [a.b], more: 1}\nid: ['']\n", encoding="utf-8"
    )
    with pytest.raises(ContentError) as error:
        load_dataset(folder)
    last = source.count("\n") + 1
    assert {problem.line for problem in error.value.problems} == {last, last + 1}
    assert len(error.value.problems) >= 4
