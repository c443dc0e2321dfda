"""Names of clusters, asked of a DNS server that both know: the hosts that are found, who is asked, and how often."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest

from tests.oracle.tls_proxies import Json, Proxy, two_proxies
from tests.server.bootstraps import bootstrap, listener, manager
from tests.support.dns_server import AAAA, A, DnsServer
from tests.support.ports import LOOPBACK

pytestmark = [pytest.mark.oracle, pytest.mark.xdist_group("dns")]

CARES = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
DNS = "type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster"
NAMES: dict[str, tuple[int, list[str]] | None] = {
    "both.test": (300, ["127.0.0.2", "127.0.0.3", "::1"]),
    "four.test": (300, ["127.0.0.4"]),
    "short.test": (1, ["127.0.0.5"]),
    "zero.test": (0, ["127.0.0.6"]),
    "empty.test": (300, []),
    "broken.test": None,
}
Fields = Json
# cluster: (name, kind, fields, resolver options)
CLUSTERS: dict[str, tuple[str, str, Fields, Fields]] = {
    "auto": ("both.test", "STRICT_DNS", {}, {}),
    "auto-4": ("four.test", "STRICT_DNS", {}, {}),
    "v4": ("both.test", "STRICT_DNS", {"dns_lookup_family": "V4_ONLY"}, {}),
    "v6": ("both.test", "STRICT_DNS", {"dns_lookup_family": "V6_ONLY"}, {}),
    "v4-first": ("both.test", "STRICT_DNS", {"dns_lookup_family": "V4_PREFERRED"}, {}),
    "all": ("both.test", "STRICT_DNS", {"dns_lookup_family": "ALL"}, {}),
    "logical": ("four.test", "LOGICAL_DNS", {"dns_lookup_family": "V4_ONLY"}, {}),
    "empty": ("empty.test", "STRICT_DNS", {}, {}),
    "broken": ("broken.test", "STRICT_DNS", {}, {}),
    "missing": ("missing.test", "STRICT_DNS", {}, {}),
    "tcp": ("four.test", "STRICT_DNS", {}, {"dns_resolver_options": {"use_tcp_for_dns_lookups": True}}),
    "ttl": ("short.test", "STRICT_DNS", {"respect_dns_ttl": True, "dns_lookup_family": "V4_ONLY"}, {}),
    "no-ttl": ("short.test", "STRICT_DNS", {"dns_lookup_family": "V4_ONLY"}, {}),
    "zero": ("zero.test", "STRICT_DNS", {"respect_dns_ttl": True, "dns_refresh_rate": "1s"}, {}),
}


class Scene:
    def __init__(self, proxies: dict[str, Proxy], servers: dict[str, DnsServer]) -> None:
        self.proxies = proxies
        self.servers = servers


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    servers = {f"{owner}-{name}": DnsServer(**NAMES) for owner in ("envoy", "pyproxy") for name in CLUSTERS}

    def make(proxy: Proxy) -> Json:
        web = listener("web", proxy.ports["web"], manager("web", {}))
        hosts = web["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]["virtual_hosts"]
        hosts[0]["routes"] = [{"match": {"path": f"/{name}"}, "route": {"cluster": name}} for name in CLUSTERS]
        clusters = [_cluster(name, servers[f"{proxy.name}-{name}"]) for name in CLUSTERS]
        return bootstrap([web], [*clusters, _extension(servers[f"{proxy.name}-ttl"])])

    for proxies in two_proxies(tmp_path_factory.mktemp("proxies"), ("web",), make):
        yield Scene(proxies, servers)
    for server in servers.values():
        server.close()


def _resolver(server: DnsServer, options: Fields) -> Json:
    at = {"socket_address": {"address": LOOPBACK, "port_value": server.port}}
    return {"name": "cares", "typed_config": {"@type": CARES, "resolvers": [at], **options}}


def _cluster(name: str, server: DnsServer) -> Json:
    host, kind, fields, options = CLUSTERS[name]
    at = {"socket_address": {"address": host, "port_value": 80}}
    return {
        "name": name,
        "type": kind,
        "connect_timeout": "1s",
        "dns_refresh_rate": "3600s",
        "typed_dns_resolver_config": _resolver(server, options),
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": at}}]}]},
        **fields,
    }


def _extension(server: DnsServer) -> Json:
    at = {"socket_address": {"address": "four.test", "port_value": 80}}
    typed = {"@type": DNS, "dns_lookup_family": "V4_ONLY", "typed_dns_resolver_config": _resolver(server, {})}
    return {
        "name": "extension",
        "cluster_type": {"name": "envoy.clusters.dns", "typed_config": typed},
        "load_assignment": {"cluster_name": "x", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": at}}]}]},
    }


def hosts(proxy: Proxy) -> dict[str, set[str]]:
    _, text = proxy.process.admin("/clusters?format=json")
    found: dict[str, set[str]] = {}
    for cluster in json.loads(text)["cluster_statuses"]:
        statuses = cluster.get("host_statuses", [])
        found[cluster["name"]] = {one["address"]["socket_address"]["address"] for one in statuses}
    return found


def test_the_same_hosts_are_found(scene: Scene) -> None:
    for proxy in scene.proxies.values():
        for name in CLUSTERS:
            proxy.process.admin("/clusters")
            assert name in hosts(proxy)
    seen = {name: hosts(proxy) for name, proxy in scene.proxies.items()}
    assert seen["pyproxy"] == seen["envoy"]
    assert seen["envoy"]["all"] == {"127.0.0.2", "127.0.0.3", "::1"}
    assert seen["envoy"]["extension"] == {"127.0.0.4"}


@pytest.mark.parametrize("name", [name for name in CLUSTERS if name not in ("ttl", "zero", "broken")])
def test_the_same_is_asked(scene: Scene, name: str) -> None:
    wanted = {owner: _asked(scene.servers[f"{owner}-{name}"]) for owner in scene.proxies}
    assert wanted["pyproxy"] == wanted["envoy"]


def _asked(server: DnsServer) -> set[tuple[str, int, str]]:
    """How often a name is asked where there is no answer is a matter of the library and of search domains."""
    return {(one.name, one.kind, one.over) for one in server.asked if one.name in NAMES}


@pytest.mark.parametrize(("name", "host", "kinds"), [("ttl", "short.test", {A}), ("zero", "zero.test", {A, AAAA})])
def test_names_are_asked_again_when_the_answer_is_old(scene: Scene, name: str, host: str, kinds: set[int]) -> None:
    for owner in scene.proxies:
        server = scene.servers[f"{owner}-{name}"]

        def often(server: DnsServer = server) -> bool:
            return len([one for one in server.asked if (one.name, one.kind) == (host, A)]) >= 3

        assert _until(often), (owner, server.asked)
        assert {one.kind for one in server.asked if one.name == host} == kinds
    for owner in scene.proxies:
        assert len([one for one in scene.servers[f"{owner}-no-ttl"].asked if one.kind == A]) == 1


def test_the_same_is_counted(scene: Scene) -> None:
    def counted(proxy: Proxy) -> dict[str, str]:
        _, text = proxy.process.admin("/stats?filter=update_")
        lines = dict(line.split(": ", 1) for line in text.decode().splitlines())
        quiet = [name for name in CLUSTERS if name not in ("ttl", "zero")]
        kept = {f"cluster.{name}.update_{end}" for name in quiet for end in ("attempt", "success", "failure", "empty")}
        return {name: value for name, value in lines.items() if name in kept}

    wanted = counted(scene.proxies["envoy"])
    assert wanted["cluster.broken.update_failure"] == "1"
    assert _until(lambda: counted(scene.proxies["pyproxy"]) == wanted), counted(scene.proxies["pyproxy"])


def _until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
