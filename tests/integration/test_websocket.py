"""WebSocket through whole proxies, by HTTP/1 and by the extended CONNECT of HTTP/2.

Whatever a client sends, good or bad, it gets back byte for byte what it would get without a proxy.
"""

from __future__ import annotations

import base64
import random
import socket
import struct
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.integration.test_http2 import ENGINES
from tests.integration.websocket_hops import start_hops
from tests.server.running import PATIENCE, Running
from tests.support.ports import LOOPBACK
from tests.support.tcp_peer import Peer
from tests.support.websocket_echo import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, serve
from tests.support.websocket_echo import frame as bare

KEY = base64.b64encode(bytes(16)).decode()
HANDSHAKE = (
    f"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    f"sec-websocket-key: {KEY}\r\n\r\n"
).encode()


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, reserved: int = 0) -> bytes:
    """As a client sends it."""
    return bare(opcode, payload, final=final, reserved=reserved, mask=random.Random(len(payload)).randbytes(4))


def close(code: int | None = 1000, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


def fragments(opcode: int, payload: bytes, *cuts: int, between: bytes = b"") -> bytes:
    """A message in pieces, with something in between them."""
    pieces = [payload[start:end] for start, end in pairwise((0, *cuts, len(payload)))]
    made = [frame(CONTINUATION if n else opcode, one, final=n == len(cuts)) for n, one in enumerate(pieces)]
    return between.join(made)


END = close()
GREEK = "\u03ba\u1f79\u03c3\u03bc\u03b5 \U0001f600".encode()
SIZES = (0, 1, 125, 126, 127, 128, 65_535, 65_536, 300_000)
CASES: dict[str, bytes] = {
    **{f"text-{size}": frame(TEXT, b"*" * size) + END for size in SIZES},
    **{f"binary-{size}": frame(BINARY, random.Random(size).randbytes(size)) + END for size in (*SIZES, 2_000_000)},
    "ping": frame(PING) + frame(PING, b"payload") + frame(PING, bytes(range(125))) + END,
    "ping-too-large": frame(PING, bytes(126)) + END,
    "pong-unasked": frame(PONG) + frame(PONG, b"x") + frame(PING, b"y") + END,
    "ten-pings": b"".join(frame(PING, b"%d" % n) for n in range(10)) + END,
    **{f"reserved-bits-{bits}": frame(TEXT, b"x", reserved=bits) + END for bits in range(1, 8)},
    "reserved-bits-later": frame(TEXT, b"x") + frame(TEXT, b"y", reserved=4) + frame(PING) + END,
    **{
        f"opcode-{opcode}": frame(TEXT, b"x") + frame(opcode, b"y") + END
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    },
    "fragments": fragments(TEXT, b"in two pieces", 5) + END,
    "fragments-with-pings": fragments(TEXT, b"in three pieces", 3, 8, between=frame(PING, b"p")) + END,
    "fragments-of-nothing": fragments(BINARY, b"", 0, 0) + fragments(TEXT, b"middle", 0, 6) + END,
    "fragments-many": fragments(BINARY, bytes(range(256)) * 16, *range(1, 4096, 7)) + END,
    "fragments-large": fragments(BINARY, bytes(1_000_000), 1, 70_000, 500_000, between=frame(PING, b"q")) + END,
    "fragments-interleaved": frame(TEXT, b"a", final=False) + frame(TEXT, b"b") + END,
    "fragmented-ping": frame(PING, b"a", final=False) + frame(CONTINUATION, b"b") + END,
    "fragmented-close": frame(CLOSE, struct.pack("!H", 1000), final=False) + END,
    "continuation-of-nothing": frame(CONTINUATION, b"x") + END,
    "continuation-of-nothing-open": frame(CONTINUATION, b"x", final=False) + frame(TEXT, b"y") + END,
    "utf8": frame(TEXT, GREEK) + fragments(TEXT, GREEK, *range(1, len(GREEK))) + END,
    **{
        f"utf8-bad-{bad.hex()}": frame(TEXT, b"ab" + bad + b"cd") + END
        for bad in (
            b"\xff",
            b"\xc0\x80",
            b"\xed\xa0\x80",
            b"\xf4\x90\x80\x80",
            b"\x80",
            b"\xce",
            b"\xf8\x88\x80\x80\x80",
        )
    },
    "utf8-bad-across-fragments": fragments(TEXT, b"ab\xce\xff", 3) + END,
    "utf8-cut-short": fragments(TEXT, GREEK[:-1], 4) + END,
    "close-without-code": close(None),
    "close-of-one-byte": frame(CLOSE, b"\x03"),
    "close-twice": END + END,
    "close-then-ping": END + frame(PING, b"late"),
    "close-then-message": END + frame(TEXT, b"late"),
    "close-too-long": frame(CLOSE, struct.pack("!H", 1000) + b"*" * 124),
    "close-reason": close(1000, b"*" * 123),
    "close-reason-not-utf8": close(1000, b"\xff\xfe"),
    **{
        f"close-{code}": close(code, b"why")
        for code in (
            0,
            999,
            1000,
            1001,
            1002,
            1003,
            1004,
            1005,
            1006,
            1007,
            1011,
            1015,
            1016,
            2999,
            3000,
            3999,
            4000,
            4999,
            5000,
            65535,
        )
    },
    "not-masked": bare(TEXT, b"x") + END,
    "size-not-minimal": b"\x82\xfe\x00\x05" + bytes(4) + b"hello" + END,
    "size-too-large": b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00" + bytes(4) + END,
    "no-websocket-at-all": b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Peer]:
    peer = Peer(serve)
    yield peer
    peer.close()


@pytest.fixture(scope="module", params=ENGINES)
def proxy(request: pytest.FixtureRequest, server: Peer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory: Path = tmp_path_factory.mktemp("websocket")
    running = start_hops(directory, server.port, **ENGINES[request.param])
    yield running
    assert "Traceback" not in running.said()
    running.stop()


def visit(port: int, sent: bytes, seed: int) -> bytes:
    """Everything that comes after the handshake, to bytes that are sent in pieces of any size."""
    rng = random.Random(seed)
    with socket.create_connection((LOOPBACK, port), timeout=PATIENCE) as sock:
        sock.sendall(HANDSHAKE)
        came = bytearray()
        while b"\r\n\r\n" not in came:
            data = sock.recv(65_536)
            assert data, came
            came += data
        head, _, rest = bytes(came).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        sender = threading.Thread(target=_send, args=(sock, sent, rng))
        sender.start()
        told = bytearray(rest)
        try:
            while data := sock.recv(1 << 18):
                told += data
        except ConnectionResetError:
            pass
        sender.join(PATIENCE)
        return bytes(told)


def _send(sock: socket.socket, sent: bytes, rng: random.Random) -> None:
    at = 0
    try:
        while at < len(sent):
            size = rng.choice((1, 2, 7, 100, 5_000, 100_000))
            sock.sendall(sent[at : at + size])
            at += size
    except OSError:
        pass


@pytest.mark.parametrize("case", CASES)
def test_what_comes_is_what_would_come_without_a_proxy(server: Peer, proxy: Running, case: str) -> None:
    direct = visit(server.port, CASES[case], 1)
    for where in ("web", "far"):
        assert visit(proxy.port(where), CASES[case], 2) == direct, where
