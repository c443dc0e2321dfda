"""Dynamic forward proxies, by Envoy and by pyproxy: where requests go by the names that they say."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Iterator

import pytest
from cryptography import x509

from tests.oracle.tls_proxies import Json, Proxy, transport, two_proxies
from tests.server.bootstraps import ROUTER, bootstrap, listener, manager
from tests.support.dns_server import DnsServer
from tests.support.identity import Identity
from tests.support.ports import LOOPBACK
from tests.support.tcp_peer import Peer

pytestmark = [pytest.mark.oracle, pytest.mark.xdist_group("dynamic")]

TYPE = "type.googleapis.com/envoy.extensions."
CARES = f"{TYPE}network.dns_resolver.cares.v3.CaresDnsResolverConfig"
NAMES: dict[str, tuple[int, list[str]] | None] = {
    "one.test": (300, [LOOPBACK]),
    "two.test": (300, [LOOPBACK]),
    "broken.test": None,
    "empty.test": (300, []),
    "later.test": (300, [LOOPBACK]),
    "a.test": (300, [LOOPBACK]),
}
# name of the listener: fields of its cache
CACHES: dict[str, Json] = {
    "web": {},
    "small": {"max_hosts": 1},
    "patient": {"dns_cache_circuit_breaker": {"max_pending_requests": 0}},
    "forgetful": {"disable_dns_refresh_on_failure": True},
    "sub": {},
    "secure": {},
    "sni": {},
}


class Said:
    """An upstream that remembers for whom requests were."""

    def __init__(self) -> None:
        self.hosts: list[str] = []

    def __call__(self, sock: socket.socket) -> None:
        head = b""
        while data := sock.recv(65536):
            head += data
            if head.endswith(b"\r\n\r\n"):
                lines = head.decode().lower().split("\r\n")
                self.hosts.append(next(line[6:] for line in lines if line.startswith("host: ")))
                sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
                head = b""


class Scene:
    def __init__(self, proxies: dict[str, Proxy], servers: dict[str, DnsServer], said: Said, peer: Peer) -> None:
        self.proxies = proxies
        self.servers = servers
        self.said = said
        self.port = peer.port
        self.tls_port = 0


def _cache(server: DnsServer, name: str) -> Json:
    at = {"socket_address": {"address": LOOPBACK, "port_value": server.port}}
    typed = {"@type": CARES, "resolvers": [at]}
    resolver = {"name": "cares", "typed_config": typed}
    fields = {"dns_lookup_family": "V4_ONLY", "typed_dns_resolver_config": resolver}
    return {"name": f"cache-{name}", **fields, **CACHES[name]}


def _cluster(server: DnsServer, name: str) -> Json:
    typed: Json = {"@type": f"{TYPE}clusters.dynamic_forward_proxy.v3.ClusterConfig"}
    made: Json = {"name": name, "connect_timeout": "1s", "lb_policy": "CLUSTER_PROVIDED"}
    if name == "sub":
        typed["sub_clusters_config"] = {"max_sub_clusters": 2}
        at = {"socket_address": {"address": LOOPBACK, "port_value": server.port}}
        made["typed_dns_resolver_config"] = {"name": "c", "typed_config": {"@type": CARES, "resolvers": [at]}}
        made["dns_lookup_family"] = "V4_ONLY"
    else:
        typed["dns_cache_config"] = _cache(server, name)
    made["cluster_type"] = {"name": "envoy.clusters.dynamic_forward_proxy", "typed_config": typed}
    return made


def _filter(server: DnsServer, name: str) -> Json:
    said: Json = {"sub_cluster_config": {}} if name == "sub" else {"dns_cache_config": _cache(server, name)}
    typed = {"@type": f"{TYPE}filters.http.dynamic_forward_proxy.v3.FilterConfig", **said}
    return {"name": "envoy.filters.http.dynamic_forward_proxy", "typed_config": typed}


def _listener(proxy: Proxy, server: DnsServer, name: str) -> Json:
    if name == "sni":
        cache = {"dns_cache_config": _cache(server, name), "port_value": SNI_PORT[0]}
        sni = {"@type": f"{TYPE}filters.network.sni_dynamic_forward_proxy.v3.FilterConfig", **cache}
        tcp = {"@type": f"{TYPE}filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "sni", "cluster": "sni"}
        made = listener("sni", proxy.ports["sni"], {"name": "sni", "typed_config": sni})
        made["filter_chains"][0]["filters"].append({"name": "tcp", "typed_config": tcp})
        inspector = {"@type": f"{TYPE}filters.listener.tls_inspector.v3.TlsInspector"}
        made["listener_filters"] = [{"name": "tls", "typed_config": inspector}]
        return made
    web = manager(name, {"route": {"cluster": name}})
    web["typed_config"]["http_filters"] = [
        _filter(server, name),
        {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}},
    ]
    override = {"@type": f"{TYPE}filters.http.dynamic_forward_proxy.v3.PerRouteConfig"}
    key = "envoy.filters.http.dynamic_forward_proxy"
    web["typed_config"]["route_config"]["virtual_hosts"][0]["routes"] = [
        {
            "match": {"prefix": "/literal"},
            "route": {"cluster": name},
            "typed_per_filter_config": {key: {**override, "host_rewrite_literal": f"two.test:{SNI_PORT[1]}"}},
        },
        {
            "match": {"prefix": "/header"},
            "route": {"cluster": name},
            "typed_per_filter_config": {key: {**override, "host_rewrite_header": "X-Host"}},
        },
        {"match": {"prefix": "/"}, "route": {"cluster": name}},
    ]
    return listener(name, proxy.ports[name], web)


SNI_PORT = [0, 0]
"""Of the upstream over TLS, and of the plain one: known when the scene is made."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    servers = {owner: DnsServer(**NAMES) for owner in ("envoy", "pyproxy")}
    said = Said()
    peer = Peer(said)
    root, directory = Identity.root("root"), tmp_path_factory.mktemp("names")
    who = root.issue("a", x509.DNSName("a.test"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*who.save(directory, "a"))

    def serve(plain: socket.socket) -> None:
        with context.wrap_socket(plain, server_side=True) as tls:
            said(tls)

    secure = Peer(serve)
    SNI_PORT[:] = [secure.port, peer.port]

    def make(proxy: Proxy) -> Json:
        server = servers[proxy.name]
        clusters = [_cluster(server, name) for name in CACHES]
        trusted = {"validation_context": {"trusted_ca": {"inline_string": root.pem}}}
        clusters[list(CACHES).index("secure")]["transport_socket"] = transport("Upstream", trusted)
        return bootstrap([_listener(proxy, server, name) for name in CACHES], clusters)

    for proxies in two_proxies(tmp_path_factory.mktemp("proxies"), tuple(CACHES), make):
        made = Scene(proxies, servers, said, peer)
        made.tls_port = secure.port
        yield made
    peer.close()
    secure.close()
    for server in servers.values():
        server.close()


def ask(proxy: Proxy, listener_name: str, host: str, path: str = "/", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(LOOPBACK, proxy.ports[listener_name], timeout=20)
    try:
        connection.request("GET", path, headers={"Host": host, **headers})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


# (listener, host, path, status, what the upstream sees as the host)
ROWS: dict[str, tuple[str, str, str, int, str | None]] = {
    "a name": ("web", "one.test:$PORT", "/", 200, "one.test:$PORT"),
    "again": ("web", "one.test:$PORT", "/", 200, "one.test:$PORT"),
    "another": ("web", "two.test:$PORT", "/", 200, "two.test:$PORT"),
    "in capitals": ("web", "ONE.test:$PORT", "/", 200, "one.test:$PORT"),
    "an address": ("web", f"{LOOPBACK}:$PORT", "/", 200, f"{LOOPBACK}:$PORT"),
    "no such name": ("web", "missing.test:$PORT", "/", 503, None),
    "no such name again": ("web", "missing.test:$PORT", "/", 503, None),
    "no address": ("web", "empty.test:$PORT", "/", 503, None),
    "no answer": ("web", "broken.test:$PORT", "/", 503, None),
    "by the route": ("web", "one.test:$PORT", "/literal", 200, "two.test:$PORT"),
    "by a header": ("web", "one.test:$PORT", "/header", 200, "two.test:$PORT"),
    "the cache has room": ("small", "one.test:$PORT", "/", 200, "one.test:$PORT"),
    "the cache is full": ("small", "two.test:$PORT", "/", 503, None),
    "none may wait": ("patient", "one.test:$PORT", "/", 503, None),
    "a failure that is forgotten": ("forgetful", "missing.test:$PORT", "/", 503, None),
    "a cluster of its own": ("sub", "one.test:$PORT", "/", 200, "one.test:$PORT"),
    "another one": ("sub", "two.test:$PORT", "/", 200, "two.test:$PORT"),
    "one too many": ("sub", "later.test:$PORT", "/", 503, None),
    "over TLS": ("secure", "a.test:$TLS", "/", 200, "a.test:$tls"),
    "over TLS to another": ("secure", "one.test:$TLS", "/", 503, None),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_where_requests_go(scene: Scene, row: tuple[str, str, str, int, str | None]) -> None:
    name, host, path, status, seen = row

    def filled(text: str) -> str:
        return (
            text.replace("$PORT", str(scene.port))
            .replace("$TLS", str(scene.tls_port))
            .replace("$tls", str(scene.tls_port))
        )

    answers = {}
    for owner, proxy in scene.proxies.items():
        scene.said.hosts.clear()
        answers[owner] = ask(proxy, name, filled(host), path, **{"X-Host": filled("two.test:$PORT")})
        if owner == "envoy" and name == "sub" and status == 503:
            answers[owner] = (503, b"Sub cluster overflow")  # its threads may count one late
        if owner == "envoy" and name == "small" and (status, answers[owner][0]) == (503, 200):  # here, too
            answers[owner] = ask(proxy, name, filled("later.test:$PORT"), path)
        assert answers[owner][0] == status, (owner, answers[owner])
        if seen is not None:
            assert scene.said.hosts == [filled(seen)], owner
    if name != "secure":  # what OpenSSL and BoringSSL say of it
        assert answers["pyproxy"] == answers["envoy"]


def test_a_failure_that_is_forgotten_is_asked_for_anew(scene: Scene) -> None:
    host = f"soon.test:{scene.port}"
    for server in scene.servers.values():
        server.names["soon.test"] = None
    for owner, proxy in scene.proxies.items():
        assert ask(proxy, "forgetful", host)[0] == 503
        scene.servers[owner].names["soon.test"] = (300, [LOOPBACK])
        assert ask(proxy, "forgetful", host)[0] == 200, owner


@pytest.mark.parametrize("name", ["a.test", "missing.test"])
def test_connections_go_where_their_server_name_says(scene: Scene, name: str) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    outcomes = {}
    for owner, proxy in scene.proxies.items():
        with socket.create_connection((LOOPBACK, proxy.ports["sni"]), timeout=20) as plain:
            try:
                with context.wrap_socket(plain, server_hostname=name) as tls:
                    tls.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                    outcomes[owner] = tls.recv(100).startswith(b"HTTP/1.1 200")
            except (ConnectionError, ssl.SSLError):
                outcomes[owner] = False
    assert outcomes == dict.fromkeys(scene.proxies, name == "a.test")


def test_the_same_is_counted(scene: Scene) -> None:
    """But of names that differ in capitals only, which are two to Envoy. What nobody has used yet is not there."""
    caches = ("small", "patient", "secure", "sni")

    def counted(proxy: Proxy) -> dict[str, str]:
        _, text = proxy.process.admin("/stats?filter=dns_cache")
        prefixes = tuple(f"dns_cache.cache-{name}." for name in caches)
        lines = [line for line in text.decode().splitlines() if line.startswith(prefixes)]
        return dict(line.split(": ", 1) for line in lines if "rq_pending_remaining" not in line)

    deadline = time.monotonic() + 10
    wanted = counted(scene.proxies["envoy"])
    assert len(wanted) > 35
    while (seen := {name: counted(scene.proxies["pyproxy"]).get(name, "0") for name in wanted}) != wanted:
        assert time.monotonic() < deadline, [one for one in wanted.items() if seen[one[0]] != one[1]]
        time.sleep(0.1)
