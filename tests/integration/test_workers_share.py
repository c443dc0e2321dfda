"""What one worker knows of a host all know: health checks, ejections."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from tests.server import bootstraps as made
from tests.server.running import PATIENCE, Running, eventually
from tests.support.ports import LOOPBACK
from tests.support.upstream import ScriptedUpstream, reply

WORKERS = 3
INTERVAL = 0.1
CHECK = {
    "timeout": "0.5s",
    "interval": f"{INTERVAL}s",
    "no_traffic_interval": f"{INTERVAL}s",
    "unhealthy_threshold": 1,
    "healthy_threshold": 1,
    "http_health_check": {"path": "/"},
}


def start(directory: Path, cluster: dict[str, Any]) -> Running:
    web = made.listener("l", 0, made.manager("h", {"route": {"cluster": "c"}}))
    proxy = Running.real(directory, made.bootstrap([web], [cluster]), "--concurrency", str(WORKERS))
    eventually(proxy.ready)
    return proxy


def ask(proxy: Running, port: int) -> int:
    """On a connection of its own, so by any of the workers."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PATIENCE)
    connection.request("GET", "/")
    status = connection.getresponse().status
    connection.close()
    return status


def stat(proxy: Running, name: str) -> int:
    lines = proxy.admin(f"/stats?filter=^{name}$")[1].splitlines()
    return int(lines[0].rpartition(": ")[2]) if lines else 0


def test_a_host_is_asked_once_and_its_health_holds_for_all_workers(tmp_path: Path) -> None:
    upstream = ScriptedUpstream()
    upstream.begin((reply(),))
    more = {"health_checks": [CHECK], "common_lb_config": {"healthy_panic_threshold": {"value": 0}}}
    begin = time.monotonic()
    proxy = start(tmp_path, made.static_cluster("c", made.endpoint(upstream.port), **more))
    try:
        port = proxy.port("l")
        eventually(lambda: len(upstream.seen()) >= 20)
        seen, seconds = len(upstream.seen()), time.monotonic() - begin
        # If each worker asked, there would be three times as many as there is time for.
        assert seen <= seconds / INTERVAL + 2 * WORKERS
        assert {ask(proxy, port) for _ in range(20)} == {200}

        upstream.begin((reply("503 X", b""),))
        eventually(lambda: {ask(proxy, port) for _ in range(20)} == {503})
        eventually(lambda: stat(proxy, "cluster.c.health_check.healthy") == 0)
        changes = proxy.admin("/events?kind=host.health_changed")[1].splitlines()
        assert [json.loads(line)["fields"]["health"] for line in changes] == ["unhealthy"]

        asks = json.loads(changes[0])["fields"]["worker"]
        os.kill(_pid(proxy, asks), signal.SIGKILL)
        upstream.begin((reply(),))
        eventually(lambda: {ask(proxy, port) for _ in range(20)} == {200})
    finally:
        proxy.stop()
        upstream.stop()


def _pid(proxy: Running, worker: int) -> int:
    """The workers have their numbers in their names."""
    return next(pid for name, pid in proxy.children().items() if name.endswith(str(worker)) and "wrk" in name)


def test_a_host_that_one_worker_takes_out_is_out_for_all(tmp_path: Path) -> None:
    good, bad = ScriptedUpstream(), ScriptedUpstream()
    good.begin((reply(),))
    bad.begin((reply("500 X", b""),))
    detection = {"consecutive_5xx": 3, "base_ejection_time": "600s", "max_ejection_percent": 50}
    endpoints = (made.endpoint(good.port), made.endpoint(bad.port))
    proxy = start(tmp_path, made.static_cluster("c", *endpoints, outlier_detection=detection))
    try:
        port = proxy.port("l")
        eventually(lambda: ask(proxy, port) and stat(proxy, "cluster.c.outlier_detection.ejections_active") == 1)
        before = len(bad.seen())
        assert {ask(proxy, port) for _ in range(60)} == {200}
        assert len(bad.seen()) == before
        assert before <= 3 * WORKERS
        eventually(lambda: stat(proxy, "cluster.c.outlier_detection.ejections_enforced_total") == 1)

        gone = _pid(proxy, 1)
        os.kill(gone, signal.SIGKILL)  # its successor asks what is known
        eventually(
            lambda: any(name.endswith("1") and "wrk" in name and pid != gone for name, pid in proxy.children().items())
        )
        eventually(proxy.ready)
        assert {ask(proxy, port) for _ in range(60)} == {200}
        assert len(bad.seen()) == before
    finally:
        proxy.stop()
        good.stop()
        bad.stop()
