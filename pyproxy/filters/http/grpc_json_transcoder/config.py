"""The transcoder as a value (envoy...grpc_json_transcoder.v3.GrpcJsonTranscoder)."""

from __future__ import annotations

from dataclasses import dataclass

from pyproxy.filters.http.grpc_json_transcoder.transcode import JsonTranscoder
from pyproxy.runtime import Runtime
from pyproxy.transcoding.transcoder import TranscodeOptions

BUFFER = 1 << 20
"""Bytes of a body that are collected: Envoy's buffer, unless a listener says otherwise."""


_OPTIONS = TranscodeOptions()


@dataclass(frozen=True, slots=True)
class JsonTranscoderConfig:
    """`descriptors` is a serialised FileDescriptorSet. Without services nothing is translated."""

    descriptors: bytes = b""
    options: TranscodeOptions = _OPTIONS
    keep_route: bool = False
    """The route is that of the request as it came."""
    convert_status: bool = False
    """Errors without a body are told in JSON."""
    reject_unknown_method: bool = False
    reject_unknown_query: bool = False
    newlines: bool = False
    events: bool = False
    """How answers of streams stand in the body: not as an array, but a line each, or as server-sent events."""
    most_request: int = BUFFER
    most_response: int = BUFFER

    @property
    def reroutes(self) -> bool:
        return not self.keep_route

    def build(self, runtime: Runtime) -> JsonTranscoder:
        del runtime
        return JsonTranscoder(self)
