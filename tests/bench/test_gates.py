"""The gates read strace's table, and ask a Python process about its collector while it serves."""

import os
import sys
import time
from pathlib import Path

import pytest

from bench import gates
from bench.process import Child

TABLE = """% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 61.41    0.013371           5      2400           sendto
 30.05    0.006543           1      4813      2405 readv
  8.54    0.001859           3       614           epoll_wait
------ ----------- ----------- --------- --------- ----------------
100.00    0.021773           2      7827      2405 total
"""

SERVING = """
import asyncio, gc, uvloop
gc.disable()
async def main():
    kept = []
    while True:
        await asyncio.sleep(0.01)
        with open({flag!r}) as file:
            wish = file.read()
        if wish == "collect": gc.collect()
        if wish == "grow": kept.append([object() for _ in range(1000)])
uvloop.run(main())
"""


def test_strace_table() -> None:
    assert gates.parse_strace(TABLE) == {"sendto": 2400, "readv": 4813, "epoll_wait": 614}


def test_nothing_traced() -> None:
    assert gates.parse_strace("") == {}


@pytest.mark.parametrize(
    ("call", "is_data"),
    [
        *((call, True) for call in ("read", "readv", "recvfrom", "recvmsg", "write", "writev", "sendto", "splice")),
        *((call, False) for call in ("epoll_wait", "getsockopt", "accept4", "readlink", "sendfile_at")),
    ],
)
def test_data_syscalls_are_those_that_move_bytes(call: str, is_data: bool) -> None:
    assert bool(gates.DATA_SYSCALLS.fullmatch(call)) is is_data


def reading(collections: int, blocks: int) -> list[gates.Reading]:
    return [{"collections": collections, "blocks": blocks}]


def test_blocks_that_connections_leave_are_not_blamed_on_requests() -> None:
    found = gates.judge_allocations(reading(5, 1000), reading(5, 1080), reading(5, 1165))
    assert found == {"gc_runs": 0, "blocks_grown": 5, "blocks_left_by_a_connection": 10.0, "ok": True}


def test_growth_with_requests_and_collector_runs_are_missed_gates() -> None:
    assert gates.judge_allocations(reading(5, 1000), reading(5, 1000), reading(5, 11_000))["ok"] is False
    assert gates.judge_allocations(reading(5, 1000), reading(5, 1000), reading(6, 1000))["ok"] is False


def test_probe_counts_collections_and_blocks(tmp_path: Path) -> None:
    """Under uvloop, as the workers are; the answer comes while the loop sleeps."""
    flag = tmp_path / "wish"
    flag.write_text("")
    path = os.pathsep.join([str(gates.PROBE), os.environ.get("PYTHONPATH", "")])
    env = {"PYTHONPATH": path, "BENCH_PROBE": str(tmp_path)}
    child = Child([sys.executable, "-c", SERVING.format(flag=str(flag))], 0, tmp_path / "log", env=env)
    try:
        time.sleep(1.0)  # a signal before the handler is there would end the process
        first = gates.ask(child.pid, tmp_path)
        again = gates.ask(child.pid, tmp_path)
        assert again["collections"] == first["collections"]
        assert abs(again["blocks"] - first["blocks"]) < 100
        flag.write_text("collect")
        time.sleep(0.3)
        flag.write_text("")
        assert gates.ask(child.pid, tmp_path)["collections"] > first["collections"]
        flag.write_text("grow")
        time.sleep(0.3)
        assert gates.ask(child.pid, tmp_path)["blocks"] > first["blocks"] + 1000
    finally:
        child.stop()
