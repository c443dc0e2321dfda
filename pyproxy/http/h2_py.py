"""HTTP/2 sessions on the h2 package: the pure twin of `http.h2_native` (see `http.h2_session`).

It is used where libnghttp2 is not there, and says in tests what the other one should do. It differs in what h2 takes
for an error of the connection: more streams than were allowed, a body that is not as long as it was said to be.
"""

from __future__ import annotations

from collections import deque

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from pyproxy.http import h2_rules
from pyproxy.http.h2_session import (
    DATA,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    HIGH_WATERMARK,
    INTERNAL_ERROR,
    MALFORMED,
    MOST_STREAM_ID,
    NO_ERROR,
    PONG,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    SETTINGS,
    TRAILERS,
    WHOLE,
    Event,
    Malformed,
    SessionOptions,
)
from pyproxy.http.message import Pair

ENGINE = "h2"

_TOO_LARGE = Malformed(INTERNAL_ERROR, "http2.header_list_size_too_large", too_large=True)
_TOO_MANY = Malformed(INTERNAL_ERROR, "http2.too_many_headers", too_large=True)
_BAD_FIELD = Malformed(PROTOCOL_ERROR, "http2.invalid.header.field")
_PREFACE = 24
_HEAD = 9
_GOAWAY_FRAME = 7
_MOST_PULLED = 64 * 1024
_UNTIL_TOLD = 100


class _Stream:
    """What waits to be sent on one stream, and which of its ends are over."""

    __slots__ = ("chunks", "consumed", "ended", "high", "interim", "received_end", "sent_end", "trailers", "waiting")

    def __init__(self) -> None:
        self.chunks: deque[bytes] = deque()
        self.waiting = 0
        self.consumed = 0
        self.ended = False
        self.trailers: list[Pair] | None = None
        self.high = False
        self.sent_end = False
        self.received_end = False
        self.interim = False
        """The final response is still to come."""


class PySession:
    """See `http.h2_session.Session`."""

    def __init__(self, server: bool, options: SessionOptions) -> None:
        self._server = server
        self._options = options
        self._connection = connection = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=not server,
                header_encoding=None,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        codes = h2.settings.SettingCodes
        said: dict[h2.settings.SettingCodes, int] = {
            codes.HEADER_TABLE_SIZE: options.header_table,
            codes.MAX_CONCURRENT_STREAMS: options.max_concurrent_streams,
            codes.INITIAL_WINDOW_SIZE: options.stream_window,
        }
        if server and options.allow_connect:
            said[codes.ENABLE_CONNECT_PROTOCOL] = 1
        if not server:
            said[codes.ENABLE_PUSH] = 0
        connection.local_settings = h2.settings.Settings(client=not server, initial_values=said)
        connection.decoder.max_header_list_size = 4 * (options.headers_kb * 1024 + 64 * options.header_count)
        connection.initiate_connection()
        if options.connection_window > 65535:
            connection.increment_flow_control_window(options.connection_window - 65535)
        self._streams: dict[int, _Stream] = {}
        self._incoming = bytearray()
        self._prefaced = not server
        self._out = bytearray()
        self._heard = False
        self._consumed = 0
        self._going = False  # a GOAWAY was sent or received
        self._last = MOST_STREAM_ID  # streams beyond it are refused
        self._highest = 0
        self._error = -1
        self._terminated = False
        self.drained: list[int] = []
        self.closed: list[tuple[int, int]] = []
        self.sent: list[int] = []
        self.data_frames = 0
        self.refused = 0  # that is a violation here

    # Receiving

    def receive(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        self._incoming += data
        try:
            self._read(events)
        except h2.exceptions.ProtocolError as error:
            self._fail(int(error.error_code))
        return _merged(events)

    def _read(self, events: list[Event]) -> None:
        """One frame after the other, so that what came before a broken one is not lost."""
        incoming = self._incoming
        while not self._terminated:
            if not self._prefaced:
                if len(incoming) < _PREFACE and b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".startswith(incoming):
                    return
                self._prefaced = True
                size = _PREFACE
            elif len(incoming) < _HEAD:
                return
            else:
                size = _HEAD + int.from_bytes(incoming[:3], "big")
                limit = self._connection.max_inbound_frame_size
                if size > limit + _HEAD:
                    self._say_goaway(self._highest, FRAME_SIZE_ERROR)
                    self._fail(FRAME_SIZE_ERROR)
                    return
                if len(incoming) < size:
                    return
            frame = bytes(incoming[:size])
            del incoming[:size]
            if frame[3] == _GOAWAY_FRAME and size >= _HEAD + 8 and frame[5:9] == b"\0\0\0\0":
                self._on_goaway(frame, events)
            else:
                self._feed(frame, events)

    def _feed(self, frame: bytes, events: list[Event]) -> None:
        for event in self._connection.receive_data(frame):
            match event:
                case h2.events.RequestReceived() | h2.events.ResponseReceived():
                    self._on_head(event, events)
                case h2.events.InformationalResponseReceived():
                    self._on_interim(event, events)
                case h2.events.TrailersReceived():
                    self._on_trailers(event, events)
                case h2.events.DataReceived():
                    self._on_data(event, events)
                case h2.events.StreamEnded():
                    self._on_end(event.stream_id, events)
                case h2.events.StreamReset():
                    self._forget(event.stream_id, int(event.error_code))
                case h2.events.RemoteSettingsChanged():
                    self._heard = True
                    events.append((SETTINGS, 0, None, False))
                case h2.events.PingAckReceived():
                    events.append((PONG, 0, event.ping_data, False))
                case _:
                    pass

    def _on_head(self, event: h2.events.RequestReceived | h2.events.ResponseReceived, events: list[Event]) -> None:
        stream = event.stream_id
        pairs = _pairs(event.headers)
        if self._server:
            if stream > self._last:
                self._connection.reset_stream(stream, REFUSED_STREAM)
                return
            self._streams[stream] = _Stream()
            self._highest = stream
            sound = h2_rules.request_is_sound(pairs, connect=self._options.allow_connect)
        else:
            sound = h2_rules.response_is_sound(pairs)
            if stream in self._streams:
                self._streams[stream].interim = False
        if self._is_fit(stream, pairs, events, sound=sound):
            events.append((HEADERS, stream, pairs, event.stream_ended is not None))

    def _on_interim(self, event: h2.events.InformationalResponseReceived, events: list[Event]) -> None:
        pairs = _pairs(event.headers)
        if self._is_fit(event.stream_id, pairs, events, sound=h2_rules.response_is_sound(pairs)):
            events.append((HEADERS, event.stream_id, pairs, False))

    def _on_trailers(self, event: h2.events.TrailersReceived, events: list[Event]) -> None:
        pairs = _pairs(event.headers)
        if self._is_fit(event.stream_id, pairs, events, sound=h2_rules.trailers_are_sound(pairs)):
            events.append((TRAILERS, event.stream_id, pairs, True))

    def _is_fit(self, stream: int, pairs: list[Pair], events: list[Event], *, sound: bool) -> bool:
        if stream not in self._streams:
            return False
        options = self._options
        count = sum(1 for name, _ in pairs if name[:1] != b":")
        size = sum(len(name) + len(value) for name, value in pairs)
        if size > options.headers_kb * 1024:
            why = _TOO_LARGE
        elif count > options.header_count:
            why = _TOO_MANY
        elif not sound:
            why = _BAD_FIELD
        else:
            return True
        events.append((MALFORMED, stream, why, False))
        self.reset(stream, why.code)
        return False

    def _on_data(self, event: h2.events.DataReceived, events: list[Event]) -> None:
        stream, data = event.stream_id, bytes(event.data or b"")
        self._consumed += event.flow_controlled_length
        if self._consumed * 2 >= self._options.connection_window:
            self._connection.increment_flow_control_window(self._consumed)
            self._consumed = 0
        self.consume(stream, event.flow_controlled_length - len(data))
        if stream not in self._streams:
            return
        if data:
            events.append((DATA, stream, data, False))

    def _on_end(self, stream: int, events: list[Event]) -> None:
        state = self._streams.get(stream)
        if state is None:
            return
        state.received_end = True
        last = events[-1] if events else None
        if last is None or last[1] != stream or not last[3]:  # it did not come with a head
            if last is not None and last[1] == stream and last[0] == DATA:
                events[-1] = (DATA, stream, last[2], True)
            else:
                events.append((DATA, stream, b"", True))
        self._close_if_over(stream, state)

    def _on_goaway(self, frame: bytes, events: list[Event]) -> None:
        """h2 takes it for the end of everything, but streams that are open go on (RFC 9113 6.8)."""
        last = int.from_bytes(frame[9:13], "big") & MOST_STREAM_ID
        code = int.from_bytes(frame[13:17], "big")
        self._going = True
        events.append((GOAWAY, last, code, False))
        if not self._server:
            for stream in [one for one in self._streams if one > last]:
                self._forget(stream, REFUSED_STREAM)

    def _fail(self, code: int) -> None:
        """h2 has queued the GOAWAY."""
        self._error = code
        self._terminated = True

    def _close_if_over(self, stream: int, state: _Stream) -> None:
        if state.sent_end and state.received_end:
            self._forget(stream, NO_ERROR)

    def _forget(self, stream: int, code: int) -> None:
        if self._streams.pop(stream, None) is not None:
            self.closed.append((stream, code))

    # Sending

    def pull(self) -> bytes:
        connection = self._connection
        if not self._terminated:
            left = _MOST_PULLED
            for stream, state in list(self._streams.items()):
                left = self._send_waiting(stream, state, left)
                if left <= 0:
                    break
        out = bytes(self._out) + connection.data_to_send()
        self._out.clear()
        return out

    def _send_waiting(self, stream: int, state: _Stream, left: int) -> int:
        connection = self._connection
        while state.chunks and left > 0:
            chunk = state.chunks.popleft()
            size = min(
                len(chunk), connection.local_flow_control_window(stream), connection.max_outbound_frame_size, left
            )
            if size <= 0:
                state.chunks.appendleft(chunk)
                return left
            if size < len(chunk):
                state.chunks.appendleft(chunk[size:])
            state.waiting -= size
            left -= size
            last = state.ended and not state.waiting and state.trailers is None
            connection.send_data(stream, chunk[:size], end_stream=last)
            self.data_frames += 1
            if last:
                self._sent(stream, state)
                return left
            if state.high and state.waiting <= HIGH_WATERMARK // 2:
                state.high = False
                self.drained.append(stream)
        if state.ended and not state.waiting and not state.sent_end:
            if state.trailers is not None:
                connection.send_headers(stream, state.trailers, end_stream=True)
            else:
                connection.end_stream(stream)
                self.data_frames += 1
            self._sent(stream, state)
        return left

    def _sent(self, stream: int, state: _Stream) -> None:
        state.sent_end = True
        self.sent.append(stream)
        self._close_if_over(stream, state)

    def request(self, pairs: list[Pair], body: bytes, ended: bool) -> int:
        if self._terminated:
            return 0
        try:
            stream: int = self._connection.get_next_available_stream_id()
            self._connection.send_headers(stream, pairs, end_stream=ended and not body)
        except h2.exceptions.ProtocolError:
            return 0
        self._streams[stream] = state = _Stream()
        self._begin(stream, state, body, ended=ended)
        return stream

    def respond(self, stream: int, pairs: list[Pair], body: bytes, ended: bool) -> None:
        state = self._streams.get(stream)
        if state is None or self._terminated:
            return
        self._connection.send_headers(stream, pairs, end_stream=ended and not body)
        self._begin(stream, state, body, ended=ended)

    def _begin(self, stream: int, state: _Stream, body: bytes, *, ended: bool) -> None:
        state.ended = ended
        if body:
            state.chunks.append(body)
            state.waiting = len(body)
        elif ended:
            self._sent(stream, state)

    def inform(self, stream: int, pairs: list[Pair]) -> None:
        if stream in self._streams and not self._terminated:
            self._connection.send_headers(stream, pairs)

    def send_data(self, stream: int, data: bytes, ended: bool) -> bool:
        state = self._streams.get(stream)
        if state is None or state.ended:
            return True
        if data:
            state.chunks.append(data)
            state.waiting += len(data)
        state.ended = ended
        if state.waiting > HIGH_WATERMARK and not ended:
            state.high = True
            return False
        return True

    def send_trailers(self, stream: int, pairs: list[Pair]) -> None:
        state = self._streams.get(stream)
        if state is not None and not state.ended:
            state.trailers = pairs
            state.ended = True

    def reset(self, stream: int, code: int) -> None:
        if stream in self._streams and not self._terminated:
            self._connection.reset_stream(stream, code)
            self._forget(stream, code)

    def consume(self, stream: int, size: int) -> None:
        state = self._streams.get(stream)
        if state is None or state.received_end or self._terminated:
            return
        state.consumed += size
        if state.consumed * 2 >= self._options.stream_window:
            self._connection.increment_flow_control_window(state.consumed, stream)
            state.consumed = 0

    def waiting(self, stream: int) -> int:
        state = self._streams.get(stream)
        return 0 if state is None else state.waiting

    def ping(self, payload: bytes) -> None:
        if not self._terminated:
            self._connection.ping(payload)

    def notice(self) -> None:
        self._say_goaway(MOST_STREAM_ID, NO_ERROR)

    def goaway(self, code: int) -> None:
        self._last = self._highest
        self._say_goaway(self._highest, code)

    def terminate(self, code: int) -> None:
        if not self._terminated:
            self._say_goaway(self._highest, code)
            self._terminated = True
            if code:
                self._error = code

    def _say_goaway(self, last: int, code: int) -> None:
        self._going = self._going or last < MOST_STREAM_ID
        self._out += self._connection.data_to_send()
        self._out += b"\0\0\x08\x07\0\0\0\0\0" + last.to_bytes(4, "big") + code.to_bytes(4, "big")

    def room(self) -> int:
        said: int = self._connection.remote_settings.max_concurrent_streams
        return said if self._heard or said < _UNTIL_TOLD else _UNTIL_TOLD

    def takes_connect(self) -> bool:
        return bool(self._connection.remote_settings.enable_connect_protocol)

    @property
    def error(self) -> int:
        return self._error

    @property
    def finished(self) -> bool:
        over = self._terminated or (self._going and not self._streams)
        return over and not self._out and not self._connection._data_to_send  # noqa: SLF001 - there is no other way to ask


def _merged(events: list[Event]) -> list[Event]:
    """Messages that began and ended in these, and are short, as one event each."""
    merged: list[Event | None] = []
    begun: dict[int, tuple[int, int]] = {}  # stream -> where its head is, and its only piece of body or -1
    for event in events:
        kind, stream, what, ended = event
        head, piece = begun.pop(stream, (-1, -1))
        if kind == HEADERS and not ended:
            begun[stream] = (len(merged), -1)
        elif kind == DATA and head >= 0 and not ended and piece < 0:
            begun[stream] = (head, len(merged))
        elif kind in (DATA, TRAILERS) and head >= 0 and (piece < 0 or not what or kind == TRAILERS):
            first = merged[head]
            assert first is not None
            body = b"" if piece < 0 else merged[piece][2]  # type: ignore[index]
            if piece >= 0:
                merged[piece] = None
            whole = (first[2], body, what) if kind == TRAILERS else (first[2], body or what, None)
            merged[head] = (WHOLE, stream, whole, True)
            continue
        merged.append(event)
    return [event for event in merged if event is not None]


def _pairs(headers: object) -> list[Pair]:
    return [(bytes(name), bytes(value)) for name, value in headers]  # type: ignore[attr-defined]
