"""The lab of one scenario: upstream, control and all targets, started once and measured in turn on the same CPU."""

import json
import os
import socket
import sys
import time
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from bench import load, process, targets
from bench.config import certificates, haproxy, nginx
from bench.config.ports import Ports, free_ports
from bench.first_answer import Unanswered, ask_once
from bench.pace import Pace
from bench.process import Child, ProcessFailed
from bench.sample import CONTROL, DIRECT, Sample
from bench.scenarios import Scenario
from bench.targets import TARGETS, Cpu


@dataclass(frozen=True, slots=True)
class Bench:
    """The workplace: binaries by target name, where configs are kept, where logs may grow, and two CPUs.

    On a machine with one CPU the two are the same.
    """

    binaries: dict[str, Path]
    results: Path
    scratch: Path
    proxy_cpu: int
    load_cpu: int
    pace: Pace


@dataclass(frozen=True, slots=True)
class Running:
    """A target that listens; a pair of proxies is one target, and `direct`, the upstream itself, has no process."""

    name: str
    children: tuple[Child, ...]
    ports: Ports

    def pids(self) -> list[int]:
        """The processes of the target."""
        return [pid for child in self.children for pid in process.tree(child.pid)]


class Lab:
    """A context manager: inside it everything runs, after it nothing does."""

    def __init__(self, bench: Bench, scenario: Scenario, names: Iterable[str], env: dict[str, str] | None = None):
        self.bench, self.scenario, self.env = bench, scenario, env or {}
        self.directory = bench.results / scenario.name
        self.running: dict[str, Running] = {}
        self.failed: dict[str, str] = {}
        self._names = list(names)
        self._children: list[Child] = []
        self._upstream_port = 0

    def __enter__(self) -> "Lab":
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.scenario.needs_certificates:
            certificates.make(self.bench.scratch)
        try:
            self._start_upstream()
            if "haproxy" in self.bench.binaries:
                self._start_control()
            for name in self._names:
                self._start(name)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._children):
            child.stop()

    def drop(self, name: str, reason: str) -> None:
        """Go on without a target."""
        self.failed[name] = reason
        self.running.pop(name, None)

    def run(self, name: str, requests: int, seed: int = 1) -> Sample:
        """Send one fixed load to one target and account for its CPU time."""
        target = self.running[name]
        pids = target.pids()
        before = targets.cpu(pids, name)
        if self.scenario.rate:
            seconds = requests / self.scenario.rate
            result = load.at_rate(self.scenario, target.ports.listen, seconds, self.bench.load_cpu, seed)
        else:
            scenario = self.scenario.relayed if name in (CONTROL, DIRECT) else self.scenario
            result = load.closed(scenario, target.ports.listen, requests, self.bench.load_cpu, self.bench.scratch)
        time.sleep(0.02)  # the last connections close after the generator has ended
        spent = targets.cpu(pids, name) - before
        if target.pids() != pids:
            raise ProcessFailed("its processes changed during a run")
        return self._sample(target, result, spent)

    def _sample(self, target: Running, result: load.Load, spent: Cpu) -> Sample:
        pss = sum(process.memory_kb(pid)["pss"] for pid in target.pids())
        log = self._access_log(target.name)
        logged = log.stat().st_size if target.children else 0
        if target.children:
            os.truncate(log, 0)
        return Sample(
            target=target.name,
            requests=result.requests,
            errors=result.errors,
            cpu_ns_data=spent.data,
            cpu_ns_total=spent.total,
            wall_ns=result.wall_ns,
            pss_kb=pss,
            log_bytes=logged,
            lat_us=result.lat_us,
        )

    def _access_log(self, name: str) -> Path:
        return self.bench.scratch / f"{name}.access.log"

    def _start_upstream(self) -> None:
        (self._upstream_port,) = free_ports(1)
        ports = Ports(self._upstream_port, 0, 0)
        if self.scenario.is_tcp:
            command = [sys.executable, "-m", "bench.tcp_answerer", str(ports.listen)]
        else:
            (self.bench.scratch / "body").write_text(nginx.body(self.scenario))
            text = nginx.render_upstream(self.scenario, ports.listen, self.bench.scratch)
            config = self._write("upstream.conf", text)
            command = TARGETS["nginx"].command(self.bench.binaries["upstream"], config)
        child = self._spawn("upstream", command, self.bench.load_cpu)
        self.running[DIRECT] = Running(DIRECT, (), ports)
        self._wait(child, ports.listen, self.scenario.relayed)

    def _start_control(self) -> None:
        ports = Ports.choose(self._upstream_port)
        config = self._write("control.cfg", haproxy.render_control(ports))
        command = TARGETS["haproxy"].command(self.bench.binaries["haproxy"], config)
        child = self._spawn(CONTROL, command, self.bench.proxy_cpu)
        self._wait(child, ports.listen, self.scenario.relayed)
        self.running[CONTROL] = Running(CONTROL, (child,), ports)

    def _start(self, name: str) -> None:
        """The hop next to the upstream first; only the way through all of them has to answer."""
        children: list[Child] = []
        ports = Ports(self._upstream_port, 0, 0)
        try:
            for place, hop in reversed(list(enumerate(self.scenario.hops))):
                ports = Ports.choose(ports.listen)
                children.append(self._start_hop(name, f"{name}-{place + 1}" if place else name, hop, ports))
                if place:
                    self._wait_for_port(children[-1], ports.listen)
            self._wait(children[-1], ports.listen)
            if name == "pyproxy":
                self._demand_fast_engines(ports.admin)
            self.running[name] = Running(name, tuple(children), ports)
        except ProcessFailed as error:
            self.failed[name] = str(error)

    def _start_hop(self, name: str, title: str, hop: Scenario, ports: Ports) -> Child:
        target = TARGETS[name]
        config = self._write(f"{title}.{target.config}", target.render(hop, ports, self._access_log(title)))
        return self._spawn(title, target.command(self.bench.binaries[name], config), self.bench.proxy_cpu)

    def _spawn(self, name: str, command: list[str], cpu: int) -> Child:
        log = self.directory / f"{name}.log"
        child = Child(command, cpu, log, stdout=self._access_log(name), env=self.env)
        self._children.append(child)
        return child

    def _write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        return path

    def _demand_fast_engines(self, admin: int) -> None:
        """A parser that silently fell back to its pure twin would be measured as if it were the product."""
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/server_info", timeout=10) as response:
            text = response.read().decode()
        self._write("pyproxy.server_info.json", text)
        build = json.loads(text).get("build", {})
        if (build.get("http1"), build.get("http2")) != ("httptools", "nghttp2") or not str(
            build.get("loop")
        ).startswith("uvloop"):
            raise ProcessFailed(f"it did not load httptools, nghttp2 and uvloop: {build}")

    def _wait(self, child: Child, port: int, scenario: Scenario | None = None) -> None:
        """Until the scenario's own request is answered as it should be."""
        deadline = time.monotonic() + process.READY_SECONDS
        problem = "did not listen"
        while time.monotonic() < deadline:
            child.check()
            try:
                ask_once(scenario or self.scenario, port, self.bench.scratch)
            except Unanswered as error:
                problem = str(error)
                time.sleep(0.05)
            else:
                return
        raise ProcessFailed(problem)

    def _wait_for_port(self, child: Child, port: int) -> None:
        """A proxy in the middle is reached through the one before it; that it listens is enough to begin with."""
        deadline = time.monotonic() + process.READY_SECONDS
        while time.monotonic() < deadline:
            child.check()
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", port)):
                    return
            time.sleep(0.05)
        raise ProcessFailed("the second proxy did not listen")
