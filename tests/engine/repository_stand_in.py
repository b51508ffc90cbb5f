"""A stand-in for Maven Central: serves one file over HTTP, well or badly, as a list of answers says."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from sigmawatch.engine.distribution import Archive, Distribution, Engine

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = {
    "thing-1/bin/skipped.bat": b"not wanted",
    "thing-1/lib/a.jar": b"a" * 5000,
    "thing-1/lib/tools/left-out.jar": b"not wanted",
    "thing-1/modules/m/m.jar": b"m" * 3000,
    "elsewhere/x": b"not wanted",
}


def zip_bytes() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return packed.getvalue()


CONTENT = zip_bytes()
ARCHIVE = Archive("org.example", "thing", "1", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
DISTRIBUTION = Distribution(
    engine=Engine.OPENSEARCH,
    title="Thing",
    version="1",
    archive=ARCHIVE,
    folder="thing-1/",
    unpacked_size=10_000,
    keep=("lib/", "modules/"),
    drop=("lib/tools/",),
)


@dataclass
class Repository:
    url: str
    answers: list[str]
    """What the next requests get: good, truncated, altered, missing, hanging. Afterwards: good."""
    requests: int = 0
    halfway: threading.Event = field(default_factory=threading.Event)
    """Set when a hanging answer has sent its first half."""
    released: threading.Event = field(default_factory=threading.Event)


@contextmanager
def repository(*answers: str) -> Iterator[Repository]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.endswith("/org/example/thing/1/thing-1.zip"):
                self.send_error(404)  # jgo asks for a checksum file beside it
                return
            served.requests += 1
            kind = served.answers.pop(0) if served.answers else "good"
            if kind == "missing":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            half = len(CONTENT) // 2
            if kind == "truncated":
                self.wfile.write(CONTENT[:half])
            elif kind == "altered":
                self.wfile.write(CONTENT[:half] + b"!" + CONTENT[half + 1 :])
            elif kind == "hanging":
                self.wfile.write(CONTENT[:half])
                self.wfile.flush()
                served.halfway.set()
                served.released.wait(30)
            else:
                self.wfile.write(CONTENT)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Repository(f"http://127.0.0.1:{server.server_port}", list(answers))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield served
    finally:
        served.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
