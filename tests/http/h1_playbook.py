"""Drives an HTTP/1 decoder of either engine and says what it gave, whatever way the bytes were cut."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pyproxy.http import engines, h1_py
from pyproxy.http.codec import CodecError, CodecOptions, End, RequestDecoder, RequestHead, ResponseDecoder, ResponseHead

Pairs = list[tuple[bytes, bytes]]


class Engine(NamedTuple):
    """One way to read HTTP/1."""

    name: str
    new_request_decoder: Callable[[CodecOptions], RequestDecoder]
    new_response_decoder: Callable[[CodecOptions], ResponseDecoder]


FAST = Engine(engines.H1_ENGINE, engines.new_request_decoder, engines.new_response_decoder)
PURE = Engine(h1_py.ENGINE, h1_py.H1RequestDecoder, h1_py.H1ResponseDecoder)
ENGINES = [FAST, PURE]
ENGINE_IDS = [engine.name for engine in ENGINES]


@dataclass
class Message:
    """One message as it was read. `complete` is False while its end has not come."""

    head: dict[str, Any]
    headers: Pairs
    body: bytes = b""
    trailers: Pairs | None = None
    complete: bool = False
    framing: int = field(default=0, compare=False)


@dataclass
class Reading:
    """All that came of some bytes: messages, perhaps the bytes of a tunnel, perhaps the error that ended it."""

    messages: list[Message] = field(default_factory=list)
    tunnel: bytes = b""
    error: tuple[int, str] | None = None

    @property
    def complete(self) -> list[Message]:
        return [message for message in self.messages if message.complete]

    def take(self, events: list[Any]) -> None:
        """Add what one call gave, and check that it keeps the promises of `http.codec`."""
        for event in events:
            assert self.error is None, "something came after an error"
            current = self.messages[-1] if self.messages else None
            if isinstance(event, RequestHead | ResponseHead):
                assert current is None or current.complete, "a head inside of a message"
                self._begin(event)
            elif isinstance(event, CodecError):
                self.error = (event.status, event.details)
            else:
                assert current is not None, "a body without a head"
                self._go_on(current, event)

    def _begin(self, head: Any) -> None:
        names = set(dir(head)) - {"headers", "body", "ended", "framing", "surplus", "protocol"}
        shown = {name: getattr(head, name) for name in names if not name.startswith("_")}
        if not head.ended:
            assert head.body == b"", "a body in the head of a message that goes on"
        self.messages.append(Message(shown, list(head.headers), head.body, complete=head.ended, framing=head.framing))

    def _go_on(self, current: Message, event: bytes | End) -> None:
        if isinstance(event, End):
            assert not current.complete, "a second end"
            current.complete = True
            current.trailers = event.trailers
            current.framing += event.framing
        elif current.complete:
            assert current.head.get("method") == b"CONNECT", "a body after the end"
            self.tunnel += event
        else:
            assert event, "an empty piece of body"
            current.body += event


def read_requests(engine: Engine, pieces: list[bytes], options: CodecOptions) -> Reading:
    decoder = engine.new_request_decoder(options)
    reading = Reading()
    for piece in pieces:
        reading.take(decoder.receive(piece))
        if reading.error:
            break
    return reading


def read_responses(
    engine: Engine, pieces: list[bytes], options: CodecOptions, methods: list[bytes], *, eof: bool
) -> Reading:
    decoder = engine.new_response_decoder(options)
    for method in methods:
        decoder.expect(method)
    reading = Reading()
    for piece in pieces:
        reading.take(decoder.receive(piece))
        if reading.error:
            return reading
    if eof:
        reading.take(decoder.receive_eof())
    return reading


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """The data whole, byte by byte, cut in two at each place (if it is short), and cut at random."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    if len(data) <= 300:
        for at in range(1, len(data)):
            yield [data[:at], data[at:]]
    rng = random.Random(len(data))
    for _ in range(10):
        places = sorted(rng.sample(range(len(data) + 1), min(len(data), rng.randint(1, 12))))
        yield [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True) if a < b]
