from __future__ import annotations

import uuid

import pytest

from pyproxy import clock
from pyproxy.config.access_log import (
    AndFilter,
    Comparison,
    DurationFilter,
    HeaderFilter,
    LogFilter,
    LogTypeFilter,
    NotHealthCheckFilter,
    OrFilter,
    ResponseFlagFilter,
    RuntimeFilter,
    StatusFilter,
)
from pyproxy.config.matchers import Fraction, HeaderMatch, StringKind, StringMatch
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.errors import ResponseFlag
from pyproxy.http.message import Headers, Request, Response
from pyproxy.http.stream_info import ConnectionInfo, StreamInfo
from pyproxy.telemetry.log_filters import build_log_filter

GET = HeaderFilter(HeaderMatch(b":method", string=StringMatch(StringKind.EXACT, "GET")))
OK = StatusFilter(Comparison.EQ, 200)


def finished(
    status: int = 200,
    *,
    ms: float = 5,
    flags: tuple[ResponseFlag, ...] = (),
    health_check: bool = False,
    request_id: bytes = b"",
) -> Request:
    info = StreamInfo(100.0, 0.0, ConnectionInfo())
    info.end = 100.0 + ms / 1000
    info.status = status
    info.flags = flags
    info.health_check = health_check
    headers = Headers([(b"x-request-id", request_id)] if request_id else [])
    return Request(b"GET", b"/", b"a.test", headers, info)


@pytest.mark.parametrize(
    ("types", "exclude", "accepted"),
    [
        ((), False, set()),
        ((), True, {"DownstreamStart", "DownstreamEnd"}),
        (("DownstreamEnd",), False, {"DownstreamEnd"}),
        (("DownstreamEnd",), True, {"DownstreamStart"}),
    ],
)
def test_the_type_of_the_line(types: tuple[str, ...], exclude: bool, accepted: set[str]) -> None:
    request = finished()
    seen = set()
    for kind in ("DownstreamStart", "DownstreamEnd"):
        request.info.log_type = kind
        if wanted(LogTypeFilter(frozenset(types), exclude), request):
            seen.add(kind)
    assert seen == accepted


def wanted(log_filter: LogFilter, request: Request, runtime: dict[str, object] | None = None) -> bool:
    values = RuntimeValues((runtime,) if runtime else ())
    return build_log_filter(log_filter, values)(request, Response(request.info.status, Headers()))


@pytest.mark.parametrize(
    ("op", "accepted"),
    [
        (Comparison.EQ, {500}),
        (Comparison.NE, {0, 404, 503}),
        (Comparison.GE, {500, 503}),
        (Comparison.LE, {0, 404, 500}),
    ],
)
def test_status(op: Comparison, accepted: set[int]) -> None:
    log_filter = StatusFilter(op, 500)
    assert {status for status in (0, 404, 500, 503) if wanted(log_filter, finished(status))} == accepted


def test_a_runtime_key_sets_the_limit() -> None:
    log_filter = StatusFilter(Comparison.GE, 500, "log.limit")
    assert wanted(log_filter, finished(404), {"log": {"limit": 400}})
    assert not wanted(log_filter, finished(404), {"log": {"limit": "none"}})


def test_duration_is_in_whole_milliseconds() -> None:
    log_filter = DurationFilter(Comparison.EQ, 1500)
    assert wanted(log_filter, finished(ms=1500.9))
    assert not wanted(log_filter, finished(ms=1499.9))
    unfinished = finished()
    unfinished.info.end = 0.0
    assert wanted(DurationFilter(Comparison.GE, 0), unfinished)


def test_flags() -> None:
    timed_out = finished(flags=(ResponseFlag.UPSTREAM_REQUEST_TIMEOUT, ResponseFlag.UPSTREAM_RETRY_LIMIT_EXCEEDED))
    assert wanted(ResponseFlagFilter(), timed_out)
    assert not wanted(ResponseFlagFilter(), finished())
    assert wanted(ResponseFlagFilter(frozenset({"UH", "URX"})), timed_out)
    assert not wanted(ResponseFlagFilter(frozenset({"UH"})), timed_out)


def test_headers_and_health_checks() -> None:
    assert wanted(GET, finished())
    assert not wanted(HeaderFilter(HeaderMatch(b"x-debug", present=True)), finished())
    assert wanted(NotHealthCheckFilter(), finished())
    assert not wanted(NotHealthCheckFilter(), finished(health_check=True))


def test_and_or() -> None:
    failed = StatusFilter(Comparison.GE, 500)
    assert wanted(AndFilter((GET, OK)), finished())
    assert not wanted(AndFilter((GET, failed)), finished())
    assert wanted(OrFilter((failed, AndFilter((GET, OK)))), finished())
    assert not wanted(OrFilter((failed, NotHealthCheckFilter())), finished(health_check=True))


def test_a_share_of_the_requests_is_chosen_by_their_id() -> None:
    log_filter = RuntimeFilter(Fraction(30, 100, "log.share"))
    ids = [str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**128)).encode() for number in range(4000)]
    chosen = [one for one in ids if wanted(log_filter, finished(request_id=one))]
    assert 0.27 < len(chosen) / len(ids) < 0.33
    assert chosen == [one for one in ids if int(one[:8], 16) % 100 < 30]
    assert all(wanted(log_filter, finished(request_id=one), {"log": {"share": 100}}) for one in ids[:100])
    assert not any(wanted(log_filter, finished(request_id=one), {"log": {"share": 0}}) for one in ids[:100])


@pytest.mark.parametrize("request_id", [b"", b"not-a-uuid", b"g" * 36, "é".encode() * 18])
@pytest.mark.parametrize("independent", [False, True])
def test_without_a_readable_id_chance_decides(request_id: bytes, independent: bool) -> None:
    log_filter = RuntimeFilter(Fraction(1, 2), independent)
    clock.rng.seed(1)
    answers = {wanted(log_filter, finished(request_id=request_id)) for _ in range(64)}
    clock.reseed()
    assert answers == {True, False}
