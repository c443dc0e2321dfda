"""Where upstream connections come from, and what the filter state makes of a connection: Envoy and pyproxy."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.oracle.tls_proxies import OWNERS, Json, Proxy, transport, two_proxies
from tests.server.bootstraps import bootstrap, endpoint, file_log, listener, manager, static_cluster
from tests.support.identity import Identity
from tests.support.ports import LOOPBACK
from tests.support.tcp_peer import Peer

FILTERS = "type.googleapis.com/envoy.extensions.filters."
TCP_PROXY = f"{FILTERS}network.tcp_proxy.v3.TcpProxy"
STATE = f"{FILTERS}network.set_filter_state.v3.Config"
LISTENER_SRC = f"{FILTERS}listener.original_src.v3.OriginalSrc"
HTTP_SRC = f"{FILTERS}http.original_src.v3.OriginalSrc"
ROUTER = f"{FILTERS}http.router.v3.Router"
ORIGIN = "127.0.0.7"
GET = b"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 127.0.0.9\r\n\r\n"
LINE = "%FILTER_STATE(my.key:PLAIN)% %FILTER_STATE(envoy.tcp_proxy.cluster:PLAIN)% %UPSTREAM_CLUSTER% %RESPONSE_FLAGS%"
pytestmark = [pytest.mark.oracle, pytest.mark.xdist_group("connection-state")]


def value(key: str, text: str, **more: Any) -> Json:
    return {"object_key": key, "format_string": {"text_format_source": {"inline_string": text}}, **more}


# (objects, whether over TLS)
STATES: dict[str, tuple[list[Json], bool]] = {
    "nothing": ([], False),
    "cluster": ([value("envoy.tcp_proxy.cluster", "b")], False),
    "no-such-cluster": ([value("envoy.tcp_proxy.cluster", "x%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")], False),
    "own-key": ([value("my.key", "<%CONNECTION_ID%>", factory_key="envoy.string")], False),
    "unset": ([value("my.key", "%DYNAMIC_METADATA(a:b)%", factory_key="envoy.string")], False),
    "skipped": (
        [value("envoy.tcp_proxy.cluster", "", skip_if_empty=True), value("envoy.tcp_proxy.cluster", "b")],
        False,
    ),
    "server-name": ([value("envoy.network.upstream_server_name", "other.test")], True),
    "good-names": ([value("envoy.network.upstream_subject_alt_names", "x.test,good.test")], True),
    "bad-names": ([value("envoy.network.upstream_subject_alt_names", "x.test,y.test")], True),
}
SOURCES = ("tcp", "web", "web-internal", "web-filter")


class Teller:
    """An upstream that says who connects to it, and over TLS the name that it was asked for."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self.names: list[str | None] = []
        if context is not None:
            context.sni_callback = lambda tls, name, given: self.names.append(name)
        self.peer = Peer(self._serve)

    def _serve(self, sock: socket.socket) -> None:
        told = ":".join(map(str, sock.getpeername())).encode()
        with contextlib.ExitStack() as stack:
            if self._context is not None:
                told = b"tls"
                sock = stack.enter_context(self._context.wrap_socket(sock, server_side=True))
            while data := sock.recv(65536):
                web = data.startswith(b"GET")
                sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(told), told) if web else told)


class Scene:
    def __init__(self, proxies: dict[str, Proxy], encrypted: Teller) -> None:
        self.proxies = proxies
        self.encrypted = encrypted


def _state(values: list[Json]) -> Json:
    return {"name": "s", "typed_config": {"@type": STATE, "on_new_connection": values}}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    if os.geteuid() != 0:
        pytest.skip("another address than one's own needs root")
    root, directory = Identity.root("root"), tmp_path_factory.mktemp("tellers")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    who = root.issue("a", x509.DNSName("good.test"), x509.DNSName("other.test"))
    context.load_cert_chain(*who.save(Path(directory), "server"))
    plain, encrypted = Teller(), Teller(context)
    tls = transport("Upstream", {"validation_context": {"trusted_ca": {"inline_string": root.pem}}}, sni="good.test")

    def make(proxy: Proxy) -> Json:
        def tcp(name: str, cluster: str) -> Json:
            log = file_log(str(proxy.directory / f"{name}.log"), LINE)
            typed = {"@type": TCP_PROXY, "stat_prefix": name, "cluster": cluster, "access_log": [log]}
            return {"name": "t", "typed_config": typed}

        def web(name: str, cluster: str, **more: Any) -> Json:
            log = file_log(str(proxy.directory / f"{name}.log"), LINE)
            return manager(name, {"route": {"cluster": cluster}}, access_log=[log], **more)

        listeners = []
        for name, (values, over_tls) in STATES.items():
            cluster = "tls" if over_tls else "a"
            for kind, last in (("tcp", tcp(f"tcp-{name}", cluster)), ("web", web(f"web-{name}", cluster))):
                one = listener(f"{kind}-{name}", proxy.ports[f"{kind}-{name}"], last)
                one["filter_chains"][0]["filters"].insert(0, _state(values))
                listeners.append(one)
        filters = [
            {"name": "o", "typed_config": {"@type": HTTP_SRC}},
            {"name": "r", "typed_config": {"@type": ROUTER}},
        ]
        for name, last in (
            ("tcp", tcp("tcp", "a")),
            ("web", web("web", "a", use_remote_address=True)),
            ("web-internal", web("web-internal", "a", http_filters=filters)),
            ("web-filter", web("web-filter", "a", use_remote_address=True, http_filters=filters)),
        ):
            one = listener(name, proxy.ports[name], last)
            if name in ("tcp", "web"):
                typed = {"@type": LISTENER_SRC, "bind_port": name == "tcp-port"}
                one["listener_filters"] = [{"name": "o", "typed_config": typed}]
            listeners.append(one)
        clusters = [static_cluster(name, endpoint(plain.peer.port)) for name in ("a", "b")]
        clusters.append(static_cluster("tls", endpoint(encrypted.peer.port), transport_socket=tls))
        return bootstrap(listeners, clusters)

    names = [f"{kind}-{name}" for kind in ("tcp", "web") for name in STATES]
    for proxies in two_proxies(tmp_path_factory.mktemp("proxies"), [*names, *SOURCES], make):
        yield Scene(proxies, encrypted)
    plain.peer.close()
    encrypted.peer.close()


def _ask(port: int, data: bytes, source: str = "") -> bytes:
    address = (source, 0) if source else None
    with socket.create_connection((LOOPBACK, port), timeout=5, source_address=address) as sock:
        sock.sendall(data)
        with contextlib.suppress(OSError):
            return sock.recv(1000)
        return b""


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("owner", OWNERS)
def test_where_upstream_connections_come_from(scene: Scene, owner: str, name: str) -> None:
    port = scene.proxies[owner].ports[name]
    for origin in (ORIGIN, "127.0.0.8"):  # a connection of one is none for the other
        said = _ask(port, GET if name.startswith("web") else b"hello", origin)
        host, _, came_from = said.splitlines()[-1].decode().partition(":")
        assert host == ("127.0.0.9" if name == "web-internal" else origin)
        assert int(came_from)


@pytest.mark.parametrize("kind", ["tcp", "web"])
@pytest.mark.parametrize("name", STATES)
def test_what_the_filter_state_does(scene: Scene, name: str, kind: str) -> None:
    seen = []
    for owner in OWNERS:
        proxy = scene.proxies[owner]
        scene.encrypted.names.clear()
        said = _ask(proxy.ports[f"{kind}-{name}"], GET if kind == "web" else b"hello")
        log = proxy.directory / f"{kind}-{name}.log"
        _eventually(lambda log=log: log.exists() and bool(log.read_text()))
        line = log.read_text().splitlines()[0]
        good = bool(said) if kind == "tcp" else said.startswith(b"HTTP/1.1 200")
        seen.append((good, scene.encrypted.names[:], "<>" in line or "<" in line, line.partition(" ")[2]))
    assert seen[0] == seen[1]
    assert seen[0][0] is (name != "bad-names" and (name, kind) != ("no-such-cluster", "tcp"))


def _eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)
