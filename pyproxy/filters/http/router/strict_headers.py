"""What x-envoy-* request headers may say to the router; refuses others if asked to (Router.strict_check_headers)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.http.message import Request

_INTEGER = re.compile(rb"[ \t]*\+?[0-9]{1,30}[ \t]*")
_RETRY_ON: Final = frozenset(
    b"5xx gateway-error connect-failure envoy-ratelimited refused-stream retriable-4xx retriable-status-codes"
    b" retriable-headers reset reset-before-request http3-post-connect-failure".split()
)
_RETRY_GRPC_ON: Final = frozenset(b"cancelled deadline-exceeded internal resource-exhausted unavailable".split())


def integer(value: bytes | None) -> int | None:
    """A number as Envoy reads it from its own headers; None for everything else."""
    if value is None or _INTEGER.fullmatch(value) is None:
        return None
    number = int(value)
    return number if number < 1 << 64 else None


def _is_integer(value: bytes) -> bool:
    return integer(value) is not None


def _all_of(known: frozenset[bytes]) -> Callable[[bytes], bool]:
    return lambda value: all(one.strip() in known for one in value.split(b",") if one)


_VALID: Final[Mapping[bytes, Callable[[bytes], bool]]] = {
    b"x-envoy-upstream-rq-timeout-ms": _is_integer,
    b"x-envoy-upstream-rq-per-try-timeout-ms": _is_integer,
    b"x-envoy-max-retries": _is_integer,
    b"x-envoy-retry-on": _all_of(_RETRY_ON),
    b"x-envoy-retry-grpc-on": _all_of(_RETRY_GRPC_ON),
}


def check_headers(request: Request, names: tuple[bytes, ...]) -> None:
    """Raises ProxyError for the first of the named headers that is there and not valid."""
    for name in names:
        value = request.headers.joined(name)
        if value is not None and not _VALID[name](value):
            raise ProxyError(
                ResponseFlag.INVALID_ENVOY_REQUEST_HEADERS,
                Source.LOCAL,
                400,
                f"request_headers_failed_strict_check{{{name.decode()}}}",
                body=b"invalid header '%s' with value '%s'" % (name, value),
            )
