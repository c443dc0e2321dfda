"""Requests and responses of which telemetry tells."""

from __future__ import annotations

from pyproxy.errors import ResponseFlag
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo, UpstreamInfo

START = 1000.0
START_WALL = 1795228202.338193  # 2026-11-21T02:30:02.338193Z


def connection() -> ConnectionInfo:
    info = ConnectionInfo()
    info.connection_id = 7
    info.remote = ("10.1.2.3", 3333)
    info.direct_remote = ("127.0.0.1", 4444)
    info.local = info.direct_local = ("127.0.0.1", 8080)
    return info


def unread() -> tuple[Request, Response]:
    """A request of which nothing could be read."""
    info = StreamInfo(START, START_WALL, connection())
    info.protocol = "HTTP/1.1"
    info.flags = (ResponseFlag.DOWNSTREAM_PROTOCOL_ERROR,)
    info.details = "http1.codec_error"
    info.status = 400
    info.end = START + 0.0025
    return Request(b"", b"", b"", Headers(), info, None, b""), Response(400, Headers())


def forwarded() -> tuple[Request, Response]:
    """A request that an upstream answered."""
    info = StreamInfo(START, START_WALL, connection())
    info.protocol = "HTTP/1.1"
    info.stream_id = "id-1"
    info.status = 200
    info.details = "via_upstream"
    info.route_name = "r"
    info.attempts = 1
    info.bytes_received, info.bytes_sent = 3, 265
    info.wire_received, info.wire_sent = 155, 427
    info.header_received, info.header_sent = 107, 143
    info.request_end = START + 0.0015
    info.response_start = START + 0.0185
    info.end = START + 0.0208
    info.hosts_attempted = ("127.0.0.1:9000", "[::1]:9001")
    info.route_metadata = {
        "ns": {"k": {"z": "zed", "n": 1.5}, "n": 3.0, "l": [1, "a", None], "b": True, "s": 's"q', "nul": None}
    }
    info.filter_state = {"key": "state"}
    upstream = info.upstream = UpstreamInfo()
    upstream.host_address = "127.0.0.1:9000"
    upstream.cluster = "up"
    upstream.protocol = "HTTP/1.1"
    upstream.local = ("127.0.0.1", 5555)
    upstream.connection_id = 9
    upstream.pool_ready = START + 0.004
    upstream.connect_start, upstream.connect_end = START + 0.0020005, START + 0.003
    upstream.request_sent_first, upstream.request_sent_last = START + 0.005, START + 0.0065
    upstream.response_first, upstream.response_last = START + 0.0105, START + 0.0185
    upstream.wire_received, upstream.wire_sent = 340, 272
    upstream.header_received, upstream.header_sent = 52, 233
    request = Request(
        b"POST",
        b"/up/x?a=1&b=%20x&c",
        b"h:1",
        Headers(
            [
                (b"x-a", b"va"),
                (b"x-a", b"v2"),
                (b"x-b", b"vb"),
                (b"x-e", b""),
                (b"x-u", "é€".encode()),
                (b"x-j", b'a"b\\c'),
                (b"x-bad", b"a\tb\xff\xe2\x82\xac"),
            ]
        ),
        info,
    )
    return request, Response(200, Headers([(b"x-up", b"1"), (b"x-dup", b"a"), (b"x-dup", b"b")]))
