"""Bodies that go through something: holding, ending and giving up reach the other side."""

from __future__ import annotations

from pyproxy.errors import ProxyError, Source
from pyproxy.http.body import Body, Trailers
from pyproxy.http.through import Through

GONE = ProxyError(None, Source.DOWNSTREAM, 0, "gone")


class Sink:
    def __init__(self, body: Body, *, holds: bool = False) -> None:
        self.body, self.holds = body, holds
        self.got: list[object] = []
        body.pipe_to(self)

    def on_data(self, chunk: bytes) -> None:
        self.got.append(chunk)
        if self.holds:
            self.body.hold()

    def on_end(self, trailers: Trailers | None) -> None:
        self.got.append(trailers)

    def on_abort(self, error: ProxyError) -> None:
        self.got.append(error)


class Feeder:
    def __init__(self) -> None:
        self.told: list[object] = []

    def pause_reading(self) -> None:
        self.told.append("pause")

    def resume_reading(self) -> None:
        self.told.append("resume")

    def cancel_body(self, error: ProxyError) -> None:
        self.told.append(error)


def test_everything_goes_through() -> None:
    source = Body()
    sink = Sink(Through(source).begin())
    source.feed(b"a")
    source.feed(b"b")
    source.end([(b"t", b"1")])
    assert sink.got == [b"a", b"b", [(b"t", b"1")]]


def test_what_is_whole_stays_whole() -> None:
    made = Through(Body.complete(b"abc", [(b"t", b"1")])).begin()
    assert made.take() == b"abc"
    assert made.trailers == [(b"t", b"1")]


def test_a_slow_consumer_slows_the_source() -> None:
    feeder = Feeder()
    source = Body(feeder)
    sink = Sink(Through(source).begin(), holds=True)
    source.feed(b"a")
    assert feeder.told == ["pause"]
    source.feed(b"b")
    assert sink.got == [b"a"]
    sink.body.release()
    assert sink.got == [b"a", b"b"]


def test_too_much_waiting_slows_the_source() -> None:
    feeder = Feeder()
    source = Body(feeder)
    made = Through(source, watermark=2).begin()
    source.feed(b"abc")
    assert feeder.told == ["pause"]
    Sink(made)
    assert feeder.told == ["pause", "resume"]


def test_failing_and_giving_up() -> None:
    feeder = Feeder()
    source = Body(feeder)
    sink = Sink(Through(source).begin())
    source.abort(GONE)
    assert sink.got == [GONE]
    source = Body(feeder)
    Through(source).begin().cancel(GONE)
    assert feeder.told == [GONE]
