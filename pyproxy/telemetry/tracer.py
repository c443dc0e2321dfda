"""The tracer of a connection manager: begins a span for a request, and one for each try of it.

A request that is not traced costs the decision and, because the trace may have begun elsewhere, its ids in a header.
What a span tells is worked out when the request is over (`telemetry.span_tags`), and only where it is sampled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pyproxy import clock
from pyproxy.config.bootstrap import NodeConfig
from pyproxy.config.export import ExportKind
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.config.tracing import NO_ROUTE_TRACING, CustomTagConfig, RouteTracing, TracingConfig
from pyproxy.http.message import Request, Response
from pyproxy.telemetry.exports import ExportPipe, Exports
from pyproxy.telemetry.formatter import build_formatter
from pyproxy.telemetry.metrics import Counter, StatsStore
from pyproxy.telemetry.sampling import Reason, Shares, decide, sample
from pyproxy.telemetry.span_tags import SpanWriter
from pyproxy.telemetry.stat_blocks import StatsBlock
from pyproxy.telemetry.trace_context import BadContext, Identity, Parent, extract, inject

_OPERATION: Final = b"x-envoy-decorator-operation"
_ID_BITS: Final = 64

Text = Callable[[Request, Response | None], str]


class TracingStats(StatsBlock):
    """`http.<stat_prefix>.tracing.`: what was decided for requests."""

    PREFIX = "http"

    client_enabled: Counter
    health_check: Counter
    not_traceable: Counter
    random_sampling: Counter
    service_forced: Counter

    def __init__(self, store: StatsStore, stat_prefix: str) -> None:
        super().__init__(store, f"{stat_prefix}.tracing")


class _RouteSide:
    """What a route and the connection manager say together, ready to be used."""

    __slots__ = ("name", "operation", "propagate", "shares", "tags", "upstream_name")

    def __init__(self, config: TracingConfig, route: RouteTracing, values: RuntimeValues) -> None:
        self.shares = Shares(config, values, route)
        tags = {one.name: one for one in (*config.tags, *route.tags)}
        self.tags = tuple(_tag(one) for one in tags.values())
        name, upstream = route.name or config.name, route.upstream_name or config.upstream_name
        self.name: Text | None = None if name is None else build_formatter(name)
        self.upstream_name: Text | None = None if upstream is None else build_formatter(upstream)
        self.operation = route.operation
        self.propagate = route.propagate


def _tag(config: CustomTagConfig) -> tuple[str, Text, str | None]:
    return config.name, build_formatter(config.value), config.default


class Tracer:
    """One for each connection manager that has `tracing`."""

    def __init__(
        self,
        config: TracingConfig,
        stats: TracingStats,
        exports: Exports,
        values: RuntimeValues,
        node: NodeConfig,
        *,
        pack: bool = True,
        use_request_id: bool = True,
    ) -> None:
        """`pack`: the request id carries the decision. `use_request_id`: it has a word in it."""
        self.config = config
        self._pack = pack
        self._use_request_id = use_request_id
        self._values = values
        self._counts = {
            Reason.NOT_TRACEABLE: stats.not_traceable,
            Reason.SAMPLING: stats.random_sampling,
            Reason.SERVICE_FORCED: stats.service_forced,
            Reason.CLIENT_FORCED: stats.client_enabled,
        }
        self._health_check = stats.health_check
        self._sides: dict[RouteTracing, _RouteSide] = {}
        self._general = self._side(NO_ROUTE_TRACING)
        self.writer = SpanWriter(config, node, f"{stats.scope.prefix.removesuffix('.tracing')}.downstream_rq_time")
        tracer = config.tracer
        self.pipe: ExportPipe | None = None if tracer is None else exports.pipe(self.writer.target)
        self.ways = () if tracer is None else tracer.propagation
        self._sampler = None if tracer is None else tracer.sampler
        self._shared = tracer is not None and tracer.shared
        self._zipkin = tracer is not None and tracer.target.kind is ExportKind.ZIPKIN
        self._id_bits = 2 * _ID_BITS if tracer is None or tracer.long_ids else _ID_BITS
        self.upstream_spans = config.upstream_spans or (tracer is not None and tracer.split)

    def start(self, request: Request) -> None:
        """A request has its route: decide, and begin its span."""
        info = request.info
        route = request.route
        said: RouteTracing = NO_ROUTE_TRACING if route is None else route.tracing
        side = self._general if said is NO_ROUTE_TRACING else self._side(said)
        headers = request.headers
        if info.health_check:
            self._health_check.value += 1
            traced = False
        else:
            reason = decide(headers, side.shares, pack=self._pack) if self._use_request_id else Reason.SAMPLING
            self._counts[reason].value += 1
            traced = reason is not Reason.NOT_TRACEABLE
        if self.pipe is None:
            return
        try:
            parent = extract(headers, self.ways)
        except BadContext:
            return
        info.span = span = Span(self, side, self._identity(parent, traced))
        info.trace_id, info.span_id = span.identity.trace_id, span.identity.span_id
        if side.operation or _OPERATION in headers.index:
            span.decorate(request)

    def _side(self, route: RouteTracing) -> _RouteSide:
        found = self._sides.get(route)
        if found is None:
            found = self._sides[route] = _RouteSide(self.config, route, self._values)
        return found

    def _identity(self, parent: Parent | None, traced: bool) -> Identity:
        """Who the span is. Zipkin leaves the decision to the parent where it has decided, OpenTelemetry wants both."""
        if parent is None or not parent.trace_id:
            number = clock.rng.getrandbits(self._id_bits) or 1
            trace_id = f"{number:0{self._id_bits // 4}x}"
            span_id = trace_id[-16:] if self._zipkin else new_id()
            above, sampled = "", parent.sampled if parent is not None else None
            state, single = b"", parent is not None and parent.single
        else:
            trace_id, sampled, state, single = parent.trace_id, parent.sampled, parent.state, parent.single
            span_id, above = (parent.span_id, parent.parent_id) if self._shared else (new_id(), parent.span_id)
        if self._sampler is not None:
            decision = traced and sample(self._sampler, int(trace_id, 16), sampled)
        elif self._zipkin:
            decision = traced if sampled is None else sampled
        else:
            decision = traced and sampled is not False
        made = Identity(trace_id, span_id, above, decision)
        made.state, made.single = state, single
        return made


def new_id() -> str:
    """A random span id, never zero."""
    return f"{clock.rng.getrandbits(_ID_BITS) or 1:016x}"


class Span:
    """The span of one request, from its route to its last byte."""

    __slots__ = ("_answer", "_tracer", "identity", "operation", "side", "tries")

    def __init__(self, tracer: Tracer, side: _RouteSide, identity: Identity) -> None:
        self._tracer = tracer
        self.side = side
        self.identity = identity
        self.operation = ""
        """In place of the name, if a decorator or the other side gives one."""
        self.tries: list[tuple[float, Any, Identity]] = []
        """(beginning, try, its identity)"""
        self._answer = b""

    def decorate(self, request: Request) -> None:
        """Names by decorators: an egress tells the next proxy its name, an ingress takes it and may tell its own."""
        side, headers = self.side, request.headers
        self.operation = side.operation
        if request.info.connection.outbound:
            if side.operation and side.propagate:
                headers.set(_OPERATION, side.operation.encode())
            return
        asked = headers.index.get(_OPERATION)
        if asked is not None:
            self.operation = asked.decode("utf-8", "replace")
            headers.remove(_OPERATION)
        elif side.propagate:
            self._answer = side.operation.encode()

    def begin_try(self, request: Request, attempt: Any) -> None:
        """A try is about to be sent: tell the upstream whose child it is."""
        tracer, own = self._tracer, self.identity
        if tracer.upstream_spans:
            child = Identity(own.trace_id, new_id(), own.span_id, own.sampled)
            child.state, child.single = own.state, own.single
            inject(request.headers, child, tracer.ways)
        else:
            child = own
            inject(request.headers, own, tracer.ways)
        if own.sampled:
            self.tries.append((clock.now, attempt, child))

    def on_response(self, request: Request, response: Response) -> None:
        """Before the response is finished for the downstream."""
        if self._answer:
            response.headers.set(_OPERATION, self._answer)
        elif _OPERATION in response.headers.index and request.info.connection.outbound:
            self.operation = response.headers.index[_OPERATION].decode("utf-8", "replace") or self.operation
            response.headers.remove(_OPERATION)

    def finish(self, request: Request, response: Response | None) -> None:
        """The request is over."""
        if self.identity.sampled:
            pipe = self._tracer.pipe
            assert pipe is not None
            for record in self._tracer.writer.records(self, request, response):
                pipe.append(dict(record))
