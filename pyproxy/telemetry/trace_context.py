"""How a trace goes from one service to the next in headers: W3C Trace Context and B3, read and written.

Sans-IO and without a decision: `telemetry.tracer` decides. Ids are lower-case hexadecimal text. Sources: W3C Trace
Context level 2 (sections 3.2, 3.3), openzipkin/b3-propagation; what is taken and refused follows Envoy's tracers.
"""

from __future__ import annotations

import re
from typing import Final

from pyproxy.config.tracing import Propagation
from pyproxy.http.message import Headers

TRACEPARENT: Final = b"traceparent"
TRACESTATE: Final = b"tracestate"
_B3: Final = b"b3"
_TRACE_ID: Final = b"x-b3-traceid"
_SPAN_ID: Final = b"x-b3-spanid"
_PARENT_ID: Final = b"x-b3-parentspanid"
_SAMPLED: Final = b"x-b3-sampled"
_FLAGS: Final = b"x-b3-flags"

_PARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})").fullmatch
_SINGLE: Final = re.compile(
    rb"([0-9a-f]{32}|[0-9a-f]{16})-([0-9a-f]{16})(?:-([01d]))?(?:-([0-9a-f]{16}))?", re.IGNORECASE
).fullmatch
_LONG: Final = re.compile(rb"[0-9a-f]{32}|[0-9a-f]{16}", re.IGNORECASE).fullmatch
_SHORT: Final = re.compile(rb"[0-9a-f]{16}", re.IGNORECASE).fullmatch
_NO_TRACE: Final = b"0" * 32
_NO_SPAN: Final = b"0" * 16
_DECISIONS: Final = {b"1": True, b"0": False, b"d": True, b"true": True, b"false": False}


class BadContext(Exception):
    """There is a context, and it cannot be read: the request is not traced, and goes on as it came."""


class Parent:
    """What the downstream says of its trace. `sampled` is None where it leaves that to us; `trace_id` is empty where
    it has only decided."""

    __slots__ = ("parent_id", "sampled", "single", "span_id", "state", "trace_id")

    def __init__(self, trace_id: str, span_id: str, sampled: bool | None) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = ""
        self.sampled = sampled
        self.state = b""
        self.single = False
        """It came as one `b3` header."""


def extract(headers: Headers, ways: tuple[Propagation, ...]) -> Parent | None:
    """The parent, by the first way that finds one. Raises BadContext."""
    for way in ways:
        parent = _READERS[way](headers)
        if parent is not None:
            return parent
    return None


def _extract_w3c(headers: Headers) -> Parent | None:
    value = headers.index.get(TRACEPARENT)
    if value is None:
        return None
    found = _PARENT(value)
    if found is None or found[1] == b"ff" or found[2] == _NO_TRACE or found[3] == _NO_SPAN:
        raise BadContext
    parent = Parent(found[2].decode(), found[3].decode(), bool(int(found[4], 16) & 1))
    parent.state = headers.joined(TRACESTATE) or b""
    return parent


def _extract_b3(headers: Headers) -> Parent | None:
    value = headers.index.get(_B3)
    if value is None:
        return _extract_multi(headers)
    if value in _DECISIONS:
        parent = Parent("", "", _DECISIONS[value])
        parent.single = True
        return parent
    found = _SINGLE(value)
    if found is None:
        raise BadContext
    parent = Parent(found[1].decode().lower(), found[2].decode().lower(), _DECISIONS.get(found[3]))
    parent.parent_id = "" if found[4] is None else found[4].decode().lower()
    parent.single = True
    return parent


def _extract_multi(headers: Headers) -> Parent | None:
    index = headers.index
    sampled = True if index.get(_FLAGS) == b"1" else _DECISIONS.get(index.get(_SAMPLED, b"").lower())
    trace_id, span_id = index.get(_TRACE_ID), index.get(_SPAN_ID)
    if trace_id is None or span_id is None:
        return None if sampled is None else Parent("", "", sampled)
    if _LONG(trace_id) is None or _SHORT(span_id) is None:
        raise BadContext
    parent = Parent(trace_id.decode().lower(), span_id.decode().lower(), sampled)
    above = index.get(_PARENT_ID)
    if above is not None:
        if _SHORT(above) is None:
            raise BadContext
        parent.parent_id = above.decode().lower()
    return parent


def _extract_zipkin_w3c(headers: Headers) -> Parent | None:
    parent = _extract_b3(headers)
    return _extract_w3c(headers) if parent is None else parent


_READERS: Final = {
    Propagation.W3C: _extract_w3c,
    Propagation.B3: _extract_b3,
    Propagation.B3_MULTI: _extract_b3,
    Propagation.ZIPKIN: _extract_b3,
    Propagation.ZIPKIN_W3C: _extract_zipkin_w3c,
}


class Identity:
    """A span as headers tell of it."""

    __slots__ = ("parent_id", "sampled", "single", "span_id", "state", "trace_id")

    def __init__(self, trace_id: str, span_id: str, parent_id: str, sampled: bool) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_id = parent_id
        self.sampled = sampled
        self.state = b""
        self.single = False


def inject(headers: Headers, span: Identity, ways: tuple[Propagation, ...]) -> None:
    """Write the context into a request, in place of what it holds."""
    for way in ways:
        _WRITERS[way](headers, span)


def _put(headers: Headers, name: bytes, value: bytes) -> None:
    if name in headers.index:
        headers.set(name, value)
    else:
        headers.pairs.append((name, value))
        headers.index[name] = value


def _inject_w3c(headers: Headers, span: Identity) -> None:
    trace_id = span.trace_id if len(span.trace_id) == 32 else span.trace_id.zfill(32)
    _put(headers, TRACEPARENT, f"00-{trace_id}-{span.span_id}-{'01' if span.sampled else '00'}".encode())
    _put(headers, TRACESTATE, span.state)


def _inject_single(headers: Headers, span: Identity) -> None:
    above = f"-{span.parent_id}" if span.parent_id else ""
    _put(headers, _B3, f"{span.trace_id}-{span.span_id}-{int(span.sampled)}{above}".encode())


def _inject_multi(headers: Headers, span: Identity) -> None:
    _put(headers, _TRACE_ID, span.trace_id.encode())
    _put(headers, _SPAN_ID, span.span_id.encode())
    if span.parent_id:
        _put(headers, _PARENT_ID, span.parent_id.encode())
    _put(headers, _SAMPLED, b"1" if span.sampled else b"0")


def _inject_zipkin(headers: Headers, span: Identity) -> None:
    if span.single:
        _inject_single(headers, span)
    else:
        _inject_multi(headers, span)


def _inject_zipkin_w3c(headers: Headers, span: Identity) -> None:
    _inject_zipkin(headers, span)
    _inject_w3c(headers, span)


_WRITERS: Final = {
    Propagation.W3C: _inject_w3c,
    Propagation.B3: _inject_single,
    Propagation.B3_MULTI: _inject_multi,
    Propagation.ZIPKIN: _inject_zipkin,
    Propagation.ZIPKIN_W3C: _inject_zipkin_w3c,
}
