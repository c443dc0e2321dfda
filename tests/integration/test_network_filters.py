"""Network filters before and at the end of a chain, between real sockets."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.server.bootstraps import bootstrap, endpoint, listener, static_cluster
from tests.server.running import Running, eventually
from tests.support.certificates import Authority
from tests.support.ports import LOOPBACK
from tests.support.tcp_peer import Peer

NETWORK = "type.googleapis.com/envoy.extensions.filters.network."
INSPECTOR = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
Begin = Callable[..., Running]


def network_filter(type_name: str, **fields: Any) -> dict[str, Any]:
    return {"name": type_name, "typed_config": {"@type": f"{NETWORK}{type_name}", **fields}}


ECHO = network_filter("echo.v3.Echo")


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    started: list[Running] = []

    def start(*filters: dict[str, Any], clusters: tuple[dict[str, Any], ...] = (), **more: Any) -> Running:
        one = listener("l", 0, {}, **more)
        one["filter_chains"] = [{"filters": list(filters)}]
        proxy = Running.real(tmp_path, bootstrap([one], list(clusters)), "--concurrency", "1")
        started.append(proxy)
        eventually(lambda: proxy.ready() or proxy.process.poll() is not None)
        assert proxy.process.poll() is None, proxy.said()
        return proxy

    yield start
    for proxy in started:
        assert "Traceback" not in proxy.said()
        proxy.stop()


def connect(proxy: Running) -> socket.socket:
    return socket.create_connection((LOOPBACK, proxy.port("l")), timeout=10)


def is_let_in(sock: socket.socket) -> bool:
    try:
        sock.sendall(b"hello")
        return sock.recv(100) == b"hello"
    except ConnectionError:
        return False


def stat(proxy: Running, name: str) -> str:
    return proxy.admin(f"/stats?filter={name}")[1]


def test_echo(begin: Begin) -> None:
    with connect(begin(ECHO)) as sock:
        assert is_let_in(sock)
        data = bytes(range(256)) * 4096
        sock.sendall(data)
        got = b""
        while len(got) < len(data):
            got += sock.recv(65536)
        assert got == data


def test_direct_response(begin: Begin) -> None:
    proxy = begin(network_filter("direct_response.v3.Config", response={"inline_string": "no service today\n"}))
    with connect(proxy) as sock:
        assert b"".join(iter(lambda: sock.recv(100), b"")) == b"no service today\n"


def test_connection_limit(begin: Begin) -> None:
    proxy = begin(network_filter("connection_limit.v3.ConnectionLimit", stat_prefix="c", max_connections=2), ECHO)
    with connect(proxy) as first:
        assert is_let_in(first)
        with connect(proxy) as second, connect(proxy) as third:
            assert is_let_in(second)
            assert not is_let_in(third)
        eventually(lambda: "active_connections: 1" in stat(proxy, "connection_limit.c.active_connections"))
        with connect(proxy) as fourth:
            assert is_let_in(fourth)
    eventually(lambda: "limited_connections: 1" in stat(proxy, "connection_limit.c.limited_connections"))
    eventually(lambda: "active_connections: 0" in stat(proxy, "connection_limit.c.active_connections"))


def test_local_ratelimit(begin: Begin) -> None:
    bucket = {"max_tokens": 3, "fill_interval": "60s"}
    limit = network_filter("local_ratelimit.v3.LocalRateLimit", stat_prefix="r", token_bucket=bucket)
    proxy = begin(limit, ECHO)
    let_in = []
    for _ in range(5):
        with connect(proxy) as sock:
            let_in.append(is_let_in(sock))
    assert let_in == [True, True, True, False, False]
    eventually(lambda: "rate_limited: 2" in stat(proxy, "local_rate_limit.r.rate_limited"))


def test_rbac(begin: Begin) -> None:
    """The rule is about the address: this test has two of them."""
    allowed = {
        "permissions": [{"any": True}],
        "principals": [{"source_ip": {"address_prefix": "127.0.0.2", "prefix_len": 32}}],
    }
    proxy = begin(network_filter("rbac.v3.RBAC", stat_prefix="r.", rules={"policies": {"two": allowed}}), ECHO)
    for source, wanted in (("127.0.0.1", False), ("127.0.0.2", True)):
        address = (LOOPBACK, proxy.port("l"))
        with socket.create_connection(address, timeout=10, source_address=(source, 0)) as sock:
            assert is_let_in(sock) is wanted
    eventually(lambda: "denied: 1" in stat(proxy, "rbac.denied"))


def test_rbac_by_identity(begin: Begin, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "own")
    chain, key = authority.issue("server", x509.DNSName("a.test"))
    typed = {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "tls_certificates": [{"certificate_chain": {"filename": chain}, "private_key": {"filename": key}}],
            "validation_context": {"trusted_ca": {"filename": str(authority.ca)}},
        },
    }
    bad = {"authenticated": {"principal_name": {"exact": "spiffe://mesh.test/bad"}}}
    rules = {"action": "DENY", "policies": {"not-you": {"permissions": [{"any": True}], "principals": [bad]}}}
    one = listener("l", 0, {})
    rbac = network_filter("rbac.v3.RBAC", stat_prefix="r.", rules=rules)
    one["filter_chains"] = [{"filters": [rbac, ECHO], "transport_socket": {"name": "tls", "typed_config": typed}}]
    home = tmp_path / "proxy"
    home.mkdir()
    proxy = Running.real(home, bootstrap([one], []), "--concurrency", "1")
    try:
        eventually(proxy.ready)
        for name, wanted in (("good", True), ("bad", False)):
            context = ssl.create_default_context(cafile=str(authority.ca))
            context.check_hostname = False
            uri = x509.UniformResourceIdentifier(f"spiffe://mesh.test/{name}")
            context.load_cert_chain(*authority.issue(name, uri))
            with connect(proxy) as sock, context.wrap_socket(sock) as tls:
                assert is_let_in(tls) is wanted
        assert "Traceback" not in proxy.said()
    finally:
        proxy.stop()


def test_a_gateway_passes_tls_on_by_the_name_that_is_asked_for(begin: Begin, tmp_path: Path) -> None:
    """As the east-west gateway of a mesh: it has no certificate, and the clusters are named like the servers."""
    authority = Authority(tmp_path / "own")
    peers = {}
    for name in ("a.mesh.test", "outbound_.80_._.b.mesh.test"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue(name.replace(".", "-"), x509.DNSName("*.mesh.test")))
        peers[name] = Peer(_tls_service(context, name.encode()))
    proxy = begin(
        network_filter("sni_cluster.v3.SniCluster"),
        network_filter("tcp_proxy.v3.TcpProxy", stat_prefix="t", cluster="black-hole"),
        clusters=(
            static_cluster("black-hole"),
            *(static_cluster(name, endpoint(peer.port)) for name, peer in peers.items()),
        ),
        listener_filters=[{"name": "tls", "typed_config": {"@type": INSPECTOR}}],
    )
    trusting = ssl.create_default_context(cafile=str(authority.ca))
    trusting.check_hostname = False
    for name in peers:
        with connect(proxy) as sock, trusting.wrap_socket(sock, server_hostname=name) as tls:
            tls.sendall(b"who are you")
            assert tls.recv(100) == name.encode()
    with connect(proxy) as sock, pytest.raises((ssl.SSLError, ConnectionError)):
        trusting.wrap_socket(sock, server_hostname="unknown.mesh.test")
    for peer in peers.values():
        peer.close()


def _tls_service(context: ssl.SSLContext, name: bytes) -> Callable[[socket.socket], None]:
    def serve(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as tls:
            tls.recv(100)
            tls.sendall(name)

    return serve


def test_what_cannot_be_is_told(tmp_path: Path) -> None:
    bad = network_filter("local_ratelimit.v3.LocalRateLimit", stat_prefix="r", token_bucket={"max_tokens": 1})
    one = listener("l", 0, bad)
    one["filter_chains"][0]["filters"].append(ECHO)
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(bootstrap([one], [])))
    proxy = Running(tmp_path, ["pyproxy", "-c", str(file)])
    assert proxy.process.wait(20) == 1
    assert "fill_interval" in proxy.said()
