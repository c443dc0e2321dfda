"""Compiles what the bootstrap says of statistics: protobuf -> `config.stats` values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from pyproxy.config.address import AddressConfig
from pyproxy.config.export import ExportKind
from pyproxy.config.export_compile import compile_grpc_service, compile_resource_attributes
from pyproxy.config.extensions import CompileContext
from pyproxy.config.matcher_compile import compile_string_match
from pyproxy.config.matchers import StringKind, StringMatch
from pyproxy.config.parts import not_yet, part
from pyproxy.config.stats import BucketRule, SinkConfig, SinkKind, StatsConfig, StatsMatcher, TagRule
from pyproxy.config.view import View

_FLUSH_INTERVAL: Final = 5.0
_DATAGRAM: Final = 512
"""What fits a packet on any network (statsd's own advice)."""
_PREFIX: Final = "envoy"
_EVERYTHING: Final = StringMatch(StringKind.PREFIX, "")


def compile_stats(view: View, context: CompileContext) -> StatsConfig:
    """`stats_config`, `stats_sinks` and `stats_flush_interval` of a bootstrap."""
    interval = view.seconds("stats_flush_interval")
    sinks = tuple(_sinks(view, context))
    config = view.child("stats_config")
    made = StatsConfig(_FLUSH_INTERVAL if interval is None else interval, sinks=sinks)
    if config is None:
        return made
    specifiers = config.children("stats_tags")
    defaults = config.wrapped("use_all_default_tags")
    matcher = config.child("stats_matcher")
    return replace(
        made,
        tags=tuple(
            (one.text("tag_name"), one.text("fixed_value"))
            for one in specifiers
            if one.oneof("tag_value") == "fixed_value"
        ),
        default_tags=defaults is None or bool(defaults),
        tag_rules=part(
            view.report, (), lambda: tuple(_rule(one) for one in specifiers if one.oneof("tag_value") != "fixed_value")
        ),
        matcher=StatsMatcher() if matcher is None else part(view.report, StatsMatcher(), lambda: _matcher(matcher)),
        buckets=config.each("histogram_bucket_settings", _buckets),
    )


def _rule(view: View) -> TagRule:
    name, regex = view.text("tag_name"), view.text("regex")
    if regex:
        try:
            groups = re.compile(regex, re.ASCII).groups
        except (re.error, RecursionError) as error:
            view.fail("regex", f"{regex!r} cannot be used: {error}")
        if not groups:
            view.fail("regex", f"{regex!r} has no group", expected="a group around what is cut out of the name")
    return TagRule(name, regex)


def _matcher(view: View) -> StatsMatcher:
    kind = view.oneof("stats_matcher")
    match kind:
        case "reject_all":
            return StatsMatcher((_EVERYTHING,)) if view.scalar(kind) else StatsMatcher()
        case "exclusion_list" | "inclusion_list":
            patterns = view.need(kind).each("patterns", compile_string_match)
            return StatsMatcher(patterns, kind == "inclusion_list")
        case _:
            view.fail("", "says nothing", expected="inclusion_list, exclusion_list or reject_all")


def _buckets(view: View) -> BucketRule:
    bounds = tuple(float(bound) for bound in view.scalars("buckets"))
    if view.has("bins"):
        view.fail("bins", "is not supported: bins are those of circllhist", expected="buckets")
    match = compile_string_match(view.need("match"))
    return BucketRule(match, tuple(sorted(bounds)))


# Sinks


def _sinks(view: View, context: CompileContext) -> Iterator[SinkConfig]:
    """Those that there are. Others are listed as not honoured: statistics that go nowhere harm no traffic."""
    for entry in view.children("stats_sinks"):
        with view.report.isolate():
            peeked = not_yet(entry).any("typed_config")
            make = None if peeked is None else _SINKS.get(peeked.type_name)
            if make is not None:
                entry.ignore("name")
                typed = entry.any("typed_config")
                assert typed is not None
                yield make(typed, context)


def _statsd(view: View, context: CompileContext) -> SinkConfig:
    prefix = view.text("prefix") or _PREFIX
    if view.oneof("statsd_specifier") == "tcp_cluster_name":
        cluster = view.text("tcp_cluster_name")
        context.check_cluster(view, "tcp_cluster_name", cluster)
        return SinkConfig(SinkKind.STATSD, prefix, tcp_cluster=cluster, most_bytes=_DATAGRAM)
    address = _udp_address(view.need("address"))
    return SinkConfig(SinkKind.STATSD, prefix, address, most_bytes=_DATAGRAM)


def _dogstatsd(view: View, context: CompileContext) -> SinkConfig:
    most = view.wrapped("max_bytes_per_datagram")
    address = _udp_address(view.need("address"))
    return SinkConfig(SinkKind.DOGSTATSD, view.text("prefix") or _PREFIX, address, most_bytes=most or _DATAGRAM)


def _open_telemetry(view: View, context: CompileContext) -> SinkConfig:
    target = compile_grpc_service(view.need("grpc_service"), ExportKind.OTLP_GRPC, context)
    tags, names = view.wrapped("emit_tags_as_attributes"), view.wrapped("use_tag_extracted_name")
    return SinkConfig(
        SinkKind.OTLP,
        prefix=view.text("prefix"),
        target=replace(target, attributes=compile_resource_attributes(view)),
        counter_deltas=bool(view.scalar("report_counters_as_deltas")),
        histogram_deltas=bool(view.scalar("report_histograms_as_deltas")),
        tags_as_attributes=tags is None or bool(tags),
        short_names=names is None or bool(names),
    )


_SINKS: Final = {
    "envoy.config.metrics.v3.StatsdSink": _statsd,
    "envoy.config.metrics.v3.DogStatsdSink": _dogstatsd,
    "envoy.extensions.stat_sinks.open_telemetry.v3.SinkConfig": _open_telemetry,
}


def _udp_address(view: View) -> AddressConfig:
    """An address for datagrams, whatever protocol it names."""
    kind = view.oneof("address")
    if kind == "pipe":
        return AddressConfig(pipe=view.need("pipe").text("path"))
    if kind == "socket_address":
        socket = view.need("socket_address")
        socket.ignore("protocol")
        return AddressConfig(host=socket.text("address"), port=socket.scalar("port_value"))
    view.fail("", f"an address of kind {kind!r} is not supported here", expected="socket_address or pipe")
