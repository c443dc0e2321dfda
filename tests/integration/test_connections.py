"""What downstreams notice of connections that are kept, used again, lost, and of processes that die or stop."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.integration.conftest import Start
from tests.integration.downstream import Downstream
from tests.integration.upstream import Upstream
from tests.server.running import PATIENCE, Running, eventually
from tests.support.process import ROOT


def ask(port: int, method: str = "GET", path: str = "/digest", body: bytes | None = None) -> int:
    with Downstream(port) as connection:
        return connection.request(method, path, body)[0]


def logged(directory: Path) -> list[str]:
    return (directory / "access.log").read_text().splitlines()


def test_upstream_connections_are_used_again(start: Start, upstream: Upstream) -> None:
    port = start(upstream.port).port("web")
    for _ in range(5):
        with Downstream(port) as connection:
            for _ in range(20):
                assert connection.request("GET", "/digest")[0] == 200
    assert upstream.connections == 1


def test_an_upstream_connection_is_replaced_after_so_many_requests(start: Start, upstream: Upstream) -> None:
    options = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "common_http_protocol_options": {"max_requests_per_connection": 4},
            "explicit_http_config": {"http_protocol_options": {}},
        }
    }
    port = start(upstream.port, cluster={"typed_extension_protocol_options": options}).port("web")
    with Downstream(port) as connection:
        for _ in range(12):
            assert connection.request("GET", "/digest")[0] == 200
    assert upstream.connections == 3


def test_a_request_that_met_a_closing_connection_is_sent_again(
    start: Start, upstream: Upstream, tmp_path: Path
) -> None:
    port = start(upstream.port).port("web")
    assert ask(port) == 200
    assert ask(port, path="/stale") == 200
    assert upstream.requests["GET /stale"] == 2
    assert ask(port) == 200
    eventually(lambda: len(logged(tmp_path)) == 3)
    assert logged(tmp_path)[1] == "GET 200 - via_upstream"


@pytest.mark.parametrize(("method", "body"), [("POST", b"x"), ("POST", None), ("PUT", b"x"), ("PATCH", b"")])
def test_a_request_that_may_have_had_an_effect_is_not(
    start: Start, upstream: Upstream, tmp_path: Path, method: str, body: bytes | None
) -> None:
    port = start(upstream.port).port("web")
    assert ask(port) == 200
    assert ask(port, method, "/stale", body) == 503
    assert upstream.requests[f"{method} /stale"] == 1
    eventually(lambda: len(logged(tmp_path)) == 2)
    assert logged(tmp_path)[1].startswith(f"{method} 503 UC upstream_reset_before_response_started")


class Load:
    """Downstreams with keep-alive connections that ask until they are told to stop."""

    def __init__(self, port: int, count: int) -> None:
        self.port = port
        self.answers: Counter[str] = Counter()
        self.over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(seed,), daemon=True) for seed in range(count)]
        for thread in self._threads:
            thread.start()
        eventually(lambda: self.answers["200"] > 20 * count)

    def stop(self) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _count(self, what: str) -> None:
        with self._lock:
            self.answers[what] += 1

    def _run(self, seed: int) -> None:
        rng = random.Random(seed)
        while not self.over.is_set():
            try:
                connection = Downstream(self.port)
            except OSError:
                self._count("refused")
                time.sleep(0.02)
                continue
            with connection:
                self._ask(connection, rng)

    def _ask(self, connection: Downstream, rng: random.Random) -> None:
        while not self.over.is_set():
            try:
                connection.begin(*rng.choice([("GET", "/digest"), ("GET", "/slow"), ("GET", "/bytes/5000")]))
                status, fields = connection.head()
                for _ in connection.body(fields):
                    pass
            except OSError:
                self._count("lost")
                return
            self._count(str(status))
            if fields.get("connection") == "close":
                return


def test_a_worker_that_is_killed_loses_only_the_requests_that_it_has(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port, workers=2)
    load = Load(proxy.port("web"), 16)
    victim = proxy.children()["pyproxy-wrk:0"]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: proxy.children().get("pyproxy-wrk:0", victim) != victim)
    eventually(proxy.ready)
    before = load.answers["200"]
    eventually(lambda: load.answers["200"] > before + 200)
    load.stop()
    # One connection has one request, and those that wait in the queue of the socket are for the next worker.
    assert load.answers["lost"] <= 16
    assert set(load.answers) <= {"200", "lost"}


def test_no_request_is_lost_when_the_proxy_is_stopped(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port, workers=2)
    load = Load(proxy.port("web"), 12)
    os.kill(proxy.pid, signal.SIGTERM)
    assert proxy.process.wait(PATIENCE) == 0
    load.stop()
    assert set(load.answers) <= {"200", "refused"}


def probe(proxy: Running, directory: Path) -> dict[str, int]:
    """What the worker's collector has done, and how many blocks it has allocated."""
    pid = proxy.children()["pyproxy-wrk:0"]
    answer = directory / f"{pid}.probe"
    answer.unlink(missing_ok=True)
    os.kill(pid, signal.SIGRTMIN + 5)
    eventually(answer.exists)
    found: dict[str, int] = json.loads(answer.read_text())
    return found


def many(port: int, count: int) -> None:
    with Downstream(port) as connection:
        for number in range(count):
            if number % 4:
                assert connection.request("GET", "/digest")[0] == 200
            else:
                assert connection.request("POST", "/digest", b"x" * 100)[0] == 200


def test_ten_thousand_requests_leave_nothing_behind(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT}/bench/probe", "BENCH_PROBE": str(tmp_path)}
    proxy = start(upstream.port, environment=environment)
    port = proxy.port("web")
    many(port, 1000)
    before = probe(proxy, tmp_path)
    many(port, 10_000)
    after = probe(proxy, tmp_path)
    assert after["blocks"] - before["blocks"] < 1000
    assert after["collections"] == before["collections"]
