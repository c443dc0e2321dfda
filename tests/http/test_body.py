from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pyproxy.errors import ProxyError, Source
from pyproxy.http.body import HIGH_WATERMARK, Body, Trailers

ERROR = ProxyError(None, Source.UPSTREAM, 503, "broken")
KB = bytes(range(256)) * 4


class Taker:
    """A sink that remembers what came. `on_chunk` is called for each chunk."""

    def __init__(self, on_chunk: Callable[[bytes], None] = lambda chunk: None) -> None:
        self.data = b""
        self.chunks = 0
        self.ends: list[Trailers | None] = []
        self.aborts: list[ProxyError] = []
        self.on_chunk = on_chunk

    def on_data(self, chunk: bytes) -> None:
        assert not self.ends
        assert not self.aborts
        assert chunk
        self.data += chunk
        self.chunks += 1
        self.on_chunk(chunk)

    def on_end(self, trailers: Trailers | None) -> None:
        assert not self.aborts
        self.ends.append(trailers)

    def on_abort(self, error: ProxyError) -> None:
        self.aborts.append(error)


class Tap:
    """A source that counts how often it was told to hold."""

    def __init__(self) -> None:
        self.paused = False
        self.cancelled: list[ProxyError] = []

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False

    def cancel_body(self, error: ProxyError) -> None:
        self.cancelled.append(error)


def test_chunks_go_straight_through() -> None:
    body, taker = Body(Tap()), Taker()
    body.feed(b"early")
    body.pipe_to(taker)
    body.feed(b" and late")
    assert taker.data == b"early and late"
    body.end([(b"a", b"b")])
    assert taker.ends == [[(b"a", b"b")]]


def test_a_source_is_paused_beyond_the_watermark_until_somebody_reads() -> None:
    tap = Tap()
    body = Body(tap)
    for _ in range(HIGH_WATERMARK // len(KB)):
        body.feed(KB)
        assert not tap.paused
    body.feed(b"x")
    assert tap.paused
    taker = Taker()
    body.pipe_to(taker)
    assert not tap.paused
    assert len(taker.data) == HIGH_WATERMARK + 1


def test_a_source_is_free_again_when_its_message_is_over() -> None:
    """It may be a connection that carries other messages after this one."""
    tap = Tap()
    body = Body(tap)
    body.hold()
    body.feed(KB)
    assert tap.paused
    body.end()
    assert not tap.paused
    taker = Taker()
    body.pipe_to(taker)
    assert taker.data == b""
    body.release()
    assert (taker.data, taker.ends) == (KB, [None])


def test_a_sink_may_hold_in_the_middle() -> None:
    body = Body(Tap())
    for letter in (b"a", b"b", b"c"):
        body.feed(letter)
    taker = Taker(lambda chunk: body.hold() if chunk == b"b" else None)
    body.pipe_to(taker)
    assert taker.data == b"ab"
    body.feed(b"d")
    body.release()
    assert taker.data == b"abcd"


def test_a_sink_that_holds_and_releases_at_each_chunk_gets_all_in_order() -> None:
    body = Body(Tap())

    def juggle(chunk: bytes) -> None:
        body.hold()
        body.release()

    for letter in (b"a", b"b", b"c"):
        body.feed(letter)
    body.end()
    taker = Taker(juggle)
    body.pipe_to(taker)
    assert (taker.data, taker.ends) == (b"abc", [None])


def test_what_is_fed_while_the_sink_takes_something_comes_after_it() -> None:
    body = Body(Tap())
    more = [b"d", b"e"]
    for letter in (b"a", b"b", b"c"):
        body.feed(letter)
    taker = Taker(lambda chunk: body.feed(more.pop(0)) if more else None)
    body.pipe_to(taker)
    assert taker.data == b"abcde"


def test_an_empty_chunk_is_not_given_on() -> None:
    """Framed as a chunk it would be the end of the body."""
    body, taker = Body(), Taker()
    body.feed(b"")
    body.pipe_to(taker)
    body.feed(b"")
    assert taker.chunks == 0


@pytest.mark.parametrize("piped", [False, True])
def test_an_abort_is_told_once(piped: bool) -> None:
    body, taker = Body(Tap()), Taker()
    body.hold()
    if piped:
        body.pipe_to(taker)
    body.feed(KB)
    body.abort(ERROR)
    body.abort(ERROR)
    if not piped:
        body.pipe_to(taker)
    body.release()
    assert (taker.data, taker.aborts) == (b"", [ERROR])


def test_a_sink_may_make_its_source_fail() -> None:
    body = Body(Tap())
    for letter in (b"a", b"b", b"c"):
        body.feed(letter)
    taker = Taker(lambda chunk: body.abort(ERROR) if chunk == b"b" else None)
    body.pipe_to(taker)
    assert (taker.data, taker.aborts) == (b"ab", [ERROR])


@pytest.mark.parametrize("leave", ["detach", "cancel"])
def test_a_sink_that_leaves_hears_no_more(leave: str) -> None:
    tap = Tap()
    body = Body(tap)
    for letter in (b"a", b"b", b"c"):
        body.feed(letter)
    go = body.detach if leave == "detach" else lambda: body.cancel(ERROR)
    taker = Taker(lambda chunk: go() if chunk == b"b" else None)
    body.pipe_to(taker)
    for _ in range(200):
        body.feed(KB)
    body.end()
    assert (taker.data, taker.ends, taker.aborts) == (b"ab", [], [])
    assert not tap.paused
    assert tap.cancelled == ([ERROR] if leave == "cancel" else [])


def test_a_whole_body_can_be_taken_once() -> None:
    body = Body(Tap())
    body.feed(b"a")
    assert body.take() is None
    body.feed(b"b")
    body.end()
    assert body.take() == b"ab"
    assert Body.complete(b"x").take() == b"x"
    assert Body.complete(b"").take() == b""
    taker = Taker()
    Body.complete(b"x").pipe_to(taker)
    assert (taker.data, taker.ends) == (b"x", [None])


class BodyMachine(RuleBasedStateMachine):
    """A source that stops when it is told to, and a sink that holds as it likes."""

    @initialize(hold_at=st.sets(st.integers(0, 12)), juggle_at=st.sets(st.integers(0, 12)))
    def begin(self, hold_at: set[int], juggle_at: set[int]) -> None:
        self.tap = Tap()
        self.body = Body(self.tap)
        self.taker = Taker(self.on_chunk)
        self.hold_at, self.juggle_at = hold_at, juggle_at
        self.fed = b""
        self.piped = self.held = self.over = self.aborted = False

    def on_chunk(self, chunk: bytes) -> None:
        if self.taker.chunks in self.hold_at:
            self.held = True
            self.body.hold()
        elif self.taker.chunks in self.juggle_at:
            self.body.hold()
            self.body.release()

    @precondition(lambda self: not self.over and not self.tap.paused)
    @rule(size=st.sampled_from([0, 1, 100, 20_000, 70_000]))
    def feed(self, size: int) -> None:
        piece = bytes((len(self.fed) + n) % 251 for n in range(min(size, 300))) * (size // 300 or 1)
        self.fed += piece
        self.body.feed(piece)

    @precondition(lambda self: not self.over)
    @rule()
    def end(self) -> None:
        self.over = True
        self.body.end()

    @precondition(lambda self: not self.over)
    @rule()
    def abort(self) -> None:
        self.over = self.aborted = True
        self.body.abort(ERROR)

    @precondition(lambda self: not self.piped)
    @rule()
    def pipe(self) -> None:
        self.piped = True
        self.body.pipe_to(self.taker)

    @rule()
    def hold(self) -> None:
        self.held = True
        self.body.hold()

    @precondition(lambda self: self.held)
    @rule()
    def release(self) -> None:
        self.held = False
        self.body.release()

    @invariant()
    def nothing_is_lost_or_repeated(self) -> None:
        if not hasattr(self, "fed"):
            return
        taken = self.taker.data
        assert self.fed.startswith(taken)
        if self.piped and not self.held:
            if self.aborted:
                assert self.taker.aborts == [ERROR]
            else:
                assert taken == self.fed
                assert len(self.taker.ends) == self.over
        if not self.over:
            waiting = len(self.fed) - len(taken)
            assert self.tap.paused or waiting <= HIGH_WATERMARK
            assert not (self.tap.paused and self.piped and not self.held)


TestBodyMachine = BodyMachine.TestCase
TestBodyMachine.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
