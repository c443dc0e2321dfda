"""From a compiled configuration to a proxy that is ready to be forked: sockets, shared memory, channels."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import Any

from pyproxy.config.bootstrap import BootstrapConfig
from pyproxy.config.invalid import Report
from pyproxy.server.app_log import AppLog
from pyproxy.server.blueprint import Blueprint, Pairs, StatsAreas
from pyproxy.server.concurrency import worker_count
from pyproxy.server.flags import Options
from pyproxy.server.sockets import CannotListen, address_of, bind, explain, open_listeners

log = logging.getLogger("pyproxy.server.launch")

_ADMIN_BACKLOG = 128


def prepare(options: Options, message: Any, bootstrap: BootstrapConfig, report: Report, app_log: AppLog) -> Blueprint:
    """Open everything that can fail. Raises CannotListen, and OSError for the file of `--admin-address-path`."""
    workers = worker_count(options.concurrency)
    sockets = open_listeners(bootstrap.listeners, workers)
    try:
        admin = _open_admin(bootstrap)
    except CannotListen:
        sockets.close()
        raise
    if admin is not None and options.admin_address_path:
        Path(options.admin_address_path).write_text(str(address_of(admin)), "utf-8")
    return Blueprint(
        options=options,
        message=message,
        bootstrap=bootstrap,
        report=report,
        app_log=app_log,
        sockets=sockets,
        pairs=Pairs.make(workers),
        stats_areas=StatsAreas.make(workers),
        admin_socket=admin,
    )


def start_log(options: Options) -> AppLog:
    """The application log as the command line wants it. Raises OSError where its file cannot be opened."""
    return AppLog.start(
        level=options.log_level,
        components=options.component_levels,
        path=options.log_path,
        pattern=options.log_format,
        escape=options.log_format_escaped,
    )


def _open_admin(bootstrap: BootstrapConfig) -> socket.socket | None:
    """It listens from the start: who asks while the manager is made, or made again, waits a moment."""
    if bootstrap.admin is None:
        return None
    address = bootstrap.admin.address
    try:
        sock = bind(address)
        sock.listen(_ADMIN_BACKLOG)
    except OSError as error:
        raise CannotListen([f"admin: {explain(address, error)}"]) from error
    return sock
