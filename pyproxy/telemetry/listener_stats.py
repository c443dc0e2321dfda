"""What Envoy counts of a listener (`listener.<address>.`) and of the HTTP connection managers behind it (`http.`)."""

from __future__ import annotations

import functools

from pyproxy.telemetry.metrics import (
    Counter,
    Gauge,
    Histogram,
    MirroredCounter,
    MirroredGauge,
    Scope,
    StatsStore,
    Tally,
)
from pyproxy.telemetry.shared_layout import Kind
from pyproxy.telemetry.stat_blocks import StatsBlock, release
from pyproxy.telemetry.tls_stats import PREFIX as TLS_PREFIX
from pyproxy.telemetry.tls_stats import TlsStats

_RESPONSE_TABLE = "".join(
    f"{Kind.COUNTER:d} downstream_rq_{ending}\n" for ending in ("1xx", "2xx", "3xx", "4xx", "5xx", "completed")
)


class ListenerStats(StatsBlock):
    """`listener.<name>.`: the name is the listener's `stat_prefix`, else its address as `stat_address` writes it.

    `worker` is the number of this worker; its share is shown as `worker_<n>.` too.
    """

    PREFIX = "listener"

    downstream_cx_destroy: Counter
    downstream_cx_overflow: Counter
    downstream_cx_overload_reject: Counter
    downstream_cx_total: Counter
    downstream_cx_transport_socket_connect_timeout: Counter
    downstream_global_cx_overflow: Counter
    downstream_listener_filter_error: Counter
    downstream_listener_filter_remote_close: Counter
    downstream_pre_cx_timeout: Counter
    extension_config_missing: Counter
    network_extension_config_missing: Counter
    no_filter_chain_match: Counter
    downstream_cx_active: Gauge
    downstream_pre_cx_active: Gauge
    connections_accepted_per_socket_event: Histogram
    downstream_cx_length_ms: Histogram

    def __init__(self, store: StatsStore, name: str, worker: int | None = None, *, tls: bool = False) -> None:
        """`tls`: the stats of TLS are listed from the beginning."""
        own = "" if worker is None else f"worker_{worker}."
        extra = f"{Kind.COUNTER:d} {own}downstream_cx_total\n{Kind.GAUGE:d} {own}downstream_cx_active\n" if own else ""
        super().__init__(store, name, extra + (TlsStats.lines(TLS_PREFIX) if tls else ""))
        self.ssl = TlsStats(self)
        if own:
            self._own_total = self.scope.counter(f"{own}downstream_cx_total")
            self._own_active = self.scope.gauge(f"{own}downstream_cx_active")
            self.each_flush(self._copy_own)

    @functools.cached_property
    def downstream_context_secrets_not_ready(self) -> Counter:
        """Connections that could not be opened, as the certificate had not come by SDS."""
        return self.scope.counter("server_ssl_socket_factory.downstream_context_secrets_not_ready")

    def _copy_own(self) -> None:
        if "downstream_cx_total" in self.__dict__:
            self._own_total.value = self.downstream_cx_total.value
            self._own_active.value = self.downstream_cx_active.value


class DownstreamResponses(dict[int, Tally]):
    """Counts responses by status: `responses[200].value += 1` is `downstream_rq_2xx` and `_completed` in all scopes."""

    def __init__(self, *scopes: Scope) -> None:
        super().__init__()
        self._scopes = scopes

    def __missing__(self, status: int) -> Tally:
        names = ["downstream_rq_completed"]
        if 100 <= status < 600:
            names.append(f"downstream_rq_{status // 100}xx")
        first = self._scopes[0]
        made = self[status] = first.tally(*(scope.counter(name) for scope in self._scopes for name in names))
        return made


class HcmStats(StatsBlock):
    """`http.<stat_prefix>.`: a connection manager, or all that share a stat prefix.

    `responses[status].value += 1` counts a response, also for the listener if one is given.
    """

    PREFIX = "http"

    downstream_cx_delayed_close_timeout: Counter
    downstream_cx_destroy: Counter
    downstream_cx_destroy_active_rq: Counter
    downstream_cx_destroy_local: Counter
    downstream_cx_destroy_local_active_rq: Counter
    downstream_cx_destroy_remote: Counter
    downstream_cx_destroy_remote_active_rq: Counter
    downstream_cx_drain_close: Counter
    downstream_cx_http1_total: Counter
    downstream_cx_http2_total: Counter
    downstream_cx_idle_timeout: Counter
    downstream_cx_max_duration_reached: Counter
    downstream_cx_max_requests_reached: Counter
    downstream_cx_overload_disable_keepalive: Counter
    downstream_cx_protocol_error: Counter
    downstream_cx_rx_bytes_total: Counter
    downstream_cx_ssl_total: Counter
    downstream_cx_total: Counter
    downstream_cx_tx_bytes_total: Counter
    downstream_cx_upgrades_total: Counter
    downstream_flow_control_paused_reading_total: Counter
    downstream_flow_control_resumed_reading_total: Counter
    downstream_rq_1xx: Counter
    downstream_rq_2xx: Counter
    downstream_rq_3xx: Counter
    downstream_rq_4xx: Counter
    downstream_rq_5xx: Counter
    downstream_rq_completed: Counter
    downstream_rq_failed_path_normalization: Counter
    downstream_rq_header_timeout: Counter
    downstream_rq_http1_total: Counter
    downstream_rq_http2_total: Counter
    downstream_rq_idle_timeout: Counter
    downstream_rq_max_duration_reached: Counter
    downstream_rq_non_relative_path: Counter
    downstream_rq_overload_close: Counter
    downstream_rq_redirected_with_normalized_path: Counter
    downstream_rq_rejected_via_ip_detection: Counter
    downstream_rq_response_before_rq_complete: Counter
    downstream_rq_rx_reset: Counter
    downstream_rq_timeout: Counter
    downstream_rq_too_many_premature_resets: Counter
    downstream_rq_too_large: Counter
    downstream_rq_total: Counter
    downstream_rq_tx_reset: Counter
    downstream_rq_ws_on_non_ws_route: Counter
    no_cluster: Counter
    no_route: Counter
    passthrough_internal_redirect_bad_location: Counter
    passthrough_internal_redirect_no_route: Counter
    passthrough_internal_redirect_predicate: Counter
    passthrough_internal_redirect_too_many_redirects: Counter
    passthrough_internal_redirect_unsafe_scheme: Counter
    rq_direct_response: Counter
    rq_overload_local_reply: Counter
    rq_redirect: Counter
    rq_reset_after_downstream_response_started: Counter
    rq_total: Counter
    rs_too_large: Counter
    downstream_cx_active: Gauge
    downstream_cx_http1_active: Gauge
    downstream_cx_http2_active: Gauge
    downstream_cx_rx_bytes_buffered: Gauge
    downstream_cx_ssl_active: Gauge
    downstream_cx_tx_bytes_buffered: Gauge
    downstream_cx_upgrades_active: Gauge
    downstream_rq_active: Gauge
    downstream_cx_length_ms: Histogram
    downstream_rq_time: Histogram

    def __init__(self, store: StatsStore, stat_prefix: str, listener: ListenerStats | None = None) -> None:
        self._name = stat_prefix.replace(":", "_")
        super().__init__(store, self._name)
        self.responses = DownstreamResponses(self.scope)
        if listener is not None:
            self.count_for(listener)

    def count_for(self, listener: ListenerStats) -> None:
        """Before the first response: count them for a listener too."""
        own = self.store.scope(f"{listener.scope.prefix}.http.{self._name}", _RESPONSE_TABLE)
        own.claims += 1
        # Tallies belong to the scope that goes first.
        self.responses = DownstreamResponses(own, self.scope)
        self._cancels.append(functools.partial(release, self.store, own))


class ListenerManagerStats(StatsBlock):
    """`listener_manager.`"""

    PREFIX = "listener_manager"

    listener_added: MirroredCounter
    listener_create_failure: Counter
    listener_create_success: Counter
    listener_in_place_updated: MirroredCounter
    listener_modified: MirroredCounter
    listener_removed: MirroredCounter
    listener_stopped: MirroredCounter
    total_filter_chains_draining: MirroredGauge
    total_listeners_active: MirroredGauge
    total_listeners_draining: MirroredGauge
    total_listeners_warming: MirroredGauge
    workers_pinned: MirroredGauge
    workers_started: MirroredGauge


def stat_address(host: str, port: int) -> str:
    """An address as part of a stat name: `127.0.0.1_80`, `[__1]_80` (colons would end the name)."""
    return f"[{host}]:{port}".replace(":", "_") if ":" in host else f"{host}_{port}"
