"""The gates: figures that noise cannot move - syscalls, collector runs, allocated blocks, idle memory.

They have no interval and need no second run: either a small request costs four data syscalls or it does not.
"""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import process, scrape, targets, tls_memory
from bench.lab import Bench, Lab
from bench.process import ProcessFailed
from bench.scenarios import DEMO, SMALL

PROBE = Path(__file__).with_name("probe")
PROBE_SIGNAL = signal.SIGRTMIN + 5
DATA_SYSCALLS = re.compile(r"(p?readv?|p?writev?|pread64|pwrite64)(v2)?|recv(from|msg|mmsg)?|send(to|msg|mmsg)?|splice")
FEW, MANY = 200, 1200
REQUESTS = 10_000
# A hundredth of a block per request: caches that settle, not a leak.
BLOCKS_ALLOWED = REQUESTS // 100
IDLE_SECONDS = 3.0

Reading = dict[str, int]
Say = Callable[[str], None]


def run(bench: Bench, names: list[str], say: Say) -> dict[str, Any]:
    """Every gate for every target that it has a meaning for."""
    found: dict[str, Any] = {}
    for title, gate in (
        ("syscalls", _syscalls),
        ("allocations", _allocations),
        ("memory", _memory),
        ("tls memory", tls_memory.gate),
        ("scrape", scrape.gate),
    ):
        say(title)
        found[title] = gate(bench, names)
    return found


def _syscalls(bench: Bench, names: list[str]) -> dict[str, Any]:
    """Per request, from the difference of two counts: what connections cost cancels."""
    found: dict[str, Any] = {}
    with Lab(bench, SMALL, names) as lab:
        found.update({name: {"error": reason} for name, reason in lab.failed.items()})
        for name in [name for name in names if name in lab.running]:
            try:
                found[name] = _syscalls_of(lab, name)
            except (OSError, ProcessFailed) as error:
                found[name] = {"error": str(error)}
    return found


def _syscalls_of(lab: Lab, name: str) -> dict[str, Any]:
    lab.run(name, MANY)
    few, many = _trace(lab, name, FEW), _trace(lab, name, MANY)
    per_request = {call: (many.get(call, 0) - few.get(call, 0)) / (MANY - FEW) for call in sorted({*few, *many})}
    data = sum(count for call, count in per_request.items() if DATA_SYSCALLS.fullmatch(call))
    calls = {call: round(count, 3) for call, count in per_request.items() if abs(count) >= 0.005}
    return {"data": round(data, 3), "calls": calls, "ok": round(data, 2) == 4.0}


def _trace(lab: Lab, name: str, requests: int) -> dict[str, int]:
    """Count the syscalls of the data path while it serves some requests."""
    report = lab.bench.scratch / "strace"
    pids = lab.running[name].pids()
    attach = [part for thread in targets.data_threads(pids, name) for part in ("-p", str(thread))]
    tracer = subprocess.Popen(["strace", "-c", "-o", str(report), *attach], stderr=subprocess.DEVNULL)
    try:
        _until(lambda: all(_traced(thread) for thread in attach[1::2]), "strace did not attach")
        sample = lab.run(name, requests)
        if sample.errors:
            raise ProcessFailed(f"{sample.errors} errors under strace")
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(30)
    return parse_strace(report.read_text())


def _traced(thread: str) -> bool:
    status = Path(f"/proc/{thread}/status").read_text()
    return "TracerPid:\t0\n" not in status


def parse_strace(table: str) -> dict[str, int]:
    """The calls column of `strace -c`; the errors column before the name is there only if there were any."""
    rows = (line.split() for line in table.splitlines())
    return {row[-1]: int(row[3]) for row in rows if len(row) in (5, 6) and row[0][0].isdigit() and row[-1] != "total"}


def _allocations(bench: Bench, names: list[str]) -> dict[str, Any]:
    """Collector runs and growth of allocated blocks in pyproxy's data path over 10,000 requests, after as many."""
    if "pyproxy" not in names:
        return {}
    env = {"PYTHONPATH": str(PROBE), "BENCH_PROBE": str(bench.scratch)}
    with Lab(bench, SMALL, ["pyproxy"], env) as lab:
        if lab.failed:
            return {"pyproxy": {"error": lab.failed["pyproxy"]}}
        pids = lab.running["pyproxy"].pids()
        parents, _ = targets.control_plane(pids, "pyproxy")
        workers = [pid for pid in pids if pid not in parents]
        readings = []
        for requests in (REQUESTS, FEW, FEW + REQUESTS):
            lab.run("pyproxy", requests)
            readings.append([ask(pid, bench.scratch) for pid in workers])
    return {"pyproxy": judge_allocations(*readings)}


def judge_allocations(warm: list[Reading], few: list[Reading], many: list[Reading]) -> dict[str, Any]:
    """What connections leave behind cancels in the difference of two counts of requests, and is told apart."""
    runs = _total(many, "collections") - _total(few, "collections")
    per_run = _total(few, "blocks") - _total(warm, "blocks")
    grown = _total(many, "blocks") - _total(few, "blocks") - per_run
    return {
        "gc_runs": runs,
        "blocks_grown": grown,
        "blocks_left_by_a_connection": round(per_run / SMALL.connections, 1),
        "ok": runs == 0 and grown <= BLOCKS_ALLOWED,
    }


def _total(readings: list[Reading], key: str) -> int:
    return sum(reading[key] for reading in readings)


def ask(pid: int, directory: Path) -> Reading:
    """What the probe inside a Python process says at this moment."""
    answer = directory / f"{pid}.probe"
    answer.unlink(missing_ok=True)
    os.kill(pid, PROBE_SIGNAL)
    _until(answer.exists, f"the probe in process {pid} did not answer")
    return dict(json.loads(answer.read_text()))


def _until(condition: Callable[[], bool], problem: str) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            raise ProcessFailed(problem)
        time.sleep(0.02)


def _memory(bench: Bench, names: list[str]) -> dict[str, Any]:
    """Of every process of a target at rest, after a few requests, with a config as a small service has it."""
    chosen = [name for name in names if name in ("pyproxy", "envoy")]
    with Lab(bench, DEMO, chosen) as lab:
        for name in [name for name in chosen if name in lab.running]:
            lab.run(name, 100)
        time.sleep(IDLE_SECONDS)
        found: dict[str, Any] = {name: {"error": reason} for name, reason in lab.failed.items()}
        for name in [name for name in chosen if name in lab.running]:
            each = {process.name(pid): process.memory_kb(pid) for pid in lab.running[name].pids()}
            found[name] = {key: sum(one[key] for one in each.values()) for key in ("rss", "pss", "private_dirty")}
            found[name]["processes"] = each
    if "rss" in found.get("envoy", {}) and "rss" in found.get("pyproxy", {}):
        # Forked processes share most of their pages: the sum of Rss would count those once for each of them.
        found["pyproxy"]["ok"] = found["pyproxy"]["pss"] <= found["envoy"]["rss"]
    return found
