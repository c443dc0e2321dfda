"""Sessions that move much: every byte, in order, counted, at the pace of the slower side, and to a clean end."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.bootstraps import bootstrap, endpoint, file_log, listener, static_cluster
from tests.server.running import Running, eventually
from tests.support.ports import LOOPBACK
from tests.support.tcp_peer import RESET, Peer

TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
SIZE = 24 * 1024 * 1024
LINE = "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_WIRE_BYTES_SENT% %UPSTREAM_WIRE_BYTES_RECEIVED%"


def pattern(size: int) -> bytes:
    return b"".join(struct.pack("!I", at) for at in range(size // 4))


DATA = pattern(SIZE)
DIGEST = hashlib.sha256(DATA).hexdigest()


class Upstream:
    """Serves one thing to all connections, and keeps what it came to know."""

    def __init__(self, serve: Callable[[Upstream, socket.socket], None]) -> None:
        self.digests: list[str] = []
        self.errors: list[str] = []
        self._serve = serve
        self.peer = Peer(self._one)

    def _one(self, sock: socket.socket) -> None:
        sock.settimeout(20)
        try:
            self._serve(self, sock)
        except OSError as error:
            self.errors.append(type(error).__name__)


def send_all(upstream: Upstream, sock: socket.socket) -> None:
    sock.sendall(DATA)


def send_forever(upstream: Upstream, sock: socket.socket) -> None:
    while True:
        sock.sendall(DATA)


def take_all(upstream: Upstream, sock: socket.socket) -> None:
    upstream.digests.append(_digest(sock))
    sock.sendall(b"thanks")


def both_ways(upstream: Upstream, sock: socket.socket) -> None:
    sending = threading.Thread(target=sock.sendall, args=(DATA,))
    sending.start()
    upstream.digests.append(_digest(sock))
    sending.join()


def send_and_reset(upstream: Upstream, sock: socket.socket) -> None:
    sock.sendall(DATA)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def send_and_ask(upstream: Upstream, sock: socket.socket) -> None:
    """Much, and then small messages to and fro."""
    sock.sendall(DATA)
    while data := sock.recv(100):
        sock.sendall(data.upper())


def _digest(sock: socket.socket, size: int = 1 << 62) -> str:
    seen, got = hashlib.sha256(), 0
    while got < size and (data := sock.recv(min(1 << 20, size - got))):
        seen.update(data)
        got += len(data)
    return seen.hexdigest()


class Scene:
    def __init__(self, directory: Path, serve: Callable[[Upstream, socket.socket], None], **config: Any) -> None:
        self.upstream = Upstream(serve)
        self.log = directory / "log"
        typed = {"@type": TCP_PROXY, "stat_prefix": "t", "cluster": "up", "access_log": [file_log(str(self.log), LINE)]}
        made = bootstrap(
            [listener("tcp", 0, {"name": "t", "typed_config": {**typed, **config}})],
            [static_cluster("up", endpoint(self.upstream.peer.port))],
        )
        self.proxy = Running.real(directory, made)
        eventually(lambda: self.proxy.ready() or self.proxy.process.poll() is not None)

    def connect(self) -> socket.socket:
        return socket.create_connection((LOOPBACK, self.proxy.port("tcp")), timeout=20)

    def line(self) -> str:
        return str(eventually(lambda: self.log.exists() and self.log.read_text())).strip()

    def close(self) -> None:
        self.upstream.peer.close()
        assert "Traceback" not in self.proxy.said()
        self.proxy.stop()


Make = Callable[..., Scene]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    scenes: list[Scene] = []

    def one(serve: Callable[[Upstream, socket.socket], None], **config: Any) -> Scene:
        scenes.append(Scene(tmp_path, serve, **config))
        return scenes[-1]

    yield one
    for scene in scenes:
        scene.close()


def test_down(make: Make) -> None:
    scene = make(send_all)
    with scene.connect() as sock:
        assert _digest(sock) == DIGEST
    assert scene.line() == f"- 0 {SIZE} 0 {SIZE}"


def test_up_and_an_answer_after_the_end(make: Make) -> None:
    scene = make(take_all)
    with scene.connect() as sock:
        sock.sendall(DATA)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(100) == b"thanks"
        assert sock.recv(100) == b""
    assert scene.upstream.digests == [DIGEST]
    assert scene.line() == f"- {SIZE} 6 {SIZE} 6"


def test_both_ways_at_once(make: Make) -> None:
    scene = make(both_ways)
    with scene.connect() as sock:
        sending = threading.Thread(target=lambda: (sock.sendall(DATA), sock.shutdown(socket.SHUT_WR)))
        sending.start()
        assert _digest(sock) == DIGEST
        sending.join()
    eventually(lambda: scene.upstream.digests == [DIGEST])
    assert scene.line() == f"- {SIZE} {SIZE} {SIZE} {SIZE}"


def test_who_reads_slowly_holds_up_the_other_and_no_memory(make: Make) -> None:
    scene = make(send_all)
    with scene.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        begun = sock.recv(1 << 20)
        time.sleep(0.5)
        status = Path(f"/proc/{scene.proxy.process.pid}/task/{scene.proxy.process.pid}/children").read_text().split()
        most = max(_rss(int(pid)) for pid in status)
        seen = hashlib.sha256(begun)
        while data := sock.recv(1 << 18):
            seen.update(data)
        assert seen.hexdigest() == DIGEST
    assert most < 200 << 20


def _rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_small_messages_after_it(make: Make) -> None:
    scene = make(send_and_ask, idle_timeout="1s")
    with scene.connect() as sock:
        assert _digest(sock, SIZE) == DIGEST
        for at in range(20):
            sock.sendall(b"m%d" % at)
            assert sock.recv(100) == b"M%d" % at
        assert sock.recv(100) == b""  # idle
    assert scene.line().startswith(f"- 50 {SIZE + 50} ")


def test_an_upstream_that_breaks_off(make: Make) -> None:
    scene = make(send_and_reset)
    with scene.connect() as sock:
        _digest(sock)
    flags, _, sent, *_ = scene.line().split()
    assert int(sent) <= SIZE
    assert flags in ("-", "UR")


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_downstream_that_goes_away(make: Make, how: str) -> None:
    scene = make(send_forever)
    sock = scene.connect()
    _digest(sock, SIZE)
    if how == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()
    eventually(lambda: scene.upstream.errors)
    assert scene.line().split()[0] == "-"
    with contextlib.closing(scene.connect()) as again:
        assert _digest(again, SIZE) == DIGEST


def test_descriptors_are_given_back(make: Make) -> None:
    scene = make(send_all)

    def descriptors() -> int:
        pid = scene.proxy.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        links = [os.readlink(link) for one in children for link in Path(f"/proc/{one}/fd").iterdir()]
        return sum("eventpoll" not in link for link in links)  # each worker makes one for good when it first needs it

    with scene.connect() as sock:
        assert _digest(sock) == DIGEST
    before = descriptors()
    for _ in range(5):
        with scene.connect() as sock:
            assert _digest(sock) == DIGEST
    eventually(lambda: descriptors() <= before)
