"""The manager process: everything that is not traffic. It answers operators (admin) and renders statistics.

It lives apart from the workers so that a large scrape or configuration never delays a request, and apart from the
supervisor so that the one that can fork stays small. When it dies traffic goes on, and it is started again.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from datetime import UTC, datetime

import uvloop

from pyproxy.config.runtime_values import RuntimeValues
from pyproxy.server.admin.access_log import AdminAccessLog
from pyproxy.server.admin.server import AdminServer
from pyproxy.server.blueprint import ManagerSeat
from pyproxy.server.event_sources import ExpiryWatch, tell_start
from pyproxy.server.exporting.hub import ExportHub
from pyproxy.server.manager_stats import ManagerStats
from pyproxy.server.process import EXIT_CANNOT_START, EXIT_OK
from pyproxy.server.proxy import Proxy
from pyproxy.server.stats_sinks.flush import StatsFlush
from pyproxy.tasks import call_every

log = logging.getLogger("pyproxy.server.manager")

FLUSH_INTERVAL = 1.0
EXPIRY_INTERVAL = 3600.0
"""Seconds between looks at how long certificates are valid."""


class Manager:
    """The life of the manager process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seat: ManagerSeat) -> None:
        self._loop = loop
        self._seat = seat
        self._stop = loop.create_future()
        self._proxy = Proxy(loop, seat)
        self._stats = ManagerStats(self._proxy)
        self._exports = ExportHub(self._proxy, self._stats.store)
        self._stats.exemplars = self._exports.exemplars
        self._sinks = StatsFlush(seat.blueprint.bootstrap.stats.sinks, self._proxy, self._stats)
        self._admin = AdminServer(self._proxy, self._stats, self._admin_log())

    async def run(self) -> int:
        """From the first moment to the exit code."""
        self._loop.add_signal_handler(signal.SIGQUIT, self._stop_now)
        self._loop.add_signal_handler(signal.SIGUSR1, self._reopen_logs)
        stop_ticking = call_every(self._loop, FLUSH_INTERVAL, lambda: self._stats.tick(FLUSH_INTERVAL))
        bootstrap = self._seat.blueprint.bootstrap
        tell_start(bootstrap, self._proxy.events)
        proxy = self._proxy
        expiry = ExpiryWatch(
            bootstrap,
            proxy.events,
            proxy.listeners,
            lambda: {} if proxy.discovery is None else proxy.discovery.secret_bodies(),
        )

        def look_at_certificates() -> None:
            self._stats.tell_days_left(expiry.look(datetime.now(UTC)))

        stop_looking = call_every(self._loop, EXPIRY_INTERVAL, look_at_certificates)
        look_at_certificates()
        socket = self._seat.blueprint.admin_socket
        if socket is not None:
            await self._admin.start(socket)
        self._proxy.discover(self._loop, self._stats.store)
        # A manager that was restarted finds workers that have long said what they are.
        await self._proxy.state()
        gc.collect()
        gc.freeze()
        await self._stop
        stop_ticking()
        stop_looking()
        self._proxy.events.close()
        self._proxy.tap.close()
        self._proxy.tap_filters.close()
        await self._admin.close()
        await self._exports.close()
        await self._sinks.close()
        self._proxy.close()
        return EXIT_OK

    def _admin_log(self) -> AdminAccessLog:
        blueprint = self._seat.blueprint
        admin = blueprint.bootstrap.admin
        configs = admin.access_logs if admin is not None else ()
        values = RuntimeValues(blueprint.bootstrap.runtime_layers)
        return AdminAccessLog(self._loop, configs, self._stats.store, blueprint.log_flush_seconds, values)

    def _reopen_logs(self) -> None:
        self._seat.blueprint.app_log.reopen()
        self._admin.reopen_logs()
        self._proxy.events.reopen()

    def _stop_now(self) -> None:
        if not self._stop.done():
            self._stop.set_result(None)


def run_manager(seat: ManagerSeat) -> int:
    """The body of the manager process."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(runner.get_loop(), seat))


async def _run(loop: asyncio.AbstractEventLoop, seat: ManagerSeat) -> int:
    try:
        manager = Manager(loop, seat)
    except OSError as error:
        log.critical("%s: %s", error.filename or "the manager", error.strerror or error)
        return EXIT_CANNOT_START
    return await manager.run()
