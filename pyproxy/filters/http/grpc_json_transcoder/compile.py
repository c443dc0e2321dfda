"""Compiles the transcoder: protobuf -> `JsonTranscoderConfig`.

Security posture: trusts neither side. What is collected of bodies is bounded; paths and queries are checked against
descriptors that belong to the configuration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pyproxy.config.extensions import CompileContext
from pyproxy.config.view import View
from pyproxy.filters.http.grpc_json_transcoder.config import BUFFER, JsonTranscoderConfig
from pyproxy.transcoding.error import BadDescriptors
from pyproxy.transcoding.json_text import PrintOptions
from pyproxy.transcoding.path_matcher import Unescape
from pyproxy.transcoding.transcoder import TranscodeOptions, transcoder

_UNESCAPES: Final = {
    "ALL_CHARACTERS_EXCEPT_RESERVED": Unescape.NOT_RESERVED,
    "ALL_CHARACTERS_EXCEPT_SLASH": Unescape.NOT_SLASH,
    "ALL_CHARACTERS": Unescape.ALL,
}
_NO_PRINTING: Final = PrintOptions()


def compile(view: View, context: CompileContext) -> JsonTranscoderConfig:  # noqa: A001 (the name that filters have)
    """A `GrpcJsonTranscoder`."""
    del context
    services = tuple(str(name) for name in view.scalars("services"))
    printing = view.child("print_options")
    checks = view.child("request_validation_options")
    request, response = view.wrapped("max_request_body_size"), view.wrapped("max_response_body_size")
    events = printing is not None and bool(printing.scalar("stream_sse_style_delimited"))
    made = JsonTranscoderConfig(
        descriptors=_descriptors(view),
        options=TranscodeOptions(
            services=services,
            printing=_NO_PRINTING if printing is None else _printing(printing),
            ignored_query=frozenset(str(name) for name in view.scalars("ignored_query_parameters")),
            ignore_unknown_query=bool(view.scalar("ignore_unknown_query_parameters")),
            auto_mapping=bool(view.scalar("auto_mapping")),
            unescape=_UNESCAPES[view.enum("url_unescape_spec")],
            plus_is_space=bool(view.scalar("query_param_unescape_plus")),
            any_verb=bool(view.scalar("match_unregistered_custom_verb")),
            any_enum_case=bool(view.scalar("case_insensitive_enum_parsing")),
            reject_collisions=checks is not None and bool(checks.scalar("reject_binding_body_field_collisions")),
        ),
        keep_route=bool(view.scalar("match_incoming_request_route")),
        convert_status=bool(view.scalar("convert_grpc_status")),
        reject_unknown_method=checks is not None and bool(checks.scalar("reject_unknown_method")),
        reject_unknown_query=checks is not None and bool(checks.scalar("reject_unknown_query_parameters")),
        newlines=not events and printing is not None and bool(printing.scalar("stream_newline_delimited")),
        events=events,
        most_request=BUFFER if request is None else int(request),
        most_response=BUFFER if response is None else int(response),
    )
    if services:
        try:
            transcoder(made.descriptors, made.options)
        except BadDescriptors as error:
            view.fail("services", str(error), nearest=error.nearest)
    return made


compile_route = compile
"""A route is configured by the same message; one without services switches the filter off."""


def _descriptors(view: View) -> bytes:
    kind = view.oneof("descriptor_set")
    if kind == "proto_descriptor_bin":
        data: bytes = view.scalar(kind)
        return data
    if kind is None:
        return b""
    path = Path(view.text("proto_descriptor"))
    try:
        return path.read_bytes()
    except OSError as error:
        view.fail("proto_descriptor", f"the file {path} cannot be read: {error.strerror}")


def _printing(view: View) -> PrintOptions:
    return PrintOptions(
        whitespace=bool(view.scalar("add_whitespace")),
        primitive_fields=bool(view.scalar("always_print_primitive_fields")),
        enums_as_ints=bool(view.scalar("always_print_enums_as_ints")),
        proto_names=bool(view.scalar("preserve_proto_field_names")),
    )
