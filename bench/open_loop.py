"""An open-loop generator: sends by a schedule made beforehand and counts latency from the intended moment.

A closed loop waits for a slow answer before it asks again and so leaves the slow moments out. Here arrivals are a
seeded Poisson process, the same for every target; if no connection is free the request waits, and the wait counts.
Plain sockets and epoll, no event loop: uvloop's timers have a grain of one millisecond, `select` has microseconds.
"""

import ctypes
import gc
import json
import math
import random
import select
import socket
import sys
import time
from contextlib import closing
from typing import Any

PR_SET_TIMERSLACK = 29
DRAIN_SECONDS = 5.0
END_OF_BODY = b".end"


def schedule(rate: float, seconds: float, seed: int) -> list[int]:
    """The moments to send at, in nanoseconds from the start: a Poisson process that is known to have had its mean."""
    source = random.Random(seed)
    return sorted(round(source.uniform(0, seconds) * 1e9) for _ in range(round(rate * seconds)))


def quantiles(values: list[int]) -> dict[str, float]:
    """Latency quantiles in microseconds, by nearest rank."""
    ranked = sorted(values)
    shares = {"p50": 0.50, "p90": 0.90, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    return {name: ranked[max(0, math.ceil(share * len(ranked)) - 1)] / 1000 for name, share in shares.items() if ranked}


class Generator:
    """A set of keep-alive connections, of which each carries one request at a time."""

    def __init__(self, port: int, path: str, connections: int) -> None:
        self.request = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nuser-agent: bench\r\n\r\n".encode()
        self.epoll = select.epoll()
        self.idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
        self.by_descriptor = {connection.fileno(): connection for connection in self.idle}
        self.intended: dict[int, int] = {}
        self.received: dict[int, bytes] = {}
        for connection in self.idle:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setblocking(False)
            self.epoll.register(connection, select.EPOLLIN)
        self.latencies: list[int] = []
        self.errors = 0

    def run(self, moments: list[int]) -> None:
        """Send every request of the schedule and wait, within bounds, for every answer."""
        begin = time.monotonic_ns() + 1_000_000
        last = begin + moments[-1] + round(DRAIN_SECONDS * 1e9)
        sent = 0
        while len(self.latencies) + self.errors < len(moments):
            now = time.monotonic_ns()
            while sent < len(moments) and self.idle and begin + moments[sent] <= now:
                self._send(begin + moments[sent])
                sent += 1
            until = begin + moments[sent] if sent < len(moments) and self.idle else last
            select.select([self.epoll], [], [], max(0.0, (until - time.monotonic_ns()) / 1e9))
            for descriptor, _ in self.epoll.poll(0):
                self._receive(descriptor)
            if now > last or not self.by_descriptor:
                break
        self.errors = len(moments) - len(self.latencies)

    def close(self) -> None:
        """Close what is still open."""
        self.epoll.close()
        for connection in self.by_descriptor.values():
            connection.close()

    def _send(self, intended: int) -> None:
        connection = self.idle.pop()
        descriptor = connection.fileno()
        self.intended[descriptor], self.received[descriptor] = intended, b""
        try:
            connection.send(self.request)
        except OSError:
            self._lose(connection)

    def _receive(self, descriptor: int) -> None:
        connection = self.by_descriptor[descriptor]
        try:
            data = connection.recv(65536)
        except OSError:
            data = b""
        if not data or descriptor not in self.intended:
            self._lose(connection)
            return
        data = self.received[descriptor] + data
        self.received[descriptor] = data
        if data.endswith(END_OF_BODY):
            intended = self.intended.pop(descriptor)
            if data.startswith(b"HTTP/1.1 200"):
                self.latencies.append(time.monotonic_ns() - intended)
            else:
                self.errors += 1
            self.idle.append(connection)

    def _lose(self, connection: socket.socket) -> None:
        """Go on without a connection; the request that it carried is an error."""
        descriptor = connection.fileno()
        self.epoll.unregister(descriptor)
        del self.by_descriptor[descriptor]
        if self.intended.pop(descriptor, None) is not None:
            self.errors += 1
        else:
            self.idle.remove(connection)
        connection.close()


def main(order: dict[str, Any]) -> dict[str, Any]:
    """One run, as `bench.load` ordered it."""
    moments = schedule(order["rate"], order["seconds"], order["seed"])
    with closing(Generator(order["port"], order["path"], order["connections"])) as generator:
        begin = time.monotonic_ns()
        generator.run(moments)
        wall_ns = time.monotonic_ns() - begin
    lat_us = quantiles(generator.latencies)
    return {"requests": len(moments), "errors": generator.errors, "wall_ns": wall_ns, "lat_us": lat_us}


def stay_awake() -> None:
    """No collector pauses, and no waking up 50 us late, which the kernel does to save power."""
    gc.disable()
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)


if __name__ == "__main__":
    stay_awake()
    json.dump(main(json.loads(sys.argv[1])), sys.stdout)
