"""TLS towards upstreams whose name the request says, and sessions that are resumed there: by Envoy and by pyproxy."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.oracle.tls_proxies import OWNERS, Json, Proxy, transport, two_proxies
from tests.server.bootstraps import bootstrap, endpoint, listener, manager, static_cluster
from tests.support.identity import Identity
from tests.support.ports import LOOPBACK
from tests.support.process import ProxyProcess
from tests.support.tcp_peer import Peer

OPTIONS = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
NAMES = (x509.DNSName("a.test"), x509.DNSName("*.b.test"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
pytestmark = [pytest.mark.oracle, pytest.mark.xdist_group("upstream-names")]

# cluster: (names that depend on the request, of the TLS context)
CLUSTERS: dict[str, tuple[Json, Json]] = {
    "sni": ({"auto_sni": True}, {"sni": "fixed.test"}),
    "san": ({"auto_san_validation": True}, {"sni": "fixed.test"}),
    "both": ({"auto_sni": True, "auto_san_validation": True}, {}),
    "header": ({"auto_sni": True, "auto_san_validation": True, "override_auto_sni_header": "X-Name"}, {}),
    "context": ({}, {"sni": "a.test", "auto_sni_san_validation": True}),
    "context-wrong": ({}, {"sni": "c.test", "auto_sni_san_validation": True}),
    "host": ({}, {"auto_host_sni": True, "auto_sni_san_validation": True}),
    "none": ({}, {"max_session_keys": 0}),
    "resumes": ({}, {}),
    "resumes-12": ({}, {}),
}

# (cluster, the authority, more headers, status, the name that was asked for)
ROWS: dict[str, tuple[str, str, dict[str, str], int, str | None]] = {
    "the authority is asked for": ("sni", "x.test", {}, 200, "x.test"),
    "without its port": ("sni", "x.test:99", {}, 200, "x.test"),
    "in capitals": ("sni", "X.test", {}, 200, "X.test"),
    "an address is no name": ("sni", "127.0.0.1:99", {}, 200, "fixed.test"),
    "nor is one in brackets": ("sni", "[::1]:99", {}, 200, "fixed.test"),
    "checked": ("san", "a.test", {}, 200, "fixed.test"),
    "checked without its port": ("san", "a.test:99", {}, 200, "fixed.test"),
    "checked against a wildcard": ("san", "c.b.test", {}, 200, "fixed.test"),
    "checked against an address": ("san", "127.0.0.1:99", {}, 200, "fixed.test"),
    "not a wildcard for two": ("san", "d.c.b.test", {}, 503, "fixed.test"),
    "another": ("san", "c.test", {}, 503, "fixed.test"),
    "asked for and checked": ("both", "a.test", {}, 200, "a.test"),
    "asked for and another": ("both", "c.test", {}, 503, "c.test"),
    "again": ("both", "a.test", {}, 200, "a.test"),
    "a header": ("header", "c.test", {"x-name": "a.test"}, 200, "a.test"),
    "no header": ("header", "c.test", {}, 503, "c.test"),
    "an empty header": ("header", "a.test", {"x-name": ""}, 200, "a.test"),
    "by the context": ("context", "x.test", {}, 200, "a.test"),
    "by the context and another": ("context-wrong", "x.test", {}, 503, "c.test"),
    "by the host": ("host", "x.test", {}, 200, "a.test"),
}


class Named:
    """An upstream over TLS, which remembers whom it was taken for, and whether sessions were resumed."""

    def __init__(self, who: Identity, directory: Path, most: ssl.TLSVersion) -> None:
        self.asked: list[str | None] = []
        self.resumed: list[bool] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.maximum_version = most
        self.context.load_cert_chain(*who.save(directory, most.name))
        self.context.sni_callback = self._note
        self.peer = Peer(self._serve)

    def _note(self, tls: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        self.asked.append(name)

    def _serve(self, plain: socket.socket) -> None:
        plain.settimeout(5)
        with self.context.wrap_socket(plain, server_side=True) as tls:
            self.resumed.append(bool(tls.session_reused))
            head = b""
            while data := tls.recv(65536):
                head += data
                if head.endswith(b"\r\n\r\n"):
                    tls.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
                    head = b""


class Scene:
    def __init__(self, proxies: dict[str, Proxy], upstreams: dict[ssl.TLSVersion, Named]) -> None:
        self.proxies = proxies
        self.upstreams = upstreams


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    root, directory = Identity.root("root"), tmp_path_factory.mktemp("names")
    who = root.issue("a", *NAMES)
    versions = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    upstreams = {version: Named(who, directory, version) for version in versions}

    def make(proxy: Proxy) -> Json:
        web = listener("web", proxy.ports["web"], manager("web", {}))
        hosts = web["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
        hosts[0]["routes"] = [{"match": {"path": f"/{name}"}, "route": {"cluster": name}} for name in CLUSTERS]
        return bootstrap([web], [_cluster(name, root, upstreams) for name in CLUSTERS])

    for proxies in two_proxies(tmp_path_factory.mktemp("proxies"), ("web",), make):
        yield Scene(proxies, upstreams)
    for one in upstreams.values():
        one.peer.close()


def _cluster(name: str, root: Identity, upstreams: dict[ssl.TLSVersion, Named]) -> Json:
    of_request, of_context = CLUSTERS[name]
    version = ssl.TLSVersion.TLSv1_2 if name.endswith("-12") else ssl.TLSVersion.TLSv1_3
    one = endpoint(upstreams[version].peer.port)
    one["endpoint"]["hostname"] = "a.test"
    common = {"validation_context": {"trusted_ca": {"inline_string": root.pem}}}
    # Each request makes a connection.
    http = {
        "@type": OPTIONS,
        "explicit_http_config": {"http_protocol_options": {}},
        "common_http_protocol_options": {"max_requests_per_connection": 1},
        "upstream_http_protocol_options": of_request,
    }
    return static_cluster(
        name,
        one,
        transport_socket=transport("Upstream", common, **of_context),
        typed_extension_protocol_options={OPTIONS.rpartition("/")[2]: http},
    )


def _ask(proxy: Proxy, path: str, authority: str, headers: dict[str, str]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(LOOPBACK, proxy.ports["web"], timeout=10)
    connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
    for name, value in {"host": authority, **headers}.items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("owner", OWNERS)
def test_names(scene: Scene, owner: str, row: str) -> None:
    cluster, authority, headers, status, name = ROWS[row]
    upstream = scene.upstreams[ssl.TLSVersion.TLSv1_3]
    upstream.asked.clear()
    got, body = _ask(scene.proxies[owner], f"/{cluster}", authority, headers)
    assert got == status, body
    assert set(upstream.asked) == {name}


@pytest.mark.parametrize("owner", OWNERS)
def test_one_name_after_another_on_one_host(scene: Scene, owner: str) -> None:
    upstream = scene.upstreams[ssl.TLSVersion.TLSv1_3]
    upstream.asked.clear()
    names = [f"n{at % 3}.test" for at in range(9)]
    for name in names:
        assert _ask(scene.proxies[owner], "/sni", name, {})[0] == 200
    assert upstream.asked == names


@pytest.mark.parametrize(("cluster", "resumed"), [("resumes", True), ("resumes-12", True), ("none", False)])
@pytest.mark.parametrize("owner", OWNERS)
def test_sessions_are_resumed(scene: Scene, owner: str, cluster: str, resumed: bool) -> None:
    version = ssl.TLSVersion.TLSv1_2 if cluster.endswith("-12") else ssl.TLSVersion.TLSv1_3
    upstream = scene.upstreams[version]
    upstream.resumed.clear()
    for _ in range(5):
        assert _ask(scene.proxies[owner], f"/{cluster}", "a.test", {})[0] == 200
    assert upstream.resumed == [False, *[resumed] * 4]
    process = scene.proxies[owner].process
    _eventually(lambda: _counted(process, f"cluster.{cluster}.ssl.handshake") == 5)
    assert _counted(process, f"cluster.{cluster}.ssl.session_reused") == (4 if resumed else 0)


def _counted(process: ProxyProcess, name: str) -> int:
    said = process.admin(f"/stats?filter=^{name}$")[1].decode()
    return int(said.partition(": ")[2] or 0)


def _eventually(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)
