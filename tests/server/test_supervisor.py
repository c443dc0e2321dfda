from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import ROOT

PATIENCE = 30.0


class Running:
    """A stand-in proxy that was started as a process of its own."""

    def __init__(self, directory: Path, how: str, *flags: str) -> None:
        self.log = directory / "app.log"
        self.output = directory / "output"
        self._address = directory / "admin"
        command = [sys.executable, "-m", "tests.server.stand_in", how, "--log-path", str(self.log)]
        command += ["--admin-address-path", str(self._address), *flags]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True
            )

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    @property
    def pid(self) -> int:
        return self.process.pid

    def admin(self, path: str, method: str = "GET") -> tuple[int, str]:
        connection = http.client.HTTPConnection(self._address.read_text(), timeout=PATIENCE)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode().strip()
        finally:
            connection.close()

    def ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.admin("/ready")[0] == 200
        return False

    def children(self) -> dict[str, int]:
        """Name -> pid."""
        listing = subprocess.run(["ps", "--ppid", str(self.pid), "-o", "pid=,comm="], capture_output=True, text=True)
        lines = [line.split(None, 1) for line in listing.stdout.splitlines()]
        return {name.strip(): int(pid) for pid, name in lines if "defunct" not in name}

    def port(self, listener: str) -> int:
        for line in self.admin("/listeners")[1].splitlines():
            if line.startswith(f"{listener}::"):
                return int(line.rpartition(":")[2])
        raise AssertionError(listener)

    def greet(self, listener: str) -> tuple[socket.socket, int]:
        """A connection, and the pid of the worker that took it."""
        sock = socket.create_connection(("127.0.0.1", self.port(listener)), timeout=PATIENCE)
        return sock, int(sock.recv(100))

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)


def eventually(condition: Callable[[], Any]) -> Any:
    """The first true value; how long it takes is not what is tested."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)
    return value


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def begin(how: str = "well", *flags: str) -> Running:
        proxy = Running(tmp_path, how, *flags)
        started.append(proxy)
        return proxy

    yield begin
    for proxy in started:
        proxy.stop()


@pytest.fixture
def proxy(start: Callable[..., Running]) -> Running:
    """With two workers, ready."""
    proxy = start("well", "--concurrency", "2")
    eventually(proxy.ready)
    eventually(lambda: proxy.said().count("started: "))
    return proxy


def test_each_process_has_a_name_and_the_log_tells_their_pids(proxy: Running) -> None:
    children = proxy.children()
    assert set(children) == {"pyproxy-manager", "pyproxy-wrk:0", "pyproxy-wrk:1"}
    workers = f"{children['pyproxy-wrk:0']} {children['pyproxy-wrk:1']}"
    assert f"started: supervisor {proxy.pid}, manager {children['pyproxy-manager']}, workers {workers}" in (
        proxy.said()
    )


def test_both_workers_take_connections(proxy: Running) -> None:
    pids: set[int] = set()

    def greet_once_more() -> bool:
        sock, pid = proxy.greet("web")
        sock.close()
        pids.add(pid)
        return len(pids) == 2

    eventually(greet_once_more)
    assert pids <= set(proxy.children().values())


def test_a_killed_worker_is_replaced_and_counted(proxy: Running) -> None:
    sock, pid = proxy.greet("web")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(proxy.children()) == 3 and pid not in proxy.children().values())
    eventually(proxy.ready)
    assert "killed by SIGKILL; starting another one now (restart 1)" in proxy.said()
    assert json.loads(proxy.admin("/server_info")[1])["worker_restarts"] == 1
    for _ in range(20):
        proxy.greet("web")[0].close()
    sock.close()


def test_a_killed_manager_is_replaced_and_remembers(proxy: Running) -> None:
    assert proxy.admin("/healthcheck/fail", "POST") == (200, "OK")
    manager = proxy.children()["pyproxy-manager"]
    os.kill(manager, signal.SIGKILL)
    eventually(lambda: proxy.children().get("pyproxy-manager", manager) != manager)
    assert proxy.admin("/ready") == (503, "DRAINING")
    assert proxy.admin("/healthcheck/ok", "POST") == (200, "OK")
    assert proxy.admin("/ready") == (200, "LIVE")


def test_a_worker_that_is_terminated_finishes_and_is_replaced(proxy: Running) -> None:
    sock, pid = proxy.greet("web")
    os.kill(pid, signal.SIGTERM)
    sock.close()
    eventually(lambda: pid not in proxy.children().values() and len(proxy.children()) == 3)
    assert f"(pid {pid}) ended" in proxy.said()
    assert "exit code 0; starting another one now" in proxy.said()


def test_without_the_supervisor_nothing_is_left(proxy: Running) -> None:
    children = proxy.children().values()
    os.kill(proxy.pid, signal.SIGKILL)
    eventually(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in children))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("to_group", [False, True])
def test_stopping_waits_for_what_is_open(proxy: Running, number: signal.Signals, to_group: bool) -> None:
    """A terminal and some init systems signal the whole group: that must not end a worker or the admin early."""
    sock, _ = proxy.greet("web")
    port = proxy.port("web")
    (os.killpg if to_group else os.kill)(proxy.pid, number)
    eventually(lambda: proxy.admin("/ready") == (503, "DRAINING"))
    eventually(lambda: refused(port))
    assert proxy.process.poll() is None
    sock.close()
    assert proxy.process.wait(PATIENCE) == 0
    assert proxy.said().rstrip().endswith("exiting")


def test_a_second_signal_does_not_wait(proxy: Running) -> None:
    sock, _ = proxy.greet("web")
    os.kill(proxy.pid, signal.SIGTERM)
    eventually(lambda: proxy.admin("/ready") == (503, "DRAINING"))
    os.kill(proxy.pid, signal.SIGTERM)
    assert proxy.process.wait(PATIENCE) == 128 + signal.SIGTERM
    assert sock.recv(100) == b""
    sock.close()


def test_the_drain_ends_when_its_time_is_over(start: Callable[..., Running]) -> None:
    proxy = start("well", "--concurrency", "1", "--drain-time-s", "0")
    eventually(proxy.ready)
    sock, _ = proxy.greet("web")
    os.kill(proxy.pid, signal.SIGTERM)
    assert proxy.process.wait(PATIENCE) == 0
    assert "killing 1 workers that have not ended in time" in proxy.said()
    sock.close()


def test_quitquitquit_stops_as_a_signal_does(proxy: Running) -> None:
    assert proxy.admin("/quitquitquit")[0] == 405
    assert proxy.admin("/quitquitquit", "POST") == (200, "OK")
    assert proxy.process.wait(PATIENCE) == 0


def test_drained_listeners_refuse_and_stay_so_after_a_restart(proxy: Running) -> None:
    inside, web = proxy.port("inside"), proxy.port("web")
    assert proxy.admin("/drain_listeners?inboundonly", "POST") == (200, "OK")
    eventually(lambda: refused(inside))
    os.kill(proxy.children()["pyproxy-wrk:0"], signal.SIGKILL)
    eventually(lambda: proxy.said().count("restart 1"))
    eventually(lambda: len(proxy.children()) == 3)
    assert refused(inside)
    assert not refused(web)
    assert proxy.admin("/ready") == (200, "LIVE")


def test_logs_are_opened_again_in_every_process(proxy: Running) -> None:
    moved = proxy.log.rename(proxy.log.with_suffix(".1"))
    os.kill(proxy.pid, signal.SIGUSR1)
    eventually(lambda: proxy.output.read_text().count("reopened") == 2)
    eventually(proxy.log.exists)
    os.kill(proxy.children()["pyproxy-wrk:0"], signal.SIGKILL)
    eventually(lambda: "restart 1" in proxy.said())
    assert "restart 1" not in moved.read_text()
    assert proxy.admin("/reopen_logs", "POST") == (200, "OK")
    eventually(lambda: proxy.output.read_text().count("reopened") == 4)


def test_log_levels_change_in_every_process_and_in_later_ones(proxy: Running) -> None:
    status, text = proxy.admin("/logging?main=debug", "POST")
    assert status == 200
    assert "  main: debug" in text
    os.kill(proxy.children()["pyproxy-manager"], signal.SIGKILL)
    eventually(lambda: "pyproxy-manager" in proxy.children() and proxy.ready())
    assert "  main: debug" in proxy.admin("/logging", "POST")[1]


def test_sighup_is_ignored(proxy: Running) -> None:
    os.killpg(proxy.pid, signal.SIGHUP)
    eventually(lambda: "SIGHUP is ignored" in proxy.said())
    assert proxy.ready()


def test_a_configuration_that_no_worker_can_serve_is_said_once(start: Callable[..., Running]) -> None:
    proxy = start("unbuildable", "--concurrency", "2")
    assert proxy.process.wait(PATIENCE) == 1
    log = proxy.said()
    assert "the access log cannot be opened" in log
    assert "cannot start with this configuration: stopping" in log
    assert "starting another one" not in log


def test_workers_that_keep_dying_are_started_again_more_and_more_slowly(start: Callable[..., Running]) -> None:
    proxy = start("dies", "--concurrency", "1")
    eventually(lambda: "starting another one in 0.20 s (restart 4)" in proxy.said())
    assert proxy.admin("/ready")[0] == 503
    assert "another one now (restart 1)" in proxy.said()
    os.kill(proxy.pid, signal.SIGTERM)
    assert proxy.process.wait(PATIENCE) == 0


def test_workers_that_wait_for_something_are_not_ready_and_can_be_stopped(start: Callable[..., Running]) -> None:
    proxy = start("waits", "--concurrency", "1")
    eventually(lambda: "started: " in proxy.said())
    eventually(lambda: proxy.admin("/ready") == (503, "INITIALIZING"))
    assert json.loads(proxy.admin("/init_dump")[1])["unready_targets_dumps"][0]["name"] == "worker 0"
    os.kill(proxy.pid, signal.SIGTERM)
    assert proxy.process.wait(PATIENCE) == 0


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False
