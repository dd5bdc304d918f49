# SPDX-License-Identifier: Apache-2.0
"""A small web server on loopback that can be made to misbehave."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answer:
    """What a server says of a path."""

    content: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    busy: list[int] = field(default_factory=list)
    """Statuses of the first answers."""
    cut: int | None = None
    """Bytes after which the connection ends."""
    cuts: int = 1000
    """How many times."""
    chunked: bool = False
    drip_seconds: float = 0
    """Between two bytes."""
    ranges: bool = False
    """Whether the rest alone can be had."""


@dataclass
class Site:
    """What the server has, and what it was asked: method and path."""

    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    port: int = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def add(self, path: str, content: bytes | str = b"", **how: Any) -> str:
        """Have the server answer for a path; return its URL."""
        content = content.encode() if isinstance(content, str) else content
        self.answers[path] = Answer(content=content, **how)
        return self.url(path)


def _handler(site: Site) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            site.requests.append(f"{self.command} {self.path}")
            site.headers.append(dict(self.headers.items()))
            missing = Answer(content=b"<html>No such page</html>", status=404)
            answer = site.answers.get(self.path, missing)
            status = answer.busy.pop(0) if answer.busy else answer.status
            headers = {"Content-Length": str(len(answer.content)), **answer.headers}
            start = self._start(answer)
            if start:
                status, length = 206, len(answer.content)
                headers["Content-Range"] = f"bytes {start}-{length - 1}/{length}"
                headers["Content-Length"] = str(length - start)
            if answer.chunked:
                del headers["Content-Length"]
                headers["Transfer-Encoding"] = "chunked"
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self._body(answer, start)

        def _start(self, answer: Answer) -> int:
            """Where to begin: not at once if the rest is wanted of what is still the same."""
            wanted = self.headers.get("Range", "").removeprefix("bytes=").partition("-")[0]
            states = (answer.headers.get("ETag"), answer.headers.get("Last-Modified"))
            is_same = self.headers.get("If-Range") in states
            return int(wanted) if wanted and answer.ranges and is_same else 0

        def _body(self, answer: Answer, start: int) -> None:
            content = answer.content[start:]
            if answer.cut is not None and answer.cuts > 0:
                answer.cuts -= 1
                content = content[: answer.cut]
                self.close_connection = True
            if answer.chunked:
                content = b"%x\r\n%s\r\n" % (len(content), content) if content else b""
                content += b"" if self.close_connection else b"0\r\n\r\n"
            pieces = [content]
            if answer.drip_seconds:
                pieces = [content[i : i + 1] for i in range(len(content))]
            with contextlib.suppress(ConnectionError):  # who asked has had enough
                for piece in pieces:
                    self.wfile.write(piece)
                    time.sleep(answer.drip_seconds)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    return Handler


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *arguments: Any) -> None:
        """Say nothing of clients that have had enough."""


@contextlib.contextmanager
def serve_site() -> Iterator[Site]:
    """Run a server with nothing yet."""
    site = Site()
    with _Server(("127.0.0.1", 0), _handler(site)) as server:
        site.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield site
        server.shutdown()
        thread.join()
