"""Nothing is lost: damaged lines go in, and as many documents come out. scripts/fuzz sends more of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from datasets.fuzz import Complaint, Target, as_source, declares_drop, fuzz, installed, smallest
from sigmawatch.datasets import samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datasets.dataset_server import Server
    from sigmawatch.datasets import Dataset

LINES = 4000
"""Over all datasets, on each engine."""

SHIPPED: list[dict[str, Any]] = [
    # Names that no mapping accepts; Elasticsearch's scripts cannot remove the first in the usual way.
    {"": "x"}, {".": "x"}, {"a..b": "x"}, {" ": "x"}, {"a": {".b": [{"c.": 1}, {"": 2}]}},
    # Texts where mappings have objects, objects where they have values, at any depth.
    {"cloud": {"account": "1"}}, {"log": {"file": ""}}, {"agent": {"id": {}}}, {"tags": {}}, {"related": {"ip": {}}},
    {"error": {"message": [1, [2], {"c": 3}]}}, {"agent.id.x": 1}, {"agent": {"name.first": "a"}}, {"host": [""]}, {"event": ["a"]}, {"source.ip": {"a": 1}},
    {"host.name": {"a": 1}, "host": "b"}, {"host.os.name": "a", "host": {"os": "b"}},
    # It would be the time of the event.
    {"event": {"start": "", "end": ""}}, {"event": {"end": 5}}, {"@timestamp": ""}, {"@timestamp": -5},
    # A mark of the pipeline's own.
    {"_drop": True},
    # OpenSearch hands such a document to no script.
    {"n": 10**400}, {"n": 2**63},
]  # fmt: skip
"""What a shipper sent beside a line, each of which lost an event once."""

FOUND: list[tuple[str, dict[str, Any]]] = [
    ("flow.netflow", {"host": "", "netflow": {"l4_dst_port": 9223372036854775808}}),
    ("ids.snort", {"dst_ap": [int("1" + "0" * 400)], "rule": ""}),
    ("ids.zeek", {"message": "<9>#"}),
    ("ids.zeek", {"message": '{"ts":70000000000000000000}', "@timestamp": "0001-01-01"}),
    ("auth.windows_security", {"winlog": {}, "": ""}),
    # An object where the mapping has a text, in an object that is kept as it is.
    (
        "auth.windows_security",
        {"message": '{"winlog":{"event_data":{"ParentProcessName":{"":{"":1}}},"event_id":"8"}}'},
    ),
    # The document's own fields are the event, and one has no name.
    ("api.okta", {"eventType": "", "published": "", "uuid": "", "": {}}),
    # A name with a dot below a field.
    (
        "auth.windows_security",
        {"message": '{"winlog":{"event_data":{"SubjectDomainName.x":"E"},"event_id":"2"}}'},
    ),
    # A text in a field of another type, from a column or key that is kept as it is.
    ("firewall.fortinet_fortigate", {"message": "type=l tunnelip=1"}),
    # Names cut in the middle of a character.
    ("firewall.fortinet_fortigate", {"message": "type=l " + "a" + "🦊" * 200 + "=1"}),
    ("flow.aws_vpc", {"message": "2 1", "_format": "version a" + "🦊" * 200}),
]
"""Cases that scripts/fuzz found, as it prints them."""


@pytest.fixture(scope="module")
def all_deployed(server: Server, datasets: list[Dataset]) -> Iterator[list[Target]]:
    """Every dataset on an engine: deployed once, since that takes a while."""
    with installed(server, datasets):
        yield [Target(server, dataset) for dataset in datasets]


@pytest.fixture
def deployed(all_deployed: list[Target]) -> list[Target]:
    """The same, nothing counted yet. What other tests sent is there, under other ids."""
    for target in all_deployed:
        target.kinds.clear()
    return all_deployed


def test_damaged_lines_go_in_and_as_many_documents_come_out(deployed: list[Target]) -> None:
    foreign = [line for target in deployed for sample in samples(target.dataset) for line in sample.lines]
    told = []
    for target in deployed:
        wrong = fuzz(target, max(40, LINES // len(deployed)), "2026", foreign)
        kinds = {complaint.kind: (document, complaint) for document, complaint in wrong}
        told += [
            as_source(target.dataset.name, smallest(target, document, complaint), complaint)
            for document, complaint in kinds.values()
        ]
        # What is damaged a little is often still an event, what is damaged much is none.
        assert target.kinds["pipeline_error"] > 5
        assert target.kinds.total() - target.kinds["pipeline_error"] - target.kinds["dropped"] > 5
    assert not told, "add to FOUND, and mend:\n" + "\n".join(told)


def test_what_got_lost_once_is_kept(deployed: list[Target]) -> None:
    told = []
    for target in deployed:
        name = target.dataset.name
        given = target.dataset.documents(samples(target.dataset)[0].lines)
        line = next(document for document in given if not declares_drop(target.dataset, document))
        documents = [{**line, **shipped} for shipped in SHIPPED]
        documents += [document for dataset, document in FOUND if dataset == name]
        told += [
            as_source(name, document, complaint)
            for document, complaint in zip(documents, target.complaints(documents), strict=True)
            if complaint
        ]
    assert not told, "\n".join(told)


def test_what_is_lost_is_noticed_and_told_by_its_smallest_case(
    server: Server, deployed: list[Target]
) -> None:
    vpc = next(target for target in deployed if target.dataset.name == "flow.aws_vpc")
    # A pipeline that loses lines with a 7, and the end of those with an 8.
    lossy = {
        "processors": [
            {"drop": {"if": "ctx.message != null && ctx.message.contains('7')"}},
            {"pipeline": {"name": vpc.dataset.pipeline_id}},
            {"script": {"source": "if (ctx.event.original.contains('8')) { ctx.event.original = '8'; }"}},
        ]
    }
    server.call("PUT", "_ingest/pipeline/lossy", lossy)
    try:
        target = replace(vpc, pipeline="lossy")
        dropped, cut, whole = target.complaints(
            [{"message": text, "labels": {"a": "b"}} for text in ("1 7 2", "1 8 2", "1 9 2")]
        )
        assert dropped is not None
        assert str(dropped) == "dropped"
        assert cut is not None
        assert cut.kind == "event.original is not the line"
        assert whole is None
        found = smallest(target, {"message": "1 2 7 3", "labels": {"a": "b"}}, dropped)
        assert (
            as_source("flow.aws_vpc", found, dropped) == "    ('flow.aws_vpc', {'message': '7'}),  # dropped"
        )
        vpc.sent = target.sent
    finally:
        server.call("DELETE", "_ingest/pipeline/lossy")


def test_a_long_case_is_told_in_brief() -> None:
    told = as_source("a.b", {"message": "x" + "ab" * 900 + "y"}, Complaint("refused", "because"))
    assert told == "    ('a.b', {'message': 'x' + 'ab' * 900 + 'y'}),  # refused: because"
