"""Children are pinned, measured exactly, and never outlive the one who started them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import process
from bench.process import Child, ProcessFailed

FAMILY = "import os, time; os.fork(); time.sleep(60)"
BUSY = "t = __import__('time'); [None for _ in iter(lambda: t.process_time() < 0.2, False)]; t.sleep(60)"


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Child]]:
    children: list[Child] = []

    def run(code: str) -> Child:
        children.append(Child([sys.executable, "-c", code], 0, tmp_path / "log"))
        return children[-1]

    yield run
    for child in children:
        child.stop()


def test_stop_ends_the_whole_family(start: Callable[[str], Child]) -> None:
    child = start(FAMILY)
    eventually(lambda: len(process.tree(child.pid)) == 2)
    family = process.tree(child.pid)
    child.stop()
    eventually(lambda: not any(map(alive, family)))


def test_stop_ends_a_child_that_ignores_it(start: Callable[[str], Child], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "STOP_SECONDS", 0.2)
    child = start(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('x', flush=True); time.sleep(60)"
    )
    eventually(lambda: "x" in child.log.read_text())
    child.stop()
    assert not alive(child.pid)


def test_children_die_with_a_killed_harness(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from bench.process import Child\n"
        f"child = Child([sys.executable, '-c', 'import time; time.sleep(60)'], 0, Path({str(tmp_path / 'log')!r}))\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as harness:
        assert harness.stdout is not None
        pid = int(harness.stdout.readline())
        eventually(lambda: process.name(pid).startswith("python"))
        harness.send_signal(signal.SIGKILL)
    eventually(lambda: not alive(pid))


def test_cpu_clock_sees_what_was_burnt(start: Callable[[str], Child]) -> None:
    child = start(BUSY)
    eventually(lambda: process.process_ns(child.pid) > 200_000_000)
    spent = process.process_ns(child.pid)
    assert process.thread_ns(child.pid, child.pid) == pytest.approx(spent, rel=0.2)


def test_child_is_pinned(start: Callable[[str], Child]) -> None:
    child = start("import time; time.sleep(60)")
    eventually(lambda: os.sched_getaffinity(child.pid) == {0})


def test_memory_is_read(start: Callable[[str], Child]) -> None:
    child = start("import time; time.sleep(60)")
    eventually(lambda: process.name(child.pid).startswith("python"))
    found = process.memory_kb(child.pid)
    assert set(found) == {"rss", "pss", "private_dirty"}
    assert found["rss"] >= found["pss"] > 0


def test_a_child_that_died_is_told_with_its_last_words(start: Callable[[str], Child]) -> None:
    child = start("raise SystemExit('no such thing')")
    eventually(lambda: not alive(child.pid))
    with pytest.raises(ProcessFailed, match="exit status 1: no such thing"):
        child.check()
