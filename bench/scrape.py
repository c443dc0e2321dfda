"""`python -m bench.scrape`, and a gate: what a scrape costs with thousands of clusters, and whether requests wait.

5,000 clusters of which 1,000 have carried a request. CPU is that of all processes of the proxy while one scrape of
`/stats/prometheus?usedonly` is answered. Requests are sent one after the other all the while; the longest of them is
compared with the longest while nobody scrapes.
"""

from __future__ import annotations

import argparse
import http.client
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from bench import process
from bench.config.ports import Ports, free_ports
from bench.lab import Bench
from bench.process import Child, ProcessFailed
from bench.targets import TARGETS

CLUSTERS, ACTIVE = 5_000, 1_000
SCRAPES = 5
ALLOWED_MS = 100.0
PAUSE_ALLOWED_MS = 20.0
PATIENCE = 60.0
SCRAPE = "/stats/prometheus?usedonly"
TYPES = "type.googleapis.com/envoy.extensions."
LOOPBACK = "127.0.0.1"


def gate(bench: Bench, names: list[str]) -> dict[str, Any]:
    """For pyproxy and Envoy."""
    chosen = [name for name in names if name in ("pyproxy", "envoy") and name in bench.binaries]
    directory = bench.results / "scrape"
    directory.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for name in chosen:
        try:
            found[name] = measure(name, bench.binaries[name], directory, bench.proxy_cpu, CLUSTERS, ACTIVE)
        except (OSError, ProcessFailed, http.client.HTTPException) as error:
            found[name] = {"error": str(error)}
    return found


def measure(name: str, binary: Path, directory: Path, cpu: int, clusters: int, active: int) -> dict[str, Any]:
    """Start it, use some clusters, scrape."""
    answering, listen, admin = free_ports(3)
    config = directory / f"{name}.yaml"
    config.write_text(render(Ports(listen, admin, answering), clusters))
    child = Child(TARGETS[name].command(binary, config), cpu, directory / f"{name}.log")
    try:
        _until_ready(child, admin)
        for number in range(active):
            _ask(listen, f"c{number}")
        time.sleep(1.0)  # until workers have told what they have counted
        return judge(*_scrapes(child, listen, admin))
    finally:
        child.stop()


def judge(spent: list[float], size: int, calm: float, meanwhile: float) -> dict[str, Any]:
    """From the CPU milliseconds of each scrape, the size of an answer, and the longest waits of a request."""
    cpu = statistics.median(spent)
    waited = max(0.0, meanwhile - calm)
    return {
        "cpu_ms": round(cpu, 1),
        "kB": round(size / 1024),
        "longest_wait_ms": round(meanwhile, 1),
        "without_ms": round(calm, 1),
        "ok": cpu <= ALLOWED_MS and waited <= PAUSE_ALLOWED_MS,
    }


def render(ports: Ports, clusters: int) -> str:
    """Every cluster is named by a header; the listener `answering` stands for all of them."""
    to_cluster = {"match": {"prefix": "/"}, "route": {"cluster_header": "x-cluster"}}
    answer = {"match": {"prefix": "/"}, "direct_response": {"status": 200}}
    bootstrap = {
        "admin": {"address": _address(ports.admin)},
        "static_resources": {
            "listeners": [
                _listener("bench", ports.listen, to_cluster),
                _listener("answering", ports.upstream, answer),
            ],
            "clusters": [_cluster(f"c{number}", ports.upstream) for number in range(clusters)],
        },
    }
    return str(yaml.dump(bootstrap, Dumper=yaml.CSafeDumper, sort_keys=False))


def _listener(name: str, port: int, route: dict[str, Any]) -> dict[str, Any]:
    manager = {
        "@type": TYPES + "filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"virtual_hosts": [{"name": name, "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": TYPES + "filters.http.router.v3.Router"}}
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"name": name, "address": _address(port), "filter_chains": [chain]}


def _cluster(name: str, port: int) -> dict[str, Any]:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}]
    return {"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": endpoints}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}


def _scrapes(child: Child, listen: int, admin: int) -> tuple[list[float], int, float, float]:
    """(CPU milliseconds of each scrape, bytes of an answer, longest wait without and with scrapes)"""
    pids = process.tree(child.pid)
    with _asking(listen) as waits:
        time.sleep(1.0)
    calm, spent, size = max(waits), [], 0
    for _ in range(SCRAPES):
        before, begun = sum(map(process.process_ns, pids)), time.monotonic()
        size = len(_get(admin, SCRAPE))
        lasted = time.monotonic() - begun
        used = sum(map(process.process_ns, pids)) - before
        # What it does anyway in as much time is not the scrape's.
        idle = sum(map(process.process_ns, pids))
        time.sleep(lasted)
        idle = sum(map(process.process_ns, pids)) - idle
        spent.append((used - idle) / 1e6)
    with _asking(listen) as waits:
        for _ in range(SCRAPES):
            _get(admin, SCRAPE)
    return spent, size, calm, max(waits)


@contextmanager
def _asking(listen: int) -> Iterator[list[float]]:
    """Requests, one after the other; how long each took, in milliseconds."""
    waits: list[float] = []
    done = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection(LOOPBACK, listen, timeout=PATIENCE)
        while not done.is_set():
            begun = time.monotonic()
            connection.request("GET", "/", headers={"x-cluster": "c0"})
            connection.getresponse().read()
            waits.append((time.monotonic() - begun) * 1e3)
            time.sleep(0.002)
        connection.close()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield waits
    finally:
        done.set()
        thread.join()


def _ask(listen: int, cluster: str) -> None:
    connection = http.client.HTTPConnection(LOOPBACK, listen, timeout=PATIENCE)
    connection.request("GET", "/", headers={"x-cluster": cluster})
    status = connection.getresponse().status
    connection.close()
    if status != 200:
        raise ProcessFailed(f"{cluster} answered {status}")


def _get(admin: int, path: str) -> bytes:
    connection = http.client.HTTPConnection(LOOPBACK, admin, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()


def _until_ready(child: Child, admin: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        child.check()
        try:
            if _get(admin, "/ready").startswith(b"LIVE"):
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise ProcessFailed("it was never ready")


def main() -> None:
    """Both, as they are found."""

    parser = argparse.ArgumentParser("bench.scrape", description=__doc__)
    parser.add_argument("--clusters", type=int, default=CLUSTERS)
    parser.add_argument("--active", type=int, default=ACTIVE)
    options = parser.parse_args()
    cpu = min(os.sched_getaffinity(0))
    for name in ("pyproxy", "envoy"):
        binary = TARGETS[name].find()
        if binary is None:
            print(f"{name}: absent")
            continue
        with tempfile.TemporaryDirectory(prefix="pyproxy-scrape-") as directory:
            found = measure(name, binary, Path(directory), cpu, options.clusters, options.active)
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in found.items()))


if __name__ == "__main__":
    main()
