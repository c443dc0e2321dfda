"""Tunnels through whole proxies: WebSocket and CONNECT, over HTTP/1 and HTTP/2, granted and refused."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_http2 import h2_options
from tests.server.bootstraps import bootstrap, endpoint, file_log, listener, manager, static_cluster
from tests.server.running import PATIENCE, Running, eventually
from tests.support.ports import LOOPBACK, free_ports
from tests.support.tcp_peer import Peer

HANDSHAKE = b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\nx: 1\r\n\r\n"
CONNECT = b"CONNECT b.test:443 HTTP/1.1\r\nhost: b.test:443\r\n\r\n"
WEBSOCKET = {"upgrade_configs": [{"upgrade_type": "websocket"}]}
Start = Callable[..., Running]


class Echo:
    """An upstream that agrees to every tunnel (or says something else) and then gives back what it gets."""

    def __init__(self, answer: bytes, *, raw: bool = False) -> None:
        self.heads: list[bytes] = []
        self._answer = answer
        self._raw = raw
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            if not self._raw:
                head = b""
                while b"\r\n\r\n" not in head:
                    data = sock.recv(65_536)
                    if not data:
                        return
                    head += data
                head, _, rest = head.partition(b"\r\n\r\n")
                self.heads.append(head)
                sock.sendall(self._answer + rest)
            while data := sock.recv(65_536):
                sock.sendall(data)


SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nsec: x\r\n\r\n"


@pytest.fixture
def echo() -> Iterator[Callable[..., Echo]]:
    made: list[Echo] = []

    def make(answer: bytes = SWITCHING, *, raw: bool = False) -> Echo:
        made.append(Echo(answer, raw=raw))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`web` goes to the upstream; `far` goes there by HTTP/2, through a listener `inner` of the same proxy."""
    started: list[Running] = []

    def begin(
        port: int,
        route: dict[str, Any] | None = None,
        match: dict[str, Any] | None = None,
        last: dict[str, Any] | None = None,
        **hcm: Any,
    ) -> Running:
        """`last` is for routes to the upstream, where those to itself have another."""
        (inner,) = free_ports(1)
        log = file_log(str(tmp_path / "access.log"), "%REQ(:METHOD)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS%")
        h2 = {"allow_connect": True}

        def hop(name: str, cluster: str, **more: Any) -> dict[str, Any]:
            chosen = last if last is not None and cluster == "up" else route
            made = manager(name, {"route": {"cluster": cluster, **(chosen or {})}}, access_log=[log], **hcm, **more)
            if match is not None:
                virtual_host = made["typed_config"]["route_config"]["virtual_hosts"][0]
                virtual_host["routes"][0]["match"] = match
            return made

        made = bootstrap(
            [
                listener("web", 0, hop("web", "up")),
                listener("far", 0, hop("far", "again")),
                listener("inner", inner, hop("inner", "up", http2_protocol_options=h2)),
            ],
            [static_cluster("up", endpoint(port)), static_cluster("again", endpoint(inner), **h2_options(**h2))],
        )
        proxy = Running.real(tmp_path, made, "--concurrency", "1")
        started.append(proxy)
        eventually(lambda: proxy.ready() or proxy.process.poll() is not None)
        assert proxy.process.poll() is None, proxy.said()
        return proxy

    yield begin
    for proxy in started:
        assert "Traceback" not in proxy.said()
        proxy.stop()


def connect(port: int) -> socket.socket:
    sock = socket.create_connection((LOOPBACK, port), timeout=PATIENCE)
    sock.settimeout(PATIENCE)
    return sock


def read_head(sock: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65_536)
        assert more, data
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def exchange(sock: socket.socket, size: int = 300_000) -> None:
    """What is sent comes back, also if there is much of it."""
    body = random.Random(size).randbytes(size)
    sender = threading.Thread(target=sock.sendall, args=(body,))
    sender.start()
    came = b""
    while len(came) < size:
        data = sock.recv(65_536)
        assert data
        came += data
    sender.join()
    assert came == body


@pytest.mark.parametrize("where", ["web", "far"])
def test_websocket(start: Start, echo: Callable[..., Echo], where: str) -> None:
    upstream = echo()
    proxy = start(upstream.port, **WEBSOCKET)
    with connect(proxy.port(where)) as sock:
        sock.sendall(HANDSHAKE)
        head, rest = read_head(sock)
        assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        fields = head.lower().split(b"\r\n")
        assert b"upgrade: websocket" in fields
        assert b"connection: upgrade" in fields
        assert rest == b""
        exchange(sock, 10)
        exchange(sock)
    asked = upstream.heads[0].lower().split(b"\r\n")
    assert asked[0] == b"get /chat http/1.1"
    assert b"upgrade: websocket" in asked
    assert b"connection: upgrade" in [field.replace(b"keep-alive, ", b"") for field in asked]
    assert not any(field.startswith((b"content-length", b"transfer-encoding")) for field in asked)
    eventually(lambda: "cluster.up.upstream_rq_active: 0" in proxy.admin("/stats?filter=upstream_rq_active")[1])


@pytest.mark.parametrize("where", ["web", "far"])
def test_the_end_of_the_upstream_is_the_end_of_the_tunnel(start: Start, echo: Callable[..., Echo], where: str) -> None:
    upstream = echo(SWITCHING.replace(b"sec: x", b"sec: y"))
    proxy = start(upstream.port, **WEBSOCKET)
    with connect(proxy.port(where)) as sock:
        sock.sendall(HANDSHAKE)
        read_head(sock)
        exchange(sock, 100)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b""


def test_an_upstream_that_does_not_agree(start: Start, echo: Callable[..., Echo]) -> None:
    proxy = start(echo(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno").port, **WEBSOCKET)
    with connect(proxy.port("web")) as sock:
        sock.sendall(HANDSHAKE)
        head, rest = read_head(sock)
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert b"connection: close" in head
        while data := sock.recv(100):
            rest += data
        assert rest == b"no"


@pytest.mark.parametrize(
    ("hcm", "route", "status"),
    [
        ({}, {}, b"403"),
        (WEBSOCKET, {"upgrade_configs": [{"upgrade_type": "WebSocket", "enabled": False}]}, b"403"),
        ({}, {"upgrade_configs": [{"upgrade_type": "websocket"}]}, b"101"),
        ({"upgrade_configs": [{"upgrade_type": "other"}]}, {}, b"403"),
    ],
    ids=["nobody", "not the route", "the route", "another"],
)
def test_who_grants_an_upgrade(
    start: Start, echo: Callable[..., Echo], hcm: dict[str, Any], route: dict[str, Any], status: bytes
) -> None:
    proxy = start(echo().port, route, **hcm)
    with connect(proxy.port("web")) as sock:
        sock.sendall(HANDSHAKE)
        assert read_head(sock)[0].split(b" ")[1] == status


def test_http_that_does_not_wait_for_the_answer_goes_nowhere(start: Start, echo: Callable[..., Echo]) -> None:
    """What looks like a request behind the one for a tunnel."""
    upstream = echo()
    proxy = start(upstream.port, **WEBSOCKET)
    with connect(proxy.port("web")) as sock:
        sock.sendall(HANDSHAKE + b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n")
        try:
            while sock.recv(100):
                pass
        except ConnectionResetError:
            pass
    assert not any(b"smuggled" in head for head in upstream.heads)


@pytest.mark.parametrize("where", ["web", "far"])
def test_connect_goes_on(start: Start, echo: Callable[..., Echo], where: str) -> None:
    upstream = echo(b"HTTP/1.1 200 OK\r\n\r\n")
    route = {"upgrade_configs": [{"upgrade_type": "CONNECT"}]}
    proxy = start(upstream.port, route, {"connect_matcher": {}})
    with connect(proxy.port(where)) as sock:
        sock.sendall(CONNECT)
        assert read_head(sock)[0].startswith(b"HTTP/1.1 200 OK")
        exchange(sock)
    assert upstream.heads[0].startswith(b"CONNECT b.test:443 HTTP/1.1\r\n")


def test_connect_ends_here(start: Start, echo: Callable[..., Echo]) -> None:
    upstream = echo(raw=True)
    ends = {"upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}]}
    proxy = start(upstream.port, ends, {"connect_matcher": {}})
    with connect(proxy.port("web")) as sock:
        sock.sendall(CONNECT)
        assert read_head(sock)[0].startswith(b"HTTP/1.1 200 OK")
        exchange(sock)
        exchange(sock, 17)


@pytest.mark.parametrize("where", ["web", "far"])
@pytest.mark.parametrize("first", ["downstream", "upstream"])
def test_each_way_of_a_connect_ends_by_itself(start: Start, where: str, first: str) -> None:
    came: list[bytes] = []
    over = threading.Event()

    def serve(sock: socket.socket) -> None:
        if first == "upstream":
            sock.sendall(b"hello")
            sock.shutdown(socket.SHUT_WR)
        while data := sock.recv(65_536):
            came.append(data)
        if first == "downstream":
            sock.sendall(b"hello")
        over.set()

    peer = Peer(serve)
    kind = {"upgrade_type": "CONNECT"}
    proxy = start(
        peer.port,
        {"upgrade_configs": [kind]},
        {"connect_matcher": {}},
        {"upgrade_configs": [{**kind, "connect_config": {}}]},
    )
    with connect(proxy.port(where)) as sock:
        sock.sendall(CONNECT)
        head, said = read_head(sock)
        assert head.startswith(b"HTTP/1.1 200 OK")
        if first == "downstream":
            sock.sendall(b"abc")
            sock.shutdown(socket.SHUT_WR)
        while data := sock.recv(100):
            said += data
        assert said == b"hello"
        if first == "upstream":
            sock.sendall(b"a")
            sock.sendall(b"bc")
            sock.shutdown(socket.SHUT_WR)
        assert over.wait(PATIENCE)
        assert b"".join(came) == b"abc"
    eventually(lambda: "cluster.up.upstream_cx_active: 0" in proxy.admin("/stats?filter=upstream_cx_active")[1])
    peer.close()


def test_connect_without_a_route(start: Start, echo: Callable[..., Echo]) -> None:
    proxy = start(echo().port, upgrade_configs=[{"upgrade_type": "CONNECT"}])
    with connect(proxy.port("web")) as sock:
        sock.sendall(CONNECT)
        assert read_head(sock)[0].split(b" ")[1] == b"404"
