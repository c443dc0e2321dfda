"""`/events` of a running proxy: what happens to it is told while it happens."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from tests.server.running import Running, eventually


def kinds(proxy: Running, query: str = "") -> list[str]:
    return [event["kind"] for event in events(proxy, query)]


def events(proxy: Running, query: str = "") -> list[dict[str, Any]]:
    return [json.loads(line) for line in proxy.admin(f"/events?x{query}")[1].splitlines()]


def test_a_worker_that_is_replaced_is_told(proxy: Running) -> None:
    eventually(lambda: "config.applied" in kinds(proxy))
    (pid, *_) = (pid for name, pid in proxy.children().items() if "wrk" in name)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: kinds(proxy, "&kind=worker")[-2:] == ["worker.ended", "worker.started"])
    found = events(proxy, "&kind=worker")
    assert found[-2]["fields"] == {"pid": pid, "expected": False}
    assert kinds(proxy, f"&since={found[-1]['id']}") == []


def test_what_an_operator_does_is_told(proxy: Running) -> None:
    proxy.admin("/healthcheck/fail", "POST")
    eventually(lambda: "admin.action" in kinds(proxy))


def test_a_stream_ends_with_the_proxy(proxy: Running) -> None:
    sock = proxy._connect()
    sock.sendall(b"GET /events?kind=drain HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n")
    said = b""
    while b": events" not in said:
        said += sock.recv(4096)
    assert b"text/event-stream" in said
    os.kill(proxy.pid, signal.SIGTERM)
    while more := sock.recv(4096):
        said += more
    sock.close()
    assert b"event: drain.phase\n" in said
    assert b'"message":"serving -> draining"' in said


def test_a_number_that_is_none_is_refused(proxy: Running) -> None:
    assert proxy.admin("/events?since=x") == (400, "usage: /events?since=NUMBER")
