"""`HttpStandIn`: a server that answers what a test tells it to, which no real cluster can be made to do."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import orjson

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

INFO = {
    "name": "node",
    "cluster_name": "stand-in",
    "cluster_uuid": "u",
    "version": {"number": "9.4.3", "build_flavor": "default"},
    "tagline": "You Know, for Search",
}


@dataclass
class Answer:
    """One HTTP answer."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    content_length: int | None = None
    """A length that is not the body's, to cut an answer short."""


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class HttpStandIn:
    """Answers each request with the next of `answers` (the last again and again), or as `reply` says."""

    def __init__(
        self,
        *answers: Answer,
        reply: Callable[[Seen], Answer] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.answers = list(answers)
        self.reply = reply
        self.seen: list[Seen] = []
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet: in two, the second waits for an acknowledgement

            def _answer(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                seen = Seen(
                    self.command,
                    self.path,
                    {name.lower(): value for name, value in self.headers.items()},
                    self.rfile.read(length),
                )
                answer = stand_in.next_answer(seen)
                raw = answer.body if isinstance(answer.body, bytes) else orjson.dumps(answer.body)
                self.send_response(answer.status)
                headers = {"content-type": "application/json", **answer.headers}
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(answer.content_length or len(raw)))
                if answer.content_length:
                    self.close_connection = True
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(raw)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = _answer  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._scheme = "http"
        if tls is not None:
            self._scheme = "https"
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def next_answer(self, seen: Seen) -> Answer:
        self.seen.append(seen)
        if self.reply is not None:
            return self.reply(seen)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


class Served(ABC):
    """Base of the stand-ins that keep a state: use as a context manager; `url` is where it listens."""

    @abstractmethod
    def reply(self, seen: Seen) -> Answer:
        """Return the answer to a request."""

    @cached_property
    def _http(self) -> HttpStandIn:
        return HttpStandIn(reply=self.reply)

    @property
    def url(self) -> str:
        return self._http.url

    def __enter__(self) -> Self:
        self._http.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._http.__exit__(*exc)
