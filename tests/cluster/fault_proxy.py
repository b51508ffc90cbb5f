"""`FaultProxy`: stands between a client and a real engine, and spoils requests as a test wants.

The engine behind it is real; only what happens on the way is made up: connections that are cut before or after the
request got through, answers of gateways, half an answer, an answer that comes too late.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

_PAGE = b"<html><head><title>Bad gateway</title></head><body>sorry</body></html>"
_BUSY = b'{"error":{"type":"es_rejected_execution_exception","reason":"queue is full"},"status":429}'
_HOP = {"connection", "content-length", "transfer-encoding", "host", "content-encoding"}


class Fault(Enum):
    """What happens to a request."""

    CUT_BEFORE = "the connection is cut before the request gets through"
    CUT_AFTER = "the connection is cut after the request got through"
    HALF = "half of the answer arrives"
    LATE = "the answer comes later than anybody waits"
    BUSY = "429 from the engine"
    BAD_GATEWAY = "502 with a page of HTML"
    TOO_LONG = "413 with a page of HTML"
    UNAVAILABLE = "503 with nothing"
    GATEWAY_TIMEOUT = "504 from a gateway, after the request got through"
    PAGE = "200 with a page of HTML"


_DELIVERED = {Fault.CUT_AFTER, Fault.HALF, Fault.LATE, Fault.GATEWAY_TIMEOUT}


class FaultProxy:
    """Forwards to `upstream`; `fault` decides what happens to request number n (from 1), None: nothing."""

    def __init__(self, upstream: str) -> None:
        self.fault: Callable[[int], Fault | None] = lambda number: None
        self.on_request: Callable[[int], object] = lambda number: None
        """Called before a request is forwarded."""
        self.longest: int | None = None
        """Bytes of a request from which on it is refused with 413, as by a proxy."""
        self.seen: list[str] = []
        """Method and path of each request since `reset`."""
        self._guard = threading.Lock()
        self._ended = threading.Event()
        place = urlsplit(upstream)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1

            def _handle(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                with proxy._guard:
                    proxy.seen.append(f"{self.command} {self.path}")
                    number = len(proxy.seen)
                proxy.on_request(number)
                fault = proxy.fault(number)
                if proxy.longest is not None and len(body) > proxy.longest:
                    fault = Fault.TOO_LONG
                answer = None
                if fault is None or fault in _DELIVERED:
                    answer = self._forward(body)
                if fault is None:
                    assert answer is not None
                    self._send(*answer)
                elif fault in {Fault.CUT_BEFORE, Fault.CUT_AFTER}:
                    self.close_connection = True
                elif fault is Fault.HALF:
                    assert answer is not None
                    self._send(*answer, length=max(2, len(answer[2]) * 2))
                    self.close_connection = True
                elif fault is Fault.LATE:
                    proxy._ended.wait(5)
                    self.close_connection = True
                else:
                    self._send(*_GATEWAY[fault])

            def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
                connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=180)
                try:
                    headers = {
                        name: value for name, value in self.headers.items() if name.lower() not in _HOP
                    }
                    connection.request(self.command, self.path, body or None, headers)
                    got = connection.getresponse()
                    kept = {name: value for name, value in got.getheaders() if name.lower() not in _HOP}
                    return got.status, kept, got.read()
                finally:
                    connection.close()

            def _send(
                self, status: int, headers: dict[str, str], body: bytes, length: int | None = None
            ) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body) if length is None else length))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args: Any) -> None:
                """Say nothing: clients that give up are what these tests are about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def reset(self, fault: Callable[[int], Fault | None] = lambda number: None) -> None:
        """Count from 1 again, with other faults."""
        with self._guard:
            self.seen = []
        self.fault = fault

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


_GATEWAY: dict[Fault, tuple[int, dict[str, str], bytes]] = {
    Fault.BUSY: (429, {"content-type": "application/json"}, _BUSY),
    Fault.BAD_GATEWAY: (502, {"content-type": "text/html"}, _PAGE),
    Fault.TOO_LONG: (413, {"content-type": "text/html"}, _PAGE),
    Fault.UNAVAILABLE: (503, {"content-type": "text/plain"}, b""),
    Fault.GATEWAY_TIMEOUT: (504, {"content-type": "text/html"}, _PAGE),
    Fault.PAGE: (200, {"content-type": "text/html"}, _PAGE),
}
