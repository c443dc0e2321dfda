"""The other end of an HTTP/2 session: makes frames, right and wrong ones, and reads what a session sends."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from hpack import Decoder, Encoder
from hyperframe import frame as frames

from pyproxy.http import engines, h2_py
from pyproxy.http.h2_session import SETTINGS, Event, Session, SessionOptions
from pyproxy.http.message import Pair

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GET: list[Pair] = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/")]
POST: list[Pair] = [(b":method", b"POST"), *GET[1:]]
OK: list[Pair] = [(b":status", b"200")]


class Engine(NamedTuple):
    """One way to speak HTTP/2."""

    name: str
    new: Callable[[bool, SessionOptions], Session]


FAST = Engine(engines.H2_ENGINE, lambda server, options: engines.new_session(options, server=server))
PURE = Engine(h2_py.ENGINE, h2_py.PySession)
ENGINES = [FAST, PURE] if FAST.name != PURE.name else [PURE]
ENGINE_IDS = [engine.name for engine in ENGINES]


class Wire:
    """One end of a connection as bytes: remembers what the other end said, by stream."""

    def __init__(self) -> None:
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.frames: list[frames.Frame] = []
        self.headers: dict[int, list[list[Pair]]] = {}
        self.data: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self._unread = b""
        self._block = b""

    def head(self, stream: int, pairs: list[Pair], *, ended: bool = True, flags: tuple[str, ...] = ()) -> bytes:
        return headers(stream, self.encoder.encode(pairs), ended=ended, flags=flags)

    def take(self, said: bytes) -> None:
        """The other end said this."""
        self._unread += said
        self._unread = self._unread.removeprefix(PREFACE)
        while len(self._unread) >= 9:
            made, length = frames.Frame.parse_frame_header(memoryview(self._unread[:9]))
            if len(self._unread) < 9 + length:
                break
            made.parse_body(memoryview(self._unread[9 : 9 + length]))
            self._unread = self._unread[9 + length :]
            self._on_frame(made)

    def _on_frame(self, made: frames.Frame) -> None:
        self.frames.append(made)
        if isinstance(made, frames.HeadersFrame | frames.ContinuationFrame):
            self._block += made.data
            if "END_HEADERS" in made.flags:
                block = [(bytes(name), bytes(value)) for name, value in self.decoder.decode(self._block, raw=True)]
                self.headers.setdefault(made.stream_id, []).append(block)
                self._block = b""
        elif isinstance(made, frames.DataFrame):
            self.data[made.stream_id] = self.data.get(made.stream_id, b"") + made.data
        if "END_STREAM" in made.flags:
            self.ended.add(made.stream_id)

    def names(self) -> list[str]:
        """The frames that came since the last time, by name."""
        seen = [type(made).__name__.removesuffix("Frame") for made in self.frames]
        self.frames.clear()
        return seen

    def resets(self) -> list[tuple[int, int]]:
        return [(made.stream_id, made.error_code) for made in self.frames if isinstance(made, frames.RstStreamFrame)]

    def goaways(self) -> list[tuple[int, int]]:
        return [(made.last_stream_id, made.error_code) for made in self.frames if isinstance(made, frames.GoAwayFrame)]


class Peer(Wire):
    """Speaks to one session."""

    def __init__(self, engine: Engine, *, server: bool = True, **options: int) -> None:
        super().__init__()
        self.session = engine.new(server, SessionOptions(**options))  # type: ignore[arg-type]
        opening = (PREFACE if server else b"") + settings()
        assert [event[0] for event in self.session.receive(opening)] == [SETTINGS]
        self.read()
        self.frames.clear()

    def send(self, *parts: bytes) -> list[Event]:
        """What comes of it; what the session answers is read too."""
        events = self.session.receive(b"".join(parts))
        self.read()
        return events

    def send_cut(self, data: bytes, rng: random.Random) -> list[Event]:
        """The same in pieces of any size."""
        events: list[Event] = []
        at = 0
        while at < len(data):
            size = rng.choice([1, 2, 8, 9, 10, 100, 5000])
            events += self.session.receive(data[at : at + size])
            at += size
        self.read()
        return events

    def read(self) -> None:
        """Take everything that the session has to say."""
        while out := self.session.pull():
            self.take(out)

    def closed(self) -> list[tuple[int, int]]:
        """What the session says of streams that are over, since the last time."""
        closed, self.session.closed = self.session.closed, []
        return sorted(closed)


def settings(values: dict[int, int] | None = None, *, ack: bool = False) -> bytes:
    made = frames.SettingsFrame(settings=values or {}, flags=("ACK",) if ack else ())
    return bytes(made.serialize())


def headers(stream: int, block: bytes, *, ended: bool = True, flags: tuple[str, ...] = ()) -> bytes:
    every = (*(("END_STREAM",) if ended else ()), *(flags or ("END_HEADERS",)))
    made = frames.HeadersFrame(stream, block, flags=[flag for flag in every if flag != "NONE"])
    return bytes(made.serialize())


def continuation(stream: int, block: bytes, *, last: bool = True) -> bytes:
    return bytes(frames.ContinuationFrame(stream, block, flags=("END_HEADERS",) if last else ()).serialize())


def data(stream: int, body: bytes, *, ended: bool = False, pad: int = 0) -> bytes:
    flags = [*(("END_STREAM",) if ended else ()), *(("PADDED",) if pad else ())]
    made = frames.DataFrame(stream, body, flags=flags)
    if pad:
        made.pad_length = pad
    return bytes(made.serialize())


def reset(stream: int, code: int = 8) -> bytes:
    return bytes(frames.RstStreamFrame(stream, code).serialize())


def window_update(stream: int, size: int) -> bytes:
    return bytes(frames.WindowUpdateFrame(stream, size).serialize())


def ping(payload: bytes = b"12345678", *, ack: bool = False) -> bytes:
    return bytes(frames.PingFrame(0, payload, flags=("ACK",) if ack else ()).serialize())


def goaway(last: int, code: int = 0) -> bytes:
    return bytes(frames.GoAwayFrame(last_stream_id=last, error_code=code).serialize())


def priority(stream: int, on: int = 0) -> bytes:
    return bytes(frames.PriorityFrame(stream, depends_on=on, stream_weight=1).serialize())
