"""Messages of gRPC in bodies that come in any pieces."""

from __future__ import annotations

import random

import pytest

from pyproxy.http.grpc_frames import CONNECT_END, MessageCounter, MessageReader, frame

MESSAGES = [b"", b"a", b"b" * 300, b"", b"c" * 70_000]
BODY = b"".join(frame(message) for message in MESSAGES)


def pieces(body: bytes, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    cuts = sorted(rng.sample(range(len(body)), 20))
    return [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]


@pytest.mark.parametrize("seed", range(20))
def test_any_pieces(seed: int) -> None:
    counter, reader = MessageCounter(), MessageReader()
    counted, read = 0, []
    for piece in pieces(BODY, seed):
        counted += counter.look(piece)
        read += reader.read(piece)
    assert counted == counter.count == len(MESSAGES)
    assert read == [(0, message) for message in MESSAGES]
    assert reader.rest == 0


def test_byte_by_byte() -> None:
    body = frame(b"abc") + frame(b"") + frame(b"de", 1)
    counter, reader = MessageCounter(), MessageReader()
    bytes_of = [body[at : at + 1] for at in range(len(body))]
    assert sum(counter.look(one) for one in bytes_of) == 3
    assert [message for one in bytes_of for message in reader.read(one)] == [(0, b"abc"), (0, b""), (1, b"de")]


def test_a_message_counts_when_it_begins() -> None:
    assert MessageCounter().look(b"\0") == 1


def test_nothing_counts_behind_an_end() -> None:
    counter = MessageCounter(CONNECT_END)
    assert counter.look(frame(b"a") + frame(b"b", CONNECT_END) + frame(b"c")) == 1
    assert counter.look(frame(b"d")) == 0


@pytest.mark.parametrize("flags", [2, 0x40])
def test_unknown_flags_are_wrong(flags: int) -> None:
    reader = MessageReader()
    assert reader.read(frame(b"a") + frame(b"b", flags)) == [(0, b"a")]
    assert reader.wrong
    assert reader.read(frame(b"c")) == []


def test_large_messages_are_wrong_where_there_is_a_limit() -> None:
    reader = MessageReader(3)
    assert reader.read(frame(b"abc")) == [(0, b"abc")]
    reader.read(b"\0\0\0\0\x04")
    assert reader.wrong


def test_what_is_left_is_told() -> None:
    reader = MessageReader()
    reader.read(frame(b"abc")[:-1])
    assert reader.rest == 7
