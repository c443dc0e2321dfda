"""Bodies that somebody watches."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.http.body import Body, Trailers
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo
from pyproxy.telemetry.live_bodies import REDACTED, LiveBodies, redacted_text
from pyproxy.telemetry.live_tap import LiveTap, TapWish

JSON = Headers([(b"content-type", b"application/problem+json; charset=utf-8")])


class Sink:
    def __init__(self, body: Body | None) -> None:
        self.data = b""
        assert body is not None
        body.pipe_to(self)

    def on_data(self, chunk: bytes) -> None:
        self.data += chunk

    def on_end(self, trailers: Trailers | None) -> None:
        pass

    def on_abort(self, error: Exception) -> None:
        raise error


def exchange(asked: Headers, answered: Headers, text: bytes) -> tuple[Request, Response]:
    request = Request(b"POST", b"/", b"h", asked, StreamInfo(0.0, 0.0, ConnectionInfo()), Body.complete(text))
    return request, Response(200, answered, Body.complete(text))


def shown(headers: Headers, text: bytes, most: int = 100) -> dict[str, Any]:
    request, response = exchange(headers, headers, text)
    bodies = LiveBodies(request, most)
    bodies.watch_response(response)
    assert Sink(request.body).data == text
    assert Sink(response.body).data == text
    told = bodies.shown(request, response)
    assert told["request_body"] == told["response_body"]
    body: dict[str, Any] = told["request_body"]
    return body


def test_text_is_shown() -> None:
    assert shown(JSON, b'{"a": 1}') == {"size": 8, "truncated": False, "text": '{"a": 1}'}
    assert shown(JSON, b"x" * 300, 5) == {"size": 300, "truncated": True, "text": "xxxxx"}


@pytest.mark.parametrize(
    "headers",
    [
        Headers([]),
        Headers([(b"content-type", b"image/png")]),
        Headers([(b"content-type", b"text/plain"), (b"content-encoding", b"gzip")]),
    ],
)
def test_of_what_is_no_text_only_the_size(headers: Headers) -> None:
    assert shown(headers, b"abc") == {"size": 3, "truncated": False}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('{"user": "a", "Password": "b\\"c", "n": 1}', '{"user": "a", "Password": "[redacted]", "n": 1}'),
        ('{"access_token":12,"code":7}', '{"access_token":"[redacted]","code":7}'),
        ('{"tokens": ["a", "b"], "x": 1}', '{"tokens": "[redacted]", "x": 1}'),
        ('{"secrets": {"a": "b"}, "x": 1}', '{"secrets": "[redacted]", "x": 1}'),
        ('{"secret": "cut of', '{"secret": "[redacted]"'),
        ("a=1&client_secret=x&b=2", "a=1&client_secret=[redacted]&b=2"),
        ("grant_type=x&code=abc", "grant_type=x&code=[redacted]"),
        ("api-key: abc\nother: d", "api-key: [redacted]\nother: d"),
        ("<a><password>x</password></a>", "<a><password>[redacted]</password></a>"),
        ("nothing of the kind", "nothing of the kind"),
    ],
)
def test_secrets_are_left_out(text: str, left: str) -> None:
    assert REDACTED in left or text == left
    assert redacted_text(text) == left


def test_only_while_somebody_wants_them() -> None:
    tap = LiveTap()
    assert not tap.bodies
    tap.watch((TapWish(), TapWish(bodies=3)))
    assert tap.bodies == 3
    request, response = exchange(JSON, JSON, b"12345")
    tap.watch_request(request)
    tap.watch_response(request, response)
    assert Sink(request.body).data == b"12345"
    tap.see(request, response)
    (entry,), _ = tap.take()
    assert (entry["request_body"]["text"], entry["response_body"]["size"]) == ("123", 5)
    tap.watch(())
    assert not tap.bodies
