"""Compiles `envoy.config.tap.v3.TapConfig`: of the tap filter, and of what is asked at the admin."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Final

from pyproxy.config import pgv
from pyproxy.config.descriptors import message_class
from pyproxy.config.invalid import Fault, InvalidConfig, Report
from pyproxy.config.load import add_faults, load_message
from pyproxy.config.matcher_compile import compile_header_match, compile_runtime_fraction
from pyproxy.config.tap import (
    MOST_BUFFERED,
    AdminSink,
    AndRule,
    AnyRule,
    BodyRule,
    FileSink,
    HeadersRule,
    NotRule,
    OrRule,
    TapConfig,
    TapFormat,
    TapPart,
    TapRule,
)
from pyproxy.config.view import View

REQUEST: Final = "envoy.admin.v3.TapRequest"
TAP: Final = "envoy.config.tap.v3.TapConfig"
_HEADERS: Final = {
    "http_request_headers_match": TapPart.REQUEST_HEADERS,
    "http_request_trailers_match": TapPart.REQUEST_TRAILERS,
    "http_response_headers_match": TapPart.RESPONSE_HEADERS,
    "http_response_trailers_match": TapPart.RESPONSE_TRAILERS,
}
_BODIES: Final = {
    "http_request_generic_body_match": TapPart.REQUEST_BODY,
    "http_response_generic_body_match": TapPart.RESPONSE_BODY,
}
_FOR_ADMIN: Final = ("JSON_BODY_AS_BYTES", "JSON_BODY_AS_STRING", "PROTO_BINARY_LENGTH_DELIMITED")


@dataclass(frozen=True, slots=True)
class TapRequest:
    """What was posted to `/tap`. `packed` is the configuration again, for the workers."""

    config_id: str
    config: TapConfig
    packed: str


def compile_tap(view: View) -> TapConfig:
    """Raises InvalidConfig."""
    output = view.need("output_config")
    sinks = output.children("sinks")
    if len(sinks) != 1:
        output.fail("sinks", f"has {len(sinks)} elements", expected="exactly one sink")
    sink = sinks[0]
    rx, tx = output.wrapped("max_buffered_rx_bytes"), output.wrapped("max_buffered_tx_bytes")
    return TapConfig(
        rule=_rule(view.need("match" if view.has("match") or not view.has("match_config") else "match_config")),
        sink=_sink(sink),
        format=TapFormat(sink.enum("format")),
        rx=MOST_BUFFERED if rx is None else rx,
        tx=MOST_BUFFERED if tx is None else tx,
        streaming=bool(output.scalar("streaming")),
        enabled=compile_runtime_fraction(view.need("tap_enabled")) if view.has("tap_enabled") else None,
    )


def _sink(view: View) -> FileSink | AdminSink:
    match view.oneof("output_sink_type"):
        case "file_per_tap":
            return FileSink(view.need("file_per_tap").text("path_prefix"))
        case ("streaming_admin" | "buffered_admin") as kind:
            if view.enum("format") not in _FOR_ADMIN:
                view.fail("format", "is not for the admin", expected=f"one of {', '.join(_FOR_ADMIN)}")
            asked = view.need(kind)
            if kind == "streaming_admin":
                return AdminSink()
            return AdminSink(int(asked.scalar("max_traces")), asked.seconds("timeout") or 0.0)
        case kind:
            view.fail(
                kind or "",
                "is not supported" if kind else "says nothing",
                expected="file_per_tap, streaming_admin or buffered_admin",
            )


def _rule(view: View) -> TapRule:
    match view.oneof("rule"):
        case "any_match":
            view.scalar("any_match")
            return AnyRule()
        case "not_match":
            return NotRule(_rule(view.need("not_match")))
        case "and_match":
            return AndRule(view.need("and_match").each("rules", _rule))
        case "or_match":
            return OrRule(view.need("or_match").each("rules", _rule))
        case str() as kind if kind in _HEADERS:
            return HeadersRule(_HEADERS[kind], view.need(kind).each("headers", compile_header_match))
        case str() as kind:
            body = view.need(kind)
            return BodyRule(_BODIES[kind], body.each("patterns", _pattern), int(body.scalar("bytes_limit")))
        case _:
            view.fail("", "says nothing", expected=f"any_match, and_match, or_match, not_match, {', '.join(_HEADERS)}")


def _pattern(view: View) -> bytes:
    if view.oneof("rule") == "binary_match":
        return bytes(view.scalar("binary_match"))
    return view.text("string_match").encode()


def parse_tap_request(text: str) -> TapRequest:
    """What was posted, in JSON or YAML. Raises InvalidConfig with every fault."""
    loaded = load_message(text, "/tap", REQUEST)
    add_faults(loaded, pgv.validate(loaded.message))
    if loaded.faults:
        raise InvalidConfig(loaded.faults)
    report = Report()
    view = View(loaded.message, (), report)
    config = compile_tap(view.need("tap_config"))
    report.raise_if_faulty()
    if not isinstance(config.sink, AdminSink):
        path = ("tap_config", "output_config", "sinks", 0)
        raise InvalidConfig([Fault(path, "is not answered here", "streaming_admin or buffered_admin")])
    message: Any = loaded.message
    packed = base64.b64encode(message.tap_config.SerializeToString()).decode()
    return TapRequest(view.text("config_id"), config, packed)


def unpack_tap(packed: str) -> TapConfig:
    """The configuration of a `TapRequest`, in a worker."""
    return compile_tap(View(message_class(TAP).FromString(base64.b64decode(packed)), (), Report()))
