"""What every HTTP/2 engine gives: bytes in, events out; messages in, bytes out. No sockets, no clock.

A session is one connection, seen from one of its ends. `http.h2_native` is made on libnghttp2, `http.h2_py` on the h2
package; one suite tests both. Frames, HPACK, flow control and the states of streams are theirs. What a peer may do
too often, or too much of, is judged above them, by `http.h2_guard`, so that it is the same for both.

Bodies that are sent wait in the session until the peer's windows let them go. `send_data` says when too much waits;
`drained` then says when it does not any more.

Of what is received the connection is always told to send more, and the stream only as its body goes on (`consume`): so
a stream that nobody reads stops no other, and each may make us hold as much as the window of one stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

from pyproxy.http.message import Pair

HEADERS: Final = 0
"""(HEADERS, stream, pairs, ended): the head of a request or response, pseudo-header fields first; or an interim
response."""
DATA: Final = 1
"""(DATA, stream, bytes, ended)"""
TRAILERS: Final = 2
"""(TRAILERS, stream, pairs, True)"""
MALFORMED: Final = 3
"""(MALFORMED, stream, `Malformed`, False): the peer broke a rule of the message; the session has reset the stream."""
GOAWAY: Final = 4
"""(GOAWAY, last stream, error code, False)"""
PONG: Final = 5
"""(PONG, 0, payload, False): the answer to a PING of ours."""
SETTINGS: Final = 6
"""(SETTINGS, 0, None, False): the peer has said how it wants to be spoken to."""
WHOLE: Final = 7
"""(WHOLE, stream, (pairs, body, trailers or None), True): in place of HEADERS, a message that came as a whole at once,
with not more than one piece of a body."""

Event = tuple[int, int, Any, bool]

# Error codes (RFC 9113 7).
NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
FLOW_CONTROL_ERROR: Final = 3
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
CONNECT_ERROR: Final = 10
ENHANCE_YOUR_CALM: Final = 11

HIGH_WATERMARK: Final = 64 * 1024
"""Bytes of one stream that wait in the session before its source is told to hold; at half of it, it may go on."""

MOST_STREAM_ID: Final = (1 << 31) - 1

_FORBIDDEN: Final = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))


@dataclass(frozen=True, slots=True)
class Malformed:
    """Why a stream was reset. `too_large`: only for its size, so nothing is wrong with the connection."""

    code: int
    details: str
    too_large: bool = False


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """What one end says of itself, and the bounds for the header blocks of its peer."""

    header_table: int = 4096
    max_concurrent_streams: int = 1024
    stream_window: int = 256 * 1024
    connection_window: int = 1024 * 1024
    allow_connect: bool = False
    headers_kb: int = 60
    header_count: int = 100


class Session(Protocol):
    """One end of an HTTP/2 connection. What is done to a stream that is gone does nothing."""

    drained: list[int]
    """Streams of which no longer too much waits. Whoever reads it empties it."""
    closed: list[tuple[int, int]]
    """(stream, error code) of streams that are over, in both directions. Whoever reads it empties it."""
    sent: list[int]
    """Streams of which our end is over, and went out. Whoever reads it empties it."""
    data_frames: int
    """DATA frames that were sent."""
    refused: int
    """Streams that were refused because there were too many at a time. Whoever reads it sets it to 0."""

    def receive(self, data: bytes) -> list[Event]: ...

    def pull(self) -> bytes:
        """The next bytes to be sent, not many more than 64 KiB; empty if there is nothing to be sent."""

    def request(self, pairs: list[Pair], body: bytes, ended: bool) -> int:
        """Begin a stream with a request (and what is there of its body); gives its number, 0 if none is left."""

    def respond(self, stream: int, pairs: list[Pair], body: bytes, ended: bool) -> None:
        """The head of the response, with what is there of its body."""

    def inform(self, stream: int, pairs: list[Pair]) -> None:
        """An interim response."""

    def send_data(self, stream: int, data: bytes, ended: bool) -> bool:
        """False where too much waits now."""

    def send_trailers(self, stream: int, pairs: list[Pair]) -> None: ...

    def reset(self, stream: int, code: int) -> None: ...

    def consume(self, stream: int, size: int) -> None:
        """So many bytes of what was received have gone on: the peer may send as many more on this stream."""

    def waiting(self, stream: int) -> int:
        """Bytes of the stream that wait to be sent."""

    def ping(self, payload: bytes) -> None:
        """`payload` is 8 bytes."""

    def notice(self) -> None:
        """Tell the peer that the connection is going to end, and go on taking streams (RFC 9113 6.8)."""

    def goaway(self, code: int) -> None:
        """Take no further streams; those that are open go on, unless it is an error."""

    def terminate(self, code: int) -> None:
        """End the connection: GOAWAY, and nothing after it."""

    def room(self) -> int:
        """How many streams the peer takes at a time."""

    def takes_connect(self) -> bool:
        """Whether the peer has said that it takes extended CONNECT (RFC 8441)."""

    @property
    def error(self) -> int:
        """The error code of the GOAWAY that ended the connection from this end; -1 while there is none."""

    @property
    def finished(self) -> bool:
        """Everything was said, by both ends: what is left to do is to close."""


def forbidden(name: bytes) -> bool:
    """Whether a field belongs to an HTTP/1 connection (RFC 9113 8.2.2)."""
    return name in _FORBIDDEN
