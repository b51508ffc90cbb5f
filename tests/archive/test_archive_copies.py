"""What `sigmawatch archive` makes of data streams, on real engines."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import pytest

from archive.archived_streams import (
    DATASET,
    EVENTS,
    FAILED,
    KEEP,
    PARTLY_READ,
    STREAM,
    TOTAL,
    Streams,
    connected,
    document,
    now,
)
from cluster.fault_proxy import FaultProxy
from sigmawatch.archive.archiver import archive
from sigmawatch.archive.copying import CopyFailed, copy_index
from sigmawatch.archive.holdings import DAY, State, read_archives
from sigmawatch.datasets.privacy import Privacy
from sigmawatch.engine import Node
from sigmawatch.errors import TargetUnavailable, UsageError
from sigmawatch.retention import Archive


def soon(seconds: float) -> None:
    """Wait much shorter than a user would between two looks at a task."""
    threading.Event().wait(min(seconds, 0.02))


def test_an_index_that_was_rolled_over_is_copied_with_fewer_fields_and_closed(either: Streams) -> None:
    either.deploy()
    source = either.fill()
    run = archive(either.cluster, now(), sleep=soon)
    (copy,) = either.copies()
    assert copy.startswith(f"sigmawatch-archive-{STREAM}@2026.11.")
    assert copy.endswith("-000001")
    assert (run.failed, run.deleted, run.warnings) == ({}, [], [])
    assert (run.copied[copy].documents, run.copied[copy].known) == (TOTAL, 0)
    either.check(source)
    found = either.documents(copy)
    assert found["0"] == {
        "@timestamp": "2026-03-01T10:00:00Z",
        "agent": {"name": "web1"},
        "log": {"file": {"path": "/var/log/auth.log"}},  # as the site says
        "event": {"kind": "event", "action": "ssh_login", "outcome": "success", "dataset": DATASET},
        "source": {"ip": "198.51.100.0"},  # without the port, as the site says
        "sshd": {"auth_method": "password"},  # as the dataset says
        "user": {"name": "anna"},
    }
    unread = found[str(EVENTS)]
    assert unread["event"]["original"] == f"no line of sshd {EVENTS}", (
        "what could not be read has nothing but its line"
    )
    assert found[str(PARTLY_READ)]["event"]["original"] == "the line", (
        "what became of no field stands only there"
    )
    assert unread["message"] == document(EVENTS)["message"]
    assert found[str(EVENTS + FAILED)]["message"], "nor has what came past the pipeline"
    said = either.meta(copy)
    assert said["archive"]["source"] == source
    assert set(said["archived"]) == {"at", "documents", "version"}
    # It can be searched as the events can, and no rule sees it: those look at logs-*.
    query = {"query": {"range": {"source.ip": {"gte": "198.51.100.3", "lte": "198.51.100.5"}}}}
    assert either.cluster.request("POST", f"/{copy}/_count", query)["count"] == 3
    assert either.cluster.request("GET", "/logs-*/_count")["count"] == TOTAL
    index = either.cluster.request("GET", f"/{copy}")[copy]["settings"]["index"]
    assert index["codec"] == "best_compression"


def test_what_is_archived_is_not_copied_again_and_what_is_new_is(either: Streams) -> None:
    either.deploy()
    first = either.fill()
    assert len(archive(either.cluster, now(), sleep=soon).copied) == 1
    assert archive(either.cluster, now(), sleep=soon).copied == {}
    second = either.fill()
    (copied,) = archive(either.cluster, now(), sleep=soon).copied
    assert copied.endswith("-000002")
    either.check(first)
    either.check(second)


@pytest.mark.engine
def test_the_newest_index_and_those_that_are_too_young_wait(streams: Streams) -> None:
    streams.deploy(dataclasses.replace(KEEP, after=7))
    source = streams.fill()
    streams.cluster.request(
        "PUT", f"/{STREAM}/_create/late", document(0), params={"pipeline": "_none", "refresh": "true"}
    )
    assert archive(streams.cluster, now(), sleep=soon).copied == {}
    (entry,) = read_archives(streams.cluster, now()).entries
    assert (entry.state, entry.index) == (State.WAITING, source)
    later = now() + 7 * DAY + 60_000
    (copied,) = archive(streams.cluster, later, sleep=soon).copied.values()
    assert copied.documents == TOTAL, "without the event that is in the newest index"


@pytest.mark.engine
def test_copies_are_deleted_at_their_age_and_never_many_at_once(streams: Streams) -> None:
    streams.deploy()
    source = streams.fill()
    archive(streams.cluster, now(), sleep=soon)
    (copy,) = streams.copies()
    assert archive(streams.cluster, now() + 399 * DAY, sleep=soon).deleted == []
    with pytest.raises(UsageError, match="more than 0 are not deleted at once"):
        archive(streams.cluster, now() + 401 * DAY, max_deletes=0, sleep=soon)
    assert streams.copies() == [copy]
    run = archive(streams.cluster, now() + 401 * DAY, sleep=soon)
    assert (run.deleted, run.copied) == ([copy], {})
    assert streams.copies() == [], "nor is it copied anew, although the source is still there"
    assert len(streams.documents(source)) == TOTAL


@pytest.mark.engine
def test_what_is_deployed_says_how_long_older_copies_are_kept_and_without_it_they_do(
    streams: Streams,
) -> None:
    streams.deploy()
    streams.fill()
    archive(streams.cluster, now(), sleep=soon)
    streams.deploy(dataclasses.replace(KEEP, delete=30))
    assert read_archives(streams.cluster, now() + 31 * DAY).entries[0].state is State.EXPIRED
    streams.cluster.request("DELETE", "/_index_template/sigmawatch-archive-auth.sshd")
    (entry,) = read_archives(streams.cluster, now() + 31 * DAY).entries
    assert entry.state is State.ARCHIVED
    assert read_archives(streams.cluster, now() + 401 * DAY).entries[0].state is State.EXPIRED


@pytest.mark.engine
def test_an_index_that_may_be_deleted_before_it_is_copied_is_told(streams: Streams) -> None:
    streams.deploy(dataclasses.replace(KEEP, after=5), delete=6)
    source = streams.fill()
    assert read_archives(streams.cluster, now()).warnings == []
    (warning,) = read_archives(streams.cluster, now() + 5 * DAY + 60_000).warnings
    assert warning.startswith(f"{source} is not copied, and is deleted from 20")
    (warning,) = read_archives(streams.cluster, now() + 7 * DAY).warnings
    assert warning == f"{source} is not copied, and may be deleted at any moment"
    run = archive(streams.cluster, now() + 7 * DAY, sleep=soon)
    assert run.warnings == [], "it is copied by then"
    streams.deploy(dataclasses.replace(KEEP, after=9), delete=6)
    (warning,) = read_archives(streams.cluster, now()).warnings
    assert warning.startswith("auth.sshd: events are deleted from 6 days on, and copied from 9 days on")


@pytest.mark.engine
def test_what_was_begun_goes_on_with_the_fields_it_was_begun_with(streams: Streams) -> None:
    streams.deploy()
    source = streams.fill()
    archive(streams.cluster, now(), sleep=soon)
    (copy,) = streams.copies()
    half_done(streams, copy, [str(number) for number in range(10)])
    streams.deploy(Archive(after=0, delete=400))
    (entry,) = read_archives(streams.cluster, now()).entries
    assert entry.state is State.BEGUN
    (copied,) = archive(streams.cluster, now(), sleep=soon).copied.values()
    assert copied.known == TOTAL - 10
    streams.check(source)
    assert {"log" in body for body in streams.documents(copy).values()} == {True}
    assert "log.file.path" in streams.meta(copy)["archive"]["fields"]


def half_done(streams: Streams, copy: str, missing: list[str]) -> None:
    """Make of a complete copy what a killed run leaves."""
    streams.cluster.request("PUT", f"/{copy}/_settings", {"index.blocks.write": None})
    for name in missing:
        streams.cluster.request("DELETE", f"/{copy}/_doc/{name}", params={"refresh": "true"})
    said = {key: value for key, value in streams.meta(copy).items() if key == "archive"}
    streams.cluster.request("PUT", f"/{copy}/_mapping", {"_meta": {"sigmawatch": said}})


@pytest.mark.engine
def test_what_is_erased_before_a_copy_is_complete_does_not_live_on_in_it(streams: Streams) -> None:
    streams.deploy()
    source = streams.fill()
    archive(streams.cluster, now(), sleep=soon)
    (copy,) = streams.copies()
    half_done(streams, copy, [])
    streams.cluster.request("DELETE", f"/{source}/_doc/3", params={"refresh": "true"})
    (copied,) = archive(streams.cluster, now(), sleep=soon).copied.values()
    assert copied.documents == TOTAL - 1
    assert "3" not in streams.documents(copy)


@pytest.mark.engine
def test_a_copy_that_a_killed_run_left_running_is_waited_for(streams: Streams) -> None:
    streams.deploy()
    source = streams.fill()
    with FaultProxy(streams.url) as proxy, connected(proxy.url) as through:
        (entry,) = read_archives(through, now()).entries

        def give_up(seconds: float) -> None:
            raise KeyboardInterrupt

        # 36 documents, of which 30 in one request, at 15 a second: it still runs when the next run begins.
        with pytest.raises(KeyboardInterrupt):
            copy_once(streams, through, entry, give_up)
        running = streams.cluster.request("GET", "/_tasks", params={"actions": "*reindex"})
        assert len(running["nodes"]) == 1
        proxy.reset()
        assert archive(through, now(), sleep=soon).failed == {}
        streams.check(source)
        started = [one for one in proxy.seen if one.startswith("POST /_reindex")]
    assert len(started) <= 2, "the part that ran was not copied a second time"


def copy_once(streams: Streams, cluster: Any, entry: Any, sleep: Any) -> None:
    policy = read_archives(streams.cluster, now()).policies[DATASET]
    copy_index(cluster, entry.source, entry.copy_index, policy, rate=1, sleep=sleep)


@pytest.mark.engine
def test_documents_that_are_refused_are_told_and_keep_nothing_else_from_being_copied(
    streams: Streams,
) -> None:
    streams.deploy()
    bad = streams.fill()
    good = streams.fill()
    # A mapping as no template of ours has it: that of a member of an object which is a text in the events.
    name = next(one.copy_index for one in read_archives(streams.cluster, now()).entries if one.index == bad)
    said = {
        "source": bad,
        "stream": STREAM,
        "dataset": DATASET,
        "rolled_over": 1,
        "fields": [],
        "original": [],
    }
    body = {
        "mappings": {
            "properties": {"user": {"properties": {"name": {"properties": {"x": {"type": "long"}}}}}}
        }
    }
    streams.cluster.request(
        "PUT", "/_index_template/sigmawatch-spoilt", {"index_patterns": [name], "priority": 900}
    )
    try:
        streams.cluster.request("PUT", f"/{name}", body)
    finally:
        streams.cluster.request("DELETE", "/_index_template/sigmawatch-spoilt")
    del said
    run = archive(streams.cluster, now(), sleep=soon)
    assert list(run.failed) == [bad]
    assert "document " in run.failed[bad]
    assert "user.name" in run.failed[bad]
    assert len(run.copied) == 1
    streams.check(good)
    states = {one.index: one.state for one in read_archives(streams.cluster, now()).entries}
    assert states[bad] is not State.ARCHIVED
    assert len(streams.documents(bad)) == TOTAL


@pytest.mark.engine
def test_a_copy_that_lacks_documents_is_never_called_complete(streams: Streams, monkeypatch: Any) -> None:
    streams.deploy()
    streams.fill()
    from sigmawatch.archive import copying

    monkeypatch.setattr(copying, "_parts", lambda fields, original: iter(()))
    run = archive(streams.cluster, now(), sleep=soon)
    (reason,) = run.failed.values()
    assert f"0 of {TOTAL} documents" in reason
    (copy,) = streams.copies()
    assert "archived" not in streams.meta(copy)
    assert not streams.closed(copy)
    assert issubclass(CopyFailed, Exception)


@pytest.mark.engine
def test_a_copy_whose_source_went_before_it_was_complete_is_told(streams: Streams) -> None:
    streams.deploy()
    source = streams.fill()
    archive(streams.cluster, now(), sleep=soon)
    (copy,) = streams.copies()
    half_done(streams, copy, ["1"])
    streams.cluster.request("DELETE", f"/_data_stream/{STREAM}")
    run = archive(streams.cluster, now(), sleep=soon)
    assert run.warnings == [f"{copy} is not complete, and {source} is gone"]
    assert streams.copies() == [copy]


@pytest.mark.engine
def test_a_stream_that_is_made_anew_does_not_meet_the_copies_of_the_old_one(streams: Streams) -> None:
    streams.deploy()
    streams.fill()
    archive(streams.cluster, now(), sleep=soon)
    entries = read_archives(streams.cluster, now()).entries
    source = entries[0].source
    assert source is not None
    from sigmawatch.archive.holdings import copy_name

    other = dataclasses.replace(source, created=source.created + DAY)
    assert copy_name(other) != copy_name(source)
    shrunken = dataclasses.replace(source, index=f"shrink-a1b2-.ds-{STREAM}-2026.11.01-000001")
    fresh = dataclasses.replace(source, index=f".ds-{STREAM}-2026.11.01-000001")
    assert copy_name(shrunken) == copy_name(fresh)


@pytest.mark.engine
def test_tenants_have_archives_of_their_own(streams: Streams) -> None:
    streams.deploy()
    streams.deploy(None, tenant="beta")  # wants none, whatever others do
    streams.deploy(dataclasses.replace(KEEP, delete=30, keep=()), tenant="acme")
    streams.fill()
    for tenant in ("acme", "beta", "acme-2"):
        name = f"logs-{DATASET}-{tenant}"
        params = {"pipeline": "_none", "refresh": "true"}
        streams.cluster.request("PUT", f"/{name}/_create/1", document(0), params=params)
        streams.cluster.request("POST", f"/{name}/_rollover", idempotent=False)
    found = {one.stream: one for one in read_archives(streams.cluster, now()).entries}
    assert set(found) == {STREAM, f"logs-{DATASET}-acme", f"logs-{DATASET}-acme-2"}
    run = archive(streams.cluster, now(), tenant="acme", sleep=soon)
    (copy,) = run.copied
    assert copy.startswith(f"sigmawatch-archive-logs-{DATASET}-acme@")
    assert "log" not in streams.documents(copy)["1"]
    assert len(archive(streams.cluster, now(), sleep=soon).copied) == 2, "what is nobody's own"
    other = found[f"logs-{DATASET}-acme-2"].copy_index
    assert "log" in streams.documents(other)["1"], "as it is for everybody"
    assert archive(streams.cluster, now() + 31 * DAY, sleep=soon).deleted == [copy]


@pytest.mark.engine
def test_a_dataset_with_pseudonyms_has_no_lines_in_its_archive(streams: Streams) -> None:
    streams.deploy(privacy=Privacy(original=False))
    streams.fill()
    archive(streams.cluster, now(), sleep=soon)
    (copy,) = streams.copies()
    for body in streams.documents(copy).values():
        assert "message" not in body
        assert "original" not in body.get("event", {})


@pytest.mark.elasticsearch
def test_a_cluster_without_data_streams_says_so(elasticsearch: Node) -> None:
    from sigmawatch.cluster import ConnectionSettings, connect

    with connect(ConnectionSettings(elasticsearch.url)) as cluster:
        body = {"index_patterns": ["sigmawatch-archive-logs-x.y-*"], "priority": 901}
        said = {"dataset": "x.y", "after": 1, "rate": 1, "fields": [], "original": []}
        cluster.request(
            "PUT", "/_index_template/sigmawatch-archive-x.y", {**body, "_meta": {"archive": said}}
        )
        try:
            with pytest.raises(TargetUnavailable, match="built without data streams"):
                read_archives(cluster, now())
        finally:
            cluster.request("DELETE", "/_index_template/sigmawatch-archive-x.y")
