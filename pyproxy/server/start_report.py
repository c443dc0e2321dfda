"""The first lines of the log: what this proxy is, what it was given, and what of that it will not do."""

from __future__ import annotations

import logging
import os
from collections import Counter

from pyproxy.server.admin.origin import is_loopback
from pyproxy.server.blueprint import Blueprint, UnhonouredField
from pyproxy.server.build_info import ENVOY_VERSION, build_info
from pyproxy.server.flags import Options
from pyproxy.server.sockets import address_of

log = logging.getLogger("pyproxy.server.start")
config_log = logging.getLogger("pyproxy.config.start")
admin_log = logging.getLogger("pyproxy.server.admin.start")


def report_build(options: Options) -> None:
    """Before anything can fail."""
    build = build_info()
    log.info("pyproxy %s, pid %d, following Envoy %s", build["pyproxy"], os.getpid(), ENVOY_VERSION)
    log.info(
        "engines: HTTP/1 %s, HTTP/2 %s, hot path %s, loop %s, TLS %s, %s",
        build["http1"],
        build["http2"],
        build["hot_path"],
        build["loop"],
        build["tls"],
        build["python"],
    )
    for flag in options.without_meaning:
        log.debug("flag %s is accepted and has no meaning here", flag)


def report_blueprint(blueprint: Blueprint) -> None:
    """When everything is ready to be forked."""
    bootstrap = blueprint.bootstrap
    config_log.info(
        "configuration %s: %d listeners, %d clusters; %d workers",
        blueprint.options.config_path or "(--config-yaml)",
        len(bootstrap.listeners),
        len(bootstrap.clusters),
        blueprint.workers,
    )
    for listener in bootstrap.listeners:
        for key in listener.socket_keys:
            log.info("listener '%s' on %s", listener.name, blueprint.sockets.addresses[key])
    if blueprint.admin_socket is None:
        admin_log.info("no admin address is configured")
    else:
        address = address_of(blueprint.admin_socket)
        admin_log.info("admin address: %s", address)
        if not address.pipe and not is_loopback(address):
            admin_log.warning(
                "the admin listens on %s, not only on loopback: whoever can reach it can stop this proxy", address
            )
    _report_unhonoured(blueprint.unhonoured, blueprint.options.config_path)


def _report_unhonoured(fields: tuple[UnhonouredField, ...], path: str) -> None:
    """One line for each kind of field, with its first place."""
    if not fields:
        return
    severe = sum(field.severe for field in fields)
    config_log.warning(
        "%d fields of the configuration are not honoured, %d of them change traffic or security:"
        " see admin /unsupported, or run: pyproxy compat %s",
        len(fields),
        severe,
        path,
    )
    counts = Counter(field.field for field in fields)
    first = {field.field: field for field in reversed(fields)}
    for name, count in counts.items():
        field = first[name]
        level = logging.WARNING if field.severe else logging.INFO
        more = f" and {count - 1} more" if count > 1 else ""
        config_log.log(level, "not honoured (%s): %s at %s%s", field.effect, field.path, field.place, more)
