"""The upstream of the TCP scenarios: each ask is 64 bytes and says how many bytes it wants back.

Plain sockets and epoll rather than a framework: it shares a CPU with the generator, and a slow upstream lets the proxy
sleep between any two pieces, which is not the traffic that is to be measured.
"""

import select
import socket
import struct
import sys

ASK = 64
LENGTH = struct.Struct("!Q56x")
PIECE = memoryview(bytes(1 << 20))
AT_ONCE = 64 << 10

assert LENGTH.size == ASK


def ask(length: int) -> bytes:
    """The message that wants `length` bytes back."""
    return LENGTH.pack(length)


class Answerer:
    """One thread, level-triggered: a connection either waits for asks or for room to send."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self.port: int = self._listener.getsockname()[1]
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._connections: dict[int, socket.socket] = {}
        self._asked: dict[int, bytes] = {}
        self._owed: dict[int, int] = {}
        self._blocked: set[int] = set()

    def serve(self) -> None:
        """Until killed."""
        while True:
            self.turn()

    def turn(self) -> None:
        """Serve whoever is ready."""
        for number, event in self._epoll.poll():
            if number == self._listener.fileno():
                self._accept()
                continue
            try:
                if event & select.EPOLLOUT:
                    self._send(number)
                else:
                    self._receive(number)
            except OSError:
                self._forget(number)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[connection.fileno()] = connection
        self._epoll.register(connection, select.EPOLLIN)

    def _receive(self, number: int) -> None:
        data = self._connections[number].recv(AT_ONCE)
        if not data:
            self._forget(number)
            return
        data = self._asked.pop(number, b"") + data
        whole = len(data) - len(data) % ASK
        if whole < len(data):
            self._asked[number] = data[whole:]
        self._owed[number] = sum(length for (length,) in LENGTH.iter_unpack(data[:whole]))
        self._send(number)

    def _send(self, number: int) -> None:
        connection, owed = self._connections[number], self._owed[number]
        try:
            while owed:
                owed -= connection.send(PIECE[:owed])
        except BlockingIOError:
            pass
        self._owed[number] = owed
        if bool(owed) != (number in self._blocked):
            self._blocked ^= {number}
            self._epoll.modify(number, select.EPOLLOUT if owed else select.EPOLLIN)

    def _forget(self, number: int) -> None:
        self._asked.pop(number, None)
        self._owed.pop(number, None)
        self._blocked.discard(number)
        self._connections.pop(number).close()


if __name__ == "__main__":
    Answerer(int(sys.argv[1])).serve()
