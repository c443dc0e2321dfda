"""What a try tells those who judge hosts: outlier detection, health checks, the load balancing policy."""

from __future__ import annotations

from typing import Final

from pyproxy.clusters.one_try import Try
from pyproxy.clusters.try_timers import PER_TRY_TIMEOUT
from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.filters.http.router.retry_state import seen_status
from pyproxy.http.message import Response

TOO_SLOW: Final = ProxyError(ResponseFlag.UPSTREAM_REQUEST_TIMEOUT, Source.UPSTREAM, 504, PER_TRY_TIMEOUT)
_IMMEDIATE_FAIL: Final = b"x-envoy-immediate-health-check-fail"


def report(attempt: Try, response: Response) -> None:
    """What the host answered."""
    host = attempt.pool.host
    outlier = host.outlier
    if outlier is not None:
        outlier.put_status(seen_status(attempt.request, response), attempt.request.info.trace_id)
    if host.checker is not None and _IMMEDIATE_FAIL in response.headers.index:
        host.checker.fail_now()
    if host.load is not None:
        host.load.answered(attempt.info, response.headers.index)


def report_slow(attempt: Try) -> None:
    """It has not answered in time."""
    outlier = attempt.pool.host.outlier
    if outlier is not None:
        outlier.put_error(TOO_SLOW, attempt.request.info.trace_id, connected=True)


def report_error(attempt: Try, error: ProxyError) -> None:
    """There was no answer."""
    outlier = attempt.pool.host.outlier
    if outlier is not None:
        outlier.put_error(error, attempt.request.info.trace_id, connected=attempt.info.request_sent_first > 0)
