"""What to record of requests, and where to (envoy.config.tap.v3.TapConfig), as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from pyproxy.config.matchers import Fraction, HeaderMatch

MOST_BUFFERED: Final = 1024
"""Bytes that are kept of a body unless the configuration says otherwise (Envoy)."""


class TapPart(Enum):
    """A part of an exchange, as trace segments name it."""

    REQUEST_HEADERS = "request_headers"
    REQUEST_BODY = "request_body_chunk"
    REQUEST_TRAILERS = "request_trailers"
    RESPONSE_HEADERS = "response_headers"
    RESPONSE_BODY = "response_body_chunk"
    RESPONSE_TRAILERS = "response_trailers"


class TapFormat(Enum):
    """How a trace is written."""

    JSON_BODY_AS_BYTES = "JSON_BODY_AS_BYTES"
    JSON_BODY_AS_STRING = "JSON_BODY_AS_STRING"
    PROTO_BINARY = "PROTO_BINARY"
    PROTO_BINARY_LENGTH_DELIMITED = "PROTO_BINARY_LENGTH_DELIMITED"
    PROTO_TEXT = "PROTO_TEXT"

    @property
    def suffix(self) -> str:
        """Of a file."""
        return _SUFFIXES[self]


_SUFFIXES: Final = {
    TapFormat.JSON_BODY_AS_BYTES: ".json",
    TapFormat.JSON_BODY_AS_STRING: ".json",
    TapFormat.PROTO_BINARY: ".pb",
    TapFormat.PROTO_BINARY_LENGTH_DELIMITED: ".pb_length_delimited",
    TapFormat.PROTO_TEXT: ".pb_text",
}


@dataclass(frozen=True, slots=True)
class AnyRule:
    """Everything fits."""


@dataclass(frozen=True, slots=True)
class NotRule:
    rule: TapRule


@dataclass(frozen=True, slots=True)
class AndRule:
    rules: tuple[TapRule, ...]


@dataclass(frozen=True, slots=True)
class OrRule:
    rules: tuple[TapRule, ...]


@dataclass(frozen=True, slots=True)
class HeadersRule:
    """All of the matches fit headers or trailers."""

    part: TapPart
    matches: tuple[HeaderMatch, ...]


@dataclass(frozen=True, slots=True)
class BodyRule:
    """All of the patterns are in the first `limit` bytes of a body; 0 means anywhere."""

    part: TapPart
    patterns: tuple[bytes, ...]
    limit: int = 0


TapRule = AnyRule | NotRule | AndRule | OrRule | HeadersRule | BodyRule


@dataclass(frozen=True, slots=True)
class FileSink:
    """A file for each exchange: `<path_prefix>_<number><suffix>`."""

    path_prefix: str


@dataclass(frozen=True, slots=True)
class AdminSink:
    """Whoever has asked at the admin: each trace as it comes, or `most` of them, or those of `seconds`, at once.
    `most` is 0 where they are not kept back."""

    most: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class TapConfig:
    """`rx` and `tx` bound what is kept of a request's and of a response's body. `streaming`: a segment for each part
    as soon as it is known that the exchange is wanted, instead of one trace at its end."""

    rule: TapRule
    sink: FileSink | AdminSink
    format: TapFormat = TapFormat.JSON_BODY_AS_BYTES
    rx: int = MOST_BUFFERED
    tx: int = MOST_BUFFERED
    streaming: bool = False
    enabled: Fraction | None = None
