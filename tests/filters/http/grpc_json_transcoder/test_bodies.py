"""Bodies that are translated while they come."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.errors import ProxyError, Source
from pyproxy.filters.http.grpc_json_transcoder.bodies import (
    REQUEST_TOO_LARGE,
    RESPONSE_TOO_LARGE,
    Beginning,
    Elements,
    Rows,
)
from pyproxy.http.body import Body
from pyproxy.http.drive import Drive
from pyproxy.http.grpc_frames import frame
from pyproxy.transcoding.json_stream import ArrayReader

GONE = ProxyError(None, Source.DOWNSTREAM, 0, "gone")


def test_elements_become_messages() -> None:
    source = Body()
    made = Elements(source, ArrayReader(), lambda text: text.upper(), 100).begin()
    source.feed(b'["a", ')
    source.feed(b'"b"]')
    source.end()
    assert made.take() == frame(b'"A"') + frame(b'"B"')


def test_an_element_that_is_too_large() -> None:
    source = Body()
    made = Elements(source, ArrayReader(), lambda text: text, 5).begin()
    source.feed(b'["abcdefgh')
    assert made.error is REQUEST_TOO_LARGE


def rows(source: Body, limit: int = 100) -> Rows:
    return Rows(source, lambda message: b"<" + message + b">", limit)


@pytest.mark.parametrize(("count", "text"), [(0, b"[]"), (1, b"[<0>]"), (3, b"[<0>,<1>,<2>]")])
def test_answers_are_an_array(count: int, text: bytes) -> None:
    source = Body()
    made = rows(source).begin()
    for number in range(count):
        source.feed(frame(b"%d" % number)[:3])
        source.feed(frame(b"%d" % number)[3:])
    source.end([(b"t", b"1")])
    assert made.take() == text
    assert made.trailers == [(b"t", b"1")]


def test_what_stands_for_nothing() -> None:
    made = rows(Body.complete(b"", [(b"t", b"1")]))
    made.on_nothing(lambda trailers: b"failed" if trailers else b"")
    assert made.begin().take() == b"failed"


@pytest.mark.parametrize(
    ("data", "details"),
    [(frame(b"a", 1), "INTERNAL"), (frame(b"a", 2), "INTERNAL"), (frame(b"a" * 9)[:12], "response_buffer_size_limit")],
)
def test_answers_that_cannot_be_told(data: bytes, details: str) -> None:
    source = Body()
    made = rows(source, 10).begin()
    source.feed(data)
    assert made.error is not None
    assert details in made.error.details


class Waiting(Drive):
    def __init__(self, beginning: Beginning) -> None:
        super().__init__()
        self.told: Any = None
        self.run(self._wait(beginning))

    async def _wait(self, beginning: Beginning) -> Body:
        await beginning
        return beginning.rest()

    def on_return(self, value: Any) -> None:
        self.told = value

    def on_raise(self, error: BaseException) -> None:
        self.told = error


def test_the_first_message_is_waited_for() -> None:
    source = Body()
    beginning = Beginning(source, 100)
    waiting = Waiting(beginning)
    source.feed(frame(b"abc")[:4])
    assert waiting.told is None
    source.feed(frame(b"abc")[4:])
    assert beginning.first == b"abc"
    source.feed(frame(b"d"))
    source.end([(b"t", b"1")])
    assert waiting.told.take() == frame(b"abc") + frame(b"d")
    assert waiting.told.trailers == [(b"t", b"1")]


def test_an_end_before_the_first_message() -> None:
    source = Body()
    waiting = Waiting(Beginning(source, 100))
    source.end()
    assert waiting.told.take() == b""


def test_a_first_message_that_does_not_come() -> None:
    source = Body()
    waiting = Waiting(Beginning(source, 10))
    source.feed(frame(bytes(20))[:12])
    assert waiting.told is RESPONSE_TOO_LARGE
    source = Body()
    waiting = Waiting(Beginning(source, 10))
    source.abort(GONE)
    assert waiting.told is GONE
