"""A small dataset, test.small, of which tests change what they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """\
name: test.small
title: Small
description: A small one
module: test
logsources: [{product: test}]
"""
"""How every description begins."""

DESCRIPTION = (
    HEAD
    + """\
parse:
  - columns:
      formats: [time who where port]
      rest: test.small
      null_values: ["-"]
set:
  event.category: [network]
  event.type: [connection]
fields:
  time: {to: "@timestamp", type: iso_time}
  who: user.name
  where: {to: source, type: endpoint}
  port: {to: source.port, type: port}
cases:
  - when: {who: root}
    set: {event.outcome: success}
"""
)
FIELDS = """\
ecs: [user.name, source.address, source.ip, source.domain, source.port]
own:
  test.small.more: {description: more}
"""


def write(folder: Path, description: str = DESCRIPTION, fields: str = FIELDS) -> Path:
    folder = folder / "test.small"
    (folder / "samples").mkdir(parents=True)
    (folder / "dataset.yml").write_text(description)
    (folder / "fields.yml").write_text(fields)
    (folder / "README.md").write_text("# Small\n")
    (folder / "samples" / "one.log").write_text("2026-03-01T10:00:00Z a 10.0.0.1 1\n")
    return folder
