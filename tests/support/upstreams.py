"""A router with its clusters, and upstreams whose every move is the test's: no sockets, and time that is set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from pyproxy import clock
from pyproxy.clusters.manager import ClusterManager
from pyproxy.config.address import AddressConfig
from pyproxy.config.bootstrap import NodeConfig
from pyproxy.config.cluster import ClusterConfig, EndpointConfig
from pyproxy.config.route import ForwardAction
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.filters.http.router.config import RouterConfig
from pyproxy.http.body import Body, Trailers
from pyproxy.http.drive import Drive
from pyproxy.http.message import Headers, Pair, Request, Response
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo
from pyproxy.network.cork import Cork
from pyproxy.network.secret_watch import SecretWatch
from pyproxy.runtime import Runtime
from pyproxy.tasks import DeadlineTable
from pyproxy.telemetry.logs import AccessLogs
from pyproxy.telemetry.metrics import StatsStore
from tests.routes.live import one_route
from tests.support.transport import ManualTransport

GONE = ProxyError(ResponseFlag.DOWNSTREAM_CONNECTION_TERMINATION, Source.DOWNSTREAM, 0, "gone")
REFUSED = ConnectionRefusedError(111, "Connection refused")


@dataclass(eq=False)
class Dial:
    """An attempt to connect that nobody has answered yet."""

    factory: Callable[[], Any]
    port: int
    done: asyncio.Future[Any]


class StagedLoop(asyncio.SelectorEventLoop):
    """Runs tasks when it is told to, at a time that is set, and connects to nothing."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.dials: list[Dial] = []
        super().__init__()

    def time(self) -> float:
        return self.now

    async def create_connection(self, factory: Callable[[], Any], host: str, port: int) -> Any:  # type: ignore[override]
        dial = Dial(factory, port, self.create_future())
        self.dials.append(dial)
        try:
            return await dial.done
        finally:
            self.dials.remove(dial)

    def settle(self) -> None:
        for _ in range(6):
            self.call_soon(self.stop)
            self.run_forever()


class Asked(Drive):
    """One request and what came of it. Takes the response's body."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.request = request
        self.response: Response | None = None
        self.error: ProxyError | None = None
        self.outcomes = 0
        self.data = b""
        self.ended = self.broken = False

    @property
    def over(self) -> bool:
        return self.error is not None or self.ended or self.broken

    def on_return(self, value: Any) -> None:
        self.outcomes += 1
        self.response = value
        if value.body is None:
            self.ended = True
        else:
            value.body.pipe_to(self)

    def on_raise(self, error: BaseException) -> None:
        assert isinstance(error, ProxyError)
        self.outcomes += 1
        self.error = error

    def leave(self) -> None:
        """The downstream goes away."""
        if self.response is not None and self.response.body is not None:
            self.response.body.cancel(GONE)
        self.throw(GONE)
        self.broken = True

    def on_data(self, chunk: bytes) -> None:
        assert not self.ended
        assert not self.broken
        self.data += chunk

    def on_end(self, trailers: Trailers | None) -> None:
        assert not self.broken
        self.ended = True

    def on_abort(self, error: ProxyError) -> None:
        assert not self.ended
        self.broken = True


@dataclass(eq=False)
class Stage:
    """Ask requests on one side, play the upstreams on the other. `settle` lets the proxy do what it has to."""

    config: ClusterConfig
    router: RouterConfig = field(default_factory=RouterConfig)
    loop: StagedLoop = field(default_factory=StagedLoop)
    transports: list[ManualTransport] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(clock, "monotonic", self.loop.time)
        clock.tick()
        loop = self.loop
        deadlines, stats, values = DeadlineTable(loop), StatsStore(), RuntimeValues()
        self.clusters = ClusterManager(loop, stats, deadlines, values)
        self.clusters.apply([self.config])
        self.runtime = Runtime(
            loop, deadlines, stats, self.clusters, AccessLogs(loop), values, NodeConfig(), Cork(loop), SecretWatch(loop)
        )
        self.chain = self.router.build(self.runtime)
        found = self.clusters.get(self.config.name)
        assert found is not None
        self.cluster = found
        self.limits = found.limits[0]

    def close(self) -> None:
        self.clusters.close()
        self.settle()
        self.loop.close()
        self._patch.undo()
        clock.tick()

    # What downstreams do

    def ask(
        self, method: str = "GET", body: Body | None = None, *headers: Pair, action: ForwardAction | None = None
    ) -> Asked:
        info = StreamInfo(clock.now, clock.now, ConnectionInfo())
        request = Request(method.encode(), b"/", b"a", Headers(list(headers)), info, body)
        request.route = one_route(action or ForwardAction(cluster=self.config.name))
        asked = Asked(request)
        self.asked.append(asked)
        self.do(lambda: asked.run(self.chain(request)))
        return asked

    def do(self, what: Callable[[], Any]) -> None:
        """Something happens on the loop."""

        def callback() -> None:
            clock.tick()
            what()

        self.loop.call_soon(callback)
        self.settle()

    def settle(self) -> None:
        for _ in range(3):
            for transport in self.transports:
                self.loop.call_soon(transport.settle)
            self.loop.settle()
        self.transports = [transport for transport in self.transports if not transport.lost]

    def wait(self, seconds: float) -> None:
        self.loop.now += seconds
        self.settle()

    # What upstreams do

    def accept(self, at: int = 0, *, banner: bytes = b"", leave: bool = False) -> ManualTransport:
        """Answer an attempt to connect; perhaps say something or go away before the proxy looks."""
        dial = self.loop.dials[at]
        made: list[ManualTransport] = []

        def callback() -> None:
            transport = ManualTransport(dial.factory())
            made.append(transport)
            self.transports.append(transport)
            if banner:
                transport.deliver(banner)
            if leave:
                transport.lose(ConnectionResetError())
            dial.done.set_result((transport, None))

        self.loop.call_soon(callback)
        self.settle()
        return made[0]

    def refuse(self, at: int = 0) -> None:
        self.loop.dials[at].done.set_exception(REFUSED)
        self.settle()

    def say(self, transport: ManualTransport, data: bytes) -> None:
        self.do(lambda: transport.deliver(data))

    def close_in_order(self, transport: ManualTransport) -> None:
        self.do(transport.deliver_eof)

    def reset(self, transport: ManualTransport) -> None:
        self.do(lambda: transport.lose(ConnectionResetError()))

    # What is counted

    def in_use(self) -> tuple[int, int, int]:
        return (self.limits.requests, self.limits.pending, self.limits.connections)

    def stat(self, name: str) -> int:
        self.runtime.stats.flush()
        found: int = getattr(self.cluster.stats, name).value
        return found


def cluster_of(*ports: int, **fields: Any) -> ClusterConfig:
    endpoints = tuple(EndpointConfig(AddressConfig("127.0.0.1", port)) for port in ports)
    return ClusterConfig("up", endpoints=endpoints, **fields)
