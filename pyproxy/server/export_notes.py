"""Telemetry on its way from a worker to the manager: the notes on the channel that carry it."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import asdict
from typing import Any, Final

from pyproxy.config.bootstrap import BootstrapConfig
from pyproxy.config.export import ExportKind, ExportTarget
from pyproxy.server.channel import Channel, ChannelError
from pyproxy.telemetry.exports import Exports

log = logging.getLogger("pyproxy.server.export_notes")

_PIECE: Final = 100
"""Watched requests in one note."""
MOST_QUEUED: Final = 64
"""Frames of 60 KB: a manager that is further behind gets no more telemetry until it has read them."""


def hand_over(exports: Exports, channel: Channel) -> None:
    """Tell the manager what there is. What it does not take is dropped and counted."""
    events = exports.events.take()
    if events:
        try:
            channel.tell({"event": "events", "events": [one.as_message() for one in events]})
        except ChannelError as error:
            log.debug("%d events were dropped: %s", len(events), error)
    entries, missed = exports.tap.take()
    for at in range(0, len(entries), _PIECE):
        with contextlib.suppress(ChannelError):
            channel.tell({"event": "tap", "entries": entries[at : at + _PIECE], "dropped": missed})
        missed = 0
    _hand_over_traces(exports, channel)
    for target, items, dropped in exports.take():
        try:
            if channel.queued > MOST_QUEUED:
                raise ChannelError("the manager is behind")
            channel.tell({"event": "export", "target": target_as_message(target), "items": items, "dropped": dropped})
        except ChannelError as error:
            log.debug("%d items for %s were dropped: %s", len(items), target.cluster, error)
            exports.lost(target, len(items) + dropped)


def _hand_over_traces(exports: Exports, channel: Channel) -> None:
    """One by one: a trace may be as large as the bodies that it has."""
    traces, missed = exports.taps.take()
    for config_id, trace in traces:
        try:
            if channel.queued > MOST_QUEUED:
                raise ChannelError("the manager is behind")
            channel.tell({"event": "tap_trace", "id": config_id, "trace": trace})
        except ChannelError:
            missed += 1
    if missed:
        log.warning("%d traces of taps were dropped", missed)


def exports_something(bootstrap: BootstrapConfig) -> bool:
    """Whether there is work for the manager's exporters: without it, and without an admin, there is no manager."""
    chains = [
        chain
        for listener in bootstrap.listeners
        for chain in (*listener.filter_chains, listener.default_filter_chain)
        if chain is not None
    ]
    configs = [one.config for chain in chains for one in chain.filters]
    return bool(bootstrap.stats.sinks) or any(
        ((tracing := getattr(config, "tracing", None)) is not None and tracing.tracer is not None)
        or any(log.target is not None for log in getattr(config, "access_logs", ()))
        for config in configs
    )


def target_as_message(target: ExportTarget) -> dict[str, Any]:
    return {**asdict(target), "kind": target.kind.value}


def target_of_message(message: dict[str, Any]) -> ExportTarget:
    pairs = {name: tuple((str(key), str(value)) for key, value in message[name]) for name in ("headers", "attributes")}
    return ExportTarget(**{**message, **pairs, "kind": ExportKind(message["kind"])})
