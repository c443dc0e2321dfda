"""How much time a request has, and each try of it: by its route, by what it says itself, by the proxy in front.

Envoy: router filter, x-envoy-upstream-rq-timeout-ms and its like. Security posture: from outside these headers do not
come here, the connection manager takes them away.
"""

from __future__ import annotations

from typing import Final

from pyproxy.filters.http.router.config import RouterConfig
from pyproxy.filters.http.router.retry_headers import ABOUT_RETRIES
from pyproxy.filters.http.router.strict_headers import integer
from pyproxy.http.message import Headers, Request
from pyproxy.routes.route import Route
from pyproxy.tasks import Deadlines, DeadlineTable

# What a client may say to the router; consumed here, never forwarded (Envoy: router filter, HTTP headers).
_TIMEOUT: Final = b"x-envoy-upstream-rq-timeout-ms"
_PER_TRY: Final = b"x-envoy-upstream-rq-per-try-timeout-ms"
_HEDGE: Final = b"x-envoy-hedge-on-per-try-timeout"
EXPECTED: Final = b"x-envoy-expected-rq-timeout-ms"
_ALTERNATIVE: Final = b"x-envoy-upstream-rq-timeout-alt-response"
CONSUMED: Final = frozenset(
    (_TIMEOUT, _PER_TRY, b"x-envoy-upstream-alt-stat-name", _ALTERNATIVE, EXPECTED, *ABOUT_RETRIES)
)
_TIMEOUTS: Final = frozenset((_TIMEOUT, EXPECTED))
_MAX_TIMEOUT_MS: Final = 24 * 3600 * 1000


class Timeouts:
    """What a router does about time."""

    __slots__ = ("_deadlines", "_respect", "_tell_time")

    def __init__(self, config: RouterConfig, deadlines: DeadlineTable) -> None:
        self._deadlines = deadlines
        self._respect = config.respect_expected_rq_timeout
        self._tell_time = not config.suppress_envoy_headers

    def of_request(self, request: Request, route: Route, asks: bool) -> Deadlines | None:
        """The route timeout, or what the request says of it; tells the upstream in a header.

        `asks` is whether one of the headers `CONSUMED` is there.
        """
        headers = request.headers
        index = headers.index
        seconds: float = route.timeout
        expected = route.timeout_ms
        if self._respect and EXPECTED in index:
            _note_per_try(request)
            return self._of_proxy_in_front(headers, seconds, expected)
        if asks:
            asked = integer(index.get(_TIMEOUT))
            if asked is not None:
                seconds, expected = min(asked, _MAX_TIMEOUT_MS) / 1000, b"%d" % asked
            request.info.quiet_timeout = _ALTERNATIVE in index
            _note_per_try(request)
            for name in CONSUMED:
                if name != EXPECTED:
                    headers.remove(name)
        if not seconds or not self._tell_time:
            headers.remove(EXPECTED)
        elif EXPECTED in index:
            headers.set(EXPECTED, expected)
        else:
            headers.pairs.append((EXPECTED, expected))
            index[EXPECTED] = expected
        return self._deadlines.of(seconds) if seconds else None

    def _of_proxy_in_front(self, headers: Headers, seconds: float, expected: bytes) -> Deadlines | None:
        """It had the word on the timeout, so x-envoy-upstream-rq-timeout-ms is not for us (Envoy)."""
        said = integer(headers.index[EXPECTED])
        if said is not None:
            seconds, expected = min(said, _MAX_TIMEOUT_MS) / 1000, b"%d" % said
        for name in CONSUMED - _TIMEOUTS:
            headers.remove(name)
        headers.set(EXPECTED, expected)
        return self._deadlines.of(seconds) if seconds else None

    def of_try(self, request: Request, route: Route, timeout: Deadlines | None) -> Deadlines | None:
        """The time for one try, if it is less than that for all of them; then the upstream is told of it instead."""
        asked = request.info.per_try_ms
        seconds: float = route.per_try_timeout if asked < 0 else min(asked, _MAX_TIMEOUT_MS) / 1000
        if not seconds or (timeout is not None and seconds >= timeout.seconds):
            return None
        if self._tell_time and not (request.info.hedge_on_per_try_timeout or route.hedge):
            request.headers.set(EXPECTED, b"%d" % round(seconds * 1000))
        return self._deadlines.of(seconds)


def _note_per_try(request: Request) -> None:
    asked = integer(request.headers.index.get(_PER_TRY))
    if asked is not None:
        request.info.per_try_ms = asked
    request.info.hedge_on_per_try_timeout = request.headers.index.get(_HEDGE) == b"true"
