"""The clocks of one try that few configurations set: per_try_timeout, and the max_stream_duration of a cluster.

A try gets such an object only where one of them is on; the others pay nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.tasks import Deadlines

if TYPE_CHECKING:
    from pyproxy.clusters.upstream import Try

PER_TRY_TIMEOUT: Final = "upstream_per_try_timeout"


class TryTimers:
    """Both run once the try has a connection; waiting for one does not count (Envoy)."""

    __slots__ = ("_duration", "_per_try", "_try")

    def __init__(self, attempt: Try, duration: Deadlines | None, per_try: Deadlines | None) -> None:
        self._try = attempt
        self._duration = duration
        self._per_try = per_try

    def connected(self) -> None:
        if self._duration is not None:
            self._duration.arm(self)
        if self._per_try is not None and self._try.request.body is None:
            self._per_try.arm(self)

    def request_ended(self) -> None:
        if self._per_try is not None:
            self._per_try.arm(self)

    def disarm(self) -> None:
        for deadlines in (self._duration, self._per_try):
            if deadlines is not None:
                deadlines.disarm(self)

    def on_deadline(self, deadlines: Deadlines) -> None:
        attempt = self._try
        stats = attempt.pool.cluster.stats
        if deadlines is self._per_try and attempt.response is None:
            stats.upstream_rq_per_try_timeout.value += 1
            attempt.fail(
                ProxyError(
                    ResponseFlag.UPSTREAM_REQUEST_TIMEOUT,
                    Source.UPSTREAM,
                    504,
                    PER_TRY_TIMEOUT,
                    body=b"upstream request timeout",
                )
            )
        elif deadlines is self._duration:
            stats.upstream_rq_max_duration_reached.value += 1
            attempt.fail(
                ProxyError(
                    ResponseFlag.UPSTREAM_MAX_STREAM_DURATION_REACHED,
                    Source.UPSTREAM,
                    504 if attempt.request.info.request_end else 408,
                    "upstream_max_stream_duration_reached",
                    body=b"upstream max stream duration reached",
                )
            )
