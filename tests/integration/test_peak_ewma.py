"""PEAK_EWMA with real hosts, one of which is slow."""

from __future__ import annotations

import http.client
from pathlib import Path

import pytest

from tests.server import bootstraps as made
from tests.server.running import PATIENCE, Running, eventually
from tests.support.ports import LOOPBACK
from tests.support.upstream import AwaitBody, Pause, ScriptedUpstream, reply

TYPES = ("v3", "v3alpha")
REQUESTS = 40


@pytest.mark.parametrize("version", TYPES)
def test_a_slow_host_is_left_alone(version: str, tmp_path: Path) -> None:
    fast, slow = ScriptedUpstream(), ScriptedUpstream()
    fast.begin((reply(),))
    slow.begin(((AwaitBody(), Pause(0.3), *reply()[1:]),))
    typed = {"@type": f"type.googleapis.com/envoy.extensions.load_balancing_policies.peak_ewma.{version}.PeakEwma"}
    policy = {"policies": [{"typed_extension_config": {"name": "p", "typed_config": typed}}]}
    cluster = made.static_cluster("c", made.endpoint(fast.port), made.endpoint(slow.port), load_balancing_policy=policy)
    web = made.listener("l", 0, made.manager("h", {"route": {"cluster": "c"}}))
    proxy = Running.real(tmp_path, made.bootstrap([web], [cluster]), "--concurrency", "1")
    try:
        eventually(proxy.ready)
        connection = http.client.HTTPConnection(LOOPBACK, proxy.port("l"), timeout=PATIENCE)
        for _ in range(REQUESTS):
            connection.request("GET", "/")
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
        connection.close()
        assert len(slow.seen()) <= 1
        assert len(fast.seen()) >= REQUESTS - 1
    finally:
        proxy.stop()
        fast.stop()
        slow.stop()
