"""What is refused frame by frame, however the bytes are cut."""

from __future__ import annotations

import random

import pytest

from pyproxy.config.http2 import H2Options
from pyproxy.http.h2_guard import FrameGuard
from pyproxy.http.h2_session import ENHANCE_YOUR_CALM, FRAME_SIZE_ERROR, PROTOCOL_ERROR, STREAM_CLOSED
from tests.http.h2_peer import PREFACE, continuation, data, headers, ping, priority, reset, settings, window_update


def guard(*, server: bool = True, data_frames: int = 0, **options: int) -> Watched:
    return Watched(FrameGuard(H2Options(**options), 60, server=server), data_frames)  # type: ignore[arg-type]


class Watched:
    """A guard that is past the preface."""

    def __init__(self, one: FrameGuard, data_frames: int) -> None:
        self.guard = one
        self.data_frames = data_frames
        if one.scan(PREFACE, 0) != len(PREFACE):  # an upstream sends none
            raise AssertionError

    def takes(self, *parts: bytes) -> bool:
        wire = b"".join(parts)
        return self.guard.scan(wire, self.data_frames) == len(wire)


def test_what_every_peer_sends() -> None:
    one = guard(data_frames=1)
    assert one.takes(settings(), settings(ack=True), window_update(0, 1000))
    for stream in range(1, 2001, 2):
        assert one.takes(headers(stream, b"block", ended=False), data(stream, b"x", ended=True), window_update(0, 10))
    assert one.takes(ping(ack=True), priority(1))
    assert one.guard.violation == ""


@pytest.mark.parametrize(
    ("frames", "fine"),
    [
        ([ping()], 1000),
        ([settings()], 1000),
        ([headers(1, b"x", ended=False), data(1, b"")], 1),
        ([priority(1)], 100),
        ([window_update(0, 1)], 5),
        ([b"\x00\x00\x01\xbd\x00\x00\x00\x00\x00x"], 100),
        ([ping(ack=True)], 100),
        ([headers(1, b"x", ended=False), reset(1)], 200),
    ],
    ids=["ping", "settings", "empty data", "priority", "window update", "unknown", "answers", "resets"],
)
def test_floods(frames: list[bytes], fine: int) -> None:
    one = guard()
    *first, flood = frames
    assert one.takes(*first)
    for _ in range(fine):
        assert one.takes(flood)
    assert not one.takes(flood)
    assert one.guard.code == ENHANCE_YOUR_CALM
    assert one.guard.violation


def test_answers_that_we_asked_for_are_no_flood() -> None:
    one = guard()
    for _ in range(1000):
        one.guard.asked()
        assert one.takes(ping(ack=True))


def test_only_what_comes_before_the_last_drop_is_let_through() -> None:
    one = guard(max_control_frames=3)
    wire = ping() * 5
    assert one.guard.scan(wire, 0) == 3 * 17


def test_answers_that_were_read_count_no_more() -> None:
    one = guard(max_control_frames=10)
    for _ in range(100):
        assert one.takes(ping() * 10)
        one.guard.all_read()


def test_the_bounds_grow_with_what_is_going_on() -> None:
    one = guard(data_frames=100)
    assert one.takes(window_update(0, 1) * 2005)
    assert not one.takes(window_update(0, 1))
    one = guard()
    assert one.takes(headers(1, b"x"), headers(3, b"x"), priority(1) * 300)
    assert not one.takes(priority(1))


def test_a_header_block_without_end() -> None:
    one = guard()
    assert one.takes(headers(1, b"x", flags=("NONE",)), continuation(1, b"x", last=False) * 8)
    assert one.guard.in_block
    assert not one.takes(continuation(1, b"x", last=False))
    one = guard()
    assert one.takes(headers(1, b"x" * 16_384, flags=("NONE",)), continuation(1, b"x" * 16_384, last=False) * 2)
    assert not one.takes(continuation(1, b"x" * 16_384, last=False))


def test_a_header_block_that_ends() -> None:
    one = guard()
    assert one.takes(headers(1, b"x", flags=("NONE",)), continuation(1, b"x"))
    assert not one.guard.in_block


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([headers(5, b"x"), headers(3, b"x")], PROTOCOL_ERROR),
        ([headers(1, b"x"), headers(1, b"x")], STREAM_CLOSED),
        ([headers(1, b"x"), data(1, b"x")], STREAM_CLOSED),
        ([headers(1, b"x", ended=False), reset(1), data(1, b"x")], STREAM_CLOSED),
        ([headers(1, b"x", ended=False), reset(1), headers(1, b"x")], STREAM_CLOSED),
        ([reset(1)], PROTOCOL_ERROR),
        ([headers(1, b"x"), b"\0\0\3\3\0\0\0\0\1abc"], FRAME_SIZE_ERROR),
    ],
    ids=["lower", "again", "data after end", "data after reset", "head after reset", "reset of none", "short reset"],
)
def test_numbers_of_streams(frames: list[bytes], code: int) -> None:
    one = guard()
    *first, last = frames
    assert one.takes(*first)
    assert not one.takes(last)
    assert one.guard.code == code


def test_what_was_sent_before_our_reset_came_is_no_fault() -> None:
    one = guard()
    assert one.takes(headers(1, b"x", ended=False))
    one.guard.gone(1)
    assert one.takes(data(1, b"x") * 100, data(1, b"x", ended=True))
    assert not one.takes(data(1, b"x"))


def test_streams_that_we_ended_are_not_remembered_for_ever() -> None:
    one = guard()
    for stream in range(1, 10_001, 2):
        assert one.takes(headers(stream, b"x", ended=False))
        one.guard.gone(stream)
    assert len(one.guard._ours) <= 1000
    assert one.takes(data(9_999, b"x"))


def test_an_upstream_may_answer_on_its_streams() -> None:
    one = FrameGuard(H2Options(), 60, server=False)
    wire = settings() + headers(1, b"x", ended=False) + data(1, b"x") + headers(1, b"x") + reset(3)
    assert one.scan(wire, 0) == len(wire)


@pytest.mark.parametrize("seed", range(20))
def test_however_the_bytes_are_cut(seed: int) -> None:
    rng = random.Random(seed)
    stream = settings() + headers(1, b"x", ended=False) + data(1, b"d" * 500) + ping() * 3 + data(1, b"") * 2 + ping()
    whole = FrameGuard(H2Options(), 60, server=True)
    fit = whole.scan(PREFACE + stream, 0)
    assert fit == len(PREFACE + stream) - 17 - 9
    cut = FrameGuard(H2Options(), 60, server=True)
    wire, at, taken = PREFACE + stream, 0, 0
    while at < len(wire) and not cut.violation:
        size = rng.choice([1, 2, 3, 8, 9, 10, 24, 100])
        taken += cut.scan(wire[at : at + size], 0)
        at += size
    assert cut.violation == whole.violation
    assert fit <= taken <= fit + 9  # of the frame that is refused the head may have gone on
