"""Compiles the HTTP connection manager: protobuf -> `HttpConnectionManagerConfig`.

Envoy: envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.
"""

from __future__ import annotations

from typing import Final

from pyproxy.config.access_log_compile import compile_access_logs
from pyproxy.config.config_source_compile import compile_config_source
from pyproxy.config.enums import compile_enum
from pyproxy.config.extensions import Category, CompileContext, Extension, check_order, compile_filter
from pyproxy.config.http2 import H2Options
from pyproxy.config.http2_compile import compile_http2
from pyproxy.config.listener import FilterConfig
from pyproxy.config.parts import part
from pyproxy.config.route import RouteTableConfig
from pyproxy.config.route_compile import compile_route_table
from pyproxy.config.scoped_routes import ScopedRoutesConfig
from pyproxy.config.scoped_routes_compile import compile_scoped_routes
from pyproxy.config.tracing_compile import compile_tracing
from pyproxy.config.upgrade_check import compile_upgrades
from pyproxy.config.upstream_http_compile import header_key_format
from pyproxy.config.view import View
from pyproxy.filters.network.http_connection_manager.config import (
    HcmTimeouts,
    HttpConnectionManagerConfig,
    LocalReplyConfig,
    RdsConfig,
    RequestIdOptions,
    ServerHeader,
    Underscores,
)
from pyproxy.filters.network.http_connection_manager.forwarding_compile import compile_forwarding, compile_paths
from pyproxy.filters.network.http_connection_manager.local_reply_compile import compile_local_reply
from pyproxy.http.codec import CodecLimits, CodecOptions

_UUID: Final = "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig"
_CODECS: Final = ("AUTO", "HTTP1", "HTTP2")
_EXTENSION_LISTS: Final = ("original_ip_detection_extensions", "early_header_mutation_extensions")
_STREAM_ERRORS: Final = "stream_error_on_invalid_http_message"
_NO_LOCAL_REPLY: Final = LocalReplyConfig()


def compile(view: View, context: CompileContext) -> HttpConnectionManagerConfig:  # noqa: A001 (the name all filters have)
    """An `HttpConnectionManager`. Faults in one part do not hide those in the others."""
    report = view.report
    for name in _EXTENSION_LISTS:
        _refuse_extensions(view, name)
    # QUIC, the PROXY protocol's connection state, and answers of the overload manager: there are none.
    view.ignore("http3_protocol_options", "add_proxy_protocol_connection_state", "append_local_overload")
    http1 = view.child("http_protocol_options")
    common = view.child("common_http_protocol_options")
    for check in (_check_flush_interval,):
        with report.isolate():
            check(view)
    most_requests = None if common is None else common.wrapped("max_requests_per_connection")
    reply = view.child("local_reply_config")
    tracing = view.child("tracing")
    return HttpConnectionManagerConfig(
        stat_prefix=view.text("stat_prefix"),
        route_table=part(report, None, lambda: _route_table(view, context)),
        rds=part(report, None, lambda: _rds(view, context)),
        scoped=part(report, None, lambda: _scoped(view, context)),
        filters=part(report, (), lambda: _filters(view, context)),
        codec_type=part(report, "AUTO", lambda: _codec_type(view)),
        codec=_codec(view, http1, common),
        http2=part(report, None, lambda: _http2(view)) or _DEFAULTS.http2,
        upgrades=part(report, (), lambda: compile_upgrades(view.children("upgrade_configs"))),
        default_http10_host=b"" if http1 is None else http1.text("default_host_for_http_10").encode(),
        stream_error_on_invalid_message=_stream_errors(view, http1),
        header_key_format="lower" if http1 is None else part(report, "lower", lambda: header_key_format(http1)),
        server_name=view.text("server_name").encode() or b"envoy",
        server_header=part(report, ServerHeader.OVERWRITE, lambda: _server_header(view)),
        paths=part(report, None, lambda: compile_paths(view)) or _DEFAULTS.paths,
        forwarding=part(report, None, lambda: compile_forwarding(view)) or _DEFAULTS.forwarding,
        request_id=part(report, _DEFAULTS.request_id, lambda: _request_ids(view)),
        timeouts=_timeouts(view, common),
        underscores=part(report, Underscores.ALLOW, lambda: _underscores(common)),
        max_requests_per_connection=most_requests or 0,
        proxy_100_continue=bool(view.scalar("proxy_100_continue")),
        access_logs=compile_access_logs(view, context),
        tracing=None if tracing is None else part(report, None, lambda: compile_tracing(tracing, context)),
        log_at_start=_logs_at_start(view),
        log_interval=_log_interval(view),
        local_reply=_NO_LOCAL_REPLY if reply is None else compile_local_reply(reply),
        add_user_agent=bool(view.wrapped("add_user_agent")),
    )


_DEFAULTS: Final = HttpConnectionManagerConfig("")


def _refuse_extensions(view: View, name: str) -> None:
    for extension in view.children(name):
        with view.report.isolate():
            typed = extension.any("typed_config")
            kind = typed.type_name if typed is not None else "none"
            extension.fail("", f"the extension {extension.text('name')!r} of type {kind} is not supported yet")


def _route_table(view: View, context: CompileContext) -> RouteTableConfig | None:
    """None where the routes come from elsewhere."""
    kind = view.oneof("route_specifier")
    if kind in ("rds", "scoped_routes"):
        return None
    if kind is None:
        view.fail("", "says no routes", expected="route_config, rds or scoped_routes")
    return compile_route_table(view.need(kind), context, validate=True)


def _scoped(view: View, context: CompileContext) -> ScopedRoutesConfig | None:
    scoped = view.child("scoped_routes") if view.oneof("route_specifier") == "scoped_routes" else None
    return None if scoped is None else compile_scoped_routes(scoped, context)


def _rds(view: View, context: CompileContext) -> RdsConfig | None:
    rds = view.child("rds") if view.oneof("route_specifier") == "rds" else None
    if rds is None:
        return None
    return RdsConfig(compile_config_source(rds.need("config_source"), context), rds.text("route_config_name"))


def _filters(view: View, context: CompileContext) -> tuple[FilterConfig, ...]:
    found: list[tuple[FilterConfig, Extension]] = []
    faults = len(view.report.faults)
    for entry in view.children("http_filters"):
        with view.report.isolate():
            one = compile_filter(entry, context, Category.HTTP_FILTER)
            if one is not None:
                found.append(one)
    if len(view.report.faults) == faults:
        if not found:
            view.fail(
                "http_filters", "is empty: no request would be answered", expected="envoy.filters.http.router, last"
            )
        check_order(view, "http_filters", found, "HTTP")
    return tuple(config for config, _ in found)


# The codec


def _codec_type(view: View) -> str:
    kind = view.enum("codec_type")
    if kind not in _CODECS:
        view.fail("codec_type", f"{kind} is not supported yet", expected=" or ".join(_CODECS))
    return kind


def _http2(view: View) -> H2Options:
    return compile_http2(view.child("http2_protocol_options"), stream_errors=bool(view.wrapped(_STREAM_ERRORS)))


def _codec(view: View, http1: View | None, common: View | None) -> CodecOptions:
    size = view.wrapped("max_request_headers_kb")
    count = None if common is None else common.wrapped("max_headers_count")
    limits = CodecLimits(
        headers_kb=_DEFAULT_LIMITS.headers_kb if size is None else size,
        header_count=_DEFAULT_LIMITS.header_count if count is None else count,
    )
    if http1 is None:
        return CodecOptions(limits=limits)
    # How requests are sent upstream, and a choice between Envoy's two parsers.
    http1.ignore("send_fully_qualified_url", "use_balsa_parser")
    absolute = http1.wrapped("allow_absolute_url")
    return CodecOptions(
        allow_http10=bool(http1.scalar("accept_http_10")),
        allow_absolute_url=absolute is None or bool(absolute),
        allow_custom_methods=bool(http1.scalar("allow_custom_methods")),
        keep_trailers=bool(http1.scalar("enable_trailers")),
        allow_chunked_length=bool(http1.scalar("allow_chunked_length")),
        limits=limits,
    )


_DEFAULT_LIMITS: Final = CodecLimits()


def _stream_errors(view: View, http1: View | None) -> bool:
    """What the HTTP/1 options say stands above what is said for all versions."""
    general = bool(view.wrapped(_STREAM_ERRORS))
    special = None if http1 is None else http1.wrapped("override_stream_error_on_invalid_http_message")
    return general if special is None else bool(special)


def _underscores(common: View | None) -> Underscores:
    if common is None:
        return Underscores.ALLOW
    if common.has("max_response_headers_kb"):
        common.fail("max_response_headers_kb", "is for upstreams only")
    return compile_enum(common, "headers_with_underscores_action", Underscores)


def _server_header(view: View) -> ServerHeader:
    return compile_enum(view, "server_header_transformation", ServerHeader)


# Requests


def _request_ids(view: View) -> RequestIdOptions:
    extension = view.child("request_id_extension")
    typed = None if extension is None else extension.any("typed_config")
    if extension is not None and typed is not None and typed.type_name != _UUID:
        extension.fail("typed_config", f"request ids of type {typed.type_name} are not supported", expected=_UUID)
    pack = None if typed is None else typed.wrapped("pack_trace_reason")
    decides = None if typed is None else typed.wrapped("use_request_id_for_trace_sampling")
    generate = view.wrapped("generate_request_id")
    return RequestIdOptions(
        pack_trace_reason=pack is None or bool(pack),
        decides_tracing=decides is None or bool(decides),
        generate=generate is None or bool(generate),
        preserve_external=bool(view.scalar("preserve_external_request_id")),
        always_set_in_response=bool(view.scalar("always_set_request_id_in_response")),
    )


def _timeouts(view: View, common: View | None) -> HcmTimeouts:
    defaults = HcmTimeouts()

    def seconds(owner: View | None, name: str, default: float) -> float:
        found = None if owner is None else owner.seconds(name)
        return default if found is None else found

    return HcmTimeouts(
        stream_idle=seconds(view, "stream_idle_timeout", defaults.stream_idle),
        request=seconds(view, "request_timeout", defaults.request),
        request_headers=seconds(view, "request_headers_timeout", defaults.request_headers),
        connection_idle=seconds(common, "idle_timeout", defaults.connection_idle),
        delayed_close=seconds(view, "delayed_close_timeout", defaults.delayed_close),
        max_stream_duration=seconds(common, "max_stream_duration", defaults.max_stream_duration),
        max_connection_duration=seconds(common, "max_connection_duration", defaults.max_connection_duration),
        drain=seconds(view, "drain_timeout", defaults.drain),
    )


def _logs_at_start(view: View) -> bool:
    """In either of its places."""
    options = view.child("access_log_options")
    return bool((view if options is None else options).scalar("flush_access_log_on_new_request"))


def _log_interval(view: View) -> float:
    options = view.child("access_log_options")
    return (view if options is None else options).seconds("access_log_flush_interval") or 0.0


def _check_flush_interval(view: View) -> None:
    """It may stand in either of its places, but not in both."""
    if not view.has("access_log_options"):
        return
    for name in ("access_log_flush_interval", "flush_access_log_on_new_request"):
        if getattr(view.message, name) and (name != "access_log_flush_interval" or view.has(name)):
            view.fail(name, "is set, and access_log_options too", expected="access_log_options alone")
