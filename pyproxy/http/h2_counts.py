"""What the codec of HTTP/2 counts, in plain integers, of the connections of one owner.

The names are Envoy's (`http2.`); who owns the connections makes statistics of them when these are flushed.
"""

from __future__ import annotations

from typing import Final

FLOODS: Final = {
    "too many WINDOW_UPDATE frames": "inbound_window_update_frames_flood",
    "too many PRIORITY frames": "inbound_priority_frames_flood",
    "too many frames without payload": "inbound_empty_frames_flood",
    "too many frames that have to be answered": "outbound_control_flood",
    "a header block that is too large": "header_overflow",
}
"""Why `h2_guard.FrameGuard` ends a connection -> what is counted."""


class H2Counts:
    """`streams` are those that are open. Everything else grows until whoever makes statistics of it takes it away."""

    __slots__ = (
        "connections",
        "goaway_sent",
        "header_overflow",
        "inbound_empty_frames_flood",
        "inbound_priority_frames_flood",
        "inbound_window_update_frames_flood",
        "keepalive_timeout",
        "outbound_control_flood",
        "rx_messaging_error",
        "rx_reset",
        "stream_refused_errors",
        "streams",
        "trailers",
        "tx_flush_timeout",
        "tx_reset",
    )

    def __init__(self) -> None:
        self.connections = 0
        self.goaway_sent = 0
        self.header_overflow = 0
        self.inbound_empty_frames_flood = 0
        self.inbound_priority_frames_flood = 0
        self.inbound_window_update_frames_flood = 0
        self.keepalive_timeout = 0
        self.outbound_control_flood = 0
        self.rx_messaging_error = 0
        self.rx_reset = 0
        self.stream_refused_errors = 0
        self.streams = 0
        self.trailers = 0
        self.tx_flush_timeout = 0
        self.tx_reset = 0

    def flood(self, why: str) -> None:
        """A connection ends because of what its peer does too often."""
        name = FLOODS.get(why)
        if name is not None:
            setattr(self, name, getattr(self, name) + 1)
