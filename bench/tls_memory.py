"""The gate of idle TLS connections: what each of them adds to a proxy's memory once it has nothing to say."""

import time
from typing import Any

from bench import process
from bench.config.certificates import Certificates
from bench.lab import Bench, Lab
from bench.scenarios import IDLE_TLS
from bench.tls_load import Client

# The first connections fill pools and caches that the later ones find full.
WARM, MORE = 200, 600
SETTLE_SECONDS = 1.0
ALLOWED_KB = 30.0


def gate(bench: Bench, names: list[str]) -> dict[str, Any]:
    """For pyproxy and Envoy, kilobytes per connection."""
    chosen = [name for name in names if name in ("pyproxy", "envoy")]
    with Lab(bench, IDLE_TLS, chosen) as lab:
        found: dict[str, Any] = {name: {"error": reason} for name, reason in lab.failed.items()}
        for name in [name for name in chosen if name in lab.running]:
            try:
                found[name] = judge(*grow(lab, name))
            except OSError as error:
                found[name] = {"error": str(error)}
    return found


def judge(before_kb: int, after_kb: int) -> dict[str, Any]:
    """From the memory with the first connections, and with all of them."""
    each = (after_kb - before_kb) / MORE
    return {"kB_per_connection": round(each, 1), "ok": each <= ALLOWED_KB}


def grow(lab: Lab, name: str) -> tuple[int, int]:
    """Every connection has had one answer and stays open; so do the buffers that it keeps."""
    client = Client(lab.running[name].ports.listen, Certificates.at(lab.bench.scratch))
    kept = []
    try:
        readings = []
        for count in (WARM, MORE):
            kept += [client.connect(keep=True) for _ in range(count)]
            time.sleep(SETTLE_SECONDS)
            readings.append(sum(process.memory_kb(pid)["pss"] for pid in lab.running[name].pids()))
    finally:
        for connection in kept:
            connection.close()
    return readings[0], readings[1]
