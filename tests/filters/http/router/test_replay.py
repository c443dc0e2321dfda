from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pyproxy.errors import ProxyError, Source
from pyproxy.filters.http.router.replay import Replay
from pyproxy.http.body import Body, Trailers

GONE = ProxyError(None, Source.DOWNSTREAM, 0, "gone")


class Downstream:
    """Where the body comes from."""

    def __init__(self) -> None:
        self.paused = False

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def cancel_body(self, error: ProxyError) -> None:
        self.paused = True


class Upstream:
    """Takes the body of one try."""

    def __init__(self, body: Body) -> None:
        self.data = b""
        self.ended = self.broken = False
        self.trailers: Trailers | None = None
        body.pipe_to(self)

    def on_data(self, chunk: bytes) -> None:
        self.data += chunk

    def on_end(self, trailers: Trailers | None) -> None:
        self.ended = True
        self.trailers = trailers

    def on_abort(self, error: ProxyError) -> None:
        self.broken = True


def replay_of(body: Body, limit: int = 100) -> tuple[Replay, list[int]]:
    lost: list[int] = []
    return Replay(body, limit, lambda: lost.append(1)), lost


def test_a_body_that_is_here_is_given_to_each_try() -> None:
    replay, lost = replay_of(Body.complete(b"hello"))
    for _ in range(3):
        upstream = Upstream(replay.begin())
        assert (upstream.data, upstream.ended) == (b"hello", True)
        replay.pause()
    assert not lost


def test_what_comes_between_two_tries_goes_to_the_next() -> None:
    body = Body(Downstream())
    replay, _ = replay_of(body)
    first = Upstream(replay.begin())
    body.feed(b"a")
    replay.pause()
    body.feed(b"b")
    second = Upstream(replay.begin())
    body.feed(b"c")
    body.end([(b"x", b"1")])
    assert (first.data, first.ended) == (b"a", False)
    assert (second.data, second.ended, second.trailers) == (b"abc", True, [(b"x", b"1")])


def test_a_body_that_is_too_large_passes_through_and_is_lost() -> None:
    body = Body(Downstream())
    replay, lost = replay_of(body, 3)
    upstream = Upstream(replay.begin())
    for chunk in (b"abc", b"de", b"f"):
        body.feed(chunk)
    assert (upstream.data, lost) == (b"abcdef", [1])


def test_the_downstream_is_held_while_no_try_is_under_way() -> None:
    downstream = Downstream()
    body = Body(downstream)
    replay, lost = replay_of(body, 3)
    Upstream(replay.begin())
    replay.pause()
    body.feed(b"abcdef")
    assert downstream.paused
    assert not lost
    upstream = Upstream(replay.begin())
    assert (upstream.data, downstream.paused, lost) == (b"abcdef", False, [1])


def test_a_downstream_that_breaks_off_breaks_the_try() -> None:
    body = Body(Downstream())
    replay, _ = replay_of(body)
    first = Upstream(replay.begin())
    body.abort(GONE)
    assert first.broken
    assert Upstream(replay.begin()).broken


def test_a_slow_upstream_slows_the_downstream() -> None:
    downstream = Downstream()
    body = Body(downstream)
    replay, _ = replay_of(body, 1 << 20)
    attempt = replay.begin()
    body.feed(b"x" * 70_000)
    assert downstream.paused
    upstream = Upstream(attempt)
    assert (len(upstream.data), downstream.paused) == (70_000, False)


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=5), st.just(None)), max_size=20))
def test_every_try_has_all_of_it(steps: list[bytes | None]) -> None:
    """None begins another try."""
    body = Body(Downstream())
    replay, _ = replay_of(body, 1000)
    upstream = Upstream(replay.begin())
    sent = b""
    for step in steps:
        if step is None:
            replay.pause()
            upstream = Upstream(replay.begin())
        else:
            sent += step
            body.feed(step)
        assert upstream.data == sent
    body.end()
    assert upstream.ended
