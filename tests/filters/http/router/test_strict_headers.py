"""Which x-envoy-* headers the router takes for valid."""

from __future__ import annotations

import pytest

from pyproxy.errors import ProxyError, ResponseFlag
from pyproxy.filters.http.router.strict_headers import check_headers, integer
from pyproxy.http.message import Headers, Request
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo

TIMEOUT, RETRIES = b"x-envoy-upstream-rq-timeout-ms", b"x-envoy-max-retries"
RETRY_ON, GRPC = b"x-envoy-retry-on", b"x-envoy-retry-grpc-on"


def check(*pairs: tuple[bytes, bytes]) -> ProxyError | None:
    info = StreamInfo(0.0, 0.0, ConnectionInfo())
    request = Request(b"GET", b"/", b"h", Headers(list(pairs)), info, None, b"http")
    try:
        check_headers(request, (TIMEOUT, RETRIES, RETRY_ON, GRPC))
    except ProxyError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((TIMEOUT, one) for one in (b"0", b"5000", b"+5", b"18446744073709551615")),
        *((RETRY_ON, one) for one in (b"", b"5xx", b"5xx, reset,,connect-failure")),
        (GRPC, b"cancelled,unavailable"),
        (b"x-envoy-hedge-on-per-try-timeout", b"not asked for"),
    ],
)
def test_what_is_valid_goes_on(name: bytes, value: bytes) -> None:
    assert check((name, value)) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((TIMEOUT, one) for one in (b"", b"x", b"-1", b"1.5", b"10 00", b"18446744073709551616", b"9" * 5000)),
        *((RETRY_ON, one) for one in (b"5XX", b"5xx, nope", b"cancelled")),
        (GRPC, b"5xx"),
        (RETRIES, b"\x80"),
    ],
)
def test_what_is_not_valid_is_answered_with_400(name: bytes, value: bytes) -> None:
    error = check((name, value))
    assert error is not None
    assert (error.status, error.flag) == (400, ResponseFlag.INVALID_ENVOY_REQUEST_HEADERS)
    assert error.details == f"request_headers_failed_strict_check{{{name.decode()}}}"
    assert error.body == b"invalid header '%s' with value '%s'" % (name, value)


def test_lines_of_one_header_are_one_value() -> None:
    error = check((TIMEOUT, b"1"), (TIMEOUT, b"2"))
    assert error is not None
    assert error.body.endswith(b"with value '1,2'")


def test_the_first_header_that_is_asked_for_is_told() -> None:
    error = check((RETRY_ON, b"x"), (TIMEOUT, b"y"))
    assert error is not None
    assert TIMEOUT.decode() in error.details


def test_what_is_not_there_is_no_number() -> None:
    assert integer(None) is None
