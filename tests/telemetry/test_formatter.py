"""Formats as text. The expected texts are what Envoy 1.40 wrote for such requests."""

from __future__ import annotations

import os
import re
from typing import ClassVar

import pytest

from pyproxy.config.format import Format, Operator, parse_format
from pyproxy.errors import ResponseFlag
from pyproxy.http.stream_info import UpstreamInfo
from pyproxy.telemetry.formatter import build_bytes_formatter, build_formatter, literal_bytes
from tests.telemetry.exchanges import forwarded, unread

DEFAULT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    '%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" '
    '"%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n'
)


def shown(text: str) -> str:
    return build_formatter(parse_format(text))(*forwarded())


def test_the_default_format() -> None:
    assert shown(DEFAULT) == (
        '[2026-11-21T02:30:02.338Z] "POST /up/x?a=1&b=%20x&c HTTP/1.1" 200 - 3 265 20 - "-" "-" "-" "h:1" '
        '"127.0.0.1:9000"\n'
    )
    assert build_formatter(parse_format(DEFAULT))(*unread()) == (
        '[2026-11-21T02:30:02.338Z] "- - HTTP/1.1" 400 DPE 0 0 2 - "-" "-" "-" "-" "-"\n'
    )


@pytest.mark.parametrize(
    ("operator", "answered", "not_read"),
    [
        ("PROTOCOL", "HTTP/1.1", "HTTP/1.1"),
        ("UPSTREAM_PROTOCOL", "HTTP/1.1", "-"),
        ("RESPONSE_CODE", "200", "400"),
        ("RESPONSE_CODE_DETAILS", "via_upstream", "http1.codec_error"),
        ("RESPONSE_FLAGS", "-", "DPE"),
        ("RESPONSE_FLAGS_LONG", "-", "DownstreamProtocolError"),
        ("CONNECTION_TERMINATION_DETAILS", "-", "-"),
        ("BYTES_RECEIVED", "3", "0"),
        ("BYTES_SENT", "265", "0"),
        ("REQUEST_HEADERS_BYTES", "104", "0"),
        ("RESPONSE_HEADERS_BYTES", "27", "10"),
        ("RESPONSE_TRAILERS_BYTES", "0", "0"),
        ("BYTES_RETRANSMITTED", "0", "0"),
        ("DOWNSTREAM_WIRE_BYTES_RECEIVED", "155", "0"),
        ("DOWNSTREAM_WIRE_BYTES_SENT", "427", "0"),
        ("DOWNSTREAM_HEADER_BYTES_RECEIVED", "107", "0"),
        ("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", "143", "0"),
        ("UPSTREAM_WIRE_BYTES_RECEIVED", "340", "0"),
        ("UPSTREAM_WIRE_BYTES_SENT", "272", "0"),
        ("UPSTREAM_HEADER_BYTES_SENT", "233", "0"),
        ("UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED", "52", "0"),
        ("DURATION", "20", "2"),
        ("REQUEST_DURATION", "1", "-"),
        ("REQUEST_TX_DURATION", "6", "-"),
        ("RESPONSE_DURATION", "10", "-"),
        ("RESPONSE_TX_DURATION", "10", "-"),
        ("ROUNDTRIP_DURATION", "-", "-"),
        ("UPSTREAM_CONNECTION_POOL_READY_DURATION", "4", "-"),
        ("COMMON_DURATION(DS_RX_BEG:US_CX_BEG:us)", "2000", "-"),
        ("COMMON_DURATION(US_RX_BEG:DS_RX_BEG:us)", "-", "-"),
        ("COMMON_DURATION(DS_RX_BEG:DS_TX_END)", "20", "2"),
        ("COMMON_DURATION(DS_RX_BEG:US_HS_END:ns)", "-", "-"),
        ("ROUTE_NAME", "r", "-"),
        ("VIRTUAL_CLUSTER_NAME", "-", "-"),
        ("UPSTREAM_HOST", "127.0.0.1:9000", "-"),
        ("UPSTREAM_HOST_NAME", "127.0.0.1:9000", "-"),
        ("UPSTREAM_HOST_NAME_WITHOUT_PORT", "127.0.0.1", "-"),
        ("UPSTREAM_HOSTS_ATTEMPTED", "127.0.0.1:9000,[::1]:9001", "-"),
        ("UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT", "127.0.0.1,::1", "-"),
        ("UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT", "127.0.0.1,::1", "-"),
        ("UPSTREAM_CLUSTER", "up", "-"),
        ("UPSTREAM_CLUSTER_RAW", "up", "-"),
        ("UPSTREAM_LOCAL_ADDRESS", "127.0.0.1:5555", "-"),
        ("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "127.0.0.1", "-"),
        ("UPSTREAM_LOCAL_PORT", "5555", "-"),
        ("UPSTREAM_REMOTE_ADDRESS", "127.0.0.1:9000", "-"),
        ("UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(16)", "127.0.0.0/16", "-"),
        ("UPSTREAM_REMOTE_PORT", "9000", "-"),
        ("UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID", "", "-"),
        ("UPSTREAM_REQUEST_ATTEMPT_COUNT", "1", "0"),
        ("UPSTREAM_TRANSPORT_FAILURE_REASON", "-", "-"),
        ("UPSTREAM_DETECTED_CLOSE_TYPE", "Normal", "-"),
        ("UPSTREAM_LOCAL_CLOSE_REASON", "-", "-"),
        ("UPSTREAM_CONNECTION_ID", "9", "0"),
        ("UPSTREAM_CONNECTION_IDS_ATTEMPTED", "9", "-"),
        ("DOWNSTREAM_REMOTE_ADDRESS", "10.1.2.3:3333", "10.1.2.3:3333"),
        ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "10.1.2.3", "10.1.2.3"),
        ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(8)", "10.0.0.0/8", "10.0.0.0/8"),
        ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(33)", "10.1.2.3/32", "10.1.2.3/32"),
        ("DOWNSTREAM_REMOTE_PORT", "3333", "3333"),
        ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "127.0.0.1:4444", "127.0.0.1:4444"),
        ("DOWNSTREAM_LOCAL_ADDRESS", "127.0.0.1:8080", "127.0.0.1:8080"),
        ("DOWNSTREAM_DIRECT_LOCAL_PORT", "8080", "8080"),
        ("DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID", "", ""),
        ("DOWNSTREAM_TRANSPORT_FAILURE_REASON", "-", "-"),
        ("DOWNSTREAM_DETECTED_CLOSE_TYPE", "Normal", "Normal"),
        ("CONNECTION_ID", "7", "7"),
        ("STREAM_ID", "id-1", "-"),
        ("REQ(X-A)", "va", "-"),
        ("REQ(x-a?x-b)", "va", "-"),
        ("REQ(X-N?X-B):1", "v", "-"),
        ("REQ(X-N)", "-", "-"),
        ("REQ(X-E)", "", "-"),
        ("REQ(X-E?X-B)", "", "-"),
        ("REQ(:METHOD)", "POST", "-"),
        ("REQ(HOST)", "h:1", "-"),
        ("REQ(:SCHEME)", "http", "-"),
        ("REQUEST_HEADER(X-B)", "vb", "-"),
        ("RESP(X-UP)", "1", "-"),
        ("RESP(X-DUP)", "a", "-"),
        ("RESP(:STATUS)", "200", "400"),
        ("TRAILER(X-T)", "-", "-"),
        ("GRPC_STATUS", "-", "-"),
        ("GRPC_STATUS_NUMBER", "-", "-"),
        ("METADATA(ROUTE:ns:k)", '{"n":1.5,"z":"zed"}', "-"),
        ("METADATA(ROUTE:ns:k:z):2", "ze", "-"),
        ("METADATA(ROUTE:ns:n)", "3", "-"),
        ("METADATA(ROUTE:ns:l)", '[1,"a",null]', "-"),
        ("METADATA(ROUTE:ns:b)", "true", "-"),
        ("METADATA(ROUTE:ns:s)", 's"q', "-"),
        ("METADATA(ROUTE:ns:nul)", "-", "-"),
        ("METADATA(ROUTE:ns:s:x)", "-", "-"),
        ("METADATA(CLUSTER:ns)", "-", "-"),
        ("DYNAMIC_METADATA(ns)", "-", "-"),
        ("FILTER_STATE(key:PLAIN)", "state", "-"),
        ("FILTER_STATE(nope)", "-", "-"),
        ("REQUESTED_SERVER_NAME", "-", "-"),
        ("REQUESTED_SERVER_NAME(HOST_FIRST:ORIG)", "-", "-"),
        ("REQUESTED_SERVER_NAME(SNI_FIRST)", "h:1", "-"),
        ("LOCAL_REPLY_BODY", "", ""),
        ("FILTER_CHAIN_NAME", "-", "-"),
        ("ACCESS_LOG_TYPE", "NotSet", "NotSet"),
        ("TRACE_ID", "-", "-"),
        ("QUERY_PARAM(a)", "1", "-"),
        ("QUERY_PARAM(b)", " x", "-"),
        ("QUERY_PARAM(c)", "", "-"),
        ("QUERY_PARAM(d)", "-", "-"),
        ("QUERY_PARAMS", "a=1&b=%20x&c", "-"),
        ("QUERY_PARAMS(DECODED):5", "a=1&b", "-"),
        ("PATH", "/up/x?a=1&b=%20x&c", "-"),
        ("PATH(NQ)", "/up/x", "-"),
        ("PATH(WQ:ORIG)", "-", "-"),
        ("PATH(NQ:PATH):3", "/up", "-"),
        ("CUSTOM_FLAGS", "", ""),
        ("DOWNSTREAM_TLS_VERSION", "-", "-"),
        ("HOSTNAME", os.uname().nodename, os.uname().nodename),
        ("ENVIRONMENT(PYPROXY_NOT_SET)", "-", "-"),
    ],
)
def test_operators(operator: str, answered: str, not_read: str) -> None:
    formatter = build_formatter(parse_format(f"<%{operator}%>"))
    assert formatter(*forwarded()) == f"<{answered}>"
    assert formatter(*unread()) == f"<{not_read}>"


def test_paths_after_a_rewrite() -> None:
    request, response = forwarded()
    request.headers.add(b"x-envoy-original-path", b"/old?q")
    for operator, text in [
        ("PATH", "/old?q"),
        ("PATH(NQ)", "/old"),
        ("PATH(WQ:ORIG)", "/old?q"),
        ("PATH(NQ:PATH)", "/up/x"),
        ("PATH(NQ:ORIG_OR_PATH):2", "/o"),
        ("REQ(X-ENVOY-ORIGINAL-PATH?:PATH)", "/old?q"),
    ]:
        assert build_formatter(parse_format(f"%{operator}%"))(request, response) == text


def test_what_left_no_trace_in_the_response() -> None:
    request, _ = forwarded()
    assert build_formatter(parse_format("%RESP(x)% %RESP(:STATUS)% %RESPONSE_HEADERS_BYTES%"))(request, None) == "- - 0"


def test_the_status_of_a_redirect_is_not_known_to_its_headers() -> None:
    request, response = forwarded()
    request.info.status = 0
    assert build_bytes_formatter(parse_format("%RESPONSE_CODE%"))(request, response) == b"0"


def test_a_request_without_scheme() -> None:
    request, response = forwarded()
    request.scheme = b""
    assert build_formatter(parse_format("%REQ(:SCHEME)% %REQUEST_HEADERS_BYTES%"))(request, response) == "- 93"


def test_another_name_for_the_cluster() -> None:
    request, response = forwarded()
    request.info.upstream.observability_name = "alias"
    assert build_formatter(parse_format("%UPSTREAM_CLUSTER% %UPSTREAM_CLUSTER_RAW%"))(request, response) == "alias up"


def test_several_flags_and_details_with_spaces() -> None:
    request, response = forwarded()
    request.info.flags = (ResponseFlag.UPSTREAM_RETRY_LIMIT_EXCEEDED, ResponseFlag.UPSTREAM_CONNECTION_FAILURE)
    request.info.details = "some thing{else it}"
    text = "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%"
    assert build_formatter(parse_format(text))(request, response) == "URX,UF some_thing{else_it} some thing{else it}"


def test_a_host_that_refused_has_an_address_but_no_connection() -> None:
    request, response = forwarded()
    upstream = request.info.upstream = UpstreamInfo()
    upstream.host_address, upstream.cluster = "127.0.0.1:1", "bad"
    upstream.transport_failure_reason = "delayed_connect_error:_Connection_refused"
    text = "%UPSTREAM_HOST% %UPSTREAM_REMOTE_ADDRESS% %UPSTREAM_LOCAL_ADDRESS% %UPSTREAM_TRANSPORT_FAILURE_REASON%"
    assert build_formatter(parse_format(text))(request, response) == (
        "127.0.0.1:1 - - delayed_connect_error:_Connection_refused"
    )


def test_what_need_not_be_written_down() -> None:
    request, response = forwarded()
    request.info.stream_id = ""
    request.info.hosts_attempted = ()
    request.headers.add(b"x-request-id", b"id-2")
    text = "%STREAM_ID% %UPSTREAM_HOSTS_ATTEMPTED% %UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT%"
    formatter = build_formatter(parse_format(text))
    assert formatter(request, response) == "id-2 127.0.0.1:9000 127.0.0.1"
    request.info.upstream.host_name = "localhost"
    assert formatter(request, response) == "id-2 127.0.0.1:9000 localhost"
    assert formatter(*unread()) == "- - -"


def test_metadata_of_the_virtual_host() -> None:
    class Route:
        virtual_host_metadata: ClassVar = {"ns": {"k": "of the route"}}

    request, response = forwarded()
    formatter = build_formatter(parse_format("%METADATA(VIRTUAL_HOST:ns:k)%"))
    assert formatter(request, response) == "-"
    request.route = Route()
    assert formatter(request, response) == "of the route"
    request.info.virtual_host_metadata = {"ns": {"k": "of the stream"}}
    assert formatter(request, response) == "of the stream"


def test_addresses_of_other_kinds() -> None:
    request, response = forwarded()
    connection = request.info.connection
    connection.remote, connection.local = ("2001:db8::1", 80), ("/run/x.sock", 0)
    connection.direct_remote = ("9.9.9.9", 0)
    for operator, text in [
        ("DOWNSTREAM_REMOTE_ADDRESS", "[2001:db8::1]:80"),
        ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "2001:db8::1"),
        ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(32)", "2001:db8::/32"),
        ("DOWNSTREAM_LOCAL_ADDRESS", "/run/x.sock"),
        ("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT(8)", "/run/x.sock"),
        ("DOWNSTREAM_LOCAL_PORT", "-"),
        ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "9.9.9.9:0"),
        ("DOWNSTREAM_DIRECT_REMOTE_PORT", "0"),
    ]:
        assert build_formatter(parse_format(f"%{operator}%"))(request, response) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"0", "OK OK 0"),
        (b"1", "Canceled CANCELLED 1"),
        (b"5", "NotFound NOT_FOUND 5"),
        (b"16", "Unauthenticated UNAUTHENTICATED 16"),
        (b"17", "17 17 17"),
        (b"x", "-1 -1 -1"),
        (None, "Unknown UNKNOWN 2"),
    ],
)
def test_grpc_status(value: bytes | None, text: str) -> None:
    formatter = build_formatter(parse_format("%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)%"))
    for place in ("header", "trailer"):
        request, response = forwarded()
        request.headers.add(b"content-type", b"application/grpc+proto")
        if value is not None and place == "header":
            response.headers.add(b"grpc-status", value)
        elif value is not None:
            request.info.response_trailers = [(b"grpc-status", value)]
        assert formatter(request, response) == text


def test_trailers() -> None:
    request, response = forwarded()
    request.info.response_trailers = [(b"x-t", b"one"), (b"x-t", b"two")]
    text = "%TRAILER(X-T)% %RESPONSE_TRAILER(nope?x-t):2% %RESPONSE_TRAILERS_BYTES%"
    assert build_formatter(parse_format(text))(request, response) == "one on 12"


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYPROXY_TEST", "bar baz")
    assert shown("%ENVIRONMENT(PYPROXY_TEST)%|%ENVIRONMENT(PYPROXY_TEST):2%") == "bar baz|ba"


def test_every_line_has_its_own_unique_id() -> None:
    formatter = build_formatter(parse_format("%UNIQUE_ID%"))
    ids = {formatter(*forwarded()) for _ in range(10)}
    assert len(ids) == 10
    assert all(re.fullmatch(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", one) for one in ids)


def test_unset_operators_are_left_out_when_told_to() -> None:
    text = (
        "[%REQ(nope)%|%RESPONSE_FLAGS%|%UPSTREAM_TRANSPORT_FAILURE_REASON%|%ENVIRONMENT(PYPROXY_NOT_SET)%|%DURATION%]"
    )
    formatter = build_formatter(parse_format(text, omit_empty=True))
    assert formatter(*forwarded()) == "[|-||-|20]"


def test_bytes_that_are_not_text_come_out_as_they_went_in() -> None:
    formatter = build_formatter(parse_format("%REQ(X-BAD)% %REQ(X-U)% %REQ(X-U):1%"))
    line = formatter(*forwarded()).encode("utf-8", "surrogateescape")
    assert line == b"a\tb\xff\xe2\x82\xac \xc3\xa9\xe2\x82\xac \xc3"


def test_text_in_a_format_is_only_text() -> None:
    odd = '{request} %% " \' \\ \n {0} %%s {{ }} """ __import__(\'os\') é'
    assert shown(odd + "%PROTOCOL%" + odd) == odd.replace("%%", "%") + "HTTP/1.1" + odd.replace("%%", "%")
    assert shown(odd) == odd.replace("%%", "%")
    assert shown("") == ""


def test_arguments_are_only_arguments() -> None:
    request, response = forwarded()
    for name in ("');import os", 'a"b', "a'b", "{x}", "\\"):
        request.headers.add(name.encode(), b"found")
        for operator in (Operator("REQ", name), Operator("REQ", f"nope?{name}")):
            assert build_formatter(Format((operator,)))(request, response) == "found"
    for argument in ("'", '"', "{x}", "\\", "%%", "\n"):
        assert build_formatter(Format((Operator("START_TIME", argument),)))(request, response) == argument.replace(
            "%%", "%"
        )


def test_header_values() -> None:
    request, _ = forwarded()
    for text, value in [
        ("lit é", "lit é".encode()),
        ("%REQ(x-bad)%", b"a\tb\xff\xe2\x82\xac"),
        ("%REQ(nope)%", b""),
        ("a%REQ(nope)%b", b"ab"),
        ("%REQ(x-u):2%!", b"\xc3\xa9!"),
        ("%UPSTREAM_HOST% %RESPONSE_FLAGS% %RESPONSE_CODE%", b"127.0.0.1:9000 - 200"),
    ]:
        assert build_bytes_formatter(parse_format(text))(request, None) == value


def test_a_client_cannot_break_lines() -> None:
    request, response = forwarded()
    request.path = b"/?q=a%0d%0aevil:%201%00%09"
    request.info.filter_state = {"key": "a\r\nb\0c"}
    for text, value in [("<%QUERY_PARAM(q)%>", b"<aevil: 1\t>"), ("<%FILTER_STATE(key)%>", b"<abc>")]:
        assert build_bytes_formatter(parse_format(text))(request, response) == value
    assert build_formatter(parse_format("<%QUERY_PARAM(q)%>"))(request, response) == "<aevil: 1\0\t>"


def test_literal_values_are_known() -> None:
    assert literal_bytes(Format(("a", "b"))) == b"ab"
    assert literal_bytes(Format(())) == b""
    assert literal_bytes(parse_format("a%PROTOCOL%")) is None
