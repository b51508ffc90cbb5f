from __future__ import annotations

from typing import Any

import pytest

from cluster.http_stand_in import INFO, Answer, HttpStandIn, Seen
from sigmawatch.cluster import ConnectionSettings, Features, connect

NOT_FOUND = Answer(400, {"error": "no handler found for uri [/x] and method [GET]"})
WATCHER = {"watcher": {"available": True, "enabled": True}, "ilm": {"available": True, "enabled": True}}


def features(answers: dict[str, Answer], info: dict[str, Any] | None = None) -> Features:
    def reply(seen: Seen) -> Answer:
        path = seen.path.partition("?")[0]
        return Answer(body=INFO | (info or {})) if path == "/" else answers.get(path, NOT_FOUND)

    with HttpStandIn(reply=reply) as server, connect(ConnectionSettings(server.url)) as cluster:
        return cluster.features()


def licensed(kind: str, watcher: dict[str, Any]) -> dict[str, Answer]:
    return {
        "/_license": Answer(body={"license": {"type": kind}}),
        "/_xpack": Answer(body={"features": watcher}),
        "/_index_template/_simulate": Answer(),
        "/_data_stream": Answer(body={"data_streams": []}),
    }


def test_a_trial_has_everything() -> None:
    found = features(licensed("trial", WATCHER))
    assert (found.has_watcher, found.has_ilm, found.has_data_streams, found.has_wildcard) == (True,) * 4
    assert found.flattened_type == "flattened"
    assert found.licence == "trial"
    assert found.why_not("watcher") == ""


@pytest.mark.parametrize(
    ("watcher", "reason"),
    [
        ({"watcher": {"available": False, "enabled": True}}, "is basic; Watcher needs"),
        ({"watcher": {"available": True, "enabled": False}}, "switched off"),
        ({}, "built without Watcher"),
    ],
)
def test_why_there_is_no_watcher(watcher: dict[str, Any], reason: str) -> None:
    found = features(licensed("basic", watcher))
    assert not found.has_watcher
    assert reason in found.why_not("watcher")


def test_a_server_that_answers_to_nothing_has_nothing_and_says_why() -> None:
    found = features({})
    assert not (found.has_watcher)
    assert not (found.has_ilm)
    assert not (found.has_data_streams)
    assert not (found.has_wildcard)
    assert found.flattened_type is None
    for name in ("watcher", "ilm", "data_streams", "wildcard", "flattened", "alerting", "match_only_text"):
        assert "Elasticsearch 9.4.3" in found.why_not(name)


def test_opensearch_has_alerting_where_the_plugin_is() -> None:
    info = {"version": {"number": "3.7.0", "distribution": "opensearch"}}
    plugins = [{"component": "opensearch-alerting"}]
    found = features({"/_cat/plugins": Answer(body=plugins), "/_index_template/_simulate": Answer()}, info)
    assert found.has_alerting
    assert not found.has_watcher
    assert "has no Watcher" in found.why_not("watcher")
    assert found.flattened_type == "flat_object"
    assert "not installed" in features({"/_cat/plugins": Answer(body=[])}, info).why_not("alerting")


def test_what_may_not_be_asked_is_taken_to_be_there() -> None:
    denied = Answer(403, {"error": {"type": "security_exception", "reason": "unauthorized"}})
    found = features({"/_data_stream": denied, "/_index_template/_simulate": denied})
    assert found.has_data_streams
    assert found.has_wildcard
