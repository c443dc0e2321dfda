"""The PROXY header that an upstream is sent, for TCP and for HTTP, in plain text and before TLS: Envoy and pyproxy."""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyproxy.network.proxy_header import ProxyHeader, read_proxy_header
from tests.network.test_proxy_header import INET, v2
from tests.oracle.tls_proxies import OWNERS, Json, Proxy, transport, two_proxies
from tests.server.bootstraps import bootstrap, endpoint, listener, manager, static_cluster
from tests.support.identity import Identity
from tests.support.ports import LOOPBACK
from tests.support.tcp_peer import Peer

SOCKET = "type.googleapis.com/envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"
RAW = "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"
TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
PROXY_PROTOCOL = "type.googleapis.com/envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"
GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
pytestmark = [pytest.mark.oracle, pytest.mark.xdist_group("proxy-header")]

ADDED = [{"type": 0xF1, "value": "YWRkZWQ="}, {"type": 0xEA, "value": "b3Vycw=="}]
HEADERS: dict[str, Json] = {
    "v1": {"version": "V1"},
    "v2": {"version": "V2"},
    "v2-all": {"version": "V2", "pass_through_tlvs": {"match_type": "INCLUDE_ALL"}},
    "v2-some": {"version": "V2", "pass_through_tlvs": {"match_type": "INCLUDE", "tlv_type": [0xEA, 5]}},
    "v2-added": {"version": "V2", "pass_through_tlvs": {"match_type": "INCLUDE_ALL"}, "added_tlvs": ADDED},
    "v1-tls": {"version": "V1"},
    "v2-tls": {"version": "V2"},
}
TLVS = b"\xea\x00\x05there\x05\x00\x02id\x02\x00\x01x"
INTRODUCED = v2(INET + TLVS)


class Introduced:
    """An upstream that reads the header of each connection, then serves."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.headers: queue.Queue[ProxyHeader] = queue.Queue()
        self._context = context
        self.peer = Peer(self._serve)

    def _serve(self, sock: socket.socket) -> None:
        found: ProxyHeader | int = 1
        while isinstance(found, int):
            found = read_proxy_header(sock.recv(found, socket.MSG_PEEK | socket.MSG_WAITALL))
        sock.recv(found.size, socket.MSG_WAITALL)
        self.headers.put(found)
        with contextlib.ExitStack() as stack:
            if self._context is not None:
                sock = stack.enter_context(self._context.wrap_socket(sock, server_side=True))
            while data := sock.recv(65536):
                web = data.startswith(b"GET")
                sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi" if web else data)


class Scene:
    def __init__(self, proxies: dict[str, Proxy], plain: Introduced, encrypted: Introduced) -> None:
        self.proxies = proxies
        self._upstreams = (plain, encrypted)

    def header(self, name: str) -> ProxyHeader:
        return self._upstreams[name.endswith("-tls")].headers.get(timeout=5)

    def is_quiet(self, name: str) -> bool:
        return self._upstreams[name.endswith("-tls")].headers.empty()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    root, directory = Identity.root("root"), tmp_path_factory.mktemp("introduced")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*root.issue("a").save(Path(directory), "server"))
    plain, encrypted = Introduced(None), Introduced(context)
    listening = {"allow_requests_without_proxy_protocol": True, "pass_through_tlvs": {"match_type": "INCLUDE_ALL"}}
    believing = {"name": "p", "typed_config": {"@type": PROXY_PROTOCOL, **listening}}
    inner = transport("Upstream", {"validation_context": {"trusted_ca": {"inline_string": root.pem}}})
    raw = {"name": "raw", "typed_config": {"@type": RAW}}

    def make(proxy: Proxy) -> Json:
        listeners, clusters = [], []
        for name, config in HEADERS.items():
            tcp = {"name": "t", "typed_config": {"@type": TCP_PROXY, "stat_prefix": name, "cluster": name}}
            web = manager(name, {"route": {"cluster": name}})
            for kind, last in (("tcp", tcp), ("web", web)):
                full = f"{kind}-{name}"
                listeners.append(listener(full, proxy.ports[full], last, listener_filters=[believing]))
            tls = name.endswith("-tls")
            typed: Json = {"@type": SOCKET, "config": config, "transport_socket": inner if tls else raw}
            one = endpoint((encrypted if tls else plain).peer.port)
            clusters.append(static_cluster(name, one, transport_socket={"name": "p", "typed_config": typed}))
        return bootstrap(listeners, clusters)

    names = [f"{kind}-{name}" for kind in ("tcp", "web") for name in HEADERS]
    for proxies in two_proxies(tmp_path_factory.mktemp("proxies"), names, make):
        yield Scene(proxies, plain, encrypted)
    plain.peer.close()
    encrypted.peer.close()


def visit(port: int, kind: str, introduction: bytes = b"", times: int = 1) -> tuple[str, int]:
    """Ask and be answered; from where that was."""
    with socket.create_connection((LOOPBACK, port), timeout=5) as sock:
        sock.sendall(introduction)
        for _ in range(times):
            sock.sendall(GET if kind == "web" else b"hello")
            assert sock.recv(1000)
        address: tuple[str, int] = sock.getsockname()
        return address


@pytest.mark.parametrize("kind", ["tcp", "web"])
@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("owner", OWNERS)
def test_the_downstream_is_told(scene: Scene, owner: str, name: str, kind: str) -> None:
    port = scene.proxies[owner].ports[f"{kind}-{name}"]
    came = visit(port, kind)
    header = scene.header(name)
    assert (header.version, header.source, header.destination) == (int(name[1]), came, (LOOPBACK, port))
    assert header.tlvs == (((0xF1, b"added"), (0xEA, b"ours")) if name == "v2-added" else ())


@pytest.mark.parametrize("kind", ["tcp", "web"])
@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("owner", OWNERS)
def test_who_is_behind_the_downstream_is_told(scene: Scene, owner: str, name: str, kind: str) -> None:
    visit(scene.proxies[owner].ports[f"{kind}-{name}"], kind, INTRODUCED)
    header = scene.header(name)
    assert (header.source, header.destination) == (("1.2.3.4", 1000), ("5.6.7.8", 443))
    passed: dict[str, tuple[tuple[int, bytes], ...]] = {
        "v2-all": ((0xEA, b"there"), (5, b"id"), (2, b"x")),
        "v2-some": ((0xEA, b"there"), (5, b"id")),
        "v2-added": ((0xF1, b"added"), (0xEA, b"ours"), (5, b"id"), (2, b"x")),
    }
    assert header.tlvs == passed.get(name, ())


@pytest.mark.parametrize("owner", OWNERS)
def test_a_connection_is_for_one_downstream(scene: Scene, owner: str) -> None:
    port = scene.proxies[owner].ports["web-v1"]
    came = [visit(port, "web", times=3) for _ in range(3)]
    assert [scene.header("v1").source for _ in came] == came
    assert scene.is_quiet("v1")


@pytest.mark.parametrize("owner", OWNERS)
def test_one_who_comes_again_from_the_same_place(scene: Scene, owner: str) -> None:
    """A load balancer that tells of the same client twice."""
    port = scene.proxies[owner].ports["web-v2"]
    told: Any = [v2(INET[:8] + bytes((9, at, 1, 187))) for at in (1, 1, 2)]
    for introduction in told:
        visit(port, "web", introduction)
    assert [scene.header("v2").source for _ in range(2)] == [("1.2.3.4", 0x901), ("1.2.3.4", 0x902)]
    assert scene.is_quiet("v2")
