"""The whole proxy with its data path: what its users see when processes come, go and drain."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server.bootstraps import HELLO, Json, at, bootstrap, endpoint, file_log, listener, manager, static_cluster
from tests.server.running import PATIENCE, Running, eventually
from tests.support.ports import LOOPBACK

PAUSED = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab"
Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Running] = []

    def begin(listeners: list[Json], clusters: list[Json], *flags: str, **more: object) -> Running:
        proxy = Running.real(tmp_path, bootstrap(listeners, clusters, **more), *flags)
        started.append(proxy)
        eventually(lambda: proxy.ready() or proxy.process.poll() is not None)
        return proxy

    yield begin
    for proxy in started:
        proxy.stop()


@pytest.fixture
def upstream() -> Iterator[socket.socket]:
    """A listening socket; the test itself plays the upstream."""
    with socket.create_server((LOOPBACK, 0)) as server:
        server.settimeout(PATIENCE)
        yield server


def to_upstream(upstream: socket.socket, **more: object) -> tuple[list[Json], list[Json]]:
    web = listener("web", 0, manager("web", {"route": {"cluster": "up"}}, **more))
    return [web], [static_cluster("up", endpoint(upstream.getsockname()[1]))]


def hello(**more: object) -> tuple[list[Json], list[Json]]:
    return [listener("web", 0, manager("web", HELLO, **more))], []


def connect(proxy: Running) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(LOOPBACK, proxy.port("web"), timeout=PATIENCE)


def get(connection: http.client.HTTPConnection) -> tuple[int, bytes, str]:
    """Status, body, and what the response says about the connection."""
    connection.request("GET", "/")
    response = connection.getresponse()
    return response.status, response.read(), response.headers.get("connection", "")


def get_once(proxy: Running) -> tuple[int, bytes, str]:
    with contextlib.closing(connect(proxy)) as connection:
        return get(connection)


def stat(proxy: Running, name: str) -> int:
    lines = proxy.admin(f"/stats?filter=^{name}$")[1].splitlines()
    return int(lines[0].rpartition(": ")[2]) if lines else 0


def refuses(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_request_in_flight_survives_the_stop(start: Start, upstream: socket.socket, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    proxy = start(*to_upstream(upstream, access_log=[file_log(str(log), "%RESPONSE_CODE%")]), "--concurrency", "1")
    connection = connect(proxy)
    connection.request("GET", "/")
    peer, _ = upstream.accept()
    assert peer.recv(65536).startswith(b"GET / HTTP/1.1\r\n")
    port = proxy.port("web")
    os.kill(proxy.pid, signal.SIGTERM)
    eventually(lambda: proxy.admin("/ready") == (503, "DRAINING"))
    eventually(lambda: refuses(port))
    peer.sendall(PAUSED)
    response = connection.getresponse()
    assert response.headers["connection"] == "close"
    peer.sendall(b"cd")
    assert response.read() == b"abcd"
    assert proxy.process.wait(PATIENCE) == 0
    assert log.read_text() == "200\n"
    peer.close()


def test_a_connection_that_is_idle_when_the_stop_comes_gets_one_more_answer(start: Start) -> None:
    """The request may be on its way already, and to close under it would fail it."""
    proxy = start(*hello(), "--concurrency", "1")
    connection = connect(proxy)
    assert get(connection) == (200, b"hi", "")
    port = proxy.port("web")
    os.kill(proxy.pid, signal.SIGTERM)
    eventually(lambda: refuses(port))
    assert get(connection) == (200, b"hi", "close")
    assert proxy.process.wait(PATIENCE) == 0


def test_no_request_fails_when_the_proxy_stops_under_load(start: Start) -> None:
    proxy = start(*hello(), "--concurrency", "2")
    port = proxy.port("web")
    failures: list[str] = []
    served = [0] * 8
    downstreams = [threading.Thread(target=ask_until_refused, args=(port, served, n, failures)) for n in range(8)]
    for downstream in downstreams:
        downstream.start()
    eventually(lambda: min(served) > 50)
    os.kill(proxy.pid, signal.SIGTERM)
    for downstream in downstreams:
        downstream.join(PATIENCE)
    assert failures == []
    assert proxy.process.wait(PATIENCE) == 0


def ask_until_refused(port: int, served: list[int], number: int, failures: list[str]) -> None:
    """Keep-alive as long as the proxy wants it; a refused connection is not a failed request."""
    while True:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PATIENCE)
        try:
            connection.connect()
        except ConnectionRefusedError:
            return
        asking = ""
        while asking != "close":
            try:
                status, body, asking = get(connection)
            except (OSError, http.client.HTTPException) as error:
                failures.append(repr(error))
                return
            if (status, body) != (200, b"hi"):
                failures.append(f"{status} {body!r}")
            served[number] += 1
        connection.close()


def test_what_a_dead_worker_counted_is_kept(start: Start) -> None:
    proxy = start(*hello(), "--concurrency", "1")
    for _ in range(5):
        assert get_once(proxy)[0] == 200
    eventually(lambda: stat(proxy, "http.web.downstream_rq_2xx") == 5)
    os.kill(proxy.children()["pyproxy-wrk:0"], signal.SIGKILL)
    eventually(lambda: stat(proxy, "server.worker_restarts") == 1)
    eventually(proxy.ready)
    assert get_once(proxy)[0] == 200
    eventually(lambda: stat(proxy, "http.web.downstream_rq_2xx") == 6)
    assert proxy.admin("/reset_counters", "POST") == (200, "OK")
    assert stat(proxy, "http.web.downstream_rq_2xx") == 0


def test_failed_health_checks_ask_downstreams_to_leave(start: Start) -> None:
    proxy = start(*hello(), "--concurrency", "1")
    connection = connect(proxy)
    assert get(connection) == (200, b"hi", "")
    assert proxy.admin("/healthcheck/fail", "POST") == (200, "OK")
    assert proxy.admin("/ready") == (503, "DRAINING")
    eventually(lambda: get_once(proxy)[2] == "close")
    assert get(connection) == (200, b"hi", "close")
    assert proxy.admin("/healthcheck/ok", "POST") == (200, "OK")
    eventually(lambda: get_once(proxy)[2] == "")


def test_listeners_drain_gracefully(start: Start) -> None:
    """First downstreams are asked to leave and new ones are still served, then the listener is closed."""
    proxy = start(*hello(), "--concurrency", "1", "--drain-time-s", "1")
    connection, port = connect(proxy), proxy.port("web")
    assert get(connection) == (200, b"hi", "")
    assert proxy.admin("/drain_listeners?graceful", "POST") == (200, "OK")
    assert get(connection) == (200, b"hi", "close")
    eventually(lambda: refuses(port))
    assert proxy.admin("/ready") == (200, "LIVE")
    assert stat(proxy, "listener_manager.listener_stopped") == 1


def test_log_files_are_opened_again(start: Start, tmp_path: Path) -> None:
    traffic, admin = tmp_path / "access.log", tmp_path / "admin.log"
    proxy = start(
        *hello(access_log=[file_log(str(traffic), "%PROTOCOL% %RESPONSE_CODE%")]),
        admin={"address": at(0), "access_log": [file_log(str(admin), "%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE%")]},
    )
    get_once(proxy)
    proxy.admin("/nothing")
    eventually(lambda: traffic.read_text() == "HTTP/1.1 200\n")
    eventually(lambda: "GET /nothing 404\n" in admin.read_text())
    moved = [path.rename(path.with_suffix(".1")) for path in (traffic, admin)]
    os.kill(proxy.pid, signal.SIGUSR1)
    eventually(lambda: traffic.exists() and admin.exists())
    get_once(proxy)
    proxy.admin("/certs")
    eventually(lambda: traffic.read_text() == "HTTP/1.1 200\n")
    eventually(lambda: "GET /certs 200\n" in admin.read_text())
    assert "GET /certs" not in moved[1].read_text()


def test_the_start_is_told_in_the_log(start: Start) -> None:
    proxy = start(
        *hello(access_log_options={"flush_log_on_tunnel_successfully_established": True}), "--concurrency", "1"
    )
    said = proxy.said()
    assert "engines: HTTP/1 " in said
    assert "bootstrap.json: 1 listeners, 0 clusters; 1 workers" in said
    assert f"listener 'web' on {LOOPBACK}:{proxy.port('web')}" in said
    assert f"admin address: {proxy.admin_address()}" in said
    assert "1 fields of the configuration are not honoured" in said
    assert "not honoured (" in said
    assert "flush_log_on_tunnel_successfully_established" in proxy.admin("/unsupported")[1]
    (field,) = json.loads(proxy.admin("/unsupported?format=json")[1])["unsupported"]
    assert field["place"].startswith(f"{proxy.log.parent}/bootstrap.json:1:")


def test_the_application_log_can_be_json(start: Start) -> None:
    form = {"json_format": {"level": "%l", "component": "%n", "text": "%j"}}
    proxy = start(*hello(), "--concurrency", "1", application_log_config={"log_format": form})
    lines = [json.loads(line) for line in proxy.said().splitlines() if line.startswith("{")]
    assert {"level", "component", "text"} == set(lines[-1])
    assert any(line["text"].startswith("started: ") for line in lines)
    assert "not honoured" not in proxy.said()


def test_an_address_in_use_ends_the_start(start: Start) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        web = listener("web", port, manager("web", HELLO), enable_reuse_port=False)
        proxy = start([web], [], admin={"address": at(port)})
    assert proxy.process.wait(PATIENCE) == 1
    assert f"listener 'web': cannot listen on {LOOPBACK}:{port}: address already in use by pid {os.getpid()}" in (
        proxy.said()
    )


def test_an_admin_address_in_use_ends_the_start(start: Start) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        proxy = start(*hello(), admin={"address": at(taken.getsockname()[1])})
        assert proxy.process.wait(PATIENCE) == 1
    assert "admin: cannot listen on" in proxy.said()


def test_a_wrong_configuration_ends_the_start_with_every_fault(start: Start) -> None:
    web = listener("web", 0, manager("web", {"route": {"cluster": "nowhere"}}), backlock=1)
    proxy = start([web], [])
    assert proxy.process.wait(PATIENCE) == 1
    assert "bootstrap.json:1:" in proxy.said()
    assert "nowhere" in proxy.said()
    assert "backlock" in proxy.said()
    assert "2 errors" in proxy.said()


@pytest.mark.parametrize("whose", ["traffic", "admin"])
def test_an_access_log_that_cannot_be_opened_ends_the_start(start: Start, tmp_path: Path, whose: str) -> None:
    log = file_log(str(tmp_path), "x")
    logs = {"traffic": [], "admin": [], whose: [log]}
    proxy = start(*hello(access_log=logs["traffic"]), admin={"address": at(0), "access_log": logs["admin"]})
    assert proxy.process.wait(PATIENCE) == 1
    assert f"{tmp_path}: Is a directory" in proxy.said()
    assert "starting another one" not in proxy.said()


def test_a_log_file_that_cannot_be_opened_ends_the_start(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    proxy = Running(missing, ["pyproxy", "-c", "x.yaml"], output=tmp_path / "output")
    assert proxy.process.wait(PATIENCE) == 1
    assert f"the log file {missing}/app.log cannot be opened: No such file" in proxy.output.read_text()


def test_an_admin_that_others_can_reach_is_warned_about(start: Start) -> None:
    proxy = start(*hello(), admin={"address": at(0, "0.0.0.0")})
    assert "whoever can reach it can stop this proxy" in proxy.said()


def test_without_an_admin_there_is_no_manager(start: Start, tmp_path: Path) -> None:
    proxy = Running.real(tmp_path, {"static_resources": {"listeners": hello()[0]}}, "--concurrency", "1")
    try:
        eventually(lambda: "started: " in proxy.said())
        eventually(lambda: "python3" not in str(proxy.children()))  # a process has its name a moment after it is there
        assert set(proxy.children()) == {"pyproxy-wrk:0"}
        os.kill(proxy.pid, signal.SIGTERM)
        assert proxy.process.wait(PATIENCE) == 0
    finally:
        proxy.stop()
