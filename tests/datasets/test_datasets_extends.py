"""A description that adds to another dataset's: what holds of which, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from datasets.small_dataset import write
from sigmawatch.datasets import build_pipeline, load_dataset
from sigmawatch.errors import ContentError

if TYPE_CHECKING:
    from pathlib import Path

MORE = """\
name: test.more
title: More
description: The small one in another envelope
module: more
extends: test.small
logsources: [{product: more}]
parse:
  - columns: {formats: [zone time who where port]}
set:
  event.type: [connection, end]
fields:
  zone: cloud.availability_zone
  who: {to: user.name, type: lower}
cases:
  - when: {zone: a}
    set: {event.outcome: failure}
derive: [network_type]
"""
MORE_FIELDS = "ecs: [network.type]\nown: {}\n"


def write_more(folder: Path, description: str = MORE, name: str = "test.more") -> Path:
    made = write(folder / "written", description, MORE_FIELDS)
    return made.rename(folder / name)


def test_what_is_said_again_takes_the_place_of_the_others(tmp_path: Path) -> None:
    small, more = load_dataset(write(tmp_path)), load_dataset(write_more(tmp_path))
    assert more.extends == small
    assert more.body.module == "more"
    assert more.body.set == {"event.category": ["network"], "event.type": ["connection", "end"]}
    assert {mapping.raw: mapping.type for mapping in more.body.own} == {
        "time": "iso_time", "where": "endpoint", "port": "port", "zone": "keyword", "who": "lower",
    }  # fmt: skip
    assert [dict(case.when) for case in more.body.cases] == [{"who": ("root",)}, {"zone": ("a",)}]
    assert more.body.derive == ("network_type",)
    assert more.fields["source.port"] == "long"
    assert more.fields["test.small.more"] == more.fields["network.type"] == "keyword"
    assert build_pipeline(more) != build_pipeline(small)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("extends: test.small", "extends: test.more", 5, "there is no other dataset 'test.more'"),
        ("extends: test.small", "extends: ../test.small", 5, "there is no other dataset '../test.small'"),
        ("extends: test.small", "extends: test.chain", 5, "test.chain extends another dataset itself"),
        ("extends: test.small", "extends: test.broken", 5, "test.broken cannot be loaded"),
        ("[zone time who where port]", "[zone time who where]", 1, "no parser finds a raw value 'port'"),
        ("zone: a}", "zoen: a}", 15, "no parser finds a raw value 'zoen'"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, old: str, new: str, line: int, message: str
) -> None:
    write(tmp_path)
    write_more(tmp_path, MORE.replace("test.more", "test.chain"), "test.chain")
    write_more(tmp_path, "name: test.broken\n", "test.broken")
    assert old in MORE
    folder = write_more(tmp_path, MORE.replace(old, new))
    with pytest.raises(ContentError) as caught:
        load_dataset(folder)
    told = [(problem.line, problem.message) for problem in caught.value.problems]
    assert any(at == line and message in text for at, text in told), told
