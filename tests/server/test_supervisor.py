from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server.running import PATIENCE, Running, eventually


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
    # The worker that has just been started may have opened its files after this.
    eventually(lambda: proxy.output.read_text().count("reopened") >= 3)


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


def test_orphans_are_reaped(start: Callable[..., Running]) -> None:
    proxy = start("orphans", "--concurrency", "1", "-l", "debug")
    eventually(lambda: "reaped an orphan" in proxy.said())
    eventually(proxy.ready)
    assert "starting another one" not in proxy.said()


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False
