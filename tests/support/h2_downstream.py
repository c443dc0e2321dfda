"""A downstream that speaks HTTP/2 to a proxy, and tells what came back as if it had been HTTP/1.

Requests may be written as HTTP/1 bytes, which are translated, or field by field, right or wrong.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from h2.errors import ErrorCodes

from tests.support.downstream import Abort, AwaitReply, Done, Exchange, HalfClose, Patience, Wait
from tests.support.ports import LOOPBACK
from tests.support.wire import Message, cut_request

WINDOW = 1 << 24


@dataclass(frozen=True, slots=True)
class Stream:
    """A request as it is to be sent, pseudo-header fields and all. `data` None ends it with the head."""

    fields: tuple[tuple[str, str], ...]
    data: bytes | None = None
    trailers: tuple[tuple[str, str], ...] = ()
    ends: bool = True
    reset: bool = False


H2Piece = bytes | Stream | Wait | AwaitReply | HalfClose | Abort


@dataclass(slots=True)
class _Reply:
    """What has come on one stream."""

    method: str
    head: bytes = b""
    body: bytes = b""
    trailers: bytes = b""
    over: bool = False


class H2Downstream:
    """One connection, with the interface of `tests.support.downstream.Downstream`."""

    def __init__(self, port: int, patience: Patience) -> None:
        self._sock = socket.create_connection((LOOPBACK, port), timeout=patience.reply)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._patience = patience
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                header_encoding="latin-1", validate_outbound_headers=False, normalize_outbound_headers=False
            )
        )
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(WINDOW)
        self._streams: dict[int, _Reply] = {}
        self.exchange = Exchange(local_port=self._sock.getsockname()[1])
        self._flush()

    def send(self, pieces: Sequence[H2Piece]) -> None:
        for piece in pieces:
            match piece:
                case bytes():
                    self._send(translated(piece))
                case Stream():
                    self._send(piece)
                case Wait(seconds):
                    time.sleep(seconds)
                case AwaitReply(count):
                    wanted = self._count() + count
                    self._read(lambda wanted=wanted: self._count() >= wanted, self._patience.reply)  # type: ignore[misc]
                case HalfClose():
                    with contextlib.suppress(OSError):
                        self._sock.shutdown(socket.SHUT_WR)
                case Abort():
                    self.close()

    def finish(self, replies: int, *, closes: bool) -> Exchange:
        """Read until `replies` final responses are there and the end of the connection is known."""
        exchange = self.exchange
        self._read(lambda: len(exchange.replies) >= replies, self._patience.reply)
        exchange.timed_out = len(exchange.replies) < replies and exchange.end == "open"
        if closes:
            self._read(lambda: False, self._patience.close)
        for reply in self._streams.values():
            if not reply.over and reply.head:
                exchange.replies.append(_message(reply, complete=False))
        return exchange

    def close(self) -> None:
        self._sock.close()

    def _send(self, stream: Stream) -> None:
        number = self._h2.get_next_available_stream_id()
        method = dict(stream.fields).get(":method", "GET")
        self._streams[number] = _Reply(method)
        alone = stream.data is None and not stream.trailers
        self._h2.send_headers(number, list(stream.fields), end_stream=alone and stream.ends)
        self._flush()
        if stream.data:
            for at in range(0, len(stream.data), 16_384):
                piece = stream.data[at : at + 16_384]
                last = at + len(piece) == len(stream.data) and stream.ends and not stream.trailers
                self._h2.send_data(number, piece, end_stream=last)
        elif stream.data is not None and stream.ends and not stream.trailers:
            self._h2.end_stream(number)
        if stream.trailers:
            self._h2.send_headers(number, list(stream.trailers), end_stream=True)
        if stream.reset:
            self._h2.reset_stream(number, ErrorCodes.CANCEL)
        self._flush()

    def _flush(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.settimeout(self._patience.reply)
            self._sock.sendall(self._h2.data_to_send())

    def _count(self) -> int:
        return len(self.exchange.replies) + len(self.exchange.interims)

    def _read(self, done: Done, patience: float) -> None:
        deadline = time.monotonic() + patience
        while not done() and self.exchange.end == "open":
            left = deadline - time.monotonic()
            if left <= 0 or self._sock.fileno() < 0:
                return
            self._sock.settimeout(left)
            try:
                chunk = self._sock.recv(262_144)
            except TimeoutError:
                return
            except OSError:
                self.exchange.end = "reset"
                return
            if not chunk:
                self.exchange.end = "closed"
                return
            try:
                events = self._h2.receive_data(chunk)
            except h2.exceptions.ProtocolError as error:
                self.exchange.rest = f"broken: {error}".encode()
                return
            for event in events:
                self._on(event)
            self._flush()

    def _on(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.InformationalResponseReceived():
                self.exchange.interims.append(Message(_head(event.headers), b"", "none", b"", True))
            case h2.events.ResponseReceived():
                self._streams[event.stream_id].head = _head(event.headers)
            case h2.events.DataReceived():
                self._streams[event.stream_id].body += event.data or b""
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived():
                lines = "".join(f"{name}: {value}\r\n" for name, value in event.headers)
                self._streams[event.stream_id].trailers = lines.encode("latin-1")
            case h2.events.StreamEnded():
                self._over(event.stream_id, complete=True)
            case h2.events.StreamReset():
                reply = self._streams[event.stream_id]
                if not reply.over:
                    name = ErrorCodes(event.error_code).name
                    reply.head = reply.head or f"RESET {name}\r\n\r\n".encode()
                    reply.trailers += f"reset: {name}\r\n".encode()
                    self._over(event.stream_id, complete=False)
            case h2.events.ConnectionTerminated():
                self.exchange.rest += b"GOAWAY %d\n" % event.error_code
            case _:
                pass

    def _over(self, number: int, *, complete: bool) -> None:
        reply = self._streams[number]
        reply.over = True
        self.exchange.replies.append(_message(reply, complete=complete))


def translated(request: bytes) -> Stream:
    """An HTTP/1 request as one of HTTP/2: chunks become the body, and hop-by-hop fields are left out."""
    cut = cut_request(request)
    assert cut is not None, request
    message = cut[0]
    method, target, _ = message.start_line.split(" ", 2)
    fields = [(name.lower(), value) for name, value in message.fields]
    host = next((value for name, value in fields if name == "host"), None)
    pseudo = [(":method", method), (":scheme", "http")]
    if host is not None:
        pseudo.append((":authority", host))
    pseudo.append((":path", target))
    left_out = ("host", "connection", "transfer-encoding")
    rest = [(name, value) for name, value in fields if name not in left_out]
    body = message.body if message.framing != "none" else None
    trailers = [line.partition(": ") for line in message.trailers.decode("latin-1").split("\r\n") if line]
    return Stream((*pseudo, *rest), body, tuple((name.lower(), value) for name, _, value in trailers))


def _head(headers: object) -> bytes:
    pairs = list(headers)  # type: ignore[call-overload]
    lines = [f"HTTP/2 {pairs[0][1]}", *(f"{name}: {value}" for name, value in pairs[1:]), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def _message(reply: _Reply, *, complete: bool) -> Message:
    return Message(reply.head, reply.body, "none", reply.trailers, complete)
