"""`python -m bench.discovery`: what resources that come while a proxy runs cost pyproxy and Envoy (ADS, SotW or delta).

For each number of clusters: the time from start to the first answered request, CPU until then, anonymous memory,
and the CPU of three pushes: one changed cluster, one changed endpoint, one new route. A client asks all the while
at a steady pace, and its longest wait during the pushes is noted. Writes a JSON and two pictures.
"""

import argparse
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
from google.protobuf import json_format
from matplotlib import pyplot as plt
from rich.console import Console
from rich.table import Table

from bench.targets import ROOT, TARGETS
from pyproxy.config.descriptors import message_class, pool

SIZES = (100, 1000, 5000, 10_000)
LOOPBACK = "127.0.0.1"
PATIENCE = 120.0
SETTLE = 1.0
PROBES_PER_SECOND = 200
TICKS = os.sysconf("SC_CLK_TCK")
URL = "type.googleapis.com/"
KINDS = {
    "cds": "envoy.config.cluster.v3.Cluster",
    "eds": "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "rds": "envoy.config.route.v3.RouteConfiguration",
    "lds": "envoy.config.listener.v3.Listener",
}
MEASURES = {
    "first_200_seconds": "start to first 200, s",
    "start_cpu_seconds": "CPU until then, s",
    "anonymous_megabytes": "anonymous memory, MB",
    "cluster_cpu_seconds": "one cluster changed, CPU s",
    "endpoint_cpu_seconds": "one endpoint changed, CPU s",
    "route_cpu_seconds": "one route added, CPU s",
    "longest_wait_ms": "longest wait of a request, ms",
}
COLOURS = {"pyproxy": "#d1495b", "envoy": "#30638e"}
Json = dict[str, Any]
ADS: Json = {"ads": {}, "resource_api_version": "V3"}
HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
HTTP2 = {HTTP: {"@type": URL + HTTP, "explicit_http_config": {"http2_protocol_options": {}}}}


class World:
    """The files of one run, and how they change."""

    def __init__(self, directory: Path, size: int, upstream: int, ports: Sequence[int], api: Json) -> None:
        """`ports` are of the listener, of the admin and of the control plane."""
        self.directory = directory
        self.names = [f"outbound|8080||service-{at}.default.svc.cluster.local" for at in range(size)]
        self.web, self.admin, self.plane = ports
        self.upstream = upstream
        self.version = 0
        self.routes = [self._route("/", self.names[0])]
        self.push_hosts()
        self.put("cds", [self._cluster(name) for name in self.names])
        self.put("rds", [self._table()])
        self.put("lds", [self._listener()])
        ads = {
            "api_type": api["api_type"],
            "transport_api_version": "V3",
            "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
        }
        plane = {
            "name": "xds",
            "connect_timeout": "5s",
            "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [host(self.plane)]}]},
            **api["cluster"],
        }
        bootstrap = {
            "node": {"id": "bench", "cluster": "bench"},
            "admin": {"address": at(self.admin)},
            "dynamic_resources": {"ads_config": ads, "cds_config": ADS, "lds_config": ADS},
            "static_resources": {"clusters": [plane]},
        }
        self.bootstrap = directory / "bootstrap.json"
        self.bootstrap.write_text(json.dumps(bootstrap))

    def put(self, kind: str, resources: list[Json]) -> None:
        self.version += 1
        response: Any = message_class("envoy.service.discovery.v3.DiscoveryResponse")(version_info=str(self.version))
        made = message_class(KINDS[kind])
        for one in resources:
            body = json_format.ParseDict(one, made(), descriptor_pool=pool()).SerializeToString(deterministic=True)
            response.resources.add(type_url=URL + KINDS[kind], value=body)
        new = self.directory / "new"
        new.write_bytes(response.SerializeToString())
        new.rename(self.directory / f"{kind}.pb")

    def push_hosts(self, more: int = 0) -> None:
        """All hosts again; `more` adds as many to one of the clusters."""
        found = [{"cluster_name": name, "endpoints": [{"lb_endpoints": [host(self.upstream)]}]} for name in self.names]
        found[-1]["endpoints"] = [{"lb_endpoints": [host(self.upstream), *(host(9 + n) for n in range(more))]}]
        self.put("eds", found)

    def change_cluster(self) -> None:
        """The last one gets another timeout; with the state of the world all of them are sent again."""
        self.put(
            "cds", [*map(self._cluster, self.names[:-1]), {**self._cluster(self.names[-1]), "connect_timeout": "2s"}]
        )

    def add_route(self) -> None:
        self.routes.insert(0, self._route("/new", self.names[-1]))
        self.put("rds", [self._table()])

    def _cluster(self, name: str) -> Json:
        eds = {"eds_config": ADS}
        return {"name": name, "type": "EDS", "connect_timeout": "1s", "eds_cluster_config": eds}

    def _route(self, prefix: str, cluster: str) -> Json:
        return {"match": {"prefix": prefix}, "route": {"cluster": cluster}}

    def _table(self) -> Json:
        return {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": self.routes}]}

    def _listener(self) -> Json:
        extensions = f"{URL}envoy.extensions.filters"
        router = {"@type": f"{extensions}.http.router.v3.Router"}
        manager = {
            "@type": f"{extensions}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "web",
            "rds": {"config_source": ADS, "route_config_name": "r"},
            "http_filters": [{"name": "router", "typed_config": router}],
        }
        chain = {"filters": [{"name": "manager", "typed_config": manager}]}
        return {"name": "web", "address": at(self.web), "filter_chains": [chain]}


def at(port: int) -> Json:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}


def host(port: int) -> Json:
    return {"endpoint": {"address": at(port)}}


class Proxy:
    """All processes of one proxy: they share a session."""

    def __init__(self, command: Sequence[str], world: World) -> None:
        self._world = world
        self._log = (world.directory / "log").open("wb")
        arguments = ["-c", str(world.bootstrap), "--concurrency", "1", "-l", "warning"]
        self.began = time.monotonic()
        self._process = subprocess.Popen(
            [*command, *arguments], stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True, cwd=ROOT
        )

    def cpu(self) -> float:
        return sum((int(one[11]) + int(one[12])) / TICKS for _, one in self._members())

    def anonymous(self) -> float:
        """Of all processes, pages that they share counted once."""
        total = 0
        for pid, _ in self._members():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss_Anon:"):
                    total += int(line.split()[1])
        return total / 1024

    def _members(self) -> list[tuple[int, list[str]]]:
        found = []
        for directory in Path("/proc").iterdir():
            if directory.name.isdigit():
                try:
                    fields = (directory / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(fields[3]) == self._process.pid:
                    found.append((int(directory.name), fields))
        return found

    def wait(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            if self._process.poll() is not None or time.monotonic() > end:
                sys.exit((self._world.directory / "log").read_text()[-2000:] or "it never happened")
            time.sleep(0.01)

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()


class Probe:
    """Asks at a steady pace, and remembers the longest wait."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self.longest = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self) -> float:
        self._stop.set()
        self._thread.join()
        return self.longest * 1000

    def _run(self) -> None:
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=30)
        due = time.monotonic()
        while not self._stop.is_set():
            due = max(due + 1 / PROBES_PER_SECOND, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
            began = time.monotonic()
            connection.request("GET", "/")
            connection.getresponse().read()
            self.longest = max(self.longest, time.monotonic() - began)
        connection.close()


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def counted(world: World, name: str) -> int:
    connection = http.client.HTTPConnection(LOOPBACK, world.admin, timeout=30)
    connection.request("GET", f"/stats?filter=^{name}$")
    text = connection.getresponse().read().decode()
    connection.close()
    return int(text.rpartition(": ")[2] or 0)


def measure(command: Sequence[str], size: int, upstream: int, api: Json) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as directory:
        web, admin, plane_port = (free_port() for _ in range(3))
        world = World(Path(directory), size, upstream, (web, admin, plane_port), api)
        plane = subprocess.Popen([sys.executable, "-m", "bench.discovery_plane", directory, str(plane_port)], cwd=ROOT)
        wait_for_port(plane_port)
        proxy = Proxy(command, world)
        try:
            proxy.wait(lambda: answers(web))
            found = {"first_200_seconds": time.monotonic() - proxy.began, "start_cpu_seconds": proxy.cpu()}
            time.sleep(SETTLE)
            found["anonymous_megabytes"] = proxy.anonymous()
            last = world.names[-1].replace("|", ".").replace(".", "[|.]")
            hosts, routes = f"cluster.{last}.update_success", "http.web.rds.r.update_success"
            pushes: dict[str, tuple[Callable[[], None], str]] = {
                "cluster_cpu_seconds": (world.change_cluster, "cluster_manager.cds.update_success"),
                "endpoint_cpu_seconds": (lambda: world.push_hosts(1), hosts),
                "route_cpu_seconds": (world.add_route, routes),
            }
            probe = Probe(web)
            for name, (push, counter) in pushes.items():
                before, seen = proxy.cpu(), counted(world, counter)
                push()
                proxy.wait(lambda counter=counter, seen=seen: counted(world, counter) > seen)  # type: ignore[misc]
                time.sleep(SETTLE)
                found[name] = proxy.cpu() - before
            found["longest_wait_ms"] = probe.finish()
            return found
        finally:
            proxy.stop()
            plane.kill()
            plane.wait()


def wait_for_port(port: int) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            socket.create_connection((LOOPBACK, port)).close()
        except OSError:
            time.sleep(0.02)
        else:
            return


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def serve_upstream() -> int:
    """One that answers 200 to whatever comes, in a thread."""
    listening = socket.create_server((LOOPBACK, 0), backlog=512)
    reply = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

    def serve(connection: socket.socket) -> None:
        with connection:
            while connection.recv(65536):
                connection.sendall(reply)

    def accept() -> None:
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    port: int = listening.getsockname()[1]
    return port


def draw(results: dict[str, dict[int, dict[str, float]]], stem: Path) -> None:
    figure, grid = plt.subplots(2, 4, figsize=(14, 6))
    for axes, (name, title) in zip(grid.flat, MEASURES.items(), strict=False):
        for target, by_size in results.items():
            sizes = sorted(by_size)
            axes.plot(sizes, [by_size[one][name] for one in sizes], "o-", color=COLOURS.get(target), label=target)
        axes.set_title(title, fontsize=9)
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
    grid.flat[-1].axis("off")
    grid.flat[0].legend(frameon=False)
    figure.suptitle("EDS clusters over ADS, one worker", fontsize=11)
    figure.tight_layout()
    figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(stem.with_suffix(".png"), dpi=110)
    plt.close(figure)


def show(results: dict[str, dict[int, dict[str, float]]]) -> None:
    """A table: a row for each measure and size, a column for each target."""
    table = Table(title="EDS clusters over ADS, one worker")
    for column in ("measure", "clusters", *results):
        table.add_column(column, justify="left" if column == "measure" else "right")
    sizes = sorted({size for by_size in results.values() for size in by_size})
    for name, title in MEASURES.items():
        for size in sizes:
            found = (by_size.get(size, {}).get(name) for by_size in results.values())
            table.add_row(title, str(size), *("" if one is None else f"{one:.3g}" for one in found))
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser("bench.discovery", description=__doc__)
    parser.add_argument("--sizes", type=lambda text: [int(one) for one in text.split(",")], default=list(SIZES))
    parser.add_argument("--targets", default="envoy,pyproxy")
    parser.add_argument("--results", type=Path, default=ROOT / "bench/results")
    parser.add_argument("--delta", action="store_true", help="differences instead of the state of the world")
    options = parser.parse_args()
    upstream = serve_upstream()
    results: dict[str, dict[int, dict[str, float]]] = {}
    for target in options.targets.split(","):
        command = [sys.executable, "-m", "pyproxy"] if target == "pyproxy" else [str(TARGETS["envoy"].find())]
        for size in options.sizes:
            api = {"api_type": "DELTA_GRPC" if options.delta else "GRPC", "cluster": {}}
            if target == "envoy":  # pyproxy speaks HTTP/2 to a control plane anyhow
                api["cluster"] = {"typed_extension_protocol_options": HTTP2}
            found = results.setdefault(target, {})[size] = measure(command, size, upstream, api)
            print(target, size, {name: round(value, 3) for name, value in found.items()}, flush=True)
    options.results.mkdir(parents=True, exist_ok=True)
    stem = options.results / "discovery"
    stem.with_suffix(".json").write_text(json.dumps(results, indent=1))
    draw(results, stem)
    show(results)
    print(f"{stem}.svg")


if __name__ == "__main__":
    main()
