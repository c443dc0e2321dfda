"""The one place where a ProxyError becomes a response."""

from __future__ import annotations

from pyproxy.errors import ProxyError
from pyproxy.http.body import Body
from pyproxy.http.message import Headers, Response

TEXT = b"text/plain"


def local_reply(error: ProxyError) -> Response:
    """The response for an error, as Envoy writes it: a short text that says what happened, or nothing."""
    return with_body(Response(error.status, Headers(list(error.headers))), error.body)


def with_body(response: Response, body: bytes, content_type: bytes = TEXT) -> Response:
    """Give a response that was made here its body; the headers that describe it come last."""
    if body:
        response.headers.add(b"content-length", b"%d" % len(body))
        response.headers.add(b"content-type", content_type)
        response.body = Body.complete(body)
    else:
        response.body = None
    return response
