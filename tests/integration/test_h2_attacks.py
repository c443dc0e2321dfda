"""Attacks on HTTP/2 beside a client that means well: theirs ends, its goes on. `make drills` measures how soon."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from drills.attacker import Attacker
from drills.h2_attacks import ATTACKS, Attack
from tests.integration.h2_client import H2Client
from tests.integration.memory import Peak
from tests.integration.test_http2 import ENGINES
from tests.integration.upstream import Upstream
from tests.server.bootstraps import bootstrap, endpoint, listener, manager, static_cluster
from tests.server.running import PATIENCE, Running, eventually

MOST_MEMORY = 50 << 20
EDGE = {"max_concurrent_streams": 100}
"""As Envoy wants it at the edge; with the default one connection can fill the upstream's circuit breaker."""
pytestmark = pytest.mark.xdist_group("attacks")


class Good:
    """Sends one request after the other on a connection of its own until it is stopped."""

    def __init__(self, port: int) -> None:
        self.requests = 0
        self.error: Exception | None = None
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            with H2Client(self._port) as client:
                while not self._stop.is_set():
                    status, body = client.request("POST", "/echo", b"x" * 1000)
                    assert (status, body) == (200, b"x" * 1000)
                    self.requests += 1
        except Exception as error:  # noqa: BLE001 - shown by `stop`
            self.error = error

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE)
        if self.error is not None:
            raise self.error


@pytest.fixture(scope="module", params=ENGINES)
def proxy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory: Path = tmp_path_factory.mktemp("attacks")
    with Upstream() as upstream:
        route = {"route": {"cluster": "up", "timeout": "0s"}}
        web = manager("web", route, stream_idle_timeout="1s", http2_protocol_options=EDGE)
        listeners = [listener("web", 0, web), listener("good", 0, manager("good", route))]
        file = directory / "bootstrap.json"
        made = bootstrap(listeners, [static_cluster("up", endpoint(upstream.port))])
        file.write_text(json.dumps(made))
        command = ["pyproxy", "-c", str(file), "--concurrency", "1"]
        running = Running(directory, command, **ENGINES[request.param])
        eventually(lambda: running.ready() or running.process.poll() is not None)
        yield running
        assert "Traceback" not in running.said()
        running.stop()


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_an_attack_ends_and_others_go_on(proxy: Running, attack: Attack) -> None:
    good = Good(proxy.port("good"))
    try:
        eventually(lambda: good.requests or good.error)
        with Peak(proxy.children()["pyproxy-wrk:0"]) as peak:
            outcome = Attacker(proxy.port("web"), attack).play(PATIENCE)
            before = good.requests
            eventually(lambda: good.requests > before or good.error)
        assert peak.growth < MOST_MEMORY
    finally:
        good.stop()
    if attack.ends:
        assert outcome.ended_after is not None, outcome
    else:
        assert outcome.resets > 0, outcome
