"""How connections and streams end, and which counters tell of it."""

from __future__ import annotations

import socket

from tests.integration.conftest import Start
from tests.integration.downstream import Downstream
from tests.integration.upstream import Upstream
from tests.server.running import Running, eventually
from tests.support.ports import LOOPBACK


def counts(proxy: Running, *names: str) -> list[int]:
    lines = proxy.admin("/stats?filter=http.web.downstream")[1].splitlines()
    found = dict(line.split(": ", 1) for line in lines)
    return [int(found.get(f"http.web.downstream_{name}", 0)) for name in names]


def test_a_downstream_that_leaves(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port)
    with Downstream(proxy.port("web")) as connection:
        assert connection.request("GET", "/digest")[0] == 200
    names = ("cx_destroy", "cx_destroy_remote", "cx_destroy_local", "cx_destroy_active_rq")
    eventually(lambda: counts(proxy, *names) == [1, 1, 0, 0])


def test_a_downstream_that_leaves_in_the_middle(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port)
    with socket.create_connection((LOOPBACK, proxy.port("web"))) as sock:
        sock.sendall(b"POST /digest HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc")
        eventually(lambda: counts(proxy, "rq_total") == [1])
    names = ("cx_destroy_remote_active_rq", "cx_destroy_active_rq", "rq_rx_reset", "rq_tx_reset")
    eventually(lambda: counts(proxy, *names) == [1, 1, 1, 0])


def test_a_connection_that_is_idle_for_too_long(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port, common_http_protocol_options={"idle_timeout": "0.05s"})
    with socket.create_connection((LOOPBACK, proxy.port("web"))) as sock:
        assert sock.recv(1) == b""
    eventually(lambda: counts(proxy, "cx_idle_timeout", "cx_destroy_local") == [1, 1])


def test_a_connection_that_has_had_its_requests(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port, common_http_protocol_options={"max_requests_per_connection": 1})
    with Downstream(proxy.port("web")) as connection:
        assert connection.request("GET", "/digest")[0] == 200
    eventually(lambda: counts(proxy, "cx_max_requests_reached", "cx_destroy_remote") == [1, 1])


def test_a_downstream_that_does_not_leave_is_cut_off(start: Start, upstream: Upstream) -> None:
    proxy = start(
        upstream.port,
        delayed_close_timeout="0.05s",
        common_http_protocol_options={"max_requests_per_connection": 1},
    )
    with socket.create_connection((LOOPBACK, proxy.port("web"))) as sock:
        sock.sendall(b"GET /digest HTTP/1.1\r\nhost: x\r\n\r\n")
        eventually(lambda: counts(proxy, "cx_delayed_close_timeout", "cx_destroy_local") == [1, 1])


def test_a_downstream_that_has_said_that_it_leaves_is_not_waited_for(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port)
    with socket.create_connection((LOOPBACK, proxy.port("web"))) as sock:
        sock.sendall(b"GET /digest HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        eventually(lambda: counts(proxy, "cx_delayed_close_timeout", "cx_destroy_local") == [0, 1])


def test_a_request_that_does_not_come_to_its_end(start: Start, upstream: Upstream) -> None:
    proxy = start(upstream.port, request_timeout="0.05s")
    with socket.create_connection((LOOPBACK, proxy.port("web"))) as sock:
        sock.sendall(b"POST /digest HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc")
        assert sock.recv(100).startswith(b"HTTP/1.1 408 ")
    eventually(lambda: counts(proxy, "rq_timeout", "rq_response_before_rq_complete") == [1, 1])
