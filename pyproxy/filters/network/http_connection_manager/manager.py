"""The HTTP connection manager: from bytes on a downstream connection to requests for the filter chain.

A network filter, and the last of its chain. One object per filter chain; connections and requests are made by it.
Envoy: envoy.filters.network.http_connection_manager. Security posture: trusts neither side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pyproxy import clock
from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.filters.network.http_connection_manager.config import HttpConnectionManagerConfig
from pyproxy.filters.network.http_connection_manager.connection_options import h1_options, h2_options
from pyproxy.filters.network.http_connection_manager.exchange import Exchange
from pyproxy.filters.network.http_connection_manager.local_replies import LocalReplies
from pyproxy.filters.network.http_connection_manager.periodic_log import PeriodicLog
from pyproxy.filters.network.http_connection_manager.request_headers import RequestPreparation
from pyproxy.filters.network.http_connection_manager.response_headers import ResponseFinalization
from pyproxy.filters.network.http_connection_manager.routing import Routing
from pyproxy.filters.network.http_connection_manager.stream_timers import StreamTimers
from pyproxy.http import downstream_errors
from pyproxy.http.body import Body
from pyproxy.http.codec import CodecError, RequestHead
from pyproxy.http.engines import new_request_decoder, new_session
from pyproxy.http.h1_downstream import H1Downstream
from pyproxy.http.h2_downstream import H2Downstream
from pyproxy.http.h2_guard import FrameGuard
from pyproxy.http.h2_head import CONNECT
from pyproxy.http.h2_session import SessionOptions
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.request_id import RequestIds
from pyproxy.http.stream import DownstreamConnection, DownstreamStream
from pyproxy.http.stream_info import NO_UPSTREAM, ConnectionInfo, StreamInfo, UpstreamInfo
from pyproxy.routes.route import Route
from pyproxy.runtime import Runtime
from pyproxy.telemetry.h2_codec_stats import H2Owner
from pyproxy.telemetry.http_metrics import HttpMetrics
from pyproxy.telemetry.listener_stats import HcmStats, ListenerStats
from pyproxy.telemetry.tracer import Tracer, TracingStats

_CLOCKS: Final = {
    "stream_idle_timeout": "downstream_rq_idle_timeout",
    "request_overall_timeout": "downstream_rq_timeout",
    "request_header_timeout": "downstream_rq_header_timeout",
    "max_duration_timeout": "downstream_rq_max_duration_reached",
}
"""Response code details -> the counter."""


class HttpConnectionManager:
    """Serves the connections of one filter chain. `open_connection` is the protocol factory of its listener."""

    def __init__(self, config: HttpConnectionManagerConfig, runtime: Runtime) -> None:
        self.config = config
        self.unspoken = ("h2",) if config.codec_type == "HTTP1" else ()
        """Never agreed on by ALPN, even if it is configured."""
        self.chain: Any = None
        """The filters, set by whoever builds the manager."""
        self.stats = HcmStats(runtime.stats, config.stat_prefix)
        self._h2 = H2Owner(runtime.stats, runtime.stats.root, "downstream")
        self._runtime = runtime
        self.finalize_response = ResponseFinalization(config)
        self._prepare = RequestPreparation(config, RequestIds(), runtime.node)
        self._local_replies = LocalReplies(config.local_reply, runtime)
        self.logging = bool(config.access_logs)
        self._access_logs = [runtime.access_logs.open(log, runtime.values) for log in config.access_logs]
        self.observers: list[Any] = [
            one.config.observe(runtime) for one in config.filters if hasattr(one.config, "observe")
        ]
        """Of filters: called with each request when it is over."""
        self._log_clock = runtime.deadlines.of(config.log_interval) if config.log_interval and self.logging else None
        self._logs_at_start = self.logging and config.log_at_start
        self.tap = runtime.exports.tap
        self._http_metrics: HttpMetrics | None = runtime.http_metrics
        self._connections: set[DownstreamConnection] = set()
        self._draining = False
        self._timers = StreamTimers.wanted(config.timeouts)
        self._upgrades = dict(config.upgrades)
        self._options = h1_options(config, runtime.loop)
        self._tracer = self._new_tracer()
        self._h2_options = h2_options(config, runtime.loop, self._options, self._h2.counts)
        self._session_options = SessionOptions(
            header_table=config.http2.header_table,
            max_concurrent_streams=config.http2.max_concurrent_streams,
            stream_window=config.http2.stream_window,
            connection_window=config.http2.connection_window,
            allow_connect=config.http2.allow_connect,
            headers_kb=config.codec.limits.headers_kb,
            header_count=config.codec.limits.header_count,
        )
        self._listener_stats: ListenerStats | None = None
        self._requests = self.stats.scope.tally(self.stats.downstream_rq_total, self.stats.downstream_rq_http1_total)
        self._h2_requests = self.stats.scope.tally(self.stats.downstream_rq_total, self.stats.downstream_rq_http2_total)
        self._routed = self.stats.rq_total
        self.stats.each_flush(self._update_gauges)
        self.routing = Routing(config, runtime, self._prepare)
        self._rerouting = self.routing if config.reroutes else None
        self._forget_values = runtime.values.watch(self._on_values)
        self.closers: list[Callable[[], None]] = []
        """Of filters: called when it is closed."""

    def _on_values(self) -> None:
        """Runtime values have changed."""
        self.routing.refresh()
        before = self._access_logs
        self._access_logs = [
            self._runtime.access_logs.open(log, self._runtime.values) for log in self.config.access_logs
        ]
        for log in before:
            log.close()

    def close(self) -> None:
        """No connection is open any more, and none will come."""
        self._forget_values()
        self._h2.close()
        self.routing.close()
        for close in self.closers:
            close()
        for log in self._access_logs:
            log.close()
        self.stats.close()

    def _new_tracer(self) -> Tracer | None:
        config, runtime = self.config, self._runtime
        stats = TracingStats(runtime.stats, config.stat_prefix)
        if config.tracing is None:
            return None
        ids = config.request_id
        return Tracer(
            config.tracing,
            stats,
            runtime.exports,
            runtime.values,
            runtime.node,
            pack=ids.pack_trace_reason,
            use_request_id=ids.decides_tracing,
        )

    def count_for(self, listener: ListenerStats) -> None:
        """Count connections and responses for the listener too."""
        self._listener_stats = listener
        self.stats.count_for(listener)

    # Connections (http.stream.StreamAcceptor)

    def open_connection(self) -> H1Downstream | H2Downstream:
        if self.config.codec_type == "HTTP2":
            return self._new_h2()
        return H1Downstream(self._runtime.cork, new_request_decoder(self.config.codec), self, self._options)

    def on_open(self, connection: DownstreamConnection) -> None:
        info = connection.info
        info.connection_id = self._runtime.next_connection_id()
        info.opened = clock.now
        info.take_addresses(connection.local(), connection.peer())
        self._connections.add(connection)
        stats = self.stats
        stats.downstream_cx_total.value += 1
        stats.downstream_cx_active.value += 1
        if info.tls is not None:
            stats.downstream_cx_ssl_total.value += 1
            stats.downstream_cx_ssl_active.value += 1
        if self._listener_stats is not None:
            self._listener_stats.downstream_cx_active.value += 1
        if self._draining:
            connection.close_after_response()

    def on_codec(self, connection: DownstreamConnection, version: str) -> None:
        stats = self.stats
        connection.info.version = version
        if version == "HTTP/2":
            stats.downstream_cx_http2_total.value += 1
        else:
            stats.downstream_cx_http1_total.value += 1
        self._count_codec(connection, 1)

    def _count_codec(self, connection: DownstreamConnection, change: int) -> None:
        version = connection.info.version
        if version == "HTTP/2":
            self.stats.downstream_cx_http2_active.value += change
        elif version:
            self.stats.downstream_cx_http1_active.value += change

    def _new_h2(self) -> H2Downstream:
        config = self.config
        session = new_session(self._session_options, server=True)
        guard = FrameGuard(config.http2, config.codec.limits.headers_kb, server=True)
        return H2Downstream(self._runtime.cork, session, guard, self, self._h2_options)

    def become_h2(self, connection: H1Downstream, data: bytes) -> None:
        made = self._new_h2()
        self._connections.discard(connection)
        self._connections.add(made)
        made.take_over(connection, connection.info)
        made.transport.set_protocol(made)
        self.on_codec(made, "HTTP/2")
        if self._draining:
            made.close_after_response()
        if data:
            made.on_bytes(data)

    def count(self, what: str) -> None:
        getattr(self.stats, what).value += 1

    def on_closed(self, connection: DownstreamConnection) -> None:
        self._connections.discard(connection)
        stats = self.stats
        stats.downstream_cx_active.value -= 1
        self._count_codec(connection, -1)
        self._count_ending(connection.info)
        if connection.info.tls is not None:
            stats.downstream_cx_ssl_active.value -= 1
        if self._listener_stats is not None:
            self._listener_stats.downstream_cx_active.value -= 1
            self._listener_stats.downstream_cx_destroy.value += 1

    def _count_ending(self, info: ConnectionInfo) -> None:
        """Who ended a connection, and why."""
        stats = self.stats
        stats.downstream_cx_destroy.value += 1
        if info.left:
            stats.downstream_cx_destroy_remote.value += 1
        else:
            stats.downstream_cx_destroy_local.value += 1
        length = int((clock.now - info.opened) * 1000)
        stats.downstream_cx_length_ms.record(length)
        if self._listener_stats is not None:
            self._listener_stats.downstream_cx_length_ms.record(length)
        if info.cut_requests:
            stats.downstream_cx_destroy_active_rq.value += 1
            if info.left:
                stats.downstream_cx_destroy_remote_active_rq.value += 1
            else:
                stats.downstream_cx_destroy_local_active_rq.value += 1
        if info.close_cause:
            getattr(stats, f"downstream_cx_{info.close_cause}").value += 1

    @property
    def connections(self) -> int:
        return len(self._connections)

    def ask_to_leave(self) -> None:
        """Each connection ends with the response to the request that it is in, or else to its next one."""
        self._draining = True
        for connection in self._connections:
            connection.close_after_response()

    def abort(self) -> None:
        """Close all connections now, whatever they are doing."""
        for connection in list(self._connections):
            connection.abort()

    def drain(self) -> None:
        """Take no further requests on any connection; those in progress finish."""
        self._draining = True
        for connection in list(self._connections):
            connection.drain()

    def resume(self) -> None:
        """Connections that come from now on may stay."""
        self._draining = False

    # Requests

    def on_request(self, stream: DownstreamStream, head: RequestHead, body: Body | None) -> Exchange:
        if head.version == "HTTP/2":
            self._h2_requests.value += 1
        else:
            self._requests.value += 1
        return Exchange(self, stream, head, body)

    def on_codec_error(self, stream: DownstreamStream, error: CodecError, size: int) -> Exchange:
        self.stats.downstream_cx_protocol_error.value += 1
        self._requests.value += 1
        head = RequestHead()
        head.method = head.target = b""
        head.version = stream.info.version or "HTTP/1.1"
        head.host = head.scheme = None
        head.headers = Headers()
        head.expect_continue = head.upgrade = False
        head.size = 0
        exchange = Exchange(self, stream, head, None)
        exchange.refusal = downstream_errors.broken(error)
        info = exchange.request.info
        info.request_end = 0.0
        info.wire_received = size
        info.header_received = 0
        return exchange

    def prepare(self, request: Request, exchange: Exchange) -> None:
        """Everything before routing. Raises ProxyError where the request ends here."""
        if request.path[:1] != b"/":
            if request.method == b"CONNECT" and self._options.tunnels:
                request.path = b""
            else:
                self._odd_target(request)
        if not request.authority and request.info.protocol == "HTTP/1.0":
            request.authority = self.config.default_http10_host
        if exchange.upgrade:
            self._look_at_upgrade(request, exchange)
        if self.routing.scopes is not None:
            self.routing.prepare_scope(request)
        self._prepare(request, secure=request.info.connection.tls is not None)
        if exchange.expect_continue:
            exchange.stream.send_informational(100, request.info)

    def _odd_target(self, request: Request) -> None:
        """What is not a path is never routed."""
        if request.method == b"CONNECT":
            request.path = b""
            request.info.request_end = 0.0
            self._prepare(request, secure=request.info.connection.tls is not None)
            raise ProxyError(ResponseFlag.NO_ROUTE_FOUND, Source.LOCAL, 404, "route_not_found")
        raise ProxyError(None, Source.LOCAL, 404, "absolute_path_rejected")

    def _look_at_upgrade(self, request: Request, exchange: Exchange) -> None:
        """No upgrade is forwarded unless it was configured; h2c is taken for what it is without it (RFC 9110 7.8)."""
        if (request.headers.joined(b"upgrade") or b"").lower() == b"h2c":
            request.headers.remove(b"http2-settings")
            request.headers.remove(b"upgrade")
            exchange.upgrade = False

    def closes_connection(self, request: Request, error: ProxyError) -> bool:
        """Whether a request that was refused before it went anywhere takes its connection with it."""
        if error.status == 400:
            return not self.config.stream_error_on_invalid_message
        return error.status == 403 or request.method == b"CONNECT"

    def route_elsewhere(self, request: Request) -> Route | None:
        """The route of a request that was made another one; None where there is none, or where it cannot be."""
        try:
            self._prepare.clean_path(request)
        except ProxyError:
            return None
        return self.routing.table_of(request).match(request)

    def begin_again(self, request: Request, exchange: Exchange) -> None:
        """The same downstream stream, but another request to us."""
        (self._h2_requests if request.info.protocol == "HTTP/2" else self._requests).value += 1
        self.route(request, exchange)

    def route(self, request: Request, exchange: Exchange) -> None:
        self._routed.value += 1
        if self.tap.bodies:
            self.tap.watch_request(request)
        if self._http_metrics is not None:
            self._http_metrics.begin(request)
            request.info.measured = True
        request.rerouting = self._rerouting
        route = self.routing.find(request)
        if self._tracer is not None:
            self._tracer.start(request)
        if exchange.upgrade:
            request.info.request_end = 0.0  # what came would be the beginning of a tunnel
        if self._logs_at_start:
            self._log_start(request)
        if self._log_clock is not None:
            exchange.periodic = PeriodicLog(exchange, self._log_clock)
        if exchange.upgrade and not self._grants(request, route):
            self._refuse_upgrade(request)
        if self._timers or (route is not None and route.timers):
            StreamTimers.arm(self._runtime.deadlines, self.config.timeouts, route, exchange)

    def _grants(self, request: Request, route: Route | None) -> bool:
        """Whether a request may ask for a tunnel; what the route says goes before what is said here (Envoy)."""
        if request.method == b"CONNECT":
            if route is None:
                return True  # there is no route for it, and that is the answer
            kind = CONNECT
        else:
            kind = (request.headers.joined(b"upgrade") or b"").lower()
        granted = None if route is None else route.upgrades.get(kind)
        if granted is None:
            granted = self._upgrades.get(kind, False)
        if granted:
            request.upgrade = kind
            request.half_closes = kind == CONNECT
            request.ends_here = route is not None and route.ends_connect and kind == CONNECT
            self.stats.downstream_cx_upgrades_total.value += 1
        return granted

    def _refuse_upgrade(self, request: Request) -> None:
        """It is refused where it would be forwarded, so the log shows where to."""
        self._tell_cluster(request)
        raise ProxyError(None, Source.LOCAL, 403, "upgrade_failed")

    def _tell_cluster(self, request: Request) -> None:
        """Write down where a request would be forwarded."""
        route = request.route
        if route is not None and route.answer is None:
            cluster = self._runtime.clusters.get(route.resolve(request).cluster)
            if cluster is not None:
                request.info.upstream = upstream = UpstreamInfo()
                cluster.tell(upstream)

    def _log_start(self, request: Request) -> None:
        """What is here of the body is not counted yet (Envoy)."""
        self._tell_cluster(request)
        info = request.info
        received, ended = info.bytes_received, info.request_end
        if request.body is not None:
            info.bytes_received, info.request_end = 0, 0.0
        info.log_type = "DownstreamStart"
        for log in self._access_logs:
            log.log(request, None)
        info.log_type = "NotSet"
        info.bytes_received, info.request_end = received, ended

    def log_in_progress(self, exchange: Exchange) -> None:
        """A line for a request that is not over."""
        request = exchange.request
        request.info.log_type = "DownstreamPeriodic"
        for log in self._access_logs:
            log.log(request, exchange.response)
        request.info.log_type = "NotSet"

    def reply(self, request: Request, error: ProxyError) -> Response:
        """The response for an error that has a status, with a note of it in the log."""
        info = request.info
        if error.flag is not None:
            info.add_flag(error.flag)
        info.details = error.details
        if info.upstream is NO_UPSTREAM and request.route is not None:  # a filter has answered
            self._tell_cluster(request)
        return self.local_reply(request, error)

    def local_reply(self, request: Request, error: ProxyError) -> Response:
        if error.flag is ResponseFlag.NO_ROUTE_FOUND:
            self.stats.no_route.value += 1
        elif error.flag is ResponseFlag.NO_CLUSTER_FOUND:
            self.stats.no_cluster.value += 1
        return self._local_replies(request, error)

    def shape_direct(self, request: Request, response: Response) -> Response:
        """Redirects and direct responses are local replies too."""
        self.stats.rq_direct_response.value += 1
        request.info.shaped = True
        return self._local_replies.shape(request, response)

    def finished(self, exchange: Exchange) -> None:
        """A request is over: numbers and logs."""
        request = exchange.request
        info = request.info
        info.end = clock.now
        stats = self.stats
        if info.response_start and info.status:
            stats.responses[info.status].value += 1
        if info.status >= 400 or info.flags:
            clock_name = _CLOCKS.get(info.details)
            if clock_name is not None:
                getattr(stats, clock_name).value += 1
        if info.cut or not info.status or not info.request_end:
            self._count_reset(exchange, info)
        stats.downstream_cx_rx_bytes_total.value += info.wire_received
        stats.downstream_cx_tx_bytes_total.value += info.wire_sent
        stats.downstream_rq_time.record(int((info.end - info.start) * 1000))
        if self.tap.wishes:
            self.tap.see(request, exchange.response)
        if info.measured and self._http_metrics is not None:
            self._http_metrics.end(request)
        for observe in self.observers:
            observe(request, exchange.response)
        if info.span is not None:
            info.span.finish(request, exchange.response)
        if self.logging:
            info.log_type = "DownstreamEnd"
            for log in self._access_logs:
                log.log(request, exchange.response)

    def _count_reset(self, exchange: Exchange, info: StreamInfo) -> None:
        """The stream did not come to its end on both sides. What we break off Envoy counts as received too."""
        stats = self.stats
        stats.downstream_rq_rx_reset.value += 1
        if exchange.broken_off:
            stats.downstream_rq_tx_reset.value += 1
        elif info.status and not info.cut:
            stats.downstream_rq_response_before_rq_complete.value += 1

    def _update_gauges(self) -> None:
        """Just before statistics are flushed."""
        self.stats.downstream_rq_active.value = sum(c.active for c in self._connections)
