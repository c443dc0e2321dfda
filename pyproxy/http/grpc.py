"""What gRPC makes of HTTP: which requests are calls, what a status means, how long a call may take.

gRPC over HTTP/2 (doc/PROTOCOL-HTTP2.md), "HTTP to gRPC Status Code Mapping" (doc/http-grpc-status-mapping.md).
"""

from __future__ import annotations

import re
from typing import Final

from pyproxy.http.body import Body
from pyproxy.http.message import Headers, Response

CONTENT_TYPE: Final = b"application/grpc"
STATUS: Final = b"grpc-status"
MESSAGE: Final = b"grpc-message"
TIMEOUT: Final = b"grpc-timeout"

UNKNOWN: Final = 2
DEADLINE_EXCEEDED: Final = 4
INTERNAL: Final = 13

OF_STATUS: Final = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
"""The status of a call for that of a response that says none."""

_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_ODD: Final = re.compile(rb"[^ -$&-}]")


def is_grpc(headers: Headers) -> bool:
    """Whether a request is a call, by its content-type."""
    content_type = headers.index.get(b"content-type")
    return content_type is not None and (content_type == CONTENT_TYPE or content_type.startswith(b"application/grpc+"))


def timeout(headers: Headers) -> float | None:
    """How many seconds the downstream gives a call; None where it does not say so, or not well."""
    value = headers.index.get(TIMEOUT)
    found = None if value is None else _TIMEOUT.fullmatch(value)
    return None if found is None else int(found[1]) * _SECONDS[found[2]]


def timeout_value(seconds: float) -> bytes:
    """`seconds` as `grpc-timeout` says it: milliseconds, or a larger unit where they have more than 8 digits."""
    amount = int(seconds * 1000)
    for unit, size in ((b"m", 1000), (b"S", 60), (b"M", 60)):
        if amount < 100_000_000:
            return b"%d%b" % (amount, unit)
        amount //= size
    return b"%dH" % min(amount, 99_999_999)


def escape(message: bytes) -> bytes:
    """A message as a header field may carry it."""
    return _ODD.sub(lambda odd: b"%%%02X" % odd[0][0], message)


def answer(response: Response, message: bytes, code: int | None = None) -> Response:
    """Turn a response that was made here into one that ends a call: a head that is also the trailers (Envoy)."""
    headers = response.headers
    if code is None:
        code = OF_STATUS.get(response.status, UNKNOWN)
    response.status = 200
    for name in (b"content-length", b"content-type"):
        headers.remove(name)
    headers.add(b"content-type", CONTENT_TYPE)
    headers.add(STATUS, b"%d" % code)
    if message:
        headers.add(MESSAGE, escape(message))
    response.body = None
    return response


def body_of(response: Response) -> bytes:
    """Of a response that was made here."""
    body: Body | None = response.body
    return b"" if body is None else body.take() or b""
