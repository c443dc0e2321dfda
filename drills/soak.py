"""`make soak`: bodies of random sizes on many HTTP/2 streams at the same time, with resets by both sides, through both
engines; whatever is not reset has to come back byte for byte. `python -m drills.soak --help` says what can be chosen.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from drills.soak_client import Soak, Tally
from drills.stage import ROOT, Json, free_port

FILTERS = "type.googleapis.com/envoy.extensions.filters"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
ENGINES: dict[str, dict[str, str]] = {"fast": {}, "pure": {"PYPROXY_PURE": "1"}}
_READY_SECONDS = 60.0
_SETTLE_SECONDS = 20.0


def bootstrap(port: int, admin: int, upstream: int, streams: int) -> Json:
    def at(number: int) -> Json:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    router = {"name": "router", "typed_config": {"@type": f"{FILTERS}.http.router.v3.Router"}}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "up", "timeout": "0s"}}
    hcm = {
        "@type": f"{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "soak",
        "codec_type": "HTTP2",
        "http_filters": [router],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
    }
    http2 = {"@type": f"type.googleapis.com/{OPTIONS}", "explicit_http_config": {"http2_protocol_options": {}}}
    limits = dict.fromkeys(("max_connections", "max_requests", "max_pending_requests"), 2 * streams)
    up = {
        "name": "up",
        "type": "STATIC",
        "connect_timeout": "10s",
        "circuit_breakers": {"thresholds": [limits]},
        "typed_extension_protocol_options": {OPTIONS: http2},
        "load_assignment": {
            "cluster_name": "up",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": at(upstream)}}]}],
        },
    }
    chain = {"filters": [{"name": "hcm", "typed_config": hcm}]}
    listener = {"name": "soak", "address": at(port), "filter_chains": [chain]}
    return {"admin": {"address": at(admin)}, "static_resources": {"listeners": [listener], "clusters": [up]}}


def soak(streams: int, connections: int, seed: int, engine: str) -> tuple[Tally, float, int]:
    """(what became of the streams, seconds, MiB of the worker at its most). Raises AssertionError where something is
    left behind."""
    port, admin, upstream = free_port(), free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="soak-") as name, contextlib.ExitStack() as stack:
        file, log = Path(name) / "bootstrap.json", Path(name) / "log"
        file.write_text(json.dumps(bootstrap(port, admin, upstream, streams)))
        with log.open("wb") as out:
            echo = [sys.executable, "-m", "drills.h2_echo", str(upstream)]
            proxy = [sys.executable, "-m", "pyproxy", "-c", str(file), "--concurrency", "1"]
            started = [
                subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out, start_new_session=True, env=environment)
                for command, environment in ((echo, None), (proxy, {**os.environ, **ENGINES[engine]}))
            ]
        for process in started:
            stack.callback(_end, process)
        _wait(lambda: _ask(admin, "/ready") is not None, _READY_SECONDS)
        begun = time.monotonic()
        tally = asyncio.run(_run(port, streams, connections, seed))
        took = time.monotonic() - begun
        _wait(lambda: _at_rest(admin), _SETTLE_SECONDS)
        peak = _peak_kb(started[1].pid)
        said = log.read_text(errors="replace")
        assert "Traceback" not in said, said[-3000:]
    return tally, took, peak // 1024


async def _run(port: int, streams: int, connections: int, seed: int) -> Tally:
    return await Soak(port, streams, connections, seed).run()


def _at_rest(admin: int) -> bool:
    """Nothing is open any more."""
    text = _ask(admin, "/stats?filter=^(http.soak.downstream|cluster.up.upstream)_rq_active$") or ""
    return text.count(": 0") == 2


def _ask(admin: int, path: str) -> str | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}{path}", timeout=5) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return None


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.1)


def _peak_kb(leader: int) -> int:
    """The most that a process of the proxy held."""
    most = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                if os.getsid(int(entry.name)) == leader:
                    lines = (entry / "status").read_text().splitlines()
                    most = max([most, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))])
    return most


def _end(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="drills.soak", description=__doc__)
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--engine", choices=tuple(ENGINES), help="both, where none is named")
    chosen = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8192)), hard))
    fine = True
    for engine in [chosen.engine] if chosen.engine else ENGINES:
        tally, took, peak = soak(chosen.streams, chosen.connections, chosen.seed, engine)
        wrong = tally.wrong or []
        print(
            f"{engine}: seed {chosen.seed}, {tally.streams:,} streams, {tally.open_at_once:,} of them open at once;"
            f" {tally.whole:,} whole, {tally.reset_by_us:,} reset by the downstream, {tally.reset_by_upstream:,} by the"
            f" upstream, {len(wrong):,} wrong; {tally.sent / 1e6:.0f} MB each way in {took:.0f} s; at most {peak} MiB"
        )
        for line in wrong[:20]:
            print(f"  {line}")
        fine = fine and not wrong
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
