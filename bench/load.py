"""The load: h2load for a fixed number of requests (closed loop), `bench.open_loop` for a fixed rate, and generators of
our own for what h2load cannot do: raw TCP and handshakes with a client certificate.
"""

import json
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.process import leashed
from bench.scenarios import Scenario, Traffic

CALL = ["-H", "content-type: application/grpc", "-H", "te: trailers", "-H", "grpc-timeout: 10S"]
RUN_SECONDS = 300.0
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Load:
    """What the downstream side saw of one run."""

    requests: int
    errors: int
    wall_ns: int
    lat_us: dict[str, float] = field(default_factory=dict)


class LoadFailed(Exception):
    """The generator itself did not work."""


def closed(scenario: Scenario, port: int, requests: int, cpu: int, scratch: Path) -> Load:
    """Send exactly `requests` requests as fast as the answers allow."""
    connections = min(scenario.connections, requests)
    if scenario.traffic is not Traffic.HTTP:
        return _own(scenario, {"port": port, "requests": requests, "connections": connections}, cpu, scratch)
    argv = ["h2load", "-t", "1", "-n", str(requests), "-c", str(connections)]
    argv += ["-m", str(scenario.streams)] if scenario.h2_in else ["--h1"]
    if scenario.close:
        argv += ["-H", "connection: close"]
    if scenario.grpc:
        argv += ["-d", str(_message(scratch)), *CALL]
    begin = time.monotonic_ns()
    output = _run([*argv, f"http://127.0.0.1:{port}{scenario.path}"], cpu)
    return parse_h2load(output, requests, time.monotonic_ns() - begin)


def _message(scratch: Path) -> Path:
    """A file with a gRPC message of 16 bytes behind its length."""
    file = scratch / "message"
    file.write_bytes(b"\0\0\0\0\x10" + b"m" * 16)
    return file


def _own(scenario: Scenario, order: dict[str, object], cpu: int, scratch: Path) -> Load:
    """The generators of this package take their order as JSON and answer in JSON."""
    if scenario.traffic is Traffic.HANDSHAKE:
        module, more = "bench.tls_load", {"resume": scenario.resume, "directory": str(scratch)}
    else:
        module, more = "bench.tcp_load", {"traffic": scenario.traffic.name}
    result = json.loads(_run([sys.executable, "-m", module, json.dumps(order | more)], cpu))
    return Load(result["requests"], result["errors"], result["wall_ns"])


def parse_h2load(output: str, requests: int, wall_ns: int) -> Load:
    """Count as an error whatever was not answered with a 2xx."""
    finished = re.search(r"^status codes: (\d+) 2xx", output, re.MULTILINE)
    succeeded = re.search(r"(\d+) succeeded", output)
    if not finished or not succeeded:
        raise LoadFailed(f"h2load said: {output.strip()[-300:]}")
    return Load(requests, requests - min(int(finished[1]), int(succeeded[1])), wall_ns)


def at_rate(scenario: Scenario, port: int, seconds: float, cpu: int, seed: int) -> Load:
    """Send at the scenario's rate, each request at the moment that a schedule made beforehand says."""
    order = {
        "port": port,
        "path": scenario.path,
        "rate": scenario.rate,
        "seconds": seconds,
        "connections": scenario.connections,
        "seed": seed,
    }
    output = _run([sys.executable, "-m", "bench.open_loop", json.dumps(order)], cpu)
    result = json.loads(output)
    return Load(result["requests"], result["errors"], result["wall_ns"], result["lat_us"])


def _run(argv: list[str], cpu: int) -> str:
    try:
        done = subprocess.run(
            leashed(argv, cpu), capture_output=True, text=True, timeout=RUN_SECONDS, check=False, cwd=ROOT
        )
    except subprocess.TimeoutExpired:
        raise LoadFailed(f"{argv[0]} did not end within {RUN_SECONDS:.0f} s") from None
    if done.returncode:
        raise LoadFailed(f"{argv[0]}: exit status {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout
