"""`python -m bench.host_choice`: what choosing a host costs, by policy, for few and for many hosts.

One thread that does nothing else; the best of some rounds, because whatever disturbs only adds. The loop and the call
are part of the figures.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from pyproxy import clock
from pyproxy.clusters.balance import Balance
from pyproxy.clusters.host import Host
from pyproxy.config.address import AddressConfig
from pyproxy.config.cluster import ClusterConfig, EndpointConfig, HashingConfig, LbPolicy, SlowStartConfig
from pyproxy.http.message import Headers, Request
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo
from pyproxy.telemetry.metrics import Counter

FEW, MANY = 10, 10_000
ROUNDS = 60
CHOICES = 5_000
GOAL_US = 1.0
_BUILDS = 5

BASE = ClusterConfig("c")
POLICIES: dict[str, tuple[ClusterConfig, bool]] = {
    "round robin": (BASE, False),
    "round robin, weights": (BASE, True),
    "round robin, slow start": (replace(BASE, slow_start=SlowStartConfig(3600.0, 1.0, 10.0)), False),
    "least request, 2 choices": (replace(BASE, lb_policy=LbPolicy.LEAST_REQUEST), False),
    "least request, weights": (replace(BASE, lb_policy=LbPolicy.LEAST_REQUEST), True),
    "random": (replace(BASE, lb_policy=LbPolicy.RANDOM), False),
    "random, weights": (replace(BASE, lb_policy=LbPolicy.RANDOM), True),
    "ring hash": (replace(BASE, lb_policy=LbPolicy.RING_HASH, hashing=HashingConfig(least_ring=1024)), False),
    "Maglev": (replace(BASE, lb_policy=LbPolicy.MAGLEV), False),
    "peak EWMA": (replace(BASE, lb_policy=LbPolicy.PEAK_EWMA), False),
    "client-side weighted": (replace(BASE, lb_policy=LbPolicy.CLIENT_SIDE_WEIGHTED_ROUND_ROBIN), False),
    "locality weights": (replace(BASE, locality_weighted=True), False),
    "least request, full scan": (replace(BASE, lb_policy=LbPolicy.LEAST_REQUEST, full_scan=True), False),
}
"""(configuration, hosts weigh differently). The last one looks at every host, because that is what was asked for."""


def hosts(count: int, *, weighted: bool) -> tuple[Host, ...]:
    """In four localities, some of them busy."""
    rng = random.Random(count)
    made = []
    for number in range(count):
        address = AddressConfig(host=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", port=80)
        weight = rng.randrange(1, 100) if weighted else 1
        host = Host(str(address), EndpointConfig(address, weight=weight, zone=f"z{number % 4}", locality_weight=1))
        host.rq_active = rng.randrange(4)
        made.append(host)
    return tuple(made)


def measure(config: ClusterConfig, members: tuple[Host, ...], choices: int) -> tuple[float, float]:
    """(microseconds for a choice, milliseconds to make the balance)"""
    built = 1e9
    for _ in range(_BUILDS):
        begin = time.perf_counter()
        balance = Balance(config, members, config.panic_threshold, random.Random(1), Counter("panic"))
        built = min(built, time.perf_counter() - begin)
    request = Request(b"GET", b"/", b"a", Headers(), StreamInfo(0.0, 0.0, ConnectionInfo()))
    request.info.hash = 0x9E3779B97F4A7C15
    for host in members:
        if host.load is not None and hasattr(host.load, "observe"):
            host.load.observe(0.01)
    clock.tick()
    best = min(_round(balance.choose, request, choices) for _ in range(ROUNDS))
    return best * 1e6 / choices, built * 1e3


def _round(choose: Callable[[Request], Host | None], request: Request, choices: int) -> float:
    begin = time.perf_counter()
    for _ in range(choices):
        choose(request)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser("bench.host_choice", description=__doc__)
    parser.add_argument("--choices", type=int, default=CHOICES, help="in each round")
    choices = parser.parse_args().choices
    compiled = not str(sys.modules[Balance.__module__].__file__).endswith(".py")
    table = Table(title=f"Choosing a host ({'compiled' if compiled else 'interpreted'}), microseconds")
    for column in ("policy", f"{FEW} hosts", f"{MANY} hosts", "ms to make it anew"):
        table.add_column(column, justify="left" if column == "policy" else "right")
    for name, (config, weighted) in POLICIES.items():
        few, _ = measure(config, hosts(FEW, weighted=weighted), choices)
        count = choices if not config.full_scan else max(1, choices // 1000)
        many, built = measure(config, hosts(MANY, weighted=weighted), count)
        late = "" if many <= GOAL_US else " *"
        table.add_row(name, f"{few:.2f}", f"{many:.2f}{late}", f"{built:.1f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
