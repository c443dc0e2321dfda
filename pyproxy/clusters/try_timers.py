"""The clocks of one try that few configurations set: per_try_timeout, per_try_idle_timeout, and the
max_stream_duration of a cluster.

A try gets such an object only where one of them is on; the others pay nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pyproxy.errors import ProxyError, ResponseFlag, Source
from pyproxy.tasks import Deadlines

if TYPE_CHECKING:
    from pyproxy.clusters.one_try import Try

PER_TRY_TIMEOUT: Final = "upstream_per_try_timeout"
PER_TRY_IDLE_TIMEOUT: Final = "upstream_per_try_idle_timeout"
_LOOKS: Final = 4


class TryTimers:
    """They run once the try has a connection; waiting for one does not count (Envoy).

    `idle` is a fourth of the time in which nothing may happen: it looks four times whether something did.
    """

    __slots__ = ("_duration", "_idle", "_moved", "_per_try", "_quiet", "_try", "on_slow")

    def __init__(
        self, attempt: Try, duration: Deadlines | None, per_try: Deadlines | None, idle: Deadlines | None = None
    ) -> None:
        self._try = attempt
        self._duration = duration
        self._per_try = per_try
        self._idle = idle
        self.on_slow: Callable[[Try], None] | None = None
        """Called in place of ending the try when `per_try` is over (Envoy: hedge_on_per_try_timeout)."""
        self._moved = -1
        self._quiet = 0

    def connected(self) -> None:
        if self._idle is not None:
            self._idle.arm(self)
        if self._duration is not None:
            self._duration.arm(self)
        if self._per_try is not None and self._try.request.body is None:
            self._per_try.arm(self)

    def request_ended(self) -> None:
        if self._per_try is not None:
            self._per_try.arm(self)

    def disarm(self) -> None:
        for deadlines in (self._duration, self._per_try, self._idle):
            if deadlines is not None:
                deadlines.disarm(self)

    def on_deadline(self, deadlines: Deadlines) -> None:
        attempt = self._try
        stats = attempt.cluster.stats
        if deadlines is self._per_try and attempt.response is None:
            if self.on_slow is not None:
                attempt.pool.host.rq_timeout += 1
                self.on_slow(attempt)
            else:
                stats.upstream_rq_per_try_timeout.value += 1
                attempt.fail(_timed_out(PER_TRY_TIMEOUT))
        elif deadlines is self._idle and deadlines is not None:
            self._look(deadlines)
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

    def _look(self, idle: Deadlines) -> None:
        """Whether something was sent or received since the last look."""
        attempt = self._try
        moved = attempt.info.wire_sent + attempt.info.wire_received
        self._quiet = self._quiet + 1 if moved == self._moved else 0
        self._moved = moved
        if self._quiet < _LOOKS:
            idle.arm(self)
            return
        attempt.cluster.stats.upstream_rq_per_try_idle_timeout.value += 1
        attempt.fail(_timed_out(PER_TRY_IDLE_TIMEOUT))


def _timed_out(details: str) -> ProxyError:
    return ProxyError(
        ResponseFlag.UPSTREAM_REQUEST_TIMEOUT, Source.UPSTREAM, 504, details, body=b"upstream request timeout"
    )
