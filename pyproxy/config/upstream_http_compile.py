"""Compiles how a cluster speaks HTTP: protobuf -> `config.cluster.UpstreamHttpOptions`.

Envoy: envoy.extensions.upstreams.http.v3.HttpProtocolOptions, and the older fields of Cluster that say the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pyproxy.config.cluster import UpstreamHttpOptions, UpstreamProtocol
from pyproxy.config.http2_compile import compile_http2
from pyproxy.config.view import View

OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TCP: Final = "envoy.extensions.upstreams.tcp.v3.TcpProtocolOptions"
_CODEC: Final = "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"

DEFAULTS: Final = UpstreamHttpOptions()


def compile_upstream_http(view: View) -> UpstreamHttpOptions:
    """The HTTP options of a `Cluster`. The extension, where there is one, replaces all older fields (as in Envoy)."""
    options: UpstreamHttpOptions | None = None
    encrypted = view.has("transport_socket") or bool(view.message.transport_socket_matches)  # type: ignore[attr-defined]
    for name, packed in view.entries("typed_extension_protocol_options").items():
        typed = packed.unwrap()
        packed.honour_all()
        if typed.type_name == _TCP:  # about connections that wait for a session, and none does
            typed.honour_all()
            continue
        if name != OPTIONS or typed.type_name != OPTIONS:
            packed.fail("", f"protocol options of type {typed.type_name} are not supported", expected=OPTIONS)
        options = _from_extension(typed, encrypted=encrypted)
    if options is None:
        return _from_old_fields(view, encrypted=encrypted)
    view.ignore("common_http_protocol_options", "http_protocol_options", "http2_protocol_options")
    view.ignore("upstream_http_protocol_options", "protocol_selection", "max_requests_per_connection")
    return options


def header_key_format(view: View) -> str:
    """`lower` or `proper`, of an `Http1ProtocolOptions`."""
    chosen = view.child("header_key_format")
    if chosen is None:
        return "lower"
    if chosen.has("stateful_formatter"):
        chosen.fail(
            "stateful_formatter", "header formatter extensions are not supported yet", expected="proper_case_words"
        )
    chosen.need("proper_case_words")
    return "proper"


def check_upstream_filters(view: View, field: str) -> None:
    """Filters on the upstream side: only the codec, which ends every such chain and is what we do anyhow."""
    for entry in view.children(field):
        name = entry.text("name")
        typed = entry.any("typed_config")
        if typed is None or typed.type_name != _CODEC:
            kind = typed.type_name if typed is not None else "none"
            entry.fail("", f"the upstream HTTP filter {name!r} of type {kind} is not supported", expected=_CODEC)


def _from_extension(view: View, *, encrypted: bool) -> UpstreamHttpOptions:
    check_upstream_filters(view, "http_filters")
    named = _names(view, DEFAULTS, encrypted=encrypted)
    kind = view.oneof("upstream_protocol_options")
    if not kind:
        view.fail(
            "", "chooses no protocol", expected="explicit_http_config, auto_config, use_downstream_protocol_config"
        )
    chosen = view.need(kind)
    explicit = kind == "explicit_http_config"
    options = _explicit(chosen, named) if explicit else _either(chosen, kind, named, encrypted=encrypted)
    common = view.child("common_http_protocol_options")
    return options if common is None else _common(common, options)


def _explicit(view: View, named: UpstreamHttpOptions) -> UpstreamHttpOptions:
    protocol = view.oneof("protocol_config")
    if protocol == "http2_protocol_options":
        return replace(named, protocol=UpstreamProtocol.HTTP2, http2=compile_http2(view.need(protocol)))
    if protocol != "http_protocol_options":
        what = f"{protocol} is not supported yet for upstreams" if protocol else "chooses no protocol"
        view.fail(protocol or "", what, expected="http_protocol_options or http2_protocol_options")
    return _http1(view.need(protocol), named)


def _either(view: View, kind: str, named: UpstreamHttpOptions, *, encrypted: bool) -> UpstreamHttpOptions:
    """HTTP/1 or HTTP/2, as is agreed on by ALPN or as the downstream speaks."""
    if view.has("http3_protocol_options"):
        view.fail("http3_protocol_options", "is not supported", expected="http2_protocol_options")
    automatic = kind == "auto_config"
    if automatic and not encrypted:
        view.fail("", "needs a transport_socket with TLS: what is spoken is agreed on by ALPN")
    if automatic:
        view.ignore("alternate_protocols_cache_options")  # for HTTP/3
    http1 = view.child("http_protocol_options")
    options = named if http1 is None else _http1(http1, named)
    return replace(
        options,
        protocol=UpstreamProtocol.AUTO if automatic else UpstreamProtocol.DOWNSTREAM,
        http2=compile_http2(view.child("http2_protocol_options")),
    )


def _from_old_fields(view: View, *, encrypted: bool) -> UpstreamHttpOptions:
    options = _names(view, DEFAULTS, encrypted=encrypted)
    http2 = view.child("http2_protocol_options")
    if http2 is not None:
        options = replace(options, protocol=UpstreamProtocol.HTTP2, http2=compile_http2(http2))
    if view.enum("protocol_selection") == "USE_DOWNSTREAM_PROTOCOL":
        options = replace(options, protocol=UpstreamProtocol.DOWNSTREAM)
    common = view.child("common_http_protocol_options")
    if common is not None:
        options = _common(common, options)
    http1 = view.child("http_protocol_options")
    if http1 is not None:
        options = _http1(http1, options)
    most = view.wrapped("max_requests_per_connection")
    return options if most is None else replace(options, max_requests_per_connection=most)


def _names(view: View, options: UpstreamHttpOptions, *, encrypted: bool) -> UpstreamHttpOptions:
    """Names for TLS that depend on the request; in plain text there is nobody to tell them."""
    if not encrypted:
        view.ignore("upstream_http_protocol_options")
        return options
    names = view.child("upstream_http_protocol_options")
    if names is None:
        return options
    return replace(
        options,
        auto_sni=bool(names.scalar("auto_sni")),
        auto_san_validation=bool(names.scalar("auto_san_validation")),
        sni_header=names.text("override_auto_sni_header").lower().encode(),
    )


def _http1(view: View, options: UpstreamHttpOptions) -> UpstreamHttpOptions:
    """What applies to requests only, or chooses between Envoy's parsers, means nothing here."""
    view.ignore("allow_absolute_url", "accept_http_10", "default_host_for_http_10", "use_balsa_parser")
    view.ignore("allow_custom_methods", "override_stream_error_on_invalid_http_message")
    form, trailers = header_key_format(view), bool(view.scalar("enable_trailers"))
    if form == options.header_key_format and trailers == options.enable_trailers:
        return options  # thousands of clusters share the defaults
    return replace(options, header_key_format=form, enable_trailers=trailers)


def _common(view: View, options: UpstreamHttpOptions) -> UpstreamHttpOptions:
    view.ignore("headers_with_underscores_action")  # only for requests that come in
    idle, longest = view.seconds("idle_timeout"), view.seconds("max_connection_duration")
    most = view.wrapped("max_requests_per_connection")
    count, size = view.wrapped("max_headers_count"), view.wrapped("max_response_headers_kb")
    return replace(
        options,
        idle_timeout=options.idle_timeout if idle is None else idle,
        max_connection_duration=longest or 0.0,
        max_stream_duration=view.seconds("max_stream_duration") or 0.0,
        max_requests_per_connection=most or 0,
        max_response_headers=options.max_response_headers if count is None else count,
        max_response_headers_kb=options.max_response_headers_kb if size is None else size,
    )
