"""Waiting for whole bodies: they come at once, in pieces, too large, or break off."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.errors import ProxyError, Source
from pyproxy.http.body import Body
from pyproxy.http.fast import advance
from pyproxy.http.whole_body import WholeBody
from tests.telemetry.exchanges import forwarded

TOO_LARGE = ProxyError(None, Source.LOCAL, 413, "too_large")
GONE = ProxyError(None, Source.DOWNSTREAM, 0, "gone")


class Waiting:
    """A coroutine that waits for a body, and goes on when that is over."""

    def __init__(self, body: Body, limit: int = 100) -> None:
        self._whole = WholeBody(body, limit, TOO_LARGE)
        self._coroutine = self._wait()
        self._told: Any = None
        self.trailers: Any = None
        self._go_on()

    async def _wait(self) -> bytes:
        data = await self._whole
        self.trailers = self._whole.trailers
        return data

    def _go_on(self) -> None:
        try:
            ended, value = advance(self._coroutine)
        except ProxyError as error:
            self._told = error
        else:
            self._told = value if ended else None

    @property
    def told(self) -> Any:
        if self._told is None and self._whole.over:
            self._go_on()
        return self._told


def test_what_is_there_needs_no_waiting() -> None:
    waiting = Waiting(Body.complete(b"abc", [(b"t", b"1")]))
    assert waiting.told == b"abc"
    assert waiting.trailers == [(b"t", b"1")]


def test_pieces() -> None:
    body = Body()
    waiting = Waiting(body)
    body.feed(b"a")
    body.feed(b"b")
    assert waiting.told is None
    body.end()
    assert waiting.told == b"ab"


def test_more_than_may_be() -> None:
    body = Body()
    waiting = Waiting(body, 2)
    body.feed(b"abc")
    assert waiting.told is TOO_LARGE
    body.feed(b"d")
    body.end()


def test_without_a_limit_nothing_is_kept() -> None:
    body = Body()
    waiting = Waiting(body, 0)
    body.feed(b"abc")
    body.end()
    assert waiting.told == b""


@pytest.mark.parametrize("before", [True, False])
def test_a_body_that_breaks_off(before: bool) -> None:
    body = Body()
    if before:
        body.abort(GONE)
    waiting = Waiting(body)
    if not before:
        body.feed(b"a")
        body.abort(GONE)
    assert waiting.told is GONE


def test_the_request_knows_that_it_was_read() -> None:
    request, _ = forwarded()
    request.body = Body.complete(b"x")
    WholeBody.of_request(request)
    assert request.info.body_read
