"""A proxy under test as a child process: Envoy or pyproxy, same flags, stopped with its whole group."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests.support.ports import LOOPBACK

ROOT = Path(__file__).resolve().parents[2]
START_PATIENCE = 30.0
STOP_PATIENCE = 5.0
POLL = 0.05


def envoy_command() -> list[str] | None:
    """How to run the real Envoy: env ENVOY_BIN, else the venv that `make test` makes. None when absent."""
    chosen = os.environ.get("ENVOY_BIN")
    path = Path(chosen) if chosen else ROOT / ".oracle" / "bin" / "envoy"
    return [str(path)] if path.exists() else None


def pyproxy_command() -> list[str]:
    """How to run pyproxy. Env ORACLE_SUBJECT puts another binary in its place: with Envoy, the suite tests itself."""
    chosen = os.environ.get("ORACLE_SUBJECT")
    return [chosen] if chosen else [sys.executable, "-m", "pyproxy"]


class ProxyDiedError(Exception):
    """The process ended, or never became ready; carries the end of its log."""


@dataclass(slots=True)
class ProxyProcess:
    """One running proxy. Use `start`; `stop` is safe to call twice."""

    name: str
    log: Path
    admin_port: int
    process: subprocess.Popen[bytes]
    _sink: IO[bytes] = field(repr=False)

    @classmethod
    def start(
        cls, name: str, command: Sequence[str], bootstrap: Path, admin_port: int, extra: Sequence[str] = ()
    ) -> ProxyProcess:
        log = bootstrap.parent / f"{name}.log"
        arguments = ["-c", str(bootstrap), "--concurrency", "1", "--use-dynamic-base-id"]
        arguments += ["--file-flush-interval-msec", "10", *extra]
        sink = log.open("wb")
        process = subprocess.Popen(
            [*command, *arguments], stdout=sink, stderr=subprocess.STDOUT, start_new_session=True, cwd=ROOT
        )
        proxy = cls(name, log, admin_port, process, sink)
        try:
            proxy._wait_until_ready()
        except BaseException:
            proxy.stop()
            raise
        return proxy

    def stop(self) -> None:
        for number, patience in ((signal.SIGTERM, STOP_PATIENCE), (signal.SIGKILL, STOP_PATIENCE)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._sink.close()

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def log_tail(self, lines: int = 8) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])

    def admin(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(LOOPBACK, self.admin_port, timeout=5)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_PATIENCE
        while time.monotonic() < deadline:
            if not self.alive:
                raise ProxyDiedError(f"{self.name} ended with {self.process.returncode}:\n{self.log_tail()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.admin("/ready")[0] == 200:
                    return
            time.sleep(POLL)
        raise ProxyDiedError(f"{self.name} was not ready after {START_PATIENCE:.0f} s:\n{self.log_tail()}")
