"""The one place where a ProxyError becomes a response."""

from __future__ import annotations

from pyproxy.errors import ProxyError
from pyproxy.http.body import Body
from pyproxy.http.message import Headers, Response

TEXT = b"text/plain"


def local_reply(error: ProxyError) -> Response:
    """The response for an error, as Envoy writes it: a short text that says what happened, or nothing."""
    return text_reply(error.status, error.body, error.headers)


def text_reply(
    status: int, body: bytes, extra: tuple[tuple[bytes, bytes], ...] = (), content_type: bytes = TEXT
) -> Response:
    """A response made here."""
    headers = Headers()
    if body:
        headers.add(b"content-length", b"%d" % len(body))
        headers.add(b"content-type", content_type)
    for name, value in extra:
        headers.add(name, value)
    return Response(status, headers, Body.complete(body) if body else None)
