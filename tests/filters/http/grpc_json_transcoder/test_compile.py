"""The transcoder's configuration."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from pyproxy.config.invalid import InvalidConfig
from pyproxy.filters.http.grpc_json_transcoder.compile import compile as compile_filter
from pyproxy.transcoding.json_text import PrintOptions
from pyproxy.transcoding.path_matcher import Unescape
from tests.config.compiling import CONTEXT, unread, view
from tests.support.shelf import descriptor_set

TYPE = "envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder"
INLINE = f"proto_descriptor_bin: {base64.b64encode(descriptor_set()).decode()}"


def test_everything() -> None:
    seen = view(
        TYPE,
        f"""{{{INLINE}, services: [t.Library], match_incoming_request_route: true, ignored_query_parameters: [a],
        auto_mapping: true, ignore_unknown_query_parameters: true, convert_grpc_status: true,
        url_unescape_spec: ALL_CHARACTERS, query_param_unescape_plus: true, match_unregistered_custom_verb: true,
        case_insensitive_enum_parsing: true, max_request_body_size: 5, max_response_body_size: 6,
        request_validation_options: {{reject_unknown_method: true, reject_unknown_query_parameters: true,
            reject_binding_body_field_collisions: true}},
        print_options: {{add_whitespace: true, always_print_primitive_fields: true, always_print_enums_as_ints: true,
            preserve_proto_field_names: true, stream_newline_delimited: true}}}}""",
    )
    config = compile_filter(seen, CONTEXT)
    assert config.keep_route
    assert not config.reroutes
    assert config.convert_status
    assert config.reject_unknown_method
    assert config.reject_unknown_query
    assert config.newlines
    assert not config.events
    assert (config.most_request, config.most_response) == (5, 6)
    options = config.options
    assert options.printing == PrintOptions(True, True, True, True)
    assert options.ignored_query == frozenset({"a"})
    assert options.unescape is Unescape.ALL
    assert all((options.auto_mapping, options.plus_is_space, options.any_verb, options.any_enum_case))
    assert options.reject_collisions
    assert unread(seen) == []


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "set.pb"
    file.write_bytes(descriptor_set())
    config = compile_filter(view(TYPE, f"{{proto_descriptor: {file}, services: [t.Library]}}"), CONTEXT)
    assert config.descriptors == descriptor_set()
    with pytest.raises(InvalidConfig, match="cannot be read: No such file"):
        compile_filter(view(TYPE, f"{{proto_descriptor: {file}x, services: [t.Library]}}"), CONTEXT)


def test_faults_name_what_is_meant() -> None:
    with pytest.raises(InvalidConfig, match=r"services: the descriptors have no service 't.Librar'"):
        compile_filter(view(TYPE, f"{{{INLINE}, services: [t.Librar]}}"), CONTEXT)


def test_without_services_it_is_off() -> None:
    assert compile_filter(view(TYPE, "{}"), CONTEXT).options.services == ()
