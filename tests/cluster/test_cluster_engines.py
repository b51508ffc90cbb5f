"""The client against the real engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sigmawatch.cluster import BulkItem, Cluster, ConnectionSettings, ResponseError, bulk, connect
from sigmawatch.engine import Node

if TYPE_CHECKING:
    from collections.abc import Iterator

INDEX = "swtest-cluster-client"


@pytest.fixture
def cluster(each_engine: Node) -> Iterator[Cluster]:
    with connect(ConnectionSettings(each_engine.url)) as one:
        one.request("DELETE", f"/{INDEX}", ignore=(404,))
        yield one
        one.request("DELETE", f"/{INDEX}", ignore=(404,))


def test_it_knows_what_it_talks_to(cluster: Cluster, each_engine: Node) -> None:
    assert cluster.info.distribution == each_engine.engine.value
    assert cluster.info.version >= (3, 0, 0)
    assert cluster.info.uuid


def test_features_are_asked_of_the_cluster(cluster: Cluster) -> None:
    features = cluster.features()
    assert not features.has_watcher
    assert "Watcher" in features.why_not("watcher")
    assert {"set", "script", "date"} <= features.processors
    if cluster.info.distribution == "opensearch":
        assert (features.flattened_type, features.has_data_streams) == ("flat_object", True)
        assert features.has_wildcard
        assert features.has_constant_keyword
    else:
        assert (features.flattened_type, features.has_data_streams) == ("flattened", False)
        assert "wildcard" in features.why_not("wildcard")
        assert features.licence == "basic"


def test_documents_go_in_and_come_out(cluster: Cluster) -> None:
    items = [BulkItem("index", INDEX, str(number), {"n": number}) for number in range(2_500)]
    assert bulk(cluster, items, refresh=True) == []
    found = {hit["_source"]["n"] for hit in cluster.scan(INDEX, size=1_000)}
    assert found == set(range(2_500))
    assert len(list(cluster.scan(INDEX, {"range": {"n": {"lt": 10}}}, source=False))) == 10
    assert list(cluster.scan("swtest-no-such-index")) == []
    lines = b'{"index":"swtest-cluster-client"}\n{"size":0,"track_total_hits":true}\n'
    answer = cluster.request("POST", "/_msearch", lines)
    assert answer["responses"][0]["hits"]["total"]["value"] == 2_500


def test_a_document_that_fails_is_reported(cluster: Cluster) -> None:
    cluster.request("PUT", f"/{INDEX}", {"mappings": {"properties": {"n": {"type": "long"}}}})
    failed = bulk(
        cluster, [BulkItem("index", INDEX, "a", {"n": "x"}), BulkItem("index", INDEX, "b", {"n": 1})]
    )
    assert [(one.item.id, one.status) for one in failed] == [("a", 400)]
    assert "failed to parse field [n]" in failed[0].reason


def test_answers_belong_to_their_documents_whatever_the_server_makes_of_their_order(cluster: Cluster) -> None:
    failing = {
        "processors": [{"drop": {"if": "ctx.n == 1"}}, {"fail": {"if": "ctx.n == 2", "message": "no"}}]
    }
    cluster.request("PUT", f"/_ingest/pipeline/{INDEX}", failing)
    cluster.request("PUT", f"/{INDEX}", {"settings": {"index": {"default_pipeline": INDEX}}})
    numbers = [1, 2, 3, 1, 2, 3, 2, 3, 1]
    try:
        failed = bulk(cluster, [BulkItem("index", INDEX, str(at), {"n": n}) for at, n in enumerate(numbers)])
    finally:
        cluster.request("DELETE", f"/{INDEX}", ignore=(404,))
        cluster.request("DELETE", f"/_ingest/pipeline/{INDEX}")
    assert [one.item.id for one in failed] == [str(at) for at, n in enumerate(numbers) if n == 2]


def test_half_a_character_does_not_make_an_answer_unreadable(cluster: Cluster) -> None:
    # As a JSON text may hold it, whoever wrote it.
    line = b'{"index":{"_index":"%b","_id":"1"}}\n{"a":"x\\ud83dy"}\n' % INDEX.encode()
    cluster.request("POST", "/_bulk", line, params={"refresh": "true"})
    found = cluster.request("GET", f"/{INDEX}/_search")
    assert [hit["_source"] for hit in found["hits"]["hits"]] == [{"a": "x?y"}]


def test_errors_are_those_of_the_server(cluster: Cluster) -> None:
    body: dict[str, Any] = {"processors": [{"no_such": {}}]}
    with pytest.raises(ResponseError, match=r"400 No processor type exists with name \[no_such\]") as caught:
        cluster.request("PUT", "/_ingest/pipeline/swtest-bad", body)
    assert caught.value.error_type
    with pytest.raises(ResponseError) as missing:
        cluster.request("POST", "/swtest-no-such-index/_search", {})
    assert missing.value.error_type == "index_not_found_exception"


def test_a_read_only_index_is_explained(cluster: Cluster) -> None:
    cluster.request("PUT", f"/{INDEX}", {"settings": {"index.blocks.read_only_allow_delete": True}})
    with pytest.raises(ResponseError) as caught:
        cluster.request("PUT", f"/{INDEX}/_doc/1", {})
    assert "flood-stage" in caught.value.hint


def test_the_official_client_works_too(cluster: Cluster) -> None:
    assert cluster.client.indices.exists(index="swtest-no-such-index").meta.status == 404
    cluster.client.index(index=INDEX, id="1", document={"a": 1}, refresh=True)
    assert cluster.client.search(index=INDEX)["hits"]["total"]["value"] == 1
