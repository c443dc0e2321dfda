"""What Envoy counts of HTTP/2 by its codec: `http2.` for downstreams, `cluster.<name>.http2.` for upstreams.

There are none before the first connection speaks it, as in Envoy.
"""

from __future__ import annotations

from typing import Final

from pyproxy.http.h2_counts import H2Counts
from pyproxy.telemetry.metrics import Counter, Gauge, Scope, StatsStore

_EVENTS: Final = (
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
    "trailers",
    "tx_flush_timeout",
    "tx_reset",
)
_NEVER: Final = (
    "cookies_total_bytes_too_large",
    "dropped_headers_with_underscores",
    "header_list_size_too_large",
    "headers_cb_no_stream",
    "metadata_empty_frames",
    "outbound_flood",
    "requests_rejected_with_underscores_in_headers",
)
"""What does not happen here, or is seen elsewhere. Envoy shows them, and dashboards may ask for them."""
_GAUGES: Final = (
    "deferred_stream_close",
    "outbound_control_frames_active",
    "outbound_frames_active",
    "pending_send_bytes",
)


class H2CodecStats:
    """Those of one owner of connections. Several may share a scope: what they have is added up."""

    def __init__(self, scope: Scope, side: str, counts: H2Counts) -> None:
        """`scope` is that of all, or of a cluster; `side` is `downstream` or `upstream`."""
        self._counts = counts
        self._counters: dict[str, Counter] = {name: scope.counter(f"http2.{name}") for name in _EVENTS}
        for name in _NEVER:
            scope.counter(f"http2.{name}")
        for name in _GAUGES:
            scope.gauge(f"http2.{name}").value += 0
        for engine in ("nghttp2", "oghttp2"):
            for one in ("downstream", "upstream"):
                scope.counter(f"http2.{engine}_{one}_connections")
        self._counters["connections"] = scope.counter(f"http2.nghttp2_{side}_connections")
        self._streams: Gauge = scope.gauge("http2.streams_active")
        self._told = 0

    def take(self) -> None:
        """Before each flush."""
        counts = self._counts
        for name, counter in self._counters.items():
            more: int = getattr(counts, name)
            if more:
                counter.value += more
                setattr(counts, name, 0)
        self._streams.value += counts.streams - self._told
        self._told = counts.streams


class H2Owner:
    """Makes the stats of an owner when its first connection begins to speak HTTP/2."""

    def __init__(self, store: StatsStore, scope: Scope, side: str) -> None:
        self.counts = H2Counts()
        self._scope = scope
        self._side = side
        self._stats: H2CodecStats | None = None
        self._cancel = store.on_flush(self._take)

    def close(self) -> None:
        self._take()
        self._cancel()

    def _take(self) -> None:
        if self._stats is None:
            if not self.counts.connections:
                return
            self._stats = H2CodecStats(self._scope, self._side, self.counts)
        self._stats.take()
