"""How HTTP/2 is spoken, on either side, as a value (envoy.config.core.v3.Http2ProtocolOptions).

The compile function is in `config.http2_compile`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class H2Keepalive:
    """PINGs that find out whether the peer is still there. Seconds; `interval` 0 sends none at intervals.

    `jitter` is a percentage of the interval that is added at random; `idle_interval` is how long a connection must
    have been silent for a PING before its next stream, 0 for never.
    """

    interval: float = 0.0
    timeout: float = 0.0
    jitter: float = 15.0
    idle_interval: float = 0.0


@dataclass(frozen=True, slots=True)
class H2Options:
    """Sizes are bytes. The limits against floods are Envoy's; the windows are smaller than its 16 and 24 MiB, because
    what is advertised is what a peer can make us hold."""

    header_table: int = 4096
    max_concurrent_streams: int = 1024
    stream_window: int = 256 * 1024
    connection_window: int = 1024 * 1024
    allow_connect: bool = False
    max_control_frames: int = 1000
    """Replies to PING, SETTINGS and broken streams that may wait for a peer to read them."""
    max_empty_frames: int = 1
    """Frames without payload, one after the other, that end nothing."""
    max_priority_frames: int = 100
    """For each stream that was opened, and one more."""
    max_window_updates: int = 10
    """For each DATA frame that was sent; and two for each stream, and five."""
    stream_errors: bool = False
    """A malformed message ends its stream; otherwise its connection."""
    keepalive: H2Keepalive | None = None
