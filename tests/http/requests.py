"""Requests made in one line."""

from __future__ import annotations

from pyproxy.http.message import Headers, Pair, Request
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo

START = 1000.0
START_WALL = 1795228202.338193


def make_info() -> StreamInfo:
    return StreamInfo(START, START_WALL, ConnectionInfo())


def make_request(
    path: str = "/",
    *headers: Pair,
    authority: str = "h",
    method: bytes = b"GET",
    scheme: bytes = b"http",
) -> Request:
    return Request(method, path.encode(), authority.encode(), Headers(list(headers)), make_info(), None, scheme)
