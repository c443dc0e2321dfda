"""Connections of the manager to collectors: which host, and TLS with whom."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509

from pyproxy.config.address import AddressConfig
from pyproxy.config.cluster import ClusterConfig, EndpointConfig
from pyproxy.config.matchers import StringKind, StringMatch
from pyproxy.config.tls import PeerValidation, SanMatch, TlsConfig, UpstreamTlsConfig
from pyproxy.network.transport_sockets.tls import PeerRefused
from pyproxy.server.exporting.destination import Destination, NoDestination
from pyproxy.server.exporting.http_sender import HttpSender
from tests.support.certificates import Authority
from tests.support.ports import LOOPBACK, free_ports

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Answering(asyncio.Protocol):
    """A collector that answers what it is told to."""

    answer = OK
    seen: list[bytes]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(self.answer)


async def serve(answer: bytes = OK, context: ssl.SSLContext | None = None) -> asyncio.Server:
    def connection() -> Answering:
        made = Answering()
        made.answer = answer
        return made

    return await asyncio.get_running_loop().create_server(connection, LOOPBACK, 0, ssl=context)


def port_of(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


def cluster(*ports: int, tls: UpstreamTlsConfig | None = None) -> ClusterConfig:
    return ClusterConfig("c", endpoints=tuple(EndpointConfig(AddressConfig(LOOPBACK, port)) for port in ports), tls=tls)


def sender(config: ClusterConfig | None) -> HttpSender:
    return HttpSender(Destination("c", lambda name: config), "host", "/", ())


@pytest.fixture
async def tls_server(tmp_path: Path) -> AsyncIterator[tuple[asyncio.Server, Authority]]:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("collector", x509.DNSName("collector.test")))
    server = await serve(context=context)
    yield server, authority
    server.close()
    await server.wait_closed()


def tls(authority: Authority, name: str) -> UpstreamTlsConfig:
    wanted = SanMatch("DNS", StringMatch(StringKind.EXACT, name))
    checks = PeerValidation(trusted_ca=Path(authority.ca).read_text(), sans=(wanted,))
    return UpstreamTlsConfig(TlsConfig(validation=checks), sni="collector.test")


async def test_the_next_host_is_asked_where_one_is_gone() -> None:
    server = await serve()
    (gone,) = free_ports(1)
    made = sender(cluster(gone, port_of(server)))
    with pytest.raises(OSError, match="onnect"):
        await made.post(b"x", "text/plain")
    assert await made.post(b"x", "text/plain") == 200
    made.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("config", [None, ClusterConfig("c")])
async def test_a_cluster_without_hosts(config: ClusterConfig | None) -> None:
    with pytest.raises(NoDestination, match="'c' has no hosts"):
        await sender(config).post(b"", "text/plain")


async def test_who_has_the_right_name_is_believed(tls_server: tuple[asyncio.Server, Authority]) -> None:
    server, authority = tls_server
    made = sender(cluster(port_of(server), tls=tls(authority, "collector.test")))
    assert await made.post(b"x", "text/plain") == 200
    made.close()


async def test_who_has_another_name_gets_nothing(tls_server: tuple[asyncio.Server, Authority]) -> None:
    server, authority = tls_server
    with pytest.raises(PeerRefused):
        await sender(cluster(port_of(server), tls=tls(authority, "other.test"))).post(b"x", "text/plain")


@pytest.mark.parametrize(
    ("answer", "fault"),
    [(b"nonsense\r\n\r\n", "does not speak HTTP"), (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, "")],
)
async def test_answers(answer: bytes, fault: str) -> None:
    server = await serve(answer)
    made = sender(cluster(port_of(server)))
    if fault:
        with pytest.raises(ConnectionError, match=fault):
            await made.post(b"x", "text/plain")
    else:
        assert await made.post(b"x", "text/plain") == 200
    made.close()
    server.close()
    await server.wait_closed()
