"""Operators that read the messages: REQ, RESP, TRAILER, PATH, QUERY_PARAM, sizes of header maps.

The first value of a repeated header counts. A request that could not be read has no method and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import unquote_to_bytes

from pyproxy.config.format import Operator
from pyproxy.http.message import Pair, Request, Response
from pyproxy.telemetry.formatter_expression import Expression, Kind, Scope, Unset, call, repeated

_PSEUDO: Final[dict[str, str]] = {
    ":method": "request.method or None",
    ":path": "request.path or None",
    ":authority": "request.authority or None",
    "host": "request.authority or None",
    ":scheme": "request.scheme or None",
}


def request_header(operator: Operator, scope: Scope) -> Expression:
    """`REQ(X?Y):Z`."""
    return _with_alternative(operator, scope, _request_header)


def response_header(operator: Operator, scope: Scope) -> Expression:
    """`RESP(X?Y):Z`."""
    return _with_alternative(operator, scope, _response_header)


def response_trailer(operator: Operator, scope: Scope) -> Expression:
    """`TRAILER(X?Y):Z`."""
    return _with_alternative(operator, scope, _response_trailer)


_UNIQUE: Final = frozenset(
    (
        *("authorization", "cookie", "set-cookie", "content-length", "date", "etag", "idempotency-key"),
        *("request-id", "x-request-id", "x-correlation-id", "traceparent", "b3", "x-b3-spanid", "x-b3-traceid"),
    )
)
"""Headers that differ from request to request: to remember what they are in JSON would be for nothing."""


def _bytes(code: str) -> Expression:
    return repeated(code, Kind.BYTES, Unset.NONE)


def _with_alternative(operator: Operator, scope: Scope, find: Callable[[str, Scope], str]) -> Expression:
    name, _, other = (operator.argument or "").lower().partition("?")
    code = find(name, scope)
    if other:
        code = f"u if (u := ({code})) is not None else ({find(other, scope)})"
    found = Expression(Kind.BYTES, code, Unset.NONE) if name in _UNIQUE or other in _UNIQUE else _bytes(code)
    return found.cut(operator.length)


def _request_header(name: str, scope: Scope) -> str:
    return _PSEUDO.get(name) or f"first({scope.bind(name.encode())})"


def _response_header(name: str, scope: Scope) -> str:
    if name == ":status":
        return 'b"%d" % response.status if response is not None else None'.replace('b"%d"', scope.bind(b"%d"))
    return f"response_first({scope.bind(name.encode())})"


def _response_trailer(name: str, scope: Scope) -> str:
    wanted = name.encode()

    def trailer(pairs: list[Pair]) -> bytes | None:
        return next((value for key, value in pairs if key == wanted), None)

    return f"{scope.bind(trailer)}(info.response_trailers) if info.response_trailers else None"


# Paths


def path(operator: Operator, scope: Scope) -> Expression:
    """`PATH(WQ|NQ:ORIG|PATH|ORIG_OR_PATH)`: with or without query, as it came or as it was rewritten."""
    query, _, which = (operator.argument or "").partition(":")
    current, original = _PSEUDO[":path"], _request_header("x-envoy-original-path", scope)
    code = {"ORIG": original, "PATH": current}.get(which, f"u if (u := {original}) is not None else {current}")
    if query == "NQ":
        code = f"w.partition({scope.bind(b'?')})[0] if (w := ({code})) is not None else None"
    return _bytes(code).cut(operator.length)


def query_param(operator: Operator, scope: Scope) -> Expression:
    """The first parameter of that name, percent-decoded. Line breaks are left out: they would forge lines of a log."""
    wanted = (operator.argument or "").encode()

    def param(request: Request, response: Response | None) -> bytes | None:
        for part in request.path.partition(b"?")[2].split(b"&"):
            key, _, value = part.partition(b"=")
            if key and unquote_to_bytes(key) == wanted:
                return unquote_to_bytes(value).translate(None, b"\r\n")
        return None

    return call(scope, param, Kind.BYTES).cut(operator.length)


def query_params(operator: Operator, scope: Scope) -> Expression:
    """The whole query as it stands in the path."""
    code = f"request.path.partition({scope.bind(b'?')})[2]"
    return Expression(Kind.BYTES, code, Unset.EMPTY).cut(operator.length)


def requested_server_name(operator: Operator, scope: Scope) -> Expression:
    """`REQUESTED_SERVER_NAME(SNI_ONLY|SNI_FIRST|HOST_FIRST:ORIG|HOST|ORIG_OR_HOST)`."""
    order, _, which = (operator.argument or "SNI_ONLY").partition(":")

    def host(request: Request) -> bytes:
        original = None if which == "HOST" else request.headers.get(b"x-envoy-original-host")
        if original is None:
            return b"" if which == "ORIG" else request.authority
        return original

    def name(request: Request, response: Response | None) -> bytes | None:
        sni = request.info.connection.requested_server_name.encode()
        if order == "SNI_ONLY" or (sni and order == "SNI_FIRST"):
            return sni or None
        return host(request) or sni or None

    return call(scope, name, Kind.BYTES)


# Sizes: names and values of the header map, pseudo-headers included.

_STATUS_SIZE: Final = len(b":status200")


def size_of(pairs: list[Pair] | None) -> int:
    return sum([len(name) + len(value) for name, value in pairs]) if pairs else 0


def _request_size(request: Request, response: Response | None) -> int:
    size = size_of(request.headers.pairs)
    for name, value in (
        (b":method", request.method),
        (b":path", request.path),
        (b":authority", request.authority),
        (b":scheme", request.scheme),
    ):
        if value:
            size += len(name) + len(value)
    return size


def _response_size(request: Request, response: Response | None) -> int:
    return 0 if response is None else _STATUS_SIZE + size_of(response.headers.pairs)


def request_headers_bytes(operator: Operator, scope: Scope) -> Expression:
    return call(scope, _request_size, Kind.NUMBER, Unset.NEVER)


def response_headers_bytes(operator: Operator, scope: Scope) -> Expression:
    return call(scope, _response_size, Kind.NUMBER, Unset.NEVER)


def response_trailers_bytes(operator: Operator, scope: Scope) -> Expression:
    return Expression(Kind.NUMBER, f"{scope.bind(size_of)}(info.response_trailers)")
