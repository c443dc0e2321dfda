"""A downstream that speaks HTTP/2 with blocking sockets; many requests at a time, in one thread."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

import h2.config
import h2.connection
import h2.events
import h2.settings

from tests.server.running import PATIENCE
from tests.support.ports import LOOPBACK

GOAWAY = 7


@dataclass(slots=True)
class _Stream:
    unsent: bytes
    sent: bool = False
    status: int = 0
    body: bytearray | None = None
    over: bool = False


class H2Client:
    """One connection. Raises ConnectionError where a response breaks off."""

    def __init__(self, port: int, window: int = 1 << 24, tls: ssl.SSLContext | None = None) -> None:
        self._socket = socket.create_connection((LOOPBACK, port), timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self._socket = tls.wrap_socket(self._socket, server_hostname="a")
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="latin-1"))
        self._h2.local_settings = h2.settings.Settings(
            client=True, initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
        )
        self._h2.initiate_connection()
        if window > 65_535:
            self._h2.increment_flow_control_window(window - 65_535)
        self._streams: dict[int, _Stream] = {}
        self._goaway: int | None = None
        self._incoming = b""
        self._flush()

    def __enter__(self) -> H2Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        return self.finish(self.begin(method, path, body))

    def begin(self, method: str, path: str, body: bytes = b"", *fields: tuple[str, str]) -> int:
        number = self._h2.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "http"), (":authority", "a"), (":path", path)]
        if body:
            head.append(("content-length", str(len(body))))
        self._h2.send_headers(number, [*head, *fields], end_stream=not body)
        self._streams[number] = _Stream(body, sent=not body, body=bytearray())
        self._send_bodies()
        return number

    def reset(self, number: int) -> None:
        self._h2.reset_stream(number, 8)
        self._streams[number].over = self._streams[number].sent = True
        self._flush()

    def finish(self, number: int) -> tuple[int, bytes]:
        stream = self._streams[number]
        while not stream.over:
            self._receive()
        assert stream.body is not None
        return stream.status, bytes(stream.body)

    def wait_for_goaway(self) -> int:
        """The error code of the GOAWAY that ends the connection."""
        while self._goaway is None:
            self._receive()
        return self._goaway

    def _receive(self) -> None:
        data = self._socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the connection ended")
        self._incoming += data
        while len(self._incoming) >= 9:
            size = 9 + int.from_bytes(self._incoming[:3], "big")
            if len(self._incoming) < size:
                break
            frame, self._incoming = self._incoming[:size], self._incoming[size:]
            if frame[3] == GOAWAY:  # h2 would not read what comes after it
                self._goaway = int.from_bytes(frame[13:17], "big")
                continue
            for event in self._h2.receive_data(frame):
                self._on(event)
        self._send_bodies()

    def _on(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived():
                self._streams[event.stream_id].status = int(dict(event.headers)[":status"])
            case h2.events.DataReceived():
                body = self._streams[event.stream_id].body
                assert body is not None
                body += event.data or b""
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                self._streams[event.stream_id].over = True
            case h2.events.StreamReset():
                stream = self._streams[event.stream_id]
                if not stream.over:
                    raise ConnectionError(f"stream {event.stream_id} was reset: {event.error_code}")
                stream.sent = True
            case _:
                pass

    def _send_bodies(self) -> None:
        for number, stream in self._streams.items():
            while not stream.sent:
                size = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size)
                if size <= 0:
                    break
                piece, stream.unsent = stream.unsent[:size], stream.unsent[size:]
                stream.sent = not stream.unsent
                self._h2.send_data(number, piece, end_stream=stream.sent)
        self._flush()

    def _flush(self) -> None:
        self._socket.sendall(self._h2.data_to_send())
