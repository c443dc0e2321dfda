"""TCP through an HTTP/1.1 proxy: what that sees, what the downstream sees, and what is logged. Envoy and pyproxy."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.oracle.tls_proxies import OWNERS, Json, Proxy, two_proxies
from tests.server.bootstraps import bootstrap, endpoint, file_log, listener, static_cluster
from tests.support.ports import LOOPBACK
from tests.support.tcp_peer import Peer

TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
LINE = (
    "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %RESPONSE_CODE% %UPSTREAM_TRANSPORT_FAILURE_REASON% "
    "%UPSTREAM_REQUEST_ATTEMPT_COUNT% %UPSTREAM_CLUSTER%"
)
ADDED = [
    {"header": {"key": "x-from", "value": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}},
    {"header": {"key": "x-empty", "value": "%DYNAMIC_METADATA(a:b)%"}},
    {"header": {"key": "user-agent", "value": "us"}},
]
TUNNELS: dict[str, Json] = {
    "connect": {"hostname": "target.test:443"},
    "formatted": {"hostname": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%.test:1", "headers_to_add": ADDED},
    "post": {"hostname": "target.test", "use_post": True, "post_path": "/a?b"},
    "post-anywhere": {"hostname": "target.test", "use_post": True},
    "refused": {"hostname": "refused.test"},
    "moved": {"hostname": "moved.test"},
    "created": {"hostname": "created.test"},
    "slow": {"hostname": "slow.test"},
    "hints": {"hostname": "hints.test"},
    "garbage": {"hostname": "garbage.test"},
    "gone": {"hostname": "gone.test"},
}
ANSWERS = {
    b"refused": b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno",
    b"moved": b"HTTP/1.1 301 Moved\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
    b"created": b"HTTP/1.1 201 Created\r\ncontent-length: 5\r\n\r\n",
    b"hints": b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    b"garbage": b"SSH-2.0-x\r\n\r\n",
    b"gone": b"",
}
pytestmark = [pytest.mark.oracle, pytest.mark.xdist_group("tunnels")]


class Visit:
    """One connection to the middle."""

    def __init__(self) -> None:
        self.head = self.inside = b""
        self.over = False


class Middle:
    """An HTTP/1.1 proxy that gives back what comes through, in brackets."""

    def __init__(self) -> None:
        self.visits: list[Visit] = []
        self.peer = Peer(self._serve)

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(5)
        visit = Visit()
        self.visits.append(visit)
        try:
            self._answer(sock, visit)
        finally:
            visit.over = True

    def _answer(self, sock: socket.socket, visit: Visit) -> None:
        while b"\r\n\r\n" not in visit.head:
            visit.head += sock.recv(1) or b"\r\n\r\n"
        if b"slow" in visit.head:
            time.sleep(0.3)
        answer = next((answer for name, answer in ANSWERS.items() if name in visit.head), b"HTTP/1.1 200 OK\r\n\r\n")
        post = visit.head.startswith(b"POST")
        if post:
            answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        sock.sendall(answer)
        if not answer:
            return
        while data := sock.recv(65536):
            visit.inside += data
            with contextlib.suppress(OSError):  # there may be more to read where nobody listens
                sock.sendall(b"%x\r\n%b\r\n" % (len(data) + 2, b"<%b>" % data) if post else b"<%b>" % data)


class Scene:
    def __init__(self, middle: Middle, proxies: dict[str, Proxy]) -> None:
        self.middle = middle
        self.proxies = proxies

    def talk(self, owner: str, name: str) -> tuple[list[bytes], bytes, bytes, str]:
        """(the heads that the middle has seen, what came through it, what came back, the line of the log)."""
        proxy = self.proxies[owner]
        log = proxy.directory / f"{name}.log"
        before = len(log.read_text().splitlines()) if log.exists() else 0
        self.middle.visits.clear()
        back = b""
        with socket.create_connection((LOOPBACK, proxy.ports[name]), timeout=5) as sock, contextlib.suppress(OSError):
            sock.sendall(b"hello")
            while not back.endswith(b">") and (data := sock.recv(1000)):
                back += data
            sock.shutdown(socket.SHUT_WR)
            while data := sock.recv(1000):
                back += data
        _eventually(lambda: log.exists() and len(log.read_text().splitlines()) > before)
        visits = self.middle.visits
        _eventually(lambda: all(one.over for one in visits))
        inside = b"".join(one.inside for one in visits)
        return [one.head for one in visits], inside, back, log.read_text().splitlines()[before]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    middle = Middle()

    def make(proxy: Proxy) -> Json:
        listeners = []
        for name, tunnel in TUNNELS.items():
            log = file_log(str(proxy.directory / f"{name}.log"), LINE)
            more = {"max_connect_attempts": 2, "access_log": [log], "tunneling_config": tunnel}
            tcp = {"@type": TCP_PROXY, "stat_prefix": name, "cluster": "up", **more}
            listeners.append(listener(name, proxy.ports[name], {"name": "t", "typed_config": tcp}))
        return bootstrap(listeners, [static_cluster("up", endpoint(middle.peer.port))])

    for proxies in two_proxies(tmp_path_factory.mktemp("tunnels"), list(TUNNELS), make):
        yield Scene(middle, proxies)
    middle.peer.close()


@pytest.mark.parametrize("name", TUNNELS)
def test_tunnels_are_the_same(scene: Scene, name: str) -> None:
    envoy, pyproxy = (scene.talk(owner, name) for owner in OWNERS)
    if name in ("garbage", "gone"):  # the words differ
        envoy, pyproxy = ((heads, inside, back, line[:10]) for heads, inside, back, line in (envoy, pyproxy))
    assert pyproxy == envoy
    assert (b"hello" in envoy[1]) is (name not in ("refused", "moved", "garbage", "gone"))


def _eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)
