"""The HTTP connection manager as a value."""

from __future__ import annotations

from typing import Any

import pytest

from pyproxy.config.access_log import Comparison, StatusFilter
from pyproxy.config.format import parse_format, parse_json_format
from pyproxy.config.headers import HeaderAdd
from pyproxy.config.view import View
from pyproxy.filters.http.router.config import RouterConfig
from pyproxy.filters.network.http_connection_manager.compile import compile as compile_manager
from pyproxy.filters.network.http_connection_manager.config import (
    EscapedSlashes,
    ForwardingOptions,
    HcmTimeouts,
    HttpConnectionManagerConfig,
    LocalReplyConfig,
    LocalReplyMapper,
    PathOptions,
    RequestIdOptions,
    ServerHeader,
    Underscores,
)
from pyproxy.http.codec import CodecLimits, CodecOptions
from tests.config.compiling import CONTEXT, MANAGER, ROUTER, URL, as_yaml, manager, problems, unread, view

NOT_YET = {
    "access_log_flush_interval",
    "match_upstream",
}
STATUS = {"status_code_filter": {"comparison": {"op": "EQ", "value": {"default_value": 503}}}}


def compiled(**fields: Any) -> tuple[HttpConnectionManagerConfig, View]:
    config = manager(**fields)
    del config["@type"]
    seen = view(MANAGER.removeprefix(URL), as_yaml(config))
    return compile_manager(seen, CONTEXT), seen


def test_a_bare_manager_has_envoys_defaults() -> None:
    value, seen = compiled()
    assert problems(seen) == []
    assert unread(seen) == []
    assert value == HttpConnectionManagerConfig("p", route_table=value.route_table, filters=value.filters)
    assert [(one.name, one.config) for one in value.filters] == [("envoy.filters.http.router", RouterConfig())]
    assert value.timeouts == HcmTimeouts(stream_idle=300, connection_idle=3600, delayed_close=1)
    assert value.codec == CodecOptions(limits=CodecLimits(60, 100))
    assert hash(value) == hash(compiled()[0])


@pytest.mark.parametrize(
    ("fields", "attribute", "expected"),
    [
        (
            {
                "stream_idle_timeout": "1s",
                "request_timeout": "2s",
                "request_headers_timeout": "3s",
                "drain_timeout": "4s",
                "delayed_close_timeout": "0s",
                "common_http_protocol_options": {
                    "idle_timeout": "0s",
                    "max_stream_duration": "6s",
                    "max_connection_duration": "7s",
                },
            },
            "timeouts",
            HcmTimeouts(1, 2, 3, 0, 0, 6, 7, 4),
        ),
        (
            {
                "max_request_headers_kb": 8,
                "common_http_protocol_options": {"max_headers_count": 9},
                "http_protocol_options": {
                    "accept_http_10": True,
                    "allow_absolute_url": False,
                    "allow_custom_methods": True,
                    "allow_chunked_length": True,
                    "enable_trailers": True,
                    "send_fully_qualified_url": True,
                },
            },
            "codec",
            CodecOptions(True, False, True, False, True, CodecLimits(8, 9), True),
        ),
        (
            {
                "normalize_path": True,
                "merge_slashes": True,
                "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
                "strip_any_host_port": True,
                "strip_trailing_host_dot": True,
            },
            "paths",
            PathOptions(True, True, EscapedSlashes.UNESCAPE_AND_REDIRECT, False, True, True),
        ),
        (
            {
                "use_remote_address": True,
                "xff_num_trusted_hops": 2,
                "skip_xff_append": True,
                "append_x_forwarded_port": True,
                "via": "v",
                "internal_address_config": {
                    "unix_sockets": True,
                    "cidr_ranges": [
                        {"address_prefix": "10.1.2.3", "prefix_len": 8},
                        {"address_prefix": "::1", "prefix_len": 200},
                        {"address_prefix": "1.2.3.4"},
                    ],
                },
                "represent_ipv4_remote_address_as_ipv4_mapped_ipv6": True,
                "scheme_header_transformation": {"scheme_to_overwrite": "https", "match_upstream": True},
                "forward_client_cert_details": "SANITIZE_SET",
                "set_current_client_cert_details": {"subject": True, "uri": True},
            },
            "forwarding",
            ForwardingOptions(
                True,
                2,
                True,
                True,
                b"v",
                ("10.0.0.0/8", "::1/128", "0.0.0.0/0"),
                True,
                b"https",
                "SANITIZE_SET",
                ("subject", "uri"),
            ),
        ),
        (
            {
                "generate_request_id": False,
                "preserve_external_request_id": True,
                "always_set_request_id_in_response": True,
            },
            "request_id",
            RequestIdOptions(False, True, True),
        ),
        ({"server_name": "s"}, "server_name", b"s"),
        ({"server_header_transformation": "PASS_THROUGH"}, "server_header", ServerHeader.PASS_THROUGH),
        (
            {"common_http_protocol_options": {"headers_with_underscores_action": "DROP_HEADER"}},
            "underscores",
            Underscores.DROP_HEADER,
        ),
        ({"common_http_protocol_options": {"max_requests_per_connection": 5}}, "max_requests_per_connection", 5),
        ({"http_protocol_options": {"default_host_for_http_10": "h"}}, "default_http10_host", b"h"),
        ({"http_protocol_options": {"header_key_format": {"proper_case_words": {}}}}, "header_key_format", "proper"),
        ({"stream_error_on_invalid_http_message": True}, "stream_error_on_invalid_message", True),
        (
            {
                "stream_error_on_invalid_http_message": True,
                "http_protocol_options": {"override_stream_error_on_invalid_http_message": False},
            },
            "stream_error_on_invalid_message",
            False,
        ),
        ({"add_user_agent": True}, "add_user_agent", True),
        ({"proxy_100_continue": True}, "proxy_100_continue", True),
    ],
)
def test_what_a_manager_says_is_in_its_value(fields: dict[str, Any], attribute: str, expected: object) -> None:
    value, seen = compiled(**fields)
    assert problems(seen) == []
    assert set(unread(seen)) <= NOT_YET
    assert getattr(value, attribute) == expected


def test_local_replies() -> None:
    value, seen = compiled(
        local_reply_config={
            "mappers": [
                {
                    "filter": STATUS,
                    "status_code": 429,
                    "body": {"inline_string": "b"},
                    "body_format_override": {"text_format": "%LOCAL_REPLY_BODY%", "content_type": "t/x"},
                    "headers_to_add": [{"header": {"key": "X", "value": "1"}}],
                },
                {"filter": STATUS},
            ],
            "body_format": {"json_format": {"s": "%RESPONSE_CODE%"}},
        }
    )
    chosen = StatusFilter(Comparison.EQ, 503)
    assert problems(seen) == []
    assert value.local_reply == LocalReplyConfig(
        (
            LocalReplyMapper(
                chosen,
                429,
                b"b",
                parse_format("%LOCAL_REPLY_BODY%"),
                b"t/x",
                (HeaderAdd(b"x", parse_format("1")),),
            ),
            LocalReplyMapper(chosen),
        ),
        parse_json_format({"s": "%RESPONSE_CODE%"}),
    )


def test_all_faults_are_found_at_once() -> None:
    _, seen = compiled(
        codec_type="HTTP3",
        strip_any_host_port=True,
        strip_matching_host_port=True,
        internal_address_config={"cidr_ranges": [{"address_prefix": "x"}]},
        http_filters=[
            {
                "name": "envoy.filters.http.cors",
                "typed_config": {"@type": f"{URL}envoy.extensions.filters.http.cors.v3.Cors"},
            },
            ROUTER,
        ],
        original_ip_detection_extensions=[
            {"name": "x", "typed_config": {"@type": f"{URL}envoy.config.core.v3.Locality"}}
        ],
        upgrade_configs=[{"upgrade_type": "a"}, {"upgrade_type": "A"}],
        access_log=[{"name": "x"}],
    )
    assert sorted(fault.split(":")[0] for fault in problems(seen)) == [
        "access_log[0].typed_config",
        "codec_type",
        "http_filters[0].typed_config",
        "internal_address_config.cidr_ranges[0].address_prefix",
        "original_ip_detection_extensions[0]",
        "strip_any_host_port",
        "upgrade_configs[1].upgrade_type",
    ]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"route_config": None}, "says no routes"),
        ({"http_filters": []}, "no request would be answered"),
        ({"http_filters": [{**ROUTER, "disabled": True}]}, "cannot be disabled"),
        ({"http_filters": [ROUTER, {**ROUTER, "name": "again"}]}, "'envoy.filters.http.router' is not the last"),
        (
            {"http_filters": [{"name": "r", "config_discovery": {"type_urls": ["a/x.Router"]}}]},
            "no HTTP filter of type x.Router is supported",
        ),
        ({"common_http_protocol_options": {"max_response_headers_kb": 1}}, "is for upstreams only"),
        ({"access_log_flush_interval": "1s", "access_log_options": {}}, "is set, and access_log_options too"),
    ],
)
def test_what_cannot_be_is_a_fault(fields: dict[str, Any], reason: str) -> None:
    _, seen = compiled(**fields)
    assert [reason in fault for fault in problems(seen)] == [True]


@pytest.mark.parametrize(
    ("fields", "listed"),
    [
        ({"http2_protocol_options": {}}, []),
        ({"upgrade_configs": [{"upgrade_type": "x", "filters": [ROUTER]}]}, ["filters"]),
        ({"http3_protocol_options": {}, "append_local_overload": True}, []),
    ],
)
def test_what_is_not_honoured_is_left_unread(fields: dict[str, Any], listed: list[str]) -> None:
    _, seen = compiled(**fields)
    assert problems(seen) == []
    assert unread(seen) == listed
