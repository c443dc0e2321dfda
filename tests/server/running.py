"""A proxy as a process of its own, and the patience to wait for what it does."""

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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.support.process import ROOT

PATIENCE = 60.0


class Running:
    """A proxy that was started as a process of its own, with its application log in a file."""

    def __init__(self, directory: Path, command: Sequence[str], output: Path | None = None, **environment: str) -> None:
        self.log = directory / "app.log"
        self.output = output or directory / "output"
        self._address = directory / "admin"
        flags = ["--log-path", str(self.log), "--admin-address-path", str(self._address)]
        with self.output.open("wb") as sink:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command, *flags],
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @classmethod
    def stand_in(cls, directory: Path, how: str, *flags: str, admin: str = "") -> Running:
        return cls(directory, ["tests.server.stand_in", how, *flags], STAND_IN_ADMIN=admin)

    @classmethod
    def real(cls, directory: Path, bootstrap: Any, *flags: str) -> Running:
        file = directory / "bootstrap.json"
        file.write_text(json.dumps(bootstrap))
        return cls(directory, ["pyproxy", "-c", str(file), "--file-flush-interval-msec", "10", *flags])

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    @property
    def pid(self) -> int:
        return self.process.pid

    def admin(self, path: str, method: str = "GET") -> tuple[int, str]:
        connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
        connection.sock = self._connect()
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode().strip()
        finally:
            connection.close()

    def admin_address(self) -> str:
        return self._address.read_text()

    def _connect(self) -> socket.socket:
        address = self.admin_address()
        if address.startswith("/"):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(PATIENCE)
            sock.connect(address)
            return sock
        host, _, port = address.partition(":")
        return socket.create_connection((host, int(port)), timeout=PATIENCE)

    def ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
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
