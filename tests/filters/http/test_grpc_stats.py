"""The grpc_stats filter by itself. What it counts is compared with Envoy in tests/oracle."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pyproxy.filters.http import grpc_stats
from pyproxy.filters.http.grpc_stats import STATE, GrpcStats, GrpcStatsConfig
from pyproxy.http.body import Body
from pyproxy.http.grpc_frames import frame
from pyproxy.http.message import Headers, Request, Response
from pyproxy.telemetry import grpc_method_stats
from pyproxy.telemetry.metrics import StatsStore
from tests.config.compiling import CONTEXT, unread, view
from tests.telemetry.exchanges import forwarded

TYPE = "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig"
GRPC = (b"content-type", b"application/grpc")


class World:
    def __init__(self) -> None:
        self.store = StatsStore()
        self.clusters = {"up": SimpleNamespace(stats=SimpleNamespace(scope=self.store.scope("cluster.up")))}

    def value(self, name: str) -> int:
        self.store.flush()
        return self.store.counter(f"cluster.up.grpc.{name}").value


async def call(
    config: GrpcStatsConfig | GrpcStats, world: Any, path: bytes, response: Response, body: Body | None = None
) -> Request:
    request, _ = forwarded()
    request.info.filter_state = None
    request.path = path
    request.headers = Headers([GRPC])
    request.body = body
    request.route = SimpleNamespace(answer=None, resolve=lambda request: SimpleNamespace(cluster="up"))

    async def upstream(request: Request) -> Response:
        return response

    live = config.build(world) if isinstance(config, GrpcStatsConfig) else config
    await live(request, upstream)
    return request


def answer(body: Body | None = None, *more: tuple[bytes, bytes]) -> Response:
    return Response(200, Headers([GRPC, *more]), body)


@pytest.fixture
def world() -> World:
    return World()


async def test_pieces_are_counted_as_they_come(world: World) -> None:
    sent, received = Body(), Body()
    request = await call(GrpcStatsConfig(None, emit_filter_state=True), world, b"/s.S/M", answer(received), sent)
    sent.feed(frame(b"abc"))
    assert world.value("s.S.M.request_message_count") == 1
    sent.feed(frame(b"") + frame(b"")[:1])
    assert world.value("s.S.M.request_message_count") == 3
    received.feed(frame(b"x"))
    received.end([(b"grpc-status", b"3")])
    assert (world.value("s.S.M.3"), world.value("s.S.M.failure"), world.value("s.S.M.total")) == (1, 1, 1)
    assert request.info.filter_state is not None
    state = request.info.filter_state[STATE]
    assert str(state) == "3,1"
    assert state.typed() == {"requestMessageCount": "3", "responseMessageCount": "1"}


async def test_times_of_upstreams(world: World) -> None:
    config = GrpcStatsConfig(upstream_times=True)
    await call(config, world, b"/s.S/M", answer(Body.complete(b"", [(b"grpc-status", b"0")])))
    await call(config, world, b"/s.S/M", answer(None, (b"grpc-status", b"0")))
    assert world.value("success") == 2
    world.store.flush()
    assert (
        max(world.store.histogram("cluster.up.grpc.upstream_rq_time").bins.values(), key=lambda one: one.value).value
        == 2
    )


async def test_names_that_are_made_up_have_an_end(world: World) -> None:
    live = GrpcStatsConfig(None, most_methods=2).build(world)  # type: ignore[arg-type]
    for number in range(5):
        await call(live, world, b"/s/%d" % number, answer(None, (b"grpc-status", b"0")))
    assert world.value("total") == 3
    assert world.value("s.1.total") == 1


def test_statuses_that_are_made_up_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_method_stats, "_MOST_STATUSES", 2)
    store = StatsStore()
    stats = grpc_method_stats.GrpcMethodStats(store.scope("x"), "grpc.")
    for status in (b"1", b"a.b\xff", b"3", b"4", b"1"):
        stats.ended(status)
    store.flush()
    assert store.counter("x.grpc.1").value == 2
    assert store.counter("x.grpc.other").value == 2
    assert store.counter("x.grpc.total").value == 5


def test_compiles() -> None:
    listed = "{services: [{name: s, method_names: [a, b]}, {name: t, method_names: [c]}]}"
    seen = view(TYPE, f"{{individual_method_stats_allowlist: {listed}, emit_filter_state: true}}")
    config = grpc_stats.compile(seen, CONTEXT)
    assert config == GrpcStatsConfig(frozenset({(b"s", b"a"), (b"s", b"b"), (b"t", b"c")}), emit_filter_state=True)
    assert unread(seen) == []
    both = view(
        TYPE, "{stats_for_all_methods: true, enable_upstream_stats: true, replace_dots_in_grpc_service_name: true}"
    )
    assert grpc_stats.compile(both, CONTEXT) == GrpcStatsConfig(None, upstream_times=True, replace_dots=True)
    assert grpc_stats.compile(view(TYPE, "{stats_for_all_methods: false}"), CONTEXT) == GrpcStatsConfig()
