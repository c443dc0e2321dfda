from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from pyproxy import openssl
from pyproxy.config.matchers import StringKind, StringMatch
from pyproxy.config.tls import PeerValidation, SanMatch, TlsConfig, UpstreamTlsConfig
from pyproxy.network.secret_watch import SecretWatch
from pyproxy.network.transport_sockets.tls_dialer import TlsDialer
from tests.support.identity import Identity
from tests.support.ports import LOOPBACK
from tests.support.tcp_peer import Peer

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
versions = pytest.mark.parametrize("version", [TLS12, TLS13], ids=["1.2", "1.3"])
pytestmark = pytest.mark.skipif(not openssl.usable(), reason="needs a Python whose OpenSSL can be called")


class Upstream:
    """Says one byte and waits for the end."""

    def __init__(self, directory: Path) -> None:
        self.root = Identity.root("root")
        self.directory = directory
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.be("a.test")
        self.peer = Peer(self._serve)

    def be(self, name: str) -> None:
        """From now on. Who comes back with a session is still known."""
        self.context.load_cert_chain(*self.root.issue("server", x509.DNSName(name)).save(self.directory, name))

    def _serve(self, plain: socket.socket) -> None:
        plain.settimeout(10)
        with self.context.wrap_socket(plain, server_side=True, suppress_ragged_eofs=True) as tls:
            tls.sendall(b"x")
            tls.recv(1)


class One(asyncio.Protocol):
    """A connection that is asked about when it is there, as those of the proxy are."""

    def __init__(self, dialer: TlsDialer) -> None:
        self.check = dialer.check_of_one("")
        self.resumed = False
        self.gone = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        tls = transport.get_extra_info("ssl_object")
        self.resumed = bool(tls.session_reused)
        self.transport = transport
        if not self.check(tls):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.gone.set_result(None)


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    made = Upstream(tmp_path)
    yield made
    made.peer.close()


def config(upstream: Upstream, **fields: int) -> UpstreamTlsConfig:
    wanted = SanMatch("DNS", StringMatch(StringKind.EXACT, "a.test"))
    checks = PeerValidation(trusted_ca=upstream.root.pem, sans=(wanted,))
    return UpstreamTlsConfig(TlsConfig(validation=checks), sni="a.test", **fields)  # type: ignore[arg-type]


async def visit(upstream: Upstream, dialer: TlsDialer) -> tuple[bool, bool]:
    """(whether it was wanted, whether a session was resumed)."""
    loop, options = asyncio.get_running_loop(), dialer.options("")
    one = One(dialer)
    await loop.create_connection(lambda: one, LOOPBACK, upstream.peer.port, **options)
    await one.gone
    return not one.check.refusal, one.resumed


def dialer_of(made: UpstreamTlsConfig) -> TlsDialer:
    return TlsDialer(made, SecretWatch(asyncio.get_running_loop()))


@versions
async def test_sessions_are_resumed(upstream: Upstream, version: ssl.TLSVersion) -> None:
    upstream.context.maximum_version = version
    dialer = dialer_of(config(upstream))
    assert [await visit(upstream, dialer) for _ in range(4)] == [(True, False), *[(True, True)] * 3]


async def test_none_is_resumed_where_none_is_to_be_kept(upstream: Upstream) -> None:
    dialer = dialer_of(config(upstream, max_sessions=0))
    assert [await visit(upstream, dialer) for _ in range(3)] == [(True, False)] * 3


@versions
async def test_who_was_refused_is_looked_at_again(upstream: Upstream, version: ssl.TLSVersion) -> None:
    upstream.context.maximum_version = version
    dialer = dialer_of(config(upstream))
    upstream.be("b.test")
    assert [await visit(upstream, dialer) for _ in range(3)] == [(False, False)] * 3
    upstream.be("a.test")
    assert [await visit(upstream, dialer) for _ in range(2)] == [(True, False), (True, True)]


async def test_another_configuration_resumes_nothing(upstream: Upstream) -> None:
    made = config(upstream)
    await visit(upstream, dialer_of(made))
    assert await visit(upstream, dialer_of(replace(made, sni="b.test"))) == (True, False)
