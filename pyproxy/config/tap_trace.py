"""Traces of the tap filter as bytes (envoy.data.tap.v3.TraceWrapper), from plain data.

Plain traces cross from workers to the manager, so they are JSON: bytes are latin-1 text in them.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import json_format, text_format

from pyproxy.config.descriptors import message_class, pool
from pyproxy.config.tap import TapFormat

_WRAPPER: Final = "envoy.data.tap.v3.TraceWrapper"
_HEADER_PARTS: Final = ("request_headers", "request_trailers", "response_headers", "response_trailers")


def render_trace(trace: dict[str, Any], form: TapFormat) -> bytes:
    """`trace` is what `filters.http.tap.traces` makes."""
    wrapper: Any = message_class(_WRAPPER)()
    as_string = form is TapFormat.JSON_BODY_AS_STRING
    if "segment" in trace:
        _fill_segment(wrapper.http_streamed_trace_segment, trace, as_string=as_string)
    else:
        buffered = wrapper.http_buffered_trace
        for name in ("request", "response"):
            if trace[name] is not None:
                _fill_message(getattr(buffered, name), trace[name], as_string=as_string)
        for name in ("downstream", "upstream"):
            if trace.get(name):
                _fill_connection(getattr(buffered, f"{name}_connection"), *trace[name])
    match form:
        case TapFormat.PROTO_BINARY:
            return bytes(wrapper.SerializeToString())
        case TapFormat.PROTO_BINARY_LENGTH_DELIMITED:
            packed = bytes(wrapper.SerializeToString())
            return _varint(len(packed)) + packed
        case TapFormat.PROTO_TEXT:
            return text_format.MessageToString(wrapper, descriptor_pool=pool()).encode()
        case _:
            text = json_format.MessageToJson(
                wrapper,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
                indent=1,
                ensure_ascii=False,
                descriptor_pool=pool(),
            )
            return text.encode() + b"\n"


def _fill_message(message: Any, plain: dict[str, Any], *, as_string: bool) -> None:
    _fill_headers(message.headers, plain["headers"])
    _fill_headers(message.trailers, plain["trailers"])
    if plain["body"] is not None:
        _fill_body(message.body, plain["body"], truncated=plain["truncated"], as_string=as_string)
    if plain.get("time"):
        message.headers_received_time.FromNanoseconds(int(plain["time"] * 1e6) * 1000)


def _fill_segment(segment: Any, trace: dict[str, Any], *, as_string: bool) -> None:
    segment.trace_id = trace["id"]
    part, value = trace["segment"], trace["value"]
    if part in _HEADER_PARTS:
        _fill_headers(getattr(segment, part).headers, value)
    else:
        _fill_body(getattr(segment, part), value, truncated=trace["truncated"], as_string=as_string)


def _fill_headers(into: Any, pairs: list[tuple[str, str]]) -> None:
    for name, value in pairs:
        header = into.add(key=name)
        raw = value.encode("latin-1")
        try:
            header.value = raw.decode()
        except UnicodeDecodeError:
            header.raw_value = raw


def _fill_body(body: Any, text: str, *, truncated: bool, as_string: bool) -> None:
    raw = text.encode("latin-1")
    if as_string:
        body.as_string = raw.decode("utf-8", "replace")
    else:
        body.as_bytes = raw
    body.truncated = truncated


def _fill_connection(connection: Any, local: list[Any], remote: list[Any]) -> None:
    connection.SetInParent()  # an exchange without an upstream has an empty connection to it
    for name, (host, port) in (("local_address", local), ("remote_address", remote)):
        address = getattr(connection, name)
        if host.startswith(("/", "@")):
            address.pipe.path = host
        elif host:
            address.socket_address.address = host
            address.socket_address.port_value = port


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
