from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from pyproxy.clusters.health_checks.h2_exchange import H2Exchange
from pyproxy.clusters.health_checks.probe import Probe
from pyproxy.config.cluster import UpstreamHttpOptions
from pyproxy.http.message import Pair
from pyproxy.network.cork import Cork
from tests.support import health_service as grpc
from tests.support.health_service import HealthService
from tests.support.ports import LOOPBACK

HEAD: list[Pair] = [(b":method", b"POST"), (b":path", b"/x"), (b":authority", b"a"), (b":scheme", b"http")]


@pytest.fixture
def service() -> Iterator[HealthService]:
    made = HealthService((grpc.SERVING, grpc.PLAIN, grpc.NOISY, grpc.SERVING, grpc.RESET))
    yield made
    made.stop()


async def exchange_with(service: HealthService) -> H2Exchange:
    loop = asyncio.get_running_loop()
    probe = Probe(Cork(loop))
    exchange = H2Exchange(probe, UpstreamHttpOptions())
    await loop.create_connection(lambda: probe, LOOPBACK, service.port)
    return exchange


async def test_requests_follow_each_other_on_one_connection(service: HealthService) -> None:
    exchange = await exchange_with(service)
    answer = await exchange.ask(HEAD, b"question", 3)
    assert (answer.status, answer.body) == (200, b"\0\0\0")
    assert answer.trailers is not None
    assert answer.trailers.pairs == [(b"grpc-status", b"0")]
    assert service.asked == [(HEAD, b"question")]

    answer = await exchange.ask(HEAD, b"", 100)
    assert (answer.status, answer.body, answer.trailers) == (200, b"", None)
    for _ in range(2):  # a PING comes between
        assert (await exchange.ask(HEAD, b"", 100)).status == 200
    with pytest.raises(ConnectionResetError):
        await exchange.ask(HEAD, b"", 100)
    assert service.connections == 1
    exchange.probe.close()


async def test_a_connection_that_ends_is_no_answer() -> None:
    service = HealthService((grpc.CLOSE,))
    exchange = await exchange_with(service)
    with pytest.raises(OSError, match=r"ended|reset"):
        await exchange.ask(HEAD, b"", 100)
    service.stop()
