"""URLs, request lines and the encodings of access logs, beyond what samples show."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

import pytest

from datasets.dataset_server import Server
from sigmawatch.datasets.script import Script

if TYPE_CHECKING:
    from collections.abc import Sequence


def urls(server: Server, texts: Sequence[tuple[str, str | None, str | None]]) -> list[dict[str, Any]]:
    """Return the fields of URLs, each given with host and scheme of targets that have none."""
    source = Script().text(
        "Map url = new HashMap(); putUrl(url, (String)ctx.get('in'), (String)ctx.get('host'), "
        "(String)ctx.get('scheme'), false); ctx.put('url', url);"
    )
    documents = [{"in": text, "host": host, "scheme": scheme} for text, host, scheme in texts]
    return [document["url"] for document in server.run(source, documents)]


def test_urls_are_split_as_ecs_has_it(server: Server) -> None:
    cases: dict[tuple[str, str | None, str | None], dict[str, Any]] = {
        ("https://user:pa:ss@www.Example.com:8443/a/b.tar.gz?x=1&y=?#top", None, None): {
            "scheme": "https", "username": "user", "password": "pa:ss", "domain": "www.example.com", "port": 8443,
            "path": "/a/b.tar.gz", "query": "x=1&y=?", "fragment": "top", "extension": "gz",
        },
        ("http://[2001:DB8::1]:8080/", None, None): {
            "scheme": "http", "domain": "[2001:db8::1]", "port": 8080, "path": "/",
        },
        ("http://198.51.100.7?q", None, None): {"scheme": "http", "domain": "198.51.100.7", "query": "q"},
        ("ftp://example.com", None, None): {"scheme": "ftp", "domain": "example.com"},
        ("http://example.com.:80/.htaccess", None, None): {
            "scheme": "http", "domain": "example.com", "port": 80, "path": "/.htaccess", "extension": "htaccess",
        },
        ("/a.b/c", "example.com:8080", "http"): {
            "domain": "example.com", "port": 8080, "scheme": "http", "path": "/a.b/c",
            "full": "http://example.com:8080/a.b/c",
        },
        ("/login.jsp;jsessionid=1.2?u=http://evil.example/x.php", "example.com", None): {
            "domain": "example.com", "path": "/login.jsp;jsessionid=1.2", "query": "u=http://evil.example/x.php",
            "extension": "jsp",
        },
        ("//evil.example/x", None, None): {"path": "//evil.example/x"},
        ("/?", None, None): {"path": "/"},
        ("*", None, None): {"path": "*"},
        ("http://exa mple/x", None, None): {"scheme": "http", "path": "/x"},
        ("http://a@b@example.com/", None, None): {
            "scheme": "http", "username": "a@b", "domain": "example.com", "path": "/",
        },
        ("http://:80/", None, None): {"scheme": "http", "port": 80, "path": "/"},
        ("http://example.com:99999/", None, None): {"scheme": "http", "domain": "example.com", "path": "/"},
        ("http://[::1/", None, None): {"scheme": "http", "path": "/"},
        ("://x", None, None): {"path": "://x"},
        ("/x", "not a host", "https"): {"scheme": "https", "path": "/x"},
        ("/x", "[2001:db8::5]", "https"): {
            "scheme": "https", "domain": "[2001:db8::5]", "path": "/x", "full": "https://[2001:db8::5]/x",
        },
    }  # fmt: skip
    for (text, host, scheme), found in zip(cases, urls(server, list(cases)), strict=True):
        expected = {"original": text, **cases[text, host, scheme]}
        if "://" in text and "scheme" in expected and scheme is None:
            expected["full"] = text
        assert found == expected


def test_urls_are_split_as_python_does_and_garbage_never_throws(server: Server) -> None:
    pick = random.Random(20260302)
    pieces = ["http", "https", "://", ":", "/", "//", "?", "#", "@", "[", "]", "a.b", "example.com", "::1", "80", " ",
              "%2e", "\\", "\x00", "☃", "..", ";", "=", "&", "'", '"', "-", "x" * 300]  # fmt: skip
    texts = ["".join(pick.choice(pieces) for _ in range(pick.randrange(1, 12))) for _ in range(2500)]
    texts += [
        f"{pick.choice(['http', 'https'])}://h{n}.example.com{pick.choice(['', ':81'])}/{quote(chr(n))}/f.{n}?q={n}"
        for n in range(500)
    ]
    found = urls(server, [(text, None, None) for text in texts])
    for text, url in zip(texts, found, strict=True):
        assert url["original"] == text
        assert "" not in url.values()
    for text, url in zip(texts[2500:], found[2500:], strict=True):
        split = urlsplit(text)
        assert (url["scheme"], url["domain"], url["path"], url["query"]) == (
            split.scheme, split.hostname, split.path, split.query,
        )  # fmt: skip
        assert url.get("port") == split.port


def test_a_url_may_begin_with_its_host(server: Server) -> None:
    main = "Map url = new HashMap(); putHostUrl(url, (String)ctx.get('in')); ctx.put('out', url);"
    cases: dict[str, dict[str, Any]] = {
        "www.example.com/a.php?b=1,2": {
            "domain": "www.example.com", "path": "/a.php", "query": "b=1,2", "extension": "php",
        },
        "www.example.com": {"domain": "www.example.com"},
        "www.example.com:8443/": {"domain": "www.example.com", "port": 8443, "path": "/"},
        "https://www.example.com/a": {
            "scheme": "https", "domain": "www.example.com", "path": "/a", "full": "https://www.example.com/a",
        },
        "/a?b": {"path": "/a", "query": "b"},
        "192.0.2.1/x": {"domain": "192.0.2.1", "path": "/x"},
    }  # fmt: skip
    given = server.run(Script().text(main), [{"in": text} for text in cases])
    assert [one["out"] for one in given] == [{**parts, "original": text} for text, parts in cases.items()]


def test_request_lines(server: Server) -> None:
    source = Script().text(
        "Map http = new HashMap(); Map request = new HashMap(); Map url = new HashMap();"
        "putRequest(http, request, url, (String)ctx.get('in'), null, null);"
        "ctx.put('out', [request.get('method'), http.get('version'), url.get('original'), url.get('path')]);"
    )
    cases = {
        "GET /x HTTP/1.1": ["GET", "1.1", "/x", "/x"],
        "GET /a b c HTTP/1.0": ["GET", "1.0", "/a b c", "/a b c"],
        "GET /x HTTP/2.0": ["GET", "2", "/x", "/x"],
        "GET /x HTTP/3": ["GET", "3", "/x", "/x"],
        "GET /x": ["GET", None, "/x", "/x"],
        "GET / HTTP/1.1 HTTP/1.1": ["GET", "1.1", "/ HTTP/1.1", "/ HTTP/1.1"],
        "GET": ["GET", None, None, None],
        "GET  HTTP/1.1": ["GET", "1.1", None, None],
        "-": [None, None, None, None],
        "- - -": [None, None, None, None],
        "CONNECT example.com:443 HTTP/1.1": ["CONNECT", "1.1", "example.com:443", None],
        "\\x16\\x03\\x01": [None, None, "\\x16\\x03\\x01", None],
        "get /x HTTP/1.1": ["get", "1.1", "/x", "/x"],
        "GET /x HTTP/1.1.2.3.4.5": ["GET", None, "/x", "/x"],
        "OPTIONS * HTTP/1.1": ["OPTIONS", "1.1", "*", "*"],
        "": [None, None, "", None],
        "() { :; }; echo HTTP/1.1": [None, None, "() { :; }; echo HTTP/1.1", None],
    }
    found = server.run(source, [{"in": text} for text in cases])
    assert {text: document["out"] for text, document in zip(cases, found, strict=True)} == cases


def test_encoded_texts_are_those_that_python_decodes(server: Server) -> None:
    pick = random.Random(4)
    texts = ["".join(pick.choice("abé€𝄞☃ '\"+/%") for _ in range(pick.randrange(20))) for _ in range(400)]
    script = Script().text(
        "ctx.put('url', decoded(ctx.get('a'), '%')); ctx.put('hex', unescaped(ctx.get('b')));"
    )
    documents = [
        {"a": quote(text, safe=""), "b": "".join(f"\\x{byte:02X}" for byte in text.encode())}
        for text in texts
    ]
    for text, document in zip(texts, server.run(script, documents), strict=True):
        assert document["url"] == document["hex"] == text


def test_what_is_no_text_stays_encoded(server: Server) -> None:
    texts = ["%", "%2", "%zz", "%00%0d%0A", "%ff%fe", "%c0%af", "%ed%a0%80", "%f4%90%80%80", "%e2%82", "%41%", "%%41",
             "%c3%28", "a%7f"]  # fmt: skip
    script = Script().text("ctx.put('out', decoded(ctx.get('in'), '%'));")
    found = [document["out"] for document in server.run(script, [{"in": text} for text in texts])]
    assert found == ["%", "%2", "%zz", "%00%0d%0A", "%ff%fe", "%c0%af", "%ed%a0%80", "%f4%90%80%80", "%e2%82", "A%",
                     "%A", "%c3(", "a%7f"]  # fmt: skip
    assert unquote("%e2%82%ac") == "€"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("198.51.100.7", ["198.51.100.7"]),
        ("198.51.100.7, 10.0.0.1", ["198.51.100.7", "10.0.0.1"]),
        ("unknown, 198.51.100.7:4711", ["198.51.100.7"]),
        ("2001:db8::7, [2001:db8::8]:443", ["2001:db8::7", "2001:db8::8"]),
        ("' OR 1=1 --", []),
        (", ,", []),
    ],
)
def test_lists_of_forwarded_addresses(server: Server, text: str, expected: list[str]) -> None:
    script = Script().text("ctx.put('out', forwardedAddresses(ctx.get('in')));")
    assert server.run(script, [{"in": text}])[0]["out"] == expected


def test_durations_are_whole_nanoseconds(server: Server) -> None:
    cases = {
        "0": 0, "1.5": 1_500_000_000, "0.000000001": 1, "0.0000000019": 1, "12.": 12 * 10**9, ".5": 5 * 10**8,
        "9223372036.854775": 9_223_372_036_854_775_000, "9999999999": None, "-1": None, "1,5": None, "": None, ".": None,
        "1e3": None,
    }  # fmt: skip
    script = Script().text("ctx.put('out', nanosecondsOf(ctx.get('in'), 9));")
    found = server.run(script, [{"in": text} for text in cases])
    assert {text: document["out"] for text, document in zip(cases, found, strict=True)} == cases
