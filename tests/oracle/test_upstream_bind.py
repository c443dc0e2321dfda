"""Where connections to upstreams come from, by Envoy and by pyproxy."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator

import pytest

from tests.oracle.tls_proxies import Json, Proxy, two_proxies
from tests.server.bootstraps import bootstrap, endpoint, listener, manager, static_cluster
from tests.support.ports import LOOPBACK
from tests.support.tcp_peer import Peer

pytestmark = [pytest.mark.oracle, pytest.mark.xdist_group("bind")]

SO_KEEPALIVE = {"level": socket.SOL_SOCKET, "name": socket.SO_KEEPALIVE, "int_value": 1, "state": "STATE_PREBIND"}
WRONG = {"level": 9999, "name": 1, "int_value": 1, "state": "STATE_PREBIND"}


def source(host: str, port: int = 0) -> Json:
    return {"address": host, "port_value": port}


# cluster: (its upstream_bind_config, status, where the upstream sees it come from)
ROWS: dict[str, tuple[Json | None, int, str | None]] = {
    "as the manager says": (None, 200, "127.0.0.9"),
    "as it likes": ({}, 200, LOOPBACK),
    "an address": ({"source_address": source("127.0.0.2")}, 200, "127.0.0.2"),
    "the other family first": (
        {"source_address": source("::1"), "extra_source_addresses": [{"address": source("127.0.0.3")}]},
        200,
        "127.0.0.3",
    ),
    "the older field": (
        {"source_address": source("127.0.0.4"), "additional_source_addresses": [source("::1")]},
        200,
        "127.0.0.4",
    ),
    "an option": ({"source_address": source("127.0.0.5"), "socket_options": [SO_KEEPALIVE]}, 200, "127.0.0.5"),
    "an option alone": ({"socket_options": [SO_KEEPALIVE]}, 200, LOOPBACK),
    "an option that is none": ({"source_address": source("127.0.0.6"), "socket_options": [WRONG]}, 503, None),
    "not ours": ({"source_address": source("203.0.113.7")}, 503, None),
    "of no family that fits": ({"source_address": source("::1")}, 503, None),
}


class Seen:
    def __init__(self) -> None:
        self.peers: list[str] = []

    def __call__(self, sock: socket.socket) -> None:
        self.peers.append(sock.getpeername()[0])
        head = b""
        while data := sock.recv(65536):
            head += data
            if head.endswith(b"\r\n\r\n"):
                sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi")
                return


class Scene:
    def __init__(self, proxies: dict[str, Proxy], seen: Seen) -> None:
        self.proxies = proxies
        self.seen = seen


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    seen = Seen()
    peer = Peer(seen)

    def make(proxy: Proxy) -> Json:
        web = listener("web", proxy.ports["web"], manager("web", {}))
        routes = [{"match": {"path": f"/{at}"}, "route": {"cluster": f"c{at}"}} for at in range(len(ROWS))]
        web["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"][0]["routes"] = routes
        clusters = []
        for at, (bind, _, _) in enumerate(ROWS.values()):
            more = {} if bind is None else {"upstream_bind_config": bind}
            clusters.append(static_cluster(f"c{at}", endpoint(peer.port), **more))
        manager_bind = {"upstream_bind_config": {"source_address": source("127.0.0.9")}}
        return bootstrap([web], clusters, cluster_manager=manager_bind)

    for proxies in two_proxies(tmp_path_factory.mktemp("proxies"), ("web",), make):
        yield Scene(proxies, seen)
    peer.close()


@pytest.mark.parametrize("name", list(ROWS))
def test_where_it_comes_from(scene: Scene, name: str) -> None:
    at, (_, status, peer) = list(ROWS).index(name), ROWS[name]
    bodies = {}
    for owner, proxy in scene.proxies.items():
        scene.seen.peers.clear()
        connection = http.client.HTTPConnection(LOOPBACK, proxy.ports["web"], timeout=20)
        connection.request("GET", f"/{at}")
        response = connection.getresponse()
        bodies[owner] = response.read()
        connection.close()
        assert response.status == status, (owner, bodies)
        if peer is not None:
            assert scene.seen.peers == [peer], owner
    assert bodies["pyproxy"] == bodies["envoy"]
    deadline = time.monotonic() + 10
    wanted = _errors(scene.proxies["envoy"], at)
    while (found := _errors(scene.proxies["pyproxy"], at)) != wanted:
        assert time.monotonic() < deadline, (found, wanted)
        time.sleep(0.1)


def _errors(proxy: Proxy, at: int) -> list[str]:
    _, text = proxy.process.admin(f"/stats?filter=cluster.c{at}.bind_errors")
    return text.decode().splitlines()
