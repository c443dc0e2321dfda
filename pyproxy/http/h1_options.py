"""How a downstream HTTP/1 connection behaves."""

from __future__ import annotations

from dataclasses import dataclass

from pyproxy.tasks import Deadlines


@dataclass(frozen=True, slots=True)
class H1DownstreamOptions:
    """How a connection behaves. Deadlines are None where the timeout is off; seconds for times.

    `trailers` sends response trailers on; `proper_case` writes header names as `Content-Type`; `sniff` looks whether
    it is not HTTP/2 that is spoken.
    """

    idle: Deadlines | None = None
    stream_idle: Deadlines | None = None
    request_headers: Deadlines | None = None
    delayed_close: Deadlines | None = None
    max_duration: Deadlines | None = None
    max_requests: int = 0
    trailers: bool = False
    proper_case: bool = False
    sniff: bool = False
    tunnels: bool = False
    """Requests may ask for a tunnel."""
