"""What Envoy counts of listener filters."""

from __future__ import annotations

from pyproxy.telemetry.metrics import Counter, Histogram, StatsStore
from pyproxy.telemetry.stat_blocks import StatsBlock


class TlsInspectorStats(StatsBlock):
    """`tls_inspector.`: all of them together."""

    PREFIX = "tls_inspector"

    alpn_found: Counter
    alpn_not_found: Counter
    client_hello_too_large: Counter
    sni_found: Counter
    sni_not_found: Counter
    tls_found: Counter
    tls_not_found: Counter
    bytes_processed: Histogram


class HttpInspectorStats(StatsBlock):
    """`http_inspector.`: all of them together."""

    PREFIX = "http_inspector"

    http10_found: Counter
    http11_found: Counter
    http2_found: Counter
    http_not_found: Counter


class ProxyProtocolStats(StatsBlock):
    """`proxy_proto.`: those without a stat prefix, or all that share one (`proxy_proto.<stat prefix>.`).

    What belongs to a version is below `versions.v1.` and `versions.v2.`.
    """

    PREFIX = "proxy_proto"

    not_found_allowed: Counter
    not_found_disallowed: Counter

    def __init__(self, store: StatsStore, stat_prefix: str) -> None:
        super().__init__(store, stat_prefix.rstrip("."))
        self.any_error = store.root.counter("downstream_cx_proxy_proto_error")
        """Of all of them together; the name is as old as the filter."""
        self.found, self.disallowed, self.error = (
            {number: self.scope.counter(f"versions.v{number}.{name}") for number in (1, 2)}
            for name in ("found", "disallowed", "error")
        )
