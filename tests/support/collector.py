"""A collector of telemetry over HTTP: takes OTLP (protobuf) and Zipkin (JSON) and keeps what came."""

from __future__ import annotations

import gzip
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.ports import LOOPBACK

PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Collector:
    """Listens on a free port from `start` to `stop`. `status` is what it answers."""

    status: int = 200
    received: list[Received] = field(default_factory=list)
    _news: threading.Condition = field(default_factory=threading.Condition)
    _server: ThreadingHTTPServer | None = None

    @classmethod
    def start(cls, status: int = 200) -> Collector:
        made = cls(status)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self._body()
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                headers = {name.lower(): value for name, value in self.headers.items()}
                made.take(Received(self.path, headers, body))
                self.send_response(made.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def _body(self) -> bytes:
                if "chunked" not in (self.headers.get("transfer-encoding") or ""):
                    return self.rfile.read(int(self.headers.get("content-length") or 0))
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        made._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        threading.Thread(target=made._server.serve_forever, args=(0.02,), daemon=True).start()
        return made

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.server_address[1])

    def take(self, one: Received) -> None:
        with self._news:
            self.received.append(one)
            self._news.notify_all()

    def wait_for(self, enough: Any, patience: float = PATIENCE) -> list[Received]:
        """What has come, once `enough(received)` is true; AssertionError if that takes too long."""
        with self._news:
            done = self._news.wait_for(lambda: enough(self.received), patience)
            assert done, f"{len(self.received)} requests came, and they are not what was waited for"
            return list(self.received)

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
