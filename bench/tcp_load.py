"""The load of the TCP scenarios: asks of 64 bytes, each answered with 64 bytes (ping-pong) or with a stream (bulk)."""

import json
import math
import select
import socket
import sys
import time

from bench.scenarios import MB, Traffic
from bench.tcp_answerer import ASK, ask

SILENCE_SECONDS = 20.0
AT_ONCE = 256 << 10


class Way:
    """One connection and what it still has to do."""

    def __init__(self, port: int, asks: int, length: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SILENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.message, self.length = ask(length), length
        self.asks, self.missing = asks, 0

    def ask(self) -> None:
        """The next ask is small and nothing else is under way: it never blocks."""
        self.asks -= 1
        self.missing = self.length
        self.socket.sendall(self.message)

    def receive(self, buffer: bytearray) -> bool:
        """Take what is there; false when there is nothing more to do."""
        received = self.socket.recv_into(buffer)
        self.missing -= received
        if self.missing > 0:
            return received > 0
        if not self.asks or not received:
            return False
        self.ask()
        return True


def shares(requests: int, connections: int) -> list[int]:
    """The requests of each connection, as equal as can be; nobody comes for nothing."""
    each, more = divmod(requests, connections)
    return [share for share in (each + (index < more) for index in range(connections)) if share]


def run(port: int, requests: int, connections: int, traffic: Traffic) -> dict[str, int]:
    """Do all of it; what is missing at the end, or comes for nothing, is an error."""
    begin = time.monotonic_ns()
    parts = shares(requests, connections)
    if traffic is Traffic.BULK:
        ways = [Way(port, 1, share * MB) for share in parts]
    else:
        ways = [Way(port, share, ASK) for share in parts]
    _drive(ways)
    unit = MB if traffic is Traffic.BULK else ASK
    errors = sum(way.asks + math.ceil(abs(way.missing) / unit) for way in ways)
    for way in ways:
        way.socket.close()
    return {"requests": requests, "errors": min(requests, errors), "wall_ns": time.monotonic_ns() - begin}


def _drive(ways: list[Way]) -> None:
    """Serve whoever has an answer, until all are done or nothing comes any more."""
    epoll = select.epoll()
    open_ones = {way.socket.fileno(): way for way in ways}
    for number, way in open_ones.items():
        epoll.register(number, select.EPOLLIN)
        way.ask()
    buffer = bytearray(AT_ONCE)
    while open_ones:
        ready = epoll.poll(SILENCE_SECONDS)
        if not ready:
            break
        for number, _ in ready:
            try:
                more = open_ones[number].receive(buffer)
            except OSError:
                more = False
            if not more:
                epoll.unregister(number)
                del open_ones[number]
    epoll.close()


if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    order["traffic"] = Traffic[order["traffic"]]
    print(json.dumps(run(**order)))
