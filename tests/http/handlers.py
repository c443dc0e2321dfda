"""What stands in for the connection manager when a downstream connection is tested alone."""

from __future__ import annotations

from collections.abc import Callable

from pyproxy.errors import ProxyError
from pyproxy.http.body import Body, Trailers
from pyproxy.http.codec import CodecError, End, RequestHead
from pyproxy.http.message import Headers, Pair
from pyproxy.http.stream import DownstreamConnection, DownstreamStream
from tests.http.requests import make_info


class Handler:
    """One request, answered when the test says so, and a sink for its body."""

    def __init__(
        self, stream: DownstreamStream, head: RequestHead | None, body: Body | None, at_once: Callable[[Handler], None]
    ) -> None:
        self.stream = stream
        self.head = head
        self.body = body
        self.at_once = at_once
        self.info = make_info()
        self.events: list[str] = []
        self.data = b""
        self.refusal: CodecError | None = None
        self.reset: ProxyError | None = None
        self.response_body: Body | None = None

    def start(self) -> None:
        self.at_once(self)

    def reply(self, status: int = 200, body: Body | bytes | None = b"ok", *headers: Pair) -> None:
        if isinstance(body, bytes):
            headers = (*headers, (b"content-length", b"%d" % len(body)))
            body = Body.complete(body)
        self.response_body = body
        self.stream.send_response(status, Headers(list(headers)), body, self.info)

    def read_body(self) -> None:
        assert self.body is not None
        self.body.pipe_to(self)

    # RequestHandler

    def on_request_data(self, size: int) -> None:
        self.events.append(f"data {size}")

    def on_request_end(self, end: End) -> None:
        self.events.append("request end")

    def on_sent(self) -> None:
        self.events.append("sent")

    def on_downstream_reset(self, error: ProxyError) -> None:
        self.events.append("reset")
        self.reset = error
        if self.response_body is None and error.status:
            self.reply(error.status, error.body)

    # Sink of the request body

    def on_data(self, chunk: bytes) -> None:
        self.data += chunk

    def on_end(self, trailers: Trailers | None) -> None:
        self.events.append("body end")

    def on_abort(self, error: ProxyError) -> None:
        self.events.append("body abort")


def wait(handler: Handler) -> None:
    """Answer later."""


def ok(handler: Handler) -> None:
    handler.reply(200, handler.head.target if handler.head is not None else b"")


class Acceptor:
    """Makes a `Handler` of each request; `at_once` says what it does first."""

    def __init__(self) -> None:
        self.at_once: Callable[[Handler], None] = wait
        self.handlers: list[Handler] = []
        self.open = 0
        self.versions: list[str] = []
        self.counted: list[str] = []

    def on_request(self, stream: DownstreamStream, head: RequestHead, body: Body | None) -> Handler:
        self.handlers.append(Handler(stream, head, body, self.at_once))
        return self.handlers[-1]

    def on_codec_error(self, stream: DownstreamStream, error: CodecError, size: int = 0) -> Handler:
        handler = Handler(stream, None, None, lambda h: h.reply(error.status, error.details.encode()))
        handler.refusal = error
        self.handlers.append(handler)
        return handler

    def on_open(self, connection: DownstreamConnection) -> None:
        self.open += 1

    def on_closed(self, connection: DownstreamConnection) -> None:
        self.open -= 1

    def on_codec(self, connection: DownstreamConnection, version: str) -> None:
        self.versions.append(version)

    def become_h2(self, connection: DownstreamConnection, data: bytes) -> None:
        raise AssertionError("it was not to look for HTTP/2")

    def count(self, what: str) -> None:
        self.counted.append(what)
