"""grpc_stats: counts calls and their messages, by service and method where that is wanted.

Envoy: envoy.filters.http.grpc_stats. Security posture: with `stats_for_all_methods` whoever may send requests makes up
names of statistics; of each cluster no more than `most_methods` are kept, and the other calls count without a name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View
from pyproxy.filters.common.grpc_methods import MOST_METHODS, CountedMethods
from pyproxy.http import grpc
from pyproxy.http.body import Body, Trailers
from pyproxy.http.grpc_frames import CONNECT_END, MessageCounter
from pyproxy.http.message import Request, Response
from pyproxy.http.through import Through
from pyproxy.runtime import Runtime
from pyproxy.telemetry.grpc_method_stats import GrpcMethodStats

Next = Callable[[Request], Awaitable[Response]]

STATE: Final = "envoy.filters.http.grpc_stats"


@dataclass(frozen=True, slots=True)
class GrpcStatsConfig:
    """`methods` are (service, method) that are counted by name; None for all there are."""

    methods: frozenset[tuple[bytes, bytes]] | None = frozenset()
    emit_filter_state: bool = False
    upstream_times: bool = False
    replace_dots: bool = False
    most_methods: int = MOST_METHODS

    def build(self, runtime: Runtime) -> GrpcStats:
        return GrpcStats(self, runtime)


def compile(view: View, context: CompileContext) -> GrpcStatsConfig:  # noqa: A001 (the name that every filter has)
    """A `FilterConfig`."""
    del context
    methods: frozenset[tuple[bytes, bytes]] | None = frozenset()
    listed = view.child("individual_method_stats_allowlist")
    if view.wrapped("stats_for_all_methods"):
        methods = None
    elif listed is not None:
        methods = frozenset(
            (service.text("name").encode(), str(method).encode())
            for service in listed.children("services")
            for method in service.scalars("method_names")
        )
    return GrpcStatsConfig(
        methods=methods,
        emit_filter_state=bool(view.scalar("emit_filter_state")),
        upstream_times=bool(view.scalar("enable_upstream_stats")),
        replace_dots=bool(view.scalar("replace_dots_in_grpc_service_name")),
    )


class GrpcStats:
    """Shared by all requests of a chain."""

    __slots__ = ("_config", "_methods")

    sees_replies = True

    def __init__(self, config: GrpcStatsConfig, runtime: Runtime) -> None:
        self._config = config
        self._methods = CountedMethods(
            runtime.clusters, "grpc", config.methods, replace_dots=config.replace_dots, most=config.most_methods
        )

    async def __call__(self, request: Request, next: Next) -> Response:  # noqa: A002 (the name that every filter has)
        config = self._config
        calls = grpc.is_grpc(request.headers)
        if not calls and not config.emit_filter_state:
            return await next(request)
        stats = self._methods.of(request) if calls else None
        counts = MessageCounts(request) if config.emit_filter_state else None
        if calls and request.body is not None:
            request.body = _look_at(request.body, _Messages(stats, counts, sent=True))
        response = await next(request)
        if stats is not None:
            status = response.headers.index.get(grpc.STATUS)
            if status is not None:
                stats.ended(status)
        body = response.body
        end = None if stats is None else _End(request, stats, times=config.upstream_times)
        if body is None:
            if end is not None:
                end.take_time()
            return response
        content_type = response.headers.index.get(b"content-type")
        told = response.status == 200 and content_type is not None and grpc.is_grpc(response.headers)
        messages = _Messages(stats, counts, sent=False) if told else None
        if messages is not None or end is not None:
            response.body = _look_at(body, messages, end)
        return response


class MessageCounts:
    """What the access log shows of one call (Envoy: FilterObject). Noted at the first message."""

    __slots__ = ("_noted", "_request", "request_message_count", "response_message_count")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._noted = False
        self.request_message_count = 0
        self.response_message_count = 0

    def note(self) -> None:
        if not self._noted:
            self._noted = True
            info = self._request.info
            if info.filter_state is None:
                info.filter_state = {}
            info.filter_state[STATE] = self

    def __str__(self) -> str:
        return f"{self.request_message_count},{self.response_message_count}"

    def typed(self) -> dict[str, object]:
        """As the log shows the object itself: a number of 64 bits is a string in JSON, and 0 is left out."""
        found: dict[str, object] = {}
        if self.request_message_count:
            found["requestMessageCount"] = str(self.request_message_count)
        if self.response_message_count:
            found["responseMessageCount"] = str(self.response_message_count)
        return found


class _Messages:
    """Counts the messages of one direction of a call."""

    __slots__ = ("_counter", "_counts", "_sent", "_stats")

    def __init__(self, stats: GrpcMethodStats | None, counts: MessageCounts | None, *, sent: bool) -> None:
        self._counter = MessageCounter(0 if sent else CONNECT_END)
        self._stats = stats
        self._counts = counts
        self._sent = sent

    def look(self, chunk: bytes) -> None:
        more = self._counter.look(chunk)
        if not more:
            return
        stats, counts = self._stats, self._counts
        if stats is not None:
            if self._sent:
                stats.sent(more)
            else:
                stats.received(more)
        if counts is not None:
            if self._sent:
                counts.request_message_count += more
            else:
                counts.response_message_count += more
            counts.note()


class _End:
    """Counts the end of a call."""

    __slots__ = ("_request", "_stats", "_times")

    def __init__(self, request: Request, stats: GrpcMethodStats, *, times: bool) -> None:
        self._request = request
        self._stats = stats
        self._times = times

    def look(self, trailers: Trailers | None) -> None:
        if not trailers:  # without them the call has no end (Envoy)
            return
        status = next((value for name, value in trailers if name == grpc.STATUS), None)
        if status is not None:
            self._stats.ended(status)
        self.take_time()

    def take_time(self) -> None:
        upstream = self._request.info.upstream
        if self._times and upstream.request_sent_last and upstream.response_last:
            self._stats.took(int((upstream.response_last - upstream.request_sent_last) * 1000))


class _Counted(Through):
    """A body whose messages and end are looked at."""

    __slots__ = ("_end", "_messages")

    def __init__(self, source: Body, messages: _Messages | None, end: _End | None) -> None:
        super().__init__(source)
        self._messages = messages
        self._end = end

    def on_data(self, chunk: bytes) -> None:
        if self._messages is not None:
            self._messages.look(chunk)
        self.body.feed(chunk)

    def on_end(self, trailers: Trailers | None) -> None:
        if self._end is not None:
            self._end.look(trailers)
        self.body.end(trailers)


def _look_at(body: Body, messages: _Messages | None, end: _End | None = None) -> Body:
    whole = body.take()
    if whole is None:
        return _Counted(body, messages, end).begin()
    if messages is not None:
        messages.look(whole)
    if end is not None:
        end.look(body.trailers)
    return Body.complete(whole, body.trailers)
