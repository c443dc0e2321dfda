"""What befalls hosts and breakers is told at `/events`."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server import bootstraps as made
from tests.server.running import PATIENCE, Running, eventually
from tests.support.ports import LOOPBACK
from tests.support.upstream import ScriptedUpstream, reply

EJECT = {"consecutive_5xx": 2, "max_ejection_percent": 100, "base_ejection_time": "0.3s", "interval": "0.1s"}
CHECK = {
    "timeout": "1s",
    "interval": "0.05s",
    "no_traffic_interval": "0.05s",
    "unhealthy_threshold": 1,
    "healthy_threshold": 1,
    "http_health_check": {"path": "/"},
}


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    made = ScriptedUpstream()
    yield made
    made.stop()


def start(directory: Path, upstream: ScriptedUpstream, **cluster: Any) -> Running:
    route = made.manager("h", {"route": {"cluster": "c"}})
    clusters = [made.static_cluster("c", made.endpoint(upstream.port), **cluster)]
    proxy = Running.real(directory, made.bootstrap([made.listener("l", 0, route)], clusters), "--concurrency", "1")
    eventually(proxy.ready)
    return proxy


def ask(proxy: Running) -> int:
    connection = http.client.HTTPConnection(LOOPBACK, proxy.port("l"), timeout=PATIENCE)
    connection.request("GET", "/")
    status = connection.getresponse().status
    connection.close()
    return status


def events(proxy: Running, kind: str) -> list[dict[str, Any]]:
    lines = proxy.admin(f"/events?kind={kind}")[1].splitlines()
    return [json.loads(line) for line in lines]


def test_ejections_and_returns(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    upstream.begin((reply("500 X", b""),))
    proxy = start(tmp_path, upstream, outlier_detection=EJECT)
    try:
        assert [ask(proxy), ask(proxy)] == [500, 500]
        out, back = eventually(lambda: len(found := events(proxy, "host")) >= 2 and found[:2])
        assert (out["kind"], out["severity"], back["kind"]) == ("host.ejected", "WARN", "host.returned")
        assert out["subject"] == f"{LOOPBACK}:{upstream.port}"
        assert out["fields"] == {"worker": 0, "cluster": "c", "why": "CONSECUTIVE_5XX", "times": 1}
    finally:
        proxy.stop()


def test_health(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    upstream.begin((reply(), reply("503 X", b""), reply()))
    proxy = start(tmp_path, upstream, health_checks=[CHECK])
    try:
        ill, well = eventually(lambda: len(found := events(proxy, "host.health_changed")) >= 2 and found)
        assert ill["fields"] == {"worker": 0, "cluster": "c", "health": "unhealthy", "failure_type": "ACTIVE"}
        assert well["fields"] == {"worker": 0, "cluster": "c", "health": "healthy"}
    finally:
        proxy.stop()


def test_breakers(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    upstream.begin((reply(),))
    proxy = start(tmp_path, upstream, circuit_breakers={"thresholds": [{"max_requests": 0}]})
    try:
        assert ask(proxy) == 503
        (opened,) = eventually(lambda: events(proxy, "breaker"))
        assert opened["kind"] == "breaker.opened"
        fields = {"worker": 0, "cluster": "c", "priority": "default", "resource": "requests", "limit": 0}
        assert opened["fields"] == fields
    finally:
        proxy.stop()
