"""Sockets, limits and access logs of listeners: Envoy and pyproxy side by side."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.network.test_client_hello import hello
from tests.oracle.tls_proxies import OWNERS, Json, Proxy, two_proxies
from tests.server.bootstraps import HELLO, at, bootstrap, endpoint, file_log, listener, manager, static_cluster
from tests.support.ports import LOOPBACK, free_ports
from tests.support.tcp_peer import Peer, echo

TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
INSPECTOR = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
MONITOR = "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
LINE = (
    "%RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_CLUSTER% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% "
    "%PROTOCOL% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %REQUESTED_SERVER_NAME% %ACCESS_LOG_TYPE% "
    "%DOWNSTREAM_TRANSPORT_FAILURE_REASON% %UPSTREAM_HOST%"
)
NAMES = ("logged", "tcp", "web", "nobody", "narrow", "free", "kept", "more", "options")
pytestmark = [pytest.mark.oracle, pytest.mark.xdist_group("listener-sockets")]


class Scene:
    def __init__(self, proxies: dict[str, Proxy]) -> None:
        self.proxies = proxies
        self.more: dict[str, int] = {}


def _option(level: int, name: int, value: int, state: str) -> Json:
    return {"level": level, "name": name, "int_value": value, "state": f"STATE_{state}"}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    peer = Peer(echo)
    more: dict[str, int] = {}

    def make(proxy: Proxy) -> Json:
        def log(name: str) -> list[Json]:
            return [file_log(str(proxy.directory / f"{name}.log"), LINE)]

        tcp = {"name": "t", "typed_config": {"@type": TCP_PROXY, "stat_prefix": "t", "cluster": "echo"}}
        ports = proxy.ports
        (more[proxy.name],) = free_ports(1)
        nobody = listener("nobody", ports["nobody"], tcp, access_log=log("nobody"))
        nobody["filter_chains"][0]["filter_chain_match"] = {"server_names": ["a.test"]}
        nobody["listener_filters"] = [{"name": "i", "typed_config": {"@type": INSPECTOR}}]
        nobody["listener_filters_timeout"] = "0.3s"
        keepalive = _option(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1, "PREBIND")
        options = [
            keepalive,
            _option(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77, "BOUND"),
            _option(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1, "LISTENING"),
        ]
        listeners = [
            listener("logged", ports["logged"], tcp, access_log=log("logged")),
            listener("tcp", ports["tcp"], tcp),
            listener("web", ports["web"], manager("web", HELLO), access_log=log("web")),
            nobody,
            listener("narrow", ports["narrow"], tcp),
            listener("free", ports["free"], tcp, ignore_global_conn_limit=True),
            listener("kept", ports["kept"], tcp, socket_options=[keepalive], tcp_fast_open_queue_length=7),
            listener("more", ports["more"], tcp, additional_addresses=[{"address": at(more[proxy.name])}]),
            listener("options", ports["options"], tcp, socket_options=options, tcp_backlog_size=13),
        ]
        layers = [
            {
                "name": "l",
                "static_layer": {"envoy": {"resource_limits": {"listener": {"narrow": {"connection_limit": 2}}}}},
            }
        ]
        monitor = {"@type": MONITOR, "max_active_downstream_connections": 4}
        made = bootstrap(
            listeners,
            [static_cluster("echo", endpoint(peer.port))],
            layered_runtime={"layers": layers},
            overload_manager={
                "resource_monitors": [
                    {"name": "envoy.resource_monitors.global_downstream_max_connections", "typed_config": monitor}
                ]
            },
        )
        made["admin"]["ignore_global_conn_limit"] = True
        return made

    for proxies in two_proxies(tmp_path_factory.mktemp("sockets"), NAMES, make):
        made = Scene(proxies)
        made.more = more
        yield made
    peer.close()


def _serves(sock: socket.socket) -> bool:
    try:
        sock.sendall(b"hello")
        return sock.recv(100) == b"hello"
    except OSError:
        return False


def _connect(stack: contextlib.ExitStack, port: int) -> socket.socket:
    return stack.enter_context(socket.create_connection((LOOPBACK, port), timeout=5))


@pytest.mark.parametrize(
    ("on", "limit", "counter"), [("narrow", 2, "downstream_cx_overflow"), ("tcp", 4, "downstream_global_cx_overflow")]
)
@pytest.mark.parametrize("owner", OWNERS)
def test_no_more_connections_than_wanted(scene: Scene, owner: str, on: str, limit: int, counter: str) -> None:
    proxy = scene.proxies[owner]
    port = proxy.ports[on]
    with contextlib.ExitStack() as stack:
        _eventually(lambda: _fill(stack, port, limit))
        assert not _serves(_connect(stack, port))
        assert _serves(_connect(stack, proxy.ports["free"]))
        _eventually(lambda: _stat(proxy, rf"listener\.{LOOPBACK}_{port}\.{counter}") >= 1)
    _eventually(lambda: _visit_all(port, limit))


def _fill(stack: contextlib.ExitStack, port: int, count: int) -> bool:
    """Have so many connections; those of tests before may still be there for a moment."""
    with contextlib.ExitStack() as mine:
        if all(_serves(_connect(mine, port)) for _ in range(count)):
            stack.push(mine.pop_all())
            return True
    return False


def _visit_all(port: int, count: int) -> bool:
    with contextlib.ExitStack() as stack:
        return all(_serves(_connect(stack, port)) for _ in range(count))


def _answered(port: int, said: bytes) -> bool:
    with socket.create_connection((LOOPBACK, port), timeout=5) as sock, contextlib.suppress(OSError):
        sock.sendall(said)
        return bool(sock.recv(1000))
    return False


@pytest.mark.parametrize("on", ["logged", "web", "nobody", "nobody-silent"])
def test_the_log_of_a_listener(scene: Scene, on: str) -> None:
    lines = {}
    name = on.partition("-")[0]
    for owner, proxy in scene.proxies.items():
        log = proxy.directory / f"{name}.log"
        before = len(log.read_text().splitlines()) if log.exists() else 0
        said = {"nobody": hello("b.test"), "nobody-silent": b""}.get(on, GET)
        port = proxy.ports[name]
        # Connections of tests before may still be there for a moment: then it is one too many, which is not logged.
        _eventually(lambda port=port, said=said: _answered(port, said) or name == "nobody")

        def written(log: Any = log, before: int = before) -> list[str]:
            return log.read_text().splitlines()[before:] if log.exists() else []

        _eventually(lambda: bool(written()))
        lines[owner] = [
            re.sub(r" \d+ \d+ -| HTTP/1.1", " -", line) if on == "web" else line  # see "Listeners" in differences.md
            for line in written()
        ]
    assert lines["pyproxy"] == lines["envoy"]
    assert len(lines["envoy"]) == 1


@pytest.mark.parametrize("owner", OWNERS)
def test_further_addresses(scene: Scene, owner: str) -> None:
    for port in (scene.proxies[owner].ports["more"], scene.more[owner]):
        assert _visit_all(port, 1)


@pytest.mark.parametrize("owner", OWNERS)
def test_options_are_set(scene: Scene, owner: str) -> None:
    """An accepted connection inherits those of its listen socket, and `ss` shows the length of the queue."""
    ports = scene.proxies[owner].ports
    for on in ("kept", "options"):
        with socket.create_connection((LOOPBACK, ports[on]), timeout=5) as sock:
            assert _serves(sock)
            shown = _ss("state", "established", f"sport = :{ports[on]}", "-o")
            assert "keepalive" in shown, shown
    assert " 13 " in _ss("state", "listening", f"sport = :{ports['options']}")


def _ss(*words: str) -> str:
    try:
        return subprocess.run(["ss", "-tnH", *words], capture_output=True, text=True, timeout=10, check=True).stdout
    except FileNotFoundError:
        pytest.skip("needs the program ss")


def _stat(proxy: Proxy, name: str) -> int:
    said = proxy.process.admin(f"/stats?filter=^{name}$")[1].decode()
    return int(said.partition(": ")[2] or 0)


def _eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)
