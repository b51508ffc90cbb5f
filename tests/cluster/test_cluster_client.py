from __future__ import annotations

import socket
from typing import Any

import pytest

from cluster.http_stand_in import INFO, Answer, HttpStandIn
from sigmawatch.cluster import BulkItem, Cluster, ConnectionSettings, ResponseError, bulk, connect, url_path
from sigmawatch.cluster.retry import RetryPolicy, is_idempotent, retry_after_seconds
from sigmawatch.errors import ClusterError

HTML = Answer(
    502,
    b"<html><title>Bad\n Gateway</title><body>nginx</body></html>",
    {"content-type": "text/html; charset=utf-8"},
)


def client(stand_in: HttpStandIn, slept: list[float] | None = None, **settings: Any) -> Cluster:
    waits = slept if slept is not None else []
    return connect(ConnectionSettings(stand_in.url, **settings), sleep=waits.append)


def error(status: int, kind: str, reason: str, **headers: str) -> Answer:
    return Answer(status, {"error": {"type": kind, "reason": reason}, "status": status}, headers)


def test_plain_json_is_asked_for_and_sent() -> None:
    with HttpStandIn(Answer(body={"ok": True})) as server, client(server) as cluster:
        assert cluster.request("PUT", "/x", {"a": 1}) == {"ok": True}
        assert cluster.request("POST", "/_bulk", b'{"index":{}}\n{}\n') == {"ok": True}
    first, second = server.seen
    assert (first.headers["accept"], first.headers["content-type"]) == (
        "application/json",
        "application/json",
    )
    assert first.body == b'{"a":1}'
    assert second.headers["content-type"] == "application/x-ndjson"
    assert second.body == b'{"index":{}}\n{}\n'


def test_the_official_client_calls_work_as_well() -> None:
    with HttpStandIn(Answer(body=INFO)) as server, client(server) as cluster:
        assert cluster.client.info()["cluster_name"] == "stand-in"
    assert "compatible-with" not in server.seen[0].headers["accept"]


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({"api_key": "id:key"}, "ApiKey aWQ6a2V5"),
        ({"api_key": "aWQ6a2V5"}, "ApiKey aWQ6a2V5"),
        ({"basic": ("me", "word")}, "Basic bWU6d29yZA=="),
        ({"bearer": "token"}, "Bearer token"),
    ],
)
def test_login_goes_into_the_authorization_header(settings: dict[str, Any], header: str) -> None:
    with HttpStandIn(Answer()) as server, client(server, **settings) as cluster:
        cluster.request("GET", "/")
    assert server.seen[0].headers["authorization"] == header


def test_a_warning_header_raises_no_python_warning() -> None:
    with HttpStandIn(Answer(headers={"warning": '299 Elasticsearch-9 "this is old"'})) as server:
        assert client(server).request("GET", "/x") == {}


def test_head_says_whether_it_exists() -> None:
    with HttpStandIn(Answer(200), Answer(404)) as server, client(server) as cluster:
        assert cluster.request("HEAD", "/there") is True
        assert cluster.request("HEAD", "/absent") is False


def test_an_ignored_status_returns_none_and_another_raises() -> None:
    with (
        HttpStandIn(error(404, "index_not_found_exception", "no such index [x]")) as server,
        client(server) as cluster,
    ):
        assert cluster.request("GET", "/x", ignore=(404,)) is None
        with pytest.raises(ResponseError, match=r"GET /x: 404 no such index \[x\]") as caught:
            cluster.request("GET", "/x")
    assert (caught.value.status, caught.value.error_type) == (404, "index_not_found_exception")
    assert caught.value.exit_code == 5


def test_a_404_page_of_a_web_server_is_not_taken_for_an_absent_artifact() -> None:
    page = Answer(404, b"<h1>Not Found</h1>", {"content-type": "text/html"})
    with HttpStandIn(page) as server, pytest.raises(ClusterError, match=r"answered 404 text/html, not JSON"):
        client(server).request("GET", "/x", ignore=(404,))


def test_causes_are_part_of_the_reason() -> None:
    body = {
        "error": {
            "type": "parse_exception",
            "reason": "failed to parse",
            "root_cause": [{"reason": "failed to parse"}],
            "caused_by": {"type": "x", "reason": "unknown processor [nope]"},
        },
        "status": 400,
    }
    with HttpStandIn(Answer(400, body)) as server, pytest.raises(ResponseError) as caught:
        client(server).request("PUT", "/x", {})
    assert caught.value.reason == "failed to parse: unknown processor [nope]"


def test_an_html_answer_names_the_page() -> None:
    page = Answer(200, HTML.body, HTML.headers)
    with (
        HttpStandIn(page) as server,
        pytest.raises(ClusterError, match=r"answered 200 text/html.*'Bad Gateway'"),
    ):
        client(server).request("GET", "/")


@pytest.mark.parametrize("content_type", ["application/json", "application/xml", "text/plain"])
def test_what_is_no_json_is_reported_whatever_it_calls_itself(content_type: str) -> None:
    answer = Answer(200, b'{"half": ', {"content-type": content_type})
    with HttpStandIn(answer) as server, pytest.raises(ClusterError, match="not JSON"):
        client(server).request("GET", "/")


def test_half_a_body_is_asked_for_again_and_then_reported() -> None:
    half = Answer(200, b'{"a": ', content_length=1000)
    with HttpStandIn(half, Answer(body={"a": 1})) as server:
        assert client(server).request("GET", "/") == {"a": 1}
    with HttpStandIn(half) as server, pytest.raises(ClusterError, match="the connection broke"):
        client(server).request("GET", "/")
    assert len(server.seen) == RetryPolicy().attempts


def test_401_says_how_to_log_in() -> None:
    with HttpStandIn(error(401, "security_exception", "missing authentication credentials")) as server:
        with pytest.raises(ResponseError) as caught:
            client(server).request("GET", "/")
        assert "SIGMAWATCH_API_KEY" in caught.value.hint
        with pytest.raises(ResponseError) as caught:
            client(server, basic=("me", "hidden-word")).request("GET", "/")
    assert "does not accept our user me" in caught.value.hint
    assert "hidden-word" not in str(caught.value) + caught.value.hint
    assert len(server.seen) == 2


def test_403_names_the_missing_privilege() -> None:
    reason = (
        "action [cluster:admin/ingest/pipeline/put] is unauthorized for API key id [x] of user [me], "
        "this action is granted by the cluster privileges [manage_pipeline,manage,all]"
    )
    with (
        HttpStandIn(error(403, "security_exception", reason)) as server,
        pytest.raises(ResponseError) as caught,
    ):
        client(server, api_key="a:b").request("PUT", "/_ingest/pipeline/x", {})
    assert (
        caught.value.hint == "Our API key lacks one of the cluster privileges manage_pipeline, manage, all."
    )


def test_403_of_opensearchs_security_plugin_names_the_missing_permissions() -> None:
    who = "User [name=me, backend_roles=[], requestedTenant=null]"
    reason = f"no permissions for [indices:data/write/bulk[s], indices:data/write/index] and {who}"
    with (
        HttpStandIn(error(403, "security_exception", reason)) as server,
        pytest.raises(ResponseError) as caught,
    ):
        client(server, basic=("me", "hidden-word")).request("PUT", "/x/_doc/1", {})
    assert (
        caught.value.hint
        == "Our user me lacks the permissions indices:data/write/bulk[s], indices:data/write/index."
    )


def test_429_is_retried_after_the_time_that_the_server_asks_for() -> None:
    slept: list[float] = []
    busy = error(429, "circuit_breaking_exception", "too large", **{"retry-after": "7"})
    with HttpStandIn(busy, Answer(body={"a": 1})) as server:
        assert client(server, slept).request("GET", "/") == {"a": 1}
    assert slept == [7.0]


def test_retries_back_off_and_end() -> None:
    slept: list[float] = []
    with HttpStandIn(HTML) as server, pytest.raises(ResponseError, match="502 Bad Gateway") as caught:
        client(server, slept).request("GET", "/")
    assert len(server.seen) == 6
    assert slept == sorted(slept)
    assert 0.15 <= slept[0] <= 0.3
    assert slept[-1] <= 10
    assert "proxy" in caught.value.hint


def test_a_creation_without_an_id_is_never_sent_twice() -> None:
    with HttpStandIn(error(503, "no_master", "none")) as server, client(server) as cluster:
        with pytest.raises(ResponseError):
            cluster.request("POST", "/index/_doc", {})
        assert len(server.seen) == 1
        with pytest.raises(ResponseError):
            cluster.request("POST", "/index/_doc", {}, idempotent=True)
        assert len(server.seen) == 7


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", True),
        ("PUT", "/_ingest/pipeline/x", True),
        ("DELETE", "/x", True),
        ("POST", "/a,b/_search", True),
        ("POST", "/_msearch", True),
        ("POST", "/_watcher/_query/watches", True),
        ("POST", "/_bulk", False),
        ("POST", "/x/_doc", False),
        ("POST", "/_watcher/watch/x/_execute", False),
        ("POST", "/_search/scroll", False),
        ("POST", "/x/_update_by_query", False),
    ],
)
def test_what_is_idempotent(method: str, path: str, expected: bool) -> None:
    assert is_idempotent(method, path) is expected


def test_retry_after_may_be_a_date() -> None:
    assert retry_after_seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retry_after_seconds("12") == 12
    assert retry_after_seconds("soon") is None
    assert retry_after_seconds(None) is None


def test_a_read_only_block_is_reported_at_once() -> None:
    reason = (
        "index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, "
        "index has read-only-allow-delete block];"
    )
    with (
        HttpStandIn(error(429, "cluster_block_exception", reason)) as server,
        pytest.raises(ResponseError) as caught,
    ):
        client(server).request("PUT", "/x/_doc/1", {})
    assert len(server.seen) == 1
    assert "flood-stage" in caught.value.hint


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_a_refused_connection_is_told_at_once() -> None:
    slept: list[float] = []
    cluster = connect(
        ConnectionSettings(f"http://me:hidden-word@127.0.0.1:{free_port()}"), sleep=slept.append
    )
    with pytest.raises(ClusterError, match="connection refused") as caught:
        cluster.request("GET", "/")
    assert slept == []
    assert "hidden-word" not in str(caught.value)
    assert "9200" in caught.value.hint


def test_another_address_of_the_cluster_is_tried() -> None:
    with HttpStandIn(Answer(body={"a": 1})) as server:
        settings = ConnectionSettings((f"http://127.0.0.1:{free_port()}", server.url))
        for _ in range(4):
            assert connect(settings, sleep=lambda _: None).request("GET", "/") == {"a": 1}


def test_an_unknown_host_is_named() -> None:
    cluster = connect(ConnectionSettings("http://no-such-host.invalid:9200"), sleep=lambda _: None)
    with pytest.raises(ClusterError, match="host name is not known"):
        cluster.request("GET", "/")


def test_http_where_https_was_expected() -> None:
    with HttpStandIn(Answer()) as server:
        cluster = connect(ConnectionSettings(server.url.replace("http:", "https:")), sleep=lambda _: None)
        with pytest.raises(ClusterError, match="no TLS there"):
            cluster.request("GET", "/")


def test_a_silent_server_runs_into_the_timeout() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        cluster = connect(ConnectionSettings(f"http://127.0.0.1:{sock.getsockname()[1]}", timeout=0.1))
        with pytest.raises(ClusterError, match=r"no answer within 0\.1 s"):
            cluster.request("POST", "/x/_doc", {})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": {"number": "7.17.29"}}, "Elasticsearch 7.17.29, cluster stand-in is not supported"),
        (
            {"version": {"number": "1.3.0", "distribution": "opensearch"}},
            "OpenSearch 1.3.0.* is not supported",
        ),
        ({"version": None}, "neither Elasticsearch nor OpenSearch"),
    ],
)
def test_what_is_not_supported_is_refused(change: dict[str, Any], message: str) -> None:
    with HttpStandIn(Answer(body=INFO | change)) as server, pytest.raises(ClusterError, match=message):
        _ = client(server).info


@pytest.mark.parametrize(
    ("change", "distribution", "version"),
    [
        ({}, "elasticsearch", (9, 4, 3)),
        ({"version": {"number": "8.19.13-SNAPSHOT"}}, "elasticsearch", (8, 19, 13)),
        ({"version": {"number": "3.7.0", "distribution": "opensearch"}}, "opensearch", (3, 7, 0)),
        (
            {"version": {"number": "7.10.2"}, "tagline": "The OpenSearch Project: https://opensearch.org/"},
            "opensearch",
            (7, 10, 2),
        ),
    ],
)
def test_info_tells_the_products_apart(
    change: dict[str, Any], distribution: str, version: tuple[int, ...]
) -> None:
    with HttpStandIn(Answer(body=INFO | change)) as server, client(server) as cluster:
        assert (cluster.info.distribution, cluster.info.version) == (distribution, version)
        assert cluster.info is cluster.info
    assert len(server.seen) == 1


def test_bulk_looks_at_every_item() -> None:
    answer = {
        "errors": True,
        "items": [
            {"index": {"_id": "a", "status": 201}},
            {"index": {"_id": "b", "status": 400, "error": {"type": "mapper", "reason": "no"}}},
            {"delete": {"_id": "c", "status": 404, "result": "not_found"}},
            {"create": {"_id": "d", "status": 429, "error": {"type": "busy", "reason": "queue"}}},
        ],
    }
    again = {"errors": False, "items": [{"create": {"_id": "d", "status": 201}}]}
    items = [
        BulkItem("index", "i", "a", {}),
        BulkItem("index", "i", "b", {}),
        BulkItem("delete", "i", "c"),
        BulkItem("create", "i", "d", {}),
    ]
    with HttpStandIn(Answer(body=answer), Answer(body=again)) as server, client(server) as cluster:
        failed = bulk(cluster, items, refresh=True)
    assert [str(one) for one in failed] == ["b: 400 no"]
    assert server.seen[0].path == "/_bulk?refresh=true"


def test_bulk_splits_by_count() -> None:
    def reply(seen: Any) -> Answer:
        lines = seen.body.count(b"\n") // 2
        return Answer(body={"items": [{"index": {"status": 201}}] * lines})

    with HttpStandIn(reply=reply) as server, client(server) as cluster:
        assert bulk(cluster, (BulkItem("index", "i", str(n), {}) for n in range(2500))) == []
    assert len(server.seen) == 3


def test_paths_are_quoted() -> None:
    assert url_path("_doc", "a/b ?c") == "/_doc/a%2Fb%20%3Fc"
