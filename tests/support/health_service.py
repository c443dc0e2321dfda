"""A server of grpc.health.v1.Health that plays a script: each check gets the next answer, the last one for ever."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from tests.support.ports import LOOPBACK

SERVING = "serving"
NOT_SERVING = "not serving"
UNIMPLEMENTED = "unimplemented"
"""A head that is also the trailers, with status 12."""
RESET = "reset"
SILENT = "silent"
CLOSE = "close"
LEAVE = "leave"
"""GOAWAY, and the answer all the same."""
PLAIN = "plain"
"""200 OK that is no gRPC."""
NOISY = "noisy"
"""SERVING, and a PING behind it."""
LOADED = "loaded"
"""SERVING, and a report of load in the trailers: half of the CPU for 100 requests a second."""
_LOAD = "CQAAAAAAAOA/MQAAAAAAAFlA"

Fields = list[tuple[bytes, bytes]]


class HealthService:
    """Listens on a loopback port from the beginning to `stop`."""

    def __init__(self, script: Sequence[str]) -> None:
        self._listener = socket.create_server((LOOPBACK, 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self._script = tuple(script)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.asked: list[tuple[Fields, bytes]] = []
        """The head and the body of each check."""
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(sock)
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        # h2 takes nothing any more once it has said GOAWAY, nor after the other end has.
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError), sock:
            _Conversation(self, sock).run()
        self._open.discard(sock)

    def next_answer(self, head: Fields, body: bytes) -> str:
        with self._lock:
            self.asked.append((head, body))
            return self._script[min(len(self.asked), len(self._script)) - 1]


class _Conversation:
    def __init__(self, service: HealthService, sock: socket.socket) -> None:
        self._service = service
        self._sock = sock
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
        self._heads: dict[int, Fields] = {}
        self._bodies: dict[int, bytes] = {}

    def run(self) -> None:
        self._h2.initiate_connection()
        self._sock.sendall(self._h2.data_to_send())
        while data := self._sock.recv(65536):
            for event in self._h2.receive_data(data):
                if not self._on_event(event):
                    return
            self._sock.sendall(self._h2.data_to_send())

    def _on_event(self, event: h2.events.Event) -> bool:
        match event:
            case h2.events.RequestReceived():
                self._heads[event.stream_id] = [(bytes(name), bytes(value)) for name, value in event.headers]
            case h2.events.DataReceived():
                self._bodies[event.stream_id] = self._bodies.get(event.stream_id, b"") + event.data
            case h2.events.StreamEnded():
                number = event.stream_id
                answer = self._service.next_answer(self._heads[number], self._bodies.get(number, b""))
                if answer == CLOSE:
                    return False
                self._answer(number, answer)
        return True

    def _answer(self, number: int, answer: str) -> None:
        if answer == RESET:
            self._h2.reset_stream(number)
        elif answer == UNIMPLEMENTED:
            self._head(number, "application/grpc", ("grpc-status", "12"), end=True)
        elif answer == PLAIN:
            self._head(number, "text/plain", end=True)
        elif answer != SILENT:
            self._head(number, "application/grpc")
            self._h2.send_data(number, b"\0\0\0\0\2\x08" + (b"\2" if answer == NOT_SERVING else b"\1"))
            load = [("endpoint-load-metrics-bin", _LOAD)] if answer == LOADED else []
            self._h2.send_headers(number, [("grpc-status", "0"), *load], end_stream=True)
            if answer == LEAVE:
                self._sock.sendall(self._h2.data_to_send())
                self._h2.close_connection(last_stream_id=number)
            elif answer == NOISY:
                self._h2.ping(b"12345678")

    def _head(self, number: int, content_type: str, *more: tuple[str, str], end: bool = False) -> None:
        self._h2.send_headers(number, [(":status", "200"), ("content-type", content_type), *more], end_stream=end)
