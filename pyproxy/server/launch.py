"""From the command line to a proxy that is ready to be forked: log, configuration, sockets, shared memory, channels."""

from __future__ import annotations

import logging
import resource
import socket
import sys
from pathlib import Path

from pyproxy.config.bootstrap import BootstrapConfig
from pyproxy.config.invalid import render_path
from pyproxy.server.app_log import AppLog
from pyproxy.server.blueprint import Blueprint, Pairs, StatsAreas, UnhonouredField
from pyproxy.server.concurrency import worker_count
from pyproxy.server.configuration import Configuration, ConfigurationError, read_configuration
from pyproxy.server.data_plane import DataPlane
from pyproxy.server.flags import DEFAULT_LOG_FORMAT, Options
from pyproxy.server.process import EXIT_CRASHED
from pyproxy.server.sockets import CannotListen, address_of, bind, explain, open_listeners
from pyproxy.server.start_report import report_blueprint, report_build
from pyproxy.server.supervisor import Supervisor, start_manager
from pyproxy.server.worker import run_worker

log = logging.getLogger("pyproxy.server.launch")
config_log = logging.getLogger("pyproxy.config.launch")

_ADMIN_BACKLOG = 128


def run(options: Options) -> int:
    """Start the proxy that the command line describes, and return its exit code when it has ended."""
    try:
        app_log = start_log(options)
    except OSError as error:
        sys.stderr.write(f"pyproxy: the log file {options.log_path} cannot be opened: {error.strerror}\n")
        return EXIT_CRASHED
    report_build(options)
    raise_file_limit()
    try:
        blueprint = prepare(options, read_configuration(options), app_log)
    except ConfigurationError as error:
        for line in error.lines():
            config_log.critical("%s", line)
    except CannotListen as error:
        for reason in error.reasons:
            log.critical("%s", reason)
    except OSError as error:
        log.critical("%s cannot be written: %s", options.admin_address_path, error.strerror)
    else:
        report_blueprint(blueprint)
        return Supervisor(blueprint, lambda seat: run_worker(seat, DataPlane), start_manager).run()
    log.critical("exiting")
    return EXIT_CRASHED


def prepare(options: Options, configuration: Configuration, app_log: AppLog) -> Blueprint:
    """Open everything that can fail. Raises CannotListen, and OSError for the file of `--admin-address-path`."""
    bootstrap = configuration.bootstrap
    if bootstrap.log_format and options.log_format == DEFAULT_LOG_FORMAT:
        app_log.set_pattern(bootstrap.log_format)
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
        message=configuration.message,
        bootstrap=bootstrap,
        unhonoured=_unhonoured(configuration),
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


def raise_file_limit() -> None:
    """Two descriptors a request: the usual soft limit of 1024 is for programs that use `select`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        log.debug("limit of open files raised from %d to %d", soft, hard)


def _unhonoured(configuration: Configuration) -> tuple[UnhonouredField, ...]:
    """With their places as text: where everything stands in the file is a tree as large as the file."""
    fields = configuration.report.unhonoured
    place_of = configuration.positions.of
    found = (UnhonouredField(str(place_of(f.path)), render_path(f.path), f.field, f.severe) for f in fields)
    return tuple(sorted(found, key=lambda field: not field.severe))


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
