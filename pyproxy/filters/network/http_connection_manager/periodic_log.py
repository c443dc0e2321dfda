"""Access-log lines for a request that is still in progress, every so many seconds (Envoy: DownstreamPeriodic)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyproxy.tasks import Deadlines

if TYPE_CHECKING:
    from pyproxy.filters.network.http_connection_manager.exchange import Exchange


class PeriodicLog:
    """The clock of one exchange; only where `access_log_flush_interval` is set."""

    __slots__ = ("_clock", "_exchange")

    def __init__(self, exchange: Exchange, clock: Deadlines) -> None:
        self._exchange = exchange
        self._clock = clock
        clock.arm(self)

    def on_deadline(self, deadlines: Deadlines) -> None:
        self._exchange.manager.log_in_progress(self._exchange)
        deadlines.arm(self)

    def stop(self) -> None:
        self._clock.disarm(self)
