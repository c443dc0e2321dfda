"""The seam between a codec's connection and what handles its requests, the same for every HTTP version."""

from __future__ import annotations

from typing import Any, Protocol

from pyproxy.errors import ProxyError
from pyproxy.http.body import Body
from pyproxy.http.codec import CodecError, End, RequestHead
from pyproxy.http.message import Headers
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo
from pyproxy.network.connection import Peer


class DownstreamStream(Protocol):
    """Where the response to one request goes. HTTP/1 has one of them at a time per connection."""

    info: ConnectionInfo
    last_active: float
    """When something was last received or sent (`clock.now`)."""

    def send_informational(self, status: int, info: StreamInfo) -> None:
        """Send an interim response (100)."""

    def send_response(self, status: int, headers: Headers, body: Body | None, info: StreamInfo) -> None:
        """Send the response. The body follows by itself; the handler's `on_sent` is called when it is out.

        The codec adds the framing headers to `headers` and writes sizes and times to `info`.
        """

    def close_after_response(self) -> None:
        """The connection carries no further request (HTTP/1: `connection: close`; HTTP/2: GOAWAY)."""

    def on_abort(self, error: ProxyError) -> None:
        """Break the response off, so that the downstream can tell."""

    def reset(self) -> None:
        """Give the stream up: the response cannot be finished."""


class RequestHandler(Protocol):
    """What was made of one request."""

    def start(self) -> None: ...

    def on_request_data(self, size: int) -> None:
        """So many more bytes of the request body are here."""

    def on_request_end(self, end: End) -> None:
        """The whole request is here (called only for a request whose body came after its head)."""

    def on_sent(self) -> None:
        """The whole response was handed to the connection."""

    def on_downstream_reset(self, error: ProxyError) -> None:
        """The downstream has gone, or broke the protocol, before the response was out."""


class DownstreamConnection(Protocol):
    """What the connection manager knows of a connection, whatever its codec."""

    info: ConnectionInfo

    @property
    def active(self) -> int:
        """Requests in progress."""

    def peer(self) -> Peer: ...

    def local(self) -> Peer: ...

    def close_after_response(self) -> None: ...

    def drain(self) -> None: ...

    def abort(self) -> None: ...


class StreamAcceptor(Protocol):
    """Takes the requests of one downstream connection."""

    def on_request(self, stream: DownstreamStream, head: RequestHead, body: Body | None) -> RequestHandler:
        """A request came: make its handler. The connection then calls `start`."""

    def on_codec_error(self, stream: DownstreamStream, error: CodecError, size: int) -> RequestHandler:
        """The downstream broke the protocol after `size` bytes of a request: make the handler that answers."""

    def on_open(self, connection: DownstreamConnection) -> None: ...

    def on_codec(self, connection: DownstreamConnection, version: str) -> None:
        """It is clear which HTTP the connection speaks: `HTTP/1.1` or `HTTP/2`."""

    def become_h2(self, connection: Any, data: bytes) -> None:
        """A connection that was opened as HTTP/1 turns out to be HTTP/2; `data` is what it has read."""

    def count(self, what: str) -> None:
        """One more of something that is rare, by the name of its statistic."""

    def on_closed(self, connection: DownstreamConnection) -> None: ...
