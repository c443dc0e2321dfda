"""The TCP proxy between real sockets."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.bootstraps import bootstrap, endpoint, file_log, listener, static_cluster
from tests.server.running import Running, eventually
from tests.support.ports import LOOPBACK, free_ports
from tests.support.tcp_peer import Peer, echo

TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
LOG = "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_CLUSTER% %UPSTREAM_HOST%"


def answer_after_all(sock: socket.socket) -> None:
    """Half-close: the answer comes only when the other side has said everything."""
    digest = hashlib.sha256()
    while data := sock.recv(65536):
        digest.update(data)
    sock.sendall(digest.hexdigest().encode())


Begin = Callable[..., Running]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    started: list[Running] = []

    def start(clusters: list[dict[str, Any]], **config: Any) -> Running:
        typed = {"@type": TCP_PROXY, "stat_prefix": "t", "access_log": [file_log(str(tmp_path / "log"), LOG)], **config}
        web = listener("tcp", 0, {"name": "tcp", "typed_config": typed})
        proxy = Running.real(tmp_path, bootstrap([web], clusters), "--concurrency", "1")
        started.append(proxy)
        eventually(lambda: proxy.ready() or proxy.process.poll() is not None)
        assert proxy.process.poll() is None, proxy.said()
        return proxy

    yield start
    for proxy in started:
        assert "Traceback" not in proxy.said()
        proxy.stop()


@pytest.fixture
def echoing() -> Iterator[Peer]:
    peer = Peer(echo)
    yield peer
    peer.close()


def connect(proxy: Running) -> socket.socket:
    return socket.create_connection((LOOPBACK, proxy.port("tcp")), timeout=10)


def log_lines(tmp_path: Path, count: int) -> list[str]:
    def read() -> list[str]:
        file = tmp_path / "log"
        lines = file.read_text().splitlines() if file.exists() else []
        return lines if len(lines) >= count else []

    return list(eventually(read))


def stat(proxy: Running, name: str) -> int:
    for line in proxy.admin("/stats")[1].splitlines():
        if line.startswith(f"{name}: "):
            return int(line.rpartition(" ")[2])
    return 0


def test_bytes_go_both_ways_and_are_counted(begin: Begin, echoing: Peer, tmp_path: Path) -> None:
    proxy = begin([static_cluster("up", endpoint(echoing.port))], cluster="up")
    with connect(proxy) as sock:
        for _ in range(3):
            sock.sendall(b"hello")
            assert sock.recv(100) == b"hello"
    assert log_lines(tmp_path, 1) == [f"- 15 15 up {LOOPBACK}:{echoing.port}"]
    eventually(lambda: stat(proxy, "tcp.t.downstream_cx_tx_bytes_total") == 15)
    assert stat(proxy, "tcp.t.downstream_cx_total") == 1
    assert stat(proxy, "cluster.up.upstream_cx_total") == 1
    eventually(lambda: stat(proxy, "cluster.up.upstream_cx_active") == 0)


def test_a_direction_can_end_before_the_other(begin: Begin, tmp_path: Path) -> None:
    peer = Peer(answer_after_all)
    proxy = begin([static_cluster("up", endpoint(peer.port))], cluster="up")
    data = bytes(range(256)) * 40_000
    with connect(proxy) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    assert answer.decode() == hashlib.sha256(data).hexdigest()
    assert log_lines(tmp_path, 1)[0].startswith(f"- {len(data)} 64 ")
    peer.close()


def test_an_upstream_that_speaks_first_and_leaves(begin: Begin) -> None:
    def greet(sock: socket.socket) -> None:
        sock.sendall(b"220 hello")

    peer = Peer(greet)
    proxy = begin([static_cluster("up", endpoint(peer.port))], cluster="up")
    with connect(proxy) as sock:
        assert b"".join(iter(lambda: sock.recv(100), b"")) == b"220 hello"
    peer.close()


def test_a_slow_reader_slows_the_sender(begin: Begin) -> None:
    """What the upstream could push into the proxy stays far below what it wants to send."""
    pushed = [0]

    def flood(sock: socket.socket) -> None:
        sock.settimeout(2)
        try:
            while pushed[0] < 200_000_000:
                pushed[0] += sock.send(bytes(65536))
        except OSError:
            pass

    peer = Peer(flood)
    proxy = begin([static_cluster("up", endpoint(peer.port))], cluster="up")
    with connect(proxy) as sock:
        assert sock.recv(1)
        last = -1
        while pushed[0] != last:
            last = pushed[0]
            threading.Event().wait(0.5)
        assert pushed[0] < 50_000_000
    peer.close()


def test_nobody_there(begin: Begin, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    proxy = begin([static_cluster("up", endpoint(port))], cluster="up", max_connect_attempts=3)
    with connect(proxy) as sock:
        assert sock.recv(100) == b""
    assert log_lines(tmp_path, 1) == [f"UF,URX 0 0 up {LOOPBACK}:{port}"]
    eventually(lambda: stat(proxy, "cluster.up.upstream_cx_connect_fail") == 3)
    assert stat(proxy, "cluster.up.upstream_cx_connect_attempts_exceeded") == 1


def test_an_empty_cluster(begin: Begin, tmp_path: Path) -> None:
    proxy = begin([static_cluster("up")], cluster="up")
    with connect(proxy) as sock:
        assert sock.recv(100) == b""
    assert log_lines(tmp_path, 1) == ["UH 0 0 up -"]


def test_the_breaker_for_connections(begin: Begin, echoing: Peer, tmp_path: Path) -> None:
    limits = {"circuit_breakers": {"thresholds": [{"max_connections": 1}]}}
    proxy = begin([static_cluster("up", endpoint(echoing.port), **limits)], cluster="up")
    with connect(proxy) as first:
        first.sendall(b"x")
        assert first.recv(1) == b"x"
        with connect(proxy) as second:
            assert second.recv(100) == b""
    assert sorted(line.split()[0] for line in log_lines(tmp_path, 2)) == ["-", "UO"]


def test_an_idle_connection_is_closed(begin: Begin, echoing: Peer, tmp_path: Path) -> None:
    proxy = begin([static_cluster("up", endpoint(echoing.port))], cluster="up", idle_timeout="0.3s")
    with connect(proxy) as sock:
        assert sock.recv(100) == b""
    assert log_lines(tmp_path, 1)[0].startswith("- ")
    eventually(lambda: stat(proxy, "tcp.t.idle_timeout") == 1)


def test_clusters_by_weight(begin: Begin) -> None:
    def say(word: bytes) -> Callable[[socket.socket], None]:
        return lambda sock: sock.sendall(word)

    one, two = Peer(say(b"1")), Peer(say(b"2"))
    clusters = [static_cluster("one", endpoint(one.port)), static_cluster("two", endpoint(two.port))]
    weights = {"clusters": [{"name": "one", "weight": 50}, {"name": "two", "weight": 50}]}
    proxy = begin(clusters, weighted_clusters=weights)
    heard = set()
    for _ in range(40):
        with connect(proxy) as sock:
            heard.add(sock.recv(1))
    assert heard == {b"1", b"2"}
    one.close()
    two.close()
