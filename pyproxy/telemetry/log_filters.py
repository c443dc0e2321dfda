"""Which requests an access log writes down: `config.access_log` filters -> functions, built once.

Envoy: envoy.config.accesslog.v3.AccessLogFilter. Runtime keys are looked up when the filter is built.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Final, assert_never

from pyproxy import clock
from pyproxy.config.access_log import (
    AndFilter,
    CelFilter,
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
from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.http.message import Request, Response
from pyproxy.http.predicates import build_header_predicate

LogPredicate = Callable[[Request, Response | None], bool]

_COMPARE: Final[dict[Comparison, Callable[[int, int], bool]]] = {
    Comparison.EQ: operator.eq,
    Comparison.GE: operator.ge,
    Comparison.LE: operator.le,
    Comparison.NE: operator.ne,
}


def build_log_filter(log_filter: LogFilter, values: RuntimeValues) -> LogPredicate:
    """A function that tells whether a request is to be logged."""
    match log_filter:
        case StatusFilter():
            return _status(log_filter, values)
        case DurationFilter():
            return _duration(log_filter, values)
        case HeaderFilter():
            wanted = build_header_predicate(log_filter.match)
            return lambda request, response: wanted(request)
        case ResponseFlagFilter():
            return _flags(log_filter)
        case RuntimeFilter():
            return _runtime(log_filter, values)
        case NotHealthCheckFilter():
            return lambda request, response: not request.info.health_check
        case LogTypeFilter():
            types, exclude = log_filter.types, log_filter.exclude
            return lambda request, response: (request.info.log_type in types) is not exclude
        case CelFilter(expression):
            # Imported by the first expression: see `config.cel`.
            from pyproxy.telemetry.cel import CelExpression

            return CelExpression(expression).holds
        case AndFilter():
            every = tuple(build_log_filter(one, values) for one in log_filter.filters)
            return lambda request, response: all(one(request, response) for one in every)
        case OrFilter():
            some = tuple(build_log_filter(one, values) for one in log_filter.filters)
            return lambda request, response: any(one(request, response) for one in some)
        case _:
            assert_never(log_filter)


def _status(config: StatusFilter, values: RuntimeValues) -> LogPredicate:
    """A request without an answer has status 0."""
    compare = _COMPARE[config.op]
    limit = _limit(config.runtime_key, config.value, values)
    return lambda request, response: compare(request.info.status, limit)


def _duration(config: DurationFilter, values: RuntimeValues) -> LogPredicate:
    compare = _COMPARE[config.op]
    limit = _limit(config.runtime_key, config.value, values)

    def predicate(request: Request, response: Response | None) -> bool:
        info = request.info
        return compare(int(((info.end or clock.monotonic()) - info.start) * 1000), limit)

    return predicate


def _flags(config: ResponseFlagFilter) -> LogPredicate:
    if not config.flags:
        return lambda request, response: bool(request.info.flags)
    wanted = config.flags
    return lambda request, response: any(flag.short in wanted for flag in request.info.flags)


def _runtime(config: RuntimeFilter, values: RuntimeValues) -> LogPredicate:
    """A share of the requests. Which ones, the x-request-id decides, so that all proxies on the way choose alike."""
    denominator = config.fraction.denominator
    limit = values.share(config.fraction) * denominator
    if config.independent:
        return lambda request, response: clock.rng.random() * denominator < limit

    def predicate(request: Request, response: Response | None) -> bool:
        number = _request_number(request.headers.get(b"x-request-id"))
        if number is None:
            return clock.rng.random() * denominator < limit
        return number % denominator < limit

    return predicate


def _request_number(request_id: bytes | None) -> int | None:
    """The first 8 hex digits of a UUID (Envoy: UUIDRequestIDExtension); None for anything else."""
    if request_id is None or len(request_id) != 36:
        return None
    try:
        return int.from_bytes(bytes.fromhex(request_id[:8].decode("ascii")), "big")
    except ValueError:
        return None


def _limit(runtime_key: str, default: int, values: RuntimeValues) -> int:
    return int(values.number(runtime_key, default)) if runtime_key else default
